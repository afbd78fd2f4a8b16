/* See refresh_queue.h. Lock: refresh_queue.lock, for the queue. */
#include "l2/refresh_queue.h"

#include "base/crypto.h"
#include "base/secure_memory.h"
#include "base/lock.h"

#include <pthread.h>
#include <string.h>

typedef struct waiting {
    char token[LATCHKEY_TOKEN_LENGTH];
    int64_t since_ms;
} waiting;

struct lk_refresh_queue {
    lk_refresh_item hand[LK_REFRESH_QUEUE_HANDS]; /* used by the link's thread only */
    lk_lock lock;
    /* guarded by lock: */
    waiting queue[LK_REFRESH_QUEUE_QUEUE]; /* a ring */
    size_t first, count;
};

lk_refresh_queue *lk_refresh_queue_open(void)
{
    lk_refresh_queue *w = lk_map(sizeof *w, true);
    if (!w) return NULL;
    lk_lock_open(&w->lock, LK_RANK_REFRESH_QUEUE);
    return w;
}

void lk_refresh_queue_close(lk_refresh_queue *w)
{
    if (!w) return;
    lk_lock_close(&w->lock);
    lk_unmap(w, sizeof *w);
}

size_t lk_refresh_queue_put(lk_refresh_queue *w, const char *token, int64_t now_ms)
{
    lk_lock_take(&w->lock);
    bool room = w->count < LK_REFRESH_QUEUE_QUEUE;
    if (room) {
        waiting *at = &w->queue[(w->first + w->count++) % LK_REFRESH_QUEUE_QUEUE];
        at->since_ms = now_ms;
        memcpy(at->token, token, sizeof at->token);
    }
    size_t count = room ? w->count : 0;
    lk_lock_give(&w->lock);
    return count;
}

static lk_refresh_item *free_hand(lk_refresh_queue *w)
{
    for (int i = 0; i < LK_REFRESH_QUEUE_HANDS; i++)
        if (!w->hand[i].taken) return &w->hand[i];
    return NULL;
}

lk_refresh_item *lk_refresh_queue_take(lk_refresh_queue *w, int64_t now_ms, uint64_t *let_go)
{
    lk_refresh_item *hand = free_hand(w);
    *let_go = 0;
    lk_lock_take(&w->lock);
    while (hand && w->count && !hand->taken) {
        waiting *at = &w->queue[w->first];
        hand->taken = now_ms - at->since_ms <= LK_REFRESH_QUEUE_OLD_MS;
        if (hand->taken) memcpy(hand->token, at->token, sizeof hand->token);
        else ++*let_go;
        lk_wipe(at, sizeof *at);
        w->first = (w->first + 1) % LK_REFRESH_QUEUE_QUEUE;
        w->count--;
    }
    lk_lock_give(&w->lock);
    return hand && hand->taken ? hand : NULL;
}

void lk_refresh_queue_done(lk_refresh_item *item) { lk_wipe(item, sizeof *item); }
