/* See refresh_gate.h. */
#include "l2/refresh_gate.h"

#include "base/hash.h"
#include "base/secure_memory.h"

#include <stdatomic.h>

enum { BUCKETS = 16384, WAYS = 4, MARK_BITS = 16 };

struct lk_refresh_gate {
    uint64_t seed;
    /* Relaxed: with a stale time, a hit asks once more. The high bits hold the time in ms until which it is shut,
     * enough for 8,900 years; the low bits hold the token's mark. */
    _Atomic uint64_t word[BUCKETS][WAYS];
};

lk_refresh_gate *lk_refresh_gate_open(uint64_t seed)
{
    lk_refresh_gate *g = lk_map(sizeof *g, true);
    if (g) g->seed = seed;
    return g;
}

void lk_refresh_gate_close(lk_refresh_gate *g)
{
    if (g) lk_unmap(g, sizeof *g);
}

static int64_t until_of(uint64_t word) { return (int64_t)(word >> MARK_BITS); }
static uint64_t mark_of_token(uint64_t word) { return word & ((1u << MARK_BITS) - 1); }

/* The token's own word, or else one whose time is up. NULL: the bucket is full of others. */
static _Atomic uint64_t *word_of(lk_refresh_gate *g, const char *token, int64_t now_ms, uint64_t *mark, uint64_t *was)
{
    uint64_t hash = lk_hash(token, LATCHKEY_SELECTOR_LENGTH, g->seed);
    _Atomic uint64_t *bucket = g->word[hash % BUCKETS], *free = NULL;
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

bool lk_refresh_gate_dedup(lk_refresh_gate *g, const char *token, int64_t now_ms, int64_t apart_ms)
{
    uint64_t mark, was = 0;
    _Atomic uint64_t *word = word_of(g, token, now_ms, &mark, &was);
    return word && until_of(was) <= now_ms &&
           atomic_compare_exchange_strong_explicit(word, &was, (uint64_t)(now_ms + apart_ms) << MARK_BITS | mark,
                                                   memory_order_relaxed, memory_order_relaxed);
}

void lk_refresh_gate_shut(lk_refresh_gate *g, const char *token, int64_t now_ms, int64_t until_ms)
{
    uint64_t mark, was = 0;
    _Atomic uint64_t *word = word_of(g, token, now_ms, &mark, &was);
    if (word) atomic_store_explicit(word, (uint64_t)until_ms << MARK_BITS | mark, memory_order_relaxed);
}
