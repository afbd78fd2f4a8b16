/* A fixed table of buckets, each with its own lock: what negative_cache, alias_cache and singleflight have in common.
 *
 * A bucket is a struct that its user defines. Its first member is an lk_bucket; the lock in there guards the rest,
 * which begins as zeros. A hash with a secret seed places a key, so that an attacker cannot choose keys that fall into
 * one bucket. The hash decides nothing else (E).
 *
 * Adding and emptying. A ticket is the table's epoch, read before Redis is asked. Emptying first moves the epoch, then
 * clears one bucket after the other. A thread that adds compares the epoch with its ticket under the bucket's lock. If
 * they are equal, the emptying has not reached that bucket yet, and will clear what is added now. So an answer that was
 * asked for before an emptying is not in the table after it (guarantee D).
 *
 * The buckets lie in memory of their own, outside core dumps and zeros in a forked child (J), because they hold tokens.
 * A lock of zeros is an open lock. Lock: bucket.lock, and no other with it. */
#ifndef LK_L1_BUCKETS_H
#define LK_L1_BUCKETS_H

#include "base/lock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct lk_bucket {
    lk_lock lock;
} lk_bucket;

typedef struct lk_buckets {
    uint64_t seed;
    size_t count, stride; /* how many buckets, and the bytes of each */
    /* Release in lk_buckets_renew, acquire in lk_buckets_ticket: a thread that reads the new epoch asks Redis after the
     * emptying began. */
    _Atomic uint64_t epoch;
    void *first; /* the first bucket */
} lk_buckets;

lk_buckets *lk_buckets_open(size_t count, size_t bucket_bytes, uint64_t seed); /* NULL: no memory */
void lk_buckets_close(lk_buckets *buckets);                                    /* NULL is allowed */

static inline void *lk_bucket_at(const lk_buckets *buckets, size_t index)
{
    return (char *)buckets->first + index * buckets->stride;
}

/* The bucket of that key, locked. */
void *lk_bucket_lock(lk_buckets *buckets, const void *key, size_t size);
static inline void lk_bucket_unlock(void *bucket) { lk_lock_give(&((lk_bucket *)bucket)->lock); }

static inline uint64_t lk_buckets_ticket(const lk_buckets *buckets)
{
    return atomic_load_explicit(&buckets->epoch, memory_order_acquire);
}

/* Call it under a bucket's lock. May an answer that was asked for with that ticket be added? Relaxed: the lock orders
 * it with the emptying. */
static inline bool lk_buckets_good_locked(const lk_buckets *buckets, uint64_t ticket)
{
    return atomic_load_explicit(&buckets->epoch, memory_order_relaxed) == ticket;
}

/* Older tickets are invalid from now on. */
static inline void lk_buckets_renew(lk_buckets *buckets)
{
    atomic_fetch_add_explicit(&buckets->epoch, 1, memory_order_release);
}

void lk_buckets_empty(lk_buckets *buckets); /* clears all buckets and makes older tickets invalid */

#endif
