/* L1's table, for l1.c and l1_evict.c alone: the stripes, and what is done to a slot. The layout is in l1_read.h.
 *
 * Invariants: a selector is stored in at most one slot, except during a move. Locks: stripe.lock only, one at a time; under it
 * nothing is called that blocks. */
#ifndef LK_L1_L1_TABLE_H
#define LK_L1_L1_TABLE_H

#include "base/lock.h"
#include "l1/l1_terms.h"

enum {
    LK_L1_EPOCHS = 64,
    LK_L1_KIND_AT = LATCHKEY_TOKEN_LENGTH,
    LK_L1_TRIAL = 0, /* queues */
    LK_L1_MAIN = 1,
};

typedef struct lk_stripe {
    _Alignas(64) lk_lock lock;
    /* Odd while entries are being moved. Written under the lock. The even store is a release; the odd one is published by
     * the releases of the moves themselves. Readers load it with acquire. */
    _Atomic uint32_t moves;
    /* guarded by lock: */
    uint32_t hand, dead_hand; /* the rows where the two sweeps are: for little-used entries, and for dead ones */
    uint32_t ring_at, ring_count, ring_size, ghosts_size;
    size_t ring_from, ghosts_from; /* bytes from the beginning of the mapping */
    _Atomic uint64_t evictions;    /* relaxed: a number for the statistics, which orders nothing */
    /* Moved by every purge, under the lock, with release; lk_l1_ticket reads it with acquire. Without that pair a read
     * of L2 could take a new ticket although it began before the purge. */
    _Atomic uint64_t epoch[LK_L1_EPOCHS];
} lk_stripe;

struct lk_l1 {
    lk_l1_view view;
    size_t capacity, bytes;
    lk_l1_idle_times idle_times;
    /* relaxed: fetch_add and fetch_sub are exact in any order, and it orders nothing else. It is above the capacity
     * only while reserve_entry takes one back */
    _Alignas(64) _Atomic uint64_t entries;
};

/* What a slot holds, in parts. */
typedef struct lk_l1_content {
    char token[LATCHKEY_TOKEN_LENGTH + 1]; /* and the kind */
    uint8_t used, queue;
    uint16_t terms; /* but for the queue */
    uint64_t due_ms;
    uint64_t entry[LK_L1_ENTRY_WORDS];
} lk_l1_content;

static inline lk_stripe *lk_l1_stripes(const lk_l1 *l1) { return (lk_stripe *)(uintptr_t)(l1 + 1); }
static inline lk_stripe *lk_l1_stripe_of(const lk_l1 *l1, uint64_t hash)
{
    return &lk_l1_stripes(l1)[lk_l1_stripe(&l1->view, hash)];
}
static inline lk_l1_slot *lk_l1_slot_at(const lk_l1 *l1, size_t at) { return lk_l1_at(&l1->view, at); }
static inline lk_l1_slot *lk_l1_row(const lk_l1 *l1, const lk_stripe *st, uint32_t row)
{
    size_t first = l1->view.slots_at + (size_t)(st - lk_l1_stripes(l1)) * l1->view.stripe_size;
    return lk_l1_slot_at(l1, first + row * sizeof(lk_l1_slot));
}

static inline uint64_t lk_l1_hash_of(const lk_l1 *l1, const char *selector)
{
    return lk_l1_hash(&l1->view, lk_l1_load(selector), lk_l1_load(selector + 8));
}

static inline lk_l1_times lk_l1_times_of(const lk_l1 *l1, uint64_t due_ms, unsigned terms)
{
    return lk_l1_terms_read(&l1->idle_times, due_ms, terms);
}

static inline lk_l1_times lk_l1_times_in(const lk_l1 *l1, const lk_l1_content *c)
{
    return lk_l1_times_of(l1, c->due_ms, c->terms);
}

static inline void lk_l1_put_times(lk_l1 *l1, lk_l1_content *c, lk_l1_times times)
{
    c->terms = lk_l1_terms_write(&l1->idle_times, times, &c->due_ms);
}

static inline uint64_t lk_l1_load_word(const _Atomic uint64_t *w)
{
    return atomic_load_explicit(w, memory_order_acquire);
}

static inline bool lk_l1_free_locked(const lk_l1_slot *s)
{
    uint32_t last = atomic_load_explicit(&s->last, memory_order_relaxed);
    char kind;
    memcpy(&kind, &last, 1);
    return kind == LK_L1_FREE;
}

static inline uint8_t lk_l1_queue_locked(const lk_l1_slot *s)
{
    return atomic_load_explicit(&s->terms, memory_order_relaxed) & LK_L1_QUEUE_BIT ? LK_L1_MAIN : LK_L1_TRIAL;
}

static inline uint64_t lk_l1_hash_of_slot_locked(const lk_l1 *l1, const lk_l1_slot *s)
{
    return lk_l1_hash(&l1->view, lk_l1_load_word(&s->token[0]), lk_l1_load_word(&s->token[1]));
}

static inline int64_t lk_l1_end_locked(const lk_l1 *l1, const lk_l1_slot *s)
{
    uint64_t due_ms = atomic_load_explicit(&s->due_low, memory_order_relaxed) |
                      (uint64_t)atomic_load_explicit(&s->due_high, memory_order_relaxed) << 32;
    lk_l1_times times = lk_l1_times_of(l1, due_ms, atomic_load_explicit(&s->terms, memory_order_relaxed));
    return lk_l1_end(&times);
}

void lk_l1_copy_out(const lk_l1_slot *s, lk_l1_content *c); /* but for `used` and `queue` */
void lk_l1_copy_out_locked(const lk_l1_slot *s, lk_l1_content *c);
/* Copies what stood in the slot as a whole at one moment. False: a writer was in the way all the time. */
bool lk_l1_copy_whole(const lk_l1_slot *s, lk_l1_content *c);

/* The slot that holds the token, and what it held. NULL: no slot does, or a writer was in the way. It takes no lock. */
lk_l1_slot *lk_l1_find_whole(lk_l1 *l1, uint64_t hash, const char *token, lk_l1_content *c);
lk_l1_slot *lk_l1_find_locked(const lk_l1 *l1, uint64_t hash, const char *selector); /* or NULL */

void lk_l1_fill_locked(lk_l1_slot *s, const lk_l1_content *c);
void lk_l1_drop_locked(lk_l1 *l1, lk_l1_slot *s);
/* Puts the entry into one of its homes, for which others may have to move. False: there is no path. */
bool lk_l1_place_locked(lk_l1 *l1, lk_stripe *st, uint64_t hash, const lk_l1_content *c);

#endif
