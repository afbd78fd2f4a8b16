/* SPDX-License-Identifier: MIT
 *
 * Two processes with L1 on a cluster whose partitions change their nodes all the time. What one revokes the other does not
 * admit: not later than staleness_ms after the answer OK. (Guarantee C.)
 */
#include "cluster.h"
#include "threads.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    SESSIONS = 160,
    STALENESS = 1000,
    TICK_MS = 50, /* clocks of L1 are read in steps */
};

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

typedef struct revoker {
    latchkey *lk;
    char token[SESSIONS][LATCHKEY_TOKEN_SIZE];
    int64_t ok_ns[SESSIONS]; /* when the answer OK came; 0: another one came */
    int odd;                 /* an answer that may not come */
    _Atomic int done;
} revoker;

/* Some every now and then, over the whole time in which partitions move. */
static void revoke_all(crew_member *member)
{
    revoker *r = member->shared;
    for (int i = 0; i < SESSIONS; i++) {
        const struct timespec pause = {.tv_nsec = 20000000};
        int status = end_session(r->lk, r->token[i]);
        if (status == LATCHKEY_OK) r->ok_ns[i] = now_ns();
        else if (status != LATCHKEY_PENDING && status != LATCHKEY_UNAVAILABLE) r->odd = status;
        nanosleep(&pause, NULL);
    }
    atomic_store(&r->done, 1);
}

static void judge(revoker *r, peer *other)
{
    int confirmed = 0;
    int64_t end_ns = now_ns() + (int64_t)2 * STALENESS * 1000000;
    wait_for(now_ns() > end_ns); /* and on past the bound, so that an entry that came back would be seen */
    assert_true(peer_number(other, "lull") > 0);
    for (int i = 0; i < SESSIONS; i++) {
        int64_t last = peer_number(other, "lastok %d", i);
        assert_true(last > 0); /* it was admitted at all */
        if (!r->ok_ns[i]) continue;
        confirmed++;
        if (last > r->ok_ns[i] + (int64_t)(STALENESS + TICK_MS) * 1000000)
            fail_msg("session %d was admitted %lld ms after its revocation", i,
                     (long long)((last - r->ok_ns[i]) / 1000000));
    }
    assert_true(confirmed > SESSIONS / 8);
    assert_int_equal(r->odd, 0);
    assert_int_equal(peer_number(other, "odd"), 0);
    /* All are dead in the end, those as well whose answer was another one. */
    for (int i = 0; i < SESSIONS; i++) {
        wait_for(peer_number(other, "validate %s", r->token[i]) == LATCHKEY_NOT_FOUND);
        wait_for(validate(r->lk, r->token[i]) == LATCHKEY_NOT_FOUND);
    }
}

/* `trouble` is called again and again, with the number of the call, until all is revoked. Returns how often. */
static int storm(cluster *c, void (*trouble)(cluster *c, int round))
{
    static revoker r;
    char config[512], patient[512];
    int rounds = 0;
    memset(&r, 0, sizeof r);
    cluster_config(c, "staleness_ms=1000&deadline_ms=500", config, sizeof config);
    cluster_config(c, "staleness_ms=1000&deadline_ms=5000", patient, sizeof patient);
    r.lk = handle_open_config(config);
    peer *other = peer_start(patient);
    for (int i = 0; i < SESSIONS; i++) make_session(r.lk, 1 + (uint64_t)i, r.token[i]);
    for (int i = 0; i < SESSIONS; i++) peer_ask(other, "watch %s", r.token[i]);
    peer_ask(other, "storm 2");
    wait_for(peer_number(other, "stat l1_hits") > 4 * SESSIONS);
    crew *worker = crew_start(1, revoke_all, &r);
    while (!atomic_load(&r.done)) trouble(c, rounds++);
    crew_join(worker);
    judge(&r, other);
    peer_end(other);
    handle_close_all(NULL);
    return rounds;
}

/* All to one node: its epoch is the greatest from the first move on. Where several nodes take slots faster than they tell
 * each other of their epochs, Redis loses slots. */
static void move_one(cluster *c, int round)
{
    if (round < 64) cluster_move_slot(c, cluster_slot(c, (unsigned)round), 2);
    else check_pause();
}

static void test_C_while_slots_move(void **state)
{
    (void)state;
    cluster *c = cluster_start(&(cluster_plan){.primaries = 3});
    assert_true(storm(c, move_one) >= 8);
    cluster_end(c);
}

/* In turn: the primary and its replica change places by order. */
static void fail_over_one(cluster *c, int round)
{
    int primary = round % 3, replica = primary + 3;
    if (!cluster_is_primary(c, primary)) primary = replica, replica = round % 3;
    wait_for(redis_info(c->node[primary], "replication", "connected_slaves") == 1);
    wait_for(redis_integer(c->node[primary], "WAIT 1 100") == 1);
    cluster_failover(c, replica, "");
    wait_for(!cluster_is_primary(c, primary));
}

static void test_C_while_primaries_change(void **state)
{
    (void)state;
    cluster *c = cluster_start(&(cluster_plan){.primaries = 3, .replicas = 1, .node_timeout_ms = 5000});
    assert_true(storm(c, fail_over_one) >= 2);
    cluster_end(c);
}

/* A primary stops, another takes over, and the old one goes on, for a moment as if nothing had been. */
static void stop_one(cluster *c, int round)
{
    int primary = round % 3, replica = primary + 3;
    if (!cluster_is_primary(c, primary)) primary = replica, replica = round % 3;
    int slot = (round % 3) * CLUSTER_SLOTS / 3 + 1;
    wait_for(redis_info(c->node[primary], "replication", "connected_slaves") == 1);
    wait_for(redis_integer(c->node[primary], "WAIT 1 100") == 1);
    cluster_freeze(c, primary);
    cluster_await_owner(c, slot, replica);
    cluster_thaw(c, primary);
    wait_for(!cluster_is_primary(c, primary));
    cluster_await(c);
}

static void test_C_while_primaries_stop_and_go_on(void **state)
{
    (void)state;
    cluster *c = cluster_start(&(cluster_plan){.primaries = 3, .replicas = 1, .node_timeout_ms = 1000, .partial = 1});
    assert_true(storm(c, stop_one) >= 1);
    cluster_end(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_C_while_slots_move, handle_close_all),
        cmocka_unit_test_teardown(test_C_while_primaries_change, handle_close_all),
        cmocka_unit_test_teardown(test_C_while_primaries_stop_and_go_on, handle_close_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
