/* See alias_cache.h. Adding and emptying meet as in negative_cache.c: emptying moves the epoch first and then goes through the buckets;
 * who adds looks at the epoch under the bucket's lock. */
#include "l1/alias_cache.h"

#include "base/hash.h"
#include "base/secure_memory.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum { BUCKET = 8 };

typedef struct place { /* guarded by bucket.lock */
    char name[LATCHKEY_SELECTOR_LENGTH], selector[LATCHKEY_SELECTOR_LENGTH];
} place;

typedef struct bucket {
    pthread_mutex_t lock;
    unsigned used, next; /* guarded by lock: places that are taken, and the one that was given longest ago */
    place place[BUCKET];
} bucket;

struct lk_alias_cache {
    uint64_t seed;
    size_t buckets, bytes;
    _Atomic uint64_t
        epoch; /* moved by lk_alias_cache_empty (release), read by lk_alias_cache_ticket (acquire): see negative_cache.c */
    bucket bucket[];
};

lk_alias_cache *lk_alias_cache_open(size_t places, uint64_t seed)
{
    size_t buckets = ((places > LK_ALIAS_CACHE_MIN ? places : LK_ALIAS_CACHE_MIN) + BUCKET - 1) / BUCKET;
    size_t bytes = sizeof(lk_alias_cache) + buckets * sizeof(bucket);
    lk_alias_cache *m = lk_map(bytes, true);
    if (!m) return NULL;
    m->seed = seed;
    m->buckets = buckets;
    m->bytes = bytes;
    for (size_t i = 0; i < buckets; i++) pthread_mutex_init(&m->bucket[i].lock, NULL);
    return m;
}

void lk_alias_cache_close(lk_alias_cache *m)
{
    if (!m) return;
    for (size_t i = 0; i < m->buckets; i++) pthread_mutex_destroy(&m->bucket[i].lock);
    lk_unmap(m, m->bytes);
}

uint64_t lk_alias_cache_ticket(const lk_alias_cache *m)
{
    return atomic_load_explicit(&m->epoch, memory_order_acquire);
}

static bucket *bucket_of(lk_alias_cache *m, const char *name)
{
    return &m->bucket[lk_hash(name, LATCHKEY_SELECTOR_LENGTH, m->seed) % m->buckets];
}

static place *find_locked(bucket *b, const char *name)
{
    for (place *p = b->place; p < b->place + b->used; p++)
        if (memcmp(p->name, name, sizeof p->name) == 0) return p;
    return NULL;
}

static place *take_locked(bucket *b)
{
    if (b->used < BUCKET) return &b->place[b->used++];
    place *oldest = &b->place[b->next];
    b->next = (b->next + 1) % BUCKET;
    return oldest;
}

void lk_alias_cache_add(lk_alias_cache *m, uint64_t ticket, const char *name, const char *selector)
{
    bucket *b = bucket_of(m, name);
    pthread_mutex_lock(&b->lock);
    if (atomic_load_explicit(&m->epoch, memory_order_relaxed) == ticket) {
        place *p = find_locked(b, name);
        if (!p) p = take_locked(b);
        memcpy(p->name, name, sizeof p->name);
        memcpy(p->selector, selector, sizeof p->selector);
    }
    pthread_mutex_unlock(&b->lock);
}

bool lk_alias_cache_find(lk_alias_cache *m, const char *name, char selector[LATCHKEY_SELECTOR_LENGTH])
{
    bucket *b = bucket_of(m, name);
    pthread_mutex_lock(&b->lock);
    const place *p = find_locked(b, name);
    if (p) memcpy(selector, p->selector, sizeof p->selector);
    pthread_mutex_unlock(&b->lock);
    return p != NULL;
}

void lk_alias_cache_empty(lk_alias_cache *m)
{
    if (!m) return;
    atomic_fetch_add_explicit(&m->epoch, 1, memory_order_release);
    for (size_t i = 0; i < m->buckets; i++) {
        bucket *b = &m->bucket[i];
        pthread_mutex_lock(&b->lock);
        b->used = b->next = 0;
        pthread_mutex_unlock(&b->lock);
    }
}
