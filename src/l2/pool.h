/* The pool: the lines (mux.h) of callers that wait for their own answer. An idle line is taken alone. Where none is left
 * and no more may be opened, the caller goes behind others, on the line with the fewest.
 *
 * Guarantee G: at most `connections` lines, and `in_flight` callers: one more is refused at once. A server that is away is
 * not asked by everybody: after a failure nobody connects for a while that doubles, with a random half; and what failed
 * is repeated once, if it may be, out of a budget that only successes fill.
 *
 * What lies between may forget a connection on which nothing was said for a while, and swallow what is said next. So a line that
 * has been idle is trusted by one caller at a time; the others take new ones meanwhile. Where one fails, all that have not
 * answered since then go with it: no second caller finds out. */
#ifndef LK_L2_POOL_H
#define LK_L2_POOL_H

#include "base/counters.h"
#include "l2/mux.h"

/* So many failures to connect, in a row, are waited out, for milliseconds; after more nobody waits for a server that is away. */
enum { LK_POOL_BLIPS = 2 };

typedef struct lk_pool lk_pool;

lk_pool *lk_pool_open(const lk_config *config, lk_counters *counters); /* NULL: no memory */
void lk_pool_close(lk_pool *pool);
void lk_pool_abandon(lk_pool *pool); /* in a forked child: closes its copies of the descriptors, and no more */

void lk_pool_addresses(lk_pool *pool, const lk_addresses *addresses);
void lk_pool_where(lk_pool *pool, lk_addresses *addresses); /* what was said last */
/* That one of those addresses served (or, where it did not, the next is to be tried first). */
void lk_pool_prefer(lk_pool *pool, unsigned address);
/* An answer did not come that was asked for at asked_ms: lines that have not answered since are not trusted any more. */
void lk_pool_suspect(lk_pool *pool, int64_t asked_ms);
/* When that was said last; 0: never. */
int64_t lk_pool_suspected_ms(lk_pool *pool);
/* The server went or came: idle lines are of yesterday, and waiting before the next attempt makes no sense. */
void lk_pool_renew(lk_pool *pool);

/* The server is elsewhere now, and nothing is to be had of the old one: who waits for it is let go, and nobody connects before
 * lk_pool_addresses says where. */
void lk_pool_cut(lk_pool *pool);

typedef struct lk_ask {
    const lk_call *calls; /* they run one after the other, on one line */
    size_t count;
    int64_t deadline_ms;
    bool again; /* asking twice does no harm */
    bool alone; /* the answer takes its time (WAIT): nobody else is to wait behind it */
    bool bound; /* only this server is to be asked: */
    uint64_t to;
} lk_ask;

/* Blocks until every reply is there, and is the caller's, errors of Redis among them: OK, and *incarnation (may be NULL)
 * names the server that answered. Else UNAVAILABLE, CONFIG (refused by the server) or NO_MEMORY, and why; no reply.
 * LK_OUTCOME_OTHER_SERVER: the ask is bound, and connections lead to *incarnation. Nothing was sent. */
int lk_pool_ask(lk_pool *pool, const lk_ask *ask, lk_reply **replies, uint64_t *incarnation, char *error,
                size_t error_size);

int64_t lk_pool_callers(const lk_pool *pool); /* that wait for an answer now */

/* Takes one repetition out of the budget, if it is there. */
bool lk_pool_may_repeat(lk_pool *pool);

#endif
