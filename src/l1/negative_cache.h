/* Tokens known to be dead, so that Redis is not asked about them again and again: a fixed table.
 *
 * Words
 *   dead     Redis said NOT_FOUND or EXPIRED of this very token, under its lease; or latchkey_revoke ended it here
 *   ticket   see buckets.h: an answer that was asked for before an emptying is not added
 *
 * Why a remembered "no" is a "no" (guarantee A: no fault turns "no answer" into "no"). latchkey_create makes each token
 * from 200 random bits and hands it out once Redis holds its session. No token is ever made a second time, and no
 * script brings back a session that is gone (D). So if a server said "no" to a token that once had a session, that
 * stays true for as long as that server's history is the one that counts.
 *
 * Not in here are: errors, timeouts, answers of a server without the lease (lk_lease_covers), and denials by a
 * revocation that is under way, since it may be withdrawn.
 *
 * If another incarnation takes over, its history counts. A session may live there that the server before it never had
 * (made elsewhere while this process was still connected to a deposed primary) or had lost (an old snapshot). So the
 * table is emptied whenever L1 is, and the ticket keeps out an answer that was asked for before the emptying. The table
 * is read only under a lease, as L1 is: with Redis lost, validate says so.
 *
 * One token may be refused and live later: one that was made before its session (latchkey_create_with), and shown before. When
 * its session is made every instance is told, and lk_negative_cache_forget takes the token out again.
 *
 * The whole token is compared (E). A hash with a secret seed places it, and decides nothing. One case is left: a person
 * brings a session back by hand (RENAME, RESTORE). It is seen LK_NEGATIVE_CACHE_MS later.
 *
 * Bounded (G): a flood of dead tokens pushes out other dead tokens, and nothing of L1. Lock: bucket.lock, and no other
 * with it. */
#ifndef LK_L1_NEGATIVE_CACHE_H
#define LK_L1_NEGATIVE_CACHE_H

#include "l1/buckets.h"
#include "latchkey.h"

enum {
    LK_NEGATIVE_CACHE_PLACES = 4096, /* in buckets of */
    LK_NEGATIVE_CACHE_BUCKET = 8,
    LK_NEGATIVE_CACHE_MS = 5000, /* how long a token stays in */
};

typedef lk_buckets lk_negative_cache;

/* `places`: LK_NEGATIVE_CACHE_PLACES, or fewer. NULL: no memory; a forked child sees it empty */
lk_negative_cache *lk_negative_cache_open(uint64_t seed, size_t places);
void lk_negative_cache_close(lk_negative_cache *cache);

uint64_t lk_negative_cache_ticket(const lk_negative_cache *cache); /* taken before Redis is asked */

/* `status` is NOT_FOUND or EXPIRED; with any other status nothing is added. In a full bucket, the token that would
 * leave first makes room. */
void lk_negative_cache_add(lk_negative_cache *cache, uint64_t ticket, const char *token, int status, int64_t now_ms);

int lk_negative_cache_find(lk_negative_cache *cache, const char *token,
                           int64_t now_ms); /* that status; AGAIN: the token is not in the table */

/* A session of that name was made: its token is not dead. Makes older tickets invalid, too. */
void lk_negative_cache_forget(lk_negative_cache *cache, const char *selector);

void lk_negative_cache_empty(lk_negative_cache *cache); /* also makes older tickets invalid */

#endif
