/* L2: what the verbs ask of Redis. A read is one pipelined round trip of plain commands; a write is one script. The
 * calling thread drives both, within its deadline. Nothing here knows of L1. */
#ifndef LK_L2_L2_H
#define LK_L2_L2_H

#include "l2/topology.h"
#include "redis/script.h"

typedef struct lk_l2 {
    const lk_config *config;
    lk_counters *counters;
    lk_topology topology;
    /* The server on which a script last ran. Relaxed: with a stale value the whole script is sent once more. */
    _Atomic uint64_t ran_on[LK_SCRIPT_COUNT];
} lk_l2;

static inline lk_node *lk_l2_owner(const lk_l2 *l2, unsigned partition)
{
    return lk_topology_owner(&l2->topology, partition);
}

/* Pipelined calls that only read, on one connection. OK: every reply is there, and the caller frees it; an error of
 * Redis is a reply, too. *incarnation (may be NULL) names the server that answered. Else UNAVAILABLE or NO_MEMORY, and
 * no reply. If a connection breaks, it asks once more. */
int lk_l2_pipeline(const lk_l2 *l2, lk_node *node, const lk_call *calls, size_t count, int64_t deadline_ms,
                   lk_reply **replies, uint64_t *incarnation);

/* Runs a script on a session: KEYS[1] is its key, ARGV its base, its selector, then `words`. *source (may be NULL) is
 * what ran it. OK, and the reply. NOT_DURABLE, and the reply: fewer than `durability` replicas hold what it wrote, if
 * it wrote. Else no reply. */
int lk_l2_script(lk_l2 *l2, enum lk_script_id script, unsigned partition, const char *selector, const lk_span *words,
                 size_t count, int64_t deadline_ms, lk_reply **reply, lk_source *source);

/* The same under the lease: it is sent only to the server that has the lease. If that server is just being met, it is
 * sent after that. */
int lk_l2_script_leased(lk_l2 *l2, enum lk_script_id script, unsigned partition, const char *selector,
                        const lk_span *words, size_t count, int64_t deadline_ms, lk_reply **reply, lk_source *source);

/* Runs a script without arguments on `count` partitions from `first` on, in one round trip; it is atomic in each.
 * Status and `replies` as in lk_l2_script_leased, but an error of Redis is a reply, too. */
enum { LK_L2_TOGETHER = 64 };
int lk_l2_scripts(lk_l2 *l2, enum lk_script_id script, unsigned first, size_t count, int64_t deadline_ms,
                  lk_reply *replies[LK_L2_TOGETHER], uint64_t *incarnation);

/* What an error reply at run time means: UNAVAILABLE or CORRUPT. It is remembered as the newest trouble. */
int lk_l2_refused(const lk_l2 *l2, lk_node *node, const lk_reply *reply);
/* Does the server do what every call needs? Tries probe.lua, and the commands that no script sends. OK, also if it
 * could not be found out; or CONFIG, and `error` names the command. It changes nothing. */
int lk_l2_probe(const lk_l2 *l2, unsigned partition, int64_t deadline_ms, char *error, size_t error_size);

int lk_l2_corrupt(const lk_l2 *l2, lk_node *node, const char *text); /* returns CORRUPT; it is counted and remembered */

#endif
