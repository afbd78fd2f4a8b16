/* Revocations that Redis has not confirmed. A session in here is denied on this handle, whatever L2 says. The link
 * takes revocations from here and repeats them until Redis has them. Bounded. Lock: pending.lock, taken under no other
 * lock. */
#ifndef LK_REVOCATION_PENDING_H
#define LK_REVOCATION_PENDING_H

#include "base/token.h"
#include "revocation/recent.h"

/* A token that is not proven takes a place, too: an attacker may send invented tokens to the logout during an outage.
 * They must not take the places of real ones. So as many places are kept for sessions that L1 held, or that this handle
 * made. And logins that are not answered must not take the places of logouts: doubtful ones have places of their own. */
enum {
    LK_PENDING_UNPROVEN_MAX = 4096,
    LK_PENDING_DOUBTFUL_MAX = LK_PENDING_UNPROVEN_MAX / 4,
    LK_PENDING_MAX = 2 * LK_PENDING_UNPROVEN_MAX + LK_PENDING_DOUBTFUL_MAX,
    LK_PENDING_CALLS = 4,
    LK_PENDING_CALL = 18
};

typedef struct lk_pending_item {
    unsigned partition;
    char selector[LATCHKEY_SELECTOR_LENGTH];
    uint8_t verifier_hash[LK_HASH_SIZE];
    bool held; /* L1 held the session: see revoke.lua */
    /* the call gave up: the link goes on. False: the call is still under way, and the session is denied meanwhile */
    bool retry;
    bool silent;   /* its end is not logged as an event, because its beginning was not */
    bool doubtful; /* no answer came when it was made: it may not be there */
    /* For events (events.h). The event's text, once a run has ended the session. And the numbers of the calls whose
     * answers were lost, each in hexadecimal behind a space: any of them may have ended it. */
    char told[48], calls[LK_PENDING_CALLS * LK_PENDING_CALL];
    int64_t ran_ms;     /* when a link's script ran, if its replicas are still waited for; 0: it has not run yet */
    const void *ran_by; /* which link's */
} lk_pending_item;

typedef struct lk_pending lk_pending;

/* `recent` (may be NULL) must live longer. `unproven`: how many places there are for what is not proven, LK_PENDING_UNPROVEN_MAX at most; there
 * are as many for what is, and a quarter for what is doubtful. NULL: no memory. */
lk_pending *lk_pending_open(lk_recent *recent, unsigned unproven);
void lk_pending_close(lk_pending *pending);

/* If there is an equal item, the two are joined. False: there is no place. */
bool lk_pending_add(lk_pending *pending, const lk_pending_item *item);
void lk_pending_remove(lk_pending *pending, const lk_pending_item *item);
/* the same, unless the item is to be retried */
void lk_pending_withdraw(lk_pending *pending, const lk_pending_item *item);

/* Redis has it: the link ran the item that lk_pending_next gave, and run->told is what the script said. Removes it, and
 * *was is the item as it was. False: it stays for another run, because more calls joined it meanwhile; or an earlier
 * run's answer has removed it. */
bool lk_pending_done(lk_pending *pending, const lk_pending_item *run, lk_pending_item *was);

/* Is this very token (selector and verifier) denied? Tokens of sessions that `recent` knows to be ended are denied too.
 * One load each if there are none. */
bool lk_pending_has(lk_pending *pending, const lk_token *token);
/* The same without `recent`: only revocations of this handle that wait for Redis. They deny the session under any lease
 * or none (B). A confirmed revocation is a "no" as Redis' own is, and needs the lease (A). */
bool lk_pending_holds(lk_pending *pending, const lk_token *token);
bool lk_pending_denies(lk_pending *pending, const lk_pending_item *item); /* the same by the item */
/* As lk_pending_has, of any token with this selector. */
bool lk_pending_names(lk_pending *pending, const char *selector);

size_t lk_pending_retries(lk_pending *pending); /* how many are to be retried */
size_t lk_pending_sure(lk_pending *pending);    /* those without the doubtful ones: what applications are told */

/* Where a later beat decides (node_side.c), in place of lk_pending_done. `by` stands for a link. lk_pending_ran: the script
 * ran on that link's connection, and item->told is what it said. lk_pending_settle: its server had the lease at before_ms,
 * and every replica that is needed holds what it wrote before that. It removes one item that ran by then at each call, and returns false when there is none left.
 * lk_pending_unsettle: the connection is gone, so nothing is known to have run there. */
void lk_pending_ran(lk_pending *pending, const lk_pending_item *item, int64_t now_ms, const void *by);
bool lk_pending_settle(lk_pending *pending, int64_t before_ms, const void *by, lk_pending_item *was);
void lk_pending_unsettle(lk_pending *pending, const void *by);

/* The next item to be retried at or behind *cursor, which moves past it. False: there is none left. */
bool lk_pending_next(lk_pending *pending, size_t *cursor, lk_pending_item *item);

#endif
