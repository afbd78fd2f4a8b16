/* See async.h. What validate does in one go, these functions do step by step, in the threads that call them: there is
 * no other thread. A question is asked, answered and put into L1 by the code of validate (read.h). */
#include "session/async.h"

#include "base/errno_text.h"
#include "base/reason.h"
#include "base/secure_memory.h"
#include "session/async_line.h"
#include "session/begin.h"
#include "session/hit.h"
#include "base/lock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { READS_AT_ONCE = 8 };

/* Answers this slot and all that joined it. */
void lk_async_answer(lk_async *a, lk_async_slot *p, int status, bool as_is)
{
    lk_async_forget(a, p);
    for (unsigned i = 0; i < p->got; i++) lk_reply_free(p->replies[i]);
    p->got = 0;
    p->status = status;
    p->as_is = as_is;
    uint32_t joined = p->joined;
    p->joined = LK_ASYNC_NOBODY;
    lk_async_move(a, p, LK_ASYNC_ANSWERED);
    while (joined != LK_ASYNC_NOBODY) {
        lk_async_slot *q = lk_async_at(a, joined);
        joined = q->next;
        q->status = status;
        q->as_is = as_is;
        q->asks = p->asks;
        q->vouch = p->vouch;
        q->until_us = p->until_us;
        q->entry = p->entry;
        lk_async_move(a, q, LK_ASYNC_ANSWERED);
    }
}

/* For a question that must be asked anew, together with those that joined it. */
void lk_async_queue(lk_async *a, lk_async_slot *p)
{
    for (unsigned i = 0; i < p->got; i++) lk_reply_free(p->replies[i]);
    p->got = 0;
    lk_async_move(a, p, LK_ASYNC_QUEUED);
}

/* What is known here. AGAIN: Redis has to be asked. */
int lk_async_known(latchkey *lk, lk_async_slot *p)
{
    p->vouch = (lk_vouch){.ticket = lk_l1_ticket(lk->l1, p->token.text)};
    p->vouch.server = lk_lease_owner(lk->book, p->token.partition);
    int status = lk_validate_local(lk, &p->token, p->max_age_ms, &p->entry, &p->until_us);
    /* This handle's own denial needs no Redis. Otherwise it would be asked for, and denied again, at each reap. */
    bool unknown = status == LATCHKEY_AGAIN || status == LATCHKEY_UNAVAILABLE;
    if (unknown && lk_pending_holds(lk->pending, &p->token)) status = LATCHKEY_NOT_FOUND;
    return status;
}

static void resolve_slot(lk_async_slot *p, const lk_token *token)
{
    p->token = *token;
    p->unresolved = false;
    p->asks = 0;
}

/* The name is resolved. From here on it is asked for as any other token. */
static void take_alias(latchkey *lk, lk_async *a, lk_async_slot *p, uint64_t incarnation)
{
    lk_token token;
    p->got = 0;
    lk_vouch_answered(lk, p->foreign.partition, &p->vouch, incarnation);
    int status = lk_resolve_take(lk, &p->foreign, p->replies[0], &token);
    if (status == LATCHKEY_NOT_FOUND) lk_count(&lk->counters, LK_FOREIGN_UNKNOWN, 1);
    if (status) {
        lk_async_answer(a, p, status, false);
        return;
    }
    if (lk_lease_covers_now(lk->book, p->foreign.partition, p->vouch.server) == LATCHKEY_OK)
        lk_resolve_remember(lk, &p->foreign, &p->vouch, &token);
    lk_async_forget(a, p);
    resolve_slot(p, &token);
    for (lk_async_slot *q = lk_async_at(a, p->joined); q; q = lk_async_at(a, q->next)) resolve_slot(q, &token);
    lk_wipe(&token, sizeof token);
    status = lk_async_known(lk, p);
    lk_async_remember(a, p);
    if (status == LATCHKEY_AGAIN) lk_async_queue(a, p);
    else lk_async_answer(a, p, status, status != LATCHKEY_OK);
}

void lk_async_take(latchkey *lk, lk_async *a, lk_async_slot *p, uint64_t incarnation)
{
    if (p->unresolved) {
        take_alias(lk, a, p, incarnation);
        return;
    }
    lk_vouch_answered(lk, p->token.partition, &p->vouch, incarnation);
    int status = lk_question_answer(lk, &p->token, &p->vouch, p->replies, p->begun_us, &p->entry, &p->until_us);
    p->got = 0;
    lk_histogram_add(&lk->counters.l2_read_us, (uint64_t)(lk_now_us() - p->vouch.asked_us));
    lk_async_answer(a, p, status, false);
}

void lk_async_no_answer(latchkey *lk, lk_async *a, lk_async_slot *p, const char *why)
{
    lk_count(&lk->counters, LK_L2_ERRORS, 1);
    lk_node_trouble(lk_l2_owner(&lk->l2, p->token.partition), LATCHKEY_UNAVAILABLE, why);
    lk_async_answer(a, p, LATCHKEY_UNAVAILABLE, true);
}

/* ---------------------------------------------------------------------------------------- what is late -- */

/* Something is due then, whichever thread does it. */
void lk_async_mind(lk_async *a, int64_t deadline_ms)
{
    if (deadline_ms < a->soonest_ms) a->soonest_ms = deadline_ms;
    lk_async_desk_wake_at(&a->desk, deadline_ms);
}

/* If a caller's time has passed, its line is given up: so a late reply can answer nothing (guarantee I). */
static void expire_late(latchkey *lk, lk_async *a, int64_t now_ms)
{
    static const char why[] = "Redis did not answer within deadline_ms";
    uint64_t late = 0; /* lines */
    if (now_ms < a->soonest_ms) {
        /* The timer may have run for something else that was due earlier. */
        if (a->soonest_ms != INT64_MAX) lk_async_desk_wake_at(&a->desk, a->soonest_ms);
        return;
    }
    int64_t soonest = INT64_MAX;
    for (enum lk_async_state s = LK_ASYNC_QUEUED; s <= LK_ASYNC_ASKED; s++)
        for (lk_async_slot *p = lk_async_first(a, s), *next; p; p = next) {
            next = lk_async_at(a, p->next);
            if (p->deadline_ms > now_ms) soonest = p->deadline_ms < soonest ? p->deadline_ms : soonest;
            else if (s == LK_ASYNC_QUEUED) lk_async_no_answer(lk, a, p, why);
            else late |= UINT64_C(1) << p->line;
        }
    if (late) lk_async_give_up(lk, a, late, now_ms, why);
    a->soonest_ms = INT64_MAX;
    if (soonest != INT64_MAX) lk_async_mind(a, soonest);
}

/* Is there something left that could be given? Slots that were not looked at, because the caller had no room, count: a
 * lease or a deadline may have come for them meanwhile. */
static void ring_for_more(lk_async *a, bool no_room)
{
    for (lk_async_slot *p = lk_async_first(a, LK_ASYNC_ANSWERED); p; p = lk_async_at(a, p->next))
        if (no_room || !p->waits) {
            lk_async_desk_ring(&a->desk);
            return;
        }
}

/* ---------------------------------------------------------------------------------------- open and close -- */

static void destroy_async(lk_async *a)
{
    lk_async_lines_close(a);
    lk_async_desk_close(&a->desk);
    lk_async_table_close(a);
    lk_lock_close(&a->lock);
    free(a);
}

/* NULL: errno says why. */
static lk_async *open_async(latchkey *lk)
{
    lk_async *a = calloc(1, sizeof *a);
    if (!a) return NULL;
    bool table = lk_async_table_open(a, (uint32_t)lk->config.in_flight);
    if (!table || !lk_async_desk_open(&a->desk)) {
        int why = errno;
        if (table) lk_async_table_close(a);
        free(a);
        errno = why;
        return NULL;
    }
    lk_lock_open(&a->lock, LK_RANK_ASYNC);
    if (lk_async_lines_open(lk, a)) return a;
    destroy_async(a);
    errno = ENOMEM;
    return NULL;
}

void lk_async_close(latchkey *lk, lk_async *a)
{
    if (!a) return;
    if (lk->l2.topology.book.open) lk_bells_leave(&lk->l2.topology.book.bells, a->desk.bell_fd);
    destroy_async(a);
}

void lk_async_abandon(lk_async *a)
{
    lk_async_lines_abandon(a);
    lk_async_desk_abandon(&a->desk);
}

int lk_async_open(latchkey *lk, lk_async **out)
{
    *out = open_async(lk);
    if (*out) return LATCHKEY_OK;
    if (errno != EMFILE && errno != ENFILE && errno != ENOSPC) return lk_reason(LATCHKEY_NO_MEMORY, "no memory");
    char text[160];
    snprintf(text, sizeof text, "no descriptor is left for latchkey_fd and latchkey_submit: %s (see ulimit -n)",
             lk_errno_text(errno));
    lk_node_trouble(lk_topology_node(&lk->l2.topology, 0), LATCHKEY_UNAVAILABLE, text);
    return lk_reason(LATCHKEY_UNAVAILABLE, "%s", text);
}

/* ------------------------------------------------------------------------------------------------ verbs -- */

static void join_or_queue(latchkey *lk, lk_async *a, lk_async_slot *p, int64_t now_ms)
{
    int64_t staleness_ms = lk->config.staleness_ms;
    int64_t age_ms = p->max_age_ms < staleness_ms ? p->max_age_ms : staleness_ms;
    int64_t oldest_us =
        age_ms ? (now_ms - age_ms) * 1000 : INT64_MAX; /* a question that was not sent yet is joined in any case */
    lk_async_slot *equal = lk_async_find_equal(a, p, lk_l1_ticket(lk->l1, p->token.text), oldest_us);
    /* Once it is known which session it means, L1 may answer the other one, under an older lease. */
    if (equal && equal->unresolved && p->max_age_ms < equal->max_age_ms) equal = NULL;
    if (equal) {
        lk_count(&lk->counters, LK_JOINED, 1);
        lk_async_move(a, p, LK_ASYNC_JOINED);
        p->next = equal->joined;
        if (equal->begun_us < p->begun_us) equal->begun_us = p->begun_us;
        equal->joined = lk_async_index(a, p);
        equal->fresh |= p->fresh; /* it was not asked yet, or it is */
        return;
    }
    lk_async_remember(a, p);
    lk_async_move(a, p, LK_ASYNC_QUEUED);
    lk_async_mind(a, p->deadline_ms);
    lk_async_ask_new(lk, a, p, now_ms);
    lk_async_send_asked(lk, a, now_ms, false);
}

static void start_slot(latchkey *lk, lk_async *a, lk_async_slot *p, int64_t now_ms)
{
    int status = lk_async_known(lk, p);
    if (status == LATCHKEY_AGAIN) {
        lk_count(&lk->counters, LK_L1_MISSES, 1);
        join_or_queue(lk, a, p, now_ms);
    } else {
        p->status = status;
        p->as_is = status != LATCHKEY_OK;
        lk_async_move(a, p, LK_ASYNC_ANSWERED);
    }
    ring_for_more(a, false);
}

/* `foreign` is NULL if the token is known. */
int lk_async_submit(latchkey *lk, lk_async *a, const lk_token *token, const lk_foreign *foreign, int64_t max_age_ms,
                    uint64_t tag)
{
    int64_t now_ms = lk_now_ms();
    lk_lock_take(&a->lock);
    lk_async_slot *p = lk_async_first(a, LK_ASYNC_FREE);
    if (p) {
        p->tag = tag;
        p->token = *token;
        p->unresolved = foreign != NULL;
        if (foreign) p->foreign = *foreign;
        p->max_age_ms = max_age_ms;
        p->fresh = lk_question_fresh(lk, max_age_ms);
        p->deadline_ms = now_ms + lk->config.deadline_ms;
        p->begun_us = lk_now_us();
        p->not_before_ms = 0;
        p->asks = 0;
        p->waits = false;
        start_slot(lk, a, p, now_ms);
    } else lk_count(&lk->counters, LK_SHED, 1);
    lk_lock_give(&a->lock);
    return p ? LATCHKEY_OK : lk_reason(LATCHKEY_UNAVAILABLE, "in_flight answers of this queue are outstanding already");
}

static size_t reap_locked(latchkey *lk, lk_async *a, latchkey_answer *answers, size_t max)
{
    lk_lock_assert(&a->lock);
    int64_t now_ms = lk_now_ms();
    lk_async_desk_hear(&a->desk, now_ms);
    if (lk_async_desk_rung(&a->desk)) lk_async_desk_hush(&a->desk);
    bool heard = false;
    for (int i = 0; i < READS_AT_ONCE; i++)
        if (!lk_async_read(lk, a, now_ms, &heard)) break;
    expire_late(lk, a, now_ms);
    size_t given = lk_async_give(lk, a, answers, max, now_ms);
    lk_async_ask_queued(lk, a, now_ms);
    lk_async_send_asked(lk, a, now_ms, true);
    ring_for_more(a, given == max);
    return given;
}

size_t lk_async_reap(latchkey *lk, lk_async *a, latchkey_answer *answers, size_t max)
{
    lk_lock_take(&a->lock);
    size_t given = reap_locked(lk, a, answers, max);
    lk_lock_give(&a->lock);
    return given;
}

bool lk_async_watch(lk_async *a, int fd)
{
    lk_lock_take(&a->lock);
    bool watched = lk_async_desk_watch(&a->desk, fd);
    lk_lock_give(&a->lock);
    return watched;
}

void lk_async_ring(lk_async *a) { lk_async_desk_ring_from(&a->desk); }

int lk_async_fd(latchkey *lk, lk_async *a)
{
    lk_lock_take(&a->lock);
    lk_async_want_line(lk, a);
    lk_lock_give(&a->lock);
    return a->desk.epoll_fd;
}
