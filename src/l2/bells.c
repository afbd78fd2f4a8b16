/* See bells.h. */
#include "l2/bells.h"

#include "base/wake.h"

void lk_bells_open(lk_bells *b)
{
    b->count = 0;
    lk_lock_open(&b->lock, LK_RANK_NODE);
}

void lk_bells_close(lk_bells *b) { lk_lock_close(&b->lock); }

static unsigned place_locked(const lk_bells *b, int fd)
{
    unsigned i = 0;
    lk_lock_assert(&b->lock);
    while (i < b->count && b->fd[i] != fd) i++;
    return i;
}

void lk_bells_wait(lk_bells *b, int fd)
{
    lk_lock_take(&b->lock);
    unsigned i = place_locked(b, fd);
    if (i == LK_BELLS_MAX) lk_raise(fd);
    else b->fd[i] = fd;
    if (i == b->count && i < LK_BELLS_MAX) b->count++;
    lk_lock_give(&b->lock);
}

void lk_bells_leave(lk_bells *b, int fd)
{
    lk_lock_take(&b->lock);
    unsigned i = place_locked(b, fd);
    if (i < b->count) b->fd[i] = b->fd[--b->count];
    lk_lock_give(&b->lock);
}

void lk_bells_ring(lk_bells *b)
{
    lk_lock_take(&b->lock);
    while (b->count) lk_raise(b->fd[--b->count]);
    lk_lock_give(&b->lock);
}
