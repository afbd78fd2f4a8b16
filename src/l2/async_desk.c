/* See async_desk.h. */
#include "l2/async_desk.h"

#include "base/clock.h"
#include "base/wake.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

static bool control(const lk_async_desk *d, int fd, int how, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    return fd >= 0 && epoll_ctl(d->epoll_fd, how, fd, &event) == 0;
}

bool lk_async_desk_begin(const lk_async_desk *d, int fd, uint32_t events)
{
    return control(d, fd, EPOLL_CTL_ADD, events);
}

bool lk_async_desk_change(const lk_async_desk *d, int fd, uint32_t events)
{
    return control(d, fd, EPOLL_CTL_MOD, events);
}

void lk_async_desk_end(const lk_async_desk *d, int fd)
{
    if (d->epoll_fd >= 0) control(d, fd, EPOLL_CTL_DEL, 0);
}

bool lk_async_desk_open(lk_async_desk *d)
{
    memset(d, 0, sizeof *d);
    d->watched_fd = -1;
    d->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    d->bell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    d->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (d->epoll_fd >= 0 && lk_async_desk_begin(d, d->bell_fd, EPOLLIN) && lk_async_desk_begin(d, d->timer_fd, EPOLLIN))
        return true;
    int why = errno;
    lk_async_desk_close(d);
    errno = why;
    return false;
}

void lk_async_desk_close(lk_async_desk *d)
{
    /* The epoll itself may be in one of the application's, and a child may have a copy of it: it must not report
     * anything any more. */
    lk_async_desk_end(d, d->bell_fd);
    lk_async_desk_end(d, d->timer_fd);
    lk_async_desk_end(d, d->watched_fd);
    lk_async_desk_abandon(d);
}

void lk_async_desk_abandon(lk_async_desk *d)
{
    const int all[] = {d->epoll_fd, d->bell_fd, d->timer_fd};
    for (int i = 0; i < 3; i++)
        if (all[i] >= 0) close(all[i]);
}

/* ------------------------------------------------------------------------------------- being readable -- */

void lk_async_desk_ring(lk_async_desk *d)
{
    uint64_t one = 1;
    if (d->rung) return;
    d->rung = true;
    while (write(d->bell_fd, &one, sizeof one) < 0 && errno == EINTR) continue;
}

void lk_async_desk_hush(lk_async_desk *d)
{
    uint64_t times;
    d->rung = false;
    atomic_store_explicit(&d->rung_from, 0, memory_order_seq_cst);
    while (read(d->bell_fd, &times, sizeof times) < 0 && errno == EINTR) continue;
}

bool lk_async_desk_watch(lk_async_desk *d, int fd)
{
    if (d->watched_fd < 0 && lk_async_desk_begin(d, fd, EPOLLIN)) d->watched_fd = fd;
    return d->watched_fd == fd;
}

/* The bell is rung before the flag is set. If the owner hushes it in between, it only looks once more than needed. In
 * the other order the bell might go on ringing without being noticed. */
void lk_async_desk_ring_from(lk_async_desk *d)
{
    lk_raise(d->bell_fd);
    atomic_store_explicit(&d->rung_from, 1, memory_order_seq_cst);
}

static void set_timer(lk_async_desk *d, int64_t at_ms)
{
    struct itimerspec at = {.it_value = {.tv_sec = at_ms / 1000, .tv_nsec = at_ms % 1000 * 1000000}};
    timerfd_settime(d->timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
    d->armed_ms = at_ms;
}

void lk_async_desk_wake_at(lk_async_desk *d, int64_t at_ms)
{
    if (!d->armed_ms || at_ms < d->armed_ms) set_timer(d, at_ms);
}

void lk_async_desk_hear(lk_async_desk *d, int64_t now_ms)
{
    if (d->armed_ms && now_ms >= d->armed_ms) set_timer(d, 0);
}
