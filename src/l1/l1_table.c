/* See l1_table.h. How a slot is read and written, and where an entry is placed. l1_read.h says why readers need no lock.
 *
 * Placing (cuckoo hashing with three choices: Fotakis et al. 2003). A new entry goes to a free home. If all three are
 * taken, a breadth-first search finds the shortest chain of moves that ends in a free slot, and the moves are made from
 * that end. Each moved entry is in both places for a moment, so a reader finds it in one or the other. A reader that
 * found nothing reads `moves`: it tells whether the reader may have looked at the new place too early and at the old
 * place too late. When L1 is at its capacity, 87 of 100 slots are taken on average, about 90 in the fullest stripe.
 * Three homes work up to 91.8. */
#include "l1/l1_table.h"

#include "base/secure_memory.h"
#include "base/token.h"

enum {
    SPINS = 1000,
    PATH_MOST = 512 /* slots looked at to find a free one */
};

/* ----------------------------------------------------------------------------------------- reading, slowly -- */

void lk_l1_copy_out(const lk_l1_slot *s, lk_l1_content *c)
{
    uint32_t last = atomic_load_explicit(&s->last, memory_order_acquire);
    uint64_t token[LK_L1_TOKEN_WORDS];
    for (int i = 0; i < LK_L1_TOKEN_WORDS; i++) token[i] = lk_l1_load_word(&s->token[i]);
    memcpy(c->token, token, sizeof token);
    memcpy(c->token + sizeof token, (const char *)&last + 1, 3);
    memcpy(c->token + LK_L1_KIND_AT, &last, 1);
    c->due_ms = atomic_load_explicit(&s->due_low, memory_order_acquire) |
                (uint64_t)atomic_load_explicit(&s->due_high, memory_order_acquire) << 32;
    c->terms = atomic_load_explicit(&s->terms, memory_order_acquire) & (uint16_t)~LK_L1_QUEUE_BIT;
    for (int i = 0; i < LK_L1_ENTRY_WORDS; i++) c->entry[i] = lk_l1_load_word(&s->entry[i]);
    lk_wipe(token, sizeof token);
}

bool lk_l1_copy_whole(const lk_l1_slot *s, lk_l1_content *c)
{
    for (int spin = 0; spin < SPINS; spin++) {
        uint32_t version = atomic_load_explicit(&s->version, memory_order_acquire);                            /* R1 */
        lk_l1_copy_out(s, c);                                                                                  /* R2 */
        if (!(version & 1) && atomic_load_explicit(&s->version, memory_order_relaxed) == version) return true; /* R3 */
    }
    return false;
}

/* A prewarmed slot knows only the verifier's hash. */
static bool matches(const lk_l1_content *c, const char *token)
{
    uint8_t hash[LK_HASH_SIZE];
    if (c->token[LK_L1_KIND_AT] == LK_L1_PLAIN) return lk_equal(c->token, token, LATCHKEY_TOKEN_LENGTH);
    return c->token[LK_L1_KIND_AT] == LK_L1_HASHED && !memcmp(c->token, token, LATCHKEY_SELECTOR_LENGTH) &&
           lk_verifier_text_hash(token + LATCHKEY_SELECTOR_LENGTH, hash) &&
           lk_equal(hash, c->token + LATCHKEY_SELECTOR_LENGTH, LK_VERIFIER_LENGTH);
}

/* The slot that holds the token. NULL: no slot does, or (*whole false) a writer was in the way. */
static lk_l1_slot *look_at_homes(lk_l1 *l1, uint64_t hash, const char *token, lk_l1_content *c, bool *whole)
{
    lk_l1_homes h = lk_l1_homes_of(&l1->view, hash);
    for (int i = 0; i < LK_L1_HOMES; i++) {
        lk_l1_slot *s = lk_l1_slot_at(l1, h.at[i]);
        if (!lk_l1_copy_whole(s, c)) *whole = false;
        else if (matches(c, token)) return s;
    }
    return NULL;
}

/* Why an entry that is held all the time is never missed. A move first copies and then clears, each by W1 to W3. If a
 * reader read the old home after it was cleared, it saw a word of that W2. `moves` became odd before that, so the
 * second look at `moves` shows a change, and the reader looks at all homes again. If it read the old home before it was
 * cleared, it found the entry there. */
lk_l1_slot *lk_l1_find_whole(lk_l1 *l1, uint64_t hash, const char *token, lk_l1_content *c)
{
    lk_l1_slot *s = NULL;
    const lk_stripe *st = lk_l1_stripe_of(l1, hash);
    for (int spin = 0; spin < SPINS; spin++) {
        bool whole = true;
        uint32_t moves = atomic_load_explicit(&st->moves, memory_order_acquire);
        s = look_at_homes(l1, hash, token, c, &whole);
        if (s || !whole) break;
        if (!(moves & 1) && atomic_load_explicit(&st->moves, memory_order_relaxed) == moves) break;
    }
    return s;
}

/* ------------------------------------------------------------------------------------------------- slots -- */

void lk_l1_fill_locked(lk_l1_slot *s, const lk_l1_content *c)
{
    uint32_t version = atomic_load_explicit(&s->version, memory_order_relaxed);
    uint64_t token[LK_L1_TOKEN_WORDS];
    memcpy(token, c->token, sizeof token);
    uint32_t last = lk_l1_last(c->token, (uint8_t)c->token[LK_L1_KIND_AT]);
    atomic_store_explicit(&s->version, version + 1, memory_order_relaxed); /* W1 */
    atomic_store_explicit(&s->last, last, memory_order_release);           /* W2 */
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
    static const lk_l1_content nothing;
    lk_l1_fill_locked(s, &nothing);
}

void lk_l1_copy_out_locked(const lk_l1_slot *s, lk_l1_content *c)
{
    lk_l1_copy_out(s, c);
    c->used = atomic_load_explicit(&s->used, memory_order_relaxed);
    c->queue = lk_l1_queue_locked(s);
}

static bool names_locked(const lk_l1_slot *s, const char *selector)
{
    uint64_t words[3] = {lk_l1_load_word(&s->token[0]), lk_l1_load_word(&s->token[1]), lk_l1_load_word(&s->token[2])};
    return !lk_l1_free_locked(s) && !memcmp(words, selector, LATCHKEY_SELECTOR_LENGTH);
}

lk_l1_slot *lk_l1_find_locked(const lk_l1 *l1, uint64_t hash, const char *selector)
{
    lk_l1_homes h = lk_l1_homes_of(&l1->view, hash);
    for (int i = 0; i < LK_L1_HOMES; i++)
        if (names_locked(lk_l1_slot_at(l1, h.at[i]), selector)) return lk_l1_slot_at(l1, h.at[i]);
    return NULL;
}

void lk_l1_drop_locked(lk_l1 *l1, lk_l1_slot *s)
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
    lk_l1_content c;
    for (; steps[i].from >= 0; i = steps[i].from) {
        lk_l1_copy_out_locked(lk_l1_slot_at(l1, steps[steps[i].from].at), &c);
        lk_l1_fill_locked(lk_l1_slot_at(l1, steps[i].at), &c);
    }
    lk_wipe(&c, sizeof c);
    return lk_l1_slot_at(l1, steps[i].at);
}

/* The end of the shortest path from a home of the hash to a free slot. -1: none was found. */
static int path_locked(const lk_l1 *l1, uint64_t hash, step steps[PATH_MOST])
{
    int count = 0;
    lk_l1_homes h = lk_l1_homes_of(&l1->view, hash);
    for (; count < LK_L1_HOMES; count++) steps[count] = (step){h.at[count], -1};
    for (int i = 0; i < count; i++) {
        const lk_l1_slot *s = lk_l1_slot_at(l1, steps[i].at);
        if (lk_l1_free_locked(s)) return i;
        h = lk_l1_homes_of(&l1->view, lk_l1_hash_of_slot_locked(l1, s));
        for (int k = 0; k < LK_L1_HOMES && count < PATH_MOST; k++) {
            if (on_path(steps, i, h.at[k])) continue;
            steps[count++] = (step){h.at[k], i};
            __builtin_prefetch(lk_l1_slot_at(l1, h.at[k]));
        }
    }
    return -1;
}

bool lk_l1_place_locked(lk_l1 *l1, lk_stripe *st, uint64_t hash, const lk_l1_content *c)
{
    lk_lock_assert(&st->lock);
    step steps[PATH_MOST];
    int end = path_locked(l1, hash, steps);
    if (end < 0) return false;
    bool moving = steps[end].from >= 0;
    uint32_t moves = atomic_load_explicit(&st->moves, memory_order_relaxed);
    if (moving) atomic_store_explicit(&st->moves, moves + 1, memory_order_relaxed);
    lk_l1_fill_locked(walk_back_locked(l1, steps, end), c);
    if (moving) atomic_store_explicit(&st->moves, moves + 2, memory_order_release);
    return true;
}
