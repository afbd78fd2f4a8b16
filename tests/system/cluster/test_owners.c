/* SPDX-License-Identifier: MIT
 *
 * What this process holds when a partition gets another owner: L1 keeps what other nodes vouch for, a revocation that the
 * old owner never confirmed is made by the new one, other instances hear of what is revoked there, and a node that has
 * nothing left is left alone. (Guarantees B, C, G and J.)
 */
#include "cluster.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Beats come often, so that what a test waits for comes soon. */
#define OPTIONS "staleness_ms=2000&l1_ttl_ms=600000"

/* A session of the first user from `from` on in that partition. */
static uint64_t session_in(latchkey *lk, unsigned partition, uint64_t from, char token[LATCHKEY_TOKEN_SIZE])
{
    do assert_status(lk, LATCHKEY_OK, latchkey_token_new(lk, from++, token));
    while (token_partition(token) != partition);
    make_session(lk, from - 1, token);
    return from;
}

/* A partition of this node other than that one. */
static unsigned another_of(cluster *c, int node, unsigned partition)
{
    for (unsigned p = 0;; p++)
        if (p != partition && cluster_owner(c, cluster_slot(c, p)) == node) return p;
}

/* Redis may be unavailable for a moment. */
static int answer(latchkey *lk, const char *token)
{
    int status = LATCHKEY_UNAVAILABLE;
    wait_for((status = validate(lk, token)) != LATCHKEY_UNAVAILABLE);
    return status;
}

/* Is it answered without Redis? */
static int is_hit(latchkey *lk, const char *token) { return try_validate(lk, token) == LATCHKEY_OK; }

static void test_C_only_what_moved_leaves_L1(void **state)
{
    (void)state;
    char moves[LATCHKEY_TOKEN_SIZE], stays[LATCHKEY_TOKEN_SIZE], other[LATCHKEY_TOKEN_SIZE];
    cluster *c = cluster_start(&(cluster_plan){.primaries = 2});
    latchkey *lk = cluster_open(c, OPTIONS);
    int slot = cluster_slot(c, 5), from = cluster_owner(c, slot);
    session_in(lk, 5, 1, moves);
    session_in(lk, another_of(c, from, 5), 1, stays);
    session_in(lk, another_of(c, !from, 5), 1, other);
    warm(lk, moves);
    warm(lk, stays);
    warm(lk, other);
    uint64_t emptied = stats_of(lk).empties;
    cluster_move_slot(c, slot, !from);
    wait_for(stats_of(lk).empties > emptied);
    wait_for(!is_hit(lk, moves));
    wait_for(is_hit(lk, stays)); /* their leases go on, or come back when the links are up again */
    wait_for(is_hit(lk, other));
    assert_status(lk, LATCHKEY_OK, answer(lk, moves));
    warm(lk, moves);
    handle_close_all(NULL);
    cluster_end(c);
}

static void test_C_others_hear_of_what_is_revoked_at_the_new_owner(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE];
    cluster *c = cluster_start(&(cluster_plan){.primaries = 2});
    latchkey *here = cluster_open(c, OPTIONS), *there = cluster_open(c, OPTIONS);
    int slot = cluster_slot(c, 5), from = cluster_owner(c, slot);
    uint64_t user = 1;
    for (int i = 0; i < 4; i++) { /* there and back, so that both have met it before */
        user = session_in(here, 5, user, token);
        warm(there, token);
        cluster_move_slot(c, slot, i % 2 ? from : !from);
        assert_status(here, LATCHKEY_OK, answer(here, token));
        int status;
        wait_for((status = end_session(here, token)) != LATCHKEY_UNAVAILABLE && status != LATCHKEY_PENDING);
        assert_status_in(here, status, LATCHKEY_OK, LATCHKEY_NOT_FOUND);
        int64_t revoked_ms = check_now_ms();
        while ((status = validate(there, token)) != LATCHKEY_NOT_FOUND) {
            int64_t late_ms = check_now_ms() - revoked_ms;
            if (status == LATCHKEY_OK) assert_true(late_ms <= 2000 + 200);
            assert_true(late_ms < CHECK_PATIENCE_MS);
            check_pause();
        }
    }
    handle_close_all(NULL);
    cluster_end(c);
}

/* The owner hangs, and a replica takes over: what the owner never confirmed is made there. */
static void test_B_the_new_owner_makes_what_is_pending(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE], key[128];
    cluster *c = cluster_start(&(cluster_plan){.primaries = 3, .replicas = 1, .node_timeout_ms = 2000});
    latchkey *lk = cluster_open(c, OPTIONS "&deadline_ms=500&lazy=1");
    int node = cluster_owner(c, cluster_slot(c, 5)), replica = 3 + node;
    latchkey *other = cluster_open(c, OPTIONS); /* with time for a slow machine */
    session_in(other, 5, 1, token);
    wait_for(*session_key(c->node[replica], token, key));
    cluster_freeze(c, node);
    assert_status(lk, LATCHKEY_PENDING, end_session(lk, token));
    assert_int_equal(stats_of(lk).pending, 1);
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, token));
    wait_for(cluster_is_primary(c, replica));
    wait_for(stats_of(lk).pending == 0);
    assert_string_equal(session_key(c->node[replica], token, key), "");
    assert_status(lk, LATCHKEY_NOT_FOUND, answer(lk, token));
    cluster_thaw(c, node);
    handle_close_all(NULL);
    cluster_end(c);
}

static void test_G_a_node_that_has_nothing_is_left_alone(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE];
    cluster *c = cluster_start(&(cluster_plan){.primaries = 3});
    long long before[3];
    for (int i = 0; i < 3; i++) before[i] = redis_info(c->node[i], "clients", "connected_clients");
    latchkey *lk = cluster_open(c, OPTIONS);
    for (unsigned p = 0; p < 64; p += 9) session_in(lk, p, 1, token);
    int from = cluster_owner(c, cluster_slot(c, 5));
    assert_true(redis_info(c->node[from], "clients", "connected_clients") >= before[from] + 2);
    cluster_move_all(c, from, (from + 1) % 3);
    session_in(lk, 5, 1, token);
    assert_status(lk, LATCHKEY_OK, answer(lk, token));
    /* One is of the map's thread, which may ask any node. */
    wait_for(redis_info(c->node[from], "clients", "connected_clients") <= before[from] + 1);
    handle_close_all(NULL);
    cluster_end(c);
}

/* A child that closes its copy takes nothing from its parent. */
static void test_J_a_child_takes_nothing(void **state)
{
    (void)state;
    char token[3][LATCHKEY_TOKEN_SIZE];
    cluster *c = cluster_start(&(cluster_plan){.primaries = 3});
    latchkey *lk = cluster_open(c, OPTIONS);
    for (int i = 0; i < 3; i++) {
        session_in(lk, another_of(c, i, 4096), 1, token[i]);
        warm(lk, token[i]);
    }
    pid_t child = fork();
    if (!child) {
        int status = validate(lk, token[0]);
        latchkey_close(lk);
        _exit(status == LATCHKEY_FORKED ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    uint64_t reconnects = stats_of(lk).reconnects, beats = stats_of(lk).beats;
    wait_for(stats_of(lk).beats > beats + 6);
    assert_int_equal(stats_of(lk).reconnects, reconnects);
    for (int i = 0; i < 3; i++) assert_true(is_hit(lk, token[i]));
    for (int i = 0; i < 3; i++) assert_status(lk, LATCHKEY_OK, end_session(lk, token[i]));
    handle_close_all(NULL);
    cluster_end(c);
}

#define CLUSTER_TEST(name) cmocka_unit_test_teardown(name, handle_close_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLUSTER_TEST(test_C_only_what_moved_leaves_L1),
        CLUSTER_TEST(test_C_others_hear_of_what_is_revoked_at_the_new_owner),
        CLUSTER_TEST(test_B_the_new_owner_makes_what_is_pending),
        CLUSTER_TEST(test_G_a_node_that_has_nothing_is_left_alone),
        CLUSTER_TEST(test_J_a_child_takes_nothing),
    };
    return cmocka_run_group_tests_name("owners", tests, NULL, NULL);
}
