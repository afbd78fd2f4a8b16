/* Which session a foreign token means, as Redis said it, so that it is asked once: a fixed table from names (foreign_token.h) to
 * selectors.
 *
 * Nothing keeps it coherent, and nothing has to: a name means the same session for as long as Redis holds it, and is given
 * to no other (import.c). What the session is worth is asked of L1 and Redis, as with any token; of one that is gone the
 * name says no more than that. It is filled under the lease of the server that answered, and emptied whenever L1 is, since
 * another server's history may be another; who asked before an emptying puts nothing in after it: that is what the ticket
 * is for. What is not there is not remembered: the session may be moved in at any moment.
 *
 * No secret is in it. Bounded (G): of a full bucket the place that was given longest ago makes room; invented tokens have
 * no session, and get none. Lock: bucket.lock alone. */
#ifndef LK_L1_ALIAS_CACHE_H
#define LK_L1_ALIAS_CACHE_H

#include "l1/buckets.h"
#include "latchkey.h"

enum { LK_ALIAS_CACHE_MIN = 4096 }; /* places, whatever l1_capacity is */

typedef lk_buckets lk_alias_cache;

lk_alias_cache *lk_alias_cache_open(size_t places, uint64_t seed); /* NULL: no memory; a forked child sees it empty */
void lk_alias_cache_close(lk_alias_cache *mapped);                 /* NULL is allowed */

uint64_t lk_alias_cache_ticket(const lk_alias_cache *mapped); /* before Redis is asked */

/* Names and selectors are LATCHKEY_SELECTOR_LENGTH characters. */
void lk_alias_cache_add(lk_alias_cache *mapped, uint64_t ticket, const char *name, const char *selector);
bool lk_alias_cache_find(lk_alias_cache *mapped, const char *name, char selector[LATCHKEY_SELECTOR_LENGTH]);

void lk_alias_cache_empty(lk_alias_cache *mapped); /* also voids tickets. NULL is allowed */

#endif
