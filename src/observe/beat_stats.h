/* What an instance says about itself with each beat: numbers, as text, behind the nonce that the link publishes to the
 * instance's own channel (link.h). Anyone who may listen there sees every instance at work, without a port to open and
 * without a key in Redis:
 *
 *   lk:beat:<16 hex digits, the instance's name>  -->  "<nonce> v=0.1.0 up=3600000 hit=181203 miss=2410 ..."
 *
 * The link itself reads only the nonce. An older library sends nothing behind it; a newer one may send more. No number
 * names a host, a process, a user or a session. */
#ifndef LK_OBSERVE_BEAT_STATS_H
#define LK_OBSERVE_BEAT_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LK_BEAT_STATS_SIZE = 272 }; /* with its NUL: so a message stays below 300 bytes */

/* Counts are since open. Quantiles are of the last seconds (stats.c), and 0 if there was nothing to measure. */
typedef struct lk_beat_stats {
    char version[16];
    int64_t
        /* channels do not belong to a database: a listener tells by this number which instances are of one deployment */
        database;
    int64_t uptime_ms;
    int64_t hits, misses,
        refused; /* validates: answered by L1; not by L1; refused at once (malformed, or known to be dead) */
    int64_t reads, writes, errors; /* records read from Redis, scripts run, and round trips without an answer */
    int64_t shed;                  /* calls refused because too many were waiting already */
    int64_t in_flight;             /* calls that wait for Redis now */
    int64_t read_p50_us, read_p99_us;
    int64_t purges; /* revocations applied to L1 */
    int64_t lag_p50_us, lag_p99_us;
    int64_t lease_age_ms; /* as of when the beat was sent; -1: there is no lease */
    int64_t entries, capacity;
    int64_t reconnects;
    int64_t pending; /* revocations that Redis has not confirmed */
} lk_beat_stats;

/* Returns the length. */
size_t lk_beat_stats_write(const lk_beat_stats *pulse, char text[LK_BEAT_STATS_SIZE]);

/* Takes the text behind a nonce; anything may have been published there. False: these are not numbers. What is not said
 * is 0. */
bool lk_beat_stats_read(const char *text, lk_beat_stats *pulse);

#endif
