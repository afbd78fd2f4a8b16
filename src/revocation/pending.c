/* See pending.h. A flat array, searched from end to end: it is empty except in outages. */
#include "revocation/pending.h"
#include "base/lock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct lk_pending {
    lk_recent *recent;    /* constant; NULL: none */
    size_t most_unproven; /* constant */
    lk_lock lock;
    /* Written under the lock, with release in lk_pending_add. Read without it, with acquire: a validate that starts
     * after a revoke returned sees it (B). */
    _Atomic size_t count, retries, doubtful;
    /* guarded by lock: */
    size_t unproven;
    lk_pending_item item[LK_PENDING_MAX]; /* [0..count) */
};

lk_pending *lk_pending_open(lk_recent *recent, unsigned unproven)
{
    lk_pending *p = calloc(1, sizeof *p);
    if (!p) return NULL;
    p->recent = recent;
    p->most_unproven = unproven;
    lk_lock_open(&p->lock, LK_RANK_PENDING);
    return p;
}

/* Relaxed: the lock orders it. */
static size_t count_locked(const lk_pending *p)
{
    lk_lock_assert(&p->lock);
    return atomic_load_explicit(&p->count, memory_order_relaxed);
}

/* Did Redis confirm its end, in the last minutes? Then it is over, whatever Redis says by now. */
static bool ended(lk_pending *p, const char *selector) { return p->recent && lk_recent_ended(p->recent, selector); }

void lk_pending_close(lk_pending *p)
{
    if (!p) return;
    lk_lock_close(&p->lock);
    free(p);
}

/* Found by selector and verifier: a forged token with the selector of a real session must not deny that session. */
static size_t find_locked(lk_pending *p, const char *selector, const uint8_t *hash)
{
    lk_lock_assert(&p->lock);
    size_t i = 0;
    while (i < count_locked(p) && (memcmp(p->item[i].selector, selector, LATCHKEY_SELECTOR_LENGTH) ||
                                   !lk_equal(p->item[i].verifier_hash, hash, LK_HASH_SIZE)))
        i++;
    return i;
}

static void set_retry_locked(lk_pending *p, lk_pending_item *item, bool retry)
{
    lk_lock_assert(&p->lock);
    if (retry && !item->retry) atomic_fetch_add_explicit(&p->retries, 1, memory_order_release);
    if (!retry && item->retry) atomic_fetch_sub_explicit(&p->retries, 1, memory_order_release);
    item->retry = retry;
}

/* If there are too many calls, the newest is left out. */
static void merge_locked(lk_pending_item *into, const lk_pending_item *item)
{
    if (!into->told[0]) memcpy(into->told, item->told, sizeof into->told);
    size_t used = strlen(into->calls), more = strlen(item->calls);
    if (used + more < sizeof into->calls) memcpy(into->calls + used, item->calls, more + 1);
}

static bool proven(const lk_pending_item *item) { return item->held || item->silent; }

static bool has_place_locked(const lk_pending *p, const lk_pending_item *item)
{
    size_t doubtful = atomic_load_explicit(&p->doubtful, memory_order_relaxed);
    size_t most = p->most_unproven, most_doubtful = most / 4;
    if (item->doubtful && doubtful == most_doubtful) return false;
    return count_locked(p) < 2 * most + most_doubtful && (proven(item) || p->unproven < most);
}

bool lk_pending_add(lk_pending *p, const lk_pending_item *item)
{
    lk_lock_take(&p->lock);
    size_t i = find_locked(p, item->selector, item->verifier_hash), count = count_locked(p);
    bool room = i < count || has_place_locked(p, item);
    if (room && i == count) {
        p->item[i] = *item;
        p->item[i].retry = false;
        p->unproven += !proven(item);
        atomic_fetch_add_explicit(&p->doubtful, item->doubtful, memory_order_relaxed);
        atomic_store_explicit(&p->count, count + 1, memory_order_release);
    }
    if (room) {
        p->unproven -= !proven(&p->item[i]) && item->held;
        p->item[i].held |= item->held;
        if (i < count) merge_locked(&p->item[i], item);
        if (item->calls[0]) p->item[i].ran_ms = 0; /* the run that is under way does not know these calls */
        set_retry_locked(p, &p->item[i], item->retry || p->item[i].retry);
    }
    lk_lock_give(&p->lock);
    return room;
}

static void remove_locked(lk_pending *p, size_t i)
{
    lk_lock_assert(&p->lock);
    size_t last = count_locked(p) - 1;
    set_retry_locked(p, &p->item[i], false);
    p->unproven -= !proven(&p->item[i]);
    atomic_fetch_sub_explicit(&p->doubtful, p->item[i].doubtful, memory_order_relaxed);
    p->item[i] = p->item[last];
    atomic_store_explicit(&p->count, last, memory_order_release);
}

static void remove_item(lk_pending *p, const lk_pending_item *item, bool retried_too)
{
    lk_lock_take(&p->lock);
    size_t i = find_locked(p, item->selector, item->verifier_hash);
    if (i < count_locked(p) && (retried_too || !p->item[i].retry)) remove_locked(p, i);
    lk_lock_give(&p->lock);
}

void lk_pending_remove(lk_pending *p, const lk_pending_item *item) { remove_item(p, item, true); }

/* The run knew fewer calls and none of those had ended the session: a call that joined since may have. */
static bool outdated_locked(const lk_pending_item *now, const lk_pending_item *run)
{
    return !run->told[0] && !now->told[0] && strcmp(now->calls, run->calls) != 0;
}

bool lk_pending_done(lk_pending *p, const lk_pending_item *run, lk_pending_item *was)
{
    lk_lock_take(&p->lock);
    size_t i = find_locked(p, run->selector, run->verifier_hash);
    bool done = i < count_locked(p) && !outdated_locked(&p->item[i], run);
    if (done) {
        *was = p->item[i];
        remove_locked(p, i);
    }
    lk_lock_give(&p->lock);
    return done;
}

void lk_pending_withdraw(lk_pending *p, const lk_pending_item *item) { remove_item(p, item, false); }

size_t lk_pending_retries(lk_pending *p) { return atomic_load_explicit(&p->retries, memory_order_acquire); }

size_t lk_pending_sure(lk_pending *p)
{
    size_t doubtful = atomic_load_explicit(&p->doubtful, memory_order_relaxed), all = lk_pending_retries(p);
    return all > doubtful ? all - doubtful : 0; /* the two are read one after the other */
}

static bool any(lk_pending *p) { return atomic_load_explicit(&p->count, memory_order_acquire); }

static bool has(lk_pending *p, const char *selector, const uint8_t *hash)
{
    lk_lock_take(&p->lock);
    bool found = find_locked(p, selector, hash) < count_locked(p);
    lk_lock_give(&p->lock);
    return found;
}

bool lk_pending_has(lk_pending *p, const lk_token *token)
{
    return ended(p, token->text) || lk_pending_holds(p, token);
}

bool lk_pending_holds(lk_pending *p, const lk_token *token)
{
    if (!any(p)) return false;
    uint8_t hash[LK_HASH_SIZE];
    lk_token_verifier_hash(token, hash);
    return has(p, token->text, hash);
}

bool lk_pending_denies(lk_pending *p, const lk_pending_item *item)
{
    return any(p) && has(p, item->selector, item->verifier_hash);
}

bool lk_pending_names(lk_pending *p, const char *selector)
{
    if (ended(p, selector)) return true;
    if (!any(p)) return false;
    bool named = false;
    lk_lock_take(&p->lock);
    for (size_t i = 0; i < count_locked(p) && !named; i++)
        named = memcmp(p->item[i].selector, selector, LATCHKEY_SELECTOR_LENGTH) == 0;
    lk_lock_give(&p->lock);
    return named;
}

void lk_pending_ran(lk_pending *p, const lk_pending_item *item, int64_t now_ms, const void *by)
{
    lk_lock_take(&p->lock);
    size_t i = find_locked(p, item->selector, item->verifier_hash);
    if (i < count_locked(p) && !outdated_locked(&p->item[i], item)) {
        p->item[i].ran_ms = now_ms;
        p->item[i].ran_by = by;
        if (item->told[0]) memcpy(p->item[i].told, item->told, sizeof item->told);
    }
    lk_lock_give(&p->lock);
}

bool lk_pending_settle(lk_pending *p, int64_t before_ms, const void *by, lk_pending_item *was)
{
    bool found = false;
    if (!any(p)) return false;
    lk_lock_take(&p->lock);
    for (size_t i = count_locked(p); i-- > 0 && !found;) {
        found = p->item[i].ran_ms && p->item[i].ran_ms < before_ms && p->item[i].ran_by == by;
        if (!found) continue;
        *was = p->item[i];
        remove_locked(p, i);
    }
    lk_lock_give(&p->lock);
    return found;
}

void lk_pending_unsettle(lk_pending *p, const void *by)
{
    if (!any(p)) return;
    lk_lock_take(&p->lock);
    for (size_t i = 0; i < count_locked(p); i++)
        if (p->item[i].ran_by == by) p->item[i].ran_ms = 0;
    lk_lock_give(&p->lock);
}

bool lk_pending_next(lk_pending *p, size_t *cursor, lk_pending_item *item)
{
    lk_lock_take(&p->lock);
    while (*cursor < count_locked(p) && (!p->item[*cursor].retry || p->item[*cursor].ran_ms)) ++*cursor;
    bool found = *cursor < count_locked(p);
    if (found) *item = p->item[(*cursor)++];
    lk_lock_give(&p->lock);
    return found;
}
