/* A fixed table in buckets, each with its own lock: what negative_cache, alias_cache and singleflight have in common.
 *
 * A bucket is a struct of the user's whose first member is lk_bucket; the rest of it is guarded by that lock and begins as zeros.
 * A hash with a secret seed places a key (E: it decides nothing), so that nobody can choose keys for one bucket.
 *
 * Adding and emptying. A ticket is the table's epoch, read before Redis is asked. Emptying moves the epoch first and then goes
 * through the buckets. A thread that adds looks at the epoch under the bucket's lock: if it still finds its ticket there, the
 * emptying has yet to reach that bucket, and what was added goes with it. So an answer that was asked for before an emptying is
 * not in the table after it (guarantee D).
 *
 * The buckets lie in memory of their own, outside core dumps and zeros in a forked child (J): tokens are in them. A lock of zeros
 * is an open one. Lock: bucket.lock alone. */
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
    size_t count, stride; /* buckets, and bytes of each */
    /* Moved by lk_buckets_empty (release), read by lk_buckets_ticket (acquire): a thread that has the new one asks Redis after the
     * emptying began. */
    _Atomic uint64_t epoch;
    void *first; /* bucket */
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

/* Under a bucket's lock: may what was asked for with that ticket be put in? Relaxed: the lock orders it with the emptying. */
static inline bool lk_buckets_good_locked(const lk_buckets *buckets, uint64_t ticket)
{
    return atomic_load_explicit(&buckets->epoch, memory_order_relaxed) == ticket;
}

void lk_buckets_empty(lk_buckets *buckets); /* zeros, and voids tickets */

#endif
