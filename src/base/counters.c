/* See counters.h. */
#include "base/counters.h"

#include <pthread.h>
#include <stdbool.h>

_Thread_local unsigned lk_thread_stripe;

/* A bit for each stripe that has an owner. Giving a stripe back is a release, taking one an acquire: so the new owner's
 * loads see the previous owner's stores, and its plain additions lose none. */
static _Atomic uint64_t owned = UINT64_C(1) << LK_COUNTER_OWN;
static pthread_key_t key;
static bool key_made;

/* Other destructors of the ending thread may still count. From here on they use the shared stripe. */
static void return_stripe(void *stripe)
{
    lk_thread_stripe = LK_COUNTER_STRIPES;
    atomic_fetch_and_explicit(&owned, ~(UINT64_C(1) << ((uintptr_t)stripe - 1)), memory_order_release);
}

static void make_key(void) { key_made = pthread_key_create(&key, return_stripe) == 0; }

/* Runs at exit, or when the library, or the module that it is linked into, is unloaded. return_stripe is gone after
 * that, so threads that end later must not call it. */
static __attribute__((destructor)) void delete_key(void)
{
    if (key_made) pthread_key_delete(key);
}

unsigned lk_thread_stripe_take(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_key);
    lk_thread_stripe = LK_COUNTER_STRIPES;
    uint64_t were = atomic_load_explicit(&owned, memory_order_relaxed);
    while (key_made && ~were) {
        unsigned free = (unsigned)__builtin_ctzll(~were);
        if (!atomic_compare_exchange_weak_explicit(&owned, &were, were | UINT64_C(1) << free, memory_order_acquire,
                                                   memory_order_relaxed))
            continue;
        if (pthread_setspecific(key, (void *)(uintptr_t)(free + 1)) == 0) return lk_thread_stripe = free + 1;
        atomic_fetch_and_explicit(&owned, ~(UINT64_C(1) << free), memory_order_release);
        break;
    }
    return lk_thread_stripe;
}

uint64_t lk_counted(const lk_counters *c, enum lk_counter which)
{
    uint64_t sum = 0;
    for (int i = 0; i < LK_COUNTER_STRIPES; i++)
        sum += atomic_load_explicit(&c->stripe[i].n[which], memory_order_relaxed);
    return sum;
}

/* Each value from 0 to 15 has a bucket of its own. Above that, each octave [2^k, 2^(k+1)) has 16. */
static unsigned bucket_of(uint64_t value)
{
    if (value < 16) return (unsigned)value;
    unsigned octave = 63u - (unsigned)__builtin_clzll(value);
    unsigned bucket = (octave - 3) * 16 + (unsigned)(value >> (octave - 4) & 15);
    return bucket < LK_HISTOGRAM_BUCKETS ? bucket : LK_HISTOGRAM_BUCKETS - 1;
}

static uint64_t upper_edge(unsigned bucket)
{
    if (bucket < 16) return bucket;
    unsigned octave = bucket / 16 + 3;
    return ((uint64_t)(16 + bucket % 16 + 1) << (octave - 4)) - 1;
}

void lk_histogram_add(lk_histogram *h, uint64_t value)
{
    atomic_fetch_add_explicit(&h->bucket[bucket_of(value)], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->sum, value, memory_order_relaxed);
}

static uint64_t count_up_to(const lk_histogram *h, unsigned last)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i <= last; i++) sum += atomic_load_explicit(&h->bucket[i], memory_order_relaxed);
    return sum;
}

uint64_t lk_histogram_count(const lk_histogram *h) { return count_up_to(h, LK_HISTOGRAM_BUCKETS - 1); }
uint64_t lk_histogram_below(const lk_histogram *h, uint64_t value) { return count_up_to(h, bucket_of(value)); }

static uint64_t quantile(const uint64_t *bucket, double q)
{
    uint64_t total = 0, sum = 0;
    for (unsigned i = 0; i < LK_HISTOGRAM_BUCKETS; i++) total += bucket[i];
    uint64_t rank = (uint64_t)(q * (double)total);
    for (unsigned i = 0; i < LK_HISTOGRAM_BUCKETS; i++) {
        sum += bucket[i];
        if (sum > rank) return upper_edge(i);
    }
    return 0;
}

uint64_t lk_histogram_quantile(const lk_histogram *h, double q)
{
    lk_histogram_mark all;
    lk_histogram_keep(h, &all);
    return quantile(all.bucket, q);
}

void lk_histogram_keep(const lk_histogram *h, lk_histogram_mark *mark)
{
    for (unsigned i = 0; i < LK_HISTOGRAM_BUCKETS; i++)
        mark->bucket[i] = atomic_load_explicit(&h->bucket[i], memory_order_relaxed);
}

uint64_t lk_histogram_quantile_since(const lk_histogram *h, const lk_histogram_mark *mark, double q)
{
    lk_histogram_mark since;
    lk_histogram_keep(h, &since);
    for (unsigned i = 0; i < LK_HISTOGRAM_BUCKETS; i++) since.bucket[i] -= mark->bucket[i];
    return quantile(since.bucket, q);
}
