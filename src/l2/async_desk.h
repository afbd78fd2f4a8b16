/* What an event loop polls: one descriptor, an epoll, that is readable when there is something to do. In it are the
 * sockets of connections (async_conn.h), a timer for what is due without news, and a bell that any thread may ring.
 *
 * No lock: its owner has one. Only the bell may be rung by any thread. */
#ifndef LK_L2_ASYNC_DESK_H
#define LK_L2_ASYNC_DESK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct lk_async_desk {
    int epoll_fd, bell_fd, timer_fd;
    int watched_fd; /* another descriptor, see lk_async_desk_watch; -1: none */
    /* rung by another thread, and the owner has not noticed yet. It is no bool, so it does not share a word with the
     * owner's. Sequentially consistent, with the bell's system calls around it */
    _Atomic uint32_t rung_from;
    bool rung;   /* by the owner, who has not noticed yet */
    bool shared; /* another thread has the bell's descriptor: it may ring at any time, also once more than expected */
    int64_t armed_ms; /* when the timer runs out, 0: it is off */
} lk_async_desk;

bool lk_async_desk_open(lk_async_desk *desk); /* false: no memory, or no descriptor; errno says which */
/* Its connections are closed before. */
void lk_async_desk_close(lk_async_desk *desk);
void lk_async_desk_abandon(
    lk_async_desk *desk); /* in a forked child: closes its copies of the descriptors, and does nothing else */

/* Makes the descriptor readable, or ends that. */
void lk_async_desk_ring(lk_async_desk *desk);
void lk_async_desk_hush(lk_async_desk *desk);
void lk_async_desk_ring_from(lk_async_desk *desk); /* may be called from any thread */
/* May the bell have been rung? */
static inline bool lk_async_desk_rung(const lk_async_desk *desk)
{
    return desk->rung || desk->shared || atomic_load_explicit(&desk->rung_from, memory_order_seq_cst);
}
/* The descriptor is also readable while that one is. Only one, until the desk is closed. False: errno says why. */
bool lk_async_desk_watch(lk_async_desk *desk, int fd);

/* Makes it readable at that time at the latest. If an earlier time was set before, that one comes first. */
void lk_async_desk_wake_at(lk_async_desk *desk, int64_t at_ms);
/* The time may have come: if so, the timer is off. What still needs it sets it again. */
void lk_async_desk_hear(lk_async_desk *desk, int64_t now_ms);

/* For connections: a socket begins to be watched for these events (EPOLLIN...), or for others than before. False: no
 * memory. */
bool lk_async_desk_begin(const lk_async_desk *desk, int fd, uint32_t events);
bool lk_async_desk_change(const lk_async_desk *desk, int fd, uint32_t events);
/* A closed descriptor leaves an epoll by itself only if no other process has it: a forked child may have a copy. Then the
 * epoll would report it for ever, and could not be told to stop. So: before it is closed. */
void lk_async_desk_end(const lk_async_desk *desk, int fd);

#endif
