/* Revocations that Redis has not confirmed. A session in here is denied on this handle whatever L2 says; the link takes
 * them from here and tries again until Redis has them. Bounded; a lock of its own, called under no other. */
#ifndef LK_REVOCATION_PENDING_H
#define LK_REVOCATION_PENDING_H

#include "base/token.h"
#include "revocation/recent.h"

/* A token that nothing has proven takes a place, too. Invented tokens that are shown to logout in an outage must not take the
 * places of real ones: so half of the places are kept for sessions that L1 held, or that this handle made. */
enum {
    LK_PENDING_UNPROVEN_MAX = 4096,
    LK_PENDING_MAX = 2 * LK_PENDING_UNPROVEN_MAX,
    LK_PENDING_CALLS = 4,
    LK_PENDING_CALL = 18
};

typedef struct lk_pending_item {
    unsigned partition;
    char selector[LATCHKEY_SELECTOR_LENGTH];
    uint8_t verifier_hash[LK_HASH_SIZE];
    bool held;   /* L1 held it: see revoke.lua */
    bool retry;  /* its revoke gave up: the link goes on. Else the call is still under way, and denies meanwhile */
    bool silent; /* its end is no event: nobody was told of its beginning */
    /* For events (events.h). What is to be said once it is done with, if a run ended it; and the numbers of the calls whose
     * answers were lost, each in hexadecimal behind a space: any of them may have ended it. */
    char told[48], calls[LK_PENDING_CALLS * LK_PENDING_CALL];
    int64_t ran_ms; /* the link's script ran by then, and its replicas are waited for; 0: it has yet to run */
} lk_pending_item;

typedef struct lk_pending lk_pending;

/* `recent` (may be NULL) must outlive it. NULL: no memory. */
lk_pending *lk_pending_open(lk_recent *recent);
void lk_pending_close(lk_pending *pending);

/* Joins an equal item. False: there is no place for it. */
bool lk_pending_add(lk_pending *pending, const lk_pending_item *item);
void lk_pending_remove(lk_pending *pending, const lk_pending_item *item);
void lk_pending_withdraw(lk_pending *pending, const lk_pending_item *item); /* the same, unless it is to be retried */

/* Redis has it: the link ran what lk_pending_next gave, run->told is what that said. Removes it, and *was is what it was.
 * False: it stays, for another run, since more calls came into it meanwhile; or an earlier run's answer has removed it. */
bool lk_pending_done(lk_pending *pending, const lk_pending_item *run, lk_pending_item *was);

/* Is this very token (selector and verifier) denied? Is any token of this selector? Also what `recent` knows to be ended is. One
 * load each while there are none. */
bool lk_pending_has(lk_pending *pending, const lk_token *token);
/* Without what `recent` knows: a revocation of this handle's own that waits for Redis denies whatever the lease is (B). What was
 * confirmed is a "no" as Redis' own is: it needs the lease (A). */
bool lk_pending_holds(lk_pending *pending, const lk_token *token);
bool lk_pending_denies(lk_pending *pending, const lk_pending_item *item); /* the same by the item */
bool lk_pending_names(lk_pending *pending, const char *selector);

size_t lk_pending_retries(lk_pending *pending); /* how many are to be retried */

/* With `durability`, in place of lk_pending_done. The script ran, on the link's connection, and item->told is what it said.
 * Every replica asked for holds what was written before before_ms: what ran by then is done with, one of them at each call,
 * until it returns false. The connection is gone: nothing is known to have run. */
void lk_pending_ran(lk_pending *pending, const lk_pending_item *item, int64_t now_ms);
bool lk_pending_settle(lk_pending *pending, int64_t before_ms, lk_pending_item *was);
void lk_pending_unsettle(lk_pending *pending);

/* The next item to be retried at or behind *cursor, which moves past it; false: none is left. */
bool lk_pending_next(lk_pending *pending, size_t *cursor, lk_pending_item *item);

#endif
