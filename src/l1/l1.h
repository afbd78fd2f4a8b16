/* L1: the map in this process's memory from a token to its 120-byte entry. Bounded; reading takes no lock.
 *
 * Words
 *   slot     where an entry lies. Each selector has three slots where it may lie, its homes, all in one stripe
 *   stripe   a range of slots, and the lock that guards them
 *   ticket   an epoch, read before L2 is asked; a put is refused if a purge came after its ticket
 *
 * Guarantees kept here: D (tickets), E (the whole token is compared), G (memory is taken once), J (wiped in a child). */
#ifndef LK_L1_L1_H
#define LK_L1_L1_H

#include "base/entry_sample.h"
#include "l1/l1_read.h" /* lk_l1, lk_l1_get, and what that needs */

#include <stdbool.h>

typedef struct lk_l1_stats {
    uint64_t entries, evictions, bytes;
} lk_l1_stats;

/* NULL: no memory, or a kernel that cannot keep it from children. A capacity of 0 makes an L1 that holds nothing. */
lk_l1 *lk_l1_open(size_t capacity_entries, uint64_t seed);
void lk_l1_close(lk_l1 *l1);

/* Taken before L2 is asked. */
uint64_t lk_l1_ticket(const lk_l1 *l1, const char *selector);

enum lk_l1_put {
    LK_L1_STORED,
    LK_L1_LEFT_OUT, /* there is no room, or (hashed) the entry is there already */
    LK_L1_REFUSED,  /* a purge came after the ticket (guarantee D) */
};

/* Stores what L2 answered. `verifier` is the token's last 23 characters. With `hashed` it is the first 23 bytes of
 * their BLAKE2b-256, which is all that prewarming knows; then an entry that is there already is not replaced. If there
 * is no room, an entry that is dead at now_ms is replaced, or else one that is little used. */
enum lk_l1_put lk_l1_put(lk_l1 *l1, uint64_t ticket, const char *selector, const void *verifier, bool hashed,
                         int64_t deadline_ms, int64_t now_ms, const latchkey_entry *entry);

bool lk_l1_holds(lk_l1 *l1, const char *token); /* compares the whole token; counts dead entries too */

/* also makes its tickets invalid, and those of some other selectors */
void lk_l1_purge(lk_l1 *l1, const char *selector);
void lk_l1_empty(lk_l1 *l1); /* the same for all selectors */

/* For comparing L1 with Redis (consistency.h). lk_l1_sample takes a plain entry that is alive at now_ms: the first that
 * is found from a random slot on, as it stood there at one moment. False: the few slots that it looks at hold none. It
 * takes no lock. lk_l1_still: does L1 still hold that very fill? */
bool lk_l1_sample(const lk_l1 *l1, uint64_t random, int64_t now_ms, lk_entry_sample *out);
bool lk_l1_still(lk_l1 *l1, const lk_entry_sample *seen);

size_t lk_l1_entries(const lk_l1 *l1);
lk_l1_stats lk_l1_read_stats(const lk_l1 *l1);

#endif
