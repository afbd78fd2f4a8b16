/* SPDX-License-Identifier: MIT
 *
 * C between two processes on one Redis: what one of them ends is over in the other.
 *
 * Every figure compared here comes from CLOCK_MONOTONIC, which the processes share, and the bound is the guarantee's
 * own: no validation that started more than staleness_ms after the revoke returned has admitted. So a slow machine
 * cannot break the assertion, only the library can.
 */
#include "test_handle.h"
#include "proxy.h"
#include "threads.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

enum { TICK_MS = 20 }; /* the coarse clock's tick, doubled and rounded up */

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static peer *peer_open(const char *options)
{
    char config[512];
    handle_config(server, 0, options, config, sizeof config);
    return peer_start(config);
}

static void warm_there(peer *other, const char *token)
{
    wait_for(peer_number(other, "validate %s", token) == LATCHKEY_OK &&
             peer_number(other, "try %s", token) == LATCHKEY_OK);
}

static void test_C_revoked_in_one_process_is_refused_in_the_other(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "staleness_ms=60000");
    peer *other = peer_open("staleness_ms=60000");
    char token[LATCHKEY_TOKEN_SIZE];
    for (int i = 0; i < 10; i++) {
        make_session(lk, 1, token);
        warm_there(other, token);
        assert_status(lk, LATCHKEY_OK, end_session(lk, token));
        wait_for(peer_number(other, "try %s", token) != LATCHKEY_OK);
        assert_int_equal(peer_number(other, "validate %s", token), LATCHKEY_NOT_FOUND);
    }
    assert_int_equal(peer_number(other, "stat purges"), 10);
    /* By message: the lease lasts far longer than this took. */
    assert_int_equal(peer_number(other, "stat missed"), 0);
    assert_int_equal(peer_number(other, "stat reconnects"), 0);
    peer_end(other);
}

static void test_C_and_the_other_way_round(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "staleness_ms=60000");
    peer *other = peer_open("staleness_ms=60000");
    char token[LATCHKEY_TOKEN_SIZE];
    assert_int_equal(sscanf(peer_ask(other, "create 5"), "0 %43s", token), 1);
    warm(lk, token);
    assert_int_equal(peer_number(other, "revoke %s", token), LATCHKEY_OK);
    wait_for(try_validate(lk, token) != LATCHKEY_OK);
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, token));
    peer_end(other);
}

static void test_changed_keys_purge_the_other_process(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    peer *other = peer_open("");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 1, token);
    warm_there(other, token);
    assert_status(lk, LATCHKEY_OK, set_field(lk, token, "pq.mlkem768", "another"));
    wait_for(peer_number(other, "try %s", token) == LATCHKEY_AGAIN);
    assert_int_equal(peer_number(other, "validate %s", token), LATCHKEY_OK);

    assert_status(lk, LATCHKEY_OK, validate(lk, token));
    assert_int_equal(peer_number(other, "set %s pq.mlkem768 third", token), LATCHKEY_OK);
    wait_for(try_validate(lk, token) == LATCHKEY_AGAIN);
    latchkey_entry entry;
    uint8_t hash[32];
    const latchkey_field third = {"pq.mlkem768", "third", 5};
    latchkey_key_hash(&third, 1, hash);
    assert_status(lk, LATCHKEY_OK, latchkey_validate(lk, token, LATCHKEY_TOKEN_LENGTH, &entry));
    assert_memory_equal(entry.pq_key_hash, hash, 32);
    peer_end(other);
}

/* Revokes `count` watched sessions while the other process validates them all the time, then compares its last
 * admissions with the moments at which the revocations were confirmed. */
enum { STORM = 60, STALENESS = 1000 };

static int by_token(latchkey *lk, uint64_t user, const char *token)
{
    (void)user;
    return end_session(lk, token);
}

static int by_name(latchkey *lk, uint64_t user, const char *token) { return latchkey_revoke_selector(lk, user, token); }

static int by_user(latchkey *lk, uint64_t user, const char *token)
{
    size_t revoked;
    (void)token;
    int status = latchkey_revoke_user(lk, user, NULL, 0, &revoked);
    assert_int_equal(revoked, 1);
    return status;
}

static int by_exchange(latchkey *lk, uint64_t user, const char *token)
{
    char renewed[LATCHKEY_TOKEN_SIZE];
    (void)user;
    return latchkey_rotate(lk, token, LATCHKEY_TOKEN_LENGTH, 0, renewed);
}

enum { GRACE_MS = 100 };

static int by_renewal(latchkey *lk, uint64_t user, const char *token)
{
    char renewed[LATCHKEY_TOKEN_SIZE];
    (void)user;
    return latchkey_rotate(lk, token, LATCHKEY_TOKEN_LENGTH, GRACE_MS, renewed);
}

static void storm(latchkey *lk, peer *other, char tokens[STORM][LATCHKEY_TOKEN_SIZE],
                  int (*end)(latchkey *, uint64_t, const char *), bool short_lived)
{
    int64_t grace_ms = end == by_renewal ? GRACE_MS : 0;
    int64_t revoked[STORM];
    for (int i = 0; i < STORM; i++) peer_ask(other, "watch %s", tokens[i]);
    peer_ask(other, "storm 3");
    wait_for(peer_number(other, "stat l1_hits") > 2 * STORM);
    if (short_lived) wait_for(peer_number(other, "stat fills") > 2 * STORM);
    for (int i = 0; i < STORM; i++) {
        assert_status(lk, LATCHKEY_OK, end(lk, 1 + (uint64_t)i, tokens[i]));
        revoked[i] = now_ns() + grace_ms * 1000000;
    }
    for (int i = 0; i < STORM; i++) wait_for(peer_number(other, "try %s", tokens[i]) != LATCHKEY_OK);
    /* And on past the bound, so that an entry that came back would be seen. */
    wait_for(now_ns() > revoked[STORM - 1] + (int64_t)2 * STALENESS * 1000000);
    assert_true(peer_number(other, "lull") > 0);
    for (int i = 0; i < STORM; i++) {
        int64_t last = peer_number(other, "lastok %d", i);
        assert_true(last > 0); /* it was admitted at all */
        if (last > revoked[i] + (int64_t)(STALENESS + TICK_MS) * 1000000)
            fail_msg("session %d was admitted %lld ms after its revocation", i,
                     (long long)((last - revoked[i]) / 1000000));
        assert_int_equal(peer_number(other, "validate %s", tokens[i]), LATCHKEY_NOT_FOUND);
    }
    assert_int_equal(peer_number(other, "odd"), 0);
}

static void test_C_validation_storm_during_revocations(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "staleness_ms=1000");
    peer *other = peer_open("staleness_ms=1000");
    char tokens[STORM][LATCHKEY_TOKEN_SIZE];
    for (int i = 0; i < STORM; i++) make_session(lk, 1 + (uint64_t)i, tokens[i]);
    storm(lk, other, tokens, by_token, false);
    assert_int_equal(peer_number(other, "stat missed"), 0);
    peer_end(other);
}

/* The L1 of the other process is so short-lived that the storm fills it all the time: reads race with purges. */
static void test_D_storm_of_fills_during_revocations(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "staleness_ms=1000");
    peer *other = peer_open("staleness_ms=1000&l1_ttl_ms=30");
    char tokens[STORM][LATCHKEY_TOKEN_SIZE];
    for (int i = 0; i < STORM; i++) make_session(lk, 1 + (uint64_t)i, tokens[i]);
    storm(lk, other, tokens, by_token, true);
    peer_end(other);
}

/* The other ways in which a token ends; every second with a short-lived L1. */
static void test_C_D_storm_while_tokens_end_in_every_way(void **state)
{
    (void)state;
    int (*const ways[])(latchkey *, uint64_t, const char *) = {by_name, by_user, by_exchange, by_renewal};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        latchkey *lk = handle_open(server, "staleness_ms=1000");
        peer *other = peer_open(i % 2 ? "staleness_ms=1000&l1_ttl_ms=30" : "staleness_ms=1000");
        char tokens[STORM][LATCHKEY_TOKEN_SIZE];
        for (int j = 0; j < STORM; j++) make_session(lk, 1 + (uint64_t)j, tokens[j]);
        storm(lk, other, tokens, ways[i], i % 2);
        peer_end(other);
        handle_close(lk);
        redis_do(server, "FLUSHALL");
    }
}

/* --------------------------------------------------------------------------------- C, with a fault each -- */

/* The other process is cut off in some way; it holds a session in L1. It must stop answering from L1 by itself. */
static void cut_off(proxy_mode mode)
{
    proxy *wire = proxy_start(server->port);
    latchkey *lk = handle_open(server, "");
    char config[256], token[LATCHKEY_TOKEN_SIZE];
    snprintf(config, sizeof config, "redis://127.0.0.1:%d?deadline_ms=2000&staleness_ms=1000", proxy_port(wire));
    peer *other = peer_start(config);
    make_session(lk, 1, token);
    warm_there(other, token);
    peer_ask(other, "watch %s", token);
    peer_ask(other, "storm 2");
    wait_for(peer_number(other, "lastok 0") > 0);

    proxy_set(wire, mode, NULL, 0);
    assert_status(lk, LATCHKEY_OK, end_session(lk, token));
    int64_t revoked = now_ns();
    wait_for(now_ns() > revoked + (int64_t)3 * STALENESS * 1000000);
    int64_t last = peer_number(other, "lastok 0");
    if (last > revoked + (int64_t)(STALENESS + TICK_MS) * 1000000)
        fail_msg("admitted %lld ms after the revocation", (long long)((last - revoked) / 1000000));
    /* It has no answer, and says so. */
    assert_int_equal(peer_number(other, "validate %s", token), LATCHKEY_UNAVAILABLE);

    proxy_set(wire, PROXY_RELAY, NULL, 0);
    wait_for(peer_number(other, "validate %s", token) == LATCHKEY_NOT_FOUND);
    peer_ask(other, "lull");
    assert_int_equal(peer_number(other, "odd"), 0);
    wait_for(peer_number(other, "stat connected") == 1);
    peer_end(other);
    proxy_end(wire);
}

static void test_C_cut_off_by_closed_connections(void **state)
{
    (void)state;
    cut_off(PROXY_CUT);
}

static void test_C_cut_off_by_a_black_hole(void **state)
{
    (void)state;
    cut_off(PROXY_BLACKHOLE);
}

static void test_C_cut_off_in_one_direction(void **state)
{
    (void)state;
    cut_off(PROXY_HOLD_DOWN);
}

static void test_C_held_up_messages_come_late(void **state)
{
    (void)state;
    cut_off(PROXY_HOLD);
}

/* The process itself stands still while the session is revoked, and then goes on as if no time had passed. */
static void test_C_paused_process_does_not_admit_when_it_goes_on(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    peer *other = peer_open("staleness_ms=1000");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 1, token);
    assert_int_equal(peer_number(other, "validate %s", token), LATCHKEY_OK);
    peer_ask(other, "watch %s", token);
    peer_ask(other, "storm 2");
    wait_for(peer_number(other, "lastok 0") > 0);
    int status;
    kill(peer_pid(other), SIGSTOP);
    waitpid(peer_pid(other), &status, WUNTRACED);
    assert_status(lk, LATCHKEY_OK, end_session(lk, token));
    int64_t revoked = now_ns();
    wait_for(now_ns() > revoked + (int64_t)2 * STALENESS * 1000000);
    kill(peer_pid(other), SIGCONT);
    wait_for(peer_number(other, "validate %s", token) == LATCHKEY_NOT_FOUND);
    peer_ask(other, "lull");
    /* A call that was in progress when it was stopped started before; none that started after it went on is OK. */
    assert_true(peer_number(other, "lastok 0") <= revoked + (int64_t)(STALENESS + TICK_MS) * 1000000);
    peer_end(other);
}

/* The subscriber's connection alone is killed, again and again, while sessions are revoked. */
static void test_C_killed_subscriber_loses_no_revocation(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    peer *other = peer_open("staleness_ms=1000");
    char tokens[30][LATCHKEY_TOKEN_SIZE];
    for (int i = 0; i < 30; i++) {
        make_session(lk, 1 + (uint64_t)i, tokens[i]);
        peer_ask(other, "watch %s", tokens[i]);
    }
    int64_t revoked[30];
    peer_ask(other, "storm 2");
    wait_for(peer_number(other, "stat l1_hits") > 100);
    for (int i = 0; i < 30; i++) {
        if (i % 3 == 0) redis_do(server, "CLIENT KILL TYPE pubsub");
        assert_status(lk, LATCHKEY_OK, end_session(lk, tokens[i]));
        revoked[i] = now_ns();
    }
    for (int i = 0; i < 30; i++) wait_for(peer_number(other, "validate %s", tokens[i]) == LATCHKEY_NOT_FOUND);
    wait_for(now_ns() > revoked[29] + (int64_t)2 * STALENESS * 1000000);
    peer_ask(other, "lull");
    for (int i = 0; i < 30; i++)
        assert_true(peer_number(other, "lastok %d", i) <= revoked[i] + (int64_t)(STALENESS + TICK_MS) * 1000000);
    assert_true(peer_number(other, "stat reconnects") >= 1);
    assert_true(peer_number(other, "stat empties") >= 1);
    peer_end(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_C_revoked_in_one_process_is_refused_in_the_other),
        TEST(test_C_and_the_other_way_round),
        TEST(test_changed_keys_purge_the_other_process),
        TEST(test_C_validation_storm_during_revocations),
        TEST(test_D_storm_of_fills_during_revocations),
        TEST(test_C_D_storm_while_tokens_end_in_every_way),
        TEST(test_C_cut_off_by_closed_connections),
        TEST(test_C_cut_off_by_a_black_hole),
        TEST(test_C_cut_off_in_one_direction),
        TEST(test_C_held_up_messages_come_late),
        TEST(test_C_paused_process_does_not_admit_when_it_goes_on),
        TEST(test_C_killed_subscriber_loses_no_revocation),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}
