/* Counters and histograms.
 *
 * A hit adds to a counter, so counters are striped: each thread adds to cache lines of its own, by a plain load and
 * store, and reading sums all stripes. A locked addition would make the next lookup's reads of memory wait for it. Only
 * the first 63 threads have stripes of their own; the others share the last one, and add to it by locked additions.
 *
 * Every access is relaxed: each counter is a sum of its own, and orders nothing. The only consequence of a stale read
 * is a figure that is a few events old. */
#ifndef LK_BASE_COUNTERS_H
#define LK_BASE_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

/* All counters, once: X(name here, field of latchkey_stats, what it counts). The name in Prometheus is the field's, with
 * "latchkey_" before and "_total" behind it. The enum below, latchkey_stats_read and latchkey_metrics are made from this. */
#define LK_COUNTERS(X)                                                                                                 \
    X(LK_L1_HITS, l1_hits, "Validations answered from memory.")                                                        \
    X(LK_L1_MISSES, l1_misses, "Validations of well-formed tokens that memory could not answer.")                      \
    X(LK_MALFORMED, malformed, "Tokens refused before anything was asked.")                                            \
    X(LK_DEAD_REFUSED, dead_refused, "Validations of tokens that were known to be dead.")                              \
    X(LK_L2_READS, l2_reads, "Records asked for in Redis.")                                                            \
    X(LK_L2_WRITES, l2_writes, "Scripts run in Redis, and touches.")                                                   \
    X(LK_L2_ERRORS, l2_errors, "Round trips to Redis without an answer, or with an error.")                            \
    X(LK_JOINED, joined, "Misses that shared the read of another.")                                                    \
    X(LK_FILLS, fills, "Entries put into memory.")                                                                     \
    X(LK_FILLS_REFUSED, fills_refused, "Answers not kept because a revocation came in between.")                       \
    X(LK_PURGES, purges, "Revocations applied to memory.")                                                             \
    X(LK_EMPTIES, empties, "Times that memory was emptied, after another server was met, and after gaps.")             \
    X(LK_MISSED, missed, "Revocations whose message was lost, found by their number.")                                 \
    X(LK_REPLAYED, replayed, "Revocations read in the log, where their messages did not come.")                        \
    X(LK_RECONNECTS, reconnects, "Reconnections of the link.")                                                         \
    X(LK_REFRESHES, refreshes, "Entries in use that were to be read again before their time in memory was up.")        \
    X(LK_REFRESHES_DROPPED, refreshes_dropped, "Refreshes dropped, or without an answer.")                             \
    X(LK_TOUCHES, touches, "Touches asked for by validations.")                                                        \
    X(LK_TOUCHES_DROPPED, touches_dropped, "Touches dropped, or not done by Redis.")                                   \
    X(LK_BEATS, beats, "Leases confirmed.")                                                                            \
    X(LK_SHED, shed, "Calls refused because in_flight of them waited for Redis already.")                              \
    X(LK_RETRIES, retries, "Reads repeated because a connection broke.")                                               \
    X(LK_STALE, stale, "Validations answered without a lease, under grace_ms.")                                        \
    X(LK_LAPSES, lapses, "Validations that found the lease lapsed.")                                                   \
    X(LK_CORRUPT_RECORDS, corrupt, "Records refused as corrupt.")                                                      \
    X(LK_AUDITED, audited, "Entries of memory that were compared with Redis.")                                         \
    X(LK_AUDIT_SUSPICIONS_SEEN, audit_suspicions,                                                                      \
      "Entries that differed, as they do while a revocation is under way.")                                            \
    X(LK_AUDIT_DISAGREEMENTS, audit_disagreements, "Entries that differed for longer than the bound: should be 0.")    \
    X(LK_SECTION_READS, section_reads, "Sections of sessions read, or found not to be there.")                         \
    X(LK_SECTION_WRITES, section_writes, "Sections of sessions written or deleted.")                                   \
    X(LK_REUSES, reuses, "Old tokens used after their grace: their sessions were ended.")                              \
    X(LK_FOREIGN_READS, foreign_reads, "Foreign tokens that Redis was asked about.")                                   \
    X(LK_FOREIGN_UNKNOWN, foreign_unknown, "Foreign tokens that mean no session.")

#define LK_COUNTER_NAME(name, field, help) name,
enum lk_counter { LK_COUNTERS(LK_COUNTER_NAME) LK_COUNTER_COUNT };
#undef LK_COUNTER_NAME

/* Log-linear: 16 buckets an octave, so a bucket is at most 6.25% wide. Values up to 2^40. */
enum { LK_HISTOGRAM_BUCKETS = 16 * 37 };

typedef struct lk_histogram {
    _Atomic uint64_t bucket[LK_HISTOGRAM_BUCKETS]; /* relaxed, as is `sum`: see above */
    _Atomic uint64_t sum;
} lk_histogram;

enum { LK_COUNTER_OWN = 63, LK_COUNTER_STRIPES = LK_COUNTER_OWN + 1 /* the last one is the shared one */ };

typedef struct lk_counters {
    struct {
        _Alignas(64) _Atomic uint64_t n[LK_COUNTER_COUNT]; /* relaxed, see above */
    } stripe[LK_COUNTER_STRIPES];
    lk_histogram revocation_us; /* from publish to purge */
    lk_histogram l2_read_us;
    lk_histogram session_bytes;
    lk_histogram section_bytes;
    /* For events.c, which logs reuses at most every LK_REUSE_EVERY_MS: when the next line may be logged, and how many
     * reuses it stands for. Relaxed: at worst a line comes late. */
    _Atomic int64_t reuse_say_ms;
    _Atomic uint64_t reuses_unsaid;
} lk_counters;

/* This thread's stripe, counted from 1; 0: not taken yet. It is given back when the thread ends. initial-exec: one load
 * instead of a call to find the thread's storage. */
extern _Thread_local unsigned lk_thread_stripe __attribute__((tls_model("initial-exec")));
unsigned lk_thread_stripe_take(void);

static inline void lk_count(lk_counters *c, enum lk_counter which, uint64_t by)
{
    unsigned stripe = lk_thread_stripe;
    if (__builtin_expect(!stripe, 0)) stripe = lk_thread_stripe_take();
    _Atomic uint64_t *n = &c->stripe[stripe - 1].n[which];
    if (__builtin_expect(stripe <= LK_COUNTER_OWN, 1))
        atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + by, memory_order_relaxed);
    else atomic_fetch_add_explicit(n, by, memory_order_relaxed);
}

uint64_t lk_counted(const lk_counters *c, enum lk_counter which);

void lk_histogram_add(lk_histogram *h, uint64_t value);
uint64_t lk_histogram_count(const lk_histogram *h);
/* how many values were at most `value`, as exact as a bucket is wide */
uint64_t lk_histogram_below(const lk_histogram *h, uint64_t value);
uint64_t lk_histogram_quantile(const lk_histogram *h, double q); /* upper edge of the bucket; 0 if empty */

/* A copy of a histogram, to tell later what has been added since. */
typedef struct lk_histogram_mark {
    uint64_t bucket[LK_HISTOGRAM_BUCKETS];
} lk_histogram_mark;
void lk_histogram_keep(const lk_histogram *h, lk_histogram_mark *mark);
uint64_t lk_histogram_quantile_since(const lk_histogram *h, const lk_histogram_mark *mark, double q);

#endif
