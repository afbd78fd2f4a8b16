/* SPDX-License-Identifier: MIT
 *
 * A server that is not the one it was: resubscribe, empty, make the recent revocations once more, beat, then serve.
 * (Guarantee C.)
 */
#include "redis_model.h"

#include <stdio.h>
#include <string.h>

#define A "AAAAAAAAAAAAAAAAAAAA"
#define B "BBBBBBBBBBBBBBBBBBBB"
#define C "CCCCCCCCCCCCCCCCCCCC"

static const unsigned four[] = {0, 1, 2, 3};
static const lk_partitions ALL = {four, 4};

static unsigned count(const redis_model *m, const char *part)
{
    unsigned n = 0;
    for (const char *at = m->log; (at = strstr(at, part)); at += strlen(part)) n++;
    return n;
}

static void cut(redis_model *m) { lk_link_lost(&m->link, model_ms(m), LATCHKEY_UNAVAILABLE, "cut"); }

/* The same name, another server, which knows nothing of what was revoked lately. */
static void fail_over(redis_model *m)
{
    cut(m);
    m->run_id[0] = m->run_id[1] = "run-2";
    m->scripts_known = false;
    m->forgetful = true;
    memset(m->number, 0, sizeof m->number);
    model_clear(m);
}

static void test_what_was_heard_is_made_once_more_before_the_beat(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=4");
    model_revoke(m, 2, A);
    model_revoke(m, 1, B);
    model_revoke(m, 2, C);
    model_run(m);
    fail_over(m);
    model_up(m);
    model_expect(m, "1 SUBSCRIBE", "= met\n", "= empty\n", "0 EVAL reassert 1 lk:{1}:s:" B " lk:{1}: " B " #1\n",
                 "0 EVALSHA reassert 1 lk:{2}:s:", "0 MGET", "= empty\n", "= lease", NULL);
    assert_int_equal(count(m, "reassert"), 2);
    model_expect(m, "0 EVALSHA reassert", A, NULL);
    model_expect(m, "0 EVALSHA reassert", C, NULL);
    assert_int_equal(m->number[2], 2);
    model_close(m);
}

/* What the log told of was never received, and counts as much. Rights that were changed may have been lost, too. */
static void test_what_was_replayed_too_and_what_was_changed(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=1");
    m->lose_messages = 1;
    model_revoke(m, 0, A);
    model_beat(m);
    model_publish(m, "lk:{0}:rev", "2 " B " @1 changed rights");
    model_publish(m, "lk:{0}:rev", "3 " C " @1 changed");
    m->number[0] = 3;
    model_beat(m);
    assert_true(model_saw(m, "= purge " B));
    fail_over(m);
    model_up(m);
    /* The newest first. A change goes with its number, by which the server tells whether it knows of it. */
    model_expect(m, "0 EVAL reassert 1 lk:{0}:s:" B " lk:{0}: " B ":2 " A " #3\n", "= lease", NULL);
    assert_false(model_saw(m, C)); /* exchanged, say: its rights are what they were */
    model_close(m);
}

static void test_the_same_server_is_told_nothing(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=1");
    model_revoke(m, 0, A);
    model_run(m);
    cut(m);
    model_clear(m);
    model_up(m);
    assert_false(model_saw(m, "reassert"));
    assert_false(model_saw(m, "met"));
    model_close(m);
}

static void test_what_is_long_ago_is_forgotten(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=1");
    model_revoke(m, 0, A);
    model_run(m);
    m->now_us += (int64_t)LK_RECENT_MS * 1000;
    model_tick(m, 0);
    model_run(m); /* the server was confirmed then */
    fail_over(m);
    model_up(m);
    assert_false(model_saw(m, "reassert"));
    model_close(m);
}

/* The time is counted from when the server was last confirmed, not from when another one is there. */
static void test_a_long_outage_forgets_nothing(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=1");
    model_revoke(m, 0, A);
    model_beat(m);
    fail_over(m);
    m->now_us += (int64_t)LK_RECENT_MS * 10000;
    model_up(m);
    model_expect(m, "EVAL reassert", A, "= lease", NULL);
    model_close(m);
}

/* A session that ended stays ended, whatever is said of it later; of two changes the later one counts. */
static void test_what_is_remembered_of_one_session(void **state)
{
    (void)state;
    static lk_recent_item items[LK_RECENT_MAX];
    lk_recent *r = lk_recent_open(1, LK_RECENT_MAX);
    lk_recent_add_change(r, 0, A, 7, 1000);
    lk_recent_add_change(r, 0, A, 9, 1001);
    assert_int_equal(lk_recent_list(r, ALL, 1001, items), 1);
    assert_int_equal(items[0].change, 9);
    lk_recent_add(r, 0, A, 1002);
    lk_recent_add_change(r, 0, A, 11, 1003);
    assert_int_equal(lk_recent_list(r, ALL, 1003, items), 1);
    assert_int_equal(items[0].change, 0);
    lk_recent_close(r);
}

/* A change that was remembered long ago, and then the end of the same session: that end is the newest, and is not the next to make
 * room. */
static void test_what_is_remembered_anew_is_not_the_oldest(void **state)
{
    (void)state;
    static lk_recent_item items[LK_RECENT_MAX];
    char selector[LATCHKEY_SELECTOR_LENGTH + 1];
    lk_recent *r = lk_recent_open(1, LK_RECENT_MAX);
    lk_recent_add_change(r, 0, A, 7, 1000);
    for (unsigned i = 1; i < 2 * LK_RECENT_MAX - 1; i++) {
        if (i == LK_RECENT_MAX) lk_recent_made(r, 0, A, 1001);
        snprintf(selector, sizeof selector, "many%016u", i);
        lk_recent_add(r, 0, selector, 1002);
    }
    assert_false(lk_recent_ended(r, "many0000000000004095"));
    assert_true(lk_recent_ended(r, A)); /* LK_RECENT_MAX - 1 came behind it */
    assert_int_equal(lk_recent_list(r, ALL, 1002, items), LK_RECENT_MAX);
    assert_int_equal(lk_recent_unheard(r, ALL, 1003, items), 1);
    lk_recent_add(r, 0, "many0000000000009999", 1002);
    assert_true(lk_recent_ended(r, "many0000000000009999"));
    assert_false(lk_recent_ended(r, A));
    assert_int_equal(lk_recent_unheard(r, ALL, 1003, items), 0);
    lk_recent_close(r);
}

/* Interrupted: it was not served, so the next connection begins again. */
static void test_an_interrupted_assertion_is_begun_again(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=1");
    model_revoke(m, 0, A);
    model_run(m);
    fail_over(m);
    m->command = "EVAL";
    m->answer = "";
    model_connect(m);
    model_run(m);
    assert_int_equal(m->link.state, LK_LINK_REASSERTING);
    model_tick(m, 100);
    assert_false(model_saw(m, "MGET")); /* no beat before the last answer */
    model_tick(m, lk_link_wake_ms(&m->link) - model_ms(m));
    assert_int_equal(m->link.state, LK_LINK_DOWN);
    m->command = NULL;
    model_clear(m);
    model_up(m);
    model_expect(m, "0 EVAL reassert", A, "= lease", NULL);
    model_close(m);
}

static void test_errors_give_no_lease(void **state)
{
    (void)state;
    const char *answers[] = {"-OOM full\r\n", "-NOPERM no\r\n", "-NOSCRIPT no\r\n", "+OK\r\n", "$-1\r\n", "*0\r\n"};
    for (size_t i = 0; i < UNIT_COUNT(answers); i++) {
        redis_model *m = model_opened_up("h?partitions=1");
        model_revoke(m, 0, A);
        model_run(m);
        fail_over(m);
        m->command = "EVAL";
        m->answer = answers[i];
        model_connect(m);
        model_run(m);
        assert_int_equal(m->link.state, LK_LINK_DOWN);
        assert_int_equal(m->leases, 1);
        assert_true(strlen(m->trouble) > 20);
        m->command = NULL;
        model_up(m);
        model_expect(m, "0 EVAL reassert", "= lease", NULL);
        model_close(m);
    }
}

/* As many as are remembered, in partitions more than are asked for at once. */
static void test_many(void **state)
{
    (void)state;
    enum { MANY = LK_RECENT_MAX + 100 };
    redis_model *m = model_opened_up("h?partitions=64");
    for (unsigned i = 0; i < MANY; i++) {
        char selector[LATCHKEY_SELECTOR_LENGTH + 1];
        snprintf(selector, sizeof selector, "many%016u", i);
        lk_recent_add(m->link.recent, i * 7 % 64, selector, model_ms(m));
    }
    fail_over(m);
    m->forgetful = false;
    model_up(m);
    assert_int_equal(count(m, "reassert"), 64); /* 64 in each partition, 64 to a call */
    assert_int_equal(count(m, " many"), LK_RECENT_MAX);
    assert_false(model_saw(m, "many0000000000000099")); /* the oldest made room */
    assert_true(model_saw(m, " many0000000000000100"));
    model_close(m);
}

/* A server is told of its own partitions, and what another one was not told of is not forgotten. */
static void test_each_server_is_told_of_its_partitions(void **state)
{
    (void)state;
    static lk_recent_item items[LK_RECENT_MAX];
    static const unsigned some[] = {1, 3};
    const lk_partitions here = {some, 2};
    lk_recent *r = lk_recent_open(1, LK_RECENT_MAX);
    lk_recent_made(r, 1, A, 1000);
    lk_recent_made(r, 2, B, 1000);
    assert_int_equal(lk_recent_list(r, here, 1000, items), 1);
    assert_memory_equal(items[0].selector, A, LATCHKEY_SELECTOR_LENGTH);
    assert_int_equal(lk_recent_unheard(r, here, 1001, items), 1);
    lk_recent_told(r, here, 1001);
    assert_int_equal(lk_recent_unheard(r, here, 1001, items), 0);
    assert_int_equal(lk_recent_unheard(r, ALL, 1001, items), 1);
    assert_memory_equal(items[0].selector, B, LATCHKEY_SELECTOR_LENGTH);
    lk_recent_close(r);
}

/* What we revoke we also hear: it takes one place. */
static void test_made_and_heard_is_one(void **state)
{
    (void)state;
    static lk_recent_item items[LK_RECENT_MAX];
    lk_recent *r = lk_recent_open(1, LK_RECENT_MAX);
    assert_int_equal(lk_recent_list(r, ALL, 1000, items), 0);
    for (int i = 0; i < 5; i++) lk_recent_add(r, 3, A, 1000 + i);
    lk_recent_add(r, 1, B, 1000);
    assert_int_equal(lk_recent_list(r, ALL, 1004, items), 2);
    assert_int_equal(items[0].partition, 1);
    assert_int_equal(items[1].partition, 3);
    assert_memory_equal(items[1].selector, A, LATCHKEY_SELECTOR_LENGTH);
    assert_int_equal(lk_recent_list(r, ALL, 1000 + LK_RECENT_MS, items), 1);
    assert_int_equal(lk_recent_list(r, ALL, 1004 + LK_RECENT_MS, items), 0);
    lk_recent_close(r);
}

/* Behind one address connections may lead to two servers: a thread that learns of another one makes the link look. */
static void test_a_link_that_is_told_of_another_server_looks(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=1");
    model_revoke(m, 0, A);
    model_run(m);
    lk_link_suspect(&m->link, m->lease_incarnation); /* the one that it knows */
    model_tick(m, 1);
    assert_int_equal(m->link.state, LK_LINK_UP);
    lk_link_suspect(&m->link, 12345);
    m->run_id[0] = m->run_id[1] = "run-2";
    m->scripts_known = false;
    model_clear(m);
    model_tick(m, 1);
    assert_int_equal(m->link.state, LK_LINK_DOWN);
    assert_non_null(strstr(m->trouble, "another server answers"));
    model_up(m);
    model_expect(m, "= met\n", "EVAL reassert", A, "= lease", NULL);
    model_tick(m, 1);
    assert_int_equal(m->link.state, LK_LINK_UP); /* what made it look is forgotten */
    model_close(m);
}

/* Two servers may go on answering there: the link does not live on looking. */
static void test_it_looks_once_in_a_while(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=1");
    unsigned looks = 0;
    for (int i = 0; i < 200; i++) { /* 20 s, in which every answer comes from another server */
        lk_link_suspect(&m->link, 12345);
        model_tick(m, 100);
        model_run(m);
        if (m->link.state != LK_LINK_DOWN) continue;
        looks++;
        model_up(m);
    }
    assert_in_range(looks, 2, 15);
    assert_true(lk_link_wake_ms(&m->link) > model_ms(m));
    model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_heard_is_made_once_more_before_the_beat),
        cmocka_unit_test(test_what_was_replayed_too_and_what_was_changed),
        cmocka_unit_test(test_the_same_server_is_told_nothing),
        cmocka_unit_test(test_what_is_long_ago_is_forgotten),
        cmocka_unit_test(test_a_long_outage_forgets_nothing),
        cmocka_unit_test(test_what_is_remembered_of_one_session),
        cmocka_unit_test(test_what_is_remembered_anew_is_not_the_oldest),
        cmocka_unit_test(test_an_interrupted_assertion_is_begun_again),
        cmocka_unit_test(test_errors_give_no_lease),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_made_and_heard_is_one),
        cmocka_unit_test(test_each_server_is_told_of_its_partitions),
        cmocka_unit_test(test_a_link_that_is_told_of_another_server_looks),
        cmocka_unit_test(test_it_looks_once_in_a_while),
    };
    return cmocka_run_group_tests_name("link_incarnation", tests, unit_setup, NULL);
}
