/* SPDX-License-Identifier: MIT
 *
 * A node is stopped, or killed and replaced: sessions of the others are as ever, and what was revoked stays so.
 */
#include "nodes_kit.h"

#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { NODES = 3, SOME = 12, LENGTH = LATCHKEY_TOKEN_LENGTH };

typedef char token_text[LATCHKEY_TOKEN_SIZE];

/* Sessions on this node. Returns the user behind the last one. */
static void make_on(cluster *c, latchkey *lk, int node, token_text tokens[SOME])
{
    uint64_t user = 0;
    for (int i = 0; i < SOME; i++) {
        user = user_on(c, lk, node, user + 1);
        make_session(lk, user, tokens[i]);
    }
}

static void test_a_stopped_node_stops_only_its_own(void **state)
{
    (void)state;
    cluster *c = cluster_start(&(cluster_plan){.primaries = NODES});
    static token_text tokens[NODES][SOME];
    static latchkey_answer answers[NODES * SOME];
    char none[LATCHKEY_TOKEN_SIZE];
    latchkey *maker = cluster_open(c, ""), *lk = cluster_open(c, "deadline_ms=3000"),
             *warmed = cluster_open(c, "deadline_ms=3000");
    for (int node = 0; node < NODES; node++) make_on(c, maker, node, tokens[node]);
    for (int i = 0; i < SOME; i++) warm(warmed, tokens[0][i]);
    uint64_t user[NODES];
    for (int node = 0; node < NODES; node++) user[node] = user_on(c, maker, node, 5000);
    cluster_freeze(c, 0);
    for (int i = 0; i < SOME; i++) {
        assert_status(warmed, LATCHKEY_OK, validate(warmed, tokens[0][i])); /* the lease holds for staleness_ms */
        assert_status(lk, LATCHKEY_OK, validate(lk, tokens[1][i]));
    }
    /* On an event loop: those of the stopped node come first, and hold up none of the others. */
    for (int i = 0; i < SOME; i++) assert_status(lk, LATCHKEY_OK, latchkey_submit(lk, tokens[0][i], LENGTH, 0));
    for (int i = 0; i < SOME; i++) assert_status(lk, LATCHKEY_OK, latchkey_submit(lk, tokens[2][i], LENGTH, 2));
    struct pollfd p = {.fd = latchkey_fd(lk), .events = POLLIN};
    size_t got = 0;
    while (got < 2 * SOME && poll(&p, 1, CHECK_PATIENCE_MS) == 1)
        got += latchkey_reap(lk, answers + got, 2 * SOME - got);
    assert_int_equal(got, 2 * SOME);
    for (size_t i = 0; i < got; i++) {
        assert_int_equal(answers[i].tag, i < SOME ? 2 : 0);
        assert_status(lk, i < SOME ? LATCHKEY_OK : LATCHKEY_UNAVAILABLE, answers[i].status);
    }
    for (int node = 1; node < NODES; node++) {
        assert_status(lk, LATCHKEY_OK, create_with(lk, user[node], 0, none));
        assert_status(lk, LATCHKEY_OK, end_session(lk, none));
    }
    assert_status(lk, LATCHKEY_UNAVAILABLE, create_with(lk, user[0], 0, none));
    assert_status(lk, LATCHKEY_PENDING, end_session(lk, tokens[0][0]));
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, tokens[0][0]));
    assert_status(lk, LATCHKEY_UNAVAILABLE, latchkey_revoke_everyone(lk));
    wait_for(!stats_of(lk).connected);
    cluster_thaw(c, 0);
    wait_for(stats_of(lk).connected && stats_of(lk).pending == 0);
    wait_for(validate(warmed, tokens[0][0]) == LATCHKEY_NOT_FOUND);
    handle_close_all(NULL);
    cluster_end(c);
}

static void test_BC_a_replica_takes_over(void **state)
{
    (void)state;
    cluster *c =
        cluster_start(&(cluster_plan){.primaries = NODES, .replicas = 1, .node_timeout_ms = 1500, .partial = 1});
    static token_text tokens[NODES][SOME];
    char none[LATCHKEY_TOKEN_SIZE];
    latchkey *lk = cluster_open(c, "deadline_ms=2000&staleness_ms=1000"),
             *other = cluster_open(c, "deadline_ms=2000&staleness_ms=1000");
    for (int node = 0; node < NODES; node++) {
        make_on(c, lk, node, tokens[node]);
        for (int i = 0; i < SOME; i++) warm(other, tokens[node][i]);
    }
    uint64_t neighbour = user_on(c, lk, 1, 5000);
    for (int i = 0; i < SOME; i += 2) assert_status(lk, LATCHKEY_OK, end_session(lk, tokens[0][i]));
    cluster_kill(c, 0);
    int64_t bound_ms = check_now_ms() + 1020;
    for (int i = 0; i < SOME; i++) assert_status(other, LATCHKEY_OK, validate(other, tokens[1][i]));
    wait_for(create_with(lk, neighbour, 0, none) == LATCHKEY_OK);
    assert_status(other, LATCHKEY_OK, validate(other, none));
    int late = LATCHKEY_PENDING;
    do { /* until the replica serves: no answer, or a "no" of what was revoked; never a "yes" */
        for (int i = 0; i < SOME; i += 2) {
            int64_t began_ms = check_now_ms();
            int status = validate(other, tokens[0][i]);
            if (began_ms > bound_ms) assert_status_in(other, status, LATCHKEY_NOT_FOUND, LATCHKEY_UNAVAILABLE);
            assert_status_in(lk, validate(lk, tokens[0][i]), LATCHKEY_NOT_FOUND, LATCHKEY_UNAVAILABLE);
        }
        if (late == LATCHKEY_PENDING) late = end_session(lk, tokens[0][1]);
    } while (validate(other, tokens[0][3]) != LATCHKEY_OK || !stats_of(other).connected);
    wait_for(stats_of(lk).connected && stats_of(lk).pending == 0);
    for (int i = 0; i < SOME; i++) {
        bool ended = i % 2 == 0 || i == 1;
        wait_for(validate(other, tokens[0][i]) == (ended ? LATCHKEY_NOT_FOUND : LATCHKEY_OK));
        wait_for(validate(lk, tokens[0][i]) == (ended ? LATCHKEY_NOT_FOUND : LATCHKEY_OK));
    }
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_everyone(lk));
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, tokens[0][3]));
    handle_close_all(NULL);
    cluster_end(c);
}

/* No lease of a primary whose replica may lack what it wrote. Nobody calls: what the beat itself writes is what the replica is asked
 * for, with Redis 7.2, Valkey 8 and newer. */
static void test_C_a_replica_that_stands_still_gives_no_lease(void **state)
{
    (void)state;
    cluster *c = cluster_start(&(cluster_plan){.primaries = 1, .replicas = 1});
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey *lk = cluster_open(c, "durability=1&staleness_ms=1000");
    make_session(lk, 1, token);
    warm(lk, token);
    uint64_t beats = stats_of(lk).beats;
    wait_for(stats_of(lk).beats >= beats + 3); /* those that follow a use write in any case */
    cluster_freeze(c, 1);
    wait_for(try_validate(lk, token) == LATCHKEY_AGAIN);
    wait_for(strstr(stats_of(lk).last_error, "durability=1") != NULL);
    cluster_thaw(c, 1);
    wait_for(validate(lk, token) == LATCHKEY_OK && try_validate(lk, token) == LATCHKEY_OK);
    handle_close_all(NULL);
    cluster_end(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_a_stopped_node_stops_only_its_own, handle_close_all),
        cmocka_unit_test_teardown(test_BC_a_replica_takes_over, handle_close_all),
        cmocka_unit_test_teardown(test_C_a_replica_that_stands_still_gives_no_lease, handle_close_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
