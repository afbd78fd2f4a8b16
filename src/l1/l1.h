/* L1: the map in this process's memory from a token to its 120-byte entry. Bounded, readable without a lock.
 *
 * Words
 *   slot     where an entry lies; each selector has three slots in which it may lie, its homes, all of one stripe
 *   stripe   what one lock guards: a range of slots
 *   ticket   an epoch, read before L2 is asked; a put with a ticket older than a purge is refused
 *
 * Guarantees kept here: D (tickets), E (the whole token is compared), G (memory taken once), J (wiped in a child). */
#ifndef LK_L1_L1_H
#define LK_L1_L1_H

#include "base/entry_sample.h"
#include "l1/l1_read.h" /* lk_l1, lk_l1_get, and what that is made of */

#include <stdbool.h>

typedef struct lk_l1_stats {
    uint64_t entries, evictions, bytes;
} lk_l1_stats;

/* NULL: no memory, or a kernel that cannot keep it from children. A capacity of 0 makes an L1 that holds nothing. */
lk_l1 *lk_l1_open(size_t capacity_entries, uint64_t seed);
void lk_l1_close(lk_l1 *l1);

/* Before L2 is asked. */
uint64_t lk_l1_ticket(const lk_l1 *l1, const char *selector);

enum lk_l1_put {
    LK_L1_STORED,
    LK_L1_LEFT_OUT, /* no room, or (hashed) the entry is there already */
    LK_L1_REFUSED,  /* the ticket is older than a purge (guarantee D) */
};

/* Stores what L2 answered. `verifier` is the token's last 23 characters, or, with `hashed`, the first 23 bytes of its
 * BLAKE2b-256: what prewarming knows; that replaces nothing. Where there is no room, an entry that is dead at now_ms
 * makes it, else one that is little used. */
enum lk_l1_put lk_l1_put(lk_l1 *l1, uint64_t ticket, const char *selector, const void *verifier, bool hashed,
                         int64_t deadline_ms, int64_t now_ms, const latchkey_entry *entry);

bool lk_l1_holds(lk_l1 *l1, const char *token); /* whole token, dead entries included */

void lk_l1_purge(lk_l1 *l1, const char *selector); /* also voids tickets, its own and some others' */
void lk_l1_empty(lk_l1 *l1);                       /* the same for everything */

/* For the auditor. A plain entry that is alive at now_ms, of the slots from one chosen by `random` on, as it stood there
 * at one time; false: the few that are looked at hold none. Takes no lock. And whether that very fill is still held. */
bool lk_l1_sample(const lk_l1 *l1, uint64_t random, int64_t now_ms, lk_entry_sample *out);
bool lk_l1_still(lk_l1 *l1, const lk_entry_sample *seen);

size_t lk_l1_entries(const lk_l1 *l1);
lk_l1_stats lk_l1_read_stats(const lk_l1 *l1);

#endif
