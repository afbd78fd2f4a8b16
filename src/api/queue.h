/* The state of a queue, and the queues of a handle. */
#ifndef LK_API_QUEUE_H
#define LK_API_QUEUE_H

#include "session/async.h"

struct latchkey_queue {
    latchkey *lk;
    lk_async *async; /* validations */
    /* writes (writes.h), from submit until reap. Written under writes.lock; read without it, relaxed: a stale number is
     * corrected at the next ring */
    _Atomic int64_t writes;
    struct lk_write *done, **done_last; /* guarded by writes.lock */
};

/* The handle's own: made when it is first needed. OK; NO_MEMORY; UNAVAILABLE: the process has no more descriptors. */
int lk_queue_own(latchkey *lk, latchkey_queue **out);

/* The same without making it: NULL if there is none. Acquire, with the release in lk_queue_own: all of it is seen. */
static inline latchkey_queue *lk_queue_made(const latchkey *lk)
{
    return atomic_load_explicit(&lk->queue[0], memory_order_acquire);
}

/* A validation. Statuses as latchkey_submit. */
int lk_queue_validate(latchkey_queue *q, const char *token, size_t token_len, int64_t max_age_ms, uint64_t tag);

/* All queues. close: the link has ended. abandon: this is a forked child; it closes its copies of the descriptors, and
 * does nothing else. */
void lk_queues_close(latchkey *lk);
void lk_queues_abandon(latchkey *lk);

#endif
