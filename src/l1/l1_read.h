/* L1's read path, inlined into validate.
 *
 *   the mapping:  | header | stripe, stripe, ... | queues | rows of stripe 0 | rows of stripe 1 | ... |
 *
 *   a row is a slot of 176 bytes
 *   +---------+-------------------+------------+----------+------+-------+-----------+
 *   | version | token 40-42, kind | token 0-39 | due time | used | terms | entry 120 |
 *   +---------+-------------------+------------+----------+------+-------+-----------+
 *     4         4                   40           5          1      2
 *
 *   token --hash--> stripe, three homes --fetch all three--> the one whose first 8 characters agree --copy--> entry
 *
 * It costs one round trip to memory: all cache lines that may be needed are requested before any is waited for, and no
 * branch depends on their contents.
 *
 * Why a reader without a lock is right. Each slot is a sequence lock, with Boehm's acquire loads in place of fences
 * ("Can seqlocks get along with programming language memory models?", MSPC 2012); ThreadSanitizer understands it
 * without help.
 *   writer, holding the stripe's lock      reader
 *   W1 version = odd          (relaxed)    R1 v = version, must be even           (acquire, with W3)
 *   W2 words...               (release)    R2 words...                            (acquire, with W2)
 *   W3 version = next even    (release)    R3 version == v, else again            (relaxed)
 * If R2 saw any word of a W2, the W1 before it happened before R3, so R3 cannot see a version older than that odd one,
 * and the reader discards what it read. If R1 saw a W3, R2 sees all words of the W2 before it. So what a reader returns
 * stood in the slot as a whole at one moment. An entry may also move from home to home: lk_l1_find_whole in
 * l1_table.c deals with that. */
#ifndef LK_L1_L1_READ_H
#define LK_L1_L1_READ_H

#include "l1/l1_copy.h"
#include "latchkey.h"

#include <stdbool.h>

#ifndef __SIZEOF_INT128__
#error "latchkey needs a 64-bit machine"
#endif

typedef struct lk_l1 lk_l1;

typedef struct lk_l1_found {
    /* On the coarse monotonic clock: until then the entry is good, and there is nothing to ask. It may be good for longer:
     * lk_l1_look tells until when. */
    int64_t due_ms;
    bool first_use; /* of a prewarmed entry: no request has used the session here yet */
} lk_l1_found;

enum {
    LK_L1_TOKEN_WORDS = 5,
    LK_L1_ENTRY_WORDS = LATCHKEY_ENTRY_SIZE / 8,
    LK_L1_HOMES = 3,
    LK_L1_FREE = 0,   /* kinds */
    LK_L1_PLAIN = 1,  /* the verifier's characters are stored */
    LK_L1_HASHED = 2, /* only the first 23 bytes of its hash are stored */
    LK_L1_USED_MAX = 3,
};

typedef struct lk_l1_slot {
    /* odd while the slot is being written. The stripe's lock is held for writing it, and all other fields but `used` */
    _Atomic uint32_t version;
    _Atomic uint32_t last; /* the kind, and characters 40 to 42 */
    _Atomic uint64_t token[LK_L1_TOKEN_WORDS];
    _Atomic uint32_t due_low; /* 40 bits of milliseconds: 34 years of uptime */
    _Atomic uint8_t due_high;
    _Atomic uint8_t used;   /* reads since eviction last looked at it, at most 3. Relaxed: losing one does no harm */
    _Atomic uint16_t terms; /* see l1_terms.h */
    _Atomic uint64_t entry[LK_L1_ENTRY_WORDS];
} lk_l1_slot;
_Static_assert(sizeof(lk_l1_slot) == 176, "a slot has no padding");

/* The first words of an L1, constant after open. There is no pointer: the mapping may lie elsewhere in another process. */
typedef struct lk_l1_view {
    uint64_t seed[2];
    size_t slots_at, stripe_size; /* in bytes; slots_at counts from here */
    uint32_t rows;                /* slots a stripe */
    uint32_t stripes;             /* a power of two */
} lk_l1_view;

typedef struct lk_l1_homes {
    size_t at[LK_L1_HOMES]; /* bytes from the view */
} lk_l1_homes;

static inline uint64_t lk_l1_load(const char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/* A hash of the first 16 characters. They hold 80 bits that this library drew at random, and the seeds are secret, so an attacker cannot
 * choose a slot. It is one multiplication, folded (wyhash's mixing step); XXH3 of 20 bytes takes three times
 * as long (bench/README.md, L1: the yardsticks and the ideals). */
static inline uint64_t lk_l1_hash(const lk_l1_view *v, uint64_t first, uint64_t second)
{
    __extension__ unsigned __int128 product = (unsigned __int128)(first ^ v->seed[0]) * (second ^ v->seed[1]);
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint32_t lk_l1_stripe(const lk_l1_view *v, uint64_t hash) { return (uint32_t)hash & (v->stripes - 1); }

static inline lk_l1_homes lk_l1_homes_of(const lk_l1_view *v, uint64_t hash)
{
    const uint64_t part[LK_L1_HOMES] = {hash >> 32, hash & 0xffffffff, hash >> 16 & 0xffffffff};
    size_t base = v->slots_at + lk_l1_stripe(v, hash) * v->stripe_size;
    lk_l1_homes h;
    for (int i = 0; i < LK_L1_HOMES; i++) h.at[i] = base + (part[i] * v->rows >> 32) * sizeof(lk_l1_slot);
    return h;
}

static inline lk_l1_homes lk_l1_homes_of_token(const lk_l1_view *v, const char *token)
{
    return lk_l1_homes_of(v, lk_l1_hash(v, lk_l1_load(token), lk_l1_load(token + 8)));
}

static inline lk_l1_slot *lk_l1_at(const lk_l1_view *v, size_t at) { return (lk_l1_slot *)((uintptr_t)v + at); }

/* Fetches all lines of a slot but the first, which the comparison of its first characters fetches. */
static inline void lk_l1_fetch_rest(const lk_l1_slot *s)
{
    const char *at = (const char *)s;
    __builtin_prefetch(at + 64);
    __builtin_prefetch(at + 128);
    __builtin_prefetch(at + sizeof *s - 1);
}

/* The home to read, chosen by the token's first 8 characters. Without a branch: it would wait for memory and be
 * mispredicted half of the time. A wrong choice is found out by the comparison of the whole token. */
static inline lk_l1_slot *lk_l1_choose(const lk_l1_view *v, lk_l1_homes h, const char *token)
{
    uint64_t first = lk_l1_load(token);
    size_t at = lk_l1_if_equal(&lk_l1_at(v, h.at[2])->token[0], first, h.at[2], h.at[0]);
    return lk_l1_at(v, lk_l1_if_equal(&lk_l1_at(v, h.at[1])->token[0], first, h.at[1], at));
}

/* The kind, with characters 40 to 42 behind it: the kind takes the place of character 39. */
static inline uint32_t lk_l1_last(const char *token, uint8_t kind)
{
    static const uint8_t keep[4] = {0, 0xff, 0xff, 0xff};
    const uint8_t kinds[4] = {kind};
    uint32_t last, mask, kind_word;
    memcpy(&last, token + 39, sizeof last);
    memcpy(&mask, keep, sizeof mask);
    memcpy(&kind_word, kinds, sizeof kind_word);
    return (last & mask) | kind_word;
}

/* R1 to R3. True: the slot held the token, and *entry is its entry. False: it did not, or a writer was changing it. The
 * token is compared in constant time: one branch, after all of it was compared (guarantee E). */
static inline bool lk_l1_read(const lk_l1_slot *s, const char *token, int64_t *due_ms, latchkey_entry *entry)
{
    uint32_t version = atomic_load_explicit(&s->version, memory_order_acquire); /* R1 */
    uint64_t differs = lk_l1_last(token, LK_L1_PLAIN) ^ atomic_load_explicit(&s->last, memory_order_acquire);
    differs |= lk_l1_token_differs(s->token, token);
    uint64_t low = atomic_load_explicit(&s->due_low, memory_order_acquire);
    uint64_t high = atomic_load_explicit(&s->due_high, memory_order_acquire);
    lk_l1_copy_entry(s->entry, entry);
    atomic_signal_fence(memory_order_acquire); /* for the compiler: see l1_copy.h */
    differs |= version & 1;
    differs |= version ^ atomic_load_explicit(&s->version, memory_order_relaxed); /* R3 */
    *due_ms = (int64_t)(high << 32 | low);
    return differs == 0;
}

static inline void lk_l1_mark(lk_l1_slot *s)
{
    uint8_t used = atomic_load_explicit(&s->used, memory_order_relaxed);
    if (used < LK_L1_USED_MAX) atomic_store_explicit(&s->used, (uint8_t)(used + 1), memory_order_relaxed);
}

/* For when the quick look fails: there is no such entry, a writer was in the way, the verifier is hashed, or two tokens
 * have their first eight characters in common. */
bool lk_l1_get_slowly(lk_l1 *l1, const char *token, lk_l1_found *found, latchkey_entry *entry);

static inline bool lk_l1_get_from(lk_l1 *l1, lk_l1_slot *s, const char *token, lk_l1_found *found,
                                  latchkey_entry *entry)
{
    found->first_use = false;
    if (__builtin_expect(!lk_l1_read(s, token, &found->due_ms, entry), 0))
        return lk_l1_get_slowly(l1, token, found, entry);
    lk_l1_mark(s);
    return true;
}

/* The token's entry, if L1 holds it: token[0..43) must equal all 43 characters stored. It does not look at the time:
 * the caller reads the clock afterwards and compares. It takes no lock; if a writer is in the way for too long, it
 * returns false. On false *entry holds rubbish, perhaps of another session: wipe it. */
static inline bool lk_l1_get(lk_l1 *l1, const char *token, lk_l1_found *found, latchkey_entry *entry)
{
    const lk_l1_view *v = (const lk_l1_view *)(const void *)l1;
    lk_l1_homes h = lk_l1_homes_of_token(v, token);
    /* the first eight characters of the other two homes are compared, which fetches them */
    __builtin_prefetch(lk_l1_at(v, h.at[0]));
    for (int i = 0; i < LK_L1_HOMES; i++) lk_l1_fetch_rest(lk_l1_at(v, h.at[i]));
    return lk_l1_get_from(l1, lk_l1_choose(v, h, token), token, found, entry);
}

/* The same in two steps, for several tokens at once: fetch the homes of all, then read one after the other. */
static inline lk_l1_homes lk_l1_fetch(const lk_l1_view *v, const char *token)
{
    lk_l1_homes h = lk_l1_homes_of_token(v, token);
    for (int i = 0; i < LK_L1_HOMES; i++) __builtin_prefetch(lk_l1_at(v, h.at[i]));
    return h;
}

#endif
