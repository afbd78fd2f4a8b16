/* SPDX-License-Identifier: MIT
 *
 * Bugs that were: a revocation that prewarming undid, revocations that stopped half way at a damaged key, and one whose
 * own retry overtook it.
 */
#include "test_handle.h"
#include "threads.h"

#include <stdio.h>
#include <string.h>

/* Writes fail, reads do not: so the revocation is pending while prewarming finds the session in Redis. */
static void test_prewarm_does_not_bring_back_what_is_denied(void **state)
{
    (void)state;
    redis *on = redis_start(NULL);
    latchkey *maker = handle_open(on, ""), *lk = handle_open(on, "staleness_ms=60000");
    char denied[LATCHKEY_TOKEN_SIZE], other[LATCHKEY_TOKEN_SIZE], key[128];
    make_session(maker, 1, denied);
    make_session(maker, 2, other);
    handle_close(maker);
    redis_do(on, "CONFIG SET min-replicas-to-write 1");
    assert_status(lk, LATCHKEY_PENDING, end_session(lk, denied));
    size_t loaded = 0;
    assert_status(lk, LATCHKEY_OK, latchkey_prewarm(lk, 100, &loaded));
    assert_int_equal(loaded, 1);
    assert_status(lk, LATCHKEY_OK, try_validate(lk, other));
    assert_status(lk, LATCHKEY_AGAIN, try_validate(lk, denied));
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, denied));
    redis_do(on, "CONFIG SET min-replicas-to-write 0");
    wait_for(stats_of(lk).pending == 0);
    assert_string_equal(session_key(on, denied, key), "");
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, denied));
    handle_close(lk);
    redis_end(on);
}

enum { STALENESS = 2000, GENEROUS = 10 };

/* Puts something that does not belong there into one of the partition's keys, or nothing. */
static void damage_key(const char *token, const char *key, const char *how)
{
    redis_do(server, "DEL lk:{%d}:%s", (int)token_partition(token), key);
    if (strcmp(how, "text") == 0) redis_do(server, "SET lk:{%d}:%s junk", (int)token_partition(token), key);
    if (strcmp(how, "list") == 0) redis_do(server, "RPUSH lk:{%d}:%s junk", (int)token_partition(token), key);
    if (strcmp(how, "hash") == 0) redis_do(server, "HSET lk:{%d}:%s a b", (int)token_partition(token), key);
}

/* The session is in the L1 of both, for far longer than the other one may take to hear of its end. */
static void prepare(latchkey *handles[2], char token[LATCHKEY_TOKEN_SIZE])
{
    char options[96];
    snprintf(options, sizeof options, "staleness_ms=%d&l1_ttl_ms=600000", STALENESS);
    for (int i = 0; i < 2; i++) handles[i] = handle_open(server, options);
    make_session(handles[0], 7, token);
    for (int i = 0; i < 2; i++) assert_status(handles[i], LATCHKEY_OK, validate(handles[i], token));
}

static void assert_ended_everywhere(latchkey *handles[2], const char *token, const char *what)
{
    char key[128];
    int status = end_session(handles[0], token);
    if (status) fail_msg("%s: revoke answers %s", what, latchkey_status_text(status));
    int64_t ended = check_now_ms();
    assert_status(handles[0], LATCHKEY_NOT_FOUND, validate(handles[0], token));
    wait_for(validate(handles[1], token) == LATCHKEY_NOT_FOUND);
    if (check_now_ms() - ended > STALENESS * GENEROUS) fail_msg("%s: another instance served it for long", what);
    assert_string_equal(session_key(server, token, key), "");
    assert_status(handles[1], LATCHKEY_NOT_FOUND, load(handles[1], token));
    for (int i = 0; i < 2; i++) handle_close(handles[i]);
}

static void test_revoke_with_damaged_partition_keys(void **state)
{
    (void)state;
    static const char *const keys[] = {"q", "a", "u:7", "r"}, *const kinds[] = {"text", "list", "hash"};
    for (size_t k = 0; k < 4; k++) {
        for (size_t i = 0; i < 3; i++) {
            latchkey *handles[2];
            char token[LATCHKEY_TOKEN_SIZE], what[32];
            prepare(handles, token);
            damage_key(token, keys[k], kinds[i]);
            snprintf(what, sizeof what, "%s is a %s", keys[k], kinds[i]);
            assert_ended_everywhere(handles, token, what);
            damage_key(token, keys[k], "");
        }
    }
}

static void test_revoke_with_a_damaged_field_x(void **state)
{
    (void)state;
    static const char *const commands[] = {"HSET %s x junk", "HDEL %s x"};
    for (size_t i = 0; i < 2; i++) {
        latchkey *handles[2];
        char token[LATCHKEY_TOKEN_SIZE], key[128];
        prepare(handles, token);
        session_key(server, token, key);
        redis_do(server, commands[i], key);
        assert_ended_everywhere(handles, token, commands[i]);
    }
}

/* What waits its turn for the one connection is not yet to be retried in the background. */
enum { THREADS = 8, ROUNDS = 1000 };

typedef struct tally {
    latchkey *lk;
    atomic_int ended, not_found, odd;
} tally;

static void make_and_end(crew_member *member)
{
    tally *t = member->shared;
    latchkey_draft draft = {.size = sizeof draft, .user_id = 1 + member->index};
    for (int i = 0; i < ROUNDS; i++) {
        char token[LATCHKEY_TOKEN_SIZE];
        int status = latchkey_create(t->lk, &draft, token);
        if (!status) status = end_session(t->lk, token);
        atomic_fetch_add(status == LATCHKEY_OK ? &t->ended : status == LATCHKEY_NOT_FOUND ? &t->not_found : &t->odd, 1);
    }
}

static void test_revoke_is_not_overtaken_by_its_own_retry(void **state)
{
    (void)state;
    tally t = {.lk = handle_open(server, "connections=1")};
    crew_run(THREADS, make_and_end, &t);
    assert_int_equal(atomic_load(&t.not_found), 0);
    assert_int_equal(atomic_load(&t.odd), 0);
    assert_int_equal(atomic_load(&t.ended), THREADS * ROUNDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_prewarm_does_not_bring_back_what_is_denied),
        TEST(test_revoke_with_damaged_partition_keys),
        TEST(test_revoke_with_a_damaged_field_x),
        TEST(test_revoke_is_not_overtaken_by_its_own_retry),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}
