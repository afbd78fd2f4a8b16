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

enum lk_counter {
    LK_L1_HITS,
    LK_L1_MISSES,
    LK_MALFORMED,
    LK_L2_READS,
    LK_L2_WRITES,
    LK_L2_ERRORS,
    LK_JOINED,
    LK_FILLS,
    LK_FILLS_REFUSED,
    LK_PURGES,
    LK_EMPTIES,
    LK_MISSED,
    LK_RECONNECTS,
    LK_TOUCHES,
    LK_TOUCHES_DROPPED,
    LK_BEATS,
    LK_LAPSES,
    LK_STALE,
    LK_CORRUPT_RECORDS,
    LK_REPLAYED,
    LK_SHED,
    LK_RETRIES,
    LK_AUDITED,
    LK_AUDIT_SUSPICIONS_SEEN,
    LK_AUDIT_DISAGREEMENTS,
    LK_DEAD_REFUSED,
    LK_REFRESHES,
    LK_REFRESHES_DROPPED,
    LK_REUSES,
    LK_FOREIGN_READS,
    LK_FOREIGN_UNKNOWN,
    LK_SECTION_READS,
    LK_SECTION_WRITES,
    LK_COUNTER_COUNT
};

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
