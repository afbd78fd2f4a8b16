/* Which session a foreign token means, so that Redis is asked only once: a fixed table from names
 * (foreign_token.h) to selectors.
 *
 * It needs no coherence: a name means the same session for as long as Redis holds it, and is never given to another
 * (import.c). Whether that session is still good is then asked of L1 and Redis, as for any token. The table is filled
 * under the lease of the server that answered. It is emptied whenever L1 is, since another server may have another
 * history; the ticket keeps out an answer that was asked for before an emptying. A name that Redis does not have is not
 * remembered: its session may move in at any moment.
 *
 * It holds no secret. Bounded (G): in a full bucket, the place that was given longest ago makes room. Invented tokens
 * have no session, so they get no place. Lock: bucket.lock, and no other with it. */
#ifndef LK_L1_ALIAS_CACHE_H
#define LK_L1_ALIAS_CACHE_H

#include "l1/buckets.h"
#include "latchkey.h"

enum { LK_ALIAS_CACHE_MIN = 4096 }; /* places, whatever l1_capacity is */

typedef lk_buckets lk_alias_cache;

lk_alias_cache *lk_alias_cache_open(size_t places, uint64_t seed); /* NULL: no memory; a forked child sees it empty */
void lk_alias_cache_close(lk_alias_cache *aliases);                /* NULL is allowed */

uint64_t lk_alias_cache_ticket(const lk_alias_cache *aliases); /* taken before Redis is asked */

/* Names and selectors are LATCHKEY_SELECTOR_LENGTH characters. */
void lk_alias_cache_add(lk_alias_cache *aliases, uint64_t ticket, const char *name, const char *selector);
bool lk_alias_cache_find(lk_alias_cache *aliases, const char *name, char selector[LATCHKEY_SELECTOR_LENGTH]);

void lk_alias_cache_empty(lk_alias_cache *aliases); /* also makes older tickets invalid. NULL is allowed */

#endif
