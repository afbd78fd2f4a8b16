/* See async.h. What validate does in one go, these functions do step by step, in the threads that call them: there is
 * no other thread. A question is asked, answered and put into L1 by the code of validate (read.h). */
#include "session/async.h"

#include "base/errno_text.h"
#include "base/reason.h"
#include "base/secure_memory.h"
#include "session/async_hand.h"
#include "session/begin.h"
#include "session/hit.h"
#include "base/lock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { READS_AT_ONCE = 8, SENT_TOGETHER = 32, AHEAD_MOST_MS = 1000 };

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
    int status = lk_question_answer(lk, &p->token, &p->vouch, p->replies, &p->entry, &p->until_us);
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

/* ----------------------------------------------------------------------------------------------- asking -- */

static void send_slot(lk_async *a, lk_async_slot *p, const lk_call *calls, unsigned count)
{
    p->asks++;
    lk_async_move(a, p, LK_ASYNC_ASKED);
    a->unsent++;
    for (unsigned i = 0; i < count; i++)
        if (!lk_conn_send(&a->channel.conn, lk_async_index(a, p), calls[i].words, calls[i].count)) {
            /* half a question may be in the buffer */
            lk_async_conn_lose(&a->channel, lk_now_ms(), "no memory for a command");
            return;
        }
}

static void ask_alias_slot(latchkey *lk, lk_async *a, lk_async_slot *p)
{
    lk_resolving_words words;
    lk_resolve_ask(lk, &p->foreign, &p->vouch, &words);
    send_slot(a, p, &words.call, 1);
}

static void ask_session(latchkey *lk, lk_async *a, lk_async_slot *p)
{
    lk_question_words words;
    if (!lk_vouch_session(lk, &p->token, &p->vouch)) {
        p->vouch.server = p->vouch.leased;
        lk_async_answer(a, p, LATCHKEY_NOT_FOUND, lk_pending_holds(lk->pending, &p->token));
        return;
    }
    lk_question_ask(lk, &p->token, &p->vouch, &words);
    send_slot(a, p, words.calls, LK_QUESTION_CALLS);
}

/* Questions that are asked while others are under way are sent when answers come, or when there are some more of them. */
static bool send_asked(lk_async *a, int64_t now_ms, bool now)
{
    if (!a->unsent) return true;
    if (a->channel.state != LK_ASYNC_CONN_UP) return false; /* the connection was lost while asking */
    if (!now && a->asked != a->unsent && a->unsent < SENT_TOGETHER) return true;
    a->unsent = 0;
    return lk_async_conn_send(&a->channel, now_ms);
}

/* The connection is gone. What was asked is asked once more, as far as the budget allows. */
static void take_loss(latchkey *lk, lk_async *a, int64_t now_ms)
{
    lk_async_slot *p;
    a->unsent = 0;
    while ((p = lk_async_first(a, LK_ASYNC_ASKED))) {
        if (p->asks > 1 || now_ms >= p->deadline_ms ||
            !lk_pool_may_repeat(lk_node_pool(lk_topology_node(&lk->l2.topology, 0))))
            lk_async_no_answer(lk, a, p, a->channel.error);
        else lk_async_queue(a, p);
    }
}

/* Asks on the connection if there is one; if there cannot be one, nothing waits for it. */
static void ask_queued(latchkey *lk, lk_async *a, int64_t now_ms)
{
    lk_async_slot *p;
    if (a->hands.ask) {
        lk_async_hand(lk, a);
        return;
    }
    if (lk_async_first(a, LK_ASYNC_QUEUED) && !lk_async_conn_wanted(&a->channel, now_ms))
        while ((p = lk_async_first(a, LK_ASYNC_QUEUED))) lk_async_no_answer(lk, a, p, a->channel.error);
    while (a->channel.state == LK_ASYNC_CONN_UP && !a->ahead && (p = lk_async_first(a, LK_ASYNC_QUEUED)) &&
           lk_conn_room(&a->channel.conn) >= LK_QUESTION_CALLS) {
        if (p->unresolved) ask_alias_slot(lk, a, p);
        else ask_session(lk, a, p);
    }
}

/* Something is due then, whichever thread does it. */
void lk_async_mind(lk_async *a, int64_t deadline_ms)
{
    if (deadline_ms < a->soonest_ms) a->soonest_ms = deadline_ms;
    lk_async_conn_wake_at(&a->channel, deadline_ms);
}

/* If a caller's time has passed, the connection is given up: so a late reply can answer nothing (guarantee I). */
static void expire_late(latchkey *lk, lk_async *a, int64_t now_ms)
{
    static const char why[] = "Redis did not answer within deadline_ms";
    bool late = false;
    if (now_ms < a->soonest_ms) {
        /* The timer may have run for something else that was due earlier. */
        if (a->soonest_ms != INT64_MAX) lk_async_conn_wake_at(&a->channel, a->soonest_ms);
        return;
    }
    int64_t soonest = INT64_MAX;
    for (enum lk_async_state s = LK_ASYNC_QUEUED; s <= LK_ASYNC_ASKED; s++)
        for (lk_async_slot *p = lk_async_first(a, s), *next; p; p = next) {
            next = lk_async_at(a, p->next);
            if (p->deadline_ms > now_ms) soonest = p->deadline_ms < soonest ? p->deadline_ms : soonest;
            else if (s == LK_ASYNC_QUEUED) lk_async_no_answer(lk, a, p, why);
            else late = !a->hands.ask; /* a thread that asks knows the deadline itself */
        }
    if (late) {
        lk_async_conn_lose(&a->channel, now_ms, why);
        take_loss(lk, a, now_ms);
    }
    a->soonest_ms = INT64_MAX;
    if (soonest != INT64_MAX) lk_async_mind(a, soonest);
}

/* False: there is nothing more to read now. */
static bool take_all_replies(latchkey *lk, lk_async *a, int64_t now_ms)
{
    lk_reply *reply;
    bool whole = lk_async_conn_drive(&a->channel, now_ms);
    int got = 0;
    while (whole && a->channel.state == LK_ASYNC_CONN_UP &&
           (got = lk_async_conn_next(&a->channel, now_ms, &reply)) > 0) {
        lk_async_slot *p = lk_async_at(a, reply->tag);
        p->replies[p->got++] = reply;
        if (p->got == lk_async_calls(p)) lk_async_take(lk, a, p, a->channel.hello.incarnation);
    }
    if (!whole || got < 0) take_loss(lk, a, now_ms);
    return whole && got == 0 && a->channel.more;
}

/* On a connection to a server without the lease, asking gains nothing. If that server once had the lease, another
 * server has it now: a new connection leads there. If it never had it, the link is behind, and is told to look; a new
 * connection would lead to the same server. */
static void leave_the_old(latchkey *lk, lk_async *a, int64_t now_ms)
{
    lk_node *node = lk_topology_node(&lk->l2.topology, 0);
    uint64_t leased = lk_lease_owner(lk->book, 0), server = a->channel.hello.incarnation;
    a->ahead = false;
    if (a->hands.ask || a->channel.state != LK_ASYNC_CONN_UP || !leased) return;
    if (server == leased) a->served = server;
    if (server == leased) return;
    lk_node_suspect(node, server);
    if (a->served != server && now_ms - a->channel.up_ms < AHEAD_MOST_MS) {
        a->ahead = true;
        if (!lk_async_first(a, LK_ASYNC_QUEUED)) return;
        a->channel.shared = true;
        lk_lease_await(lk->book, 0, a->channel.bell_fd);
        lk_async_conn_wake_at(&a->channel, a->channel.up_ms + AHEAD_MOST_MS);
        return;
    }
    a->served = 0;
    lk_async_conn_lose(&a->channel, now_ms, "the server is another one now");
    take_loss(lk, a, now_ms);
}

/* Is there something left that could be given? Slots that were not looked at, because the caller had no room, count: a
 * lease or a deadline may have come for them meanwhile. */
void lk_async_ring_for_more(lk_async *a, bool no_room)
{
    for (lk_async_slot *p = lk_async_first(a, LK_ASYNC_ANSWERED); p; p = lk_async_at(a, p->next))
        if (no_room || !p->waits) {
            lk_async_conn_ring(&a->channel);
            return;
        }
}

/* ---------------------------------------------------------------------------------------- open and close -- */

/* NULL: errno says why. */
static lk_async *open_async(latchkey *lk, const lk_async_hands *hands)
{
    lk_async *a = calloc(1, sizeof *a);
    if (!a) return NULL;
    if (hands) a->hands = *hands;
    bool table = lk_async_table_open(a, (uint32_t)lk->config.in_flight);
    if (!table || !lk_async_conn_open(&a->channel, &lk->config, lk_node_pool(lk_topology_node(&lk->l2.topology, 0)))) {
        int why = errno;
        if (table) lk_async_table_close(a);
        free(a);
        errno = why;
        return NULL;
    }
    lk_lock_open(&a->lock, LK_RANK_ASYNC);
    return a;
}

void lk_async_destroy(lk_async *a)
{
    lk_async_table_close(a);
    lk_lock_close(&a->lock);
    free(a);
}

void lk_async_close(latchkey *lk, lk_async *a)
{
    if (!a) return;
    lk_lock_take(&a->lock);
    if (lk->l2.topology.book.open) lk_bells_leave(&lk->l2.topology.book.bells, a->channel.bell_fd);
    lk_async_conn_close(&a->channel);
    a->closed = true;
    bool used = a->askers;
    lk_lock_give(&a->lock);
    if (!used) lk_async_destroy(a);
}

void lk_async_abandon(lk_async *a) { lk_async_conn_abandon(&a->channel); }

int lk_async_open(latchkey *lk, const lk_async_hands *hands, lk_async **out)
{
    *out = open_async(lk, hands);
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
        equal->joined = lk_async_index(a, p);
        return;
    }
    lk_async_remember(a, p);
    lk_async_move(a, p, LK_ASYNC_QUEUED);
    lk_async_mind(a, p->deadline_ms);
    leave_the_old(lk, a, now_ms);
    ask_queued(lk, a, now_ms);
    if (!send_asked(a, now_ms, false)) take_loss(lk, a, now_ms);
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
    lk_async_ring_for_more(a, false);
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
        p->deadline_ms = now_ms + lk->config.deadline_ms;
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
    if (lk_async_conn_rung(&a->channel)) lk_async_conn_hush(&a->channel);
    for (int i = 0; i < READS_AT_ONCE; i++)
        if (!take_all_replies(lk, a, now_ms)) break;
    expire_late(lk, a, now_ms);
    size_t given = lk_async_give(lk, a, answers, max, now_ms);
    leave_the_old(lk, a, now_ms);
    ask_queued(lk, a, now_ms);
    if (!send_asked(a, now_ms, true)) take_loss(lk, a, now_ms);
    lk_async_ring_for_more(a, given == max);
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
    bool watched = lk_async_conn_watch(&a->channel, fd);
    lk_lock_give(&a->lock);
    return watched;
}

void lk_async_ring(lk_async *a) { lk_async_conn_ring_from(&a->channel); }

int lk_async_fd(lk_async *a)
{
    lk_lock_take(&a->lock);
    if (!a->hands.ask) lk_async_conn_wanted(&a->channel, lk_now_ms()); /* so that it is there for the first question */
    lk_lock_give(&a->lock);
    return a->channel.epoll_fd;
}
