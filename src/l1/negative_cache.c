/* See negative_cache.h. Memory of its own, outside core dumps and zeros in a forked child, as it holds whole tokens: dead ones, but
 * a failover may bring one back. Lock: bucket.lock alone.
 *
 * Adding and emptying. Emptying moves the epoch first and then goes through the buckets. Who adds looks at the epoch under
 * the bucket's lock: if he still finds his ticket there, the emptying has that bucket before it, and what he put in goes. */
#include "l1/negative_cache.h"

#include "base/crypto.h"
#include "base/hash.h"
#include "base/secure_memory.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum { BUCKETS = LK_NEGATIVE_CACHE_PLACES / LK_NEGATIVE_CACHE_BUCKET };

typedef struct place { /* guarded by bucket.lock */
    int64_t end_ms;    /* 0: free */
    int status;
    char token[LATCHKEY_TOKEN_LENGTH];
} place;

typedef struct bucket {
    pthread_mutex_t lock;
    place place[LK_NEGATIVE_CACHE_BUCKET];
} bucket;

struct lk_negative_cache {
    uint64_t seed;
    /* Moved by lk_negative_cache_empty (release), read by lk_negative_cache_ticket (acquire): who has the new one asks after the
     * emptying began. */
    _Atomic uint64_t epoch;
    bucket bucket[BUCKETS];
};

lk_negative_cache *lk_negative_cache_open(uint64_t seed)
{
    lk_negative_cache *r = lk_map(sizeof *r, true);
    if (!r) return NULL;
    r->seed = seed;
    for (int i = 0; i < BUCKETS; i++) pthread_mutex_init(&r->bucket[i].lock, NULL);
    return r;
}

void lk_negative_cache_close(lk_negative_cache *r)
{
    if (!r) return;
    for (int i = 0; i < BUCKETS; i++) pthread_mutex_destroy(&r->bucket[i].lock);
    lk_unmap(r, sizeof *r);
}

uint64_t lk_negative_cache_ticket(const lk_negative_cache *r)
{
    return atomic_load_explicit(&r->epoch, memory_order_acquire);
}

/* Of the whole token: who knows a selector could else choose the bucket that it shares with a few thousand others. */
static bucket *bucket_of(lk_negative_cache *r, const char *token)
{
    return &r->bucket[lk_hash(token, LATCHKEY_TOKEN_LENGTH, r->seed) % BUCKETS];
}

/* The token's own place, else the one that ends first; a free one has ended long ago. */
static place *choose_locked(bucket *b, const char *token)
{
    place *first = &b->place[0];
    for (place *p = b->place; p < b->place + LK_NEGATIVE_CACHE_BUCKET; p++) {
        if (p->end_ms && lk_equal(p->token, token, sizeof p->token)) return p;
        if (p->end_ms < first->end_ms) first = p;
    }
    return first;
}

void lk_negative_cache_add(lk_negative_cache *r, uint64_t ticket, const char *token, int status, int64_t now_ms)
{
    if (status != LATCHKEY_NOT_FOUND && status != LATCHKEY_EXPIRED) return;
    bucket *b = bucket_of(r, token);
    pthread_mutex_lock(&b->lock);
    if (atomic_load_explicit(&r->epoch, memory_order_relaxed) == ticket) {
        place *p = choose_locked(b, token);
        p->end_ms = now_ms + LK_NEGATIVE_CACHE_MS;
        p->status = status;
        memcpy(p->token, token, sizeof p->token);
    }
    pthread_mutex_unlock(&b->lock);
}

int lk_negative_cache_find(lk_negative_cache *r, const char *token, int64_t now_ms)
{
    bucket *b = bucket_of(r, token);
    int status = LATCHKEY_AGAIN;
    pthread_mutex_lock(&b->lock);
    for (const place *p = b->place; p < b->place + LK_NEGATIVE_CACHE_BUCKET; p++)
        if (now_ms < p->end_ms && lk_equal(p->token, token, sizeof p->token)) status = p->status;
    pthread_mutex_unlock(&b->lock);
    return status;
}

void lk_negative_cache_empty(lk_negative_cache *r)
{
    atomic_fetch_add_explicit(&r->epoch, 1, memory_order_release);
    for (bucket *b = r->bucket; b < r->bucket + BUCKETS; b++) {
        pthread_mutex_lock(&b->lock);
        lk_wipe(b->place, sizeof b->place);
        pthread_mutex_unlock(&b->lock);
    }
}
