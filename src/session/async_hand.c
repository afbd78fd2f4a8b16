/* See async_hand.h. Lock: async.lock; it is not held while Redis is asked. A slot that is ASKED stays where it is until
 * the thread that asks gives it back, also when the queue is closed meanwhile. */
#include "session/async_hand.h"

enum { TOGETHER = 32, MOMENT_MS = 10 };

static const char late_text[] = "Redis did not answer within deadline_ms";

typedef union question {
    lk_question_words session;
    lk_resolving_words alias;
} question;

/* One round trip to one node. */
typedef struct round {
    lk_async_slot *slot[TOGETHER];
    question words[TOGETHER];
    lk_call calls[TOGETHER * LK_QUESTION_CALLS];
    lk_reply *replies[TOGETHER * LK_QUESTION_CALLS];
    size_t slots, count;
    int64_t deadline_ms;
    int64_t next_ms; /* when something else may be asked; INT64_MAX: there is nothing */
} round;

static lk_node *node_of(latchkey *lk, const lk_async_slot *p) { return lk_l2_owner(&lk->l2, p->token.partition); }

/* ------------------------------------------------------------------------------------------------ handing -- */

static bool has_asker(const lk_async *a, const lk_node *node)
{
    for (unsigned i = 0; i < a->askers; i++)
        if (a->asking[i] == node) return true;
    return false;
}

void lk_async_hand(latchkey *lk, lk_async *a)
{
    for (lk_async_slot *p = lk_async_first(a, LK_ASYNC_QUEUED), *next; p && !a->closed; p = next) {
        lk_node *node = node_of(lk, p);
        next = lk_async_at(a, p->next);
        if (has_asker(a, node)) continue;
        if (a->askers < LK_ASYNC_ASKERS_MAX && a->hands.ask(a->hands.context, a, node)) a->asking[a->askers++] = node;
        else lk_async_no_answer(lk, a, p, "no thread is left for what was submitted (see ulimit -u)");
    }
}

/* This thread asks this node no more. */
static void leave_node(latchkey *lk, lk_async *a, const lk_node *node)
{
    for (unsigned i = 0; i < a->askers; i++)
        if (a->asking[i] == node) a->asking[i--] = a->asking[--a->askers];
    lk_async_hand(lk, a); /* what is another node's by now */
    bool last = a->closed && !a->askers;
    if (!a->closed) lk_async_ring_for_more(a, false);
    lk_lock_give(&a->lock);
    if (last) lk_async_destroy(a);
}

/* ------------------------------------------------------------------------------------------------- asking -- */

/* It may be asked a moment later: then its partition may have moved, or its server been met. */
static void put_off(lk_async *a, lk_async_slot *p)
{
    p->not_before_ms = lk_now_ms() + MOMENT_MS;
    lk_async_queue(a, p);
}

static void add_calls(round *r, lk_async_slot *p, const lk_call *calls)
{
    for (unsigned i = 0; i < lk_async_calls(p); i++) r->calls[r->count++] = calls[i];
    if (p->deadline_ms < r->deadline_ms) r->deadline_ms = p->deadline_ms;
    r->slot[r->slots++] = p;
}

static void ask_slot(latchkey *lk, lk_async *a, lk_async_slot *p, round *r)
{
    question *words = &r->words[r->slots];
    if (!p->unresolved && !lk_vouch_session(lk, &p->token, &p->vouch)) {
        p->vouch.server = p->vouch.leased;
        lk_async_answer(a, p, LATCHKEY_NOT_FOUND, lk_pending_holds(lk->pending, &p->token));
        return;
    }
    if (p->unresolved) lk_resolve_ask(lk, &p->foreign, &p->vouch, &words->alias);
    else lk_question_ask(lk, &p->token, &p->vouch, &words->session);
    add_calls(r, p, p->unresolved ? &words->alias.call : words->session.calls);
    lk_async_move(a, p, LK_ASYNC_ASKED);
}

/* Before a server has the lease, its answers do not count. */
static bool is_early(latchkey *lk, lk_async_slot *p, int64_t now_ms)
{
    bool leased = lk_vouch_partition(lk, p->token.partition).leased != 0;
    if (!leased && p->not_before_ms <= now_ms) p->not_before_ms = now_ms + MOMENT_MS;
    return p->not_before_ms > now_ms;
}

static void begin_round(latchkey *lk, lk_async *a, const lk_node *node, round *r)
{
    int64_t now_ms = lk_now_ms();
    r->slots = r->count = 0;
    r->deadline_ms = r->next_ms = INT64_MAX;
    for (lk_async_slot *p = lk_async_first(a, LK_ASYNC_QUEUED), *next; p && r->slots < TOGETHER; p = next) {
        next = lk_async_at(a, p->next);
        if (node_of(lk, p) != node) continue;
        if (p->deadline_ms <= now_ms) lk_async_no_answer(lk, a, p, late_text);
        else if (is_early(lk, p, now_ms)) r->next_ms = lk_earlier(r->next_ms, p->not_before_ms);
        else ask_slot(lk, a, p, r);
    }
}

static void drop_replies(lk_reply **replies, unsigned count)
{
    for (unsigned i = 0; i < count; i++) lk_reply_free(replies[i]);
}

/* The server that answered may not have the lease yet, or not any more. */
static void take_slot(latchkey *lk, lk_async *a, lk_node *node, lk_async_slot *p, lk_reply **replies,
                      uint64_t incarnation)
{
    unsigned count = lk_async_calls(p);
    bool moved = lk_l2_moved(&lk->l2, node, p->token.partition, replies, count);
    if (!moved) lk_vouch_answered(lk, p->token.partition, &p->vouch, incarnation);
    if (moved || !p->vouch.server) {
        drop_replies(replies, count);
        put_off(a, p);
        return;
    }
    for (unsigned i = 0; i < count; i++) p->replies[i] = replies[i];
    p->got = count;
    p->asks++;
    lk_async_take(lk, a, p, incarnation);
}

/* There is no answer. What has another owner by now, or time left, is asked again. */
static void lose_slot(latchkey *lk, lk_async *a, lk_node *node, lk_async_slot *p, bool late)
{
    char why[160];
    int64_t now_ms = lk_now_ms();
    if (p->deadline_ms > now_ms && (late || node_of(lk, p) != node)) {
        put_off(a, p);
        return;
    }
    lk_node_last_trouble(node, why, sizeof why);
    lk_async_no_answer(lk, a, p, *why ? why : late_text);
}

static void end_round(latchkey *lk, lk_async *a, lk_node *node, round *r, int status, uint64_t incarnation)
{
    bool late = lk_now_ms() >= r->deadline_ms;
    lk_reply **replies = r->replies;
    for (size_t i = 0; i < r->slots; i++) {
        lk_async_slot *p = r->slot[i];
        unsigned count = lk_async_calls(p);
        if (a->closed && !status) drop_replies(replies, count);
        else if (status) lose_slot(lk, a, node, p, late);
        else take_slot(lk, a, node, p, replies, incarnation);
        replies += count;
    }
}

bool lk_async_ask(latchkey *lk, lk_async *a, lk_node *node, bool stop)
{
    round r;
    uint64_t incarnation = 0;
    lk_lock_take(&a->lock);
    if (!a->closed && !stop) begin_round(lk, a, node, &r);
    else r = (round){.slots = 0, .next_ms = INT64_MAX};
    if (!r.slots && r.next_ms == INT64_MAX) {
        leave_node(lk, a, node);
        return false;
    }
    if (!a->closed) lk_async_ring_for_more(a, false); /* what needed no question is not held up by the others */
    lk_lock_give(&a->lock);
    int status = LATCHKEY_OK;
    if (r.slots) status = lk_l2_at(&lk->l2, node, r.calls, r.count, r.deadline_ms, r.replies, &incarnation);
    else lk_l2_await_change(&lk->l2, r.next_ms);
    lk_lock_take(&a->lock);
    end_round(lk, a, node, &r, status, incarnation);
    if (!a->closed) {
        lk_async_hand(lk, a);
        lk_async_ring_for_more(a, false);
    }
    lk_lock_give(&a->lock);
    return true;
}
