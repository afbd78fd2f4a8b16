/* Tokens whose entries of L1 are in use and near their end, to be read again by the link before it comes (refresh.c): who may
 * ask, and the queue of what was asked for.
 *
 *   a hit near the entry's end --gate: nobody asked for it lately--> queue --the link, when it has a place--> in hand
 *
 * The gate is a lossy table without locks: 16,384 buckets of four words, each the mark of a token and the time until which
 * nobody need ask for it again. Where a bucket holds four others, the gate is shut: a collision costs a miss, as there would
 * be without all this, and never a read more. Two threads at one token may both find it open: that costs one read.
 *
 * The queue has a limit and sheds (G). It holds whole tokens, live ones, so all of it lies in memory of its own, outside core
 * dumps and zeros in a forked child, and a token is wiped as soon as it leaves (F). A hash places a mark here and decides
 * nothing (E): whoever is let through wrongly, or not let through, is answered from L1 all the same. */
#ifndef LK_L2_REFRESH_QUEUE_H
#define LK_L2_REFRESH_QUEUE_H

#include "base/vouch.h"
#include "latchkey.h"

#include <stdbool.h>

enum {
    LK_REFRESH_QUEUE_QUEUE = 4096,
    LK_REFRESH_QUEUE_HANDS = 16,    /* being read: as many as the link has jobs in flight */
    LK_REFRESH_QUEUE_OLD_MS = 5000, /* what waited longer is let go: its use is no news any more */
};

typedef struct lk_refresh_queue lk_refresh_queue;

/* What the link has in hand. Its own: the reader's notes of the time before Redis was asked (refresh.c). */
typedef struct lk_refresh_item {
    char token[LATCHKEY_TOKEN_LENGTH];
    bool taken;
    lk_vouch vouch;
} lk_refresh_item;

lk_refresh_queue *lk_refresh_queue_open(uint64_t seed); /* NULL: no memory; a forked child sees it empty */
void lk_refresh_queue_close(lk_refresh_queue *wanted);

/* True: nobody asked for it for apart_ms, and now somebody has. Locks nothing. */
bool lk_refresh_queue_dedup(lk_refresh_queue *wanted, const char *token, int64_t now_ms, int64_t apart_ms);
void lk_refresh_queue_shut(lk_refresh_queue *wanted, const char *token, int64_t now_ms, int64_t until_ms);

size_t lk_refresh_queue_put(lk_refresh_queue *wanted, const char *token,
                            int64_t now_ms); /* how many wait now; 0: full, it was shed */

/* The link's thread alone: the next one, and how many were let go before it; NULL: none, or all hands are full. */
lk_refresh_item *lk_refresh_queue_take(lk_refresh_queue *wanted, int64_t now_ms, uint64_t *let_go);
void lk_refresh_queue_done(lk_refresh_item *item);

#endif
