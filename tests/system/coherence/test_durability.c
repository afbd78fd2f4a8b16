/* SPDX-License-Identifier: MIT
 *
 * durability=1 on a real primary with a real replica: what is OK is held by both; what is not yet is denied here, retried,
 * and told apart.
 */
#include "test_handle.h"
#include "threads.h"

#include <stdbool.h>
#include <string.h>

static redis *primary, *replica;

static void replicate(redis *from, redis *to)
{
    redis_do(to, "REPLICAOF 127.0.0.1 %d", from->port);
    wait_for(redis_integer(from, "WAIT 1 100") == 1);
}

static int pair_start(void **state)
{
    (void)state;
    primary = redis_start("--repl-diskless-sync-delay", "0");
    replica = redis_start("--repl-diskless-sync-delay", "0");
    replicate(primary, replica);
    return 0;
}

static int pair_end(void **state)
{
    handle_close_all(state);
    redis_end(primary);
    redis_end(replica);
    return 0;
}

#define PAIR(name) cmocka_unit_test_setup_teardown(name, pair_start, pair_end)

static bool replica_has(const char *token)
{
    char key[128];
    return *session_key(replica, token, key) != 0;
}

static int create_one(latchkey *lk, uint64_t user_id, char token[LATCHKEY_TOKEN_SIZE])
{
    latchkey_draft draft = {.size = sizeof draft, .user_id = user_id};
    return latchkey_create(lk, &draft, token);
}

static void test_what_is_OK_is_held_by_the_replica(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE], key[128];
    latchkey *lk = handle_open(primary, "durability=1");
    for (int i = 0; i < 50; i++) {
        assert_status(lk, LATCHKEY_OK, create_one(lk, 1, token));
        assert_true(replica_has(token));
        assert_status(lk, LATCHKEY_OK, set_field(lk, token, "note", "kept"));
        assert_int_equal(redis_integer(replica, "HSTRLEN %s note", session_key(replica, token, key)), 4);
        assert_status(lk, LATCHKEY_OK, end_session(lk, token));
        assert_false(replica_has(token));
    }
}

typedef struct reading {
    latchkey *lk;
    char token[LATCHKEY_TOKEN_SIZE];
    _Atomic size_t reads;
} reading;

static void read_on(crew_member *m)
{
    reading *r = m->shared;
    while (!crew_stopped(m)) atomic_fetch_add(&r->reads, validate(r->lk, r->token) == LATCHKEY_OK);
}

/* One connection, which many share all the time: a call that has to wait for the replica gets it for itself. */
static void test_G_writes_have_their_turn(void **state)
{
    (void)state;
    enum { READERS = 6, WRITES = 30 };
    char token[LATCHKEY_TOKEN_SIZE];
    reading r = {.lk = handle_open(primary, "durability=1&connections=1&l1_capacity=0")};
    assert_status(r.lk, LATCHKEY_OK, create_one(r.lk, 1, r.token));
    crew *c = crew_start(READERS, read_on, &r);
    for (int i = 0; i < WRITES; i++) {
        size_t before = r.reads;
        assert_status(r.lk, LATCHKEY_OK, create_one(r.lk, 2, token));
        assert_status(r.lk, LATCHKEY_OK, end_session(r.lk, token));
        wait_for(r.reads > before); /* and they theirs */
    }
    crew_stop(c);
    crew_join(c);
}

/* The replica stands still: nothing is OK, nothing that was handed out can be lost; then it goes on. */
static void test_B_revoke_is_PENDING_until_the_replica_has_it(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE], other[LATCHKEY_TOKEN_SIZE];
    latchkey *lk = handle_open(primary, "durability=1&deadline_ms=2000");
    assert_status(lk, LATCHKEY_OK, create_one(lk, 1, token));
    warm(lk, token);
    redis_freeze(replica);
    assert_status(lk, LATCHKEY_PENDING, end_session(lk, token));
    assert_int_not_equal(validate(lk, token), LATCHKEY_OK);
    assert_int_equal(stats_of(lk).pending, 1);
    /* Redis does not find it any more: that settles nothing. */
    assert_status(lk, LATCHKEY_PENDING, end_session(lk, token));
    assert_int_equal(stats_of(lk).pending, 1);
    assert_status(lk, LATCHKEY_UNAVAILABLE, create_one(lk, 2, other));
    assert_string_equal(other, "");
    redis_thaw(replica);
    wait_for(stats_of(lk).pending == 0);
    assert_false(replica_has(token));
    wait_for(redis_integer(primary, "DBSIZE") == redis_integer(replica, "DBSIZE"));
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, token));
    assert_status(lk, LATCHKEY_OK, create_one(lk, 2, other));
}

static int delete_field(latchkey *lk, const char *token, const char *name)
{
    latchkey_field field = {name, NULL, 0};
    return latchkey_set_fields(lk, token, LATCHKEY_TOKEN_LENGTH, &field, 1);
}

/* The second call finds its work done, and writes nothing. From Redis 7.2 and Valkey 8 on, WAIT asks only for what its own
 * connection wrote. */
static void test_what_another_connection_wrote_is_waited_for(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE], key[128];
    latchkey *one = handle_open(primary, "durability=1&deadline_ms=2000&staleness_ms=60000");
    latchkey *other = handle_open(primary, "durability=1&deadline_ms=2000&staleness_ms=60000");
    assert_status(one, LATCHKEY_OK, create_one(one, 1, token));
    assert_status(other, LATCHKEY_OK, set_field(other, token, "note", "kept"));
    redis_freeze(replica);
    redis_do(primary, "CONFIG SET maxmemory 1"); /* a count could not be moved */
    assert_status(one, LATCHKEY_UNAVAILABLE, delete_field(one, token, "note"));
    assert_status(other, LATCHKEY_UNAVAILABLE, delete_field(other, token, "note"));
    redis_do(primary, "CONFIG SET maxmemory 0");
    redis_thaw(replica);
    wait_for(delete_field(other, token, "note") == LATCHKEY_OK);
    assert_int_equal(redis_integer(replica, "HEXISTS %s note", session_key(replica, token, key)), 0);
}

/* A session that was made but not handed out is ended again, here and on the replica. */
static void test_orphans_are_ended(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey *lk = handle_open(primary, "durability=1&deadline_ms=2000");
    redis_freeze(replica);
    for (int i = 0; i < 3; i++) assert_status(lk, LATCHKEY_UNAVAILABLE, create_one(lk, 7, token));
    assert_in_range(stats_of(lk).pending, 1, 3); /* without an answer in time a session is ended too, and not counted */
    redis_thaw(replica);
    wait_for(redis_count_keys(primary, "*:s:*") == 0 && redis_count_keys(replica, "*:s:*") == 0);
    wait_for(stats_of(lk).pending == 0);
}

/* Not counted and published again and again while it waits. */
static void test_what_is_PENDING_is_announced_once_or_twice(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey *lk = handle_open(primary, "durability=1&deadline_ms=2000");
    assert_status(lk, LATCHKEY_OK, create_one(lk, 1, token));
    warm(lk, token);
    redis_freeze(replica);
    int64_t began = check_now_ms();
    assert_status(lk, LATCHKEY_PENDING, end_session(lk, token));
    /* A while in which the link would try again and again. */
    wait_for(check_now_ms() > began + 1500);
    long long number = redis_integer(primary, "GET lk:{%u}:q", token_partition(token));
    assert_in_range(number, 1, 2);
    redis_thaw(replica);
    wait_for(stats_of(lk).pending == 0);
}

/* Without the replica there is no lease: L1 stops answering within staleness_ms, and answers again when it is back. */
static void test_C_no_replica_no_lease(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey *lk = handle_open(primary, "durability=1&staleness_ms=1000&deadline_ms=1000");
    assert_status(lk, LATCHKEY_OK, create_one(lk, 1, token));
    warm(lk, token);
    redis_freeze(replica);
    wait_for(try_validate(lk, token) == LATCHKEY_AGAIN);
    wait_for(strstr(stats_of(lk).last_error, "durability=1") != NULL);
    redis_thaw(replica);
    wait_for(validate(lk, token) == LATCHKEY_OK && try_validate(lk, token) == LATCHKEY_OK);
}

static void test_open_says_that_replicas_are_missing(void **state)
{
    (void)state;
    char config[512], error[160];
    latchkey *lk = NULL;
    handle_config(primary, 0, "durability=2&deadline_ms=2000&staleness_ms=400", config, sizeof config);
    assert_status(NULL, LATCHKEY_UNAVAILABLE, latchkey_open(config, &lk, error, sizeof error));
    assert_null(lk);
    assert_non_null(strstr(error, "durability=2"));
}

/* Promoted by hand while it had everything: what was revoked with OK stays so, whichever server is asked. */
static void test_C_promoted_replica_knows_what_was_revoked(void **state)
{
    (void)state;
    enum { SESSIONS = 30 };
    static char tokens[SESSIONS][LATCHKEY_TOKEN_SIZE];
    latchkey *lk = handle_open(primary, "durability=1");
    for (int i = 0; i < SESSIONS; i++) assert_status(lk, LATCHKEY_OK, create_one(lk, 1 + (uint64_t)i, tokens[i]));
    for (int i = 0; i < SESSIONS; i += 2) assert_status(lk, LATCHKEY_OK, end_session(lk, tokens[i]));
    redis_kill(primary);
    redis_do(replica, "REPLICAOF NO ONE");
    latchkey *other = handle_open(replica, "");
    for (int i = 0; i < SESSIONS; i++)
        assert_status(other, i % 2 ? LATCHKEY_OK : LATCHKEY_NOT_FOUND, validate(other, tokens[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PAIR(test_what_is_OK_is_held_by_the_replica),
        PAIR(test_G_writes_have_their_turn),
        PAIR(test_B_revoke_is_PENDING_until_the_replica_has_it),
        PAIR(test_what_another_connection_wrote_is_waited_for),
        PAIR(test_orphans_are_ended),
        PAIR(test_what_is_PENDING_is_announced_once_or_twice),
        PAIR(test_C_no_replica_no_lease),
        PAIR(test_open_says_that_replicas_are_missing),
        PAIR(test_C_promoted_replica_knows_what_was_revoked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
