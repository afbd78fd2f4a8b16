/* SPDX-License-Identifier: MIT
 *
 * When the link confirms a lease, and when it does not: guarantee C, taken apart. A lease says that every revocation up
 * to the time at which its beat was sent was applied to L1.
 */
#include "redis_model.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define A "AAAAAAAAAAAAAAAAAAAA"
#define B "BBBBBBBBBBBBBBBBBBBB"

static redis_model *up(const char *options)
{
    redis_model *m = model_open(options, unit_seed());
    model_up(m);
    model_tick(m, 3);
    model_clear(m);
    return m;
}

static int64_t beat_due(const redis_model *m) { return lk_link_wake_ms(&m->link) - model_ms(m); }

/* The next beat, when it is due, and all that follows from it. */
static void beat(redis_model *m)
{
    model_tick(m, beat_due(m));
    model_run(m);
}

static const char *lease_at(int64_t ms)
{
    static char text[40];
    snprintf(text, sizeof text, "= lease %" PRId64 "\n", ms);
    return text;
}

/* -------------------------------------------------------------------------------------- what a lease stands for -- */

/* However long the answer took: a lease from the time of the answer would vouch for revocations nobody waited for. */
static void test_a_lease_is_of_the_time_of_sending(void **state)
{
    (void)state;
    redis_model *m = up("h?partitions=2&staleness_ms=4000");
    model_tick(m, beat_due(m));
    int64_t sent_ms = model_ms(m);
    model_tick(m, 300);
    model_serve(m, 0);
    model_tick(m, 500);
    model_deliver(m, 1);
    model_tick(m, 700);
    assert_int_equal(m->leases, 1);
    model_deliver(m, 0);
    assert_int_equal(m->leases, 2);
    assert_true(m->lease_sent_ms == sent_ms);
    assert_true(m->lease_incarnation == m->link.hello[0].incarnation && m->lease_incarnation);
    model_close(m);
}

static void test_beats_come_four_to_a_staleness(void **state)
{
    (void)state;
    const int64_t staleness[] = {100, 2000, 60000};
    for (size_t i = 0; i < UNIT_COUNT(staleness); i++) {
        char options[64];
        snprintf(options, sizeof options, "h?partitions=2&staleness_ms=%" PRId64, staleness[i]);
        redis_model *m = up(options);
        int64_t before = m->lease_sent_ms;
        for (int k = 0; k < 10; k++) {
            beat(m);
            assert_true(m->lease_sent_ms == before + staleness[i] / 4);
            before = m->lease_sent_ms;
        }
        assert_int_equal(model_counted(m, LK_BEATS), 11);
        model_close(m);
    }
}

/* The nonce must come through the subscription: everything else proves only that the server is there. */
static void test_no_lease_without_the_nonce(void **state)
{
    (void)state;
    redis_model *m = up("h?partitions=2");
    m->lose_nonces = true; /* PUBLISH is answered with 1, as ever */
    beat(m);
    model_expect(m, "0 MGET", "0 TIME", "0 ROLE", "0 PUBLISH", NULL);
    assert_int_equal(m->leases, 1);
    model_tick(m, m->config.staleness_ms / 2 - 1);
    model_run(m);
    assert_int_equal(m->link.state, LK_LINK_UP);
    assert_int_equal(m->leases, 1);
    model_tick(m, 1);
    assert_int_equal(m->link.state, LK_LINK_DOWN);
    assert_non_null(strstr(m->trouble, "beat"));
    assert_int_equal(m->trouble_status, LATCHKEY_UNAVAILABLE);
    m->lose_nonces = false;
    model_up(m);
    assert_int_equal(m->leases, 2);
    model_close(m);
}

/* Each of the beat's answers is needed: the numbers, the time, the role. */
static void test_no_lease_without_every_answer(void **state)
{
    (void)state;
    const char *silent[] = {"MGET", "TIME", "ROLE"};
    for (size_t i = 0; i < UNIT_COUNT(silent); i++) {
        redis_model *m = up("h?partitions=2");
        m->command = silent[i];
        m->answer = "";
        beat(m);
        assert_int_equal(m->leases, 1);
        model_tick(m, m->config.staleness_ms / 2);
        assert_int_equal(m->link.state, LK_LINK_DOWN);
        model_close(m);
    }
}

/* The nonce overtakes them on its own connection: the lease comes with the last byte of the role, not earlier. */
static void test_a_nonce_that_comes_first_waits_for_the_answers(void **state)
{
    (void)state;
    redis_model *m = up("h?partitions=2");
    model_revoke(m, 1, A);
    model_tick(m, beat_due(m));
    model_serve(m, 0);
    model_deliver(m, 1);
    char answers[256];
    size_t size = m->side[0].used, published = strlen(":1\r\n");
    memcpy(answers, m->side[0].replies, size);
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(m->leases, i + published < size ? 1 : 2);
        model_feed(m, 0, (char[]){answers[i], 0});
    }
    assert_int_equal(m->leases, 2);
    model_close(m);
}

static void test_other_nonces_are_no_answer(void **state)
{
    (void)state;
    redis_model *m = up("h?partitions=2");
    char old[24], twice[40];
    snprintf(old, sizeof old, "%016" PRIx64, m->link.beat.nonce); /* of the beat before */
    m->lose_nonces = true;
    model_tick(m, beat_due(m));
    model_serve(m, 0);
    snprintf(twice, sizeof twice, "%016" PRIx64 "0", m->link.beat.nonce);
    const char *wrong[] = {old, twice, "", "0", "x", "ffffffffffffffff", "-1", "00000000000000000000000000000001"};
    for (size_t i = 0; i < UNIT_COUNT(wrong); i++) model_publish(m, m->link.heartbeat, wrong[i]);
    char right[24];
    snprintf(right, sizeof right, "%016" PRIx64, m->link.beat.nonce);
    model_publish(m, "lk:beat:0000000000000000", right); /* somebody else's channel */
    model_publish(m, "lk:{0}:rev", right);
    model_run(m);
    assert_int_equal(m->leases, 1);
    model_publish(m, m->link.heartbeat, right);
    model_run(m);
    assert_int_equal(m->leases, 2);
    model_publish(m, m->link.heartbeat, right); /* twice is not twice a lease */
    model_run(m);
    assert_int_equal(m->leases, 2);
    assert_int_equal(m->link.state, LK_LINK_UP);
    model_close(m);
}

static void test_beats_have_a_limit(void **state)
{
    (void)state;
    const struct {
        const char *options;
        int64_t limit;
    } rows[] = {{"h?partitions=2&staleness_ms=100", 250},
                {"h?partitions=2&staleness_ms=2000", 1000},
                {"h?partitions=2&staleness_ms=60000", 30000}};
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
        redis_model *m = up(rows[i].options);
        model_tick(m, beat_due(m));
        assert_true(beat_due(m) == rows[i].limit);
        model_tick(m, rows[i].limit - 1);
        assert_int_equal(m->link.state, LK_LINK_UP);
        model_tick(m, 1);
        assert_int_equal(m->link.state, LK_LINK_DOWN);
        model_close(m);
    }
}

static void test_a_forgotten_subscription_is_renewed(void **state)
{
    (void)state;
    redis_model *m = up("h?partitions=2");
    m->subscribed = false; /* the server dropped it, and the socket does not show that yet */
    beat(m);
    assert_int_equal(m->link.state, LK_LINK_DOWN);
    assert_non_null(strstr(m->trouble, "subscription"));
    assert_int_equal(m->leases, 1);
    model_up(m);
    model_expect(m, "= trouble", "1 SUBSCRIBE", "= empty", "= lease", NULL);
    model_close(m);
}

/* It keeps its run id and its connections, and answers all the rest. */
static void test_a_demoted_primary_gives_no_lease(void **state)
{
    (void)state;
    redis_model *m = up("h?partitions=2");
    m->role = "slave";
    beat(m);
    assert_int_equal(m->link.state, LK_LINK_DOWN);
    assert_int_equal(m->leases, 1);
    model_close(m);
}

/* ------------------------------------------------------------------------------------------------ revocations -- */

static void test_revocations_are_purged_before_the_lease(void **state)
{
    (void)state;
    redis_model *m = up("h?partitions=2");
    model_tick(m, beat_due(m));
    model_revoke(m, 0, A);
    model_revoke(m, 1, B);
    model_revoke(m, 1, A);
    model_run(m);
    model_expect(m, "= purge " A, "= purge " B, "= purge " A, "= lease", NULL);
    assert_false(model_saw(m, "empty"));
    assert_int_equal(model_counted(m, LK_PURGES), 3);
    assert_int_equal(model_counted(m, LK_MISSED), 0);
    assert_true(lk_histogram_count(&m->counters.revocation_us) == 3);
    model_close(m);
}

/* Found by number when the nonce comes: whatever it was may be in L1, so L1 goes, and only then is there a lease. */
static void test_a_lost_message_empties_before_the_lease(void **state)
{
    (void)state;
    redis_model *m = up("h?partitions=4");
    m->lose_messages = 3;
    for (int i = 0; i < 3; i++) model_revoke(m, i == 2 ? 3 : 1, A);
    model_tick(m, beat_due(m));
    int64_t sent_ms = model_ms(m);
    model_serve(m, 0);
    model_deliver(m, 0);
    assert_false(model_saw(m, "= ")); /* the messages may still come: the nonce decides */
    model_deliver(m, 1);
    model_expect(m, "0 PUBLISH", "= empty\n", lease_at(sent_ms), NULL);
    assert_int_equal(model_counted(m, LK_MISSED), 3);
    model_clear(m);
    beat(m);
    assert_false(model_saw(m, "empty")); /* once for each loss */
    assert_int_equal(model_counted(m, LK_MISSED), 3);
    model_close(m);
}

static void test_a_gap_in_the_messages_empties_at_once(void **state)
{
    (void)state;
    redis_model *m = up("h?partitions=2");
    unsigned empties = m->empties;
    model_revoke(m, 0, A);
    m->lose_messages = 2;
    model_revoke(m, 0, B);
    model_revoke(m, 0, B);
    model_revoke(m, 0, A);
    model_run(m);
    model_expect(m, "= purge " A, "= empty\n", "= purge " A, NULL);
    assert_false(model_saw(m, "lease"));
    assert_int_equal(model_counted(m, LK_MISSED), 2);
    assert_int_equal(m->empties, empties + 1);
    assert_int_equal(model_counted(m, LK_EMPTIES), m->empties);
    model_clear(m);
    beat(m);
    assert_false(model_saw(m, "empty"));
    assert_true(model_saw(m, "lease"));
    model_close(m);
}

/* The partitions' numbers are told apart. */
static void test_a_gap_is_of_one_partition(void **state)
{
    (void)state;
    redis_model *m = up("h?partitions=3");
    for (unsigned i = 0; i < 9; i++) model_revoke(m, i % 3, A);
    model_run(m);
    assert_false(model_saw(m, "empty"));
    m->lose_messages = 1;
    model_revoke(m, 1, A);
    model_revoke(m, 0, A);
    model_revoke(m, 2, A);
    model_run(m);
    assert_false(model_saw(m, "empty"));
    model_revoke(m, 1, A);
    model_run(m);
    assert_true(model_saw(m, "empty"));
    model_close(m);
}

/* A server that lost its newest writes, and numbers anew: what it forgot is not known. */
static void test_numbers_that_go_backwards_empty(void **state)
{
    (void)state;
    redis_model *m = up("h?partitions=2");
    for (int i = 0; i < 5; i++) model_revoke(m, 0, A);
    beat(m);
    model_clear(m);
    m->number[0] = 2; /* seen by the beat */
    beat(m);
    model_expect(m, "= empty\n", "= lease", NULL);
    assert_int_equal(model_counted(m, LK_MISSED), 0);
    model_clear(m);
    model_revoke(m, 0, B); /* 3: the next one there */
    beat(m);
    model_expect(m, "= purge " B, "= lease", NULL);
    assert_false(model_saw(m, "empty"));

    model_clear(m);
    m->number[0] = 0; /* seen by a message */
    model_revoke(m, 0, B);
    model_run(m);
    model_expect(m, "= empty\n", "= purge " B, NULL);
    model_close(m);
}

/* As above, and grown past the old number before anybody looked: the message's number shows it. */
static void test_numbers_that_go_backwards_and_overtake(void **state)
{
    (void)state;
    redis_model *m = up("h?partitions=1");
    for (int i = 0; i < 5; i++) model_revoke(m, 0, A);
    beat(m);
    m->number[0] = 0;
    m->lose_messages = 6;
    for (int i = 0; i < 6; i++) model_revoke(m, 0, B);
    model_clear(m);
    beat(m);
    model_expect(m, "= empty\n", "= lease", NULL);
    model_close(m);
}

/* Before the first lease a read of L2 may be under way, to fill L1 after that lease. Its revocation's message is lost, and
 * the first beat has nothing to compare its numbers with: so L1 is emptied after it, which voids such reads. */
static void test_a_message_lost_before_the_first_beat(void **state)
{
    (void)state;
    redis_model *m = model_open("h?partitions=2", 1);
    m->number[0] = 7; /* from before: nobody missed those */
    model_connect(m);
    model_run(m);
    assert_int_equal(m->link.state, LK_LINK_UP);
    model_clear(m); /* reads begin here */
    m->lose_messages = 1;
    model_revoke(m, 0, A);
    model_tick(m, 0);
    model_run(m);
    model_expect(m, "= empty\n", "= lease", NULL);
    model_close(m);
}

/* --------------------------------------------------------------------------------------- messages of all kinds -- */

static void test_a_message_of_several_selectors(void **state)
{
    (void)state;
    redis_model *m = up("h?partitions=2");
    model_publish(m, "lk:{1}:rev", "1 " A " " B " CCCCCCCCCCCCCCCCCCCC");
    m->number[1] = 1;
    model_run(m);
    model_expect(m, "= purge " A, "= purge " B, "= purge CCCCCCCCCCCCCCCCCCCC", NULL);
    assert_int_equal(model_counted(m, LK_PURGES), 3);
    beat(m);
    assert_false(model_saw(m, "empty"));
    model_close(m);
}

/* Whatever stands in a message, its number counts, and only selectors are purged. */
static void test_messages_that_are_odd_but_numbered(void **state)
{
    (void)state;
    const char *odd[] = {"1 ",
                         "1  ",
                         "1 short",
                         "1 AAAAAAAAAAAAAAAAAAAAA",
                         "1 AAAAAAAAAAAAAAAAAAA.",
                         "1 @",
                         "1 @x",
                         "1 @-1",
                         "1 @99999999999999999999",
                         "1 @9223372036854775807",
                         "1 @-9223372036854775808"};
    for (size_t i = 0; i < UNIT_COUNT(odd); i++) {
        redis_model *m = up("h?partitions=2");
        model_publish(m, "lk:{0}:rev", odd[i]);
        m->number[0] = 1;
        model_run(m);
        assert_false(model_saw(m, "purge"));
        beat(m);
        assert_false(model_saw(m, "empty"));
        assert_int_equal(m->leases, 2);
        model_close(m);
    }
}

static void test_foreign_messages_are_passed_over(void **state)
{
    (void)state;
    const char *rows[][2] = {
        {"lk:{0}:rev", ""},
        {"lk:{0}:rev", "hello"},
        {"lk:{0}:rev", "0 " A},
        {"lk:{0}:rev", "1"},
        {"lk:{0}:rev", "1," A},
        {"lk:{0}:rev", " " A},
        {"lk:{2}:rev", "1 " A},
        {"lk:{-1}:rev", "1 " A},
        {"lk:{00}:rev", "1 " A},
        {"lk:{0}:revx", "1 " A},
        {"xx:{0}:rev", "1 " A},
        {"lk:{0}:q", "1 " A},
        {"{0}", "1 " A},
        {"lk:0:rev", "1 " A},
        {"", "1 " A},
        {"lk:{4294967296}:rev", "1 " A},
        {"lk:{99999999999999999999}:rev", "1 " A},
        {"lk:beat:0", "1 " A},
    };
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
        redis_model *m = up("h?partitions=2");
        model_publish(m, rows[i][0], rows[i][1]);
        model_run(m);
        assert_false(model_saw(m, "purge"));
        assert_false(model_saw(m, "empty"));
        assert_int_equal(m->link.state, LK_LINK_UP);
        model_revoke(m, 0, B);
        beat(m);
        model_expect(m, "= purge " B, "= lease", NULL);
        assert_false(model_saw(m, "empty"));
        model_close(m);
    }
}

static void test_random_messages(void **state)
{
    (void)state;
    static const char *const pieces[] = {"1", "2", "7", " ", " ", "@", "0", "-", A, B, "x", "18446744073709551615",
                                         "\t"};
    unit_random r = unit_random_new(1);
    redis_model *m = up("h?partitions=2");
    for (uint64_t i = unit_rounds(20000); i; i--) {
        char text[512] = "";
        for (uint64_t n = unit_below(&r, 10); n; n--) strcat(text, pieces[unit_below(&r, UNIT_COUNT(pieces))]);
        model_publish(m, i % 2 ? "lk:{0}:rev" : "lk:{1}:rev", text);
        model_run(m);
        model_clear(m);
        assert_int_equal(m->link.state, LK_LINK_UP);
    }
    beat(m);
    assert_int_equal(m->leases, 2);
    model_close(m);
}

/* ---------------------------------------------------------------------------------------------- another server -- */

static void test_another_incarnation_empties_before_its_lease(void **state)
{
    (void)state;
    redis_model *m = up("h?partitions=2");
    uint64_t first = m->lease_incarnation;
    for (int i = 0; i < 5; i++) model_revoke(m, 0, A);
    beat(m);
    lk_link_lost(&m->link, model_ms(m), LATCHKEY_UNAVAILABLE, "cut");
    m->run_id[0] = m->run_id[1] = "run-2";
    m->number[0] = 1; /* it lost the rest */
    model_clear(m);
    model_up(m);
    model_expect(m, "0 MGET", "= empty\n", "= lease", NULL);
    assert_true(m->lease_incarnation != first);
    model_clear(m);
    model_revoke(m, 0, B);
    beat(m);
    assert_false(model_saw(m, "empty"));
    assert_int_equal(model_counted(m, LK_MISSED), 0);
    model_close(m);
}

/* Only one of the two connections reached the new server. */
static void test_half_a_failover_gives_no_lease(void **state)
{
    (void)state;
    redis_model *m = up("h?partitions=2");
    lk_link_lost(&m->link, model_ms(m), LATCHKEY_UNAVAILABLE, "cut");
    m->run_id[1] = "run-2";
    for (int i = 0; i < 5; i++) {
        model_connect(m);
        model_run(m);
        model_tick(m, 0);
        model_run(m);
        assert_int_equal(m->link.state, LK_LINK_DOWN);
        assert_int_equal(m->leases, 1);
    }
    model_close(m);
}

/* ------------------------------------------------------------------------------------------------ Redis' clock -- */

static void test_the_servers_clock_is_told(void **state)
{
    (void)state;
    redis_model *m = up("h?partitions=2");
    assert_true(m->lease_ahead_us == m->clock_ahead_us);
    m->clock_ahead_us -= 5000000; /* somebody set it */
    beat(m);
    assert_true(m->lease_ahead_us == m->clock_ahead_us);
    model_close(m);
}

/* Numbers from outside that no clock shows, or no numbers at all: no lease is lost over it, nothing overflows. */
static void test_times_that_cannot_be(void **state)
{
    (void)state;
    const char *times[] = {"*2\r\n$1\r\n0\r\n$1\r\n0\r\n",
                           "*2\r\n$2\r\n-1\r\n$2\r\n-1\r\n",
                           "*2\r\n$19\r\n9223372036854775807\r\n$19\r\n9223372036854775807\r\n",
                           "*2\r\n$20\r\n-9223372036854775808\r\n$20\r\n-9223372036854775808\r\n",
                           "*2\r\n$13\r\n9223372036854\r\n$6\r\n999999\r\n",
                           "*2\r\n$1\r\nx\r\n$1\r\ny\r\n",
                           "*2\r\n:1\r\n:2\r\n",
                           "*1\r\n$1\r\n1\r\n",
                           "*0\r\n",
                           "$-1\r\n"};
    for (size_t i = 0; i < UNIT_COUNT(times); i++) {
        redis_model *m = up("h?partitions=2");
        m->command = "TIME";
        m->answer = times[i];
        beat(m);
        model_revoke(m, 0, A);
        beat(m);
        assert_int_equal(m->leases, 3);
        assert_true(model_saw(m, "= purge " A));
        model_close(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_lease_is_of_the_time_of_sending),
        cmocka_unit_test(test_beats_come_four_to_a_staleness),
        cmocka_unit_test(test_no_lease_without_the_nonce),
        cmocka_unit_test(test_no_lease_without_every_answer),
        cmocka_unit_test(test_a_nonce_that_comes_first_waits_for_the_answers),
        cmocka_unit_test(test_other_nonces_are_no_answer),
        cmocka_unit_test(test_beats_have_a_limit),
        cmocka_unit_test(test_a_forgotten_subscription_is_renewed),
        cmocka_unit_test(test_a_demoted_primary_gives_no_lease),
        cmocka_unit_test(test_revocations_are_purged_before_the_lease),
        cmocka_unit_test(test_a_lost_message_empties_before_the_lease),
        cmocka_unit_test(test_a_gap_in_the_messages_empties_at_once),
        cmocka_unit_test(test_a_gap_is_of_one_partition),
        cmocka_unit_test(test_numbers_that_go_backwards_empty),
        cmocka_unit_test(test_numbers_that_go_backwards_and_overtake),
        cmocka_unit_test(test_a_message_lost_before_the_first_beat),
        cmocka_unit_test(test_a_message_of_several_selectors),
        cmocka_unit_test(test_messages_that_are_odd_but_numbered),
        cmocka_unit_test(test_foreign_messages_are_passed_over),
        cmocka_unit_test(test_random_messages),
        cmocka_unit_test(test_another_incarnation_empties_before_its_lease),
        cmocka_unit_test(test_half_a_failover_gives_no_lease),
        cmocka_unit_test(test_the_servers_clock_is_told),
        cmocka_unit_test(test_times_that_cannot_be),
    };
    return cmocka_run_group_tests_name("link_lease", tests, unit_setup, NULL);
}
