/* A channel: a connection that never makes its caller wait, for event loops. Who calls drives it: connecting, greeting,
 * writing, reading, each as far as it goes without waiting. Its descriptor, an epoll, is readable when there is
 * something to go on with: bytes, a connection made, a time, or a bell that others ring.
 *
 *   DOWN --asked for, and retry_at--> CONNECTING --> HELLO --> UP
 *    ^                                    |            |        |
 *    +------------------------------------+------------+--------+  lost: the caller is told, once
 *
 * It locks nothing: its owner does. The bell alone may be rung by any thread. */
#ifndef LK_CHANNEL_H
#define LK_CHANNEL_H

#include "l2/pool.h"

enum lk_channel_state { LK_CHANNEL_DOWN, LK_CHANNEL_CONNECTING, LK_CHANNEL_HELLO, LK_CHANNEL_UP };

typedef struct lk_channel {
    const lk_config *config;
    lk_pool *pool; /* which knows the addresses */
    int epoll_fd, bell_fd, timer_fd;
    bool rung;        /* by the owner, and not heard yet */
    bool shared;      /* somebody else was told of the bell: it may ring at any time, once more than expected, too */
    int64_t armed_ms; /* the timer, 0: not */
    enum lk_channel_state state;
    lk_socket socket;
    lk_conn conn;
    lk_hello hello;
    bool more;   /* the last read brought something: there may be more */
    bool writes; /* the epoll waits for it to become writable */
    lk_addresses addresses;
    unsigned address; /* the one that is tried */
    int64_t until_ms; /* to be UP */
    int64_t retry_at_ms;
    unsigned failures;
    uint64_t random;
    char error[160]; /* why it is DOWN */
} lk_channel;

bool lk_channel_open(lk_channel *channel, const lk_config *config, lk_pool *pool); /* false: no memory, no descriptor */
void lk_channel_close(lk_channel *channel);
void lk_channel_abandon(lk_channel *channel); /* in a forked child: closes its copies of the descriptors, and no more */

/* Makes the descriptor readable, or ends that. */
void lk_channel_ring(lk_channel *channel);
void lk_channel_hush(lk_channel *channel);
/* Readable at that time at the latest; later than another one that was asked for before counts for nothing until that. */
void lk_channel_wake_at(lk_channel *channel, int64_t at_ms);

/* May it be asked now, or soon? Begins to connect where it is DOWN and may. False: it is not to be had now, see `error`. */
bool lk_channel_wanted(lk_channel *channel, int64_t now_ms);

/* Goes on. False: it was lost by that (see `error`), with everything that was asked. */
bool lk_channel_drive(lk_channel *channel, int64_t now_ms);
/* The same for what was appended to conn while UP. */
bool lk_channel_send(lk_channel *channel, int64_t now_ms);
void lk_channel_lose(lk_channel *channel, int64_t now_ms, const char *why);

/* UP: the next reply, with its tag; 0: none yet; -1: lost by that. */
int lk_channel_next(lk_channel *channel, int64_t now_ms, lk_reply **reply);

#endif
