/* validate without waiting, for event loops: what was submitted, asked, answered, and given to reap (async_table.h draws it).
 *
 * A foreign token that this process does not know yet is `unresolved`: Redis is asked which session it means first (resolve.h),
 * in the same slots and states, under its name and verifier in the place of a token. Once that is known it is QUEUED again as
 * the token that it stands for, and those that joined it with it.
 *
 * What differs from validate is that an answer may lie unread for a while. So whether it may be given is decided when it is
 * taken, as if L1 had answered then: nothing was purged on its stripe since it was asked (the ticket), and the server that gave
 * it has the lease (lk_node_lease_covers_now). If something was purged, or it is not that server, it is asked once more.
 *
 * Lock: async.lock, taken before any other and never under one; nothing under it waits. */
#ifndef LK_SESSION_ASYNC_H
#define LK_SESSION_ASYNC_H

#include "session/async_table.h"

/* OK; NO_MEMORY; UNAVAILABLE: the process may have no more descriptors. */
int lk_async_open(latchkey *lk, lk_async **out);
int lk_async_fd(lk_async *async);

/* `foreign` is NULL where the session is known. OK; UNAVAILABLE: all slots are taken. */
int lk_async_submit(latchkey *lk, lk_async *async, const lk_token *token, const lk_foreign *foreign, int64_t max_age_ms,
                    uint64_t tag);
size_t lk_async_reap(latchkey *lk, lk_async *async, latchkey_answer *answers, size_t max);

/* The descriptor is readable while that one is, too; once. False: errno says why. Any thread */
bool lk_async_watch(lk_async *async, int fd);
void lk_async_ring(lk_async *async);                /* makes the descriptor readable until the next reap. Any thread */
void lk_async_close(latchkey *lk, lk_async *async); /* NULL is allowed */
void lk_async_abandon(lk_async *async); /* in a forked child: closes its copies of the descriptors, and no more */

/* For async_give.c: */
size_t lk_async_give(latchkey *lk, lk_async *async, latchkey_answer *answers, size_t max, int64_t now_ms);
int lk_async_known(latchkey *lk, lk_async_slot *slot);     /* as far as that goes; AGAIN: Redis has to be asked */
void lk_async_queue(lk_async *async, lk_async_slot *slot); /* to be asked anew; what is joined to it stays so */
void lk_async_mind(lk_async *async,
                   int64_t deadline_ms); /* at that time something is to be done, whichever thread does it */

#endif
