/* How a thread waits for descriptors, and the eventfd that wakes it. */
#ifndef LK_BASE_WAKE_H
#define LK_BASE_WAKE_H

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>
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

/* poll(2). False: nothing can be waited for (RLIMIT_NOFILE was set below `count`, or the kernel has no memory), and
 * errno says why. The thread has slept for a moment then, so that its loop does not spin. */
static inline bool lk_poll(struct pollfd *of, nfds_t count, int64_t wait_ms)
{
    static const struct timespec moment = {.tv_nsec = 10 * 1000 * 1000};
    if (poll(of, count, wait_ms > 0 ? (int)wait_ms : 0) >= 0) return true;
    for (nfds_t i = 0; i < count; i++) of[i].revents = 0;
    if (errno == EINTR || errno == EAGAIN) return true;
    int why = errno;
    nanosleep(&moment, NULL);
    errno = why;
    return false;
}

#endif
