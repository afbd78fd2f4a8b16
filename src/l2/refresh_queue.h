/* Tokens whose entries of L1 are in use and near their end, to be read again by the link before that (refresh.c). Each
 * node has a queue.
 *
 *   a hit near the entry's end --refresh_gate.h: not asked for recently--> queue --the link, when it has time--> in hand
 *
 * The queue has a limit, and what exceeds it is dropped (G). It holds whole, live tokens, so all of it is in memory of
 * its own, outside core dumps and zeros in a forked child, and a token is wiped as soon as it leaves (F).
 *
 * Lock: refresh_queue.lock, for the queue. */
#ifndef LK_L2_REFRESH_QUEUE_H
#define LK_L2_REFRESH_QUEUE_H

#include "base/vouch.h"
#include "latchkey.h"

#include <stdbool.h>

enum {
    LK_REFRESH_QUEUE_QUEUE = 4096,
    LK_REFRESH_QUEUE_HANDS = 16,    /* being read: as many as the link can have under way */
    LK_REFRESH_QUEUE_OLD_MS = 5000, /* what waited longer is dropped: that use is too long ago */
};

typedef struct lk_refresh_queue lk_refresh_queue;

/* What the link has in hand. `vouch` was noted before Redis was asked (refresh.c). */
typedef struct lk_refresh_item {
    char token[LATCHKEY_TOKEN_LENGTH];
    bool taken;
    lk_vouch vouch;
} lk_refresh_item;

lk_refresh_queue *lk_refresh_queue_open(void); /* NULL: no memory; a forked child sees it empty */
void lk_refresh_queue_close(lk_refresh_queue *wanted);

size_t lk_refresh_queue_put(lk_refresh_queue *wanted, const char *token,
                            int64_t now_ms); /* how many wait now; 0: it is full, and this one was dropped */

/* Called by the link's thread only: the next one, and how many were dropped before it. NULL: there is none, or all
 * hands are full. */
lk_refresh_item *lk_refresh_queue_take(lk_refresh_queue *wanted, int64_t now_ms, uint64_t *let_go);
void lk_refresh_queue_done(lk_refresh_item *item);

#endif
