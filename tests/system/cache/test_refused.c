/* SPDX-License-Identifier: MIT
 *
 * Tokens that are dead: refused for a short time without asking Redis again, in numbers that would be an attack, and never
 * one that is alive. The living look, by name, at what only the library can make: well-formed tokens (token.h).
 */
#include "test_handle.h"
#include "threads.h"
#include "base/token.h"

#include <stdio.h>
#include <string.h>

enum { FOR_MS = 5000 }; /* as the header says */

static uint64_t reads(latchkey *lk) { return stats_of(lk).l2_reads; }

/* So many reads may be due since start_ms: one, and one more each time that it was forgotten. */
static void asked_seldom(latchkey *lk, uint64_t before, uint64_t first, int64_t start_ms)
{
    uint64_t most = first + (uint64_t)((check_now_ms() - start_ms) / (FOR_MS - 100));
    assert_in_range(reads(lk) - before, 0, most);
}

static void test_a_dead_token_is_asked_for_once(void **state)
{
    (void)state;
    latchkey *maker = handle_open(server, ""), *lk = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(maker, 8, token);
    assert_status(maker, LATCHKEY_OK, end_session(maker, token));
    assert_status(lk, LATCHKEY_AGAIN, try_validate(lk, token));
    uint64_t before = reads(lk);
    int64_t start = check_now_ms();
    for (int i = 0; i < 1000; i++) assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, token));
    asked_seldom(lk, before, 1, start);
    latchkey_stats stats = stats_of(lk);
    assert_int_equal(stats.dead_refused + stats.l1_misses, 1000);
    assert_int_equal(stats.validates, 1000);
    assert_int_equal(stats.l1_entries, 0);

    /* An event loop is told so without waiting, too, alone and in a batch. */
    const char *tokens[2] = {token, token};
    const size_t lens[2] = {LATCHKEY_TOKEN_LENGTH, LATCHKEY_TOKEN_LENGTH};
    latchkey_entry entries[2];
    int statuses[2];
    wait_for(validate(lk, token) == LATCHKEY_NOT_FOUND && try_validate(lk, token) == LATCHKEY_NOT_FOUND);
    wait_for(validate(lk, token) == LATCHKEY_NOT_FOUND &&
             !latchkey_try_validate_many(lk, tokens, lens, 2, entries, statuses) && statuses[0] == LATCHKEY_NOT_FOUND &&
             statuses[1] == LATCHKEY_NOT_FOUND);
}

static void test_a_token_revoked_here_is_not_asked_for(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 8, token);
    assert_status(lk, LATCHKEY_OK, end_session(lk, token));
    uint64_t before = reads(lk);
    int64_t start = check_now_ms();
    for (int i = 0; i < 1000; i++) assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, token));
    asked_seldom(lk, before, 0, start);
}

/* A person deletes a session and brings it back: it is seen when the time is up. What asks Redis by itself
 * (load, touch, revoke) sees it at once. */
static void test_a_refusal_is_remembered_for_a_short_time(void **state)
{
    (void)state;
    latchkey *maker = handle_open(server, ""), *lk = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE], key[128];
    make_session(maker, 8, token);
    session_key(server, token, key);
    redis_do(server, "RENAME %s away", key);
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, token));
    assert_status(lk, LATCHKEY_NOT_FOUND, load(lk, token));
    assert_status(lk, LATCHKEY_NOT_FOUND, touch(lk, token));
    redis_do(server, "RENAME away %s", key);
    assert_status(lk, LATCHKEY_OK, load(lk, token));
    assert_status(lk, LATCHKEY_OK, touch(lk, token));
    wait_for(validate(lk, token) == LATCHKEY_OK);
    assert_status(lk, LATCHKEY_OK, end_session(lk, token));
    assert_status(lk, LATCHKEY_NOT_FOUND, end_session(lk, token));
}

static void test_an_expired_token_is_remembered_as_that(void **state)
{
    (void)state;
    latchkey *maker = handle_open(server, ""), *lk = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE], key[128];
    make_session_with(maker, 1, 1000, 1000, NULL, 0, token);
    redis_do(server, "PEXPIRE %s 600000", session_key(server, token, key));
    wait_for(touch(maker, token) == LATCHKEY_EXPIRED);
    wait_for(validate(lk, token) == LATCHKEY_EXPIRED);
    uint64_t before = reads(lk);
    int64_t start = check_now_ms();
    for (int i = 0; i < 100; i++) assert_status(lk, LATCHKEY_EXPIRED, validate(lk, token));
    asked_seldom(lk, before, 1, start); /* the first one may have been L1's own word */
}

/* -------------------------------------------------------------------------------------------------- a flood -- */

/* Fewer than L1 holds: of a small one that is full to the last place one is evicted, in one case of some hundred, since no
 * place of its own is left. */
enum { LIVE = 1900, DEAD = 100000, ATTACKERS = 4 };

typedef struct flood {
    latchkey *lk;
    atomic_int wrong; /* a status that was not NOT_FOUND */
} flood;

static void attack(crew_member *member)
{
    flood *f = member->shared;
    lk_check_keys keys;
    lk_check_keys_public(&keys);
    for (int i = 0; i < DEAD / ATTACKERS; i++) {
        lk_token token;
        lk_token_make(&keys, (unsigned)i % 64, &token);
        int status = validate(f->lk, token.text);
        if (status != LATCHKEY_NOT_FOUND) atomic_store(&f->wrong, status ? status : 99);
    }
}

static void test_G_a_flood_of_dead_tokens_leaves_the_living_in_l1(void **state)
{
    (void)state;
    static char tokens[LIVE][LATCHKEY_TOKEN_SIZE];
    flood f = {.lk = handle_open(server, "l1_capacity=2000&l1_ttl_ms=3600000&idle_ms=86400000&lifetime_ms=86400000")};
    for (int i = 0; i < LIVE; i++) {
        make_session(f.lk, 1 + (uint64_t)i, tokens[i]);
        warm(f.lk, tokens[i]);
    }
    latchkey_stats before = stats_of(f.lk);
    assert_int_equal(before.l1_entries, LIVE);
    crew_run(ATTACKERS, attack, &f);
    assert_int_equal(atomic_load(&f.wrong), 0);
    /* In a warm L1 each hit is one, without a lease that lapsed in between: else it is asked for again. */
    for (int i = 0; i < LIVE; i++) wait_for(try_validate(f.lk, tokens[i]) == LATCHKEY_OK);
    latchkey_stats after = stats_of(f.lk);
    assert_int_equal(after.l1_entries, LIVE);
    assert_int_equal(after.evictions, 0);
    assert_int_equal(after.fills, before.fills);
    assert_int_equal(after.l1_hits - before.l1_hits, LIVE);
    /* A session made after it is none of them. */
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(f.lk, 1, token);
    assert_status(f.lk, LATCHKEY_OK, validate(f.lk, token));
}

/* --------------------------------------------------------------------------------------------------- faults -- */

/* With Redis lost a dead token is UNAVAILABLE, as every other: the "no" was given under a lease. */
static void test_A_without_a_lease_nothing_is_refused(void **state)
{
    (void)state;
    enum { STALENESS = 500 + 10 }; /* and the tick of the clock that is compared */
    redis *on = redis_start(NULL);
    latchkey *lk = handle_open(on, "staleness_ms=500&deadline_ms=100");
    char token[LATCHKEY_TOKEN_SIZE];
    int lapsed = 0;
    wait_for(validate(lk, "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA") == LATCHKEY_MALFORMED);
    latchkey_draft draft = {.size = sizeof draft};
    wait_for(latchkey_create(lk, &draft, token) == LATCHKEY_OK);
    wait_for(end_session(lk, token) != LATCHKEY_PENDING);
    wait_for(validate(lk, token) == LATCHKEY_NOT_FOUND);
    redis_kill(on);
    while (lapsed < 20) {
        bool lost = stats_of(lk).lease_age_ms >= STALENESS;
        int status = validate(lk, token);
        assert_status_in(lk, status, LATCHKEY_NOT_FOUND, LATCHKEY_UNAVAILABLE);
        if (!lost) continue;
        assert_status(lk, LATCHKEY_UNAVAILABLE, status);
        assert_status(lk, LATCHKEY_AGAIN, try_validate(lk, token));
        lapsed++;
    }
    handle_close(lk);
    redis_end(on);
}

/* What one server refused another one may hold: here the same after a restart, from a snapshot in which a session lives
 * that was away when it was asked for. It is admitted as soon as anything is, not seconds later. */
static void test_A_another_incarnation_starts_with_nobody_refused(void **state)
{
    (void)state;
    redis *on = redis_start("--save", "", "--dir", ".");
    latchkey *maker = handle_open(on, ""), *lk = handle_open(on, "staleness_ms=1000&deadline_ms=1000");
    char token[LATCHKEY_TOKEN_SIZE], key[128];
    make_session(maker, 8, token);
    session_key(on, token, key);
    redis_do(on, "SAVE");
    redis_do(on, "RENAME %s away", key);
    wait_for(validate(lk, token) == LATCHKEY_NOT_FOUND);
    uint64_t emptied = stats_of(lk).empties;
    redis_kill(on);
    redis_boot(on);
    int status;
    wait_for(stats_of(lk).empties >= emptied + 2); /* when it is met, and when its first beat comes back */
    wait_for((status = validate(lk, token)) != LATCHKEY_UNAVAILABLE);
    assert_status(lk, LATCHKEY_OK, status);
    handle_close(lk);
    handle_close(maker);
    redis_end(on);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_dead_token_is_asked_for_once),
        TEST(test_a_token_revoked_here_is_not_asked_for),
        TEST(test_a_refusal_is_remembered_for_a_short_time),
        TEST(test_an_expired_token_is_remembered_as_that),
        TEST(test_G_a_flood_of_dead_tokens_leaves_the_living_in_l1),
        TEST(test_A_without_a_lease_nothing_is_refused),
        TEST(test_A_another_incarnation_starts_with_nobody_refused),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}
