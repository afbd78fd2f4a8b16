/* SPDX-License-Identifier: MIT
 *
 * When the link confirms a lease, and when it does not: guarantee C, taken apart. A lease says that every revocation up
 * to the time at which its beat was sent was applied to L1. What is applied, and what is missed: test_link_messages.c.
 */
#include "redis_model.h"
#include "l2/link_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define A "AAAAAAAAAAAAAAAAAAAA"
#define B "BBBBBBBBBBBBBBBBBBBB"

/* -------------------------------------------------------------------------------------- what a lease stands for -- */

/* However long the answer took: a lease from the time of the answer would cover revocations that were not waited for. */
static void test_a_lease_is_of_the_time_of_sending(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=2&staleness_ms=4000");
    model_tick(m, model_beat_due(m));
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
    assert_true(m->lease_incarnation == m->link.handshake[0].incarnation && m->lease_incarnation);
    model_close(m);
}

static void test_beats_come_four_to_a_staleness(void **state)
{
    (void)state;
    const int64_t staleness[] = {100, 2000, 60000};
    for (size_t i = 0; i < UNIT_COUNT(staleness); i++) {
        char options[64];
        snprintf(options, sizeof options, "h?partitions=2&staleness_ms=%" PRId64, staleness[i]);
        redis_model *m = model_opened_up(options);
        int64_t before = m->lease_sent_ms;
        for (int k = 0; k < 10; k++) {
            model_beat(m);
            assert_true(m->lease_sent_ms == before + staleness[i] / 4);
            before = m->lease_sent_ms;
        }
        assert_int_equal(model_counted(m, LK_BEATS), 11);
        model_close(m);
    }
}

static unsigned times_said(const redis_model *m, const char *what)
{
    unsigned times = 0;
    for (const char *at = m->log; (at = strstr(at, what)); at++) times++;
    return times;
}

/* An instance that nobody asks for anything: two beats to a staleness, and fewer commands; the lease holds all the time. */
static void test_an_idle_instance_asks_for_little(void **state)
{
    (void)state;
    enum { SECONDS = 60, MOST_A_SECOND = 4 };
    redis_model *m = model_opened_up("h?partitions=2&staleness_ms=2000");
    for (int i = 0; i < LK_LINK_QUIET_BEATS; i++) model_beat(m);
    model_clear(m);
    int64_t end = model_ms(m) + SECONDS * 1000;
    while (model_ms(m) < end) {
        model_beat(m);
        assert_true(model_ms(m) - m->lease_sent_ms < 1000);
    }
    assert_true(times_said(m, "\n0 ") <= SECONDS * MOST_A_SECOND);
    assert_int_equal(times_said(m, "0 MGET"), SECONDS);
    assert_int_equal(times_said(m, "0 INFO replication"), SECONDS); /* a demotion is found by each beat */
    assert_int_equal(times_said(m, "0 PUBLISH"), SECONDS);
    assert_int_equal(times_said(m, "0 TIME"), SECONDS / 2);
    assert_int_equal(times_said(m, "0 GET lk:{0}:w"), SECONDS / 2);
    lk_count(&m->counters, LK_L1_HITS, 1);
    model_beat(m);
    int64_t before = m->lease_sent_ms;
    model_beat(m);
    assert_true(m->lease_sent_ms == before + 500);
    model_close(m);
}

/* The nonce must come through the subscription: everything else proves only that the server is there. */
static void test_no_lease_without_the_nonce(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=2");
    m->lose_nonces = true; /* PUBLISH is answered with 1, as ever */
    model_beat(m);
    model_expect(m, "0 MGET", "0 TIME", "0 INFO replication", "0 PUBLISH", NULL);
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
    const char *silent[] = {"MGET", "TIME", "INFO"};
    for (size_t i = 0; i < UNIT_COUNT(silent); i++) {
        redis_model *m = model_opened_up("h?partitions=2");
        m->command = silent[i];
        m->answer = "";
        model_beat(m);
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
    redis_model *m = model_opened_up("h?partitions=2");
    model_revoke(m, 1, A);
    model_tick(m, model_beat_due(m));
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
    redis_model *m = model_opened_up("h?partitions=2");
    char old[24], twice[40];
    snprintf(old, sizeof old, "%016" PRIx64, m->link.beat.nonce); /* of the beat before */
    m->lose_nonces = true;
    model_tick(m, model_beat_due(m));
    model_serve(m, 0);
    snprintf(twice, sizeof twice, "%016" PRIx64 "0", m->link.beat.nonce);
    const char *wrong[] = {old, twice, "", "0", "x", "ffffffffffffffff", "-1", "00000000000000000000000000000001"};
    for (size_t i = 0; i < UNIT_COUNT(wrong); i++) model_publish(m, m->link.heartbeat, wrong[i]);
    char right[24];
    snprintf(right, sizeof right, "%016" PRIx64, m->link.beat.nonce);
    model_publish(m, "lk:beat:0000000000000000", right); /* another instance's channel */
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

/* The numbers travel behind the nonce, and the lease depends on the nonce alone. */
static void test_a_beat_carries_the_pulse(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=2");
    char expected[160], nonce[40];
    m->stats = (lk_beat_stats){.version = "1.2.3", .hits = 41, .misses = 7, .lease_age_ms = 500};
    model_tick(m, model_beat_due(m));
    model_clear(m);
    m->lose_nonces = true;
    model_serve(m, 0);
    snprintf(expected, sizeof expected, "0 PUBLISH %s %016" PRIx64 " v=1.2.3 hit=41 miss=7 age=500\n",
             m->link.heartbeat, m->link.beat.nonce);
    model_expect(m, expected, NULL);
    snprintf(nonce, sizeof nonce, "%016" PRIx64 " v=9.9.9 hit=1", m->link.beat.nonce); /* as no version says it */
    model_publish(m, m->link.heartbeat, nonce);
    model_run(m);
    assert_int_equal(m->leases, 2);
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
        redis_model *m = model_opened_up(rows[i].options);
        model_tick(m, model_beat_due(m));
        assert_true(model_beat_due(m) == rows[i].limit);
        model_tick(m, rows[i].limit - 1);
        assert_int_equal(m->link.state, LK_LINK_UP);
        model_tick(m, 1);
        assert_int_equal(m->link.state, LK_LINK_DOWN);
        model_close(m);
    }
}

/* Asked for by many, it is one; while one is out, that is it. */
static void test_a_beat_that_is_asked_for_comes_at_once_and_once(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=2&staleness_ms=60000");
    model_tick(m, 100);
    for (int i = 0; i < 5; i++) lk_link_beat_now(&m->link, model_ms(m));
    assert_int_equal(model_beat_due(m), 0);
    model_tick(m, 0);
    for (int i = 0; i < 5; i++) lk_link_beat_now(&m->link, model_ms(m));
    model_run(m);
    assert_int_equal(m->leases, 2);
    assert_true(m->lease_sent_ms == model_ms(m));
    lk_link_beat_now(&m->link, model_ms(m));
    assert_in_range(model_beat_due(m), 1, 20); /* not as fast as they come */
    model_close(m);
}

static void test_a_forgotten_subscription_is_renewed(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=2");
    m->subscribed = false; /* the server dropped it, and the socket does not show that yet */
    model_beat(m);
    assert_int_equal(m->link.state, LK_LINK_DOWN);
    assert_non_null(strstr(m->trouble, "subscription"));
    assert_int_equal(m->leases, 1);
    model_up(m);
    model_expect(m, "= trouble", "1 SUBSCRIBE", "0 MGET", "= lease", NULL);
    model_close(m);
}

/* It keeps its run id and its connections, and answers all the rest. */
static void test_a_demoted_primary_gives_no_lease(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=2");
    m->role = "slave";
    model_beat(m);
    assert_int_equal(m->link.state, LK_LINK_DOWN);
    assert_int_equal(m->leases, 1);
    model_close(m);
}

/* Made a replica and a primary again between two beats: the role says nothing of it, the replication id does. */
static void test_another_replication_id_gives_no_lease(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=2");
    uint64_t first = m->lease_incarnation;
    m->replication = "replid-2";
    model_beat(m);
    assert_int_equal(m->link.state, LK_LINK_DOWN);
    assert_int_equal(m->leases, 1);
    assert_int_equal(m->trouble_status, LATCHKEY_UNAVAILABLE);
    assert_non_null(strstr(m->trouble, "replication id"));
    model_clear(m);
    model_up(m);
    model_expect(m, "0 MGET", "= empty\n", "= lease", NULL);
    assert_true(m->lease_incarnation != first);
    model_close(m);
}

/* ---------------------------------------------------------------------------------------------- another server -- */

static void test_another_incarnation_empties_before_its_lease(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=2");
    uint64_t first = m->lease_incarnation;
    for (int i = 0; i < 5; i++) model_revoke(m, 0, A);
    model_beat(m);
    lk_link_lost(&m->link, model_ms(m), LATCHKEY_UNAVAILABLE, "cut");
    m->run_id[0] = m->run_id[1] = "run-2";
    m->number[0] = 1; /* it lost the rest */
    model_clear(m);
    model_up(m);
    model_expect(m, "0 MGET", "= empty\n", "= lease", NULL);
    assert_true(m->lease_incarnation != first);
    model_clear(m);
    model_revoke(m, 0, B);
    model_beat(m);
    assert_false(model_saw(m, "empty"));
    assert_int_equal(model_counted(m, LK_MISSED), 0);
    model_close(m);
}

/* Only one of the two connections reached the new server. */
static void test_half_a_failover_gives_no_lease(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=2");
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
    redis_model *m = model_opened_up("h?partitions=2");
    assert_true(m->lease_ahead_us == m->clock_ahead_us);
    m->clock_ahead_us -= 5000000; /* a person set it */
    model_beat(m);
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
        redis_model *m = model_opened_up("h?partitions=2");
        m->command = "TIME";
        m->answer = times[i];
        model_beat(m);
        model_revoke(m, 0, A);
        model_beat(m);
        assert_int_equal(m->leases, 3);
        assert_true(model_saw(m, "= purge " A));
        model_close(m);
    }
}

/* A primary that lost its replicas may be deposed: behind one address, new connections may lead to the new one. */
static void test_without_replicas_for_long_it_connects_anew(void **state)
{
    (void)state;
    redis_model *m = model_open("h?partitions=1&durability=1&staleness_ms=1000", unit_seed());
    m->command = "WAIT";
    m->answer = ":1\r\n";
    model_up(m);
    m->answer = ":0\r\n";
    int64_t since_ms = model_ms(m);
    while (m->link.state == LK_LINK_UP) {
        assert_true(model_ms(m) < since_ms + 5000);
        model_beat(m);
    }
    assert_true(model_ms(m) > since_ms + 1000); /* not before L1 answers nothing any more */
    assert_non_null(strstr(m->trouble, "durability=1, but 0 replicas"));
    m->answer = ":1\r\n";
    model_up(m);
    model_close(m);
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
        cmocka_unit_test(test_a_beat_carries_the_pulse),
        cmocka_unit_test(test_beats_have_a_limit),
        cmocka_unit_test(test_a_beat_that_is_asked_for_comes_at_once_and_once),
        cmocka_unit_test(test_a_forgotten_subscription_is_renewed),
        cmocka_unit_test(test_a_demoted_primary_gives_no_lease),
        cmocka_unit_test(test_another_replication_id_gives_no_lease),
        cmocka_unit_test(test_another_incarnation_empties_before_its_lease),
        cmocka_unit_test(test_half_a_failover_gives_no_lease),
        cmocka_unit_test(test_an_idle_instance_asks_for_little),
        cmocka_unit_test(test_the_servers_clock_is_told),
        cmocka_unit_test(test_times_that_cannot_be),
        cmocka_unit_test(test_without_replicas_for_long_it_connects_anew),
    };
    return cmocka_run_group_tests_name("link_lease", tests, unit_setup, NULL);
}
