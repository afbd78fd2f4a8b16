/* The pool: the connections (mux.h) of callers that wait for their own answer. A caller gets an idle connection for
 * itself. If none is idle and no more may be opened, it shares the one with the fewest callers.
 *
 * Guarantee G: at most `connections` connections, and `in_flight` callers: one more is refused at once. Not every
 * caller tries a server that is away: after a failure, no caller connects for a while. This time doubles, and half of it
 * is random. A call that failed is repeated once, if that is safe, out of a budget that only successes fill.
 *
 * A firewall in between may forget a connection that was silent for a while, and swallow what is sent next. So a
 * connection that has been idle is first tried by one caller; the others take new ones meanwhile. If it fails, all
 * connections that have not answered since then are dropped with it: no second caller has to find out. */
#ifndef LK_L2_POOL_H
#define LK_L2_POOL_H

#include "base/counters.h"
#include "l2/mux.h"

/* This many failures to connect, in a row, are waited out, for milliseconds. After more, no caller waits for a server
 * that is away. */
enum { LK_POOL_BLIPS = 2 };

typedef struct lk_pool lk_pool;

lk_pool *lk_pool_open(const lk_config *config, lk_counters *counters); /* NULL: no memory */
void lk_pool_close(lk_pool *pool);
void lk_pool_abandon(
    lk_pool *pool); /* in a forked child: closes its copies of the descriptors, and does nothing else */

void lk_pool_addresses(lk_pool *pool, const lk_addresses *addresses);
void lk_pool_where(lk_pool *pool, lk_addresses *addresses); /* the last known addresses */
/* That address served; or, if it did not, the next one is to be tried first. */
void lk_pool_prefer(lk_pool *pool, unsigned address);
/* The answer to a question of asked_ms did not come: connections that have not answered since then are not trusted any
 * more. */
void lk_pool_suspect(lk_pool *pool, int64_t asked_ms);
/* When lk_pool_suspect was last called; 0: never. */
int64_t lk_pool_suspected_ms(lk_pool *pool);
/* The server went or came: idle connections are out of date, and there is no reason to wait before the next attempt. */
void lk_pool_renew(lk_pool *pool);

/* The server is at another address now, and the old one is not used any more: callers that wait for it return, and no
 * connection is made before lk_pool_addresses names the new one. */
void lk_pool_cut(lk_pool *pool);

typedef struct lk_ask {
    const lk_call *calls; /* they run one after the other, on one connection */
    size_t count;
    int64_t deadline_ms;
    bool again; /* asking twice does no harm */
    bool alone; /* the answer takes long (WAIT): no other caller must wait behind it */
    bool bound; /* only this server may be asked: */
    uint64_t to;
    bool *sent; /* if not NULL: set once it may have reached the server, whatever becomes of it */
} lk_ask;

/* Blocks until every reply is there; the caller frees them, and an error of Redis is a reply, too. OK: *incarnation
 * (may be NULL) names the server that answered. Else UNAVAILABLE, CONFIG (refused by the server) or NO_MEMORY, `error`
 * says why, and there is no reply. LK_OUTCOME_OTHER_SERVER: the ask is bound, and connections lead to *incarnation.
 * Nothing was sent. */
int lk_pool_ask(lk_pool *pool, const lk_ask *ask, lk_reply **replies, uint64_t *incarnation, char *error,
                size_t error_size);

int64_t lk_pool_callers(const lk_pool *pool); /* that wait for an answer now */

/* Takes one repetition out of the budget, if there is one. */
bool lk_pool_may_repeat(lk_pool *pool);

#endif
