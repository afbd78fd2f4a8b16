/* SPDX-License-Identifier: MIT
 *
 * A data set that is replaced in place while something that was made in it is still on its way to the link: a message, the
 * answer to a retried revocation, or the news of what a caller of this process has made.
 */
#include "redis_model.h"

#define A "AAAAAAAAAAAAAAAAAAAA"
#define B "BBBBBBBBBBBBBBBBBBBB"
#define C "CCCCCCCCCCCCCCCCCCCC"

static redis_model *opened(void)
{
    redis_model *m = model_opened_up("h?partitions=1");
    for (int i = 0; i < 5; i++) model_revoke(m, 0, A);
    model_beat(m);
    model_clear(m);
    m->forgetful = true;
    return m;
}

/* The beat sees it first. The message of before comes when the server was told already, and in front of the nonce. */
static void test_a_message_that_comes_behind_the_list(void **state)
{
    (void)state;
    redis_model *m = opened();
    model_publish(m, "lk:{0}:rev", "6 " B " @1");
    m->number[0] = 1;
    model_tick(m, model_beat_due(m));
    model_serve(m, 0);
    model_deliver(m, 0);
    model_expect(m, "= met\n", "= empty\n", NULL);
    assert_false(model_saw(m, B));
    model_run(m);
    model_expect(m, "EVAL reassert", A, "= purge " B, NULL);
    model_tick(m, 5);
    model_run(m);
    model_tick(m, 5);
    model_run(m);
    model_expect(m, "= purge " B, "0 MGET", "EVAL reassert", B, "0 MGET", "= lease", NULL);
    model_close(m);
}

/* Nothing was heard behind the list but what the server was told: once is enough. */
static void test_what_was_told_is_not_told_twice(void **state)
{
    (void)state;
    redis_model *m = opened();
    m->number[0] = 1;
    model_beat(m);
    model_tick(m, 5);
    model_run(m);
    model_expect(m, "EVAL reassert", "0 MGET", "= lease", NULL);
    model_clear(m);
    model_beat(m);
    assert_false(model_saw(m, "reassert"));
    model_close(m);
}

/* A caller's script ended it, and no message, no number and no log tells of it: it is not in this data set. */
static void test_what_was_made_and_is_not_announced_is_told(void **state)
{
    (void)state;
    redis_model *m = opened();
    lk_recent_made(m->link.recent, 0, B, model_ms(m));
    lk_recent_made(m->link.recent, 0, C, model_ms(m));
    model_revoke(m, 0, C);
    model_run(m);
    model_beat(m);
    model_tick(m, 5);
    model_run(m);
    model_expect(m, "0 MGET", "EVAL reassert", B, "0 MGET", "= lease", NULL);
    assert_false(model_saw(m, "reassert 1 lk:{0}:s:" C));
    model_clear(m);
    model_beat(m);
    assert_false(model_saw(m, "reassert"));
    model_expect(m, "= lease", NULL);
    model_close(m);
}

/* Made behind the beat: its message need not come in front of that one's nonce. */
static void test_what_is_made_behind_a_beat_waits_for_the_next(void **state)
{
    (void)state;
    redis_model *m = opened();
    model_tick(m, model_beat_due(m));
    lk_recent_made(m->link.recent, 0, B, model_ms(m));
    model_run(m);
    assert_false(model_saw(m, "reassert"));
    model_expect(m, "= lease", NULL);
    model_close(m);
}

/* The answer to a retry is of the data set before: it is not done. */
static void test_a_retry_that_ran_before(void **state)
{
    (void)state;
    redis_model *m = opened();
    m->scripts_known = true;
    model_job(m, LK_JOB_REVOKE, 0, B);
    model_tick(m, 0);
    model_serve(m, 0); /* its answer is on its way */
    m->number[0] = 0;
    model_revoke(m, 0, C); /* the first one in the data set that is there now */
    model_deliver(m, 1);
    model_expect(m, "= met\n", NULL);
    model_deliver(m, 0);
    model_expect(m, "= done " B " -3\n", NULL);
    model_close(m);
}

/* It ended, and its number was given out again for a change of the same session by another instance, in a data set that lacks
 * the end. */
static void test_what_ended_and_is_changed_is_told(void **state)
{
    (void)state;
    redis_model *m = opened();
    model_revoke(m, 0, B);
    model_run(m);
    model_publish(m, "lk:{0}:rev", "7 " B " @1 changed rights");
    m->number[0] = 7;
    model_run(m);
    model_beat(m);
    model_tick(m, 5);
    model_run(m);
    model_expect(m, "0 MGET", "EVAL reassert", B, "0 MGET", "= lease", NULL);
    model_close(m);
}

/* A beat behind a fill of L1 moves the count; the others only read it. */
static void count_fill(redis_model *m)
{
    lk_count(&m->counters, LK_FILLS, 1);
    model_beat(m);
}

static redis_model *witnessed(void)
{
    redis_model *m = model_opened_up("h?partitions=2");
    for (int i = 0; i < 3; i++) count_fill(m);
    model_expect(m, "0 INCR lk:{0}:w", "= lease", "0 INCR lk:{0}:w", "= lease", "0 INCR lk:{0}:w", "= lease", NULL);
    assert_int_equal(m->witness, 3);
    model_clear(m);
    return m;
}

/* No number went back: it is met as another server all the same, and its number moves, so that others see a gap. */
static void test_a_data_set_that_lacks_only_logins(void **state)
{
    (void)state;
    redis_model *m = witnessed();
    m->witness = 2;
    model_beat(m);
    model_expect(m, "0 GET lk:{0}:w", "= met\n", "= empty\n", "EVAL reassert", " #1\n", NULL);
    model_tick(m, 5);
    model_run(m);
    model_expect(m, " #1\n", "0 MGET", "= empty\n", "= lease", NULL);
    assert_int_equal(m->number[0], 1001);
    model_clear(m);
    model_beat(m);
    assert_false(model_saw(m, "reassert"));
    model_expect(m, "= lease", NULL);
    model_close(m);
}

/* Another instance has moved the count since, and this one moves it as well: up to what it was. */
static void test_a_count_that_only_comes_up_to_what_it_was(void **state)
{
    (void)state;
    redis_model *m = witnessed();
    m->witness = 2;
    count_fill(m);
    model_expect(m, "0 INCR lk:{0}:w", "= met\n", "= empty\n", NULL);
    model_close(m);
}

/* Another instance has seen it. */
static void test_a_number_that_moved_without_a_log_empties_l1(void **state)
{
    (void)state;
    redis_model *m = witnessed();
    m->number[0] = 1001;
    model_beat(m);
    model_expect(m, "0 XRANGE lk:{0}:r", "= empty\n", "= lease", NULL);
    model_close(m);
}

static void test_a_count_that_cannot_be_moved_hinders_nothing(void **state)
{
    (void)state;
    redis_model *m = witnessed();
    m->command = "INCR";
    m->answer = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
    count_fill(m);
    model_expect(m, "0 INCR lk:{0}:w", "= lease", NULL);
    model_clear(m);
    model_beat(m);
    model_expect(m, "0 GET lk:{0}:w", "= lease", NULL);
    assert_false(model_saw(m, "= empty"));
    model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_ended_and_is_changed_is_told),
        cmocka_unit_test(test_a_data_set_that_lacks_only_logins),
        cmocka_unit_test(test_a_count_that_only_comes_up_to_what_it_was),
        cmocka_unit_test(test_a_number_that_moved_without_a_log_empties_l1),
        cmocka_unit_test(test_a_count_that_cannot_be_moved_hinders_nothing),
        cmocka_unit_test(test_a_message_that_comes_behind_the_list),
        cmocka_unit_test(test_what_was_told_is_not_told_twice),
        cmocka_unit_test(test_what_was_made_and_is_not_announced_is_told),
        cmocka_unit_test(test_what_is_made_behind_a_beat_waits_for_the_next),
        cmocka_unit_test(test_a_retry_that_ran_before),
    };
    return cmocka_run_group_tests_name("link_replaced", tests, unit_setup, NULL);
}
