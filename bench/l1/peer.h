/* SPDX-License-Identifier: MIT
 *
 * A contender: a map from a token's text to its 120-byte entry, behind one table of functions. All of them do the same
 * work on a lookup: read the lease word, find the entry by the token's text, compare the whole token, copy the entry
 * out, read the coarse clock, compare it with the entry's own deadline and with the lease.
 *
 * Read by C and by C++.
 */
#ifndef LATCHKEY_BENCH_L1_PEER_H
#define LATCHKEY_BENCH_L1_PEER_H

#ifdef __cplusplus
extern "C" {
#endif

#include "base/clock.h"
#include "base/hash.h"
#include "latchkey.h"

#include <stdbool.h>
#include <string.h>

/* What a request brings. The numbers are for the ideals alone, which are told where things lie. */
typedef struct request {
    char text[LATCHKEY_TOKEN_LENGTH];
    char unused;
    uint32_t index;        /* of the record */
    uint32_t index_hashed; /* the same xor folded_hash: what a perfect hash would need */
} request;

/* What is stored. */
typedef struct record {
    int64_t deadline_ms;
    char text[LATCHKEY_TOKEN_LENGTH];
    char unused;
    uint32_t index;
    latchkey_entry entry;
} record;

typedef struct peer {
    const char *name;
    const char *where;   /* where a user gets it */
    const char *missing; /* NULL: it is in this build. Else why it is not */
    bool ours, debian;   /* neither: fetched elsewhere, so no goal is measured by it */
    bool evicts;         /* may drop what it was given: a cache, not a map */
    void *(*open)(size_t capacity);
    void (*close)(void *map);
    void (*fill)(void *map);  /* many puts follow, and no reads; may be NULL */
    void (*enter)(void *map); /* this thread begins to use it, and ends; may be NULL */
    void (*leave)(void *map);
    bool (*get)(void *map, const request *asked, latchkey_entry *entry);
    /* One writer at a time. A record put stays where it is, unchanged, until the map is closed. */
    void (*put)(void *map, const record *r);
    void (*drop)(void *map, const record *r);
    size_t (*bytes)(void *map); /* NULL: what malloc says */
    /* Many at once; NULL where there is no such call. Answers how many were found. */
    size_t (*get_many)(void *map, const request *asked, size_t count, latchkey_entry *entries);
} peer;

extern const peer *const peers[];
extern const int peer_count;

/* The lease of all contenders but latchkey, which has its own. Far away, but only the run knows. */
extern int64_t peer_lease_until_ms;

static inline int64_t lease_until(void) { return __atomic_load_n(&peer_lease_until_ms, __ATOMIC_ACQUIRE); }

/* The clock is read last, as latchkey_validate must. */
static inline bool in_time(int64_t lease_until_ms, int64_t deadline_ms)
{
    int64_t now = lk_coarse_ms();
    return now < deadline_ms && now < lease_until_ms;
}

/* What the peers place by: XXH3 of the 20 characters, the fastest hash for anything that Debian packages. */
#define PEER_SEED UINT64_C(0x5bd1e9955bd1e995)
static inline uint64_t text_hash(const char *text) { return lk_hash(text, LATCHKEY_SELECTOR_LENGTH, PEER_SEED); }

static inline uint64_t text_word(const char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/* What latchkey places by, since it knows that these characters are random; the ideals that hash do the same. */
static inline uint32_t folded_hash(const char *text)
{
    __extension__ unsigned __int128 product =
        (unsigned __int128)(text_word(text) ^ PEER_SEED) * (text_word(text + 8) ^ ~PEER_SEED);
    return (uint32_t)((uint64_t)product ^ (uint64_t)(product >> 64));
}

/* All 43 characters, joined before the one branch: the fastest that a comparison of a secret can be. */
static inline bool text_equal(const char *a, const char *b)
{
    uint64_t differs = 0;
    for (int i = 0; i < 40; i += 8) differs |= text_word(a + i) ^ text_word(b + i);
    return (differs | (text_word(a + 35) ^ text_word(b + 35))) == 0;
}

/* Zeroed memory on huge pages where the system gives them; never NULL. Given back by release_huge. */
void *take_huge(size_t size);
void release_huge(void *memory, size_t size);

#ifdef __cplusplus
}
#endif
#endif
