/* See buckets.h. */
#include "l1/buckets.h"

#include "base/crypto.h"
#include "base/hash.h"
#include "base/secure_memory.h"
#include "base/lock.h"

#include <stdlib.h>

lk_buckets *lk_buckets_open(size_t count, size_t bucket_bytes, uint64_t seed)
{
    lk_buckets *t = calloc(1, sizeof *t);
    if (!t) return NULL;
    t->first = lk_map(count * bucket_bytes, true);
    if (!t->first) {
        free(t);
        return NULL;
    }
    t->seed = seed;
    t->count = count;
    t->stride = bucket_bytes;
    for (size_t i = 0; i < count; i++) lk_lock_open(&((lk_bucket *)lk_bucket_at(t, i))->lock, LK_RANK_BUCKET);
    return t;
}

void lk_buckets_close(lk_buckets *t)
{
    if (!t) return;
    for (size_t i = 0; i < t->count; i++) lk_lock_close(&((lk_bucket *)lk_bucket_at(t, i))->lock);
    lk_unmap(t->first, t->count * t->stride);
    free(t);
}

void *lk_bucket_lock(lk_buckets *t, const void *key, size_t size)
{
    lk_bucket *b = lk_bucket_at(t, lk_hash(key, size, t->seed) % t->count);
    lk_lock_take(&b->lock);
    return b;
}

void lk_buckets_empty(lk_buckets *t)
{
    lk_buckets_renew(t);
    for (size_t i = 0; i < t->count; i++) {
        char *b = lk_bucket_at(t, i);
        lk_lock_take(&((lk_bucket *)(void *)b)->lock);
        lk_wipe(b + sizeof(lk_bucket), t->stride - sizeof(lk_bucket));
        lk_lock_give(&((lk_bucket *)(void *)b)->lock);
    }
}
