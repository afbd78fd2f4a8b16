/* Tokens known to be dead, so that nobody asks Redis about them again and again: a fixed table of its own.
 *
 * Words
 *   dead     Redis said NOT_FOUND or EXPIRED of this very token, under its lease; or latchkey_revoke ended it here
 *   ticket   see buckets.h: an answer that was asked for before an emptying is not put in
 *
 * Why a remembered "no" is a "no" (guarantee A: no fault turns "no answer" into "no"). Tokens are made by latchkey_create,
 * from 200 random bits, and handed out once Redis holds their session; none is ever made again, and no script brings a
 * session back that is gone (D). So what a server said of a token that was in somebody's hands holds for as long as that
 * server's history is the one that counts. What was never an answer is not in here: errors, timeouts, answers of a server
 * without the lease (lk_node_lease_covers), what a revocation under way denies, since that may yet be withdrawn.
 *   Where another incarnation takes over, its history counts: there a session may live that the one before never had (made
 * elsewhere while this process was still connected to a deposed primary) or had lost (an old snapshot). So the table is
 * emptied whenever L1 is, and for the same reasons; and as in L1 an answer that was asked for before an emptying is not put
 * in after it: that is what the ticket is for. It is read only under a lease, as L1 is: with Redis lost, validate says so.
 *   The whole token is compared (E). A hash with a secret seed places it, and decides nothing.
 *   What is left is a session that somebody brings back by hand (RENAME, RESTORE) without a word to anybody: it is seen
 * LK_NEGATIVE_CACHE_MS later.
 *
 * Bounded (G): a flood of dead tokens pushes out other dead ones, and nothing of L1. */
#ifndef LK_L1_NEGATIVE_CACHE_H
#define LK_L1_NEGATIVE_CACHE_H

#include "l1/buckets.h"
#include "latchkey.h"

enum {
    LK_NEGATIVE_CACHE_PLACES = 4096, /* in buckets of */
    LK_NEGATIVE_CACHE_BUCKET = 8,
    LK_NEGATIVE_CACHE_MS = 5000, /* so long a token stays in */
};

typedef lk_buckets lk_negative_cache;

lk_negative_cache *lk_negative_cache_open(uint64_t seed); /* NULL: no memory; a forked child sees it empty */
void lk_negative_cache_close(lk_negative_cache *refused);

uint64_t lk_negative_cache_ticket(const lk_negative_cache *refused); /* before Redis is asked */

/* `status` is NOT_FOUND or EXPIRED; anything else is no knowledge, and is left out. Where the bucket is full, what would
 * have ended first makes room. */
void lk_negative_cache_add(lk_negative_cache *refused, uint64_t ticket, const char *token, int status, int64_t now_ms);

int lk_negative_cache_find(lk_negative_cache *refused, const char *token,
                           int64_t now_ms); /* that status; AGAIN: not known here */

void lk_negative_cache_empty(lk_negative_cache *refused); /* also voids tickets */

#endif
