/* A connection that never makes its caller wait, for event loops. Its caller drives it: connecting, the handshake,
 * writing and reading each go as far as they can without waiting. Its desk (async_desk.h) is readable when there is
 * something to do: bytes, a connection that was made, or a time.
 *
 *   DOWN --asked for, and retry_at--> CONNECTING --> HELLO --> UP
 *    ^                                    |            |        |
 *    +------------------------------------+------------+--------+  lost: the caller is told, once
 *
 * No lock: its owner has one. */
#ifndef LK_L2_ASYNC_CONN_H
#define LK_L2_ASYNC_CONN_H

#include "l2/async_desk.h"
#include "l2/pool.h"

enum lk_async_conn_state { LK_ASYNC_CONN_DOWN, LK_ASYNC_CONN_CONNECTING, LK_ASYNC_CONN_HANDSHAKE, LK_ASYNC_CONN_UP };

typedef struct lk_async_conn {
    lk_async_desk *desk; /* which its socket is in */
    const lk_config *config;
    lk_pool *pool; /* it knows the addresses */
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

void lk_async_conn_open(lk_async_conn *channel, lk_async_desk *desk, const lk_config *config, lk_pool *pool);
void lk_async_conn_close(lk_async_conn *channel);
void lk_async_conn_abandon(
    lk_async_conn *channel); /* in a forked child: closes its copy of the descriptor, and no more */

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
