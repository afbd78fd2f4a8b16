/* See alias_cache.h. */
#include "l1/alias_cache.h"

#include <string.h>

enum { BUCKET_ALIASES = 8 };

typedef struct alias { /* guarded by bucket.lock */
    char name[LATCHKEY_SELECTOR_LENGTH], selector[LATCHKEY_SELECTOR_LENGTH];
} alias;

typedef struct alias_bucket {
    lk_bucket head;
    unsigned used, next; /* guarded by bucket.lock: how many places are taken, and which was given longest ago */
    alias place[BUCKET_ALIASES];
} alias_bucket;

lk_alias_cache *lk_alias_cache_open(size_t places, uint64_t seed)
{
    size_t most = places > LK_ALIAS_CACHE_MIN ? places : LK_ALIAS_CACHE_MIN;
    return lk_buckets_open((most + BUCKET_ALIASES - 1) / BUCKET_ALIASES, sizeof(alias_bucket), seed);
}

void lk_alias_cache_close(lk_alias_cache *m) { lk_buckets_close(m); }

uint64_t lk_alias_cache_ticket(const lk_alias_cache *m) { return lk_buckets_ticket(m); }

static alias *find_alias_locked(alias_bucket *b, const char *name)
{
    lk_lock_assert(&b->head.lock);
    for (alias *p = b->place; p < b->place + b->used; p++)
        if (memcmp(p->name, name, sizeof p->name) == 0) return p;
    return NULL;
}

static alias *take_alias_locked(alias_bucket *b)
{
    lk_lock_assert(&b->head.lock);
    if (b->used < BUCKET_ALIASES) return &b->place[b->used++];
    alias *oldest = &b->place[b->next];
    b->next = (b->next + 1) % BUCKET_ALIASES;
    return oldest;
}

void lk_alias_cache_add(lk_alias_cache *m, uint64_t ticket, const char *name, const char *selector)
{
    alias_bucket *b = lk_bucket_lock(m, name, LATCHKEY_SELECTOR_LENGTH);
    if (lk_buckets_good_locked(m, ticket)) {
        alias *p = find_alias_locked(b, name);
        if (!p) p = take_alias_locked(b);
        memcpy(p->name, name, sizeof p->name);
        memcpy(p->selector, selector, sizeof p->selector);
    }
    lk_bucket_unlock(b);
}

bool lk_alias_cache_find(lk_alias_cache *m, const char *name, char selector[LATCHKEY_SELECTOR_LENGTH])
{
    alias_bucket *b = lk_bucket_lock(m, name, LATCHKEY_SELECTOR_LENGTH);
    const alias *p = find_alias_locked(b, name);
    if (p) memcpy(selector, p->selector, sizeof p->selector);
    lk_bucket_unlock(b);
    return p != NULL;
}

void lk_alias_cache_empty(lk_alias_cache *m)
{
    if (m) lk_buckets_empty(m);
}
