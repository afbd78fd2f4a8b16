/* SPDX-License-Identifier: MIT
 *
 * A private, real Redis Cluster: servers of redis.h on loopback. Every wait is for a condition that the servers show
 * themselves. Nodes are numbered in the order of their start: the primaries first, then the replicas of node 0, of node 1
 * and so on; the numbers stay, whatever roles the nodes take on. A node that is killed or frozen is not asked.
 *
 *   cluster *c = cluster_start(&(cluster_plan){.primaries = 3});
 *   latchkey *lk = cluster_open(c, "");
 *   cluster_move_slot(c, cluster_slot(c, 5), 2);
 *   cluster_end(c);
 */
#ifndef LATCHKEY_TESTS_CLUSTER_H
#define LATCHKEY_TESTS_CLUSTER_H

#include "redis.h"
#include "test_handle.h"

enum { CLUSTER_SLOTS = 16384, CLUSTER_NODES_MAX = 16 };

typedef struct cluster {
    int count;
    int node_timeout_ms, full_coverage, nameless; /* as the plan says; */
    const char *host;
    redis *node[CLUSTER_NODES_MAX];
    char id[CLUSTER_NODES_MAX][64];
    int frozen[CLUSTER_NODES_MAX];
    const char *const *arguments;
} cluster;

typedef struct cluster_plan {
    int primaries, replicas;      /* replicas of each primary */
    int node_timeout_ms;          /* 0: a minute, so that a slow machine is no failover */
    int partial;                  /* 1: a shard that is away does not stop the others */
    int nameless;                 /* 1: its nodes say no host, but only a port: cluster-preferred-endpoint-type */
    const char *host;             /* NULL: 127.0.0.1 */
    const int *ahead_s;           /* how far each node's clock is ahead of the machine's; NULL: not at all */
    const int *first;             /* the first slot of each primary, ascending from 0; NULL: spread evenly */
    const char *const *arguments; /* more for each server, NULL at the end; they outlive the cluster. NULL: none */
} cluster_plan;

/* Starts it, and waits until all of its nodes agree, the state is ok, and replicas hold what their primary holds. */
cluster *cluster_start(const cluster_plan *plan);
void cluster_end(cluster *c); /* NULL is allowed. Servers that are left end with the test's process */
int cluster_add(cluster *c);  /* one more primary, without slots. Returns its number when all know it */
/* One more replica, of that node; returns its number when it holds what the primary holds. */
int cluster_add_replica(cluster *c, int primary);

/* Do all nodes that are running name the same owner for every slot, with the same epoch, and call the state ok? */
int cluster_agrees(cluster *c);
void cluster_await(cluster *c); /* waits until they do */
/* Waits until they do, and this node owns the slot. */
void cluster_await_owner(cluster *c, int slot, int node);
int cluster_owner(cluster *c, int slot);          /* as the first running node says; -1: none that is known */
int cluster_slot(cluster *c, unsigned partition); /* of the keys with {partition} */
int cluster_is_primary(cluster *c, int node);     /* as the node says itself */

/* A whole move: the slot, its keys, the name; then waits until all agree. The slot's owner may be `to` already. */
void cluster_move_slot(cluster *c, int slot, int to);
/* All slots of one node, quickly; it has none left then, and becomes a replica of `to` (Redis does that). */
void cluster_move_all(cluster *c, int from, int to);

/* The same in steps. begin: from here on `from` answers ASK for keys that it does not hold. keys: at most so many of the
 * slot's keys (-1: all) are taken to `to`; returns how many. key: one of them. finish: the rest, and `to` owns the slot.
 * give_up: the slot is `from`'s as before, and then the keys that had gone come back. */
void cluster_move_begin(cluster *c, int slot, int from, int to);
int cluster_move_keys(cluster *c, int slot, int from, int to, int count);
void cluster_move_key(cluster *c, const char *key, int from, int to);
void cluster_move_finish(cluster *c, int slot, int from, int to);
void cluster_move_give_up(cluster *c, int slot, int from, int to);

/* CLUSTER FAILOVER [how] at a replica ("", "FORCE" or "TAKEOVER"); waits until all agree that it is the primary. */
void cluster_failover(cluster *c, int replica, const char *how);
void cluster_kill(cluster *c, int node);   /* SIGKILL. What takes over needs a replica and a short node timeout */
void cluster_boot(cluster *c, int node);   /* starts it again as it was, with what nodes.conf says */
void cluster_freeze(cluster *c, int node); /* SIGSTOP */
void cluster_thaw(cluster *c, int node);

/* redis+cluster:// with the primaries' hosts of the start, and options as in test_handle.h. */
void cluster_config(const cluster *c, const char *options, char *out, size_t out_size);
latchkey *cluster_open(const cluster *c, const char *options);

#endif
