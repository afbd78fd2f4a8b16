/* Which server owns a partition: asked here and nowhere else. One server at a fixed address owns all partitions, and so
 * does the one that sentinels name. In a cluster each node has its own link and pool, for the partitions that it owns
 * at the moment; a thread of the handle learns which (lk_topology_apply).
 *
 *   lk_topology_apply --owner[p], the lease has no server--> the old owner's link lets it go, the new owner's meets it
 *   a link, a caller --lk_topology_sign: the map may be old--> the thread that has the map
 *
 * A node lives until close. One that owns nothing sleeps: no connections, and its thread waits. */
#ifndef LK_L2_TOPOLOGY_H
#define LK_L2_TOPOLOGY_H

#include "l2/book.h"
#include "l2/node.h"

enum { LK_NODES_MAX = 64, LK_NO_SERVER = 255 };

typedef struct lk_server {
    lk_host at;
    lk_node_id id; /* what it calls itself; "": that is not known */
} lk_server;

/* Which server has which partition. */
typedef struct lk_server_map {
    unsigned servers; /* how many are named: */
    lk_server server[LK_NODES_MAX];
    uint8_t of[LK_PARTITIONS_MAX]; /* by partition: the server's place, or LK_NO_SERVER: it keeps its owner */
} lk_server_map;

/* The map may be old: why. */
typedef struct lk_sign {
    lk_node *from;  /* the node that said so; NULL: no node did */
    char text[160]; /* what it said, as MOVED 5 host:port; "": nothing */
} lk_sign;

struct lk_topology {
    lk_book book; /* its lock guards what is said to be guarded here */
    const lk_config *config;
    lk_counters *counters;
    lk_l1_side l1;
    /* Written by the thread that opens, and then by the one that applies maps. The count is stored last, with release; a
     * thread that sees a place of a node sees the node. */
    lk_node *node[LK_NODES_MAX];
    _Atomic unsigned nodes;
    int sign_fd;                /* an eventfd for the thread that has the map: there is a sign. -1: no cluster */
    struct lk_cluster *cluster; /* that thread; NULL: no cluster */
    bool is_signed;             /* guarded, as is the newest sign: */
    lk_sign sign;
};

/* Opens the nodes, which begin to connect. `config` and `counters` must live longer than the topology. OK; NO_MEMORY;
 * UNAVAILABLE: the process has no more threads or descriptors, and `error` says which. */
int lk_topology_open(lk_topology *topology, const lk_config *config, lk_counters *counters, const lk_l1_side *l1,
                     char *error, size_t error_size);
void lk_topology_close(lk_topology *topology); /* also after a failed open, or without one if it is zeros */
void lk_topology_abandon(
    lk_topology *topology); /* in a forked child: closes its copies of the descriptors, and does nothing else */

/* Waits until every node that owns a partition has had a lease, until deadline_ms at most. In a cluster, most partitions are
 * enough after three quarters of that time; the log then says how many have no server, and why. OK; or the status and the
 * text of what stands in the way. If waiting cannot help (CONFIG), it returns at once. */
int lk_topology_wait(lk_topology *topology, int64_t deadline_ms, char *error, size_t error_size);

/* The owner of that moment: it may be another one when this returns. */
static inline lk_node *lk_topology_owner(const lk_topology *topology, unsigned partition)
{
    return lk_book_owner(&topology->book, partition);
}

/* The nodes, one after the other, with those that own nothing (lk_node_owns); NULL behind the last. */
static inline lk_node *lk_topology_node(const lk_topology *topology, unsigned i)
{
    return i < atomic_load_explicit(&topology->nodes, memory_order_acquire) ? topology->node[i] : NULL;
}

/* From now on these servers own the partitions. Called by one thread only, that of the cluster. OK; else some partitions
 * keep their owner, and `error` says why: NO_MEMORY; UNAVAILABLE: the process has no more threads or descriptors, or
 * there are more than LK_NODES_MAX - 1 servers. */
int lk_topology_apply(lk_topology *topology, const lk_server_map *map, char *error, size_t error_size);

/* The map may be old: the thread that has it is woken. `from` may be NULL. Does nothing unless there is a cluster. */
void lk_topology_sign(lk_topology *topology, lk_node *from, const char *text);
/* Takes the newest sign. False: there was none since the last call. */
bool lk_topology_signed(lk_topology *topology, lk_sign *sign);

uint64_t lk_topology_version(lk_topology *topology); /* how often partitions changed their owner */
/* Waits until the version is another one than `seen`, until deadline_ms at most. */
void lk_topology_await_change(lk_topology *topology, uint64_t seen, int64_t deadline_ms);

#endif
