/* A visit: a call that may wait for Redis, from its first line to its last. It has a time until which it may wait, and
 * latchkey_drain waits for it. What it logs belongs to the handle. A hit is not a visit.
 *
 *     LK_VISIT(visit);                                        at the top of the function: it ends wherever that returns
 *     status = lk_begin(lk, token, token_len, &parsed, &visit);         or, without a token:
 *     status = lk_visit_begin(lk, &visit);
 *
 *   (1) A visit adds itself, then reads whether the handle is being drained. Drain sets that, then waits until there is no visit. Each
 *       side writes its own word and then reads the other's, so both are sequentially consistent: at least one sees the other. */
#ifndef LK_SESSION_VISIT_H
#define LK_SESSION_VISIT_H

#include "session/handle.h"

typedef struct lk_visit {
    latchkey *lk;       /* NULL: not begun */
    lk_journal *before; /* the journal that this thread's lines went to before */
    int64_t deadline_ms;
} lk_visit;

#define LK_VISIT(name) lk_visit name __attribute__((cleanup(lk_visit_end))) = {.lk = NULL}

/* OK, and visit->deadline_ms is deadline_ms from now; FORKED; UNAVAILABLE: the handle is being drained. OK if it was
 * begun already. */
int lk_visit_begin(latchkey *lk, lk_visit *visit);
void lk_visit_end(const lk_visit *visit);

/* A request that a queue has accepted is a visit from then on (api/writes.c). Its call, in a thread of the handle's,
 * has the time that is left, and goes on while the handle is drained. */
void lk_visit_at(int64_t deadline_ms); /* for this thread's calls from now on; 0: no longer */

/* For calls that last longer than deadline_ms. */
static inline bool lk_visit_draining(const latchkey *lk)
{
    return atomic_load_explicit(&lk->draining, memory_order_seq_cst);
}

#endif
