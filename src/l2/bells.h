/* The bells: eventfds of queues that wait for a lease without a thread. Each is raised once, when the next lease is
 * confirmed, by whichever node. Lock: bells.lock, taken under async.lock or alone. A bell that was removed is never
 * raised again, so its descriptor may be closed. */
#ifndef LK_L2_BELLS_H
#define LK_L2_BELLS_H

#include "base/lock.h"

enum { LK_BELLS_MAX = 64 };

typedef struct lk_bells {
    lk_lock lock;
    /* guarded by lock: */
    int fd[LK_BELLS_MAX];
    unsigned count;
} lk_bells;

void lk_bells_open(lk_bells *bells);
void lk_bells_close(lk_bells *bells);

/* if there is no place for it, it is raised at once, and its queue looks again */
void lk_bells_wait(lk_bells *bells, int fd);
void lk_bells_leave(lk_bells *bells, int fd);
void lk_bells_ring(lk_bells *bells);

#endif
