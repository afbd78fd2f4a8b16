/* A queue's own state, and the queues of a handle. */
#ifndef LK_API_QUEUE_H
#define LK_API_QUEUE_H

#include "session/async.h"

struct latchkey_queue {
    latchkey *lk;
    lk_async *async; /* validations */
    _Atomic int64_t
        writes; /* of other kinds (writes.h), from submit until reap; written under writes.lock, which guards: */
    struct lk_write *done, **done_last;
};

/* The handle's own: made by who needs it first. OK; NO_MEMORY; UNAVAILABLE where the process may have no more descriptors. */
int lk_queue_own(latchkey *lk, latchkey_queue **out);

/* The same without making it: NULL. */
static inline latchkey_queue *lk_queue_made(const latchkey *lk)
{
    return atomic_load_explicit(&lk->queue[0], memory_order_acquire);
}

/* A validation. Statuses as latchkey_submit. */
int lk_queue_validate(latchkey_queue *q, const char *token, size_t token_len, int64_t max_age_ms, uint64_t tag);

/* All of them. The link has ended; or, abandon, this is a forked child: it closes its copies of the descriptors, and no more. */
void lk_queues_close(latchkey *lk);
void lk_queues_abandon(latchkey *lk);

#endif
