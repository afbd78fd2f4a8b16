/* See l1_evict.h.
 *
 * A dead entry goes first, if a hand that sweeps for dead entries finds one within a few steps. Otherwise S3-FIFO decides
 * (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023). New entries are on trial, in a queue of a
 * tenth of the capacity. An entry that was read twice by the end of its trial moves to the main part; a hand goes round
 * that in the order of the slots. Any other entry is evicted, and `ghosts` keeps 16 bits of its hash: if it comes back
 * soon, it goes to the main part at once. */
#include "l1/l1_evict.h"

enum {
    HAND_MOST = 64, /* entries looked at to find one to evict */
    DEAD_MOST = 32, /* slots looked at to find a dead one */
};

static uint64_t *ring_of(const lk_l1 *l1, const lk_stripe *st) { return (uint64_t *)((uintptr_t)l1 + st->ring_from); }
static uint16_t *ghosts_of(const lk_l1 *l1, const lk_stripe *st)
{
    return (uint16_t *)((uintptr_t)l1 + st->ghosts_from);
}

static void enter_main_locked(lk_l1_slot *s)
{
    uint16_t terms = atomic_load_explicit(&s->terms, memory_order_relaxed);
    atomic_store_explicit(&s->terms, terms | LK_L1_QUEUE_BIT, memory_order_relaxed);
}

static uint16_t *ghost_of(const lk_l1 *l1, const lk_stripe *st, uint64_t hash)
{
    return &ghosts_of(l1, st)[(hash >> 16 & 0xffffffff) * st->ghosts_size >> 32];
}

static uint16_t ghost_mark(uint64_t hash) { return (uint16_t)(hash * UINT64_C(0xd6e8feb86659fd93) >> 48 | 1); }

void lk_l1_evict_slot_locked(lk_l1 *l1, lk_stripe *st, lk_l1_slot *s, int64_t now_ms)
{
    lk_lock_assert(&st->lock);
    if (lk_l1_end_locked(l1, s) > now_ms) atomic_fetch_add_explicit(&st->evictions, 1, memory_order_relaxed);
    lk_l1_drop_locked(l1, s);
}

static uint32_t step_on(uint32_t *hand, uint32_t rows)
{
    uint32_t at = *hand;
    *hand = at + 1 < rows ? at + 1 : 0;
    return at;
}

static bool evict_dead_locked(lk_l1 *l1, lk_stripe *st, int64_t now_ms)
{
    lk_lock_assert(&st->lock);
    for (int i = 0; i < DEAD_MOST; i++) {
        lk_l1_slot *s = lk_l1_row(l1, st, step_on(&st->dead_hand, l1->view.rows));
        if (lk_l1_free_locked(s) || lk_l1_end_locked(l1, s) > now_ms) continue;
        lk_l1_drop_locked(l1, s);
        return true;
    }
    return false;
}

/* The entry on trial with that hash. */
static lk_l1_slot *on_trial_locked(const lk_l1 *l1, uint64_t hash)
{
    lk_l1_homes h = lk_l1_homes_of(&l1->view, hash);
    for (int i = 0; i < LK_L1_HOMES; i++) {
        lk_l1_slot *s = lk_l1_slot_at(l1, h.at[i]);
        if (!lk_l1_free_locked(s) && lk_l1_queue_locked(s) == LK_L1_TRIAL && lk_l1_hash_of_slot_locked(l1, s) == hash)
            return s;
    }
    return NULL;
}

static lk_l1_slot *end_of_trial_locked(lk_l1 *l1, lk_stripe *st, uint64_t *hash)
{
    lk_lock_assert(&st->lock);
    while (st->ring_count) {
        *hash = ring_of(l1, st)[(st->ring_at + st->ring_size - st->ring_count) % st->ring_size];
        st->ring_count--;
        lk_l1_slot *s = on_trial_locked(l1, *hash);
        if (s) return s; /* else it was purged */
    }
    return NULL;
}

static void begin_trial_locked(lk_l1 *l1, lk_stripe *st, uint64_t hash)
{
    lk_lock_assert(&st->lock);
    uint64_t oldest;
    if (st->ring_count == st->ring_size) { /* all entries had room so far, so the oldest moves to the main part */
        lk_l1_slot *s = end_of_trial_locked(l1, st, &oldest);
        if (s) enter_main_locked(s);
    }
    ring_of(l1, st)[st->ring_at] = hash;
    st->ring_at = (st->ring_at + 1) % st->ring_size;
    st->ring_count++;
}

bool lk_l1_known_locked(const lk_l1 *l1, const lk_stripe *st, uint64_t hash)
{
    return *ghost_of(l1, st, hash) == ghost_mark(hash);
}

void lk_l1_begin_locked(lk_l1 *l1, lk_stripe *st, uint64_t hash, bool known)
{
    lk_lock_assert(&st->lock);
    if (known) *ghost_of(l1, st, hash) = 0;
    else begin_trial_locked(l1, st, hash);
}

/* Ends trials, the oldest first. An entry that was read twice moves to the main part; the first one that was not is
 * evicted. */
static bool evict_trial_locked(lk_l1 *l1, lk_stripe *st, int64_t now_ms)
{
    lk_lock_assert(&st->lock);
    uint64_t hash;
    while (st->ring_count == st->ring_size) {
        lk_l1_slot *s = end_of_trial_locked(l1, st, &hash);
        if (!s) return false;
        if (atomic_load_explicit(&s->used, memory_order_relaxed) < 2) {
            *ghost_of(l1, st, hash) = ghost_mark(hash);
            lk_l1_evict_slot_locked(l1, st, s, now_ms);
            return true;
        }
        enter_main_locked(s);
        atomic_store_explicit(&s->used, 0, memory_order_relaxed);
    }
    return false;
}

/* Evicts from the main part: the next entry that was not read since the hand last passed it. If many were read, the one
 * that was read least. */
static bool evict_main_locked(lk_l1 *l1, lk_stripe *st, int64_t now_ms)
{
    lk_lock_assert(&st->lock);
    lk_l1_slot *least = NULL;
    unsigned least_used = LK_L1_USED_MAX + 1, seen = 0;
    for (uint32_t i = 0; i < l1->view.rows && seen < HAND_MOST && least_used; i++) {
        lk_l1_slot *s = lk_l1_row(l1, st, step_on(&st->hand, l1->view.rows));
        if (lk_l1_free_locked(s) || lk_l1_queue_locked(s) != LK_L1_MAIN) continue;
        uint8_t used = atomic_load_explicit(&s->used, memory_order_relaxed);
        if (used < least_used) {
            least = s;
            least_used = used;
        }
        if (used) atomic_store_explicit(&s->used, (uint8_t)(used - 1), memory_order_relaxed);
        seen++;
    }
    if (least) lk_l1_evict_slot_locked(l1, st, least, now_ms);
    return least != NULL;
}

bool lk_l1_evict_locked(lk_l1 *l1, lk_stripe *st, int64_t now_ms)
{
    lk_lock_assert(&st->lock);
    uint64_t hash;
    if (evict_dead_locked(l1, st, now_ms) || evict_trial_locked(l1, st, now_ms) || evict_main_locked(l1, st, now_ms))
        return true;
    lk_l1_slot *s = end_of_trial_locked(l1, st, &hash);
    if (s) lk_l1_evict_slot_locked(l1, st, s, now_ms);
    return s != NULL;
}
