/* What is done with L1's entries. l1.h explains the words, and l1_read.h the read of every request. The table itself is in
 * l1_table.h; l1_evict.h decides which entry makes room.
 *
 * The memory is left out of core dumps (MADV_DONTDUMP) and is zeros in a forked child (MADV_WIPEONFORK): it holds live
 * tokens.
 *
 * No more slots are filled than the capacity. Lock: stripe.lock, one at a time; under it nothing is called that blocks. */
#include "l1/l1.h"
#include "l1/l1_evict.h"
#include "l1/l1_table.h"

#include "base/hash.h"
#include "base/secure_memory.h"
#include "base/token.h"

enum {
    STRIPES_MAX = 1024,
    ROWS_LEAST = 8192, /* of a stripe before there are two: with fewer rows, the fullest stripe would be too full */
    LOAD_PERCENT = 87,
    TRIAL = 10,        /* one entry in so many is on trial */
    SAMPLE_MOST = 256, /* slots looked at for a sample: a fraction of a millisecond, even if L1 is nearly empty */
};

/* ----------------------------------------------------------------------------------------- reading -- */

/* Puts the plain verifier in place of its hash, if the very same entry is still there. */
static void reveal(lk_l1 *l1, uint64_t hash, lk_l1_slot *s, const lk_l1_content *was, const char *token)
{
    lk_stripe *st = lk_l1_stripe_of(l1, hash);
    lk_l1_content c;
    lk_lock_take(&st->lock);
    lk_l1_copy_out_locked(s, &c);
    if (!memcmp(c.token, was->token, sizeof c.token) && !memcmp(c.entry, was->entry, sizeof c.entry)) {
        memcpy(c.token, token, LATCHKEY_TOKEN_LENGTH);
        c.token[LK_L1_KIND_AT] = LK_L1_PLAIN;
        lk_l1_fill_locked(s, &c);
    }
    lk_lock_give(&st->lock);
    lk_wipe(&c, sizeof c);
}

bool lk_l1_get_slowly(lk_l1 *l1, const char *token, lk_l1_found *found, latchkey_entry *entry)
{
    lk_l1_content c;
    uint64_t hash = lk_l1_hash_of(l1, token);
    lk_l1_slot *s = lk_l1_find_whole(l1, hash, token, &c);
    if (s) {
        found->due_ms = (int64_t)c.due_ms;
        found->first_use = c.token[LK_L1_KIND_AT] == LK_L1_HASHED;
        memcpy(entry, c.entry, sizeof *entry);
        lk_l1_mark(s);
        if (found->first_use) reveal(l1, hash, s, &c, token);
    }
    lk_wipe(&c, sizeof c);
    return s != NULL;
}

bool lk_l1_look(lk_l1 *l1, const char *token, lk_l1_times *times, latchkey_entry *entry)
{
    lk_l1_content c;
    bool held = lk_l1_find_whole(l1, lk_l1_hash_of(l1, token), token, &c);
    if (held) {
        *times = lk_l1_times_in(l1, &c);
        memcpy(entry, c.entry, sizeof *entry);
    }
    lk_wipe(&c, sizeof c);
    return held;
}

bool lk_l1_holds(lk_l1 *l1, const char *token)
{
    lk_l1_found found;
    latchkey_entry entry;
    bool held = lk_l1_get(l1, token, &found, &entry);
    lk_wipe(&entry, sizeof entry);
    return held;
}

static _Atomic uint64_t *epoch_of(const lk_l1 *l1, uint64_t hash)
{
    return &lk_l1_stripe_of(l1, hash)->epoch[hash >> 8 & (LK_L1_EPOCHS - 1)];
}

uint64_t lk_l1_ticket(const lk_l1 *l1, const char *selector)
{
    return atomic_load_explicit(epoch_of(l1, lk_l1_hash_of(l1, selector)), memory_order_acquire);
}

/* ------------------------------------------------------------------------------------------------- slots -- */

/* ----------------------------------------------------------------------------------------------- placing -- */

/* ---------------------------------------------------------------------------------------------- evicting -- */

/* ----------------------------------------------------------------------------------------------- writing -- */

/* Takes one of the capacity's places. False: all are taken. */
static bool reserve_entry(lk_l1 *l1)
{
    if (atomic_fetch_add_explicit(&l1->entries, 1, memory_order_relaxed) < l1->capacity) return true;
    atomic_fetch_sub_explicit(&l1->entries, 1, memory_order_relaxed);
    return false;
}

static enum lk_l1_put add_locked(lk_l1 *l1, lk_stripe *st, uint64_t hash, lk_l1_content *c, int64_t now_ms)
{
    lk_lock_assert(&st->lock);
    bool known = lk_l1_known_locked(l1, st, hash);
    /* Twice: another stripe's writer may take the place that was made. */
    if (!reserve_entry(l1) && !(lk_l1_evict_locked(l1, st, now_ms) && reserve_entry(l1)) &&
        !(lk_l1_evict_locked(l1, st, now_ms) && reserve_entry(l1)))
        return LK_L1_LEFT_OUT;
    c->queue = known ? LK_L1_MAIN : LK_L1_TRIAL;
    if (!lk_l1_place_locked(l1, st, hash, c)) { /* the entry in the way is evicted */
        lk_l1_slot *s = lk_l1_slot_at(l1, lk_l1_homes_of(&l1->view, hash).at[0]);
        lk_l1_evict_slot_locked(l1, st, s, now_ms);
        lk_l1_fill_locked(s, c);
    }
    lk_l1_begin_locked(l1, st, hash, known);
    return LK_L1_STORED;
}

static enum lk_l1_put put_locked(lk_l1 *l1, lk_stripe *st, uint64_t hash, lk_l1_content *c, int64_t now_ms)
{
    lk_lock_assert(&st->lock);
    lk_l1_slot *s = lk_l1_find_locked(l1, hash, c->token);
    if (!s) return add_locked(l1, st, hash, c, now_ms);
    if (c->token[LK_L1_KIND_AT] == LK_L1_HASHED) return LK_L1_LEFT_OUT;
    c->used = atomic_load_explicit(&s->used, memory_order_relaxed);
    c->queue = lk_l1_queue_locked(s);
    lk_l1_fill_locked(s, c); /* this is a newer answer for the same session */
    return LK_L1_STORED;
}

enum lk_l1_put lk_l1_put(lk_l1 *l1, uint64_t ticket, const char *selector, const void *verifier, bool hashed,
                         lk_l1_times times, int64_t now_ms, const latchkey_entry *entry)
{
    lk_l1_content c = {.used = 0};
    lk_l1_put_times(l1, &c, times);
    memcpy(c.token, selector, LATCHKEY_SELECTOR_LENGTH);
    memcpy(c.token + LATCHKEY_SELECTOR_LENGTH, verifier, LK_VERIFIER_LENGTH);
    c.token[LK_L1_KIND_AT] = hashed ? LK_L1_HASHED : LK_L1_PLAIN;
    memcpy(c.entry, entry, sizeof c.entry);
    uint64_t hash = lk_l1_hash_of(l1, selector);
    lk_stripe *st = lk_l1_stripe_of(l1, hash);
    enum lk_l1_put result = LK_L1_LEFT_OUT;

    lk_lock_take(&st->lock);
    if (atomic_load_explicit(epoch_of(l1, hash), memory_order_relaxed) != ticket) result = LK_L1_REFUSED;
    else if (l1->capacity && times.end_ms >= 0) result = put_locked(l1, st, hash, &c, now_ms);
    lk_lock_give(&st->lock);
    lk_wipe(&c, sizeof c);
    return result;
}

/* False: it is good for as long already. */
static bool renew_locked(lk_l1 *l1, lk_stripe *st, lk_l1_slot *s, lk_l1_times times, int64_t ahead_ms)
{
    lk_lock_assert(&st->lock);
    lk_l1_content c;
    lk_l1_copy_out_locked(s, &c);
    lk_l1_times before = lk_l1_times_in(l1, &c);
    if (times.end_ms > before.end_ms) times.end_ms = before.end_ms;
    if (times.due_ms > times.end_ms - ahead_ms) times.due_ms = times.end_ms - ahead_ms;
    bool renews = before.idle_ms && times.due_ms > before.due_ms;
    if (renews) {
        lk_l1_put_times(l1, &c, times);
        lk_l1_fill_locked(s, &c);
    }
    lk_wipe(&c, sizeof c);
    return renews;
}

enum lk_l1_put lk_l1_renew(lk_l1 *l1, uint64_t ticket, const char *selector, lk_l1_times times, int64_t ahead_ms)
{
    uint64_t hash = lk_l1_hash_of(l1, selector);
    lk_stripe *st = lk_l1_stripe_of(l1, hash);
    enum lk_l1_put result = LK_L1_LEFT_OUT;
    lk_lock_take(&st->lock);
    lk_l1_slot *s = lk_l1_find_locked(l1, hash, selector);
    if (atomic_load_explicit(epoch_of(l1, hash), memory_order_relaxed) != ticket) result = LK_L1_REFUSED;
    else if (s && renew_locked(l1, st, s, times, ahead_ms)) result = LK_L1_STORED;
    lk_lock_give(&st->lock);
    return result;
}

static void owe_locked(lk_l1 *l1, lk_stripe *st, lk_l1_slot *s, int64_t now_ms)
{
    lk_lock_assert(&st->lock);
    lk_l1_content c;
    lk_l1_copy_out_locked(s, &c);
    lk_l1_times times = lk_l1_times_in(l1, &c);
    if (times.idle_ms && now_ms >= times.due_ms && times.due_ms > 1 && !(c.due_ms & 1)) {
        lk_l1_put_times(l1, &c, times);
        c.due_ms--; /* not later: the end of the idle time is counted from there */
        lk_l1_fill_locked(s, &c);
    }
    lk_wipe(&c, sizeof c);
}

void lk_l1_owe(lk_l1 *l1, const char *selector, int64_t now_ms)
{
    uint64_t hash = lk_l1_hash_of(l1, selector);
    lk_stripe *st = lk_l1_stripe_of(l1, hash);
    lk_lock_take(&st->lock);
    lk_l1_slot *s = lk_l1_find_locked(l1, hash, selector);
    if (s) owe_locked(l1, st, s, now_ms);
    lk_lock_give(&st->lock);
}

bool lk_l1_terms_of(lk_l1 *l1, const char *selector, lk_l1_times *times, latchkey_entry *entry)
{
    uint64_t hash = lk_l1_hash_of(l1, selector);
    lk_stripe *st = lk_l1_stripe_of(l1, hash);
    lk_l1_content c;
    lk_lock_take(&st->lock);
    const lk_l1_slot *s = lk_l1_find_locked(l1, hash, selector);
    if (s) lk_l1_copy_out(s, &c);
    lk_lock_give(&st->lock);
    if (!s) return false;
    *times = lk_l1_times_in(l1, &c);
    memcpy(entry, c.entry, sizeof *entry);
    lk_wipe(&c, sizeof c);
    return true;
}

void lk_l1_purge(lk_l1 *l1, const char *selector)
{
    uint64_t hash = lk_l1_hash_of(l1, selector);
    lk_stripe *st = lk_l1_stripe_of(l1, hash);
    lk_lock_take(&st->lock);
    /* Comes before the entry is removed. Release, with the acquire in lk_l1_ticket: a reader with the new ticket asks
     * L2 after this. */
    atomic_fetch_add_explicit(epoch_of(l1, hash), 1, memory_order_release);
    lk_l1_slot *s = lk_l1_find_locked(l1, hash, selector);
    if (s) lk_l1_drop_locked(l1, s);
    lk_lock_give(&st->lock);
}

/* How many rows to look at. An L1 of many millions without an entry, as each is at open, must not be walked through: that takes longer
 * than a beat may. Relaxed: an entry of this stripe was counted before it was put here, under the stripe's lock. */
static uint32_t rows_locked(const lk_l1 *l1, const lk_stripe *st)
{
    lk_lock_assert(&st->lock);
    return atomic_load_explicit(&l1->entries, memory_order_relaxed) ? l1->view.rows : 0;
}

static void empty_stripe(lk_l1 *l1, lk_stripe *st)
{
    lk_lock_take(&st->lock);
    for (int k = 0; k < LK_L1_EPOCHS; k++) atomic_fetch_add_explicit(&st->epoch[k], 1, memory_order_release);
    for (uint32_t row = 0, rows = rows_locked(l1, st); row < rows; row++)
        if (!lk_l1_free_locked(lk_l1_row(l1, st, row))) lk_l1_drop_locked(l1, lk_l1_row(l1, st, row));
    st->ring_count = 0;
    lk_lock_give(&st->lock);
}

void lk_l1_empty(lk_l1 *l1)
{
    for (uint32_t i = 0; i < l1->view.stripes; i++) empty_stripe(l1, &lk_l1_stripes(l1)[i]);
}

typedef struct partition_bits {
    uint64_t word[LK_TOKEN_PARTITIONS / 64];
} partition_bits;

static bool is_of_locked(const lk_l1_slot *s, const partition_bits *bits)
{
    lk_l1_content c;
    lk_l1_copy_out_locked(s, &c);
    unsigned p = lk_token_partition(c.token);
    lk_wipe(&c, sizeof c);
    return bits->word[p / 64] >> p % 64 & 1;
}

static void empty_stripe_of(lk_l1 *l1, lk_stripe *st, const partition_bits *bits)
{
    lk_lock_take(&st->lock);
    for (int k = 0; k < LK_L1_EPOCHS; k++) atomic_fetch_add_explicit(&st->epoch[k], 1, memory_order_release);
    for (uint32_t row = 0, rows = rows_locked(l1, st); row < rows; row++) {
        lk_l1_slot *s = lk_l1_row(l1, st, row);
        if (!lk_l1_free_locked(s) && is_of_locked(s, bits)) lk_l1_drop_locked(l1, s);
    }
    lk_lock_give(&st->lock);
}

void lk_l1_empty_of(lk_l1 *l1, lk_partitions partitions)
{
    partition_bits bits = {{0}};
    for (size_t i = 0; i < partitions.count; i++)
        bits.word[partitions.at[i] / 64] |= UINT64_C(1) << partitions.at[i] % 64;
    for (uint32_t i = 0; i < l1->view.stripes; i++) empty_stripe_of(l1, &lk_l1_stripes(l1)[i], &bits);
}

/* ----------------------------------------------------------------------------------------------- auditing -- */

static int64_t end_of(const lk_l1 *l1, const lk_l1_content *c)
{
    lk_l1_times times = lk_l1_times_in(l1, c);
    return lk_l1_end(&times);
}

static lk_entry_sample seen_of(const lk_l1 *l1, const lk_l1_content *c)
{
    lk_entry_sample seen = {.deadline_ms = end_of(l1, c)};
    memcpy(seen.selector, c->token, sizeof seen.selector);
    memcpy(&seen.entry, c->entry, sizeof seen.entry);
    return seen;
}

bool lk_l1_sample(const lk_l1 *l1, uint64_t random, int64_t now_ms, lk_entry_sample *out)
{
    size_t slots = (size_t)l1->view.rows * l1->view.stripes, most = slots < SAMPLE_MOST ? slots : SAMPLE_MOST;
    lk_l1_content c;
    bool found = false;
    for (size_t i = 0; i < most && !found; i++) { /* the stripes' rows lie one behind the other */
        const lk_l1_slot *s = lk_l1_slot_at(l1, l1->view.slots_at + (random % slots + i) % slots * sizeof(lk_l1_slot));
        if (lk_l1_free_locked(s)) continue; /* read without the lock: a hint */
        found = lk_l1_copy_whole(s, &c) && c.token[LK_L1_KIND_AT] == LK_L1_PLAIN && end_of(l1, &c) > now_ms;
    }
    if (found) *out = seen_of(l1, &c);
    lk_wipe(&c, sizeof c);
    return found;
}

bool lk_l1_owed(const lk_l1 *l1, size_t *at, size_t most, int64_t now_ms, char selector[LATCHKEY_SELECTOR_LENGTH])
{
    size_t slots = (size_t)l1->view.rows * l1->view.stripes;
    lk_l1_content c;
    bool found = false;
    for (size_t i = 0; i < most && *at < slots && !found; i++) { /* the stripes' rows lie one behind the other */
        const lk_l1_slot *s = lk_l1_slot_at(l1, l1->view.slots_at + (*at)++ * sizeof(lk_l1_slot));
        if (!(atomic_load_explicit(&s->due_low, memory_order_relaxed) & 1)) continue; /* without the lock: a hint */
        found = lk_l1_copy_whole(s, &c) && c.token[LK_L1_KIND_AT] != LK_L1_FREE && c.due_ms & 1 &&
                end_of(l1, &c) > now_ms && lk_l1_times_in(l1, &c).idle_ms;
    }
    if (*at >= slots) *at = 0;
    if (found) memcpy(selector, c.token, LATCHKEY_SELECTOR_LENGTH);
    lk_wipe(&c, sizeof c);
    return found;
}

bool lk_l1_still(lk_l1 *l1, const lk_entry_sample *seen)
{
    uint64_t hash = lk_l1_hash_of(l1, seen->selector);
    lk_stripe *st = lk_l1_stripe_of(l1, hash);
    lk_l1_content c;
    lk_lock_take(&st->lock);
    const lk_l1_slot *s = lk_l1_find_locked(l1, hash, seen->selector);
    if (s) lk_l1_copy_out(s, &c);
    lk_lock_give(&st->lock);
    bool same = s && end_of(l1, &c) == seen->deadline_ms && !memcmp(c.entry, &seen->entry, sizeof c.entry);
    lk_wipe(&c, sizeof c);
    return same;
}

/* ---------------------------------------------------------------------------------------- open and close -- */

static size_t whole_lines(size_t bytes) { return (bytes + 63) / 64 * 64; }

lk_l1 *lk_l1_open(size_t capacity, uint64_t seed)
{
    /* A capacity of 0 still has one stripe: its epochs make the tickets. */
    size_t all = capacity * 100 / LOAD_PERCENT + 8, stripes = 1;
    while (stripes * 2 * ROWS_LEAST <= all && stripes < STRIPES_MAX) stripes *= 2;
    size_t rows = (all + stripes - 1) / stripes;
    size_t ring = capacity / stripes / TRIAL + 1, ghosts = capacity / stripes + 1;
    size_t rings_at = sizeof(lk_l1) + stripes * sizeof(lk_stripe);
    size_t ghosts_at = rings_at + stripes * ring * sizeof(uint64_t);
    size_t slots_at = whole_lines(ghosts_at + stripes * ghosts * sizeof(uint16_t));
    size_t bytes = slots_at + stripes * rows * sizeof(lk_l1_slot);
    lk_l1 *l1 = lk_map(bytes, true);
    if (!l1) return NULL;
    l1->view = (lk_l1_view){{seed, lk_hash(&seed, sizeof seed, seed)},
                            slots_at,
                            rows * sizeof(lk_l1_slot),
                            (uint32_t)rows,
                            (uint32_t)stripes};
    l1->capacity = capacity;
    l1->bytes = lk_map_size(bytes);
    for (size_t i = 0; i < stripes; i++) {
        lk_stripe *st = &lk_l1_stripes(l1)[i];
        lk_lock_open(&st->lock, LK_RANK_STRIPE);
        st->ring_size = (uint32_t)ring;
        st->ghosts_size = (uint32_t)ghosts;
        st->ring_from = rings_at + i * ring * sizeof(uint64_t);
        st->ghosts_from = ghosts_at + i * ghosts * sizeof(uint16_t);
    }
    return l1;
}

void lk_l1_close(lk_l1 *l1)
{
    if (!l1) return;
    size_t bytes = l1->bytes;
    /* a forked child: it reads zeros, also for where the mapping ends. The pages go with the process. */
    if (!bytes) return;
    for (uint32_t i = 0; i < l1->view.stripes; i++) lk_lock_close(&lk_l1_stripes(l1)[i].lock);
    lk_unmap(l1, bytes);
}

size_t lk_l1_entries(const lk_l1 *l1) { return atomic_load_explicit(&l1->entries, memory_order_relaxed); }

lk_l1_stats lk_l1_read_stats(const lk_l1 *l1)
{
    lk_l1_stats s = {.entries = lk_l1_entries(l1), .bytes = l1->bytes};
    for (uint32_t i = 0; i < l1->view.stripes; i++)
        s.evictions += atomic_load_explicit(&lk_l1_stripes(l1)[i].evictions, memory_order_relaxed);
    return s;
}
