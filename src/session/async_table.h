/* The table of what was submitted: a fixed number of slots. Each is in one state, and in the list of that state. A hash
 * by token over the slots that are QUEUED or ASKED finds an equal one to join.
 *
 *   submit --known without Redis------------------------------------> ANSWERED --+
 *      |                                                                 ^       |
 *      +-----> QUEUED --connection is UP, ticket--> ASKED --replies------+       +--reap: may it be given?--> FREE
 *      |         ^                                    |                  |                (ticket, lease, time)
 *      |         +--- the connection broke, once -----+                  |
 *      +-----> JOINED to an equal one that is QUEUED or ASKED -----------+
 *
 * Lock: async.lock guards all of it; callers of these functions hold it. Bounded: in_flight slots, from submit until
 * reap (G). The hash is over the whole token and has a secret seed, so an attacker cannot make tokens for one bucket;
 * it decides nothing else. */
#ifndef LK_SESSION_ASYNC_TABLE_H
#define LK_SESSION_ASYNC_TABLE_H

#include "l2/async_conn.h"
#include "l2/node.h"
#include "session/read.h"
#include "session/resolve.h"
#include "base/lock.h"

enum lk_async_state { LK_ASYNC_FREE, LK_ASYNC_QUEUED, LK_ASYNC_ASKED, LK_ASYNC_JOINED, LK_ASYNC_ANSWERED };
enum { LK_ASYNC_BUCKETS = 1024 };
#define LK_ASYNC_NOBODY UINT32_MAX

typedef struct lk_async_slot {
    enum lk_async_state state;
    uint32_t next, before; /* in the list of its state; slots that JOINED use only `next` */
    uint32_t joined;       /* the first slot that waits for this one's answer */
    uint32_t same;         /* the next one in its bucket, while QUEUED or ASKED */
    uint64_t tag;
    int64_t deadline_ms;
    int64_t begun_us; /* when it was submitted: of those that joined, the last one. An old token counts as of then */
    /* L1 answers only under a lease that is at most this old, see latchkey_validate_fresh; INT64_MAX: as old as usual */
    int64_t max_age_ms;
    lk_token token;
    bool unresolved; /* `token` is the stand-in of */
    lk_foreign foreign;
    uint8_t line; /* ASKED: on which */
    bool fresh;   /* its question reads the cut-off too (read.h): it is fresh, or one that joined it is */
    unsigned asks;
    /* QUEUED: its partition is moving, or its server is being met: it is not asked before then */
    int64_t not_before_ms;
    bool waits;   /* ANSWERED, and waits for a lease */
    bool as_is;   /* ANSWERED, and needs no lease */
    int status;   /* ANSWERED: the answer, or why there is none */
    unsigned got; /* how many replies have come */
    lk_reply *replies[LK_QUESTION_CALLS];
    lk_vouch vouch;
    int64_t until_us;
    latchkey_entry entry;
} lk_async_slot;

typedef struct lk_async_list {
    uint32_t first, last;
} lk_async_list;

typedef struct lk_async lk_async;

/* A connection to a node: see async_line.h. */
typedef struct lk_async_line {
    lk_node *node;
    lk_async_conn conn;
    uint8_t at;      /* its place among the queue's lines */
    uint64_t served; /* its server, once it had the lease; 0: it never had it */
    bool ahead;      /* it leads to a server that has no lease yet: nothing is asked there */
    bool waits;      /* in this round, the bell was asked for a lease of its node */
    uint32_t unsent; /* asked, but still in the connection's buffer */
} lk_async_line;

struct lk_async {
    lk_lock lock;
    /* all guarded by lock: */
    lk_async_desk desk;
    lk_async_line *line[LK_NODES_MAX];
    unsigned lines;
    bool lost;     /* a line was lost in this round */
    uint64_t seed; /* of the hash: secret, drawn when the table is opened */
    lk_async_slot *slots;
    uint32_t count;
    size_t bytes;
    lk_async_list of[LK_ASYNC_ANSWERED + 1]; /* by state; in the order in which the slots came there */
    uint32_t bucket[LK_ASYNC_BUCKETS];
    uint32_t asked[LK_NODES_MAX]; /* by line */
    int64_t soonest_ms;           /* no deadline of those QUEUED or ASKED is earlier */
};

bool lk_async_table_open(lk_async *async, uint32_t count); /* false: no memory. All slots are FREE */
void lk_async_table_close(lk_async *async);

static inline uint32_t lk_async_index(const lk_async *a, const lk_async_slot *p) { return (uint32_t)(p - a->slots); }
static inline lk_async_slot *lk_async_at(lk_async *a, uint32_t i) { return i == LK_ASYNC_NOBODY ? NULL : &a->slots[i]; }
static inline lk_async_slot *lk_async_first(lk_async *a, enum lk_async_state state)
{
    return lk_async_at(a, a->of[state].first);
}

static inline unsigned lk_async_calls(const lk_async_slot *p)
{
    return p->unresolved ? 1 : lk_question_calls(p->fresh);
}

void lk_async_move(lk_async *async, lk_async_slot *slot, enum lk_async_state state);
void lk_async_free(lk_async *async, lk_async_slot *slot); /* wipes the token */

void lk_async_remember(lk_async *async, lk_async_slot *slot); /* puts it into the hash, while QUEUED or ASKED */
void lk_async_forget(lk_async *async, lk_async_slot *slot);

/* An equal one that was asked with the same ticket, not before oldest_us, and for a fresh one as a fresh one; or that has
 * not been asked yet. */
lk_async_slot *lk_async_find_equal(lk_async *async, const lk_async_slot *slot, uint64_t ticket, int64_t oldest_us);
uint32_t lk_async_bucket(const lk_async *async, const char *token); /* for the test of the hash */

#endif
