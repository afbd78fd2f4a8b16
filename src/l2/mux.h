/* One connection to Redis, shared by callers that each wait for their own answer.
 *
 *   caller A --append--> [out] --send--+                     +--recv--> A's replies: A is done, and hands over to B
 *   caller B --append--> [out]         |--> Redis -->        |          B's, C's: they are woken
 *   caller C --append--> [out] --------+ (together)          |
 *
 * A caller that finds no driver becomes the driver. It sends what was appended, by any caller, and reads. Redis keeps
 * the order, so the first reply that is awaited is its own. What is appended while it waits is sent in one piece when
 * its answer is there; it does that before it leaves, and the caller that is first then drives on. So no thread of the
 * library is in between: an idle connection costs its caller what a bare one does, and under load one system call, here
 * and in Redis, serves many.
 *
 * Guarantee I: each awaited reply carries the number of its caller's slot. If a caller's deadline passes while others
 * are before it, it takes its name off its slot, and its replies are dropped. If the deadline of the first one passes,
 * or anything breaks, the connection is lost: all callers on it are told, and it is never used again.
 *
 * Lock: mux.lock; it is not held while waiting and receiving. */
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

/* Calls that belong together, and their replies: on the stack of the caller that waits for them. */
typedef struct lk_exchange {
    const lk_call *calls;
    size_t count;
    lk_reply **replies; /* `count` of them; the caller frees them once all are there */
    int64_t deadline_ms;
    /* for mux.c, written under its lock: */
    size_t got;
    /* release; a caller that was woken loads it with acquire, without the lock, and then sees `replies` */
    _Atomic int state;
    struct lk_exchange *next; /* the next one to be woken */
    /* woken at the end, or when it is this caller's turn to drive; once, and the caller stays until then */
    lk_park told;
} lk_exchange;

typedef struct lk_mux {
    lk_lock lock;
    /* guarded by lock, except the socket and conn.resp, which belong to the driver: */
    lk_conn conn;
    lk_socket socket;
    lk_exchange *slot[LK_MUX_SLOTS], *driver;
    lk_exchange *telling;     /* to be woken after the lock was released, so that they need not wait for it */
    bool taken[LK_MUX_SLOTS]; /* a slot stays taken after its caller has left, until its replies have come */
    bool lost;
    char error[160]; /* why it was lost */
    /* constant: */
    uint64_t incarnation; /* of the server at the other end */
    /* for pool.c, guarded by the pool's lock: */
    unsigned generation; /* the pool's when the connection was opened */
    unsigned users;      /* callers that use it, or are about to */
    bool alone;          /* and its caller wants to be the only one */
    bool retired;        /* no further caller may use it */
    uint64_t used;       /* when it was last used: a number that only grows */
    int64_t heard_ms;    /* when it last answered, */
    bool probing;        /* and it is used for the first time after a while: it is not known whether it still works */
} lk_mux;

/* Connects, with the handshake. OK; UNAVAILABLE, CONFIG or NO_MEMORY, and `error` says why. */
int lk_mux_open(const lk_config *config, lk_addresses *addresses, int64_t deadline_ms, lk_mux **out, char *error,
                size_t error_size);
void lk_mux_close(lk_mux *line); /* no caller may be using it */

/* Does it still work after having been idle? */
bool lk_mux_good(lk_mux *line);

enum lk_mux_end {
    LK_MUX_DONE,
    LK_MUX_LATE,      /* the deadline passed */
    LK_MUX_LOST,      /* the connection broke */
    LK_MUX_GONE,      /* it was lost before anything was sent: nothing happened */
    LK_MUX_FULL,      /* the same, because there was no free slot */
    LK_MUX_NO_MEMORY, /* the same, because there was no memory */
};

/* `told` is set up where it is needed. On any end but DONE, no reply is left. */
enum lk_mux_end lk_mux_exchange(lk_mux *line, lk_exchange *x, char *error, size_t error_size);

#endif
