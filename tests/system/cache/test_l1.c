/* SPDX-License-Identifier: MIT
 *
 * The two tiers at work: what L1 answers and what it costs Redis when it cannot.
 */
#include "test_handle.h"
#include "threads.h"

#include <string.h>

static void test_first_validate_misses_second_hits(void **state)
{
    (void)state;
    latchkey *maker = handle_open(server, ""), *lk = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey_entry first, second, third;
    make_session(maker, 8, token);
    assert_status(lk, LATCHKEY_AGAIN, try_validate(lk, token));
    assert_status(lk, LATCHKEY_OK, latchkey_validate(lk, token, LATCHKEY_TOKEN_LENGTH, &first));
    latchkey_stats stats = stats_of(lk);
    assert_int_equal(stats.l1_misses, 1);
    assert_int_equal(stats.l2_reads, 1);
    assert_int_equal(stats.fills, 1);
    assert_int_equal(stats.l1_hits, 0);
    assert_int_equal(stats.l1_entries, 1);

    assert_status(lk, LATCHKEY_OK, latchkey_validate(lk, token, LATCHKEY_TOKEN_LENGTH, &second));
    assert_status(lk, LATCHKEY_OK, latchkey_try_validate(lk, token, LATCHKEY_TOKEN_LENGTH, &third));
    stats = stats_of(lk);
    assert_int_equal(stats.l1_hits, 2);
    assert_int_equal(stats.l2_reads, 1);
    assert_int_equal(stats.validates, 3);
    assert_memory_equal(&first, &second, sizeof first);
    assert_memory_equal(&first, &third, sizeof first);
    assert_true(stats.hit_rate > 0.66 && stats.hit_rate < 0.67);
    assert_true(stats.l2_read_amplification > 0.33 && stats.l2_read_amplification < 0.34);
}

/* What create puts into L1 is what a read would have brought, to the byte. */
static void test_a_session_made_here_is_a_hit_at_once(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "staleness_ms=60000"), *other = handle_open(server, "");
    static const latchkey_field keys[] = {{"pq.mlkem768", "material", 8}, {"note", "text", 4}};
    const latchkey_draft drafts[] = {
        {.size = sizeof(latchkey_draft), .user_id = 8},
        {.size = sizeof(latchkey_draft),
         .user_id = UINT64_MAX,
         .role = "sixteen bytes!!!",
         .permissions_hash = {1, 2},
         .device = 7,
         .flags = 0x1234,
         .idle_ms = 60000,
         .lifetime_ms = 30000,
         .fields = keys,
         .field_count = 2},
    };
    for (size_t i = 0; i < 2; i++) {
        char token[LATCHKEY_TOKEN_SIZE];
        latchkey_entry made, read;
        assert_status(lk, LATCHKEY_OK, latchkey_create(lk, &drafts[i], token));
        wait_for(latchkey_try_validate(lk, token, LATCHKEY_TOKEN_LENGTH, &made) != LATCHKEY_AGAIN);
        assert_status(lk, LATCHKEY_OK, latchkey_try_validate(lk, token, LATCHKEY_TOKEN_LENGTH, &made));
        assert_status(other, LATCHKEY_OK, latchkey_validate(other, token, LATCHKEY_TOKEN_LENGTH, &read));
        assert_memory_equal(&made, &read, sizeof made);
        assert_true(made.expires_at_ms > made.created_at_ms && made.created_at_ms == made.auth_at_ms);
    }
    assert_int_equal(stats_of(lk).l2_reads, 0);
    assert_int_equal(stats_of(lk).fills, 2);
}

static void test_no_session_is_kept_where_there_is_no_l1(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "l1_capacity=0");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 8, token);
    assert_status(lk, LATCHKEY_AGAIN, try_validate(lk, token));
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
    assert_int_equal(stats_of(lk).fills, 0);
}

static void test_a_thousand_hits_ask_redis_nothing(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "staleness_ms=60000");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 8, token);
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
    long long before = redis_calls(server, "hget") + redis_calls(server, "hmget") + redis_calls(server, "hgetall");
    for (int i = 0; i < 1000; i++) assert_status(lk, LATCHKEY_OK, validate(lk, token));
    long long after = redis_calls(server, "hget") + redis_calls(server, "hmget") + redis_calls(server, "hgetall");
    /* A single touch may read what it extends. */
    assert_true(after - before <= 2);
}

static void test_a_miss_moves_only_the_compact_record(void **state)
{
    (void)state;
    enum { SESSIONS = 100 };
    static unsigned char material[4493];
    char tokens[SESSIONS][LATCHKEY_TOKEN_SIZE];
    const latchkey_field fields[] = {{"pq.mldsa44", material, sizeof material}};
    latchkey *maker = handle_open(server, "staleness_ms=60000");
    for (int i = 0; i < SESSIONS; i++) make_session_with(maker, 1 + (uint64_t)i, 0, 0, fields, 1, tokens[i]);
    latchkey *lk = handle_open(server, "staleness_ms=60000");
    long long before = redis_info(server, "stats", "total_net_output_bytes");
    for (int i = 0; i < SESSIONS; i++) assert_status(lk, LATCHKEY_OK, validate(lk, tokens[i]));
    long long moved = (redis_info(server, "stats", "total_net_output_bytes") - before) / SESSIONS;
    assert_int_equal(stats_of(lk).l2_reads, SESSIONS);
    /* 184 bytes, their framing, a share of the INFO replies themselves and of a beat; far from 4,493. */
    assert_in_range(moved, 184, 600);
}

static void test_l1_is_bounded_and_keeps_working_when_full(void **state)
{
    (void)state;
    enum { SESSIONS = 600 };
    static char tokens[SESSIONS][LATCHKEY_TOKEN_SIZE];
    latchkey *lk = handle_open(server, "l1_capacity=100");
    uint64_t taken = stats_of(lk).l1_bytes;
    assert_int_equal(stats_of(lk).l1_capacity, 100);
    assert_true(taken > 100 * 120);
    for (int i = 0; i < SESSIONS; i++) {
        make_session(lk, 1 + (uint64_t)i, tokens[i]);
        assert_status(lk, LATCHKEY_OK, validate(lk, tokens[i]));
    }
    latchkey_stats stats = stats_of(lk);
    assert_true(stats.evictions > 0);
    assert_true(stats.l1_entries < SESSIONS / 2);
    assert_int_equal(stats.l1_bytes, taken);
    for (int i = 0; i < SESSIONS; i++) assert_status(lk, LATCHKEY_OK, validate(lk, tokens[i]));
}

static void test_l1_ttl_sends_validate_back_to_redis(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "l1_ttl_ms=200");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 8, token);
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
    latchkey_stats before = stats_of(lk), now;
    /* It is used all the time and is read again all the same, by the link or by a miss. */
    wait_for(validate(lk, token) == LATCHKEY_OK && (now = stats_of(lk)).fills >= before.fills + 3);
    assert_true(now.l2_reads + now.refreshes >= before.l2_reads + 3);
}

/* A change that no message tells of (a person deletes the key) is seen after l1_ttl_ms at the latest. */
static void test_key_deleted_by_hand_is_noticed_by_ttl(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "l1_ttl_ms=300");
    char token[LATCHKEY_TOKEN_SIZE], key[128];
    make_session(lk, 8, token);
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
    redis_do(server, "DEL %s", session_key(server, token, key));
    wait_for(validate(lk, token) == LATCHKEY_NOT_FOUND);
}

/* ------------------------------------------------------------------------- equal misses share one read -- */

enum { ASKERS = 12 };

typedef struct question {
    latchkey *lk;
    const char *token;
    int status[ASKERS];
    uint64_t user_id[ASKERS];
} question;

static void ask(crew_member *member)
{
    question *q = member->shared;
    latchkey_entry entry;
    q->status[member->index] = latchkey_validate(q->lk, q->token, LATCHKEY_TOKEN_LENGTH, &entry);
    q->user_id[member->index] = entry.user_id;
}

static void test_equal_misses_share_one_read(void **state)
{
    (void)state;
    latchkey *maker = handle_open(server, "");
    latchkey *lk = handle_open(server, "deadline_ms=60000&staleness_ms=60000");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(maker, 8, token);
    question q = {.lk = lk, .token = token};

    redis_freeze(server);
    crew *askers = crew_start(ASKERS, ask, &q);
    wait_for(stats_of(lk).l1_misses == ASKERS && crew_asleep(askers));
    redis_thaw(server);
    crew_join(askers);

    latchkey_stats stats = stats_of(lk);
    assert_int_equal(stats.l2_reads, 1);
    assert_int_equal(stats.joined, ASKERS - 1);
    assert_int_equal(stats.l1_misses, ASKERS);
    for (int i = 0; i < ASKERS; i++) {
        assert_status(lk, LATCHKEY_OK, q.status[i]);
        assert_int_equal(q.user_id[i], 8);
    }
    assert_status(lk, LATCHKEY_OK, try_validate(lk, token));
}

/* The answer that is shared may be "no" as well. The session is taken out of Redis without an announcement: of one that was heard
 * to be ended Redis is not asked. */
static void test_equal_misses_share_a_refusal(void **state)
{
    (void)state;
    latchkey *maker = handle_open(server, "");
    latchkey *lk = handle_open(server, "deadline_ms=60000&staleness_ms=60000");
    char token[LATCHKEY_TOKEN_SIZE], key[128];
    make_session(maker, 8, token);
    redis_do(server, "DEL %s", session_key(server, token, key));
    question q = {.lk = lk, .token = token};
    redis_freeze(server);
    crew *askers = crew_start(ASKERS, ask, &q);
    wait_for(stats_of(lk).l1_misses == ASKERS && crew_asleep(askers));
    redis_thaw(server);
    crew_join(askers);
    for (int i = 0; i < ASKERS; i++) {
        assert_status(lk, LATCHKEY_NOT_FOUND, q.status[i]);
        assert_int_equal(q.user_id[i], 0);
    }
}

/* Many different misses at once over few connections: each is answered by what it asked (I). */
enum { CROWD = 8, ROUNDS = 40 };

typedef struct crowd {
    latchkey *lk;
    char tokens[CROWD * ROUNDS][LATCHKEY_TOKEN_SIZE];
    atomic_int wrong;
} crowd;

static void ask_own(crew_member *member)
{
    crowd *c = member->shared;
    for (size_t i = 0; i < ROUNDS; i++) {
        latchkey_entry entry;
        size_t n = member->index * ROUNDS + i;
        int status = latchkey_validate(c->lk, c->tokens[n], LATCHKEY_TOKEN_LENGTH, &entry);
        if (status || entry.user_id != 1000 + n) atomic_fetch_add(&c->wrong, 1);
    }
}

static void test_I_misses_over_one_connection_get_their_own_answers(void **state)
{
    (void)state;
    static crowd c;
    latchkey *maker = handle_open(server, "");
    c.lk = handle_open(server, "connections=1&l1_capacity=0");
    for (size_t i = 0; i < CROWD * ROUNDS; i++) make_session(maker, 1000 + i, c.tokens[i]);
    atomic_store(&c.wrong, 0);
    crew_run(CROWD, ask_own, &c);
    assert_int_equal(atomic_load(&c.wrong), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_first_validate_misses_second_hits),
        TEST(test_a_session_made_here_is_a_hit_at_once),
        TEST(test_no_session_is_kept_where_there_is_no_l1),
        TEST(test_a_thousand_hits_ask_redis_nothing),
        TEST(test_a_miss_moves_only_the_compact_record),
        TEST(test_l1_is_bounded_and_keeps_working_when_full),
        TEST(test_l1_ttl_sends_validate_back_to_redis),
        TEST(test_key_deleted_by_hand_is_noticed_by_ttl),
        TEST(test_equal_misses_share_one_read),
        TEST(test_equal_misses_share_a_refusal),
        TEST(test_I_misses_over_one_connection_get_their_own_answers),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}
