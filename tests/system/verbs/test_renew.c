/* SPDX-License-Identifier: MIT
 *
 * Renewal on a set age: an answer for a token that is older than renew_ms says so, from L1 and from Redis, to every caller; and
 * an exchange ends that.
 */
#include "test_handle.h"
#include "threads.h"

#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LENGTH = LATCHKEY_TOKEN_LENGTH, AGE = 3600000, GRACE = 600000, EARLY = 2000 };
#define OPTIONS "renew_ms=3600000"

typedef char token_text[LATCHKEY_TOKEN_SIZE];

static long long server_ms(void)
{
    redisReply *time = redis_command(server, "TIME");
    long long ms = atoll(time->element[0]->str) * 1000 + atoll(time->element[1]->str) / 1000;
    freeReplyObject(time);
    return ms;
}

/* The session's record in Redis: its bytes, and those changed. */
static void read_record(const char *token, unsigned char v[184])
{
    char key[128];
    redisReply *reply = redis_command(server, "HGET %s v", session_key(server, token, key));
    assert_int_equal(reply->type, REDIS_REPLY_STRING);
    assert_int_equal(reply->len, 184);
    memcpy(v, reply->str, 184);
    freeReplyObject(reply);
}

static void write_record(const char *token, const unsigned char v[184])
{
    char key[128];
    redis_do(server, "HSET %s v %b", session_key(server, token, key), v, (size_t)184);
}

/* As if the session had been made so much earlier, without the wait. */
static void grow_older(const char *token, int64_t ms)
{
    unsigned char v[184];
    int64_t created;
    read_record(token, v);
    memcpy(&created, v + 112, sizeof created);
    created -= ms;
    memcpy(v + 112, &created, sizeof created);
    write_record(token, v);
}

static void make_old(latchkey *maker, uint64_t user, int64_t age_ms, token_text token)
{
    make_session(maker, user, token);
    grow_older(token, age_ms);
}

static bool flagged(const latchkey_entry *entry) { return entry->flags & LATCHKEY_FLAG_RENEW; }

static bool says_so(latchkey *lk, const char *token)
{
    latchkey_entry entry;
    assert_status(lk, LATCHKEY_OK, latchkey_validate(lk, token, LENGTH, &entry));
    return flagged(&entry);
}

static bool says_so_submitted(latchkey *lk, const char *token)
{
    latchkey_answer answer;
    struct pollfd loop = {.fd = latchkey_fd(lk), .events = POLLIN};
    assert_status(lk, LATCHKEY_OK, latchkey_submit(lk, token, LENGTH, 7));
    while (latchkey_reap(lk, &answer, 1) == 0) assert_true(poll(&loop, 1, 60000) >= 0);
    assert_status(lk, LATCHKEY_OK, answer.status);
    return flagged(&answer.entry);
}

static bool says_so_loaded(latchkey *lk, const char *token)
{
    latchkey_record *record;
    assert_status(lk, LATCHKEY_OK, latchkey_load(lk, token, LENGTH, &record));
    bool so = flagged(latchkey_record_entry(record));
    latchkey_record_free(record);
    return so;
}

/* From L1 alone, by both of those that never wait. */
static bool says_so_from_l1(latchkey *lk, const char *token)
{
    latchkey_entry one, many;
    const size_t length = LENGTH;
    int status;
    assert_status(lk, LATCHKEY_OK, latchkey_try_validate(lk, token, LENGTH, &one));
    assert_status(lk, LATCHKEY_OK, latchkey_try_validate_many(lk, &token, &length, 1, &many, &status));
    assert_status(lk, LATCHKEY_OK, status);
    assert_int_equal(flagged(&one), flagged(&many));
    return flagged(&one);
}

/* ---------------------------------------------------------------------------------------------- every answer -- */

static void every_answer(const char *options, int64_t age_ms, bool so)
{
    char without[128];
    latchkey *maker = handle_open(server, OPTIONS), *lk = handle_open(server, options);
    snprintf(without, sizeof without, "%s&l1_capacity=0", options);
    latchkey *uncached = handle_open(server, without), *looped = handle_open(server, options),
             *prewarmed = handle_open(server, options);
    token_text token;
    size_t loaded;
    make_old(maker, 5, age_ms, token);
    assert_int_equal(says_so(lk, token), so);
    warm(lk, token);
    assert_int_equal(says_so_from_l1(lk, token), so);
    assert_int_equal(says_so(uncached, token), so);
    assert_int_equal(says_so_loaded(uncached, token), so);
    assert_int_equal(says_so_submitted(uncached, token), so);
    assert_int_equal(says_so_submitted(looped, token), so);
    warm(looped, token);
    assert_int_equal(says_so_submitted(looped, token), so); /* out of L1 */
    assert_status(prewarmed, LATCHKEY_OK, latchkey_prewarm(prewarmed, 10, &loaded));
    assert_int_equal(loaded, 1);
    assert_int_equal(says_so_from_l1(prewarmed, token), so);
    unsigned char v[184];
    read_record(token, v);
    assert_int_equal(v[132 + 3], 0); /* not in Redis: the flags' highest byte */
    handle_close_all(NULL);
    server_clean(NULL);
}

static void test_every_answer_for_an_old_token_says_so(void **state)
{
    (void)state;
    every_answer(OPTIONS, AGE, true);
    every_answer(OPTIONS, 10 * AGE, true);
}

static void test_no_answer_for_a_younger_one_does(void **state)
{
    (void)state;
    every_answer(OPTIONS, 0, false);
    every_answer(OPTIONS, AGE / 2, false);
    every_answer("renew_ms=0", 10 * AGE, false);
}

/* What is the application's own is not touched, and the auditor does not take the flag for a difference. */
static void test_the_flag_is_no_difference_to_the_auditor(void **state)
{
    (void)state;
    latchkey *maker = handle_open(server, ""), *lk = handle_open(server, OPTIONS "&audit_per_s=1000&l1_capacity=64");
    token_text token;
    latchkey_entry entry;
    latchkey_draft draft = {.size = sizeof draft, .user_id = 5, .flags = LATCHKEY_FLAGS_YOURS};
    assert_status(maker, LATCHKEY_OK, latchkey_create(maker, &draft, token));
    grow_older(token, AGE);
    warm(lk, token);
    assert_status(lk, LATCHKEY_OK, latchkey_validate(lk, token, LENGTH, &entry));
    assert_int_equal(entry.flags, LATCHKEY_FLAGS_YOURS | LATCHKEY_FLAG_RENEW);
    wait_for(stats_of(lk).audited >= 200);
    assert_int_equal(stats_of(lk).audit_suspicions, 0);
}

static void test_damaged_age_is_corrupt(void **state)
{
    (void)state;
    latchkey *maker = handle_open(server, ""), *lk = handle_open(server, OPTIONS);
    token_text token;
    unsigned char v[184];
    make_session(maker, 5, token);
    read_record(token, v);
    memcpy(v + 4, "\xff\xff\xff\x7f", 4);
    write_record(token, v);
    assert_status(lk, LATCHKEY_CORRUPT, validate(lk, token));
    assert_status(lk, LATCHKEY_CORRUPT, load(lk, token));
}

/* ------------------------------------------------------------------------------------------- as time goes by -- */

/* Uses it from L1 until the flag comes. Returns how often L1 had no answer. Redis' clock, asked before and behind each answer,
 * says whether it may or must be there. */
static int use_until_flagged(latchkey *lk, const char *token, int64_t age_ms, long long made_ms)
{
    enum { UNSURE = 500 }; /* how well this process knows Redis' clock on a busy machine */
    int misses = 0;
    for (;;) {
        latchkey_entry entry;
        long long before = server_ms();
        int status = latchkey_try_validate(lk, token, LENGTH, &entry);
        misses += status == LATCHKEY_AGAIN;
        if (status == LATCHKEY_AGAIN) status = latchkey_validate(lk, token, LENGTH, &entry);
        assert_status(lk, LATCHKEY_OK, status);
        if (flagged(&entry)) {
            assert_true(server_ms() - made_ms >= age_ms - EARLY - UNSURE);
            return misses;
        }
        assert_true(before - made_ms < age_ms + UNSURE);
        check_pause();
    }
}

/* The session is in L1 since it was made: read ahead once, in time for the flag, and never missed. Where the machine stood
 * still a miss is right: then once more. */
static void test_the_flag_comes_in_time_and_costs_no_miss(void **state)
{
    (void)state;
    enum { SHORT_AGE = 10000, TRIES = 4 };
    int misses = 1;
    for (int i = 0; i < TRIES && misses; i++) {
        latchkey *lk = handle_open(server, "renew_ms=10000");
        token_text token;
        latchkey_entry entry;
        make_session(lk, 5, token);
        assert_status(lk, LATCHKEY_OK, latchkey_validate(lk, token, LENGTH, &entry));
        misses = use_until_flagged(lk, token, SHORT_AGE, entry.created_at_ms);
        assert_in_range(stats_of(lk).refreshes, misses ? 0 : 1, 4); /* no loop of them */
        assert_true(says_so_from_l1(lk, token));
        handle_close(lk);
    }
    assert_int_equal(misses, 0);
}

/* Read from Redis, or prewarmed, shortly before: L1 lets go of it in time. */
static void test_an_entry_does_not_outlive_the_age(void **state)
{
    (void)state;
    latchkey *maker = handle_open(server, ""), *lk = handle_open(server, OPTIONS),
             *prewarmed = handle_open(server, OPTIONS);
    token_text token;
    unsigned char v[184];
    int64_t created;
    size_t loaded;
    make_old(maker, 5, AGE - 4000, token);
    read_record(token, v);
    memcpy(&created, v + 112, sizeof created);
    assert_status(prewarmed, LATCHKEY_OK, latchkey_prewarm(prewarmed, 10, &loaded));
    (void)says_so(lk, token);
    use_until_flagged(lk, token, AGE, created);
    use_until_flagged(prewarmed, token, AGE, created);
}

/* -------------------------------------------------------------------------------------------------- rotation -- */

static void test_an_exchange_ends_it(void **state)
{
    (void)state;
    latchkey *maker = handle_open(server, ""), *lk = handle_open(server, OPTIONS),
             *other = handle_open(server, OPTIONS);
    latchkey *handles[2] = {lk, other};
    token_text old, renewed, again;
    make_old(maker, 5, AGE, old);
    for (int i = 0; i < 2; i++) assert_true(says_so(handles[i], old));
    assert_status(lk, LATCHKEY_OK, latchkey_rotate(lk, old, LENGTH, GRACE, renewed));
    assert_int_equal(says_so(lk, renewed), false);
    assert_int_equal(says_so_loaded(lk, renewed), false);
    assert_false(says_so(lk, old)); /* in its grace */
    assert_false(says_so_loaded(lk, old));
    wait_for(!says_so(other, old)); /* once it has heard of it */
    assert_false(says_so(other, renewed));
    unsigned char v[184];
    uint32_t age_s;
    read_record(renewed, v);
    memcpy(&age_s, v + 4, sizeof age_s);
    assert_in_range(age_s, AGE / 1000, AGE / 1000 + 600);
    /* The new one grows old in its turn; the old one, which is as old, never says so. */
    grow_older(renewed, AGE);
    latchkey *later = handle_open(server, OPTIONS);
    assert_true(says_so(later, renewed));
    assert_true(says_so_loaded(later, renewed));
    grow_older(old, 2 * AGE);
    assert_false(says_so(later, old));
    assert_false(says_so_loaded(later, old));
    assert_status(later, LATCHKEY_REFUSED, latchkey_rotate(later, old, LENGTH, GRACE, again));
    /* Without a grace too. */
    assert_status(later, LATCHKEY_OK, latchkey_rotate(later, renewed, LENGTH, 0, again));
    assert_false(says_so(later, again));
}

/* What no script can write, the client does. */
static void test_the_age_is_kept_in_sealed_records(void **state)
{
    (void)state;
    char path[256], options[320], key[128], v[256];
    check_temp_path("seal.key", path, sizeof path);
    check_write_file(path, "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n", 65);
    snprintf(options, sizeof options, OPTIONS "&seal_key_file=%s", path);
    latchkey *lk = handle_open(server, options);
    token_text token, renewed;
    make_session(lk, 5, token);
    long long made = server_ms();
    wait_for(server_ms() >= made + 1500);
    assert_status(lk, LATCHKEY_OK, latchkey_rotate(lk, token, LENGTH, GRACE, renewed));
    assert_int_equal(redis_text(server, v, sizeof v, "HGET %s v", session_key(server, renewed, key)), 244);
    uint32_t age_s;
    memcpy(&age_s, v + 4, sizeof age_s);
    assert_in_range(age_s, 1, 600);
    assert_false(says_so(lk, renewed));
}

enum { TOKENS = 600, RACERS = 8, HANDLES = 4 };

typedef struct race {
    latchkey *handles[HANDLES];
    token_text token[TOKENS], renewed[TOKENS];
    atomic_int won[TOKENS], refused, unflagged, odd;
} race;

/* As a server does: where the flag is seen, an exchange; whatever becomes of it, the request goes on. */
static void renew_all(crew_member *member)
{
    race *r = member->shared;
    latchkey *lk = r->handles[member->index % HANDLES];
    for (int i = 0; i < TOKENS; i++) {
        latchkey_entry entry;
        token_text renewed;
        if (latchkey_validate(lk, r->token[i], LENGTH, &entry)) atomic_fetch_add(&r->odd, 1);
        if (!flagged(&entry)) {
            atomic_fetch_add(&r->unflagged, 1); /* exchanged, and heard of */
            continue;
        }
        int status = latchkey_rotate(lk, r->token[i], LENGTH, GRACE, renewed);
        if (status == LATCHKEY_OK && !atomic_fetch_add(&r->won[i], 1)) memcpy(r->renewed[i], renewed, sizeof renewed);
        else if (status == LATCHKEY_REFUSED) atomic_fetch_add(&r->refused, 1);
        else atomic_fetch_add(&r->odd, 1);
        bool won = status == LATCHKEY_OK;
        if (latchkey_validate(lk, r->token[i], LENGTH, &entry) || (won && flagged(&entry)))
            atomic_fetch_add(&r->odd, 1);
    }
}

static void test_of_racing_renewals_exactly_one_wins(void **state)
{
    (void)state;
    static race r;
    memset(&r, 0, sizeof r);
    latchkey *maker = handle_open(server, "");
    for (int i = 0; i < HANDLES; i++) r.handles[i] = handle_open(server, OPTIONS);
    for (int i = 0; i < TOKENS; i++) make_old(maker, (uint64_t)i, AGE, r.token[i]);
    crew_run(RACERS, renew_all, &r);
    assert_int_equal(atomic_load(&r.odd), 0);
    assert_true(atomic_load(&r.refused) > 0);
    assert_int_equal(TOKENS + atomic_load(&r.refused) + atomic_load(&r.unflagged), TOKENS * RACERS);
    for (int i = 0; i < TOKENS; i++) {
        assert_int_equal(atomic_load(&r.won[i]), 1);
        assert_false(says_so(r.handles[0], r.renewed[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_every_answer_for_an_old_token_says_so),
        TEST(test_no_answer_for_a_younger_one_does),
        TEST(test_the_flag_is_no_difference_to_the_auditor),
        TEST(test_damaged_age_is_corrupt),
        TEST(test_the_flag_comes_in_time_and_costs_no_miss),
        TEST(test_an_entry_does_not_outlive_the_age),
        TEST(test_an_exchange_ends_it),
        TEST(test_the_age_is_kept_in_sealed_records),
        TEST(test_of_racing_renewals_exactly_one_wins),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}
