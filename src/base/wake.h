/* An eventfd that wakes a polling thread. */
#ifndef LK_BASE_WAKE_H
#define LK_BASE_WAKE_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

/* False: it could not be raised. If the counter is full (EAGAIN), it is raised already. */
static inline bool lk_raise(int event_fd)
{
    uint64_t one = 1;
    ssize_t wrote;
    do wrote = write(event_fd, &one, sizeof one);
    while (wrote < 0 && errno == EINTR);
    return wrote >= 0 || errno == EAGAIN;
}

#endif
