/* A call that may wait for Redis, from its first line to its last: until when it may wait, and one of those that latchkey_drain
 * waits for. What it says to the log is the handle's. A hit is none.
 *
 *     LK_VISIT(visit);                                        at the top of the function: ended wherever that returns
 *     status = lk_begin(lk, token, token_len, &parsed, &visit);         or, without a token:
 *     status = lk_visit_begin(lk, &visit);
 *
 *   (1) a visit adds itself, then looks whether the handle is being drained; drain says so, then waits until there is none. Both
 *       are sequentially consistent, so at least one of the two sees the other. */
#ifndef LK_SESSION_VISIT_H
#define LK_SESSION_VISIT_H

#include "session/handle.h"

typedef struct lk_visit {
    latchkey *lk;       /* NULL: not begun */
    lk_journal *before; /* whose lines this thread's were */
    int64_t deadline_ms;
} lk_visit;

#define LK_VISIT(name) lk_visit name __attribute__((cleanup(lk_visit_end))) = {.lk = NULL}

/* OK, and its deadline, deadline_ms from now; FORKED; UNAVAILABLE: the handle is being drained. Once begun: OK. */
int lk_visit_begin(latchkey *lk, lk_visit *visit);
void lk_visit_end(const lk_visit *visit);

/* What a queue has accepted is a visit from then on (api/workers.c). Its call, in a thread of the handle's, has the time that is left,
 * and goes on while the handle is drained. */
void lk_visit_at(int64_t deadline_ms); /* of this thread's calls from now on; 0: not any more */

/* For what goes on for longer than deadline_ms. */
static inline bool lk_visit_draining(const latchkey *lk) { return atomic_load(&lk->draining); }

#endif
