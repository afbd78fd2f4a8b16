/* May an answer that lay unread for a while be given now? See async.h. */
#include "session/async.h"

#include "session/hit.h"

#include <string.h>

enum { ASKS_MOST = 3, LATE_MS = 50 };

/* The answer is too old, or its server does not have the lease any more: Redis is asked again. A caller that comes late
 * gets its time again. */
static bool ask_once_more(lk_async *a, lk_async_slot *p, int64_t now_ms, int64_t deadline_ms)
{
    int64_t late_ms = now_ms - p->deadline_ms;
    if (p->asks >= ASKS_MOST || (late_ms >= 0 && late_ms < LATE_MS)) return false;
    if (late_ms >= 0) p->deadline_ms = now_ms + deadline_ms;
    lk_async_remember(a, p);
    lk_async_queue(a, p);
    lk_async_mind(a, p->deadline_ms);
    return true;
}

/* The lease has lapsed: a beat is on its way, and will ring. It may have come just now. */
static int await_lease(latchkey *lk, lk_async *a, lk_async_slot *p)
{
    a->desk.shared = true;
    lk_lease_await(lk->book, p->token.partition, a->desk.bell_fd);
    lk_async_desk_wake_at(&a->desk, p->deadline_ms);
    return lk_lease_covers_since_now(lk->book, p->token.partition, p->vouch.server, p->vouch.since_ms);
}

/* What may be answered now: a status, or LK_OUTCOME_NOT_YET. */
static int settle_slot(latchkey *lk, lk_async *a, lk_async_slot *p, int64_t now_ms)
{
    /* A "no" that needed no lease when it was given: by now another server may have the lease. */
    int64_t old_ms = p->deadline_ms - lk->config.deadline_ms + lk->config.staleness_ms;
    if (p->status > 0 && p->as_is && now_ms > old_ms) {
        int status = lk_async_known(lk, p);
        if (status > 0) return status;
        if (ask_once_more(a, p, now_ms, lk->config.deadline_ms)) return LK_OUTCOME_NOT_YET;
    }
    if (p->status < 0 || p->as_is) return p->status;
    int vouched = lk_lease_covers_since_now(lk->book, p->token.partition, p->vouch.server, p->vouch.since_ms);
    if (vouched == LATCHKEY_UNAVAILABLE && now_ms < p->deadline_ms) vouched = await_lease(lk, a, p);
    p->waits = vouched == LATCHKEY_UNAVAILABLE && now_ms < p->deadline_ms;
    if (p->waits) return LK_OUTCOME_NOT_YET;
    /* Comes after the lease was read: what the lease covers was purged before it was stored. */
    bool purged = !p->status && lk_l1_ticket(lk->l1, p->token.text) != p->vouch.ticket;
    if (vouched == LK_OUTCOME_OTHER_SERVER || purged)
        return ask_once_more(a, p, now_ms, lk->config.deadline_ms) ? (int)LK_OUTCOME_NOT_YET
                                                                   : (int)LATCHKEY_UNAVAILABLE;
    if (vouched) return LATCHKEY_UNAVAILABLE;
    if (p->status > 0 && p->unresolved) return p->status; /* not remembered: see alias_cache.h */
    if (p->status > 0) {
        lk_negative_cache_add(lk->negative_cache, p->vouch.dead_ticket, p->token.text, p->status, lk_coarse_ms());
        return p->status;
    }
    int status = lk_session_late(lk, p->token.partition, &p->entry, p->until_us);
    if (status == LATCHKEY_UNAVAILABLE && ask_once_more(a, p, now_ms, lk->config.deadline_ms))
        return LK_OUTCOME_NOT_YET;
    return status;
}

size_t lk_async_give(latchkey *lk, lk_async *a, latchkey_answer *answers, size_t max, int64_t now_ms)
{
    size_t given = 0;
    for (lk_async_slot *p = lk_async_first(a, LK_ASYNC_ANSWERED), *next; p && given < max; p = next) {
        next = lk_async_at(a, p->next);
        int status = settle_slot(lk, a, p, now_ms);
        if (status == LK_OUTCOME_NOT_YET) continue;
        latchkey_answer *out = &answers[given++];
        memset(out, 0, sizeof *out);
        out->tag = p->tag;
        out->status = status;
        if (!status) out->entry = p->entry;
        bool stale_too = p->max_age_ms == INT64_MAX;
        if (status == LATCHKEY_UNAVAILABLE && stale_too && lk_validate_stale(lk, &p->token, &out->entry))
            out->status = LATCHKEY_OK;
        if (p->token.foreign) out->entry.flags |= LATCHKEY_FLAG_RENEW;
        if (out->status) memset(&out->entry, 0, sizeof out->entry);
        lk_async_free(a, p);
    }
    return given;
}
