/* The table of what was submitted: a fixed number of slots, each in one state and in the list of that state, and a hash by token
 * over those that are QUEUED or ASKED, so that an equal one can be joined.
 *
 *   submit --known without Redis------------------------------------> ANSWERED --+
 *      |                                                                 ^       |
 *      +-----> QUEUED --connection is UP, ticket--> ASKED --replies------+       +--reap: may it be given?--> FREE
 *      |         ^                                    |                  |                (ticket, lease, time)
 *      |         +--- the connection broke, once -----+                  |
 *      +-----> JOINED to an equal one that is QUEUED or ASKED -----------+
 *
 * Lock: async.lock guards all of it; who calls these functions holds it. Bounded: in_flight slots, from submit until reap (G). A
 * hash with a secret seed over the whole token places it, so that nobody can make tokens for one bucket; it decides nothing. */
#ifndef LK_SESSION_ASYNC_TABLE_H
#define LK_SESSION_ASYNC_TABLE_H

#include "l2/async_conn.h"
#include "session/read.h"
#include "session/resolve.h"
#include "base/lock.h"

enum lk_async_state { LK_ASYNC_FREE, LK_ASYNC_QUEUED, LK_ASYNC_ASKED, LK_ASYNC_JOINED, LK_ASYNC_ANSWERED };
enum { LK_ASYNC_BUCKETS = 1024 };
#define LK_ASYNC_NOBODY UINT32_MAX

typedef struct lk_async_slot {
    enum lk_async_state state;
    uint32_t next, before; /* of the list of its state; of the joined, `next` alone */
    uint32_t joined;       /* the first that waits for this one's answer */
    uint32_t same;         /* the next of its bucket, while QUEUED or ASKED */
    uint64_t tag;
    int64_t deadline_ms;
    int64_t
        max_age_ms; /* L1 answers under a lease no older than that, see latchkey_validate_fresh; INT64_MAX: ordinary */
    lk_token token;
    bool unresolved; /* `token` is the stand-in of */
    lk_foreign foreign;
    unsigned asks;
    bool waits;   /* ANSWERED: for a lease */
    bool as_is;   /* ANSWERED: needs nobody's lease */
    int status;   /* ANSWERED: what was said, or why there is no answer */
    unsigned got; /* replies */
    lk_reply *replies[LK_QUESTION_CALLS];
    lk_vouch vouch;
    int64_t until_us;
    latchkey_entry entry;
} lk_async_slot;

typedef struct lk_async_list {
    uint32_t first, last;
} lk_async_list;

typedef struct lk_async {
    lk_lock lock;
    /* all guarded by lock: */
    lk_async_conn channel;
    uint64_t seed; /* of the hash: secret, made when the table is opened */
    lk_async_slot *slots;
    uint32_t count;
    size_t bytes;
    lk_async_list of[LK_ASYNC_ANSWERED + 1]; /* by state; in the order in which they got there */
    uint32_t bucket[LK_ASYNC_BUCKETS];
    uint64_t served; /* the channel's server, since that had the lease; 0: it never had */
    bool ahead;      /* the channel leads to a server that has no lease yet: nothing is asked of it */
    uint32_t unsent; /* asked, but still in the channel's buffer */
    uint32_t asked;
    int64_t soonest_ms; /* no deadline of those QUEUED or ASKED is earlier */
} lk_async;

bool lk_async_table_open(lk_async *async, uint32_t count); /* false: no memory. All slots are FREE */
void lk_async_table_close(lk_async *async);

static inline uint32_t lk_async_index(const lk_async *a, const lk_async_slot *p) { return (uint32_t)(p - a->slots); }
static inline lk_async_slot *lk_async_at(lk_async *a, uint32_t i) { return i == LK_ASYNC_NOBODY ? NULL : &a->slots[i]; }
static inline lk_async_slot *lk_async_first(lk_async *a, enum lk_async_state state)
{
    return lk_async_at(a, a->of[state].first);
}

void lk_async_move(lk_async *async, lk_async_slot *slot, enum lk_async_state state);
void lk_async_free(lk_async *async, lk_async_slot *slot); /* wipes the token */

void lk_async_remember(lk_async *async, lk_async_slot *slot); /* into the hash, while QUEUED or ASKED */
void lk_async_forget(lk_async *async, lk_async_slot *slot);

/* An equal one that was asked with the same ticket and not before oldest_us, or has yet to be asked. */
lk_async_slot *lk_async_find_equal(lk_async *async, const lk_async_slot *slot, uint64_t ticket, int64_t oldest_us);
uint32_t lk_async_bucket(const lk_async *async, const char *token); /* for the test of the hash */

#endif
