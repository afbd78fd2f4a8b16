/* SPDX-License-Identifier: MIT
 *
 * The wire: what Redis may answer is understood however it is cut; everything else is refused, without a crash and
 * without taking memory that the peer names. (Guarantee G.)
 */
#include "redis/resp.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

/* Every kind of reply that RESP2 has, and what is left after each. */
static const char sample[] = "+OK\r\n"
                             "-ERR no such thing\r\n"
                             ":-9223372036854775808\r\n"
                             ":9223372036854775807\r\n"
                             "$-1\r\n"
                             "*-1\r\n"
                             "$0\r\n\r\n"
                             "$6\r\na\0\r\nbc\r\n"
                             "*0\r\n"
                             "*3\r\n$7\r\nmessage\r\n*2\r\n:1\r\n$-1\r\n+\r\n";
enum { SAMPLE_SIZE = sizeof sample - 1, SAMPLE_REPLIES = 10 };

static void check_sample(unsigned which, const lk_reply *r)
{
    switch (which) {
    case 0:
        assert_int_equal(r->type, LK_REPLY_STATUS);
        assert_true(lk_reply_is(r, "OK"));
        break;
    case 1:
        assert_int_equal(r->type, LK_REPLY_ERROR);
        assert_string_equal(r->text, "ERR no such thing");
        break;
    case 2: assert_true(r->type == LK_REPLY_INTEGER && r->integer == INT64_MIN); break;
    case 3: assert_true(r->type == LK_REPLY_INTEGER && r->integer == INT64_MAX); break;
    case 4:
    case 5: assert_int_equal(r->type, LK_REPLY_NIL); break;
    case 6:
        assert_int_equal(r->type, LK_REPLY_STRING);
        assert_true(r->size == 0 && r->text[0] == 0);
        break;
    case 7:
        assert_int_equal(r->type, LK_REPLY_STRING);
        assert_int_equal(r->size, 6);
        assert_memory_equal(r->text, "a\0\r\nbc", 7);
        break;
    case 8:
        assert_int_equal(r->type, LK_REPLY_ARRAY);
        assert_int_equal(r->size, 0);
        break;
    case 9:
        assert_int_equal(r->type, LK_REPLY_ARRAY);
        assert_int_equal(r->size, 3);
        assert_true(lk_reply_is(r->item[0], "message"));
        assert_int_equal(r->item[1]->size, 2);
        assert_true(r->item[1]->item[0]->integer == 1);
        assert_int_equal(r->item[1]->item[1]->type, LK_REPLY_NIL);
        assert_true(lk_reply_is(r->item[2], ""));
        break;
    default: fail_msg("more replies than there are");
    }
}

static void feed_exact(lk_resp *resp, const char *bytes, size_t size)
{
    char *exact = unit_copy(bytes, size);
    assert_true(lk_resp_feed(resp, exact, size));
    free(exact);
}

/* Takes all replies that are there; returns how many there were in all. */
static unsigned take_sample(lk_resp *resp, unsigned taken)
{
    lk_reply *reply;
    int got;
    while ((got = lk_resp_next(resp, &reply)) > 0) {
        check_sample(taken++, reply);
        lk_reply_free(reply);
    }
    assert_int_equal(got, 0);
    assert_null(reply);
    return taken;
}

static void test_every_kind_cut_anywhere(void **state)
{
    (void)state;
    for (size_t first = 0; first <= SAMPLE_SIZE; first++) {
        for (size_t second = first; second <= SAMPLE_SIZE; second++) {
            lk_resp *resp = lk_resp_open();
            assert_non_null(resp);
            feed_exact(resp, sample, first);
            unsigned taken = take_sample(resp, 0);
            feed_exact(resp, sample + first, second - first);
            taken = take_sample(resp, taken);
            feed_exact(resp, sample + second, SAMPLE_SIZE - second);
            assert_int_equal(take_sample(resp, taken), SAMPLE_REPLIES);
            assert_string_equal(lk_resp_error(resp), "");
            lk_resp_close(resp);
        }
    }
}

static void test_every_kind_byte_by_byte(void **state)
{
    (void)state;
    lk_resp *resp = lk_resp_open();
    assert_true(lk_resp_empty(resp));
    for (int round = 0; round < 100; round++) {
        unsigned taken = 0;
        for (size_t i = 0; i < SAMPLE_SIZE; i++) {
            lk_reply *reply;
            feed_exact(resp, sample + i, 1);
            assert_false(lk_resp_empty(resp));
            int got = lk_resp_next(resp, &reply);
            assert_in_range(got, 0, 1);
            assert_int_equal(lk_resp_empty(resp), got); /* between two replies, and only there */
            if (got) check_sample(taken++, reply);
            lk_reply_free(reply);
        }
        assert_int_equal(taken, SAMPLE_REPLIES);
    }
    lk_resp_close(resp);
}

/* A parser is thrown away in the middle of anything. */
static void test_closed_in_the_middle(void **state)
{
    (void)state;
    for (size_t size = 0; size <= SAMPLE_SIZE; size++) {
        lk_resp *resp = lk_resp_open();
        feed_exact(resp, sample, size);
        take_sample(resp, 0);
        lk_resp_close(resp);
    }
    lk_resp_close(NULL);
    lk_reply_free(NULL);
}

/* ------------------------------------------------------------------------------------------------- limits -- */

/* What one parser says of these bytes: 1 a reply, 0 not yet, -1 refused. After a refusal it stays refused. */
static int verdict(const char *bytes, size_t size)
{
    lk_resp *resp = lk_resp_open();
    lk_reply *reply = NULL;
    int got = lk_resp_feed(resp, bytes, size) ? lk_resp_next(resp, &reply) : -1;
    lk_reply_free(reply);
    if (got < 0) {
        assert_true(*lk_resp_error(resp));
        assert_false(lk_resp_empty(resp));
        lk_resp_feed(resp, "+OK\r\n", 5);
        assert_int_equal(lk_resp_next(resp, &reply), -1);
        assert_null(reply);
    }
    lk_resp_close(resp);
    return got;
}

static int verdict_of(const char *text) { return verdict(text, strlen(text)); }

static void test_elements_are_limited(void **state)
{
    (void)state;
    char text[32];
    enum { MOST = LK_RESP_ELEMENTS_MAX };
    char *full = malloc(16 + 4 * (MOST + 1));
    assert_non_null(full);
    size_t used = (size_t)sprintf(full, "*%d\r\n", MOST);
    for (int i = 0; i < MOST; i++) used += (size_t)sprintf(full + used, ":1\r\n");
    assert_int_equal(verdict(full, used), 1);
    assert_int_equal(verdict(full, used - 1), 0);
    free(full);
    /* Named, not sent: refused before any memory is taken for them. */
    const long long counts[] = {LK_RESP_DROPPED_MAX, 2147483647, 2147483648, 4294967297, INT64_MAX};
    for (size_t i = 0; i < UNIT_COUNT(counts); i++) {
        snprintf(text, sizeof text, "*%lld\r\n", counts[i]);
        assert_int_equal(verdict_of(text), -1);
        snprintf(text, sizeof text, "*1\r\n*%lld\r\n", counts[i]);
        assert_int_equal(verdict_of(text), -1);
    }
    assert_int_equal(verdict_of("*-2\r\n"), -1);
    assert_int_equal(verdict_of("*-9223372036854775808\r\n"), -1);
}

static void test_depth_is_limited(void **state)
{
    (void)state;
    enum { DEEP = 10000 };
    char *text = malloc(4 * DEEP + 8);
    assert_non_null(text);
    for (int depth = 1; depth <= DEEP; depth += depth < 100 ? 1 : 900) {
        for (int i = 0; i < depth; i++) memcpy(text + 4 * i, "*1\r\n", 4);
        memcpy(text + 4 * depth, ":1\r\n", 4);
        int got = verdict(text, (size_t)(4 * depth + 4));
        assert_int_equal(got, depth <= LK_RESP_DEPTH_MAX ? 1 : -1); /* whichever version of a library is installed */
    }
    free(text);
}

static void test_bytes_are_limited(void **state)
{
    (void)state;
    static const char piece[64 * 1024];
    lk_resp *resp = lk_resp_open();
    lk_reply *reply;
    char text[64];
    /* As large as any reply that is asked for: it passes. */
    size_t most = LK_RESP_BYTES_MAX - 32, fed = 0;
    int header = snprintf(text, sizeof text, "$%zu\r\n", most);
    assert_true(lk_resp_feed(resp, text, (size_t)header));
    for (; fed < most; fed += most - fed < sizeof piece ? most - fed : sizeof piece) {
        assert_int_equal(lk_resp_next(resp, &reply), 0);
        assert_true(lk_resp_feed(resp, piece, most - fed < sizeof piece ? most - fed : sizeof piece));
    }
    assert_true(lk_resp_feed(resp, "\r\n", 2));
    assert_int_equal(lk_resp_next(resp, &reply), 1);
    assert_int_equal(reply->size, most);
    lk_reply_free(reply);
    /* One that no server can have: refused by its length, before any of it comes. */
    header = snprintf(text, sizeof text, "$%d\r\n", LK_RESP_DROPPED_MAX + 1);
    assert_true(lk_resp_feed(resp, text, (size_t)header));
    assert_int_equal(lk_resp_next(resp, &reply), -1);
    lk_resp_close(resp);
}

/* A line that never ends is refused, as soon as it is longer than any that Redis writes; and each byte is looked at once, so
 * what came before that costs no more than reading it. */
static void test_a_line_that_never_ends(void **state)
{
    (void)state;
    const char starts[] = {'+', '-', ':', '$', '*'};
    for (size_t i = 0; i < sizeof starts; i++) {
        size_t most = starts[i] == '+' || starts[i] == '-' ? (size_t)LK_RESP_LINE_MAX : 32, fed = 1;
        lk_resp *resp = lk_resp_open();
        lk_reply *reply;
        assert_true(lk_resp_feed(resp, &starts[i], 1));
        while (fed <= 2 * most && lk_resp_feed(resp, "1", 1) && lk_resp_next(resp, &reply) == 0) fed++;
        assert_in_range(fed, 20, most);
        assert_true(*lk_resp_error(resp) && !lk_resp_no_memory(resp));
        lk_resp_close(resp);
    }
    /* The longest that is taken. */
    char *line = malloc(LK_RESP_LINE_MAX + 1);
    memset(line, 'x', LK_RESP_LINE_MAX);
    line[0] = '-';
    memcpy(line + LK_RESP_LINE_MAX - 2, "\r\n", 2);
    assert_int_equal(verdict(line, LK_RESP_LINE_MAX), 1);
    memcpy(line + LK_RESP_LINE_MAX - 2, "x\r\n", 3);
    assert_int_equal(verdict(line, LK_RESP_LINE_MAX + 1), -1);
    free(line);
}

/* Feeds pieces of every size, takes what is there, and counts it. */
static unsigned feed_in_pieces(lk_resp *resp, const char *bytes, size_t size, size_t piece, enum lk_reply_type type,
                               const char *text)
{
    unsigned taken = 0;
    for (size_t at = 0; at < size; at += piece) {
        lk_reply *reply;
        feed_exact(resp, bytes + at, size - at < piece ? size - at : piece);
        for (int got; (got = lk_resp_next(resp, &reply)); taken++) {
            assert_int_equal(got, 1);
            if (!taken) assert_int_equal(reply->type, type);
            if (!taken) assert_string_equal(reply->text, text);
            lk_reply_free(reply);
        }
    }
    return taken;
}

/* Another program may have made a value of ours larger than any session is. It is read to its end, however it comes, and an error
 * stands in its place: what is asked behind it on the same connection is answered. */
static void test_a_reply_that_is_too_large_is_an_error(void **state)
{
    (void)state;
    enum {
        MANY = LK_RESP_ELEMENTS_MAX + 1,
        PIECE = 1000003,
        THIRD = LK_RESP_BYTES_MAX / 3 + PIECE,
        ROOM = 3 * THIRD + 100
    };
    char *text = malloc(ROOM);
    const size_t pieces[] = {8192, PIECE};
    for (size_t i = 0; i < UNIT_COUNT(pieces); i++) {
        lk_resp *resp = lk_resp_open();
        /* one string */
        size_t used = (size_t)sprintf(text, "$%d\r\n", LK_RESP_BYTES_MAX + 1);
        memset(text + used, '\n', LK_RESP_BYTES_MAX + 1);
        used += LK_RESP_BYTES_MAX + 1;
        memcpy(text + used, "\r\n:7\r\n", 6);
        assert_int_equal(feed_in_pieces(resp, text, used + 6, pieces[i], LK_REPLY_ERROR, LK_RESP_TOO_LARGE), 2);
        assert_true(lk_resp_empty(resp));
        /* strings that are large together */
        used = 0;
        memcpy(text, "*3\r\n", 4);
        used = 4;
        for (int k = 0; k < 3; k++) {
            used += (size_t)sprintf(text + used, "$%d\r\n", THIRD);
            memset(text + used, '\r', THIRD);
            used += THIRD;
            memcpy(text + used, "\r\n", 2);
            used += 2;
        }
        memcpy(text + used, "+OK\r\n", 5);
        assert_int_equal(feed_in_pieces(resp, text, used + 5, pieces[i], LK_REPLY_ERROR, LK_RESP_TOO_LARGE), 2);
        /* many */
        used = (size_t)sprintf(text, "*2\r\n*%d\r\n", MANY);
        for (int k = 0; k < MANY; k++) used += (size_t)sprintf(text + used, k % 2 ? ":%d\r\n" : "*0\r\n", k);
        memcpy(text + used, "$-1\r\n:7\r\n", 9);
        assert_int_equal(feed_in_pieces(resp, text, used + 9, pieces[i] % 1021, LK_REPLY_ERROR, LK_RESP_TOO_LARGE), 2);
        assert_int_equal(feed_in_pieces(resp, "+OK\r\n", 5, 1, LK_REPLY_STATUS, "OK"), 1);
        assert_true(lk_resp_empty(resp));
        assert_string_equal(lk_resp_error(resp), "");
        lk_resp_close(resp);
    }
    free(text);
}

/* It is not read for ever. */
static void test_a_reply_without_an_end_is_refused(void **state)
{
    (void)state;
    static char text[1024 * 1024];
    lk_reply *reply;
    uint64_t fed = 0;
    int got;
    memset(text, '+', sizeof text);
    for (size_t i = 8192; i <= sizeof text; i += 8192) memcpy(text + i - 2, "\r\n", 2);
    lk_resp *resp = lk_resp_open();
    assert_true(lk_resp_feed(resp, "*1000000\r\n", 10));
    while ((got = lk_resp_next(resp, &reply)) == 0) {
        assert_true(lk_resp_feed(resp, text, sizeof text));
        fed += sizeof text;
    }
    assert_int_equal(got, -1);
    assert_in_range(fed, (uint64_t)LK_RESP_DROPPED_MAX - 2 * sizeof text,
                    (uint64_t)LK_RESP_DROPPED_MAX + 2 * sizeof text);
    lk_resp_close(resp);
}

/* Many small replies in a row are no large one. */
static void test_the_limit_is_of_one_reply(void **state)
{
    (void)state;
    lk_resp *resp = lk_resp_open();
    lk_reply *reply;
    static char text[1024 * 1024 + 32];
    int header = sprintf(text, "$%d\r\n", 1024 * 1024);
    memcpy(text + header + 1024 * 1024, "\r\n", 2);
    for (int i = 0; i < 40; i++) {
        assert_true(lk_resp_feed(resp, text, (size_t)header + 1024 * 1024 + 2));
        assert_int_equal(lk_resp_next(resp, &reply), 1);
        lk_reply_free(reply);
    }
    lk_resp_close(resp);
}

/* ------------------------------------------------------------------------------------------------ garbage -- */

static void test_what_is_not_resp_is_refused(void **state)
{
    (void)state;
    const char *rows[] = {"HTTP/1.1 400 Bad Request\r\n",
                          "SSH-2.0-OpenSSH_9.2\r\n",
                          "\r\n",
                          " +OK\r\n",
                          "\n",
                          "0\r\n",
                          "*x\r\n",
                          "*1x\r\n",
                          "* 1\r\n",
                          "*\r\n",
                          "$x\r\n",
                          "$\r\n",
                          "$-2\r\n",
                          "$1.5\r\n",
                          "$99999999999999999999\r\n",
                          ":x\r\n",
                          ":\r\n",
                          ":1x\r\n",
                          ":99999999999999999999\r\n",
                          ":+1\r\n",
                          ":-0\r\n",
                          ":01\r\n",
                          ":-9223372036854775809\r\n",
                          ":9223372036854775808\r\n",
                          "+OK\n",
                          "$2\r\nabcd",
                          "*1\r\nx\r\n",
                          "*2\r\n:1\r\n?\r\n",
                          "\x16\x03\x01\x02\r\n"};
    for (size_t i = 0; i < UNIT_COUNT(rows); i++)
        if (verdict_of(rows[i]) != -1) fail_msg("taken: %s", rows[i]);
    assert_int_equal(verdict("\0\0\0\0\r\n", 6), -1);
}

/* A string that is longer than it said: at the latest, what comes behind it is refused. */
static void test_a_string_longer_than_it_said(void **state)
{
    (void)state;
    lk_resp *resp = lk_resp_open();
    lk_reply *reply;
    feed_exact(resp, "$3\r\nabcd\r\n+OK\r\n", 15);
    int got = lk_resp_next(resp, &reply);
    if (got > 0) {
        assert_true(lk_reply_is(reply, "abc"));
        lk_reply_free(reply);
        got = lk_resp_next(resp, &reply);
    }
    assert_int_equal(got, -1);
    lk_resp_close(resp);
}

/* RESP3 was not asked for, and a null of it is no nil: that would be a "no" which Redis did not say (guarantee A). */
static void test_resp3_is_refused(void **state)
{
    (void)state;
    const char *rows[] = {"_\r\n",
                          "#t\r\n",
                          "#f\r\n",
                          ",3.14\r\n",
                          ",inf\r\n",
                          "(12345678901234567890\r\n",
                          "!9\r\nERR wrong\r\n",
                          "=7\r\ntxt:abc\r\n",
                          "%1\r\n+a\r\n:1\r\n",
                          "~1\r\n:1\r\n",
                          ">3\r\n+message\r\n+a\r\n+b\r\n",
                          "|1\r\n+a\r\n:1\r\n:2\r\n",
                          "*2\r\n_\r\n#t\r\n",
                          "*1\r\n%1\r\n+a\r\n,1\r\n",
                          "%4097\r\n",
                          "~8193\r\n",
                          ">9000\r\n",
                          "%-1\r\n",
                          "~-1\r\n",
                          ">-1\r\n",
                          "_",
                          "*2\r\n:1\r\n_"};
    for (size_t i = 0; i < UNIT_COUNT(rows); i++)
        if (verdict_of(rows[i]) != -1) fail_msg("taken: %s", rows[i]);
}

/* Any one byte of the sample changed, and random bytes: nothing crashes, and what is handed out is whole. */
static unsigned walk(const lk_reply *reply)
{
    unsigned count = 1;
    assert_non_null(reply);
    assert_true(reply->type <= LK_REPLY_ARRAY);
    if (reply->type == LK_REPLY_STRING || reply->type == LK_REPLY_STATUS || reply->type == LK_REPLY_ERROR)
        assert_int_equal(reply->text[reply->size], 0);
    if (reply->type == LK_REPLY_ARRAY)
        for (size_t i = 0; i < reply->size; i++) count += walk(reply->item[i]);
    return count;
}

static void parse_anything(const char *bytes, size_t size)
{
    lk_resp *resp = lk_resp_open();
    lk_reply *reply;
    char *exact = unit_copy(bytes, size);
    bool fed = lk_resp_feed(resp, exact, size);
    free(exact);
    for (int i = 0; fed && lk_resp_next(resp, &reply) > 0; i++) {
        assert_true(walk(reply) <= size);
        lk_reply_free(reply);
    }
    lk_resp_close(resp);
}

static void test_any_byte_changed(void **state)
{
    (void)state;
    for (size_t at = 0; at < SAMPLE_SIZE; at++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            char text[SAMPLE_SIZE];
            memcpy(text, sample, sizeof text);
            text[at] = (char)byte;
            parse_anything(text, sizeof text);
        }
    }
}

static void test_random_bytes(void **state)
{
    (void)state;
    static const char likely[] = "*$:+-\r\n0123456789_#,(!=%~>|";
    unit_random r = unit_random_new(1);
    for (uint64_t i = unit_rounds(60000); i; i--) {
        char text[200];
        size_t size = unit_below(&r, sizeof text);
        unit_fill(&r, text, size);
        for (size_t k = 0; k < size; k++)
            if (i % 4) text[k] = likely[(unsigned char)text[k] % (sizeof likely - 1)];
        parse_anything(text, size);
    }
}

static void test_errors_do_not_repeat_what_was_sent(void **state)
{
    (void)state;
    const char *rows[] = {"s3cret\r\n", "*s3cret\r\n", "$s3cret\r\n", ":s3cret\r\n", "*9999999\r\ns3cret"};
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
        lk_resp *resp = lk_resp_open();
        lk_reply *reply;
        lk_resp_feed(resp, rows[i], strlen(rows[i]));
        assert_int_equal(lk_resp_next(resp, &reply), -1);
        assert_null(strstr(lk_resp_error(resp), "s3c"));
        lk_resp_close(resp);
    }
}

/* ------------------------------------------------------------------------------------------------ sending -- */

static void test_commands_are_read_back(void **state)
{
    (void)state;
    unit_random r = unit_random_new(2);
    static lk_span words[1000];
    static char bytes[4096];
    unit_fill(&r, bytes, sizeof bytes);
    const size_t counts[] = {1, 2, 31, 32, 33, 1000};
    for (size_t i = 0; i < UNIT_COUNT(counts); i++) {
        lk_resp *resp = lk_resp_open();
        lk_reply *reply;
        char *command;
        for (size_t k = 0; k < counts[i]; k++)
            words[k] = (lk_span){bytes + unit_below(&r, 2048), unit_below(&r, 2048) * (k % 3 != 0)};
        words[counts[i] / 2] = (lk_span){NULL, 0};
        size_t size = lk_resp_format(words, counts[i], &command);
        assert_true(size > 0);
        feed_exact(resp, command, size);
        lk_resp_format_free(command, size);
        assert_int_equal(lk_resp_next(resp, &reply), 1);
        assert_int_equal(reply->size, counts[i]);
        for (size_t k = 0; k < counts[i]; k++) {
            assert_int_equal(reply->item[k]->size, words[k].size);
            if (words[k].size) assert_memory_equal(reply->item[k]->text, words[k].data, words[k].size);
        }
        lk_reply_free(reply);
        lk_resp_close(resp);
    }
    lk_resp_format_free(NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_cut_anywhere),
        cmocka_unit_test(test_every_kind_byte_by_byte),
        cmocka_unit_test(test_closed_in_the_middle),
        cmocka_unit_test(test_elements_are_limited),
        cmocka_unit_test(test_depth_is_limited),
        cmocka_unit_test(test_bytes_are_limited),
        cmocka_unit_test(test_a_line_that_never_ends),
        cmocka_unit_test(test_the_limit_is_of_one_reply),
        cmocka_unit_test(test_what_is_not_resp_is_refused),
        cmocka_unit_test(test_a_string_longer_than_it_said),
        cmocka_unit_test(test_resp3_is_refused),
        cmocka_unit_test(test_any_byte_changed),
        cmocka_unit_test(test_random_bytes),
        cmocka_unit_test(test_errors_do_not_repeat_what_was_sent),
        cmocka_unit_test(test_a_reply_that_is_too_large_is_an_error),
        cmocka_unit_test(test_a_reply_without_an_end_is_refused),
        cmocka_unit_test(test_commands_are_read_back),
    };
    return cmocka_run_group_tests_name("resp", tests, unit_setup, NULL);
}
