/* SPDX-License-Identifier: MIT
 *
 * A connection: replies belong to commands by their order alone, so nothing unasked is ever taken for an answer.
 * (Guarantees G and I.)
 */
#include "redis/conn.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

static lk_conn conn;

static int setup(void **state)
{
    (void)state;
    return !lk_conn_open(&conn);
}

static int teardown(void **state)
{
    (void)state;
    lk_conn_close(&conn);
    return 0;
}

static bool send_word(uint32_t tag, const char *text)
{
    return lk_conn_send(&conn, tag, &(lk_span){text, strlen(text)}, 1);
}

static void feed(const char *text)
{
    char *exact = unit_copy(text, strlen(text));
    assert_true(lk_conn_feed(&conn, exact, strlen(text)));
    free(exact);
}

static void assert_reply(uint32_t tag, long long integer)
{
    lk_reply *reply;
    assert_int_equal(lk_conn_next(&conn, &reply), 1);
    assert_int_equal(reply->tag, tag);
    assert_true(reply->type == LK_REPLY_INTEGER && reply->integer == integer);
    lk_reply_free(reply);
}

static void assert_next(int expected)
{
    lk_reply *reply;
    assert_int_equal(lk_conn_next(&conn, &reply), expected);
    assert_null(reply);
}

static void test_replies_carry_the_tags_of_their_commands(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 10; i++) assert_true(send_word(100 + i, "PING"));
    assert_next(0);
    feed(":0\r\n:1\r\n:2");
    assert_reply(100, 0);
    assert_reply(101, 1);
    assert_next(0);
    assert_true(send_word(110, "PING"));
    feed("\r\n");
    assert_reply(102, 2);
    for (uint32_t i = 3; i <= 10; i++) {
        feed(":7\r\n");
        assert_reply(100 + i, 7);
    }
    assert_int_equal(conn.waiting, 0);
}

static void test_the_ring_goes_round(void **state)
{
    (void)state;
    unit_random r = unit_random_new(1);
    uint32_t sent = 0, got = 0;
    char text[32];
    for (uint64_t i = unit_rounds(20000); i; i--) {
        for (uint64_t n = unit_below(&r, 8); n && sent - got < LK_CONN_WAITING_MAX; n--) {
            assert_true(send_word(sent++, "X"));
            const char *bytes;
            lk_conn_wrote(&conn, lk_conn_unsent(&conn, &bytes));
        }
        for (uint64_t n = unit_below(&r, 8); n && got < sent; n--) {
            snprintf(text, sizeof text, ":%u\r\n", got);
            feed(text);
            assert_reply(got, got);
            got++;
        }
    }
}

static void test_what_waits_is_limited(void **state)
{
    (void)state;
    const char *bytes;
    for (uint32_t i = 0; i < LK_CONN_WAITING_MAX; i++) assert_true(send_word(i, "X"));
    size_t unsent = lk_conn_unsent(&conn, &bytes);
    assert_false(send_word(9999, "X"));
    assert_int_equal(lk_conn_unsent(&conn, &bytes), unsent); /* nothing was appended */
    feed(":1\r\n");
    assert_reply(0, 1);
    assert_true(send_word(9999, "X"));
    for (uint32_t i = 1; i < LK_CONN_WAITING_MAX; i++) {
        feed(":1\r\n");
        assert_reply(i, 1);
    }
    feed(":1\r\n");
    assert_reply(9999, 1);
}

static void test_replies_nobody_asked_for_end_it(void **state)
{
    (void)state;
    feed(":1\r\n");
    assert_next(-1);
    lk_conn_close(&conn);
    assert_true(lk_conn_open(&conn));
    assert_true(send_word(1, "X"));
    feed(":1\r\n:2\r\n");
    assert_reply(1, 1);
    assert_next(-1);
}

/* Only then may another thread use it: nothing is awaited, and no unasked byte came. */
static void test_quiet(void **state)
{
    (void)state;
    assert_true(lk_conn_quiet(&conn));
    assert_true(send_word(1, "X"));
    assert_false(lk_conn_quiet(&conn));
    feed(":1\r");
    assert_next(0);
    assert_false(lk_conn_quiet(&conn));
    feed("\n");
    assert_reply(1, 1);
    assert_true(lk_conn_quiet(&conn));
    const char *too_much[] = {":", "\r", "$5\r\nab", "*2\r\n:1\r\n", ":1\r\n", "*1\r\n"};
    for (size_t i = 0; i < UNIT_COUNT(too_much); i++) {
        lk_conn_close(&conn);
        assert_true(lk_conn_open(&conn));
        assert_true(send_word(1, "X"));
        feed(":1\r\n");
        feed(too_much[i]);
        assert_reply(1, 1);
        assert_false(lk_conn_quiet(&conn));
    }
}

static void test_a_subscription_takes_what_comes(void **state)
{
    (void)state;
    conn.pushes = true;
    for (int i = 0; i < 3 * LK_CONN_WAITING_MAX; i++) assert_true(send_word(5, "SUBSCRIBE"));
    assert_int_equal(conn.waiting, 0);
    for (int i = 0; i < 3 * LK_CONN_WAITING_MAX; i++) {
        feed(":4\r\n");
        assert_reply(0, 4);
    }
    assert_next(0);
}

static void test_garbage_ends_it(void **state)
{
    (void)state;
    assert_true(send_word(1, "X"));
    assert_true(send_word(2, "X"));
    feed(":1\r\nHTTP/1.1 400 Bad Request\r\n:2\r\n");
    assert_reply(1, 1);
    assert_next(-1);
    assert_next(-1);
    assert_true(*lk_resp_error(conn.resp));
}

/* What is written is what was sent, in whatever pieces the socket takes it. */
static void test_bytes_to_write(void **state)
{
    (void)state;
    unit_random r = unit_random_new(2);
    static char large[300 * 1024], written[8 * 1024 * 1024];
    size_t used = 0, commands = 0;
    const char *bytes;
    memset(large, 'y', sizeof large);
    lk_resp *resp = lk_resp_open();
    for (uint64_t i = unit_rounds(400); i; i--) {
        for (uint64_t n = unit_below(&r, 4); n && commands < LK_CONN_WAITING_MAX; n--) {
            size_t size = unit_below(&r, i % 50 ? 500 : sizeof large);
            lk_span words[2] = {{&commands, sizeof commands}, {large, size}};
            assert_true(lk_conn_send(&conn, 0, words, 2));
            commands++;
        }
        size_t unsent = lk_conn_unsent(&conn, &bytes);
        size_t size = i == 1 ? unsent : unit_below(&r, unsent + 1);
        if (unsent == 0) continue;
        assert_true(used + size <= sizeof written);
        memcpy(written + used, bytes, size);
        used += size;
        lk_conn_wrote(&conn, size);
    }
    assert_int_equal(lk_conn_unsent(&conn, &bytes), 0);
    lk_reply *command;
    assert_true(lk_resp_feed(resp, written, used));
    for (size_t i = 0; i < commands; i++) {
        assert_int_equal(lk_resp_next(resp, &command), 1);
        assert_int_equal(command->size, 2);
        assert_memory_equal(command->item[0]->text, &i, sizeof i);
        lk_reply_free(command);
    }
    assert_int_equal(lk_resp_next(resp, &command), 0);
    lk_resp_close(resp);
}

/* The password goes through the buffer: written, it is wiped. */
static void test_what_was_written_is_wiped(void **state)
{
    (void)state;
    const char *bytes;
    assert_true(send_word(1, "s3cret"));
    size_t size = lk_conn_unsent(&conn, &bytes);
    assert_non_null(memmem(conn.out, conn.size, "s3cret", 6));
    lk_conn_wrote(&conn, size - 1);
    lk_conn_wrote(&conn, 1);
    assert_null(memmem(conn.out, size, "s3cret", 6));
}

static void test_close_without_open(void **state)
{
    (void)state;
    lk_conn zeroed = {0};
    lk_conn_close(&zeroed);
    lk_conn_close(&zeroed);
    lk_conn_close(&conn);
    assert_null(conn.resp);
    assert_true(lk_conn_open(&conn));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_replies_carry_the_tags_of_their_commands, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_ring_goes_round, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_waits_is_limited, setup, teardown),
        cmocka_unit_test_setup_teardown(test_replies_nobody_asked_for_end_it, setup, teardown),
        cmocka_unit_test_setup_teardown(test_quiet, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_subscription_takes_what_comes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_garbage_ends_it, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bytes_to_write, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_was_written_is_wiped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close_without_open, setup, teardown),
    };
    return cmocka_run_group_tests_name("conn", tests, unit_setup, NULL);
}
