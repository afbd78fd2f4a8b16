/* SPDX-License-Identifier: MIT
 *
 * What the link does with the log: gaps are replayed, and L1 is emptied only where the log does not reach back to them
 * or is not the one that it was. (Guarantees C and D.)
 */
#include "redis_model.h"

#include <stdio.h>
#include <string.h>

#define A "AAAAAAAAAAAAAAAAAAAA"
#define B "BBBBBBBBBBBBBBBBBBBB"
#define C "CCCCCCCCCCCCCCCCCCCC"

static void lose(redis_model *m, unsigned partition, const char *selector)
{
    m->lose_messages = 1;
    model_revoke(m, partition, selector);
}

static void cut(redis_model *m) { lk_link_lost(&m->link, model_ms(m), LATCHKEY_UNAVAILABLE, "cut"); }

static void test_a_reconnect_to_the_same_server_keeps_l1(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=2");
    model_revoke(m, 0, A);
    model_run(m);
    cut(m);
    model_revoke(m, 0, B); /* there is no subscription */
    model_revoke(m, 1, C);
    model_clear(m);
    model_up(m);
    model_expect(m, "0 MGET", "0 PUBLISH", "0 XRANGE lk:{0}:r 1-0", "0 XRANGE lk:{1}:r 1-0", "= purge " B, "= purge " C,
                 "= lease", NULL);
    assert_false(model_saw(m, "empty"));
    assert_int_equal(model_counted(m, LK_MISSED), 2);
    assert_int_equal(model_counted(m, LK_REPLAYED), 2);
    model_close(m);
}

/* Cut before the first beat of a server came back: then its numbers are not known yet. */
static void test_a_reconnect_before_the_first_beat_is_no_reconnect(void **state)
{
    (void)state;
    redis_model *m = model_open("h?partitions=2", 1);
    model_connect(m);
    model_run(m);
    model_revoke(m, 0, A);
    cut(m);
    model_clear(m);
    model_up(m);
    model_expect(m, "0 MGET", "= empty", "= lease", NULL);
    model_close(m);
}

static void test_a_log_that_was_trimmed_empties(void **state)
{
    (void)state;
    for (size_t kept = 0; kept < 5; kept++) { /* with 4 it has the entry that was applied last */
        redis_model *m = model_opened_up("h?partitions=2");
        model_revoke(m, 0, A);
        model_run(m);
        lose(m, 0, A);
        lose(m, 0, B);
        lose(m, 0, C);
        model_trim(m, 0, kept);
        model_clear(m);
        unsigned empties = m->empties;
        model_beat(m);
        model_tick(m, 5);
        model_run(m);
        /* It may be another data set's, so the server is told what is remembered. */
        if (kept < 4) model_expect(m, "0 XRANGE", "= empty", "EVAL reassert", A, "0 MGET", "= lease", NULL);
        else model_expect(m, "0 XRANGE", "= purge " A, "= purge " B, "= purge " C, "= lease", NULL);
        assert_int_equal(m->empties, empties + (kept < 4));
        assert_int_equal(model_counted(m, LK_EMPTIES), m->empties);
        model_clear(m);
        model_revoke(m, 0, B);
        model_beat(m);
        assert_false(model_saw(m, "XRANGE")); /* the numbers were taken */
        assert_false(model_saw(m, "empty"));
        model_close(m);
    }
}

static void test_logs_of_no_use_empty(void **state)
{
    (void)state;
    const char *answers[] = {"*0\r\n",
                             "$-1\r\n",
                             ":1\r\n",
                             "*1\r\n*0\r\n",
                             "*1\r\n$3\r\n1-0\r\n",
                             "*1\r\n*2\r\n$3\r\n1-0\r\n*0\r\n",
                             "*1\r\n*2\r\n$3\r\n1-0\r\n*-1\r\n",
                             "*1\r\n*2\r\n:1\r\n*2\r\n$1\r\ns\r\n$20\r\n" A "\r\n",
                             "*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\ns\r\n$20\r\n" A "\r\n",
                             "*1\r\n*2\r\n$1\r\n1\r\n*2\r\n$1\r\ns\r\n$20\r\n" A "\r\n",
                             "*1\r\n*2\r\n$3\r\n2-0\r\n*2\r\n$1\r\ns\r\n$20\r\n" A "\r\n",
                             "*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nx\r\n$20\r\n" A "\r\n",
                             "*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\ns\r\n:7\r\n",
                             "-WRONGTYPE Operation against a key\r\n",
                             "-NOPERM this user\r\n"};
    for (size_t i = 0; i < UNIT_COUNT(answers); i++) {
        redis_model *m = model_opened_up("h?partitions=2");
        lose(m, 0, A);
        m->command = "XRANGE";
        m->answer = answers[i];
        model_beat(m);
        model_expect(m, "0 XRANGE", "= empty", "= lease", NULL);
        if (answers[i][0] == '-') assert_true(model_saw(m, "= trouble"));
        assert_int_equal(m->leases, 2);
        model_close(m);
    }
}

/* Longer than what is read at once. */
static void test_a_long_log_is_read_piece_by_piece(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=2");
    enum { MANY = 1500 };
    for (unsigned i = 0; i < MANY; i++) {
        char selector[LATCHKEY_SELECTOR_LENGTH + 1];
        snprintf(selector, sizeof selector, "many%016u", i);
        lose(m, 1, selector);
    }
    model_beat(m);
    assert_false(model_saw(m, "empty"));
    assert_int_equal(model_counted(m, LK_MISSED), MANY);
    assert_int_equal(model_counted(m, LK_REPLAYED), MANY);
    model_expect(m, "= purge many0000000000000000\n", "= purge many0000000000001499\n", "= lease", NULL);
    model_close(m);
}

/* More gaps than are asked for at once. */
static void test_gaps_in_every_partition(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=64");
    for (unsigned p = 0; p < 64; p++) lose(m, p, A);
    m->link.replays = 60; /* as if so many were under way already */
    model_beat(m);
    assert_int_equal(model_counted(m, LK_REPLAYED), 64);
    assert_int_equal(m->leases, 2);
    assert_false(model_saw(m, "empty"));
    model_close(m);
}

static void test_no_lease_while_the_log_does_not_answer(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=2");
    lose(m, 0, A);
    m->command = "XRANGE";
    m->answer = "";
    model_beat(m);
    assert_int_equal(m->leases, 1);
    model_tick(m, m->config.staleness_ms / 2);
    assert_int_equal(m->link.state, LK_LINK_DOWN);
    m->command = NULL;
    model_clear(m);
    model_up(m); /* the gap is still known */
    model_expect(m, "0 XRANGE lk:{0}:r", "= purge " A, "= lease", NULL);
    assert_false(model_saw(m, "empty"));
    assert_int_equal(model_counted(m, LK_MISSED), 1); /* and was counted once */
    model_close(m);
}

/* The answer overtakes messages: they come behind it, on the other connection. */
static void test_a_replay_that_overtakes_messages(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=2");
    lose(m, 0, A);
    model_revoke(m, 0, B);
    model_deliver(m, 1); /* 2: a gap */
    model_revoke(m, 0, C);
    model_revoke(m, 0, A);
    model_serve(m, 0);
    model_deliver(m, 0); /* 1 to 4 */
    model_clear(m);
    model_deliver(m, 1); /* 3 and 4 */
    model_expect(m, "= purge " C, "= purge " A, NULL);
    model_revoke(m, 0, B);
    model_beat(m);
    assert_true(model_saw(m, "lease"));
    assert_false(model_saw(m, "empty"));
    assert_false(model_saw(m, "XRANGE"));
    assert_int_equal(model_counted(m, LK_MISSED), 1);
    model_close(m);
}

/* A second gap opens while the first is being replayed. */
static void test_a_gap_behind_a_gap(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=2");
    lose(m, 0, A);
    model_revoke(m, 0, B);
    model_deliver(m, 1);
    model_serve(m, 0); /* the log is read here */
    lose(m, 0, C);
    model_revoke(m, 0, B);
    model_deliver(m, 1);
    assert_false(model_saw(m, "purge " C));
    model_run(m);
    model_expect(m, "0 XRANGE lk:{0}:r 1-0", "= purge " A, "0 XRANGE lk:{0}:r 2-0", "= purge " C, NULL);
    assert_false(model_saw(m, "empty"));
    model_close(m);
}

/* The counter is started anew while the log is being read: the answer is of the old one, and would hide what is lost of
 * the new. */
static void test_a_stale_answer_of_the_log(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=1");
    for (int i = 0; i < 5; i++) model_revoke(m, 0, A);
    model_run(m);
    for (int i = 0; i < 4; i++) lose(m, 0, B); /* 6 to 9 */
    model_revoke(m, 0, B);
    model_deliver(m, 1);
    model_serve(m, 0); /* 5 to 10 of the old log */
    m->number[0] = 0;
    for (int i = 0; i < 5; i++) model_revoke(m, 0, A);
    model_deliver(m, 1);
    assert_true(model_saw(m, "= empty"));
    lose(m, 0, C); /* 6, as the old log knows it too */
    unsigned purged_b = (unsigned)model_counted(m, LK_REPLAYED);
    model_deliver(m, 0);
    assert_int_equal(model_counted(m, LK_REPLAYED), purged_b); /* nothing of the old log is applied */
    model_clear(m);
    model_revoke(m, 0, A);
    model_run(m);
    model_beat(m);
    model_expect(m, "= empty", "= lease",
                 NULL); /* C's message was lost before the first beat: L1 is emptied after it */
    model_clear(m);
    lose(m, 0, B);
    model_beat(m);
    model_expect(m, "XRANGE lk:{0}:r", "= purge " B, "= lease", NULL); /* and the log is asked again */
    model_close(m);
}

/* Emptied for one partition, all are taken as they are: nothing from before is in L1. */
static void test_emptying_closes_every_gap(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=3");
    lose(m, 0, A);
    lose(m, 1, B);
    model_trim(m, 0, 0);
    unsigned empties = m->empties;
    model_beat(m);
    assert_int_equal(m->empties, empties + 1);
    assert_int_equal(m->leases, 2);
    for (unsigned p = 0; p < 3; p++) model_revoke(m, p, C);
    model_clear(m);
    model_beat(m);
    assert_false(model_saw(m, "XRANGE"));
    assert_false(model_saw(m, "empty"));
    model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_reconnect_to_the_same_server_keeps_l1),
        cmocka_unit_test(test_a_reconnect_before_the_first_beat_is_no_reconnect),
        cmocka_unit_test(test_a_log_that_was_trimmed_empties),
        cmocka_unit_test(test_logs_of_no_use_empty),
        cmocka_unit_test(test_a_long_log_is_read_piece_by_piece),
        cmocka_unit_test(test_gaps_in_every_partition),
        cmocka_unit_test(test_no_lease_while_the_log_does_not_answer),
        cmocka_unit_test(test_a_replay_that_overtakes_messages),
        cmocka_unit_test(test_a_gap_behind_a_gap),
        cmocka_unit_test(test_a_stale_answer_of_the_log),
        cmocka_unit_test(test_emptying_closes_every_gap),
    };
    return cmocka_run_group_tests_name("link_replay", tests, unit_setup, NULL);
}
