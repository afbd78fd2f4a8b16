/* A line: one connection to Redis, shared by callers who wait for their own answers.
 *
 *   caller A --append--> [out] --send--+                     +--recv--> A's replies: A is done, and hands over to B
 *   caller B --append--> [out]         |--> Redis -->        |          B's, C's: they are woken
 *   caller C --append--> [out] --------+ (together)          |
 *
 * Who finds nobody driving, drives: sends what was appended, by whomever, and reads; the first reply awaited is his, since
 * Redis keeps the order. What is appended while he waits goes out in one piece when his answer is there, by his hand, and
 * who is first now drives on. So no thread of the library's is in between, an idle line costs its caller what a bare
 * connection does, and under load one system call, here and in Redis, serves many.
 *
 * Guarantee I: each awaited reply carries the number of the slot of its caller. A caller whose deadline passes behind
 * others takes his name off his slot, and its replies are thrown away. Where the first one's passes, or anything breaks,
 * the line is lost: all on it are told so, and it is never used again. */
#ifndef LK_L2_MUX_H
#define LK_L2_MUX_H

#include "redis/handshake.h"
#include "redis/net.h"
#include "base/park.h"
#include "base/lock.h"

#include <pthread.h>

enum { LK_MUX_SLOTS = 256 };

typedef struct lk_call {
    const lk_span *words;
    size_t count;
} lk_call;

enum lk_exchange_state { LK_EXCHANGE_WAITS, LK_EXCHANGE_DRIVES, LK_EXCHANGE_DONE, LK_EXCHANGE_LOST };

/* Calls that belong together, their replies, and who waits for them: on the caller's stack. */
typedef struct lk_exchange {
    const lk_call *calls;
    size_t count;
    lk_reply **replies; /* `count` of them, the caller's once all are there */
    int64_t deadline_ms;
    /* the line's, written under its lock: */
    size_t got;
    _Atomic int state;        /* release; acquired without the lock by who was told, who then sees `replies` */
    struct lk_exchange *next; /* of those to be told */
    lk_park told;             /* of the end, or of the turn to drive; once, and the waiter stays until it was */
} lk_exchange;

typedef struct lk_mux {
    lk_lock lock;
    /* guarded by lock, but for the socket and conn.resp, which are the driver's: */
    lk_conn conn;
    lk_socket socket;
    lk_exchange *slot[LK_MUX_SLOTS], *driver;
    lk_exchange *telling; /* those who are to be told once the lock is given back, so that they need not wait for it */
    bool taken[LK_MUX_SLOTS]; /* also where the caller has left, until its replies came */
    bool lost;
    char error[160]; /* why */
    /* constant: */
    uint64_t incarnation; /* of the server at the other end */
    /* the pool's, guarded by its lock: */
    unsigned generation; /* of the pool when the line was opened */
    unsigned users;      /* callers that are on it or on the way to it */
    bool alone;          /* and want to be the only one */
    bool retired;        /* nobody else is to come */
    uint64_t used;       /* when: a number that only grows */
    int64_t heard_ms;    /* when it answered last, */
    bool probing;        /* and it is used for the first time after a while: nobody knows whether it still does */
} lk_mux;

/* Connects and greets. OK; UNAVAILABLE, CONFIG or NO_MEMORY, and why. */
int lk_mux_open(const lk_config *config, lk_addresses *addresses, int64_t deadline_ms, lk_mux **out, char *error,
                size_t error_size);
void lk_mux_close(lk_mux *line); /* nobody is on it */

/* Is it still of use, after a time of idling? */
bool lk_mux_good(lk_mux *line);

enum lk_mux_end {
    LK_MUX_DONE,
    LK_MUX_LATE,      /* the deadline passed */
    LK_MUX_LOST,      /* the connection broke */
    LK_MUX_GONE,      /* it was lost before anything was sent: nothing happened */
    LK_MUX_FULL,      /* the same, for want of a slot */
    LK_MUX_NO_MEMORY, /* the same, for want of memory */
};

/* `told` is made by the line where it is needed. On any end but DONE no reply is left. */
enum lk_mux_end lk_mux_exchange(lk_mux *line, lk_exchange *x, char *error, size_t error_size);

#endif
