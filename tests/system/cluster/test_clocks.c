/* SPDX-License-Identifier: MIT
 *
 * A cluster of which each node has another clock: one is five minutes ahead of this machine's, one as much behind. For the
 * sessions of each node its own clock decides, and nothing that concerns several nodes takes one clock for another's.
 */
#include "nodes_kit.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { NODES = 3, LENGTH = LATCHKEY_TOKEN_LENGTH, APART_S = 300, BEHIND = 1, AHEAD = 2, SLACK_MS = 5000 };

static cluster *nodes;

static int64_t here_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

static int64_t node_ms(int node)
{
    redisReply *reply = redis_command(nodes->node[node], "TIME");
    int64_t ms = atoll(reply->element[0]->str) * 1000 + atoll(reply->element[1]->str) / 1000;
    freeReplyObject(reply);
    return ms;
}

/* Partition 0, which many a clock might be taken of, is at the node that is ahead. */
static int start(void **state)
{
    static const int ahead_s[NODES] = {0, -APART_S, APART_S};
    (void)state;
    nodes = cluster_start(&(cluster_plan){.primaries = NODES, .ahead_s = ahead_s});
    for (int i = 0; i < NODES; i++)
        assert_in_range(node_ms(i) - here_ms() - ahead_s[i] * 1000 + CHECK_PATIENCE_MS, 0, 2 * CHECK_PATIENCE_MS);
    assert_int_equal(cluster_owner(nodes, cluster_slot(nodes, 0)), AHEAD);
    return 0;
}

static int end(void **state)
{
    (void)state;
    cluster_end(nodes);
    return 0;
}

static int clean(void **state)
{
    (void)state;
    flush_nodes(nodes);
    return 0;
}

static int64_t expiry_of(int node, const char *token)
{
    char key[128];
    return redis_integer(nodes->node[node], "PEXPIRETIME %s", session_key(nodes->node[node], token, key));
}

/* ------------------------------------------------------------------------------------------------- one session -- */

/* When it was made, when it ends, and that each use moves that: by its node's clock. */
static void test_times(void **state)
{
    (void)state;
    enum { IDLE = 600000, LIFE = 1200000 };
    latchkey *lk = cluster_open(nodes, ""), *other = cluster_open(nodes, "");
    for (int node = 0; node < NODES; node++) {
        char token[LATCHKEY_TOKEN_SIZE], key[128];
        latchkey_session_info info, listed;
        latchkey_record *record;
        size_t total;
        uint64_t user = user_on(nodes, lk, node, 1);
        redis *at = nodes->node[node];
        int64_t before = node_ms(node);
        make_session_with(lk, user, IDLE, LIFE, NULL, 0, token);
        int64_t after = node_ms(node);
        assert_in_range(expiry_of(node, token), before + IDLE, after + IDLE);
        warm(other, token);
        latchkey_entry entry = entry_of(other, token);
        /* A sealed record holds a time that was guessed: never a later one. */
        assert_in_range(entry.created_at_ms, before - 1000, after);
        assert_in_range(entry.expires_at_ms, before - 1000 + LIFE, after + LIFE);
        assert_true(entry_of(lk, token).expires_at_ms == entry.expires_at_ms);
        /* A use that is told to Redis at once, and one that the link tells. */
        session_key(at, token, key);
        redis_do(at, "PEXPIRE %s 100000", key);
        before = node_ms(node);
        assert_status(lk, LATCHKEY_OK, touch(lk, token));
        wait_for(expiry_of(node, token) >= before + IDLE - SLACK_MS);
        assert_true(expiry_of(node, token) <= node_ms(node) + IDLE + SLACK_MS);
        redis_do(at, "PEXPIRE %s 100000", key);
        latchkey *third = cluster_open(nodes, "");
        assert_status(third, LATCHKEY_OK, validate(third, token));
        wait_for(expiry_of(node, token) > before + IDLE - SLACK_MS);
        assert_true(expiry_of(node, token) <= node_ms(node) + IDLE + SLACK_MS);
        handle_close(third);
        /* What is told of it. */
        assert_status(other, LATCHKEY_OK, latchkey_show(other, token, &info, &record));
        latchkey_record_free(record);
        assert_status(other, LATCHKEY_OK, latchkey_sessions(other, user, NULL, 0, &listed, 1, &total));
        assert_int_equal(total, 1);
        after = node_ms(node);
        for (int i = 0; i < 2; i++) {
            const latchkey_session_info *told = i ? &listed : &info;
            assert_in_range(told->active_at_ms, before - SLACK_MS, after);
            assert_in_range(told->idle_expires_at_ms, before + IDLE - SLACK_MS, after + IDLE + SLACK_MS);
            assert_in_range(told->expires_at_ms, entry.expires_at_ms, entry.expires_at_ms);
        }
    }
}

/* Two instances use it until it is over. */
static void await_end(latchkey *lk, latchkey *other, int node, const char *token, int64_t ends_ms)
{
    int64_t until_ms = check_now_ms() + CHECK_PATIENCE_MS;
    for (int good = 1; good; check_pause()) {
        int64_t now_ms = node_ms(node);
        good = 0;
        for (int i = 0; i < 2; i++) {
            int status = validate(i ? other : lk, token);
            /* UNAVAILABLE: it ended while Redis' answer was on its way. */
            assert_status_in(lk, status, LATCHKEY_OK, LATCHKEY_EXPIRED, LATCHKEY_NOT_FOUND, LATCHKEY_UNAVAILABLE);
            good |= status == LATCHKEY_OK || status == LATCHKEY_UNAVAILABLE;
            assert_true(status != LATCHKEY_OK || now_ms < ends_ms);
        }
        if (check_now_ms() > until_ms) fail_msg("it does not end");
    }
}

static void test_H_ends(void **state)
{
    (void)state;
    latchkey *lk = cluster_open(nodes, ""), *other = cluster_open(nodes, "");
    for (int node = 0; node < NODES; node++) {
        char lasts[LATCHKEY_TOKEN_SIZE], ends[LATCHKEY_TOKEN_SIZE], idles[LATCHKEY_TOKEN_SIZE];
        uint64_t user = user_on(nodes, lk, node, 1);
        make_session_with(lk, user, 120000, 120000, NULL, 0, lasts);
        make_session_with(lk, user, 60000, 2000, NULL, 0, ends);
        make_session_with(lk, user, 2000, 120000, NULL, 0, idles);
        int64_t end_ms = expiry_of(node, ends), idle_ms = expiry_of(node, idles);
        validate(other, idles); /* it may be over already, on a slow machine */
        if (end_ms > 0) await_end(lk, other, node, ends, end_ms);
        wait_for(redis_count_keys(nodes->node[node], "lk:*:s:*") == 1);
        assert_true(idle_ms <= node_ms(node));
        for (int i = 0; i < 2; i++) {
            assert_int_not_equal(validate(i ? other : lk, idles), LATCHKEY_OK);
            assert_int_not_equal(validate(i ? other : lk, ends), LATCHKEY_OK);
            assert_status(lk, LATCHKEY_OK, validate(i ? other : lk, lasts));
        }
        assert_int_equal(sessions_of(other, user), 1);
        assert_status(lk, LATCHKEY_OK, end_session(lk, lasts));
    }
}

static void test_a_grace(void **state)
{
    (void)state;
    latchkey *lk = cluster_open(nodes, ""), *other = cluster_open(nodes, "");
    for (int node = 0; node < NODES; node++) {
        char old[LATCHKEY_TOKEN_SIZE], token[LATCHKEY_TOKEN_SIZE];
        make_session(lk, user_on(nodes, lk, node, 1), old);
        warm(other, old);
        assert_status(lk, LATCHKEY_OK, latchkey_rotate(lk, old, LENGTH, 120000, token));
        for (int i = 0; i < 2; i++) {
            assert_status(lk, LATCHKEY_OK, validate(i ? other : lk, old));
            assert_status(lk, LATCHKEY_OK, validate(i ? other : lk, token));
        }
        /* One that is over, and used once more: that ends the session. */
        make_session(lk, user_on(nodes, lk, node, 1), old);
        assert_status(other, LATCHKEY_OK, latchkey_rotate(other, old, LENGTH, 2000, token));
        wait_for(validate(lk, old) == LATCHKEY_NOT_FOUND);
        wait_for(validate(lk, token) == LATCHKEY_NOT_FOUND && validate(other, token) == LATCHKEY_NOT_FOUND);
    }
}

/* --------------------------------------------------------------------------------------------- those of a user -- */

static void test_limits(void **state)
{
    (void)state;
    latchkey *evicts = cluster_open(nodes, "max_sessions=3&max_per_device=2"),
             *denies = cluster_open(nodes, "max_sessions=2&limit=deny");
    for (int node = 0; node < NODES; node++) {
        char token[4][LATCHKEY_TOKEN_SIZE], more[LATCHKEY_TOKEN_SIZE];
        uint64_t user = user_on(nodes, evicts, node, 1), generation;
        for (int i = 0; i < 4; i++) {
            latchkey_draft draft = {.size = sizeof draft, .user_id = user, .role = "user", .device = i == 3 ? 9 : 7};
            assert_status(evicts, LATCHKEY_OK, latchkey_create(evicts, &draft, token[i]));
            check_pause(); /* the first one is the oldest, in milliseconds */
        }
        wait_for(validate(evicts, token[0]) == LATCHKEY_NOT_FOUND); /* L1 learns of it by the message */
        for (int i = 1; i < 4; i++) assert_status(evicts, LATCHKEY_OK, validate(evicts, token[i]));
        assert_int_equal(sessions_of(denies, user), 3);
        assert_status(denies, LATCHKEY_LIMIT, create_with(denies, user, 0, more));
        /* All but one end, and logins that began before. */
        size_t ended;
        assert_status(denies, LATCHKEY_OK, latchkey_user_generation(denies, user, &generation));
        assert_status(evicts, LATCHKEY_OK, latchkey_revoke_user(evicts, user, token[3], LENGTH, &ended));
        assert_int_equal(ended, 2);
        wait_for(validate(denies, token[1]) == LATCHKEY_NOT_FOUND);
        assert_status(denies, LATCHKEY_REFUSED, create_with(denies, user, generation, more));
        assert_status(denies, LATCHKEY_OK, create_with(denies, user, 0, more));
        assert_status(evicts, LATCHKEY_OK, validate(evicts, token[3]));
    }
}

/* ----------------------------------------------------------------------------------------------- all nodes together -- */

enum { MANY = 45 };
static char tokens[MANY][LATCHKEY_TOKEN_SIZE];

/* Some of each node. */
static void make_many(latchkey *lk, int64_t lifetime_ms)
{
    int seen[NODES] = {0};
    for (int i = 0; i < MANY; i++) {
        make_session_with(lk, (uint64_t)i + 1, 0, lifetime_ms, NULL, 0, tokens[i]);
        seen[node_of(nodes, tokens[i])]++;
    }
    for (int node = 0; node < NODES; node++) assert_true(seen[node] > 0);
}

static void test_BC_everyone(void **state)
{
    (void)state;
    latchkey *lk = cluster_open(nodes, ""), *other = cluster_open(nodes, "staleness_ms=1000");
    for (int round = 0; round < 2; round++) {
        make_many(lk, 0);
        for (int i = 0; i < MANY; i++) warm(other, tokens[i]);
        assert_status(lk, LATCHKEY_OK, latchkey_revoke_everyone(lk));
        for (int i = 0; i < MANY; i++) assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, tokens[i]));
        for (int i = 0; i < MANY; i++) wait_for(validate(other, tokens[i]) == LATCHKEY_NOT_FOUND);
    }
    make_many(other, 0);
    for (int i = 0; i < MANY; i++) {
        assert_status(lk, LATCHKEY_OK, validate(lk, tokens[i]));
        assert_int_equal(sessions_of(lk, (uint64_t)i + 1), 1);
    }
}

static void test_sample(void **state)
{
    (void)state;
    latchkey_population p;
    latchkey *lk = cluster_open(nodes, "");
    make_many(lk, (APART_S - 100) * 1000); /* by another node's clock they were over, or not made yet */
    assert_status(lk, LATCHKEY_OK, latchkey_sample(lk, 1000, &p, sizeof p));
    assert_int_equal(p.exact, 1);
    assert_int_equal(p.sessions, MANY);
    assert_int_equal(p.users, MANY);
    assert_in_range(p.age_p99_ms, 0, (APART_S - 100) * 1000);
    assert_in_range(p.idle_p99_ms, 0, (APART_S - 100) * 1000);
}

/* ------------------------------------------------------------------------------------------ tokens of another store -- */

static const char *foreign_of(unsigned number, char out[64])
{
    snprintf(out, 64, "sid-%08x_%08xQ%08x-x", number * 2654435761u, ~number, number);
    return out;
}

static int import(latchkey *lk, const char *foreign, uint64_t user_id, int64_t expires_at_ms)
{
    const latchkey_draft draft = {.size = sizeof draft, .user_id = user_id};
    return latchkey_import(lk, foreign, strlen(foreign), &draft, 0, expires_at_ms);
}

/* At which node the one name is; its key. */
static int name_of_all(char key[128])
{
    int at = -1;
    for (int node = 0; node < NODES; node++) {
        size_t count;
        char **keys = redis_keys(nodes->node[node], "lk:*:i:*", &count);
        if (count) snprintf(key, 128, "%s", keys[0]), at = node;
        redis_free_keys(keys);
    }
    assert_true(at >= 0);
    return at;
}

/* A session, and its name at each node: the name outlives the session, and lasts as long as an import can be run. */
static void test_D_imports(void **state)
{
    (void)state;
    char options[64], foreign[64], key[128];
    int seen[NODES][NODES] = {{0}}, pairs = 0;
    int64_t expires_ms = here_ms() + 7200000;
    snprintf(options, sizeof options, "foreign_until_ms=%lld", (long long)(here_ms() + 3600000));
    latchkey *lk = cluster_open(nodes, options), *other = cluster_open(nodes, options);
    for (unsigned i = 0; pairs < NODES * NODES; i++) {
        latchkey_entry entry;
        int node = (int)(i % NODES);
        uint64_t user = user_on(nodes, lk, node, 1);
        foreign_of(i, foreign);
        assert_status(lk, LATCHKEY_OK, import(lk, foreign, user, expires_ms));
        assert_status(other, LATCHKEY_OK, latchkey_validate(other, foreign, strlen(foreign), &entry));
        assert_int_equal(entry.expires_at_ms, expires_ms);
        int named = name_of_all(key);
        pairs += !seen[named][node]++;
        int64_t left_ms = redis_integer(nodes->node[named], "PTTL %s", key);
        assert_true(left_ms > expires_ms - node_ms(node) - SLACK_MS);
        assert_status(other, LATCHKEY_OK, latchkey_revoke(other, foreign, strlen(foreign)));
        assert_status(lk, LATCHKEY_REFUSED, import(lk, foreign, user, expires_ms)); /* D */
        redis_do(nodes->node[named], "DEL %s", key);
    }
}

/* By the clock of the node that has the name. */
static void test_foreign_until(void **state)
{
    (void)state;
    char options[64], foreign[64], key[128];
    latchkey *first = cluster_open(nodes, "foreign_until_ms=4102444800000");
    uint64_t user = user_on(nodes, first, BEHIND, 1);
    int seen[NODES] = {0};
    snprintf(options, sizeof options, "foreign_until_ms=%lld", (long long)(here_ms() + APART_S * 1000 / 2));
    latchkey *lk = cluster_open(nodes, options);
    for (unsigned i = 100; !seen[0] || !seen[BEHIND] || !seen[AHEAD]; i++) {
        latchkey_entry entry;
        foreign_of(i, foreign);
        assert_status(first, LATCHKEY_OK, import(first, foreign, user, 0));
        int named = name_of_all(key), late = named == AHEAD;
        seen[named]++;
        assert_status(lk, late ? LATCHKEY_MALFORMED : LATCHKEY_OK,
                      latchkey_validate(lk, foreign, strlen(foreign), &entry));
        assert_status(lk, late ? LATCHKEY_MALFORMED : LATCHKEY_REFUSED, import(lk, foreign, user, 0));
        redis_do(nodes->node[named], "DEL %s", key);
    }
}

/* ------------------------------------------------------------------------------------------- what was lost, and moved -- */

static void test_C_a_lost_message_is_found(void **state)
{
    (void)state;
    latchkey *lk = cluster_open(nodes, "staleness_ms=2000");
    for (int node = 0; node < NODES; node++) {
        char token[LATCHKEY_TOKEN_SIZE], kept[LATCHKEY_TOKEN_SIZE], key[128];
        uint64_t user = user_on(nodes, lk, node, 1);
        make_session(lk, user, kept);
        assert_status(lk, LATCHKEY_OK, end_session(lk, kept));
        make_session(lk, user, kept);
        make_session(lk, user, token);
        warm(lk, token);
        uint64_t replayed = stats_of(lk).replayed;
        unsigned p = token_partition(token);
        redis_do(nodes->node[node], "EVAL %s 3 lk:{%u}:q lk:{%u}:r %s %b",
                 "local n = redis.call('INCR', KEYS[1]) redis.call('XADD', KEYS[2], n .. '-0', 's', ARGV[1]) "
                 "return redis.call('DEL', KEYS[3])",
                 p, p, session_key(nodes->node[node], token, key), token, (size_t)LATCHKEY_SELECTOR_LENGTH);
        wait_for(stats_of(lk).replayed > replayed);
        assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, token));
        assert_status(lk, LATCHKEY_OK, validate(lk, kept));
    }
}

/* An older data set, in which the session lives, takes the place of the newer one: it is told what was ended, and when all
 * were. */
static void test_CD_an_older_data_set_is_told(void **state)
{
    (void)state;
    for (int all = 0; all < 2; all++) {
        clean(state);
        latchkey *lk = cluster_open(nodes, "staleness_ms=2000");
        for (int node = 0; node < NODES; node++) {
            char token[LATCHKEY_TOKEN_SIZE], key[128];
            uint64_t user = user_on(nodes, lk, node, 1);
            make_session(lk, user, token);
            assert_status(lk, LATCHKEY_OK, end_session(lk, token)); /* the log begins */
            make_session(lk, user, token);
            redis *at = nodes->node[node];
            session_key(at, token, key);
            unsigned p = token_partition(token);
            redis_do(at, "COPY %s lk:{%u}:kept", key, p);
            for (int i = 0; i < 3; i++) /* so that the older one's numbers are lower */
                assert_status_in(lk, all ? latchkey_revoke_everyone(lk) : end_session(lk, token), LATCHKEY_OK,
                                 LATCHKEY_NOT_FOUND);
            redis_do(at, "EVAL %s 5 lk:{%u}:kept %s lk:{%u}:q lk:{%u}:r lk:{%u}:e",
                     "redis.call('RENAME', KEYS[1], KEYS[2]) redis.call('SET', KEYS[3], 1) "
                     "return redis.call('DEL', KEYS[4], KEYS[5])",
                     p, key, p, p, p);
            wait_for(all ? redis_integer(at, "EXISTS lk:{%u}:e", p) == 1 : redis_integer(at, "EXISTS %s", key) == 0);
            wait_for(validate(lk, token) == LATCHKEY_NOT_FOUND);
            latchkey *other = cluster_open(nodes, "");
            assert_status(other, LATCHKEY_NOT_FOUND, validate(other, token));
            handle_close(other);
            make_session(lk, user, token);
            assert_status(lk, LATCHKEY_OK, validate(lk, token));
        }
        handle_close(lk);
    }
}

static void use_all(latchkey *lk, latchkey *other, uint64_t user, const char *old)
{
    char renewed[LATCHKEY_TOKEN_SIZE], more[LATCHKEY_TOKEN_SIZE];
    latchkey *both[] = {lk, other};
    size_t had = sessions_of(other, user);
    wait_for(validate(lk, old) == LATCHKEY_OK && validate(other, old) == LATCHKEY_OK);
    wait_for(touch(lk, old) == LATCHKEY_OK);
    assert_status(lk, LATCHKEY_OK, set_field(lk, old, "cart", "eggs"));
    assert_status(lk, LATCHKEY_OK, latchkey_rotate(lk, old, LENGTH, 120000, renewed));
    assert_status(lk, LATCHKEY_OK, create_with(lk, user, 0, more));
    assert_int_equal(sessions_of(other, user), had + 1);
    for (int i = 0; i < 2; i++) {
        assert_status(both[i], LATCHKEY_OK, validate(both[i], old)); /* in its grace */
        assert_status(both[i], LATCHKEY_OK, validate(both[i], renewed));
        assert_status(both[i], LATCHKEY_OK, validate(both[i], more));
    }
    assert_status(lk, LATCHKEY_OK, end_session(lk, more));
}

/* A session's idle time goes on where it was, by the other clock. After all were ended by a clock that was ahead, logins
 * are good all the same. */
static void test_a_partition_moves_to_another_clock(void **state)
{
    (void)state;
    enum { IDLE = 600000 };
    latchkey *lk = cluster_open(nodes, ""), *other = cluster_open(nodes, "");
    for (int from = AHEAD, to = BEHIND, i = 0; i < 2; i++, to = from, from = from == AHEAD ? BEHIND : AHEAD) {
        char token[LATCHKEY_TOKEN_SIZE], key[128];
        uint64_t user = user_on(nodes, lk, from, 1);
        make_session_with(lk, user, IDLE, 36000000, NULL, 0, token);
        warm(other, token);
        int slot = cluster_slot(nodes, token_partition(token));
        cluster_move_slot(nodes, slot, to);
        session_key(nodes->node[to], token, key);
        assert_in_range(redis_integer(nodes->node[to], "PTTL %s", key), IDLE - 2 * CHECK_PATIENCE_MS, IDLE);
        use_all(lk, other, user, token);
        wait_for(latchkey_revoke_everyone(lk) == LATCHKEY_OK);
        assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, token));
        wait_for(validate(other, token) == LATCHKEY_NOT_FOUND);
        make_session(lk, user, token);
        use_all(lk, other, user, token);
        cluster_move_slot(nodes, slot, from);
        wait_for(sessions_of(lk, user) == 1);
        make_session(lk, user, token);
        use_all(lk, other, user, token);
    }
}

#define ON(name) cmocka_unit_test_setup_teardown(name, clean, handle_close_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON(test_times),
        ON(test_H_ends),
        ON(test_a_grace),
        ON(test_limits),
        ON(test_BC_everyone),
        ON(test_sample),
        ON(test_D_imports),
        ON(test_foreign_until),
        ON(test_C_a_lost_message_is_found),
        ON(test_CD_an_older_data_set_is_told),
        ON(test_a_partition_moves_to_another_clock),
    };
    return cmocka_run_group_tests(tests, start, end);
}
