/* The numbers that an instance publishes with each beat: its name and host, and its counters, as text. They follow the
 * nonce that the link publishes to the instance's own channel (link.h). So an operator who may subscribe to that channel
 * sees every instance, and neither a port nor a key in Redis is needed:
 *
 *   lk:beat:<16 hex digits, the instance's name>  -->  "<nonce> v=0.1.0 host=web3 name=checkout pid=812 up=3600000 ..."
 *
 * In a Redis Cluster sharded channels have no patterns, so all instances use one channel, by the node that has partition 0:
 *
 *   lk:{0}:pulse  -->  "<16 hex digits, the instance's name> v=0.1.0 ... n0=120 n1=131 n4=-1"
 *
 * The words at the end give the age of each node's lease. A node is named by the first of its partitions: that is short, and
 * CLUSTER SLOTS tells which node it is.
 *
 * The link itself reads only the nonce. An older library sends nothing behind it; a newer one may send more. Nothing in it
 * names a user or a session. */
#ifndef LK_OBSERVE_BEAT_STATS_H
#define LK_OBSERVE_BEAT_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* With its NUL: some 200 bytes, and 8 more for each node of a cluster. */
enum { LK_BEAT_NODES = 64, LK_BEAT_STATS_SIZE = 512 + 12 * LK_BEAT_NODES };

/* All numbers, once and in the order in which they are sent: X(field, name in a beat, name in --json, total). Counts are
 * since open. Quantiles are of the last seconds (stats.c), and 0 if there was nothing to measure. `total` says how those of
 * several instances make one: SUM, or the MOST, which of times is the worst.
 *
 *   pid                the process; in a total it says nothing
 *   database           channels do not belong to one: a listener tells by it which instances are of one deployment
 *   hits, misses       validates: answered by L1, and not by L1
 *   refused            validates refused at once: malformed, or known to be dead
 *   reads, writes      records read from Redis, scripts run there
 *   errors, shed       round trips without an answer; calls refused because too many were waiting already
 *   in_flight          calls that wait for Redis now
 *   purges             revocations applied to L1; lag_: how long they took, from publish to purge
 *   lease_age_ms       as of when the beat was sent, of the partition whose lease is the oldest; -1: one has no lease
 *   pending            revocations that Redis has not confirmed */
#define LK_BEAT_NUMBERS(X)                                                                                             \
    X(pid, "pid", "pid", MOST)                                                                                         \
    X(database, "db", "database", MOST)                                                                                \
    X(uptime_ms, "up", "uptime_ms", MOST)                                                                              \
    X(hits, "hit", "hits", SUM)                                                                                        \
    X(misses, "miss", "misses", SUM)                                                                                   \
    X(refused, "no", "refused", SUM)                                                                                   \
    X(reads, "rd", "l2_reads", SUM)                                                                                    \
    X(writes, "wr", "l2_writes", SUM)                                                                                  \
    X(errors, "err", "errors", SUM)                                                                                    \
    X(shed, "shed", "shed", SUM)                                                                                       \
    X(in_flight, "fly", "in_flight", SUM)                                                                              \
    X(read_p50_us, "r50", "l2_read_p50_us", MOST)                                                                      \
    X(read_p99_us, "r99", "l2_read_p99_us", MOST)                                                                      \
    X(purges, "rev", "revocations", SUM)                                                                               \
    X(lag_p50_us, "g50", "revocation_p50_us", MOST)                                                                    \
    X(lag_p99_us, "g99", "revocation_p99_us", MOST)                                                                    \
    X(lease_age_ms, "age", "lease_age_ms", MOST)                                                                       \
    X(entries, "l1", "l1_entries", SUM)                                                                                \
    X(capacity, "cap", "l1_capacity", SUM)                                                                             \
    X(reconnects, "re", "reconnects", SUM)                                                                             \
    X(pending, "pend", "pending", SUM)

/* Of a node of a cluster: the first of its partitions, and the oldest lease of them; -1: one has no lease. */
typedef struct lk_beat_node {
    int64_t partition, lease_age_ms;
} lk_beat_node;

#define LK_BEAT_FIELD(field, word, json, total) int64_t field;
typedef struct lk_beat_stats {
    char version[16];
    char host[40], name[40]; /* of the machine, cut to 32 characters; the option `name`. "": not said */
    size_t nodes;            /* of a cluster; else 0 */
    lk_beat_node node[LK_BEAT_NODES];
    LK_BEAT_NUMBERS(LK_BEAT_FIELD)
} lk_beat_stats;
#undef LK_BEAT_FIELD

typedef struct lk_beat_number {
    const char *word, *json;
    size_t offset;
    enum { LK_BEAT_SUM, LK_BEAT_MOST } total;
} lk_beat_number;
extern const lk_beat_number lk_beat_numbers[];
extern const size_t lk_beat_number_count;

static inline int64_t *lk_beat_number_of(lk_beat_stats *stats, const lk_beat_number *number)
{
    return (int64_t *)(void *)((char *)stats + number->offset);
}

/* Returns the length. */
size_t lk_beat_stats_write(const lk_beat_stats *stats, char text[LK_BEAT_STATS_SIZE]);

/* Takes the text behind a nonce; anything may have been published there. False: these are not numbers. What is not said
 * is 0. */
bool lk_beat_stats_read(const char *text, lk_beat_stats *stats);

#endif
