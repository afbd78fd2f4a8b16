/* See inbox.h. */
#include "l2/inbox.h"

#include "base/wake.h"
#include "base/lock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct lk_inbox {
    lk_counters *counters;
    int wake_fd;
    lk_refresh_queue *refreshes;
    /* All three are relaxed. With a stale value the link sleeps on and a refresh comes later, or it is woken for
     * nothing. */
    _Atomic int64_t sleeps_until_ms, looks_until_ms, patience_ms;
    lk_lock lock;
    /* guarded by lock: */
    lk_touch touches[LK_INBOX_TOUCHES]; /* a ring */
    size_t first_touch, touch_count;
    lk_pending_item reused[LK_INBOX_REUSED]; /* a stack */
    size_t reused_count;
};

lk_inbox *lk_inbox_open(lk_counters *counters, int wake_fd)
{
    lk_inbox *inbox = calloc(1, sizeof *inbox);
    if (!inbox) return NULL;
    inbox->counters = counters;
    inbox->wake_fd = wake_fd;
    lk_lock_open(&inbox->lock, LK_RANK_INBOX);
    inbox->refreshes = lk_refresh_queue_open();
    if (inbox->refreshes) return inbox;
    lk_inbox_close(inbox);
    return NULL;
}

void lk_inbox_close(lk_inbox *inbox)
{
    if (!inbox) return;
    lk_refresh_queue_close(inbox->refreshes);
    lk_lock_close(&inbox->lock);
    free(inbox);
}

void lk_inbox_touch(lk_inbox *inbox, const lk_touch *touch)
{
    lk_lock_take(&inbox->lock);
    bool room = inbox->touch_count < LK_INBOX_TOUCHES, first = !inbox->touch_count;
    if (room) inbox->touches[(inbox->first_touch + inbox->touch_count++) % LK_INBOX_TOUCHES] = *touch;
    lk_lock_give(&inbox->lock);
    lk_count(inbox->counters, room ? LK_TOUCHES : LK_TOUCHES_DROPPED, 1);
    if (room && first)
        lk_raise(inbox->wake_fd); /* if there were some, the thread that put in the first has raised it */
}

bool lk_inbox_pass_on(lk_inbox *inbox, const lk_pending_item *reused)
{
    lk_lock_take(&inbox->lock);
    bool room = inbox->reused_count < LK_INBOX_REUSED;
    if (room) inbox->reused[inbox->reused_count++] = *reused;
    lk_lock_give(&inbox->lock);
    if (room) lk_raise(inbox->wake_fd);
    return room;
}

bool lk_inbox_reused(lk_inbox *inbox, const lk_token *token)
{
    lk_pending_item item = {.partition = token->partition};
    memcpy(item.selector, token->text, sizeof item.selector);
    lk_token_verifier_hash(token, item.verifier_hash);
    return lk_inbox_pass_on(inbox, &item);
}

void lk_inbox_refresh(lk_inbox *inbox, const char *token, int64_t now_ms, int64_t patience_ms)
{
    size_t waiting = lk_refresh_queue_put(inbox->refreshes, token, now_ms);
    lk_count(inbox->counters, waiting ? LK_REFRESHES : LK_REFRESHES_DROPPED, 1);
    atomic_store_explicit(&inbox->patience_ms, patience_ms, memory_order_relaxed);
    atomic_store_explicit(&inbox->looks_until_ms, now_ms + LK_INBOX_LOOKS_MS, memory_order_relaxed);
    int64_t until_ms = atomic_load_explicit(&inbox->sleeps_until_ms, memory_order_relaxed);
    bool late = until_ms > now_ms + patience_ms;
    /* The first thread that finds it asleep for too long wakes it. */
    late = late && atomic_exchange_explicit(&inbox->sleeps_until_ms, 0, memory_order_relaxed) == until_ms;
    if (late || waiting == LK_REFRESH_QUEUE_QUEUE / 4) lk_raise(inbox->wake_fd);
}

int64_t lk_inbox_nap(lk_inbox *inbox, int64_t now_ms, int64_t wait_ms)
{
    int64_t patience_ms = atomic_load_explicit(&inbox->patience_ms, memory_order_relaxed);
    bool looks = now_ms < atomic_load_explicit(&inbox->looks_until_ms, memory_order_relaxed);
    /* A little less: a hit compares with its own clock, which is later. */
    if (looks && wait_ms > patience_ms - patience_ms / 8) wait_ms = patience_ms - patience_ms / 8;
    atomic_store_explicit(&inbox->sleeps_until_ms, now_ms + wait_ms, memory_order_relaxed);
    return wait_ms;
}

static bool take_touch_locked(lk_inbox *inbox, lk_pending_item *item, lk_touch *touch)
{
    lk_lock_assert(&inbox->lock);
    if (!inbox->touch_count) return false;
    *touch = inbox->touches[inbox->first_touch];
    *item = (lk_pending_item){.partition = touch->partition};
    memcpy(item->selector, touch->selector, sizeof touch->selector);
    inbox->first_touch = (inbox->first_touch + 1) % LK_INBOX_TOUCHES;
    inbox->touch_count--;
    return true;
}

bool lk_inbox_take(lk_inbox *inbox, lk_pending_item *item, lk_touch *touch, bool *proven)
{
    *touch = (lk_touch){.partition = 0};
    lk_lock_take(&inbox->lock);
    *proven = inbox->reused_count > 0;
    if (*proven) *item = inbox->reused[--inbox->reused_count];
    bool found = *proven || take_touch_locked(inbox, item, touch);
    lk_lock_give(&inbox->lock);
    return found;
}

lk_refresh_item *lk_inbox_take_refresh(lk_inbox *inbox, int64_t now_ms)
{
    uint64_t let_go;
    lk_refresh_item *item = lk_refresh_queue_take(inbox->refreshes, now_ms, &let_go);
    lk_count(inbox->counters, LK_REFRESHES_DROPPED, let_go);
    return item;
}
