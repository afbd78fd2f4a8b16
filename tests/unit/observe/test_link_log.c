/* SPDX-License-Identifier: MIT
 *
 * What the link says of its ups and downs, in virtual time: each transition once, few lines at any rate, and the last one
 * true. And the link itself: what it asks a server whose settings it does not know, and says when it is lost and back.
 */
#include "redis_model.h"
#include "observe/link_log.h"

#include <stdio.h>
#include <string.h>

static char said[65536];
static unsigned lines;

static void keep(void *context, int level, const char *text)
{
    (void)context;
    size_t used = strlen(said);
    snprintf(said + used, sizeof said - used, "%d %s\n", level, text);
    lines++;
}

static int listen_to_it(void **state)
{
    (void)state;
    latchkey_set_log(keep, NULL);
    said[0] = 0;
    lines = 0;
    return 0;
}

static int stop_listening(void **state)
{
    (void)state;
    latchkey_set_log(NULL, NULL);
    return 0;
}

#define assert_said(text)                                                                                              \
    do {                                                                                                               \
        assert_string_equal(said, text);                                                                               \
        said[0] = 0;                                                                                                   \
    } while (0)

static lk_counters counters;
static lk_link_log opened(void)
{
    lk_link_log t;
    memset(&counters, 0, sizeof counters);
    lk_link_log_open(&t, 1000);
    return t;
}

static void lease(lk_link_log *t, int64_t sent_ms)
{
    lk_link_log_lease(t, sent_ms, 2000, lk_counted(&counters, LK_CORRUPT_RECORDS));
}
static void lost(lk_link_log *t, int64_t now_ms, const char *why)
{
    lk_link_log_lost(t, now_ms, LATCHKEY_UNAVAILABLE, why);
}

static void test_transitions_are_said_once(void **state)
{
    (void)state;
    lk_link_log t = opened();
    for (int64_t ms = 1000; ms < 5000; ms += 500) lease(&t, ms);
    assert_said(""); /* all is well */
    lost(&t, 5100, "refused");
    assert_said("4 link: down: refused\n");
    for (int64_t ms = 5200; ms < 60000; ms += 100) lost(&t, ms, "refused");
    assert_said("");
    lost(&t, 60000, "loading");
    lost(&t, 60100, "loading");
    assert_said("4 link: down: loading\n");
    lk_link_log_lost(&t, 60200, LATCHKEY_CONFIG, "wrong password");
    assert_said("3 link: down: wrong password\n");
    lease(&t, 65100);
    assert_said("5 link: up after 60000 ms\n");
    lease(&t, 65600);
    assert_said("");
    lost(&t, 66000, "wrong password"); /* the same again is another time */
    assert_said("4 link: down: wrong password\n");
}

static void test_flapping_says_little_and_ends_with_the_truth(void **state)
{
    (void)state;
    lk_link_log t = opened();
    int64_t ms = 1000;
    for (int i = 0; i < 5000; i++) {
        lost(&t, ms += 10, i % 2 ? "one" : "another");
        lease(&t, ms += 10);
    }
    unsigned most = LK_LINK_LOG_AT_ONCE + (unsigned)(ms - 1000) / LK_LINK_LOG_EVERY_MS;
    assert_in_range(lines, LK_LINK_LOG_AT_ONCE, most);
    for (int64_t end = ms + LK_LINK_LOG_EVERY_MS; ms < end;) lease(&t, ms += 500);
    said[strlen(said) - 1] = 0;
    assert_int_equal(strncmp(strrchr(said, '\n'), "\n5 link: up after 10 ms", 23), 0);
    const char *times = strstr(said, "; it was down ");
    assert_non_null(times);
    assert_non_null(strstr(times, " times, the last because of this: "));
    /* Left alone, it can speak at once again. */
    ms += LK_LINK_LOG_AT_ONCE * LK_LINK_LOG_EVERY_MS;
    lease(&t, ms);
    said[0] = 0;
    lost(&t, ms += 100, "gone");
    lease(&t, ms += 100);
    assert_said("4 link: down: gone\n5 link: up after 100 ms\n");
}

/* Down for good after it said too much: said as soon as there is room. */
static void test_what_there_was_no_room_for_is_said_later(void **state)
{
    (void)state;
    lk_link_log t = opened();
    int64_t ms = 1000;
    for (int i = 0; i < 100; i++) {
        lost(&t, ms += 10, "flapping");
        lease(&t, ms += 10);
    }
    said[0] = 0;
    for (int i = 0; i < 15; i++) lost(&t, ms += 1000, "dead");
    assert_said("4 link: down: dead\n");
}

static void test_a_lapse_beside_a_good_connection(void **state)
{
    (void)state;
    lk_link_log t = opened();
    lease(&t, 1000);
    lease(&t, 3000); /* to the millisecond */
    assert_said("");
    lease(&t, 8500);
    assert_said("4 lease: it had lapsed for 3500 ms: this process, or its machine, was paused or too busy\n");
    lost(&t, 8600, "x"); /* what a lost link is the cause of is not said twice */
    lease(&t, 90000);
    assert_said("4 link: down: x\n5 link: up after 81400 ms\n");
}

static void withheld(lk_link_log *t, int64_t now_ms, const char *why) { lk_link_log_withheld(t, now_ms, 2000, why); }

/* The link is up, and beats give no lease: that is no pause. */
static void test_a_lease_that_is_withheld(void **state)
{
    (void)state;
    lk_link_log t = opened();
    lease(&t, 1000);
    withheld(&t, 2500, "nobody vouches"); /* the lease still holds */
    assert_said("");
    for (int64_t ms = 3000; ms < 60000; ms += 500) withheld(&t, ms, "nobody vouches");
    assert_said("4 link: Redis cannot be used: nobody vouches\n");
    lease(&t, 60000);
    assert_said("5 link: up after 57000 ms\n");
    lease(&t, 60500);
    withheld(&t, 61000, "nobody vouches");
    lease(&t, 61500); /* and it was over before the lease ran out */
    assert_said("");
    withheld(&t, 63500, "nobody vouches"); /* the same again is another time */
    lost(&t, 63600, "nobody vouches");
    assert_said("4 link: Redis cannot be used: nobody vouches\n");
    lost(&t, 63700, "refused");
    withheld(&t, 64000, "nobody vouches"); /* connected again, and still no lease */
    lease(&t, 65500);
    assert_said("4 link: down: refused\n4 link: Redis cannot be used: nobody vouches\n5 link: up after 2000 ms\n");
    lease(&t, 70000); /* a pause is one, still */
    assert_said("4 lease: it had lapsed for 2500 ms: this process, or its machine, was paused or too busy\n");
}

static void test_l1_emptied_for_a_reason(void **state)
{
    (void)state;
    lk_link_log t = opened();
    t.expected++; /* by the link, which met another server */
    t.empties++;
    lease(&t, 1000);
    assert_said("");
    t.empties++;
    t.missed += 3;
    lease(&t, 1500);
    assert_said("4 l1: the messages of 3 revocations were lost, as their numbers show; it was emptied\n");
    t.missed += 2; /* and what was in them is known */
    lease(&t, 1600);
    assert_said("5 l1: the messages of 2 revocations were lost, as their numbers show\n");
    t.empties++;
    lease(&t, 2000);
    assert_non_null(strstr(said, "4 l1: emptied: Redis counts its revocations anew"));
    said[0] = 0;
    lost(&t, 2100, "x");
    t.expected += 2;
    t.empties += 2;
    lease(&t, 2200);
    lease(&t, 2300);
    assert_said("4 link: down: x\n5 link: up after 100 ms\n");
    lost(&t, 2400, "x");
    lease(&t, 2500); /* and a link that need not empty it hides no later emptying */
    said[0] = 0;
    t.empties++;
    lease(&t, 2600);
    assert_non_null(strstr(said, "anew"));
}

/* In a cluster there are several links, and partitions come and go. */
static void test_links_of_a_cluster(void **state)
{
    (void)state;
    lk_link_log t = opened();
    snprintf(t.where, sizeof t.where, " 10.0.0.1:6379");
    lease(&t, 1000);
    lk_link_log_moved(&t);
    lease(&t, 3600000); /* it slept */
    assert_said("");
    lost(&t, 3600500, "x");
    lease(&t, 3601000);
    lease(&t, 3604000);
    assert_said(
        "4 link 10.0.0.1:6379: down: x\n5 link 10.0.0.1:6379: up after 500 ms\n"
        "4 lease 10.0.0.1:6379: it had lapsed for 1000 ms: this process, or its machine, was paused or too busy\n");
}

static void test_corrupt_records_are_counted_together(void **state)
{
    (void)state;
    lk_link_log t = opened();
    lease(&t, 1000);
    lk_count(&counters, LK_CORRUPT_RECORDS, 7);
    lease(&t, 1500);
    lease(&t, 2000);
    assert_said("3 records: 7 answers were CORRUPT: damage, or something else writes under our prefix\n");
}

/* ---------------------------------------------------------------------------------------------- the link -- */

static void test_link_says_that_it_is_down_and_up(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=2&staleness_ms=2000");
    said[0] = 0;
    lk_link_lost(&m->link, model_ms(m), LATCHKEY_UNAVAILABLE, "the wire was cut");
    for (int i = 0; i < 5; i++) {
        m->now_us = m->link.retry_at_ms * 1000;
        model_tick(m, 0);
        lk_link_lost(&m->link, model_ms(m), LATCHKEY_UNAVAILABLE, "the wire is cut");
    }
    assert_said("4 link: down: the wire was cut\n4 link: down: the wire is cut\n");
    model_up(m);
    assert_int_equal(strncmp(said, "5 link: up after ", 17), 0);
    assert_int_equal(strlen(said), strcspn(said, "\n") + 1);
    model_close(m);
}

static void test_link_says_what_was_lost_and_found(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=2&staleness_ms=2000");
    said[0] = 0;
    m->lose_messages = 1;
    model_revoke(m, 1, "ABCDEFGHIJKLMNOPQRST");
    model_beat(m);
    assert_non_null(strstr(said, " l1: the messages of 1 revocations were lost, as their numbers show"));
    said[0] = 0;
    m->number[1] = 0;
    model_beat(m);
    model_tick(m, 5);
    model_run(m);
    assert_non_null(strstr(said, "4 l1: emptied: Redis counts its revocations anew"));
    said[0] = 0;
    model_tick(m, 7000); /* the process stood still; the beat that was due goes out late */
    model_run(m);
    assert_non_null(strstr(said, "4 lease: it had lapsed for "));
    model_close(m);
}

/* Neither the sentinels' silence nor missing replicas are a pause of this process. */
static void test_link_says_why_it_has_no_lease(void **state)
{
    (void)state;
    for (int durable = 0; durable < 2; durable++) {
        redis_model *m = model_open(
            durable ? "h?partitions=2&staleness_ms=2000&durability=1" : "h?partitions=2&staleness_ms=2000", 1);
        m->command = "WAIT";
        m->answer = ":1\r\n";
        model_up(m);
        m->link.look_at_ms = INT64_MAX; /* it has just connected anew */
        said[0] = 0;
        m->deposed = !durable;
        m->answer = ":0\r\n";
        for (int i = 0; i < 12; i++) model_beat(m);
        assert_said(durable ? "4 link: Redis cannot be used: durability=1, but 0 replicas hold what was written: no "
                              "lease\n"
                            : "4 link: Redis cannot be used: deposed\n");
        m->deposed = false;
        m->answer = ":1\r\n";
        unsigned leases = m->leases;
        lk_link_vouched(&m->link, model_ms(m)); /* they have answered */
        for (int i = 0; i < 3 && m->leases == leases; i++) model_beat(m);
        assert_true(m->leases > leases);
        assert_int_equal(strncmp(said, "5 link: up after ", 17), 0);
        assert_int_equal(strlen(said), strcspn(said, "\n") + 1);
        model_close(m);
        said[0] = 0;
    }
}

/* Asked of every incarnation once, answered or not, and never in the way of the link. */
static void test_link_asks_each_server_once(void **state)
{
    (void)state;
    redis_model *m = model_open("h?partitions=2", 1);
    model_up(m);
    model_expect(m, "0 INFO server\n", "0 INFO replication\n", "0 HGET", "0 INFO default\n", "0 MGET", NULL);
    assert_false(model_saw(m, "1 INFO default\n"));
    assert_non_null(strstr(said, "5 setting info: INFO does not show maxmemory_policy, "));
    said[0] = 0;
    model_clear(m);
    lk_link_lost(&m->link, model_ms(m), LATCHKEY_UNAVAILABLE, "x");
    model_up(m);
    assert_false(model_saw(m, "INFO default"));
    model_clear(m);
    lk_link_lost(&m->link, model_ms(m), LATCHKEY_UNAVAILABLE, "x");
    m->run_id[0] = m->run_id[1] = "run-2";
    model_up(m);
    model_expect(m, "0 INFO default\n", NULL);
    assert_null(strstr(said, "setting")); /* it is as the one before */
    model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, listen_to_it, stop_listening)
        TEST(test_transitions_are_said_once),
        TEST(test_flapping_says_little_and_ends_with_the_truth),
        TEST(test_what_there_was_no_room_for_is_said_later),
        TEST(test_a_lapse_beside_a_good_connection),
        TEST(test_a_lease_that_is_withheld),
        TEST(test_l1_emptied_for_a_reason),
        TEST(test_links_of_a_cluster),
        TEST(test_corrupt_records_are_counted_together),
        TEST(test_link_says_that_it_is_down_and_up),
        TEST(test_link_says_what_was_lost_and_found),
        TEST(test_link_says_why_it_has_no_lease),
        TEST(test_link_asks_each_server_once),
    };
    return cmocka_run_group_tests_name("trouble", tests, unit_setup, NULL);
}
