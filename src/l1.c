/* L1. See l1.h for the words.
 *
 *   the mapping:  | header | stripe, stripe, ... | head, head, ... | set of 28 slots, set of 28 slots, ... |
 *
 *   head of a set, one cache line         slot, 22 words
 *   +---------+------+-----------------+  +----------+-------------------+--------------+
 *   | version | used | 28 tags, 16 bit |  | deadline | token 43, kind, 0 |  entry 120   |
 *   +---------+------+-----------------+  +----------+-------------------+--------------+
 *     4 bytes   4                 56        8          48                  120
 *
 * No pointers, so that the same bytes could lie in memory shared by processes. Outside core dumps (MADV_DONTDUMP), and
 * zeros in a forked child (MADV_WIPEONFORK): it holds live tokens.
 *
 * Why a reader without a lock is right (a sequence lock, with Boehm's acquire loads in place of fences: "Can seqlocks
 * get along with programming language memory models?", MSPC 2012; ThreadSanitizer understands it without help):
 *   writer, holding the stripe's lock      reader
 *   W1 version = odd          (relaxed)    R1 v = version, must be even           (acquire, with W3)
 *   W2 tags, words...         (release)    R2 tags, words...                      (acquire, with W2)
 *   W3 version = next even    (release)    R3 version == v, else again            (relaxed)
 * If R2 saw any word of W2, W1 happened before it, and R3 cannot see a version older than W1's odd one: it repeats.
 * If R1 saw W3, R2 sees all of that W2. So what a reader returns was in the set as a whole at one time.
 * A slot is filled while its tag is 0, before W1; a replaced slot is emptied first. So the version is odd for two
 * stores only, and a writer that is put to sleep there stalls readers for at most SPINS tries: then they miss.
 *
 * Invariants: tag 0 is a free way; a selector is stored in at most one way of its two sets; no more slots
 * are filled than the capacity. Locks: stripe.lock only, one at a time, and nothing is called under it but memory. */
#include "l1.h"

#include "hash.h"
#include "memory.h"
#include "token.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum {
    WAYS = 28,
    TAG_WORDS = WAYS / 4,
    TOKEN_WORDS = 6,
    ENTRY_WORDS = LATCHKEY_ENTRY_SIZE / 8,
    SLOT_WORDS = 1 + TOKEN_WORDS + ENTRY_WORDS,
    KIND_AT = LATCHKEY_TOKEN_LENGTH, /* behind the 43 characters: */
    KIND_PLAIN = 1,                  /* the verifier's characters are stored */
    KIND_HASHED = 2,                 /* the first 23 bytes of its hash are stored */
    STRIPES_MAX = 1024,
    SPINS = 1000,
    LOAD_PERCENT = 86, /* of all slots at capacity: 178 bytes a slot make 207 an entry */
};

typedef union token_words {
    char text[TOKEN_WORDS * 8];
    uint64_t word[TOKEN_WORDS];
} token_words;

typedef struct head {
    _Alignas(64) _Atomic uint32_t version; /* odd while tags change; written under stripe.lock */
    _Atomic uint32_t used;                 /* a bit a way: read since the last search for a victim. Set by readers,
                                              relaxed: a lost bit costs one eviction of something in use */
    _Atomic uint64_t tags[TAG_WORDS];      /* written under stripe.lock */
} head;

typedef struct slot {
    _Atomic uint64_t word[SLOT_WORDS]; /* written under stripe.lock */
} slot;

typedef struct stripe {
    _Alignas(64) pthread_mutex_t lock;
    _Atomic uint64_t epoch; /* moved by every purge; written under lock, read by lk_l1_ticket (acquire with release) */
    uint64_t evictions;     /* guarded by lock */
} stripe;

struct lk_l1 {
    uint64_t seed;
    size_t capacity, bytes, heads_at, slots_at;
    uint32_t sets, stripes;                /* sets is a multiple of stripes, which is a power of two */
    _Alignas(64) _Atomic uint64_t entries; /* relaxed; above capacity only while take_entry takes one back */
};

_Static_assert(sizeof(head) == 64, "a set's head is one cache line");
_Static_assert(sizeof(slot) == 176, "a slot has no padding");
_Static_assert(LATCHKEY_SELECTOR_LENGTH == 20 && LATCHKEY_TOKEN_LENGTH < sizeof(token_words), "the token's place");

/* ---------------------------------------------------------------------------------------------- places -- */

typedef struct place {
    uint32_t set[2]; /* equal where there is no second choice */
    uint16_t tag;
} place;

static stripe *stripes_of(const lk_l1 *l1) { return (stripe *)(uintptr_t)(l1 + 1); }
static head *head_of(const lk_l1 *l1, uint32_t set) { return (head *)((uintptr_t)l1 + l1->heads_at) + set; }
static slot *slot_of(const lk_l1 *l1, uint32_t set, unsigned way)
{
    return (slot *)((uintptr_t)l1 + l1->slots_at) + (size_t)set * WAYS + way;
}
static stripe *stripe_of(const lk_l1 *l1, const place *p) { return &stripes_of(l1)[p->set[0] % l1->stripes]; }

/* The second set is a whole number of stripes away, so one lock guards both. */
static inline place place_of(const lk_l1 *l1, const char *selector)
{
    uint64_t hash = lk_hash(selector, LATCHKEY_SELECTOR_LENGTH, l1->seed);
    place p;
    p.set[0] = (uint32_t)((hash >> 32) * l1->sets >> 32);
    uint32_t rows = l1->sets / l1->stripes;
    uint32_t away = rows > 1 ? 1 + (uint32_t)((hash >> 16 & 0xffff) * (rows - 1) >> 16) : 0;
    uint64_t second = p.set[0] + (uint64_t)away * l1->stripes;
    p.set[1] = (uint32_t)(second < l1->sets ? second : second - l1->sets);
    p.tag = (uint16_t)hash > 1 ? (uint16_t)hash : 2; /* 0 is a free way; 1 could be marked for one by lanes_equal */
    return p;
}

/* A bit 15 in each 16-bit lane of the word that may equal the tag. A lane above an equal one can be marked wrongly (the
 * borrow of the subtraction), which costs a comparison and no more. From Warren, Hacker's Delight, 6-1. */
static inline uint64_t lanes_equal(uint64_t tags, uint16_t tag)
{
    uint64_t x = tags ^ tag * UINT64_C(0x0001000100010001);
    return (x - UINT64_C(0x0001000100010001)) & ~x & UINT64_C(0x8000800080008000);
}

/* ----------------------------------------------------------------------------------------------- reading -- */

#define LOAD(i) to[i] = atomic_load_explicit(&from->word[i], memory_order_acquire)

/* Written out: gcc 12 leaves a loop of atomic loads rolled, at 8 to 14 ns. */
static inline void load_slot(const slot *from, uint64_t to[SLOT_WORDS])
{
    LOAD(0), LOAD(1), LOAD(2), LOAD(3), LOAD(4), LOAD(5), LOAD(6), LOAD(7), LOAD(8), LOAD(9), LOAD(10);
    LOAD(11), LOAD(12), LOAD(13), LOAD(14), LOAD(15), LOAD(16), LOAD(17), LOAD(18), LOAD(19), LOAD(20), LOAD(21);
}
_Static_assert(SLOT_WORDS == 22, "load_slot is written out for 22 words");

/* Zero where the stored selector (20 characters: two words and a half) equals the one asked for. */
static inline uint64_t selector_differs(const token_words *stored, const token_words *asked)
{
    token_words mask = {.text = "\xff\xff\xff\xff"};
    return (stored->word[0] ^ asked->word[0]) | (stored->word[1] ^ asked->word[1]) |
           ((stored->word[2] ^ asked->word[2]) & mask.word[0]);
}

/* Whole token against whole slot, in constant time: no branch before all six words are joined (guarantee E). */
static inline uint64_t token_differs(const token_words *stored, const token_words *asked)
{
    uint64_t differs = 0;
    for (int i = 0; i < TOKEN_WORDS; i++) differs |= stored->word[i] ^ asked->word[i];
    return differs;
}

/* A prewarmed slot knows the verifier's hash alone. Off the hot path: the caller of get stores the plain verifier. */
static bool hashed_matches(const token_words *stored, const token_words *asked)
{
    uint8_t hash[LK_HASH_SIZE];
    return stored->text[KIND_AT] == KIND_HASHED && !selector_differs(stored, asked) &&
           lk_verifier_text_hash(asked->text + LATCHKEY_SELECTOR_LENGTH, hash) &&
           lk_equal(hash, stored->text + LATCHKEY_SELECTOR_LENGTH, LK_VERIFIER_LENGTH);
}

typedef struct seen {
    uint64_t word[SLOT_WORDS];
    bool hashed;
    unsigned way;
} seen;

static inline bool slot_matches(seen *s, const token_words *asked)
{
    token_words stored;
    memcpy(&stored, s->word + 1, sizeof stored);
    s->hashed = false;
    if (token_differs(&stored, asked) == 0) return true;
    return s->hashed = hashed_matches(&stored, asked);
}

/* Looks through one set: 1 found, 0 not there, -1 a writer was in the way all the time. */
static inline int search(const lk_l1 *l1, uint32_t set, uint16_t tag, const token_words *asked, seen *s)
{
    head *h = head_of(l1, set);
    for (int spin = 0; spin < SPINS; spin++) {
        uint32_t version = atomic_load_explicit(&h->version, memory_order_acquire); /* R1 */
        if (version & 1) continue;
        bool found = false;
        for (unsigned i = 0; i < TAG_WORDS && !found; i++) {
            uint64_t lanes = lanes_equal(atomic_load_explicit(&h->tags[i], memory_order_acquire), tag); /* R2 */
            for (; lanes && !found; lanes &= lanes - 1) {
                s->way = i * 4 + (unsigned)__builtin_ctzll(lanes) / 16;
                load_slot(slot_of(l1, set, s->way), s->word); /* R2 */
                found = slot_matches(s, asked);
            }
        }
        if (atomic_load_explicit(&h->version, memory_order_relaxed) != version) continue; /* R3 */
        return found;
    }
    return -1;
}

static inline void mark_used(head *h, unsigned way)
{
    uint32_t bit = 1u << way;
    if (!(atomic_load_explicit(&h->used, memory_order_relaxed) & bit))
        atomic_fetch_or_explicit(&h->used, bit, memory_order_relaxed);
}

/* Puts the plain verifier where its hash was, in place, if the very same entry is still there. */
static void reveal(lk_l1 *l1, const place *p, uint32_t set, const seen *s, const token_words *asked);

static inline bool find(lk_l1 *l1, const char *token, seen *s)
{
    token_words asked = {{0}};
    memcpy(asked.text, token, LATCHKEY_TOKEN_LENGTH);
    asked.text[KIND_AT] = KIND_PLAIN;
    place p = place_of(l1, token);
    uint32_t set = p.set[0];
    int found = search(l1, set, p.tag, &asked, s);
    if (found == 0 && p.set[1] != set) found = search(l1, set = p.set[1], p.tag, &asked, s);
    if (found <= 0) return false;
    mark_used(head_of(l1, set), s->way);
    if (s->hashed) reveal(l1, &p, set, s, &asked);
    return true;
}

bool lk_l1_get(lk_l1 *l1, const char *token, lk_l1_found *found)
{
    seen s;
    if (!find(l1, token, &s)) return false;
    found->deadline_ms = (int64_t)s.word[0];
    found->first_use = s.hashed;
    memcpy(&found->entry, s.word + 1 + TOKEN_WORDS, sizeof found->entry);
    return true;
}

bool lk_l1_holds(lk_l1 *l1, const char *token)
{
    seen s;
    return find(l1, token, &s);
}

uint64_t lk_l1_ticket(const lk_l1 *l1, const char *selector)
{
    place p = place_of(l1, selector);
    return atomic_load_explicit(&stripe_of(l1, &p)->epoch, memory_order_acquire);
}

/* ----------------------------------------------------------------------------------------------- writing -- */

static uint16_t tag_locked(const head *h, unsigned way)
{
    return (uint16_t)(atomic_load_explicit(&h->tags[way / 4], memory_order_relaxed) >> (way % 4 * 16));
}

static void set_tag_locked(head *h, unsigned way, uint16_t tag)
{
    uint32_t version = atomic_load_explicit(&h->version, memory_order_relaxed);
    uint64_t tags = atomic_load_explicit(&h->tags[way / 4], memory_order_relaxed);
    unsigned shift = way % 4 * 16;
    tags = (tags & ~(UINT64_C(0xffff) << shift)) | (uint64_t)tag << shift;
    atomic_store_explicit(&h->version, version + 1, memory_order_relaxed); /* W1 */
    atomic_store_explicit(&h->tags[way / 4], tags, memory_order_release);  /* W2 */
    atomic_store_explicit(&h->version, version + 2, memory_order_release); /* W3 */
}

/* Only while the way's tag is 0: a reader that still looks at it read an older version, and will repeat. */
static void fill_slot_locked(slot *to, int64_t deadline_ms, const token_words *token, const latchkey_entry *entry)
{
    uint64_t word[SLOT_WORDS];
    word[0] = (uint64_t)deadline_ms;
    memcpy(word + 1, token, sizeof *token);
    memcpy(word + 1 + TOKEN_WORDS, entry, sizeof *entry);
    for (int i = 0; i < SLOT_WORDS; i++) atomic_store_explicit(&to->word[i], word[i], memory_order_release);
    lk_wipe(word, sizeof word);
}

static void wipe_slot_locked(slot *to)
{
    for (int i = 0; i < SLOT_WORDS; i++) atomic_store_explicit(&to->word[i], 0, memory_order_release);
}

static uint64_t slot_word_locked(const slot *s, int i)
{
    return atomic_load_explicit(&s->word[i], memory_order_relaxed);
}

/* The way that holds the selector, or -1. */
static int way_of_locked(const lk_l1 *l1, uint32_t set, uint16_t tag, const token_words *asked)
{
    for (unsigned way = 0; way < WAYS; way++) {
        if (tag_locked(head_of(l1, set), way) != tag) continue;
        const slot *s = slot_of(l1, set, way);
        token_words stored = {.word = {slot_word_locked(s, 1), slot_word_locked(s, 2), slot_word_locked(s, 3)}};
        if (selector_differs(&stored, asked) == 0) return (int)way;
    }
    return -1;
}

static int free_way_locked(const head *h)
{
    for (unsigned way = 0; way < WAYS; way++)
        if (!tag_locked(h, way)) return (int)way;
    return -1;
}

static int dead_way_locked(const lk_l1 *l1, uint32_t set, int64_t now_ms)
{
    for (unsigned way = 0; way < WAYS; way++)
        if (tag_locked(head_of(l1, set), way) && (int64_t)slot_word_locked(slot_of(l1, set, way), 0) <= now_ms)
            return (int)way;
    return -1;
}

/* Second chance (CLOCK, Corbato 1968) within the set: from a place that moves on with every replacement, the first way
 * that was not read since the hand last passed; the ways passed lose their mark. -1: the set is empty. */
static int victim_locked(head *h)
{
    /* Emptying a way and filling it moves the version by 4. */
    unsigned hand = atomic_load_explicit(&h->version, memory_order_relaxed) / 4 % WAYS;
    for (unsigned i = 0; i < 2 * WAYS; i++) {
        unsigned way = (hand + i) % WAYS;
        if (!tag_locked(h, way)) continue;
        uint32_t bit = 1u << way;
        if (!(atomic_fetch_and_explicit(&h->used, ~bit, memory_order_relaxed) & bit)) return (int)way;
    }
    for (unsigned way = 0; way < WAYS; way++) /* readers keep marking all of them: any will do */
        if (tag_locked(h, way)) return (int)way;
    return -1;
}

static void remove_way_locked(lk_l1 *l1, uint32_t set, unsigned way)
{
    set_tag_locked(head_of(l1, set), way, 0);
    wipe_slot_locked(slot_of(l1, set, way));
    atomic_fetch_sub_explicit(&l1->entries, 1, memory_order_relaxed);
}

/* Makes room in one of the two sets: a dead entry of either goes first, then one of the first set's, then of the
 * second's (the first may be empty while the capacity is used up elsewhere). False: both are empty. */
static bool evict_locked(lk_l1 *l1, stripe *st, const place *p, int64_t now_ms)
{
    for (int i = 0; i < 4; i++) {
        uint32_t set = p->set[i % 2];
        int way = i < 2 ? dead_way_locked(l1, set, now_ms) : victim_locked(head_of(l1, set));
        if (way < 0) continue;
        st->evictions += i >= 2;
        remove_way_locked(l1, set, (unsigned)way);
        return true;
    }
    return false;
}

/* Takes one of the capacity's places, or answers false where all are taken. */
static bool take_entry(lk_l1 *l1)
{
    if (atomic_fetch_add_explicit(&l1->entries, 1, memory_order_relaxed) < l1->capacity) return true;
    atomic_fetch_sub_explicit(&l1->entries, 1, memory_order_relaxed);
    return false;
}

/* A free way in either set, made free if need be; -1 where the capacity is used up by other stripes. */
static int room_locked(lk_l1 *l1, stripe *st, const place *p, int64_t now_ms, uint32_t *set)
{
    for (int tries = 0; tries < 2; tries++) {
        if (take_entry(l1)) {
            for (int i = 0; i < 2; i++) {
                int way = free_way_locked(head_of(l1, *set = p->set[i]));
                if (way >= 0) return way;
            }
            atomic_fetch_sub_explicit(&l1->entries, 1, memory_order_relaxed);
        }
        if (!evict_locked(l1, st, p, now_ms)) return -1;
    }
    return -1;
}

static bool held_locked(const lk_l1 *l1, const place *p, const token_words *asked)
{
    return way_of_locked(l1, p->set[0], p->tag, asked) >= 0 || way_of_locked(l1, p->set[1], p->tag, asked) >= 0;
}

static void drop_locked(lk_l1 *l1, const place *p, const token_words *asked)
{
    for (int i = 0; i < 2; i++) {
        int way = way_of_locked(l1, p->set[i], p->tag, asked);
        if (way >= 0) remove_way_locked(l1, p->set[i], (unsigned)way);
    }
}

enum lk_l1_put lk_l1_put(lk_l1 *l1, uint64_t ticket, const char *selector, const void *verifier, bool hashed,
                         int64_t deadline_ms, int64_t now_ms, const latchkey_entry *entry)
{
    token_words token = {{0}};
    memcpy(token.text, selector, LATCHKEY_SELECTOR_LENGTH);
    memcpy(token.text + LATCHKEY_SELECTOR_LENGTH, verifier, LK_VERIFIER_LENGTH);
    token.text[KIND_AT] = hashed ? KIND_HASHED : KIND_PLAIN;
    place p = place_of(l1, selector);
    stripe *st = stripe_of(l1, &p);
    enum lk_l1_put result = LK_L1_LEFT_OUT;

    pthread_mutex_lock(&st->lock);
    if (atomic_load_explicit(&st->epoch, memory_order_relaxed) != ticket) result = LK_L1_REFUSED;
    else if (l1->capacity && !(hashed && held_locked(l1, &p, &token))) {
        uint32_t set;
        drop_locked(l1, &p, &token); /* an older answer for the same session */
        int way = room_locked(l1, st, &p, now_ms, &set);
        if (way >= 0) {
            fill_slot_locked(slot_of(l1, set, (unsigned)way), deadline_ms, &token, entry);
            set_tag_locked(head_of(l1, set), (unsigned)way, p.tag);
            atomic_fetch_and_explicit(&head_of(l1, set)->used, ~(1u << way), memory_order_relaxed);
            result = LK_L1_STORED;
        }
    }
    pthread_mutex_unlock(&st->lock);
    lk_wipe(&token, sizeof token);
    return result;
}

static void reveal(lk_l1 *l1, const place *p, uint32_t set, const seen *s, const token_words *asked)
{
    stripe *st = stripe_of(l1, p);
    slot *at = slot_of(l1, set, s->way);
    head *h = head_of(l1, set);
    pthread_mutex_lock(&st->lock);
    bool same = tag_locked(h, s->way) == p->tag;
    for (int i = 0; i < SLOT_WORDS && same; i++) same = slot_word_locked(at, i) == s->word[i];
    if (same) {
        latchkey_entry entry;
        memcpy(&entry, s->word + 1 + TOKEN_WORDS, sizeof entry);
        set_tag_locked(h, s->way, 0);
        fill_slot_locked(at, (int64_t)s->word[0], asked, &entry);
        set_tag_locked(h, s->way, p->tag);
    }
    pthread_mutex_unlock(&st->lock);
}

void lk_l1_purge(lk_l1 *l1, const char *selector)
{
    token_words asked = {{0}};
    memcpy(asked.text, selector, LATCHKEY_SELECTOR_LENGTH);
    place p = place_of(l1, selector);
    stripe *st = stripe_of(l1, &p);
    pthread_mutex_lock(&st->lock);
    atomic_fetch_add_explicit(&st->epoch, 1, memory_order_release); /* with lk_l1_ticket: before the entry goes */
    drop_locked(l1, &p, &asked);
    pthread_mutex_unlock(&st->lock);
}

void lk_l1_empty(lk_l1 *l1)
{
    for (uint32_t i = 0; i < l1->stripes; i++) {
        stripe *st = &stripes_of(l1)[i];
        pthread_mutex_lock(&st->lock);
        atomic_fetch_add_explicit(&st->epoch, 1, memory_order_release);
        for (uint32_t set = i; set < l1->sets; set += l1->stripes)
            for (unsigned way = 0; way < WAYS; way++)
                if (tag_locked(head_of(l1, set), way)) remove_way_locked(l1, set, way);
        pthread_mutex_unlock(&st->lock);
    }
}

/* ---------------------------------------------------------------------------------------- open and close -- */

lk_l1 *lk_l1_open(size_t capacity, uint64_t seed)
{
    /* A capacity of 0 still has a set: its stripe's epoch makes the tickets. */
    size_t sets = (capacity * 100 / LOAD_PERCENT + WAYS) / WAYS, stripes = 1;
    while (stripes * 64 <= sets && stripes < STRIPES_MAX) stripes *= 2; /* rounding up to rows costs 1 in 64 at most */
    sets = (sets + stripes - 1) / stripes * stripes;
    size_t heads_at = sizeof(lk_l1) + stripes * sizeof(stripe);
    size_t slots_at = heads_at + sets * sizeof(head);
    size_t bytes = slots_at + sets * WAYS * sizeof(slot);
    lk_l1 *l1 = lk_map(bytes, true);
    if (!l1) return NULL;
    l1->seed = seed;
    l1->capacity = capacity;
    l1->bytes = lk_map_size(bytes);
    l1->heads_at = heads_at;
    l1->slots_at = slots_at;
    l1->sets = (uint32_t)sets;
    l1->stripes = (uint32_t)stripes;
    for (size_t i = 0; i < stripes; i++) pthread_mutex_init(&stripes_of(l1)[i].lock, NULL);
    return l1;
}

void lk_l1_close(lk_l1 *l1)
{
    if (!l1) return;
    size_t bytes = l1->bytes;
    for (uint32_t i = 0; i < l1->stripes; i++) pthread_mutex_destroy(&stripes_of(l1)[i].lock);
    lk_unmap(l1, bytes);
}

lk_l1_stats lk_l1_read_stats(const lk_l1 *l1)
{
    lk_l1_stats s = {.entries = atomic_load_explicit(&l1->entries, memory_order_relaxed), .bytes = l1->bytes};
    for (uint32_t i = 0; i < l1->stripes; i++) {
        stripe *st = &stripes_of(l1)[i];
        pthread_mutex_lock(&st->lock);
        s.evictions += st->evictions;
        pthread_mutex_unlock(&st->lock);
    }
    return s;
}
