/* See recent.h. A ring, and an index into it: the places whose selectors have the same hash form a list. */
#include "revocation/recent.h"

#include "base/hash.h"
#include "base/lock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { RECENT_LISTS = 4096, RECENT_NONE = UINT16_MAX };

struct lk_recent {
    uint64_t seed;
    /* Written under the lock, with release. Read without it, with acquire: a validate that starts after a revoke
     * returned sees the session among the ended ones (B). */
    _Atomic size_t ended; /* how many were ever added */
    lk_lock lock;
    /* guarded by lock: */
    lk_recent_item item[LK_RECENT_MAX];
    uint16_t first[RECENT_LISTS], next[LK_RECENT_MAX];
    size_t added; /* since open; the next item goes to item[added % LK_RECENT_MAX] */
};
_Static_assert((int)LK_RECENT_MAX < (int)RECENT_NONE, "a place fits into an index");

lk_recent *lk_recent_open(uint64_t seed)
{
    lk_recent *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    r->seed = seed;
    memset(r->first, 0xff, sizeof r->first);
    lk_lock_open(&r->lock, LK_RANK_RECENT);
    return r;
}

void lk_recent_close(lk_recent *r)
{
    if (!r) return;
    lk_lock_close(&r->lock);
    free(r);
}

static uint16_t *recent_list(lk_recent *r, const char *selector)
{
    return &r->first[lk_hash(selector, LATCHKEY_SELECTOR_LENGTH, r->seed) % RECENT_LISTS];
}

static lk_recent_item *find_recent_locked(lk_recent *r, const char *selector)
{
    lk_lock_assert(&r->lock);
    uint16_t i = *recent_list(r, selector);
    while (i != RECENT_NONE && memcmp(r->item[i].selector, selector, LATCHKEY_SELECTOR_LENGTH)) i = r->next[i];
    return i == RECENT_NONE ? NULL : &r->item[i];
}

static void unlink_recent_locked(lk_recent *r, uint16_t place)
{
    lk_lock_assert(&r->lock);
    uint16_t *at = recent_list(r, r->item[place].selector);
    while (*at != place) at = &r->next[*at];
    *at = r->next[place];
}

/* Takes the oldest item's place. */
static lk_recent_item *take_recent_locked(lk_recent *r, unsigned partition, const char *selector)
{
    lk_lock_assert(&r->lock);
    uint16_t place = (uint16_t)(r->added % LK_RECENT_MAX), *list = recent_list(r, selector);
    if (r->added++ >= LK_RECENT_MAX) unlink_recent_locked(r, place);
    lk_recent_item *item = &r->item[place];
    *item = (lk_recent_item){.partition = partition};
    memcpy(item->selector, selector, sizeof item->selector);
    r->next[place] = *list;
    *list = place;
    return item;
}

static void remember(lk_recent *r, unsigned partition, const char *selector, uint64_t change, int64_t now_ms)
{
    lk_lock_take(&r->lock);
    lk_recent_item *item = find_recent_locked(r, selector);
    bool ended = item && !item->change; /* and it stays ended, whatever is remembered about it later */
    if (!item) item = take_recent_locked(r, partition, selector);
    item->at_ms = now_ms;
    item->change = ended ? 0 : change;
    if (!change) atomic_fetch_add_explicit(&r->ended, 1, memory_order_release);
    lk_lock_give(&r->lock);
}

void lk_recent_add(lk_recent *r, unsigned partition, const char *selector, int64_t now_ms)
{
    remember(r, partition, selector, 0, now_ms);
}

void lk_recent_add_change(lk_recent *r, unsigned partition, const char *selector, uint64_t number, int64_t now_ms)
{
    remember(r, partition, selector, number, now_ms);
}

bool lk_recent_ended(lk_recent *r, const char *selector)
{
    if (!atomic_load_explicit(&r->ended, memory_order_acquire)) return false;
    lk_lock_take(&r->lock);
    const lk_recent_item *item = find_recent_locked(r, selector);
    bool ended = item && !item->change;
    lk_lock_give(&r->lock);
    return ended;
}

static int by_partition(const void *a, const void *b)
{
    const lk_recent_item *x = a, *y = b;
    return (x->partition > y->partition) - (x->partition < y->partition);
}

size_t lk_recent_list(lk_recent *r, int64_t then_ms, lk_recent_item items[LK_RECENT_MAX])
{
    size_t count = 0;
    lk_lock_take(&r->lock);
    size_t held = r->added < LK_RECENT_MAX ? r->added : LK_RECENT_MAX;
    for (size_t i = 1; i <= held; i++) {
        const lk_recent_item *item = &r->item[(r->added - i) % LK_RECENT_MAX]; /* the newest first */
        if (item->at_ms > then_ms - LK_RECENT_MS) items[count++] = *item;
    }
    lk_lock_give(&r->lock);
    if (count) qsort(items, count, sizeof *items, by_partition);
    return count;
}
