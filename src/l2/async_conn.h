/* A channel: a connection that never makes its caller wait, for event loops. Who calls drives it: connecting, greeting,
 * writing, reading, each as far as it goes without waiting. Its descriptor, an epoll, is readable when there is
 * something to go on with: bytes, a connection made, a time, or a bell that others ring.
 *
 *   DOWN --asked for, and retry_at--> CONNECTING --> HELLO --> UP
 *    ^                                    |            |        |
 *    +------------------------------------+------------+--------+  lost: the caller is told, once
 *
 * It locks nothing: its owner does. The bell alone may be rung by any thread. */
#ifndef LK_L2_ASYNC_CONN_H
#define LK_L2_ASYNC_CONN_H

#include "l2/pool.h"

#include <stdatomic.h>

enum lk_async_conn_state { LK_ASYNC_CONN_DOWN, LK_ASYNC_CONN_CONNECTING, LK_ASYNC_CONN_HANDSHAKE, LK_ASYNC_CONN_UP };

typedef struct lk_async_conn {
    const lk_config *config;
    lk_pool *pool; /* which knows the addresses */
    int epoll_fd, bell_fd, timer_fd;
    int watched_fd; /* somebody else's, see lk_async_conn_watch; -1: none */
    _Atomic uint32_t
        rung_from; /* by another thread, and not heard yet. No bool: it does not share a word with those of the owner */
    bool rung;     /* by the owner, and not heard yet */
    bool shared;   /* somebody else was told of the bell: it may ring at any time, once more than expected, too */
    int64_t armed_ms; /* the timer, 0: not */
    enum lk_async_conn_state state;
    lk_socket socket;
    lk_conn conn;
    lk_handshake hello;
    bool more;   /* the last read brought something: there may be more */
    bool writes; /* the epoll waits for it to become writable */
    lk_addresses addresses;
    unsigned address, tried; /* the one that is tried, and how many were before it */
    int64_t up_ms;           /* since when it is UP */
    int64_t heard_ms;        /* when it answered last */
    int64_t until_ms;        /* to be UP */
    int64_t retry_at_ms;
    unsigned failures;
    uint64_t random;
    char error[160]; /* why it is DOWN */
} lk_async_conn;

bool lk_async_conn_open(lk_async_conn *channel, const lk_config *config,
                        lk_pool *pool); /* false: no memory, or no descriptor; errno says which */
void lk_async_conn_close(lk_async_conn *channel);
void lk_async_conn_abandon(
    lk_async_conn *channel); /* in a forked child: closes its copies of the descriptors, and no more */

/* Makes the descriptor readable, or ends that. */
void lk_async_conn_ring(lk_async_conn *channel);
/* The descriptor is readable while that one is, too. One, until the channel is closed. False: errno says why. */
bool lk_async_conn_watch(lk_async_conn *channel, int fd);
void lk_async_conn_hush(lk_async_conn *channel);
void lk_async_conn_ring_from(lk_async_conn *channel); /* from any thread */
/* May the bell have been rung? */
static inline bool lk_async_conn_rung(const lk_async_conn *channel)
{
    return channel->rung || channel->shared || atomic_load(&channel->rung_from);
}
/* Readable at that time at the latest; later than another one that was asked for before counts for nothing until that. */
void lk_async_conn_wake_at(lk_async_conn *channel, int64_t at_ms);

/* May it be asked now, or soon? Begins to connect where it is DOWN and may. False: it is not to be had now, see `error`. */
bool lk_async_conn_wanted(lk_async_conn *channel, int64_t now_ms);

/* Goes on. False: it was lost by that (see `error`), with everything that was asked. */
bool lk_async_conn_drive(lk_async_conn *channel, int64_t now_ms);
/* The same for what was appended to conn while UP. */
bool lk_async_conn_send(lk_async_conn *channel, int64_t now_ms);
void lk_async_conn_lose(lk_async_conn *channel, int64_t now_ms, const char *why);

/* UP: the next reply, with its tag; 0: none yet; -1: lost by that. */
int lk_async_conn_next(lk_async_conn *channel, int64_t now_ms, lk_reply **reply);

#endif
