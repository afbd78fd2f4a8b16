/* See refresh_queue.h. Lock: refresh_queue.lock, for the queue. */
#include "l2/refresh_queue.h"

#include "base/crypto.h"
#include "base/hash.h"
#include "base/secure_memory.h"
#include "base/lock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum { BUCKETS = 16384, WAYS = 4, MARK_BITS = 16 };

typedef struct waiting {
    char token[LATCHKEY_TOKEN_LENGTH];
    int64_t since_ms;
} waiting;

struct lk_refresh_queue {
    uint64_t seed;
    /* Relaxed: with a stale time, a hit asks once more. The high bits hold the time in ms until which it is shut,
     * enough for 8,900 years; the low bits hold the token's mark. */
    _Atomic uint64_t gate[BUCKETS][WAYS];
    lk_refresh_item hand[LK_REFRESH_QUEUE_HANDS]; /* used by the link's thread only */
    lk_lock lock;
    /* guarded by lock: */
    waiting queue[LK_REFRESH_QUEUE_QUEUE]; /* a ring */
    size_t first, count;
};

lk_refresh_queue *lk_refresh_queue_open(uint64_t seed)
{
    lk_refresh_queue *w = lk_map(sizeof *w, true);
    if (!w) return NULL;
    w->seed = seed;
    lk_lock_open(&w->lock, LK_RANK_REFRESH_QUEUE);
    return w;
}

void lk_refresh_queue_close(lk_refresh_queue *w)
{
    if (!w) return;
    lk_lock_close(&w->lock);
    lk_unmap(w, sizeof *w);
}

/* -------------------------------------------------------------------------------------------------- the gate -- */

static int64_t until_of(uint64_t word) { return (int64_t)(word >> MARK_BITS); }
static uint64_t mark_of_token(uint64_t word) { return word & ((1u << MARK_BITS) - 1); }

/* The token's own word, or else one whose time is up. NULL: the bucket is full of others. */
static _Atomic uint64_t *word_of(lk_refresh_queue *w, const char *token, int64_t now_ms, uint64_t *mark, uint64_t *was)
{
    uint64_t hash = lk_hash(token, LATCHKEY_SELECTOR_LENGTH, w->seed);
    _Atomic uint64_t *bucket = w->gate[hash % BUCKETS], *free = NULL;
    *mark = mark_of_token(hash >> 32);
    for (int i = 0; i < WAYS; i++) {
        uint64_t word = atomic_load_explicit(&bucket[i], memory_order_relaxed);
        bool own = mark_of_token(word) == *mark, over = until_of(word) <= now_ms;
        if (!own && (!over || free)) continue;
        free = &bucket[i];
        *was = word;
        if (own) break;
    }
    return free;
}

bool lk_refresh_queue_dedup(lk_refresh_queue *w, const char *token, int64_t now_ms, int64_t apart_ms)
{
    uint64_t mark, was = 0;
    _Atomic uint64_t *word = word_of(w, token, now_ms, &mark, &was);
    return word && until_of(was) <= now_ms &&
           atomic_compare_exchange_strong_explicit(word, &was, (uint64_t)(now_ms + apart_ms) << MARK_BITS | mark,
                                                   memory_order_relaxed, memory_order_relaxed);
}

void lk_refresh_queue_shut(lk_refresh_queue *w, const char *token, int64_t now_ms, int64_t until_ms)
{
    uint64_t mark, was = 0;
    _Atomic uint64_t *word = word_of(w, token, now_ms, &mark, &was);
    if (word) atomic_store_explicit(word, (uint64_t)until_ms << MARK_BITS | mark, memory_order_relaxed);
}

/* ------------------------------------------------------------------------------------------------- the queue -- */

size_t lk_refresh_queue_put(lk_refresh_queue *w, const char *token, int64_t now_ms)
{
    lk_lock_take(&w->lock);
    bool room = w->count < LK_REFRESH_QUEUE_QUEUE;
    if (room) {
        waiting *at = &w->queue[(w->first + w->count++) % LK_REFRESH_QUEUE_QUEUE];
        at->since_ms = now_ms;
        memcpy(at->token, token, sizeof at->token);
    }
    size_t count = room ? w->count : 0;
    lk_lock_give(&w->lock);
    return count;
}

static lk_refresh_item *free_hand(lk_refresh_queue *w)
{
    for (int i = 0; i < LK_REFRESH_QUEUE_HANDS; i++)
        if (!w->hand[i].taken) return &w->hand[i];
    return NULL;
}

lk_refresh_item *lk_refresh_queue_take(lk_refresh_queue *w, int64_t now_ms, uint64_t *let_go)
{
    lk_refresh_item *hand = free_hand(w);
    *let_go = 0;
    lk_lock_take(&w->lock);
    while (hand && w->count && !hand->taken) {
        waiting *at = &w->queue[w->first];
        hand->taken = now_ms - at->since_ms <= LK_REFRESH_QUEUE_OLD_MS;
        if (hand->taken) memcpy(hand->token, at->token, sizeof hand->token);
        else ++*let_go;
        lk_wipe(at, sizeof *at);
        w->first = (w->first + 1) % LK_REFRESH_QUEUE_QUEUE;
        w->count--;
    }
    lk_lock_give(&w->lock);
    return hand && hand->taken ? hand : NULL;
}

void lk_refresh_queue_done(lk_refresh_item *item) { lk_wipe(item, sizeof *item); }
