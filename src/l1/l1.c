/* L1: the writers. See l1.h for the words, l1_read.h for the layout and for why readers need no lock.
 *
 * The memory is left out of core dumps (MADV_DONTDUMP) and is zeros in a forked child (MADV_WIPEONFORK): it holds live
 * tokens.
 *
 * Placing (cuckoo hashing with three choices: Fotakis et al. 2003). A new entry goes to a free home. If all three are
 * taken, a breadth-first search finds the shortest chain of moves that ends in a free slot, and the moves are made from
 * that end. Each moved entry is in both places for a moment, so a reader finds it in one or the other. A reader that
 * found nothing reads `moves`: it tells whether the reader may have looked at the new place too early and at the old
 * place too late. When L1 is at its capacity, 87 of 100 slots are taken on average, about 90 in the fullest stripe.
 * Three homes work up to 91.8.
 *
 * Evicting. A dead entry goes first, if a hand that sweeps for dead entries finds one within a few steps. Otherwise
 * S3-FIFO decides (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023). New entries are on
 * trial, in a queue of a tenth of the capacity. An entry that was read twice by the end of its trial moves to the main
 * part; a hand goes round that in the order of the slots. Any other entry is evicted, and `ghosts` keeps 16 bits of its
 * hash: if it comes back soon, it goes to the main part at once.
 *
 * Invariants: a selector is stored in at most one slot, except during a move. No more slots are filled than the
 * capacity. Locks: stripe.lock only, one at a time; under it nothing is called that blocks. */
#include "l1/l1.h"
#include "l1/l1_terms.h"

#include "base/hash.h"
#include "base/secure_memory.h"
#include "base/token.h"
#include "base/lock.h"

#include <pthread.h>

enum {
    STRIPES_MAX = 1024,
    ROWS_LEAST = 8192, /* of a stripe before there are two: with fewer rows, the fullest stripe would be too full */
    EPOCHS = 64,
    SPINS = 1000,
    LOAD_PERCENT = 87,
    TRIAL = 10,        /* one entry in so many is on trial */
    PATH_MOST = 512,   /* slots looked at to find a free one */
    HAND_MOST = 64,    /* entries looked at to find one to evict */
    DEAD_MOST = 32,    /* slots looked at to find a dead one */
    SAMPLE_MOST = 256, /* slots looked at for a sample: a fraction of a millisecond, even if L1 is nearly empty */
    QUEUE_TRIAL = 0,
    QUEUE_MAIN = 1,
};

typedef struct stripe {
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
    _Atomic uint64_t epoch[EPOCHS];
} stripe;

enum { KIND_AT = LATCHKEY_TOKEN_LENGTH };

struct lk_l1 {
    lk_l1_view view;
    size_t capacity, bytes;
    lk_l1_idle_times idle_times;
    /* relaxed: fetch_add and fetch_sub are exact in any order, and it orders nothing else. It is above the capacity
     * only while reserve_entry takes one back */
    _Alignas(64) _Atomic uint64_t entries;
};

/* What a slot holds, in parts. */
typedef struct content {
    char token[LATCHKEY_TOKEN_LENGTH + 1]; /* and the kind */
    uint8_t used, queue;
    uint16_t terms; /* but for the queue */
    uint64_t due_ms;
    uint64_t entry[LK_L1_ENTRY_WORDS];
} content;

static stripe *stripes_of(const lk_l1 *l1) { return (stripe *)(uintptr_t)(l1 + 1); }
static stripe *stripe_of(const lk_l1 *l1, uint64_t hash) { return &stripes_of(l1)[lk_l1_stripe(&l1->view, hash)]; }
static uint64_t *ring_of(const lk_l1 *l1, const stripe *st) { return (uint64_t *)((uintptr_t)l1 + st->ring_from); }
static uint16_t *ghosts_of(const lk_l1 *l1, const stripe *st) { return (uint16_t *)((uintptr_t)l1 + st->ghosts_from); }
static lk_l1_slot *slot_at(const lk_l1 *l1, size_t at) { return lk_l1_at(&l1->view, at); }
static lk_l1_slot *row_of(const lk_l1 *l1, const stripe *st, uint32_t row)
{
    size_t first = l1->view.slots_at + (size_t)(st - stripes_of(l1)) * l1->view.stripe_size;
    return slot_at(l1, first + row * sizeof(lk_l1_slot));
}

static uint64_t hash_of(const lk_l1 *l1, const char *selector)
{
    return lk_l1_hash(&l1->view, lk_l1_load(selector), lk_l1_load(selector + 8));
}

static lk_l1_times times_of(const lk_l1 *l1, uint64_t due_ms, unsigned terms)
{
    return lk_l1_terms_read(&l1->idle_times, due_ms, terms);
}

static lk_l1_times times_in(const lk_l1 *l1, const content *c) { return times_of(l1, c->due_ms, c->terms); }

static void put_times(lk_l1 *l1, content *c, lk_l1_times times)
{
    c->terms = lk_l1_terms_write(&l1->idle_times, times, &c->due_ms);
}

/* ----------------------------------------------------------------------------------------- reading, slowly -- */

static uint64_t load_word(const _Atomic uint64_t *w) { return atomic_load_explicit(w, memory_order_acquire); }

static void copy_out(const lk_l1_slot *s, content *c)
{
    uint32_t last = atomic_load_explicit(&s->last, memory_order_acquire);
    uint64_t token[LK_L1_TOKEN_WORDS];
    for (int i = 0; i < LK_L1_TOKEN_WORDS; i++) token[i] = load_word(&s->token[i]);
    memcpy(c->token, token, sizeof token);
    memcpy(c->token + sizeof token, (const char *)&last + 1, 3);
    memcpy(c->token + KIND_AT, &last, 1);
    c->due_ms = atomic_load_explicit(&s->due_low, memory_order_acquire) |
                (uint64_t)atomic_load_explicit(&s->due_high, memory_order_acquire) << 32;
    c->terms = atomic_load_explicit(&s->terms, memory_order_acquire) & (uint16_t)~LK_L1_QUEUE_BIT;
    for (int i = 0; i < LK_L1_ENTRY_WORDS; i++) c->entry[i] = load_word(&s->entry[i]);
    lk_wipe(token, sizeof token);
}

/* Copies what stood in the slot as a whole at one moment. False: a writer was in the way all the time. */
static bool copy_whole(const lk_l1_slot *s, content *c)
{
    for (int spin = 0; spin < SPINS; spin++) {
        uint32_t version = atomic_load_explicit(&s->version, memory_order_acquire);                            /* R1 */
        copy_out(s, c);                                                                                        /* R2 */
        if (!(version & 1) && atomic_load_explicit(&s->version, memory_order_relaxed) == version) return true; /* R3 */
    }
    return false;
}

/* A prewarmed slot knows only the verifier's hash. */
static bool matches(const content *c, const char *token)
{
    uint8_t hash[LK_HASH_SIZE];
    if (c->token[KIND_AT] == LK_L1_PLAIN) return lk_equal(c->token, token, LATCHKEY_TOKEN_LENGTH);
    return c->token[KIND_AT] == LK_L1_HASHED && !memcmp(c->token, token, LATCHKEY_SELECTOR_LENGTH) &&
           lk_verifier_text_hash(token + LATCHKEY_SELECTOR_LENGTH, hash) &&
           lk_equal(hash, c->token + LATCHKEY_SELECTOR_LENGTH, LK_VERIFIER_LENGTH);
}

/* The slot that holds the token. NULL: no slot does, or (*whole false) a writer was in the way. */
static lk_l1_slot *look_at_homes(lk_l1 *l1, uint64_t hash, const char *token, content *c, bool *whole)
{
    lk_l1_homes h = lk_l1_homes_of(&l1->view, hash);
    for (int i = 0; i < LK_L1_HOMES; i++) {
        lk_l1_slot *s = slot_at(l1, h.at[i]);
        if (!copy_whole(s, c)) *whole = false;
        else if (matches(c, token)) return s;
    }
    return NULL;
}

/* Puts the plain verifier in place of its hash, if the very same entry is still there. */
static void reveal(lk_l1 *l1, uint64_t hash, lk_l1_slot *s, const content *was, const char *token);

/* Why an entry that is held all the time is never missed. A move first copies and then clears, each by W1 to W3. If a
 * reader read the old home after it was cleared, it saw a word of that W2. `moves` became odd before that, so the
 * second look at `moves` shows a change, and the reader looks at all homes again. If it read the old home before it was
 * cleared, it found the entry there. */
static lk_l1_slot *find_whole(lk_l1 *l1, uint64_t hash, const char *token, content *c)
{
    lk_l1_slot *s = NULL;
    const stripe *st = stripe_of(l1, hash);
    for (int spin = 0; spin < SPINS; spin++) {
        bool whole = true;
        uint32_t moves = atomic_load_explicit(&st->moves, memory_order_acquire);
        s = look_at_homes(l1, hash, token, c, &whole);
        if (s || !whole) break;
        if (!(moves & 1) && atomic_load_explicit(&st->moves, memory_order_relaxed) == moves) break;
    }
    return s;
}

bool lk_l1_get_slowly(lk_l1 *l1, const char *token, lk_l1_found *found, latchkey_entry *entry)
{
    content c;
    uint64_t hash = hash_of(l1, token);
    lk_l1_slot *s = find_whole(l1, hash, token, &c);
    if (s) {
        found->due_ms = (int64_t)c.due_ms;
        found->first_use = c.token[KIND_AT] == LK_L1_HASHED;
        memcpy(entry, c.entry, sizeof *entry);
        lk_l1_mark(s);
        if (found->first_use) reveal(l1, hash, s, &c, token);
    }
    lk_wipe(&c, sizeof c);
    return s != NULL;
}

bool lk_l1_look(lk_l1 *l1, const char *token, lk_l1_times *times, latchkey_entry *entry)
{
    content c;
    bool held = find_whole(l1, hash_of(l1, token), token, &c);
    if (held) {
        *times = times_in(l1, &c);
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
    return &stripe_of(l1, hash)->epoch[hash >> 8 & (EPOCHS - 1)];
}

uint64_t lk_l1_ticket(const lk_l1 *l1, const char *selector)
{
    return atomic_load_explicit(epoch_of(l1, hash_of(l1, selector)), memory_order_acquire);
}

/* ------------------------------------------------------------------------------------------------- slots -- */

static bool free_locked(const lk_l1_slot *s)
{
    uint32_t last = atomic_load_explicit(&s->last, memory_order_relaxed);
    char kind;
    memcpy(&kind, &last, 1);
    return kind == LK_L1_FREE;
}

static uint8_t queue_locked(const lk_l1_slot *s)
{
    return atomic_load_explicit(&s->terms, memory_order_relaxed) & LK_L1_QUEUE_BIT ? QUEUE_MAIN : QUEUE_TRIAL;
}

static void enter_main_locked(lk_l1_slot *s)
{
    uint16_t terms = atomic_load_explicit(&s->terms, memory_order_relaxed);
    atomic_store_explicit(&s->terms, terms | LK_L1_QUEUE_BIT, memory_order_relaxed);
}

static void fill_locked(lk_l1_slot *s, const content *c)
{
    uint32_t version = atomic_load_explicit(&s->version, memory_order_relaxed);
    uint64_t token[LK_L1_TOKEN_WORDS];
    memcpy(token, c->token, sizeof token);
    atomic_store_explicit(&s->version, version + 1, memory_order_relaxed);                                   /* W1 */
    atomic_store_explicit(&s->last, lk_l1_last(c->token, (uint8_t)c->token[KIND_AT]), memory_order_release); /* W2 */
    for (int i = 0; i < LK_L1_TOKEN_WORDS; i++) atomic_store_explicit(&s->token[i], token[i], memory_order_release);
    atomic_store_explicit(&s->due_low, (uint32_t)c->due_ms, memory_order_release);
    atomic_store_explicit(&s->due_high, (uint8_t)(c->due_ms >> 32), memory_order_release);
    atomic_store_explicit(&s->terms, (uint16_t)(c->terms | (c->queue ? LK_L1_QUEUE_BIT : 0)), memory_order_release);
    for (int i = 0; i < LK_L1_ENTRY_WORDS; i++) atomic_store_explicit(&s->entry[i], c->entry[i], memory_order_release);
    atomic_store_explicit(&s->version, version + 2, memory_order_release); /* W3 */
    atomic_store_explicit(&s->used, c->used, memory_order_relaxed);
    lk_wipe(token, sizeof token);
}

static void clear_locked(lk_l1_slot *s)
{
    static const content nothing;
    fill_locked(s, &nothing);
}

static void copy_out_locked(const lk_l1_slot *s, content *c)
{
    copy_out(s, c);
    c->used = atomic_load_explicit(&s->used, memory_order_relaxed);
    c->queue = queue_locked(s);
}

static uint64_t hash_of_slot_locked(const lk_l1 *l1, const lk_l1_slot *s)
{
    return lk_l1_hash(&l1->view, load_word(&s->token[0]), load_word(&s->token[1]));
}

static int64_t end_locked(const lk_l1 *l1, const lk_l1_slot *s)
{
    uint64_t due_ms = atomic_load_explicit(&s->due_low, memory_order_relaxed) |
                      (uint64_t)atomic_load_explicit(&s->due_high, memory_order_relaxed) << 32;
    lk_l1_times times = times_of(l1, due_ms, atomic_load_explicit(&s->terms, memory_order_relaxed));
    return lk_l1_end(&times);
}

static bool names_locked(const lk_l1_slot *s, const char *selector)
{
    uint64_t words[3] = {load_word(&s->token[0]), load_word(&s->token[1]), load_word(&s->token[2])};
    return !free_locked(s) && !memcmp(words, selector, LATCHKEY_SELECTOR_LENGTH);
}

static lk_l1_slot *find_slot_locked(const lk_l1 *l1, uint64_t hash, const char *selector)
{
    lk_l1_homes h = lk_l1_homes_of(&l1->view, hash);
    for (int i = 0; i < LK_L1_HOMES; i++)
        if (names_locked(slot_at(l1, h.at[i]), selector)) return slot_at(l1, h.at[i]);
    return NULL;
}

static void drop_locked(lk_l1 *l1, lk_l1_slot *s)
{
    clear_locked(s);
    atomic_fetch_sub_explicit(&l1->entries, 1, memory_order_relaxed);
}

/* ----------------------------------------------------------------------------------------------- placing -- */

typedef struct step {
    size_t at;
    int from; /* the step whose entry would move here; -1: this is a home of the new entry */
} step;

static bool on_path(const step *steps, int last, size_t at)
{
    for (int i = last; i >= 0; i = steps[i].from)
        if (steps[i].at == at) return true;
    return false;
}

/* Makes the moves that free the home at the beginning of the path, starting at the path's end. The home itself is left
 * as it was: the new entry is written over it. */
static lk_l1_slot *walk_back_locked(lk_l1 *l1, const step *steps, int i)
{
    content c;
    for (; steps[i].from >= 0; i = steps[i].from) {
        copy_out_locked(slot_at(l1, steps[steps[i].from].at), &c);
        fill_locked(slot_at(l1, steps[i].at), &c);
    }
    lk_wipe(&c, sizeof c);
    return slot_at(l1, steps[i].at);
}

/* The end of the shortest path from a home of the hash to a free slot. -1: none was found. */
static int path_locked(const lk_l1 *l1, uint64_t hash, step steps[PATH_MOST])
{
    int count = 0;
    lk_l1_homes h = lk_l1_homes_of(&l1->view, hash);
    for (; count < LK_L1_HOMES; count++) steps[count] = (step){h.at[count], -1};
    for (int i = 0; i < count; i++) {
        const lk_l1_slot *s = slot_at(l1, steps[i].at);
        if (free_locked(s)) return i;
        h = lk_l1_homes_of(&l1->view, hash_of_slot_locked(l1, s));
        for (int k = 0; k < LK_L1_HOMES && count < PATH_MOST; k++) {
            if (on_path(steps, i, h.at[k])) continue;
            steps[count++] = (step){h.at[k], i};
            __builtin_prefetch(slot_at(l1, h.at[k]));
        }
    }
    return -1;
}

/* Puts the entry into one of its homes, for which others may have to move. False: there is no path. */
static bool place_entry_locked(lk_l1 *l1, stripe *st, uint64_t hash, const content *c)
{
    lk_lock_assert(&st->lock);
    step steps[PATH_MOST];
    int end = path_locked(l1, hash, steps);
    if (end < 0) return false;
    bool moving = steps[end].from >= 0;
    uint32_t moves = atomic_load_explicit(&st->moves, memory_order_relaxed);
    if (moving) atomic_store_explicit(&st->moves, moves + 1, memory_order_relaxed);
    fill_locked(walk_back_locked(l1, steps, end), c);
    if (moving) atomic_store_explicit(&st->moves, moves + 2, memory_order_release);
    return true;
}

/* ---------------------------------------------------------------------------------------------- evicting -- */

static uint16_t *ghost_of(const lk_l1 *l1, const stripe *st, uint64_t hash)
{
    return &ghosts_of(l1, st)[(hash >> 16 & 0xffffffff) * st->ghosts_size >> 32];
}
static uint16_t ghost_mark(uint64_t hash) { return (uint16_t)(hash * UINT64_C(0xd6e8feb86659fd93) >> 48 | 1); }

static void evict_slot_locked(lk_l1 *l1, stripe *st, lk_l1_slot *s, int64_t now_ms)
{
    lk_lock_assert(&st->lock);
    if (end_locked(l1, s) > now_ms) atomic_fetch_add_explicit(&st->evictions, 1, memory_order_relaxed);
    drop_locked(l1, s);
}

static uint32_t step_on(uint32_t *hand, uint32_t rows)
{
    uint32_t at = *hand;
    *hand = at + 1 < rows ? at + 1 : 0;
    return at;
}

static bool evict_dead_locked(lk_l1 *l1, stripe *st, int64_t now_ms)
{
    lk_lock_assert(&st->lock);
    for (int i = 0; i < DEAD_MOST; i++) {
        lk_l1_slot *s = row_of(l1, st, step_on(&st->dead_hand, l1->view.rows));
        if (free_locked(s) || end_locked(l1, s) > now_ms) continue;
        drop_locked(l1, s);
        return true;
    }
    return false;
}

/* The entry on trial with that hash. */
static lk_l1_slot *on_trial_locked(const lk_l1 *l1, uint64_t hash)
{
    lk_l1_homes h = lk_l1_homes_of(&l1->view, hash);
    for (int i = 0; i < LK_L1_HOMES; i++) {
        lk_l1_slot *s = slot_at(l1, h.at[i]);
        if (!free_locked(s) && queue_locked(s) == QUEUE_TRIAL && hash_of_slot_locked(l1, s) == hash) return s;
    }
    return NULL;
}

static lk_l1_slot *end_of_trial_locked(lk_l1 *l1, stripe *st, uint64_t *hash)
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

static void begin_trial_locked(lk_l1 *l1, stripe *st, uint64_t hash)
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

/* Ends trials, the oldest first. An entry that was read twice moves to the main part; the first one that was not is
 * evicted. */
static bool evict_trial_locked(lk_l1 *l1, stripe *st, int64_t now_ms)
{
    lk_lock_assert(&st->lock);
    uint64_t hash;
    while (st->ring_count == st->ring_size) {
        lk_l1_slot *s = end_of_trial_locked(l1, st, &hash);
        if (!s) return false;
        if (atomic_load_explicit(&s->used, memory_order_relaxed) < 2) {
            *ghost_of(l1, st, hash) = ghost_mark(hash);
            evict_slot_locked(l1, st, s, now_ms);
            return true;
        }
        enter_main_locked(s);
        atomic_store_explicit(&s->used, 0, memory_order_relaxed);
    }
    return false;
}

/* Evicts from the main part: the next entry that was not read since the hand last passed it. If many were read, the one
 * that was read least. */
static bool evict_main_locked(lk_l1 *l1, stripe *st, int64_t now_ms)
{
    lk_lock_assert(&st->lock);
    lk_l1_slot *least = NULL;
    unsigned least_used = LK_L1_USED_MAX + 1, seen = 0;
    for (uint32_t i = 0; i < l1->view.rows && seen < HAND_MOST && least_used; i++) {
        lk_l1_slot *s = row_of(l1, st, step_on(&st->hand, l1->view.rows));
        if (free_locked(s) || queue_locked(s) != QUEUE_MAIN) continue;
        uint8_t used = atomic_load_explicit(&s->used, memory_order_relaxed);
        if (used < least_used) {
            least = s;
            least_used = used;
        }
        if (used) atomic_store_explicit(&s->used, (uint8_t)(used - 1), memory_order_relaxed);
        seen++;
    }
    if (least) evict_slot_locked(l1, st, least, now_ms);
    return least != NULL;
}

/* False: the stripe is empty. */
static bool evict_locked(lk_l1 *l1, stripe *st, int64_t now_ms)
{
    lk_lock_assert(&st->lock);
    uint64_t hash;
    if (evict_dead_locked(l1, st, now_ms) || evict_trial_locked(l1, st, now_ms) || evict_main_locked(l1, st, now_ms))
        return true;
    lk_l1_slot *s = end_of_trial_locked(l1, st, &hash);
    if (s) evict_slot_locked(l1, st, s, now_ms);
    return s != NULL;
}

/* ----------------------------------------------------------------------------------------------- writing -- */

/* Takes one of the capacity's places. False: all are taken. */
static bool reserve_entry(lk_l1 *l1)
{
    if (atomic_fetch_add_explicit(&l1->entries, 1, memory_order_relaxed) < l1->capacity) return true;
    atomic_fetch_sub_explicit(&l1->entries, 1, memory_order_relaxed);
    return false;
}

static enum lk_l1_put add_locked(lk_l1 *l1, stripe *st, uint64_t hash, content *c, int64_t now_ms)
{
    lk_lock_assert(&st->lock);
    uint16_t *ghost = ghost_of(l1, st, hash);
    bool known = *ghost == ghost_mark(hash);
    /* Twice: another stripe's writer may take the place that was made. */
    if (!reserve_entry(l1) && !(evict_locked(l1, st, now_ms) && reserve_entry(l1)) &&
        !(evict_locked(l1, st, now_ms) && reserve_entry(l1)))
        return LK_L1_LEFT_OUT;
    c->queue = known ? QUEUE_MAIN : QUEUE_TRIAL;
    if (!place_entry_locked(l1, st, hash, c)) { /* the entry in the way is evicted */
        lk_l1_slot *s = slot_at(l1, lk_l1_homes_of(&l1->view, hash).at[0]);
        evict_slot_locked(l1, st, s, now_ms);
        fill_locked(s, c);
    }
    if (known) *ghost = 0;
    else begin_trial_locked(l1, st, hash);
    return LK_L1_STORED;
}

static enum lk_l1_put put_locked(lk_l1 *l1, stripe *st, uint64_t hash, content *c, int64_t now_ms)
{
    lk_lock_assert(&st->lock);
    lk_l1_slot *s = find_slot_locked(l1, hash, c->token);
    if (!s) return add_locked(l1, st, hash, c, now_ms);
    if (c->token[KIND_AT] == LK_L1_HASHED) return LK_L1_LEFT_OUT;
    c->used = atomic_load_explicit(&s->used, memory_order_relaxed);
    c->queue = queue_locked(s);
    fill_locked(s, c); /* this is a newer answer for the same session */
    return LK_L1_STORED;
}

enum lk_l1_put lk_l1_put(lk_l1 *l1, uint64_t ticket, const char *selector, const void *verifier, bool hashed,
                         lk_l1_times times, int64_t now_ms, const latchkey_entry *entry)
{
    content c = {.used = 0};
    put_times(l1, &c, times);
    memcpy(c.token, selector, LATCHKEY_SELECTOR_LENGTH);
    memcpy(c.token + LATCHKEY_SELECTOR_LENGTH, verifier, LK_VERIFIER_LENGTH);
    c.token[KIND_AT] = hashed ? LK_L1_HASHED : LK_L1_PLAIN;
    memcpy(c.entry, entry, sizeof c.entry);
    uint64_t hash = hash_of(l1, selector);
    stripe *st = stripe_of(l1, hash);
    enum lk_l1_put result = LK_L1_LEFT_OUT;

    lk_lock_take(&st->lock);
    if (atomic_load_explicit(epoch_of(l1, hash), memory_order_relaxed) != ticket) result = LK_L1_REFUSED;
    else if (l1->capacity && times.end_ms >= 0) result = put_locked(l1, st, hash, &c, now_ms);
    lk_lock_give(&st->lock);
    lk_wipe(&c, sizeof c);
    return result;
}

/* False: it is good for as long already. */
static bool renew_locked(lk_l1 *l1, stripe *st, lk_l1_slot *s, lk_l1_times times, int64_t ahead_ms)
{
    lk_lock_assert(&st->lock);
    content c;
    copy_out_locked(s, &c);
    lk_l1_times before = times_in(l1, &c);
    if (times.end_ms > before.end_ms) times.end_ms = before.end_ms;
    if (times.due_ms > times.end_ms - ahead_ms) times.due_ms = times.end_ms - ahead_ms;
    bool renews = before.idle_ms && times.due_ms > before.due_ms;
    if (renews) {
        put_times(l1, &c, times);
        fill_locked(s, &c);
    }
    lk_wipe(&c, sizeof c);
    return renews;
}

enum lk_l1_put lk_l1_renew(lk_l1 *l1, uint64_t ticket, const char *selector, lk_l1_times times, int64_t ahead_ms)
{
    uint64_t hash = hash_of(l1, selector);
    stripe *st = stripe_of(l1, hash);
    enum lk_l1_put result = LK_L1_LEFT_OUT;
    lk_lock_take(&st->lock);
    lk_l1_slot *s = find_slot_locked(l1, hash, selector);
    if (atomic_load_explicit(epoch_of(l1, hash), memory_order_relaxed) != ticket) result = LK_L1_REFUSED;
    else if (s && renew_locked(l1, st, s, times, ahead_ms)) result = LK_L1_STORED;
    lk_lock_give(&st->lock);
    return result;
}

static void owe_locked(lk_l1 *l1, stripe *st, lk_l1_slot *s, int64_t now_ms)
{
    lk_lock_assert(&st->lock);
    content c;
    copy_out_locked(s, &c);
    lk_l1_times times = times_in(l1, &c);
    if (times.idle_ms && now_ms >= times.due_ms && times.due_ms > 1 && !(c.due_ms & 1)) {
        put_times(l1, &c, times);
        c.due_ms--; /* not later: the end of the idle time is counted from there */
        fill_locked(s, &c);
    }
    lk_wipe(&c, sizeof c);
}

void lk_l1_owe(lk_l1 *l1, const char *selector, int64_t now_ms)
{
    uint64_t hash = hash_of(l1, selector);
    stripe *st = stripe_of(l1, hash);
    lk_lock_take(&st->lock);
    lk_l1_slot *s = find_slot_locked(l1, hash, selector);
    if (s) owe_locked(l1, st, s, now_ms);
    lk_lock_give(&st->lock);
}

bool lk_l1_terms_of(lk_l1 *l1, const char *selector, lk_l1_times *times, latchkey_entry *entry)
{
    uint64_t hash = hash_of(l1, selector);
    stripe *st = stripe_of(l1, hash);
    content c;
    lk_lock_take(&st->lock);
    const lk_l1_slot *s = find_slot_locked(l1, hash, selector);
    if (s) copy_out(s, &c);
    lk_lock_give(&st->lock);
    if (!s) return false;
    *times = times_in(l1, &c);
    memcpy(entry, c.entry, sizeof *entry);
    lk_wipe(&c, sizeof c);
    return true;
}

static void reveal(lk_l1 *l1, uint64_t hash, lk_l1_slot *s, const content *was, const char *token)
{
    stripe *st = stripe_of(l1, hash);
    content c;
    lk_lock_take(&st->lock);
    copy_out_locked(s, &c);
    if (!memcmp(c.token, was->token, sizeof c.token) && !memcmp(c.entry, was->entry, sizeof c.entry)) {
        memcpy(c.token, token, LATCHKEY_TOKEN_LENGTH);
        c.token[KIND_AT] = LK_L1_PLAIN;
        fill_locked(s, &c);
    }
    lk_lock_give(&st->lock);
    lk_wipe(&c, sizeof c);
}

void lk_l1_purge(lk_l1 *l1, const char *selector)
{
    uint64_t hash = hash_of(l1, selector);
    stripe *st = stripe_of(l1, hash);
    lk_lock_take(&st->lock);
    /* Comes before the entry is removed. Release, with the acquire in lk_l1_ticket: a reader with the new ticket asks
     * L2 after this. */
    atomic_fetch_add_explicit(epoch_of(l1, hash), 1, memory_order_release);
    lk_l1_slot *s = find_slot_locked(l1, hash, selector);
    if (s) drop_locked(l1, s);
    lk_lock_give(&st->lock);
}

static void empty_stripe(lk_l1 *l1, stripe *st)
{
    lk_lock_take(&st->lock);
    for (int k = 0; k < EPOCHS; k++) atomic_fetch_add_explicit(&st->epoch[k], 1, memory_order_release);
    for (uint32_t row = 0; row < l1->view.rows; row++)
        if (!free_locked(row_of(l1, st, row))) drop_locked(l1, row_of(l1, st, row));
    st->ring_count = 0;
    lk_lock_give(&st->lock);
}

void lk_l1_empty(lk_l1 *l1)
{
    for (uint32_t i = 0; i < l1->view.stripes; i++) empty_stripe(l1, &stripes_of(l1)[i]);
}

typedef struct partition_bits {
    uint64_t word[LK_TOKEN_PARTITIONS / 64];
} partition_bits;

static bool is_of_locked(const lk_l1_slot *s, const partition_bits *bits)
{
    content c;
    copy_out_locked(s, &c);
    unsigned p = lk_token_partition(c.token);
    lk_wipe(&c, sizeof c);
    return bits->word[p / 64] >> p % 64 & 1;
}

static void empty_stripe_of(lk_l1 *l1, stripe *st, const partition_bits *bits)
{
    lk_lock_take(&st->lock);
    for (int k = 0; k < EPOCHS; k++) atomic_fetch_add_explicit(&st->epoch[k], 1, memory_order_release);
    for (uint32_t row = 0; row < l1->view.rows; row++) {
        lk_l1_slot *s = row_of(l1, st, row);
        if (!free_locked(s) && is_of_locked(s, bits)) drop_locked(l1, s);
    }
    lk_lock_give(&st->lock);
}

void lk_l1_empty_of(lk_l1 *l1, lk_partitions partitions)
{
    partition_bits bits = {{0}};
    for (size_t i = 0; i < partitions.count; i++)
        bits.word[partitions.at[i] / 64] |= UINT64_C(1) << partitions.at[i] % 64;
    for (uint32_t i = 0; i < l1->view.stripes; i++) empty_stripe_of(l1, &stripes_of(l1)[i], &bits);
}

/* ----------------------------------------------------------------------------------------------- auditing -- */

static int64_t end_of(const lk_l1 *l1, const content *c)
{
    lk_l1_times times = times_in(l1, c);
    return lk_l1_end(&times);
}

static lk_entry_sample seen_of(const lk_l1 *l1, const content *c)
{
    lk_entry_sample seen = {.deadline_ms = end_of(l1, c)};
    memcpy(seen.selector, c->token, sizeof seen.selector);
    memcpy(&seen.entry, c->entry, sizeof seen.entry);
    return seen;
}

bool lk_l1_sample(const lk_l1 *l1, uint64_t random, int64_t now_ms, lk_entry_sample *out)
{
    size_t slots = (size_t)l1->view.rows * l1->view.stripes, most = slots < SAMPLE_MOST ? slots : SAMPLE_MOST;
    content c;
    bool found = false;
    for (size_t i = 0; i < most && !found; i++) { /* the stripes' rows lie one behind the other */
        const lk_l1_slot *s = slot_at(l1, l1->view.slots_at + (random % slots + i) % slots * sizeof(lk_l1_slot));
        if (free_locked(s)) continue; /* read without the lock: a hint */
        found = copy_whole(s, &c) && c.token[KIND_AT] == LK_L1_PLAIN && end_of(l1, &c) > now_ms;
    }
    if (found) *out = seen_of(l1, &c);
    lk_wipe(&c, sizeof c);
    return found;
}

bool lk_l1_owed(const lk_l1 *l1, size_t *at, size_t most, int64_t now_ms, char selector[LATCHKEY_SELECTOR_LENGTH])
{
    size_t slots = (size_t)l1->view.rows * l1->view.stripes;
    content c;
    bool found = false;
    for (size_t i = 0; i < most && *at < slots && !found; i++) { /* the stripes' rows lie one behind the other */
        const lk_l1_slot *s = slot_at(l1, l1->view.slots_at + (*at)++ * sizeof(lk_l1_slot));
        if (!(atomic_load_explicit(&s->due_low, memory_order_relaxed) & 1)) continue; /* without the lock: a hint */
        found = copy_whole(s, &c) && c.token[KIND_AT] != LK_L1_FREE && c.due_ms & 1 && end_of(l1, &c) > now_ms &&
                times_in(l1, &c).idle_ms;
    }
    if (*at >= slots) *at = 0;
    if (found) memcpy(selector, c.token, LATCHKEY_SELECTOR_LENGTH);
    lk_wipe(&c, sizeof c);
    return found;
}

bool lk_l1_still(lk_l1 *l1, const lk_entry_sample *seen)
{
    uint64_t hash = hash_of(l1, seen->selector);
    stripe *st = stripe_of(l1, hash);
    content c;
    lk_lock_take(&st->lock);
    const lk_l1_slot *s = find_slot_locked(l1, hash, seen->selector);
    if (s) copy_out(s, &c);
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
    size_t rings_at = sizeof(lk_l1) + stripes * sizeof(stripe);
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
        stripe *st = &stripes_of(l1)[i];
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
    for (uint32_t i = 0; i < l1->view.stripes; i++) lk_lock_close(&stripes_of(l1)[i].lock);
    lk_unmap(l1, bytes);
}

size_t lk_l1_entries(const lk_l1 *l1) { return atomic_load_explicit(&l1->entries, memory_order_relaxed); }

lk_l1_stats lk_l1_read_stats(const lk_l1 *l1)
{
    lk_l1_stats s = {.entries = lk_l1_entries(l1), .bytes = l1->bytes};
    for (uint32_t i = 0; i < l1->view.stripes; i++)
        s.evictions += atomic_load_explicit(&stripes_of(l1)[i].evictions, memory_order_relaxed);
    return s;
}
