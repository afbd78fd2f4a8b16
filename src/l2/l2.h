/* L2: what the verbs ask of Redis. A read is one pipelined round trip of plain commands; a write is one script. The
 * calling thread drives both, within its deadline. Nothing here knows of L1.
 *
 * With a cluster, a node may answer that another node has a partition, or may have it soon (MOVED, ASK, TRYAGAIN,
 * CLUSTERDOWN). Nothing was done then. The topology is told, which asks the cluster anew, and the same is asked of the
 * partition's owner a moment later, until the deadline. ASKING is never sent: a partition that is being moved is
 * neither read nor written at its new node before it is there as a whole. */
#ifndef LK_L2_L2_H
#define LK_L2_L2_H

#include "l2/topology.h"
#include "redis/script.h"

typedef struct lk_l2 {
    const lk_config *config;
    lk_counters *counters;
    lk_topology topology;
} lk_l2;

static inline lk_node *lk_l2_owner(const lk_l2 *l2, unsigned partition)
{
    return lk_topology_owner(&l2->topology, partition);
}

/* The nodes that own a partition now; how many they are. */
size_t lk_l2_nodes(lk_l2 *l2, lk_node *nodes[LK_NODES_MAX]);
bool lk_l2_connected(lk_l2 *l2);                             /* the links of all of them are up */
void lk_l2_last_trouble(lk_l2 *l2, char *text, size_t size); /* the newest one of all nodes; "": there is none */

/* Pipelined calls that only read, of one partition, on one connection. OK: every reply is there, and the caller frees
 * it; an error of Redis is a reply, too. *incarnation (may be NULL) names the server that answered. Else UNAVAILABLE or
 * NO_MEMORY, and no reply. If a connection breaks, it asks once more. ASK is a reply to calls behind the first `firm`
 * ones: the caller can do without that key. */
int lk_l2_pipeline(lk_l2 *l2, unsigned partition, const lk_call *calls, size_t firm, size_t count, int64_t deadline_ms,
                   lk_reply **replies, uint64_t *incarnation);

/* The same for calls of several partitions: call i is of partition i, and server i answered it. Each node is asked in
 * one round trip. */
enum { LK_L2_SPREAD = 320 };
int lk_l2_spread(lk_l2 *l2, const unsigned *partitions, const lk_call *calls, size_t count, int64_t deadline_ms,
                 lk_reply **replies, uint64_t *incarnations);

/* The same at one node, whatever it owns, and once: MOVED is a reply, too. */
int lk_l2_at(lk_l2 *l2, lk_node *node, const lk_call *calls, size_t count, int64_t deadline_ms, lk_reply **replies,
             uint64_t *incarnation);

/* With a cluster: does one of these replies say that another node has the partition, or may have it soon? Then the
 * topology has been told, and it is the node's newest trouble. `firm` as above. */
bool lk_l2_moved(lk_l2 *l2, lk_node *node, unsigned partition, lk_reply *const *replies, size_t firm, size_t count);
/* Waits for a moment, or until the owner of a partition has changed, or until_ms. False: it is that late already. */
bool lk_l2_await_change(lk_l2 *l2, int64_t until_ms);

/* Runs a script on a session: KEYS[1] is its key, ARGV its base, its selector, then `words`. *source (may be NULL) is
 * what ran it. OK, and the reply. NOT_DURABLE, and the reply: fewer than `durability` replicas hold what it wrote, if
 * it wrote. Else no reply. */
int lk_l2_script(lk_l2 *l2, enum lk_script_id script, unsigned partition, const char *selector, const lk_span *words,
                 size_t count, int64_t deadline_ms, lk_reply **reply, lk_source *source);

/* The same under the lease: it is sent only to the server that has the lease. If that server is just being met, it is
 * sent after that. */
int lk_l2_script_leased(lk_l2 *l2, enum lk_script_id script, unsigned partition, const char *selector,
                        const lk_span *words, size_t count, int64_t deadline_ms, lk_reply **reply, lk_source *source);

/* Runs a script without arguments on these partitions, in one round trip; it is atomic in each. It goes to the owner of
 * the first one. Status and `replies` as in lk_l2_script_leased, but an error of Redis is a reply, too; and where the
 * node does not own the partition any more, the reply is NULL: it did not run there. */
enum { LK_L2_TOGETHER = 64 };
int lk_l2_scripts(lk_l2 *l2, enum lk_script_id script, const unsigned *partitions, size_t count, int64_t deadline_ms,
                  lk_reply *replies[LK_L2_TOGETHER], uint64_t *incarnation);

/* What an error reply at run time means: UNAVAILABLE or CORRUPT. It is remembered as the newest trouble. */
int lk_l2_refused(const lk_l2 *l2, lk_node *node, const lk_reply *reply);
/* Does every node do what every call needs? Tries probe.lua, and the commands that no script sends. OK, also if it
 * could not be found out; or CONFIG, and `error` names the command. It changes nothing. */
int lk_l2_probe(lk_l2 *l2, int64_t deadline_ms, char *error, size_t error_size);

int lk_l2_corrupt(const lk_l2 *l2, lk_node *node, const char *text); /* returns CORRUPT; it is counted and remembered */

#endif
