/* SPDX-License-Identifier: MIT
 *
 * What the link does with epochs: a message tells of one at once, every beat reads them all, L1 is emptied behind them and
 * before the lease, and a server that knows less is told before it is served. (Guarantees A, B, C and D.)
 */
#include "redis_model.h"

#include <stdio.h>
#include <string.h>

#define A "AAAAAAAAAAAAAAAAAAAA"
#define B "BBBBBBBBBBBBBBBBBBBB"

static int64_t known(const redis_model *m, unsigned p) { return lk_cutoffs_known(m->link.cutoffs, p); }
static void cut(redis_model *m) { lk_link_lost(&m->link, model_ms(m), LATCHKEY_UNAVAILABLE, "cut"); }

static unsigned count(const redis_model *m, const char *text)
{
    unsigned found = 0;
    for (const char *at = m->log; (at = strstr(at, text)); at += strlen(text)) found++;
    return found;
}

static void test_a_message_empties_at_once(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=3");
    model_end_everyone(m, 1, 1000);
    model_deliver(m, 1);
    model_expect(m, "= everyone\n", NULL);
    assert_int_equal(known(m, 1), 1000);
    assert_int_equal(known(m, 0) + known(m, 2), 0);
    assert_int_equal(lk_cutoffs_judge(m->link.cutoffs, 1, 1000), LATCHKEY_NOT_FOUND);
    model_clear(m);
    model_beat(m); /* knows it, too: no news */
    assert_false(model_saw(m, "everyone"));
    assert_false(model_saw(m, "empty"));
    assert_false(model_saw(m, "reassert"));
    assert_false(model_saw(m, "EXISTS"));
    model_expect(m, "0 MGET lk:{0}:q lk:{1}:q lk:{2}:q lk:{0}:e lk:{1}:e lk:{2}:e\n", "= lease", NULL);
    assert_int_equal(model_counted(m, LK_MISSED), 0);
    model_close(m);
}

/* The first beat of all asks whether something else lies there: to MGET a list is nothing. */
static void test_whoever_opens_reads_them(void **state)
{
    (void)state;
    redis_model *m = model_open("h?partitions=2", 1);
    m->epoch[1] = "1000";
    model_up(m);
    model_expect(m, "0 EXISTS lk:{0}:e lk:{1}:e\n", "0 MGET lk:{0}:q lk:{1}:q lk:{0}:e lk:{1}:e\n", "= empty\n",
                 "= lease", NULL);
    assert_int_equal(known(m, 1), 1000);
    assert_int_equal(lk_cutoffs_judge(m->link.cutoffs, 0, 5), LATCHKEY_OK);
    model_close(m);
}

/* Many partitions' messages come together. */
static void test_many_messages_empty_once(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=64");
    for (unsigned p = 0; p < 64; p++) model_end_everyone(m, p, 1000 + p);
    model_clear(m);
    model_deliver(m, 1);
    assert_int_equal(count(m, "= everyone\n"), 1);
    for (unsigned p = 0; p < 64; p++) assert_int_equal(known(m, p), 1000 + p);
    assert_int_equal(model_counted(m, LK_EMPTIES), m->empties + 1);
    model_clear(m);
    for (unsigned p = 0; p < 64; p++) model_end_everyone(m, p, 1000 + p); /* again, and no news */
    model_deliver(m, 1);
    assert_int_equal(count(m, "= everyone\n"), 0);
    model_close(m);
}

/* The message is lost: found by its number and read in the log, or, where that is gone, by the epoch itself. Emptied before
 * the lease, whichever way. */
static void test_a_lost_message(void **state)
{
    (void)state;
    for (int trimmed = 0; trimmed < 2; trimmed++) {
        redis_model *m = model_opened_up("h?partitions=2");
        m->lose_messages = 1;
        model_end_everyone(m, 0, 1000);
        if (trimmed) model_trim(m, 0, 0);
        assert_int_equal(known(m, 0), 0);
        model_clear(m);
        model_beat(m);
        model_expect(m, "0 MGET lk:{0}:q", "= everyone\n", "= lease", NULL);
        assert_int_equal(known(m, 0), 1000);
        assert_int_equal(m->everyones, 1);
        model_close(m);
    }
}

/* Also if it is not counted, as if a person set it by hand. */
static void test_the_beat_alone_is_enough(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=2");
    m->epoch[1] = "1000";
    model_clear(m);
    model_beat(m);
    model_expect(m, "= everyone\n", "= lease", NULL);
    assert_int_equal(known(m, 1), 1000);
    model_close(m);
}

/* Read in the log alone: the next message opens the gap, and its answer comes before any beat. */
static void test_the_log_tells_it(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=1");
    m->lose_messages = 1;
    model_end_everyone(m, 0, 1000);
    model_revoke(m, 0, A);
    model_deliver(m, 1); /* 2, and 1 is missing: the log is asked */
    assert_int_equal(known(m, 0), 0);
    model_serve(m, 0);
    model_deliver(m, 0);
    model_expect(m, "= purge " A, "0 XRANGE lk:{0}:r 1-0", "= everyone\n", NULL);
    assert_int_equal(known(m, 0), 1000);
    /* And the message that was heard and the entry that is read name the same: no other log is suspected. */
    unsigned empties = m->empties;
    model_end_everyone(m, 0, 2000);
    model_run(m);
    m->lose_messages = 1;
    model_revoke(m, 0, B);
    model_beat(m);
    model_expect(m, "0 XRANGE lk:{0}:r 3-0", "= purge " B, NULL);
    assert_int_equal(m->empties, empties);
    model_close(m);
}

/* Heard, and the connection breaks in the same piece: L1 is emptied all the same. */
static void test_emptied_before_the_link_is_lost(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=1");
    model_end_everyone(m, 0, 1000);
    model_publish(m, "lk:{0}:rev", "x"); /* behind it */
    snprintf(m->side[1].replies + m->side[1].used, sizeof m->side[1].replies - m->side[1].used, "garbage\r\n");
    m->side[1].used += 9;
    model_clear(m);
    model_deliver(m, 1);
    model_expect(m, "= everyone\n", NULL);
    assert_int_equal(m->link.state, LK_LINK_DOWN);
    model_close(m);
}

/* ------------------------------------------------------------------------------------------- servers that forgot -- */

static void fail_over(redis_model *m, const char *run_id)
{
    cut(m);
    m->run_id[0] = m->run_id[1] = run_id;
    memset(m->number, 0, sizeof m->number);
    memset(m->revoked, 0, sizeof m->revoked);
    memset(m->epoch, 0, sizeof m->epoch);
    m->scripts_known = false;
    m->forgetful = true;
    model_clear(m);
}

/* However long ago it was; and no lease before it answers. */
static void test_another_server_is_told_before_the_lease(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=3");
    model_end_everyone(m, 0, 1000);
    model_end_everyone(m, 2, 1002);
    model_run(m);
    m->now_us += 2 * (int64_t)LK_RECENT_MS * 1000;
    fail_over(m, "another");
    unsigned leases = m->leases;
    model_connect(m);
    model_run(m);
    model_tick(m, 0);
    model_run(m);
    assert_int_equal(m->leases, leases); /* told, and to be asked again */
    model_tick(m, 5);
    model_run(m);
    model_expect(m, "0 MGET lk:{0}:q", "0 EVAL reassert 1 lk:{0}:s:*0000000000000001000 lk:{0}: *0000000000000001000 #",
                 "0 EVALSHA reassert 1 lk:{2}:s:*0000000000000001002 lk:{2}: *0000000000000001002 #", "0 MGET lk:{0}:q",
                 "= empty\n", "= lease", NULL);
    assert_false(model_saw(m, "{1}:s:*"));
    assert_true(known(m, 0) > 1000); /* as the server says now */
    assert_int_equal(known(m, 1), 0);
    model_close(m);
}

/* One that knows more tells us, and is told nothing. */
static void test_another_server_that_knows_is_told_nothing(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=1");
    model_end_everyone(m, 0, 1000);
    model_run(m);
    fail_over(m, "another");
    m->epoch[0] = "2000";
    model_up(m);
    assert_false(model_saw(m, "reassert"));
    assert_int_equal(known(m, 0), 2000);
    model_close(m);
}

/* The same server: deleted, set back, or of another type. */
static void test_the_same_server_that_lost_it_is_told(void **state)
{
    (void)state;
    static const char *const now[] = {NULL, "999", "0", "LIST"};
    for (size_t i = 0; i < UNIT_COUNT(now); i++) {
        redis_model *m = model_opened_up("h?partitions=1");
        model_end_everyone(m, 0, 1000);
        model_run(m);
        m->epoch[0] = now[i];
        m->forgetful = true;
        model_clear(m);
        unsigned leases = m->leases;
        model_beat(m);
        model_tick(m, 5);
        model_run(m);
        model_expect(m, "0 EVAL reassert", "= everyone\n", "= lease", NULL);
        assert_int_equal(m->leases, leases + 1);
        assert_true(known(m, 0) >= 1000);
        model_close(m);
    }
}

/* Where it does not take it there is no lease, and no storm of attempts. */
static void test_a_server_that_does_not_take_it_gets_no_lease(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=1");
    model_end_everyone(m, 0, 1000);
    model_run(m);
    m->epoch[0] = NULL;
    m->forgetful = false; /* it says that it has it, and has not */
    unsigned leases = m->leases;
    model_clear(m);
    for (int i = 0; i < 1000; i++) {
        model_tick(m, 1);
        model_run(m);
    }
    assert_int_equal(m->leases, leases);
    assert_true(count(m, "reassert") > 1 && count(m, "reassert") < 250);
    /* Errors take the link down. */
    m->command = "EVAL";
    m->answer = "-OOM full\r\n";
    for (int i = 0; i < 20 && m->link.state != LK_LINK_DOWN; i++) {
        model_tick(m, 1);
        model_run(m);
    }
    assert_int_equal(m->link.state, LK_LINK_DOWN);
    assert_int_equal(m->leases, leases);
    model_close(m);
}

/* ----------------------------------------------------------------------------------------------- foreign values -- */

static void test_what_is_no_epoch_is_in_doubt(void **state)
{
    (void)state;
    static const char *const junk[] = {"junk", "-5", "10000000000000", ""};
    for (size_t i = 0; i < UNIT_COUNT(junk); i++) {
        redis_model *m = model_opened_up("h?partitions=2");
        m->epoch[1] = junk[i];
        model_clear(m);
        model_beat(m);
        model_expect(m, "= trouble -4\n", "= everyone\n", "= lease", NULL); /* the other partition is served */
        assert_int_equal(lk_cutoffs_judge(m->link.cutoffs, 1, LK_CUTOFF_MAX), LATCHKEY_CORRUPT);
        assert_int_equal(lk_cutoffs_judge(m->link.cutoffs, 0, 5), LATCHKEY_OK);
        assert_true(strstr(m->trouble, "lk:{1}:e") != NULL);
        assert_int_equal(model_counted(m, LK_CORRUPT_RECORDS), 1);
        model_clear(m);
        model_beat(m); /* said once */
        assert_false(model_saw(m, "trouble") || model_saw(m, "everyone"));
        m->epoch[1] = "LIST"; /* that it is gone is no reason to believe that there was none */
        model_beat(m);
        assert_int_equal(lk_cutoffs_judge(m->link.cutoffs, 1, LK_CUTOFF_MAX), LATCHKEY_CORRUPT);
        m->epoch[1] = NULL;
        model_beat(m);
        assert_int_equal(lk_cutoffs_judge(m->link.cutoffs, 1, 5), LATCHKEY_OK);
        model_close(m);
    }
}

static void test_another_type_at_the_first_beat(void **state)
{
    (void)state;
    redis_model *m = model_open("h?partitions=3", 1);
    m->epoch[0] = "LIST";
    m->epoch[2] = "1000";
    model_up(m);
    assert_int_equal(lk_cutoffs_judge(m->link.cutoffs, 0, 5000), LATCHKEY_CORRUPT);
    assert_int_equal(lk_cutoffs_judge(m->link.cutoffs, 1, 5000), LATCHKEY_CORRUPT); /* it might be this one */
    assert_int_equal(lk_cutoffs_judge(m->link.cutoffs, 2, 5000), LATCHKEY_OK);
    model_end_everyone(m, 0, 2000);
    model_deliver(m, 1);
    assert_int_equal(lk_cutoffs_judge(m->link.cutoffs, 0, 5000), LATCHKEY_OK);
    model_beat(m);
    assert_int_equal(lk_cutoffs_judge(m->link.cutoffs, 1, 5000), LATCHKEY_OK);
    model_close(m);
}

static void test_answers_of_no_use_give_no_lease(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"EXISTS", "+OK\r\n"}, {"EXISTS", "-NOPERM no\r\n"}, {"EXISTS", "*0\r\n"}, {"EXISTS", "$1\r\n1\r\n"}};
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
        redis_model *m = model_open("h?partitions=2", 1);
        m->command = rows[i][0];
        m->answer = rows[i][1];
        model_connect(m);
        model_run(m);
        model_tick(m, 0);
        model_run(m);
        assert_int_equal(m->link.state, LK_LINK_DOWN);
        assert_int_equal(m->leases, 0);
        assert_true(strlen(m->trouble) > 20);
        model_close(m);
    }
}

/* Words that are no epoch, and messages that are none of ours. */
static void test_foreign_messages_end_nobody(void **state)
{
    (void)state;
    static const char *const texts[] = {"1 *", "1 *x", "1 *-5 @1", "1 *10000000000000", "1 **5", "1 * 5", "*5", "x *5"};
    for (size_t i = 0; i < UNIT_COUNT(texts); i++) {
        redis_model *m = model_opened_up("h?partitions=1");
        model_publish(m, "lk:{0}:rev", texts[i]);
        model_deliver(m, 1);
        assert_int_equal(known(m, 0), 0);
        assert_int_equal(m->everyones, 0);
        model_close(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_message_empties_at_once),
        cmocka_unit_test(test_whoever_opens_reads_them),
        cmocka_unit_test(test_many_messages_empty_once),
        cmocka_unit_test(test_a_lost_message),
        cmocka_unit_test(test_the_beat_alone_is_enough),
        cmocka_unit_test(test_the_log_tells_it),
        cmocka_unit_test(test_emptied_before_the_link_is_lost),
        cmocka_unit_test(test_another_server_is_told_before_the_lease),
        cmocka_unit_test(test_another_server_that_knows_is_told_nothing),
        cmocka_unit_test(test_the_same_server_that_lost_it_is_told),
        cmocka_unit_test(test_a_server_that_does_not_take_it_gets_no_lease),
        cmocka_unit_test(test_what_is_no_epoch_is_in_doubt),
        cmocka_unit_test(test_another_type_at_the_first_beat),
        cmocka_unit_test(test_answers_of_no_use_give_no_lease),
        cmocka_unit_test(test_foreign_messages_end_nobody),
    };
    return cmocka_run_group_tests_name("link_everyone", tests, unit_setup, NULL);
}
