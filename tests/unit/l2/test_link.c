/* SPDX-License-Identifier: MIT
 *
 * The link's way up and down: what it says on which connection and in which order, what it does when an answer is wrong or late,
 * and how it comes back. Its leases are in test_link_lease.c, its jobs in test_link_jobs.c.
 */
#include "redis_model.h"

#include <stdio.h>
#include <string.h>

static const char selector[] = "ABCDEFGHIJKLMNOPQRST";

static void assert_down(const redis_model *m, int status, const char *named)
{
    assert_int_equal(m->link.state, LK_LINK_DOWN);
    if (m->trouble_status != status || !strstr(m->trouble, named))
        fail_msg("%d '%s', wanted %d '%s'", m->trouble_status, m->trouble, status, named);
    assert_int_equal(m->leases, 0);
}

/* ------------------------------------------------------------------------------------------------- the way up -- */

static void test_the_order_of_the_handshake(void **state)
{
    (void)state;
    redis_model *m = model_open("u:pw@h/3?partitions=2&prefix=px", 1);
    char subscribe[128], beat[128];
    snprintf(subscribe, sizeof subscribe, "1 SUBSCRIBE px:{0}:rev px:{1}:rev %s\n", m->link.heartbeat);
    snprintf(beat, sizeof beat, "0 PUBLISH %s ", m->link.heartbeat);
    assert_int_equal(strncmp(m->link.heartbeat, "px:beat:", 8), 0);
    model_up(m);
    model_expect(m, "0 AUTH u pw\n", "0 SELECT 3\n", "0 INFO server\n", "0 INFO replication\n",
                 "0 HSETNX px:{0}:m partitions 2\n", "0 HGET px:{0}:m partitions\n", "0 INFO default\n", subscribe,
                 "0 MGET px:{0}:q px:{1}:q px:{0}:e px:{1}:e\n", "0 TIME\n", "0 INFO replication\n", beat, "= empty\n",
                 "= lease 1000\n", NULL);
    model_expect(m, "1 AUTH u pw\n", "1 SELECT 3\n", "1 INFO server\n", "1 INFO replication\n", "1 SUBSCRIBE", NULL);
    assert_false(model_saw(m, "trouble"));
    assert_int_equal(model_counted(m, LK_EMPTIES), m->empties);
    assert_int_equal(model_counted(m, LK_RECONNECTS), 0);
    assert_int_equal(model_counted(m, LK_BEATS), 1);
    model_close(m);
}

/* However the bytes are cut, the same happens. */
static void test_the_handshake_byte_by_byte(void **state)
{
    (void)state;
    redis_model *whole = model_open(":pw@h?partitions=3", 1), *cut = model_open(":pw@h?partitions=3", 1);
    cut->byte_by_byte = true;
    model_up(whole);
    model_up(cut);
    for (int i = 0; i < 3; i++) {
        model_revoke(whole, (unsigned)i, selector);
        model_revoke(cut, (unsigned)i, selector);
        model_run(whole);
        model_run(cut);
    }
    assert_string_equal(whole->log, cut->log);
    model_close(whole);
    model_close(cut);
}

/* Nothing of the beat and no L1 before every channel, the instance's own among them, was confirmed. */
static void test_every_channel_is_confirmed_before_the_beat(void **state)
{
    (void)state;
    enum { CHANNELS = 5 };
    redis_model *m = model_open("h?partitions=4", 1);
    model_connect(m);
    while (m->link.state != LK_LINK_SUBSCRIBING) {
        model_serve(m, 0);
        model_serve(m, 1);
        model_deliver(m, 0);
        model_deliver(m, 1);
    }
    model_serve(m, 0); /* what the server is set to */
    model_clear(m);
    m->subscribed = true;
    for (int i = 0; i < CHANNELS; i++) {
        assert_int_equal(m->link.state, LK_LINK_SUBSCRIBING);
        model_publish(m, "lk:{0}:rev", "1 ABCDEFGHIJKLMNOPQRST"); /* of a channel that was confirmed already */
        model_deliver(m, 1);
        model_tick(m, 0);
        model_serve(m, 0);
        assert_string_equal(m->log, "");
        model_feed(m, 1, "*3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n");
    }
    assert_int_equal(m->link.state, LK_LINK_UP);
    assert_string_equal(m->log, "= met\n");
    model_tick(m, 0);
    model_serve(m, 0);
    model_expect(m, "0 MGET", NULL);
    assert_int_equal(m->leases, 0);
    model_close(m);
}

/* ------------------------------------------------------------------------------------------- what is refused -- */

static void test_two_servers_behind_one_name(void **state)
{
    (void)state;
    redis_model *m = model_open("h?partitions=2", 1);
    m->run_id[1] = "run-2";
    model_connect(m);
    model_run(m);
    assert_down(m, LATCHKEY_UNAVAILABLE, "two servers");
    assert_false(model_saw(m, "SUBSCRIBE"));
    assert_false(model_saw(m, "HSETNX"));
    m->run_id[0] = "run-2"; /* then the name means one server again */
    model_up(m);
    model_close(m);
}

static void test_servers_of_no_use(void **state)
{
    (void)state;
    const struct {
        const char *command, *answer, *named;
        int status;
    } rows[] = {
        {"INFO", "-NOAUTH Authentication required.\r\n", "password", LATCHKEY_CONFIG},
        {"INFO", "+OK\r\n", "INFO", LATCHKEY_CONFIG},
        {"INFO", "HTTP/1.1 400 Bad Request\r\n", "not usable", LATCHKEY_CONFIG},
        {"AUTH", "-WRONGPASS invalid s3cret\r\n", "AUTH", LATCHKEY_CONFIG},
        {"HGET", "$2\r\n64\r\n", "partitions=2", LATCHKEY_CONFIG},
        {"HGET", "$1\r\n1\r\n", "1 partitions", LATCHKEY_CONFIG},
        {"HGET", "$0\r\n\r\n", "partitions", LATCHKEY_CONFIG},
        {"HGET", "$5\r\nabcde\r\n", "partitions", LATCHKEY_CONFIG},
        {"HGET", "$-1\r\n", "partitions", LATCHKEY_UNAVAILABLE},
        {"HGET", ":2\r\n", "partitions", LATCHKEY_UNAVAILABLE},
        {"HGET", "-WRONGTYPE Operation against a key\r\n", "WRONGTYPE", LATCHKEY_CONFIG},
        {"HGET", "-NOPERM this user\r\n", "ACL", LATCHKEY_CONFIG},
        {"HGET", "-LOADING\r\n", "LOADING", LATCHKEY_UNAVAILABLE},
        {"SUBSCRIBE", "-NOPERM no channels\r\n", "ACL", LATCHKEY_CONFIG},
        {"SUBSCRIBE", "+OK\r\n", "subscription", LATCHKEY_UNAVAILABLE},
        {"SUBSCRIBE", "*0\r\n", "subscription", LATCHKEY_UNAVAILABLE},
        {"SUBSCRIBE", "*3\r\n$9\r\nsubscribe\r\n:1\r\n:1\r\n", "subscription", LATCHKEY_UNAVAILABLE},
        {"SUBSCRIBE", "*3\r\n*0\r\n$1\r\na\r\n:1\r\n", "subscription", LATCHKEY_UNAVAILABLE},
        {"MGET", "*1\r\n$1\r\n1\r\n", "MGET", LATCHKEY_UNAVAILABLE},
        {"MGET", "$-1\r\n", "MGET", LATCHKEY_UNAVAILABLE},
        {"MGET", "-CROSSSLOT Keys in request don't hash to the same slot\r\n", "CROSSSLOT", LATCHKEY_UNAVAILABLE},
        {"MGET", "garbage\r\n", "not usable", LATCHKEY_UNAVAILABLE},
        {"PUBLISH", ":0\r\n", "subscription", LATCHKEY_UNAVAILABLE},
        {"PUBLISH", ":-1\r\n", "subscription", LATCHKEY_UNAVAILABLE},
        {"PUBLISH", "-NOPERM no channels\r\n", "ACL", LATCHKEY_CONFIG},
        {"PUBLISH", "$1\r\n1\r\n", "subscription", LATCHKEY_UNAVAILABLE},
    };
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
        redis_model *m = model_open("u:s3cret@h?partitions=2", i);
        m->command = rows[i].command;
        m->answer = rows[i].answer;
        m->lose_nonces = true;
        model_connect(m);
        model_run(m);
        model_tick(m, 0);
        model_run(m);
        assert_down(m, rows[i].status, rows[i].named);
        assert_null(strstr(m->trouble, "s3cret"));
        m->command = NULL;
        m->lose_nonces = false;
        m->recorded[0] = 0;
        model_up(m); /* what went wrong once is no reason to stay away */
        model_close(m);
    }
}

static void test_a_replica_and_an_old_server(void **state)
{
    (void)state;
    redis_model *m = model_open("h?partitions=2", 1);
    m->role = "slave";
    model_connect(m);
    model_run(m);
    assert_down(m, LATCHKEY_CONFIG, "replica");
    m->role = "master";
    m->version = "6.0.1";
    model_connect(m);
    model_run(m);
    assert_down(m, LATCHKEY_CONFIG, "6.2");
    assert_false(model_saw(m, "HSETNX"));
    model_close(m);
}

/* The recorded number comes from Redis: its bytes are not a terminal's business. */
static void test_the_recorded_number_is_not_shown_raw(void **state)
{
    (void)state;
    redis_model *m = model_open("h?partitions=2", 1);
    m->command = "HGET";
    m->answer = "$6\r\n9\033[31m\r\n";
    model_connect(m);
    model_run(m);
    assert_down(m, LATCHKEY_CONFIG, "partitions");
    for (const char *c = m->trouble; *c; c++) assert_true(*c >= ' ' && *c <= '~');
    model_close(m);
}

/* A reply that was not asked for: the order of the replies means nothing any more (guarantee I). */
static void test_unasked_replies_end_the_connection(void **state)
{
    (void)state;
    const struct {
        int which;
        const char *bytes;
    } rows[] = {{0, ":1\r\n"},
                {0, "+OK\r\n"},
                {0, "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n"},
                {1, ":1\r\n"},
                {1, "$1\r\na\r\n"},
                {1, "*0\r\n"},
                {1, "*3\r\n$11\r\nunsubscribe\r\n$10\r\nlk:{0}:rev\r\n:1\r\n"},
                {1, "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"},
                {1, "*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\na\r\n$1\r\nb\r\n"},
                {1, "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n:1\r\n"},
                {1, "*3\r\n$7\r\nmessage\r\n*-1\r\n$1\r\na\r\n"},
                {1, "*-1\r\n"},
                {1, "-ERR max number of clients reached\r\n"}};
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
        redis_model *m = model_open("h?partitions=2", 1);
        model_up(m);
        model_feed(m, rows[i].which, rows[i].bytes);
        assert_int_equal(m->link.state, LK_LINK_DOWN);
        assert_int_equal(m->trouble_status, LATCHKEY_UNAVAILABLE);
        assert_true(strlen(m->trouble) > 30); /* says what it was */
        model_close(m);
    }
}

/* --------------------------------------------------------------------------------------------------- in time -- */

static int64_t handshake_limit(const redis_model *m)
{
    return m->config.deadline_ms > 500 ? m->config.deadline_ms : 500;
}

/* A server that falls silent after each of its replies: given up in time, not before. */
static void test_a_handshake_that_stops_anywhere(void **state)
{
    (void)state;
    const char *options[] = {"h?partitions=2", "h?partitions=2&deadline_ms=5000"};
    const char *silent[] = {"INFO", "HGET", "HSETNX", "SUBSCRIBE"};
    for (size_t o = 0; o < UNIT_COUNT(options); o++) {
        for (size_t i = 0; i < UNIT_COUNT(silent); i++) {
            redis_model *m = model_open(options[o], 1);
            m->command = silent[i];
            m->answer = "";
            model_connect(m);
            model_run(m);
            int64_t end = m->link.since_ms + handshake_limit(m);
            assert_true(lk_link_wake_ms(&m->link) == end);
            model_tick(m, end - model_ms(m) - 1);
            assert_true(m->link.state > LK_LINK_CONNECTING && m->link.state < LK_LINK_UP);
            model_tick(m, 1);
            assert_down(m, LATCHKEY_UNAVAILABLE, "does not answer");
            model_close(m);
        }
    }
}

/* Called when it asked to be called, the link always does something: no busy loop, and no sleeping past a duty. */
static void test_wake_leads_somewhere(void **state)
{
    (void)state;
    redis_model *m = model_open("h?partitions=2", 1);
    assert_true(lk_link_wake_ms(&m->link) <= model_ms(m));
    model_connect(m);
    assert_true(lk_link_wake_ms(&m->link) > model_ms(m));
    model_run(m);
    assert_true(lk_link_wake_ms(&m->link) <= model_ms(m)); /* the first beat is due at once */
    model_tick(m, 0);
    model_run(m);
    for (int i = 0; i < 10; i++) { /* beats, each when it is due */
        unsigned before = m->leases;
        int64_t wake = lk_link_wake_ms(&m->link);
        assert_true(wake > model_ms(m) && wake <= model_ms(m) + m->config.staleness_ms / 4);
        model_tick(m, wake - model_ms(m));
        model_run(m);
        assert_int_equal(m->leases, before + 1);
    }
    m->lose_nonces = true;
    model_tick(m, lk_link_wake_ms(&m->link) - model_ms(m));
    model_run(m);
    model_tick(m, lk_link_wake_ms(&m->link) - model_ms(m));
    assert_int_equal(m->link.state, LK_LINK_DOWN);
    assert_true(lk_link_wake_ms(&m->link) > model_ms(m));
    model_tick(m, lk_link_wake_ms(&m->link) - model_ms(m));
    assert_int_equal(m->link.state, LK_LINK_CONNECTING);
    model_close(m);
}

/* ------------------------------------------------------------------------------------------------ coming back -- */

static int64_t fail_to_connect(redis_model *m)
{
    model_connect(m);
    lk_link_lost(&m->link, model_ms(m), LATCHKEY_UNAVAILABLE, "cannot connect");
    return m->link.retry_at_ms - model_ms(m);
}

/* 20 ms doubling to a second, and of that a random half: so that they do not all come back at once. */
static void test_back_off_grows_is_bounded_and_differs(void **state)
{
    (void)state;
    enum { LINKS = 40 };
    for (int64_t failure = 0, most = 20; failure<12; failure++, most = most * 2> 1000 ? 1000 : most * 2) {
        int64_t least_seen = INT64_MAX, most_seen = 0;
        for (uint64_t seed = 0; seed < LINKS; seed++) {
            redis_model *m = model_open("h?partitions=2", seed);
            int64_t wait = 0;
            for (int64_t i = 0; i <= failure; i++) wait = fail_to_connect(m);
            assert_true(wait >= most / 2 && wait <= most);
            if (wait < least_seen) least_seen = wait;
            if (wait > most_seen) most_seen = wait;
            model_close(m);
        }
        assert_true(most_seen - least_seen > most / 4); /* 40 random ones of a half are not all in a quarter */
    }
}

/* Being connected to is no success: a server that accepts and never leases is tried ever more rarely. */
static void test_back_off_ends_with_a_lease(void **state)
{
    (void)state;
    redis_model *m = model_open("h?partitions=2", 1);
    m->command = "PUBLISH";
    m->answer = ":0\r\n";
    m->lose_nonces = true;
    for (int i = 0; i < 10; i++) {
        model_connect(m);
        model_run(m);
        model_tick(m, 0);
        model_run(m);
        assert_int_equal(m->link.state, LK_LINK_DOWN);
    }
    assert_true(m->link.retry_at_ms - model_ms(m) >= 500);
    m->command = NULL;
    m->lose_nonces = false;
    model_up(m);
    lk_link_lost(&m->link, model_ms(m), LATCHKEY_UNAVAILABLE, "cut");
    assert_true(m->link.retry_at_ms - model_ms(m) <= 20);
    model_close(m);
}

static void test_lost_twice_is_lost_once(void **state)
{
    (void)state;
    redis_model *m = model_open("h?partitions=2", 1);
    model_up(m);
    model_clear(m);
    lk_link_lost(&m->link, model_ms(m), LATCHKEY_UNAVAILABLE, "first");
    int64_t retry = m->link.retry_at_ms;
    lk_link_lost(&m->link, model_ms(m), LATCHKEY_CONFIG, "second");
    assert_string_equal(m->trouble, "first");
    assert_string_equal(m->log, "= trouble -3\n");
    assert_true(m->link.retry_at_ms == retry);
    lk_link_fed(&m->link, 0, m->now_us); /* the node may still have bytes for it */
    model_tick(m, 0);
    assert_int_equal(m->link.state, LK_LINK_DOWN);
    model_close(m);
}

static void test_reconnects_are_counted_and_keep_l1(void **state)
{
    (void)state;
    redis_model *m = model_open("h?partitions=2", 1);
    model_up(m);
    for (unsigned i = 1; i <= 3; i++) {
        lk_link_lost(&m->link, model_ms(m), LATCHKEY_UNAVAILABLE, "cut");
        model_clear(m);
        model_up(m);
        model_expect(m, "1 SUBSCRIBE", "0 MGET", "= lease", NULL);
        assert_int_equal(model_counted(m, LK_RECONNECTS), i);
        assert_int_equal(m->empties, 1); /* of the first connection */
        assert_int_equal(model_counted(m, LK_EMPTIES), m->empties);
    }
    model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_order_of_the_handshake),
        cmocka_unit_test(test_the_handshake_byte_by_byte),
        cmocka_unit_test(test_every_channel_is_confirmed_before_the_beat),
        cmocka_unit_test(test_two_servers_behind_one_name),
        cmocka_unit_test(test_servers_of_no_use),
        cmocka_unit_test(test_a_replica_and_an_old_server),
        cmocka_unit_test(test_the_recorded_number_is_not_shown_raw),
        cmocka_unit_test(test_unasked_replies_end_the_connection),
        cmocka_unit_test(test_a_handshake_that_stops_anywhere),
        cmocka_unit_test(test_wake_leads_somewhere),
        cmocka_unit_test(test_back_off_grows_is_bounded_and_differs),
        cmocka_unit_test(test_back_off_ends_with_a_lease),
        cmocka_unit_test(test_lost_twice_is_lost_once),
        cmocka_unit_test(test_reconnects_are_counted_and_keep_l1),
    };
    return cmocka_run_group_tests_name("link", tests, unit_setup, NULL);
}
