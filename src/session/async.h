/* Validation that never waits, for event loops: what was submitted, asked, answered, and given to reap (async_table.h
 * draws it).
 *
 * A foreign token that this process does not know yet is `unresolved`. Redis is first asked which session it means
 * (resolve.h), in the same slots and states, with its name and verifier in place of a token. Then it is QUEUED again as
 * the token that it stands for, together with those that joined it.
 *
 * In contrast to validate, an answer may lie unread for a while. So whether it may be given is decided when it is
 * taken, as if L1 answered at that moment: nothing was purged on its stripe since it was asked (the ticket), and the
 * server that gave it has the lease (lk_lease_covers_now). Otherwise it is asked once more.
 *
 * Lock: async.lock. It is taken before any other lock; nothing waits under it. */
#ifndef LK_SESSION_ASYNC_H
#define LK_SESSION_ASYNC_H

#include "session/async_table.h"

/* OK; NO_MEMORY; UNAVAILABLE: the process has no more descriptors. */
int lk_async_open(latchkey *lk, lk_async **out);
int lk_async_fd(latchkey *lk, lk_async *async);

/* `foreign` is NULL if the session is known. OK; UNAVAILABLE: all slots are taken. */
int lk_async_submit(latchkey *lk, lk_async *async, const lk_token *token, const lk_foreign *foreign, int64_t max_age_ms,
                    uint64_t tag);
size_t lk_async_reap(latchkey *lk, lk_async *async, latchkey_answer *answers, size_t max);

/* The descriptor is also readable while that one is; once. False: errno says why. May be called from any thread. */
bool lk_async_watch(lk_async *async, int fd);
/* makes the descriptor readable until the next reap; may be called from any thread */
void lk_async_ring(lk_async *async);
void lk_async_close(latchkey *lk, lk_async *async); /* NULL is allowed */
/* in a forked child: closes its copies of the descriptors, and does nothing else */
void lk_async_abandon(lk_async *async);

/* For async_give.c and async_line.c; async.lock is held: */
size_t lk_async_give(latchkey *lk, lk_async *async, latchkey_answer *answers, size_t max, int64_t now_ms);
/* All replies of the slot are there, from that server: the slot is answered, or, if it was an alias, QUEUED again. */
void lk_async_take(latchkey *lk, lk_async *async, lk_async_slot *slot, uint64_t incarnation);
void lk_async_answer(lk_async *async, lk_async_slot *slot, int status, bool as_is); /* and all that joined it */
void lk_async_no_answer(latchkey *lk, lk_async *async, lk_async_slot *slot, const char *why);
int lk_async_known(latchkey *lk, lk_async_slot *slot);     /* what is known here; AGAIN: Redis has to be asked */
void lk_async_queue(lk_async *async, lk_async_slot *slot); /* to be asked anew, together with those that joined it */
void lk_async_mind(lk_async *async, int64_t deadline_ms);  /* something is due then; any thread may do it */

#endif
