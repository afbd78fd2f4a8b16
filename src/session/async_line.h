/* The lines of a queue: its connections, one to each node that it asks (async_conn.h), all of them in the queue's one
 * descriptor. A server alone has the first one. In a cluster a line begins when it is first needed, and is closed when its
 * node owns no partition any more.
 *
 *   QUEUED --the line of the partition's owner is UP, and its server has the lease--> ASKED --replies--> lk_async_take
 *     ^                                                                                 |
 *     +--the connection broke, once; or the slot moves, or no server has its lease yet--+
 *
 * Lines do not wait for each other: a node that does not answer holds up its own questions alone.
 *
 * Lock: async.lock; callers of these functions hold it. */
#ifndef LK_SESSION_ASYNC_LINE_H
#define LK_SESSION_ASYNC_LINE_H

#include "session/async.h"

bool lk_async_lines_open(latchkey *lk, lk_async *async); /* false: no memory */
void lk_async_lines_close(lk_async *async);
void lk_async_lines_abandon(lk_async *async); /* in a forked child */

/* What is QUEUED is asked, as far as it can be now. What cannot be asked at all is answered. */
void lk_async_ask_new(latchkey *lk, lk_async *async, lk_async_slot *slot, int64_t now_ms);
void lk_async_ask_queued(latchkey *lk, lk_async *async, int64_t now_ms); /* all of them */
/* What was asked is sent. `now`: without waiting for more to be sent with it. */
void lk_async_send_asked(latchkey *lk, lk_async *async, int64_t now_ms, bool now);
/* False: there is nothing more to read now. *heard: an answer came, now or in an earlier read of this reap. */
bool lk_async_read(latchkey *lk, lk_async *async, int64_t now_ms, bool *heard);
/* The lines that these ASKED slots are on are given up: bit i is line i. So a late reply can answer nothing (I). */
void lk_async_give_up(latchkey *lk, lk_async *async, uint64_t lines, int64_t now_ms, const char *why);
void lk_async_want_line(latchkey *lk,
                        lk_async *async); /* of a server alone: so that it is there for the first question */

#endif
