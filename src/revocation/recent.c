/* See recent.h. An array of places; an index into it: the places whose selectors have the same hash form a list; and their order:
 * what is remembered anew becomes the newest again, so that nothing is forgotten for something older. */
#include "revocation/recent.h"

#include "base/hash.h"
#include "base/lock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { RECENT_LISTS = 4096, RECENT_NONE = UINT16_MAX };

struct lk_recent {
    uint64_t seed; /* constant, as is: */
    unsigned most;
    /* Written under the lock, with release. Read without it, with acquire: a validate that starts after a revoke
     * returned sees the session among the ended ones (B). */
    _Atomic size_t ended; /* how many were ever added */
    /* How many items. Relaxed: a stale count costs one beat. */
    _Atomic size_t unheard;
    lk_lock lock;
    /* guarded by lock: */
    lk_recent_item item[LK_RECENT_MAX];
    uint16_t first[RECENT_LISTS], next[LK_RECENT_MAX];
    uint16_t newest, oldest, newer[LK_RECENT_MAX], older[LK_RECENT_MAX]; /* RECENT_NONE: there is none */
    uint16_t used;                                                       /* places, from the first on */
};
_Static_assert((int)LK_RECENT_MAX < (int)RECENT_NONE, "a place fits into an index");

lk_recent *lk_recent_open(uint64_t seed, unsigned most)
{
    lk_recent *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    r->seed = seed;
    r->most = most;
    memset(r->first, 0xff, sizeof r->first);
    r->newest = r->oldest = RECENT_NONE;
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

static void set_unheard_locked(lk_recent *r, lk_recent_item *item, bool unheard)
{
    lk_lock_assert(&r->lock);
    if (unheard && !item->unheard) atomic_fetch_add_explicit(&r->unheard, 1, memory_order_relaxed);
    if (!unheard && item->unheard) atomic_fetch_sub_explicit(&r->unheard, 1, memory_order_relaxed);
    item->unheard = unheard;
}

/* Takes a place out of the order. */
static void leave_order_locked(lk_recent *r, uint16_t place)
{
    lk_lock_assert(&r->lock);
    uint16_t newer = r->newer[place], older = r->older[place];
    *(newer == RECENT_NONE ? &r->newest : &r->older[newer]) = older;
    *(older == RECENT_NONE ? &r->oldest : &r->newer[older]) = newer;
}

static void make_newest_locked(lk_recent *r, uint16_t place)
{
    lk_lock_assert(&r->lock);
    r->newer[place] = RECENT_NONE;
    r->older[place] = r->newest;
    *(r->newest == RECENT_NONE ? &r->oldest : &r->newer[r->newest]) = place;
    r->newest = place;
}

/* A place that was never used, or the oldest item's. */
static lk_recent_item *take_recent_locked(lk_recent *r, unsigned partition, const char *selector)
{
    lk_lock_assert(&r->lock);
    bool full = r->used == r->most;
    uint16_t place = full ? r->oldest : r->used++, *list = recent_list(r, selector);
    lk_recent_item *item = &r->item[place];
    if (full) {
        unlink_recent_locked(r, place);
        leave_order_locked(r, place);
    }
    set_unheard_locked(r, item, false);
    *item = (lk_recent_item){.partition = partition};
    memcpy(item->selector, selector, sizeof item->selector);
    r->next[place] = *list;
    *list = place;
    make_newest_locked(r, place);
    return item;
}

static bool remember(lk_recent *r, unsigned partition, const char *selector, uint64_t change, bool made, int64_t now_ms)
{
    lk_lock_take(&r->lock);
    lk_recent_item *item = find_recent_locked(r, selector);
    bool ended = item && !item->change; /* and it stays ended, whatever is remembered about it later */
    bool news = !item || (!ended && item->change != change);
    if (item) {
        leave_order_locked(r, (uint16_t)(item - r->item));
        make_newest_locked(r, (uint16_t)(item - r->item));
    } else item = take_recent_locked(r, partition, selector);
    item->at_ms = now_ms;
    item->change = ended ? 0 : change;
    /* What has ended is not changed any more: the data set that says so is another one, and lacks the end. */
    set_unheard_locked(r, item, (made && (news || item->unheard)) || (ended && change));
    if (!change) atomic_fetch_add_explicit(&r->ended, 1, memory_order_release);
    lk_lock_give(&r->lock);
    return news;
}

void lk_recent_made(lk_recent *r, unsigned partition, const char *selector, int64_t now_ms)
{
    remember(r, partition, selector, 0, true, now_ms);
}

bool lk_recent_add(lk_recent *r, unsigned partition, const char *selector, int64_t now_ms)
{
    return remember(r, partition, selector, 0, false, now_ms);
}

bool lk_recent_add_change(lk_recent *r, unsigned partition, const char *selector, uint64_t number, int64_t now_ms)
{
    return remember(r, partition, selector, number, false, now_ms);
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

size_t lk_recent_list(lk_recent *r, lk_partitions of, int64_t then_ms, lk_recent_item items[LK_RECENT_MAX])
{
    size_t count = 0;
    lk_lock_take(&r->lock);
    for (uint16_t i = r->newest; i != RECENT_NONE; i = r->older[i]) {
        const lk_recent_item *item = &r->item[i];
        if (item->at_ms > then_ms - LK_RECENT_MS && lk_partitions_have(of, item->partition)) items[count++] = *item;
    }
    lk_lock_give(&r->lock);
    if (count) qsort(items, count, sizeof *items, by_partition);
    return count;
}

size_t lk_recent_unheard(lk_recent *r, lk_partitions of, int64_t before_ms, lk_recent_item items[LK_RECENT_MAX])
{
    size_t count = 0;
    if (!atomic_load_explicit(&r->unheard, memory_order_relaxed)) return 0;
    lk_lock_take(&r->lock);
    for (size_t i = 0; i < r->used; i++)
        if (r->item[i].unheard && r->item[i].at_ms < before_ms && lk_partitions_have(of, r->item[i].partition))
            items[count++] = r->item[i];
    lk_lock_give(&r->lock);
    if (count) qsort(items, count, sizeof *items, by_partition);
    return count;
}

void lk_recent_told(lk_recent *r, lk_partitions of, int64_t before_ms)
{
    if (!atomic_load_explicit(&r->unheard, memory_order_relaxed)) return;
    lk_lock_take(&r->lock);
    for (size_t i = 0; i < r->used; i++)
        if (r->item[i].at_ms < before_ms && lk_partitions_have(of, r->item[i].partition))
            set_unheard_locked(r, &r->item[i], false);
    lk_lock_give(&r->lock);
}
