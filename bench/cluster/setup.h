/* SPDX-License-Identifier: MIT
 *
 * latchkey-bench-cluster: the servers that are measured, what they count, and the figures.
 *
 *     cluster.c   options, the order of things, JSON
 *     measure.c   the phases
 *     setup.c     connections to the servers, and what they count
 */
#ifndef LATCHKEY_BENCH_CLUSTER_SETUP_H
#define LATCHKEY_BENCH_CLUSTER_SETUP_H

#include "harness.h"

#include <latchkey.h>

enum {
    LENGTH = LATCHKEY_TOKEN_LENGTH,
    SETUPS_MAX = 8,
    NODES_MAX = 16,
    CALLERS = 8,
    CROWD = 16,
    MOST_ROUNDS = 51,
    DEPTHS = 3
};

/* What the primaries counted, and of bus messages what all nodes sent. */
typedef struct counted {
    double commands; /* those that scripts ran count too; without this program's own */
    double cpu_us;   /* of the main threads */
    double memory_bytes, clients;
    double bus, published; /* all messages; those that carry a publication */
} counted;

typedef struct setup {
    const char *name;
    int primaries; /* 0: a server alone */
    int nodes;
    char url[512];
    struct redisContext *node[NODES_MAX];
    latchkey *maker, *other, *bare, *crowd[CROWD]; /* bare: without L1 */
    char (*token)[LATCHKEY_TOKEN_SIZE];
    uint64_t users; /* so many have logged in */
    counted before; /* of the window that is open */

    double hit_ns[MOST_ROUNDS], hit_times[MOST_ROUNDS]; /* times: the first setup's in the same round */
    double misses_per_s[MOST_ROUNDS], miss_us[MOST_ROUNDS], logins_per_s[MOST_ROUNDS], login_us[MOST_ROUNDS];
    double session_bytes[MOST_ROUNDS];
    double loop_per_s[DEPTHS][MOST_ROUNDS], loop_wakes[DEPTHS][MOST_ROUNDS]; /* wakes: for each miss */
    bench_histogram revoke, refusal;
    double revoke_commands, revoke_published, revoke_cpu_us;
    double heard_us;                                         /* of a revocation, for each instance more */
    double quiet_cpu_us, gossip;                             /* a second and node, while no instance does anything */
    double awake_commands, awake_cpu_us, awake_published;    /* a second, primary and instance without requests */
    double idle_commands, idle_cpu_us;                       /* the same, when it had none for 20 beats */
    double busy_commands, busy_cpu_us;                       /* the same of the one that is busy */
    double idle_connections, busy_connections, threads, fds; /* of an instance */
} setup;

typedef struct plan {
    double sessions, rounds, misses, logins, revocations, window_s, settle_s; /* misses, logins: of a round */
    const char *json;
    setup setups[SETUPS_MAX];
    int count;
} plan;

void setup_connect(setup *s, const char *ports);
int setup_primaries(const setup *s); /* 1 where it is a server alone */
counted setup_count(setup *s);
counted setup_since(setup *s, const counted *before);
latchkey *setup_open(const setup *s, const char *options);

extern const int measure_depths[DEPTHS]; /* misses that an event loop has under way */
void measure_all(plan *p);

#endif
