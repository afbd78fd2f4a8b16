/* The pool: connections for callers that wait for their own answer. A line is taken by one thread, driven by it through
 * one exchange, and given back; nobody else touches it meanwhile. No thread hop: waking a thread costs as much as
 * Redis.
 *
 * Guarantee I: a line on which a deadline passed, or anything broke, is closed. Guarantee G: at most `connections`
 * lines; who finds all of them taken waits, until his deadline. */
#ifndef LK_POOL_H
#define LK_POOL_H

#include "hello.h"
#include "net.h"

typedef struct lk_line {
    lk_conn conn;
    lk_socket socket;
    uint64_t incarnation; /* of the server at the other end */
    unsigned generation;  /* of the pool when the line was opened */
    bool fresh;           /* opened for this exchange: nothing to blame on a stale socket */
} lk_line;

typedef struct lk_pool lk_pool;

lk_pool *lk_pool_open(const lk_config *config); /* NULL: no memory */
void lk_pool_close(lk_pool *pool);
void lk_pool_abandon(lk_pool *pool); /* in a forked child: closes its copies of the descriptors, and no more */

void lk_pool_addresses(lk_pool *pool, const lk_addresses *addresses);
/* The server went or came: idle lines are of yesterday, and waiting before the next attempt makes no sense. */
void lk_pool_renew(lk_pool *pool);

/* OK and a line; or UNAVAILABLE, CONFIG (refused by the server) or NO_MEMORY, and why. */
int lk_pool_take(lk_pool *pool, int64_t deadline_ms, lk_line **line, char *error, size_t error_size);
void lk_pool_give(lk_pool *pool, lk_line *line, bool good);

/* Sends what was appended to line->conn and collects `count` replies. False: the line is no good, no reply is left. */
bool lk_line_exchange(lk_line *line, lk_reply **reply, size_t count, int64_t deadline_ms, char *error,
                      size_t error_size);

#endif
