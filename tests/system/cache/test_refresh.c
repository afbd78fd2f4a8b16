/* SPDX-License-Identifier: MIT
 *
 * Sessions in steady use are read again before their time in L1 is up: no request misses, everything that happens to them is
 * still seen, and who stops using one stops refreshing it.
 */
#include "test_handle.h"
#include "proxy.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { TTL = 2000, WINDOW = TTL * 45 / 100, APART = WINDOW / 2, TRIES = 12 };
#define OPTIONS "l1_ttl_ms=2000&staleness_ms=60000"

/* Uses it for so long, by `ask`. Returns how often it had no answer from L1. */
static uint64_t use(latchkey *lk, const char *token, int64_t ms, int (*ask)(latchkey *, const char *))
{
    uint64_t before = stats_of(lk).l1_misses, again = 0;
    int64_t start = check_now_ms();
    while (check_now_ms() - start < ms) {
        int status = ask(lk, token);
        assert_status_in(lk, status, LATCHKEY_OK, LATCHKEY_AGAIN);
        if (status == LATCHKEY_AGAIN) again += validate(lk, token) == LATCHKEY_OK;
        check_pause();
    }
    return stats_of(lk).l1_misses - before + again;
}

/* Where the machine stood still for too long a miss is right: then once more. Without refreshes each try has some. */
static void never_misses(latchkey *lk, const char *token, int64_t ms, int (*ask)(latchkey *, const char *))
{
    uint64_t misses = 1;
    warm(lk, token);
    for (int i = 0; i < TRIES && misses; i++) misses = use(lk, token, ms, ask);
    assert_int_equal(misses, 0);
}

static void test_a_session_in_steady_use_never_misses(void **state)
{
    (void)state;
    latchkey *maker = handle_open(server, ""), *lk = handle_open(server, OPTIONS);
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(maker, 8, token);
    int64_t start = check_now_ms();
    never_misses(lk, token, 3 * TTL, validate);
    latchkey_stats stats = stats_of(lk);
    int64_t took = check_now_ms() - start;
    assert_true(stats.refreshes >= 2);
    assert_in_range(stats.refreshes, 2, took / APART + 1);
    assert_true(stats.fills >= 3);
    assert_int_equal(stats.touches, 0); /* none is due for minutes, and a refresh is no use */
}

/* An event loop that asks L1 alone is told AGAIN once, at the beginning. */
static void test_try_validate_never_says_AGAIN(void **state)
{
    (void)state;
    latchkey *maker = handle_open(server, ""), *lk = handle_open(server, OPTIONS);
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(maker, 8, token);
    never_misses(lk, token, 3 * TTL, try_validate);
}

/* Where the idle time is shorter than l1_ttl_ms, touches keep the session and its entry alive. */
static void test_H_touches_in_time_cost_no_request_a_miss(void **state)
{
    (void)state;
    enum { IDLE = 30000 };
    latchkey *maker = handle_open(server, "idle_ms=30000"), *lk = handle_open(server, "l1_ttl_ms=600000&idle_ms=30000");
    char token[LATCHKEY_TOKEN_SIZE], key[128];
    make_session(maker, 8, token);
    session_key(server, token, key);
    never_misses(lk, token, IDLE / 5, validate); /* two lives */
    latchkey_stats stats = stats_of(lk);
    assert_true(stats.touches >= 2);
    /* A miss, where the machine stood still for too long, finds it due as well. */
    assert_true(stats.refreshes + stats.l1_misses >= stats.touches);
}

static void test_C_a_revocation_elsewhere_is_seen(void **state)
{
    (void)state;
    latchkey *maker = handle_open(server, ""), *lk = handle_open(server, OPTIONS);
    for (int round = 0; round < 5; round++) {
        char token[LATCHKEY_TOKEN_SIZE];
        make_session(maker, 8, token);
        warm(lk, token);
        uint64_t before = stats_of(lk).refreshes;
        wait_for(validate(lk, token) == LATCHKEY_OK && stats_of(lk).refreshes > before); /* under way, or done */
        assert_status(maker, LATCHKEY_OK, end_session(maker, token));
        wait_for(validate(lk, token) == LATCHKEY_NOT_FOUND);
        for (int i = 0; i < 100; i++) assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, token));
    }
}

/* False: it was not read again before its time was up, since the machine stood still. */
static bool goes_when_it_is_read_again(latchkey *maker)
{
    latchkey *lk = handle_open(server, OPTIONS);
    char token[LATCHKEY_TOKEN_SIZE], key[128];
    make_session(maker, 8, token);
    warm(lk, token);
    session_key(server, token, key);
    redis_do(server, "DEL %s", key);
    wait_for(validate(lk, token) == LATCHKEY_NOT_FOUND);
    latchkey_stats stats = stats_of(lk);
    bool read_again = stats.refreshes > stats.refreshes_dropped;
    if (read_again) wait_for(stats_of(lk).l1_entries == 0);
    handle_close(lk);
    return read_again;
}

/* A session that was taken away by hand, without a word: used all the time, it is refused when it is read again. */
static void test_a_session_that_is_gone_goes_from_l1(void **state)
{
    (void)state;
    latchkey *maker = handle_open(server, "");
    int tries = 0;
    while (!goes_when_it_is_read_again(maker)) assert_true(++tries < TRIES);
}

/* What changes in Redis without a word is seen as well. */
static void test_a_changed_record_is_seen(void **state)
{
    (void)state;
    latchkey *maker = handle_open(server, ""), *lk = handle_open(server, OPTIONS);
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey_entry before, now;
    make_session(maker, 8, token);
    warm(lk, token);
    assert_status(lk, LATCHKEY_OK, latchkey_validate(lk, token, LATCHKEY_TOKEN_LENGTH, &before));
    assert_status(maker, LATCHKEY_OK, set_field(maker, token, "pq.mlkem768", "another"));
    wait_for(latchkey_validate(lk, token, LATCHKEY_TOKEN_LENGTH, &now) == LATCHKEY_OK &&
             memcmp(now.pq_key_hash, before.pq_key_hash, sizeof now.pq_key_hash) != 0);
}

static void test_H_an_unused_session_is_not_refreshed_and_idles_out(void **state)
{
    (void)state;
    latchkey *maker = handle_open(server, ""), *lk = handle_open(server, OPTIONS);
    char token[LATCHKEY_TOKEN_SIZE], other[LATCHKEY_TOKEN_SIZE], key[128];
    make_session_with(maker, 1, 8000, 0, NULL, 0, token);
    make_session(maker, 2, other);
    session_key(server, token, key);
    warm(lk, token);
    use(lk, token, TTL, validate);
    /* What the last hit asked for is done once the other's, asked for later, is. */
    warm(lk, other);
    uint64_t before = stats_of(lk).refreshes, fills = stats_of(lk).fills;
    wait_for(validate(lk, other) == LATCHKEY_OK && stats_of(lk).refreshes > before && stats_of(lk).fills > fills);
    long long expires = redis_integer(server, "PEXPIRETIME %s", key);
    wait_for(redis_integer(server, "EXISTS %s", key) == 0);
    redisReply *time = redis_command(server, "TIME");
    assert_true(atoll(time->element[0]->str) * 1000 + 1000 >= expires);
    freeReplyObject(time);
    assert_true(expires > 0); /* and it was never moved: it is gone at that time, in any case */
    assert_int_not_equal(try_validate(lk, token), LATCHKEY_OK);
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, token));
}

/* Redis stands still: hits go on for as long as they may, nothing waits, and what was asked for in vain is counted. */
static void test_A_refreshes_that_are_not_answered_change_nothing(void **state)
{
    (void)state;
    redis *on = redis_start(NULL);
    latchkey *lk = handle_open(on, "l1_ttl_ms=4000&staleness_ms=60000&deadline_ms=2000");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 8, token);
    warm(lk, token);
    redis_freeze(on);
    int status;
    wait_for((status = try_validate(lk, token)) != LATCHKEY_OK);
    assert_status(lk, LATCHKEY_AGAIN, status); /* its time is up */
    redis_thaw(on);
    wait_for(validate(lk, token) == LATCHKEY_OK);
    redis_kill(on);
    while ((status = try_validate(lk, token)) == LATCHKEY_OK) check_pause();
    assert_status(lk, LATCHKEY_AGAIN, status);
    assert_status(lk, LATCHKEY_UNAVAILABLE, validate(lk, token));
    handle_close(lk);
    redis_end(on);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_session_in_steady_use_never_misses),
        TEST(test_try_validate_never_says_AGAIN),
        TEST(test_H_touches_in_time_cost_no_request_a_miss),
        TEST(test_C_a_revocation_elsewhere_is_seen),
        TEST(test_a_session_that_is_gone_goes_from_l1),
        TEST(test_a_changed_record_is_seen),
        TEST(test_H_an_unused_session_is_not_refreshed_and_idles_out),
        TEST(test_A_refreshes_that_are_not_answered_change_nothing),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}
