/* A connection that never makes its caller wait, for event loops. Its caller drives it: connecting, the handshake,
 * writing and reading each go as far as they can without waiting. Its descriptor, an epoll, is readable when there is
 * something to do: bytes, a connection that was made, a time, or a bell that another thread rings.
 *
 *   DOWN --asked for, and retry_at--> CONNECTING --> HELLO --> UP
 *    ^                                    |            |        |
 *    +------------------------------------+------------+--------+  lost: the caller is told, once
 *
 * No lock: its owner has one. Only the bell may be rung by any thread. */
#ifndef LK_L2_ASYNC_CONN_H
#define LK_L2_ASYNC_CONN_H

#include "l2/pool.h"

#include <stdatomic.h>

enum lk_async_conn_state { LK_ASYNC_CONN_DOWN, LK_ASYNC_CONN_CONNECTING, LK_ASYNC_CONN_HANDSHAKE, LK_ASYNC_CONN_UP };

typedef struct lk_async_conn {
    const lk_config *config;
    lk_pool *pool; /* it knows the addresses */
    int epoll_fd, bell_fd, timer_fd;
    int watched_fd; /* another descriptor, see lk_async_conn_watch; -1: none */
    _Atomic uint32_t
        /* rung by another thread, and the owner has not noticed yet. It is no bool, so it does not share a word with
         * the owner's. Sequentially consistent, with the bell's system calls around it */
        rung_from;
    bool rung;   /* by the owner, who has not noticed yet */
    bool shared; /* another thread has the bell's descriptor: it may ring at any time, also once more than expected */
    int64_t armed_ms; /* when the timer runs out, 0: it is off */
    enum lk_async_conn_state state;
    lk_socket socket;
    lk_conn conn;
    lk_handshake hello;
    bool more;   /* the last read returned something: there may be more */
    bool writes; /* the epoll waits for it to become writable */
    lk_addresses addresses;
    unsigned address, tried; /* the address that is tried, and how many were tried before it */
    int64_t up_ms;           /* since when it is UP */
    int64_t heard_ms;        /* when it last answered */
    int64_t until_ms;        /* the time by which it must be UP */
    int64_t retry_at_ms;
    unsigned failures;
    uint64_t random;
    char error[160]; /* why it is DOWN */
} lk_async_conn;

bool lk_async_conn_open(lk_async_conn *channel, const lk_config *config,
                        lk_pool *pool); /* false: no memory, or no descriptor; errno says which */
void lk_async_conn_close(lk_async_conn *channel);
void lk_async_conn_abandon(
    lk_async_conn *channel); /* in a forked child: closes its copies of the descriptors, and does nothing else */

/* Makes the descriptor readable, or ends that. */
void lk_async_conn_ring(lk_async_conn *channel);
/* The descriptor is also readable while that one is. Only one, until this connection is closed. False: errno says why. */
bool lk_async_conn_watch(lk_async_conn *channel, int fd);
void lk_async_conn_hush(lk_async_conn *channel);
void lk_async_conn_ring_from(lk_async_conn *channel); /* may be called from any thread */
/* May the bell have been rung? */
static inline bool lk_async_conn_rung(const lk_async_conn *channel)
{
    return channel->rung || channel->shared || atomic_load_explicit(&channel->rung_from, memory_order_seq_cst);
}
/* Makes it readable at that time at the latest. If an earlier time was set before, that one comes first. */
void lk_async_conn_wake_at(lk_async_conn *channel, int64_t at_ms);

/* May it be asked now, or soon? If it is DOWN and may connect, it begins to. False: there cannot be one now, see
 * `error`. */
bool lk_async_conn_wanted(lk_async_conn *channel, int64_t now_ms);

/* Does what can be done. False: the connection was lost by that (see `error`), with everything that was asked. */
bool lk_async_conn_drive(lk_async_conn *channel, int64_t now_ms);
/* The same for what was appended to conn while UP. */
bool lk_async_conn_send(lk_async_conn *channel, int64_t now_ms);
void lk_async_conn_lose(lk_async_conn *channel, int64_t now_ms, const char *why);

/* UP: the next reply, with its tag; 0: none yet; -1: the connection was lost by that. */
int lk_async_conn_next(lk_async_conn *channel, int64_t now_ms, lk_reply **reply);

#endif
