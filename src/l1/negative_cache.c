/* See negative_cache.h. It holds whole tokens. They are dead, but a failover may bring one back, so the memory is
 * wiped. */
#include "l1/negative_cache.h"

#include "base/crypto.h"

#include <string.h>

typedef struct dead_token { /* guarded by bucket.lock */
    int64_t end_ms;         /* 0: the place is free */
    int status;
    char token[LATCHKEY_TOKEN_LENGTH];
} dead_token;

typedef struct dead_bucket {
    lk_bucket head;
    dead_token place[LK_NEGATIVE_CACHE_BUCKET];
} dead_bucket;

lk_negative_cache *lk_negative_cache_open(uint64_t seed, size_t places)
{
    return lk_buckets_open(places / LK_NEGATIVE_CACHE_BUCKET, sizeof(dead_bucket), seed);
}

void lk_negative_cache_close(lk_negative_cache *r) { lk_buckets_close(r); }

uint64_t lk_negative_cache_ticket(const lk_negative_cache *r) { return lk_buckets_ticket(r); }

/* The selector alone chooses the bucket, since a session that was made is known by its selector (lk_negative_cache_forget).
 * Many tokens of one selector push each other out, and a bucket's worth of others: those are asked for again. */
static dead_bucket *lock_bucket(lk_negative_cache *r, const char *selector)
{
    return lk_bucket_lock(r, selector, LATCHKEY_SELECTOR_LENGTH);
}

/* The token's own place, or else the one whose time ends first. A free place counts as ended long ago. */
static dead_token *choose_dead_locked(dead_bucket *b, const char *token)
{
    lk_lock_assert(&b->head.lock);
    dead_token *first = &b->place[0];
    for (dead_token *p = b->place; p < b->place + LK_NEGATIVE_CACHE_BUCKET; p++) {
        if (p->end_ms && lk_equal(p->token, token, sizeof p->token)) return p;
        if (p->end_ms < first->end_ms) first = p;
    }
    return first;
}

void lk_negative_cache_add(lk_negative_cache *r, uint64_t ticket, const char *token, int status, int64_t now_ms)
{
    if (status != LATCHKEY_NOT_FOUND && status != LATCHKEY_EXPIRED) return;
    dead_bucket *b = lock_bucket(r, token);
    if (lk_buckets_good_locked(r, ticket)) {
        dead_token *p = choose_dead_locked(b, token);
        p->end_ms = now_ms + LK_NEGATIVE_CACHE_MS;
        p->status = status;
        memcpy(p->token, token, sizeof p->token);
    }
    lk_bucket_unlock(b);
}

int lk_negative_cache_find(lk_negative_cache *r, const char *token, int64_t now_ms)
{
    int status = LATCHKEY_AGAIN;
    dead_bucket *b = lock_bucket(r, token);
    for (const dead_token *p = b->place; p < b->place + LK_NEGATIVE_CACHE_BUCKET; p++)
        if (now_ms < p->end_ms && lk_equal(p->token, token, sizeof p->token)) status = p->status;
    lk_bucket_unlock(b);
    return status;
}

void lk_negative_cache_forget(lk_negative_cache *r, const char *selector)
{
    lk_buckets_renew(r);
    dead_bucket *b = lock_bucket(r, selector);
    for (dead_token *p = b->place; p < b->place + LK_NEGATIVE_CACHE_BUCKET; p++)
        if (p->end_ms && !memcmp(p->token, selector, LATCHKEY_SELECTOR_LENGTH)) lk_wipe(p, sizeof *p);
    lk_bucket_unlock(b);
}

void lk_negative_cache_empty(lk_negative_cache *r) { lk_buckets_empty(r); }
