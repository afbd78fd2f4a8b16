/* See recent.h. */
#include "revocation/recent.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { LOOKED_BACK = 64 }; /* for an equal one: what we make ourselves we also hear, a moment later */

struct lk_recent {
    pthread_mutex_t lock;
    /* guarded by lock: */
    lk_recent_item item[LK_RECENT_MAX];
    size_t added; /* since open; item[added % LK_RECENT_MAX] is the next one's */
};

lk_recent *lk_recent_open(void)
{
    lk_recent *r = calloc(1, sizeof *r);
    if (r) pthread_mutex_init(&r->lock, NULL);
    return r;
}

void lk_recent_close(lk_recent *r)
{
    if (!r) return;
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static lk_recent_item *back_locked(lk_recent *r, size_t i) { return &r->item[(r->added - i) % LK_RECENT_MAX]; }
static size_t held_locked(const lk_recent *r) { return r->added < LK_RECENT_MAX ? r->added : LK_RECENT_MAX; }

static bool known_locked(lk_recent *r, const char *selector, int64_t now_ms)
{
    size_t held = held_locked(r);
    for (size_t i = 1; i <= held && i <= LOOKED_BACK; i++) {
        if (memcmp(back_locked(r, i)->selector, selector, LATCHKEY_SELECTOR_LENGTH)) continue;
        back_locked(r, i)->at_ms = now_ms;
        return true;
    }
    return false;
}

void lk_recent_add(lk_recent *r, unsigned partition, const char *selector, int64_t now_ms)
{
    pthread_mutex_lock(&r->lock);
    if (!known_locked(r, selector, now_ms)) {
        lk_recent_item *item = back_locked(r, 0);
        *item = (lk_recent_item){.at_ms = now_ms, .partition = partition};
        memcpy(item->selector, selector, sizeof item->selector);
        r->added++;
    }
    pthread_mutex_unlock(&r->lock);
}

static int by_partition(const void *a, const void *b)
{
    const lk_recent_item *x = a, *y = b;
    return (x->partition > y->partition) - (x->partition < y->partition);
}

size_t lk_recent_list(lk_recent *r, int64_t now_ms, lk_recent_item items[LK_RECENT_MAX])
{
    size_t count = 0;
    pthread_mutex_lock(&r->lock);
    size_t held = held_locked(r);
    for (size_t i = 1; i <= held; i++)
        if (back_locked(r, i)->at_ms > now_ms - LK_RECENT_MS) items[count++] = *back_locked(r, i);
    pthread_mutex_unlock(&r->lock);
    if (count) qsort(items, count, sizeof *items, by_partition);
    return count;
}
