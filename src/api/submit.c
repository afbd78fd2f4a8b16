/* latchkey_fd, latchkey_submit, latchkey_reap: validate without waiting, for event loops.
 *
 *   submit --L1 can tell--------------------------------------------------> ANSWERED --+
 *      |                                                                        ^      |
 *      +-----> QUEUED --channel is UP, ticket--> ASKED --HGET v, PTTL, judge----+      +--reap: may it be given?--> tag
 *      |         ^                                  |                           |          (ticket, lease, time)
 *      |         +--- the connection broke, once ---+                           |
 *      +-----> JOINED to an equal one that is QUEUED or ASKED, with its ticket -+
 *
 * A foreign token that this process does not know yet is `unresolved`: it is asked whose it is first (resolve.h), in the same
 * places and states, under its name and verifier in the place of a token. Once that is known it is QUEUED again as the token
 * that it stands for, and those who joined it with it.
 *
 * What validate does in one go, these do in turns, in the threads that call them: there is no other. A question is asked,
 * answered and put into L1 by the code of validate (judge.h). What differs is that an answer may lie unread for a while;
 * so whether it may be given is decided when it is taken, as if L1 had answered then: nothing was purged on its stripe
 * since it was asked (the ticket), and the server that gave it has the lease (lk_node_lease_covers_now). If something was purged,
 * or it is not that server, it is asked once more.
 *
 * Lock: desk.lock, taken before any other and never under one; nothing under it waits. Bounded: in_flight places, from
 * submit until reap. */
#include "l2/async_conn.h"
#include "base/hash.h"
#include "base/secure_memory.h"
#include "session/async.h"
#include "session/resolve.h"
#include "session/begin.h"
#include "session/hit.h"
#include "session/judge.h"
#include "session/read.h"

#include <stdlib.h>
#include <string.h>

enum state { FREE, QUEUED, ASKED, JOINED, ANSWERED };
enum { BUCKETS = 1024, READS_AT_ONCE = 8, SENT_TOGETHER = 32, ASKS_MOST = 3, LATE_MS = 50 };
#define NOBODY UINT32_MAX

typedef struct place {
    enum state state;
    uint32_t next, before; /* of the list of its state; of the joined, `next` alone */
    uint32_t joined;       /* the first that waits for this one's answer */
    uint32_t same;         /* the next of its bucket, while QUEUED or ASKED */
    uint64_t tag;
    int64_t deadline_ms;
    lk_token token;
    bool unresolved; /* `token` is the stand-in of */
    lk_foreign foreign;
    lk_resolving resolving;
    unsigned asks;
    bool waits;   /* ANSWERED: for a lease */
    bool as_is;   /* ANSWERED: needs nobody's lease */
    int status;   /* ANSWERED: what was said, or why there is no answer */
    unsigned got; /* replies */
    lk_reply *replies[LK_QUESTION_CALLS];
    lk_question question;
    uint64_t refused_ticket; /* negative_cache.h */
    uint64_t incarnation;
    int64_t until_us;
    latchkey_entry entry;
} place;

typedef struct list {
    uint32_t first, last;
} list;

struct lk_async {
    pthread_mutex_t lock;
    /* all guarded by lock: */
    lk_async_conn channel;
    place *places;
    uint32_t count;
    size_t bytes;
    list of[ANSWERED + 1]; /* by state; in the order in which they got there */
    uint32_t bucket[BUCKETS];
    uint32_t unsent; /* asked, but still in the channel's buffer */
    uint32_t asked;
    int64_t soonest_ms; /* no deadline of those QUEUED or ASKED is earlier */
};

/* ------------------------------------------------------------------------------------------------- lists -- */

static uint32_t index_of(const lk_async *d, const place *p) { return (uint32_t)(p - d->places); }
static place *at(lk_async *d, uint32_t i) { return i == NOBODY ? NULL : &d->places[i]; }
static place *first(lk_async *d, enum state state) { return at(d, d->of[state].first); }

static void unlist(lk_async *d, place *p)
{
    list *l = &d->of[p->state];
    if (p->state == JOINED) return; /* the one it waits for looks after it */
    if (p->before == NOBODY) l->first = p->next;
    else d->places[p->before].next = p->next;
    if (p->next == NOBODY) l->last = p->before;
    else d->places[p->next].before = p->before;
}

static void enlist(lk_async *d, place *p, enum state state)
{
    list *l = &d->of[state];
    p->state = state;
    p->next = p->before = NOBODY;
    if (state == JOINED) return;
    p->before = l->last;
    if (l->last == NOBODY) l->first = index_of(d, p);
    else d->places[l->last].next = index_of(d, p);
    l->last = index_of(d, p);
}

static void move(lk_async *d, place *p, enum state state)
{
    if (p->state == ASKED) d->asked--;
    unlist(d, p);
    enlist(d, p, state);
    if (state == ASKED) d->asked++;
}

static uint32_t *bucket_of(lk_async *d, const place *p)
{
    return &d->bucket[lk_hash(p->token.text, LATCHKEY_SELECTOR_LENGTH, 0) % BUCKETS];
}

static void forget(lk_async *d, place *p)
{
    for (uint32_t *i = bucket_of(d, p); *i != NOBODY; i = &d->places[*i].same)
        if (*i == index_of(d, p)) {
            *i = p->same;
            return;
        }
}

static void remember(lk_async *d, place *p)
{
    uint32_t *i = bucket_of(d, p);
    p->same = *i;
    *i = index_of(d, p);
}

static void free_place(lk_async *d, place *p)
{
    lk_wipe(&p->token, sizeof p->token);
    lk_wipe(&p->foreign, sizeof p->foreign);
    memset(&p->entry, 0, sizeof p->entry);
    move(d, p, FREE);
}

/* ------------------------------------------------------------------------------------------- answering -- */

/* To it and to all who joined. */
static void answer(lk_async *d, place *p, int status, bool as_is)
{
    forget(d, p);
    for (unsigned i = 0; i < p->got; i++) lk_reply_free(p->replies[i]);
    p->got = 0;
    p->status = status;
    p->as_is = as_is;
    uint32_t joined = p->joined;
    p->joined = NOBODY;
    move(d, p, ANSWERED);
    while (joined != NOBODY) {
        place *q = at(d, joined);
        joined = q->next;
        q->status = status;
        q->as_is = as_is;
        q->asks = p->asks;
        q->question = p->question;
        q->refused_ticket = p->refused_ticket;
        q->incarnation = p->incarnation;
        q->until_us = p->until_us;
        q->entry = p->entry;
        move(d, q, ANSWERED);
    }
}

/* Where something has to be asked anew. What is joined to it stays so. */
static void queue(lk_async *d, place *p)
{
    for (unsigned i = 0; i < p->got; i++) lk_reply_free(p->replies[i]);
    p->got = 0;
    move(d, p, QUEUED);
}

/* As far as that goes; AGAIN: Redis has to be asked. */
static int without_redis(latchkey *lk, place *p)
{
    p->question.ticket = lk_l1_ticket(lk->l1, p->token.text);
    p->incarnation = lk_node_lease_owner(lk_l2_owner(&lk->l2, p->token.partition));
    int status = lk_validate_local(lk, &p->token, &p->entry, &p->until_us);
    if (status == LATCHKEY_AGAIN && lk_pending_has(lk->pending, &p->token)) status = LATCHKEY_NOT_FOUND;
    return status;
}

static void resolve(place *p, const lk_token *token)
{
    p->token = *token;
    p->unresolved = false;
    p->asks = 0;
}

/* Whose it is. From here on it is asked for as any other. */
static void take_resolution(latchkey *lk, lk_async *d, place *p)
{
    lk_token token;
    p->got = 0;
    p->incarnation = d->channel.hello.incarnation;
    int status = lk_resolve_take(lk, &p->foreign, &p->resolving, p->replies[0], &p->incarnation, &token);
    if (status == LATCHKEY_NOT_FOUND) lk_count(&lk->counters, LK_FOREIGN_UNKNOWN, 1);
    if (status) {
        answer(d, p, status, false);
        return;
    }
    if (lk_node_lease_covers_now(lk_l2_owner(&lk->l2, p->foreign.partition), p->incarnation) == LATCHKEY_OK)
        lk_resolve_remember(lk, &p->foreign, &p->resolving, &token);
    forget(d, p);
    resolve(p, &token);
    for (place *q = at(d, p->joined); q; q = at(d, q->next)) resolve(q, &token);
    lk_wipe(&token, sizeof token);
    status = without_redis(lk, p);
    remember(d, p);
    if (status == LATCHKEY_AGAIN) queue(d, p);
    else answer(d, p, status, status != LATCHKEY_OK);
}

static unsigned replies_to(const place *p) { return p->unresolved ? 1 : LK_QUESTION_CALLS; }

static void take_replies(latchkey *lk, lk_async *d, place *p)
{
    if (p->unresolved) {
        take_resolution(lk, d, p);
        return;
    }
    int64_t asked_us = p->question.asked_us;
    p->incarnation = d->channel.hello.incarnation;
    int status = lk_question_answer(lk, &p->token, &p->question, p->replies, &p->incarnation, &p->entry, &p->until_us);
    p->got = 0;
    lk_histogram_add(&lk->counters.l2_read_us, (uint64_t)(lk_now_us() - asked_us));
    answer(d, p, status, false);
}

static void no_answer(latchkey *lk, lk_async *d, place *p, const char *why)
{
    lk_count(&lk->counters, LK_L2_ERRORS, 1);
    lk_node_trouble(lk_l2_owner(&lk->l2, p->token.partition), LATCHKEY_UNAVAILABLE, why);
    answer(d, p, LATCHKEY_UNAVAILABLE, true);
}

/* ----------------------------------------------------------------------------------------------- asking -- */

static void send_calls(lk_async *d, place *p, const lk_call *calls, unsigned count)
{
    p->asks++;
    move(d, p, ASKED);
    d->unsent++;
    for (unsigned i = 0; i < count; i++)
        if (!lk_conn_send(&d->channel.conn, index_of(d, p), calls[i].words, calls[i].count)) {
            lk_async_conn_lose(&d->channel, lk_now_ms(), "no memory for a command"); /* half a question may be in it */
            return;
        }
}

static void ask_whose(latchkey *lk, lk_async *d, place *p)
{
    lk_resolving_words words;
    lk_resolve_ask(lk, &p->foreign, &p->resolving, &words);
    send_calls(d, p, &words.call, 1);
}

/* Ticket, denials, question: the order of validate.c. */
static void ask(latchkey *lk, lk_async *d, place *p)
{
    lk_question_words words;
    p->refused_ticket = lk_negative_cache_ticket(lk->negative_cache);
    uint64_t ticket = lk_l1_ticket(lk->l1, p->token.text);
    if (lk_pending_has(lk->pending, &p->token)) {
        answer(d, p, LATCHKEY_NOT_FOUND, true);
        return;
    }
    lk_question_ask(lk, &p->token, ticket, &p->question, &words);
    send_calls(d, p, words.calls, LK_QUESTION_CALLS);
}

/* What is asked while others are under way goes out when their answers come, or with some more of its kind. */
static bool send_asked(lk_async *d, int64_t now_ms, bool now)
{
    if (!d->unsent) return true;
    if (d->channel.state != LK_ASYNC_CONN_UP) return false; /* it was lost while it was asked */
    if (!now && d->asked != d->unsent && d->unsent < SENT_TOGETHER) return true;
    d->unsent = 0;
    return lk_async_conn_send(&d->channel, now_ms);
}

/* The connection is gone. What was asked is asked once more, as far as the budget goes. */
static void take_loss(latchkey *lk, lk_async *d, int64_t now_ms)
{
    place *p;
    d->unsent = 0;
    while ((p = first(d, ASKED))) {
        if (p->asks > 1 || now_ms >= p->deadline_ms || !lk_pool_may_repeat(lk_node_pool(lk->l2.node)))
            no_answer(lk, d, p, d->channel.error);
        else queue(d, p);
    }
}

/* On the channel, if it is to be had; if not, at least nobody waits for it. */
static void ask_queued(latchkey *lk, lk_async *d, int64_t now_ms)
{
    place *p;
    if (first(d, QUEUED) && !lk_async_conn_wanted(&d->channel, now_ms))
        while ((p = first(d, QUEUED))) no_answer(lk, d, p, d->channel.error);
    while (d->channel.state == LK_ASYNC_CONN_UP && (p = first(d, QUEUED)) &&
           lk_conn_room(&d->channel.conn) >= LK_QUESTION_CALLS) {
        if (p->unresolved) ask_whose(lk, d, p);
        else ask(lk, d, p);
    }
}

/* At that time something is to be done, whoever is to do it. */
static void mind(lk_async *d, int64_t deadline_ms)
{
    if (deadline_ms < d->soonest_ms) d->soonest_ms = deadline_ms;
    lk_async_conn_wake_at(&d->channel, deadline_ms);
}

/* A connection on which somebody's time has passed is given up, so that a late reply finds nobody (guarantee I). */
static void expire(latchkey *lk, lk_async *d, int64_t now_ms)
{
    static const char why[] = "Redis did not answer within deadline_ms";
    bool late = false;
    if (now_ms < d->soonest_ms) {
        /* The timer may have run for something else that was due earlier. */
        if (d->soonest_ms != INT64_MAX) lk_async_conn_wake_at(&d->channel, d->soonest_ms);
        return;
    }
    int64_t soonest = INT64_MAX;
    for (enum state s = QUEUED; s <= ASKED; s++)
        for (place *p = first(d, s), *next; p; p = next) {
            next = at(d, p->next);
            if (p->deadline_ms > now_ms) soonest = p->deadline_ms < soonest ? p->deadline_ms : soonest;
            else if (s == QUEUED) no_answer(lk, d, p, why);
            else late = true;
        }
    if (late) {
        lk_async_conn_lose(&d->channel, now_ms, why);
        take_loss(lk, d, now_ms);
    }
    d->soonest_ms = INT64_MAX;
    if (soonest != INT64_MAX) mind(d, soonest);
}

/* False: there is nothing more to read now. */
static bool hear(latchkey *lk, lk_async *d, int64_t now_ms)
{
    lk_reply *reply;
    bool whole = lk_async_conn_drive(&d->channel, now_ms);
    int got = 0;
    while (whole && d->channel.state == LK_ASYNC_CONN_UP &&
           (got = lk_async_conn_next(&d->channel, now_ms, &reply)) > 0) {
        place *p = at(d, reply->tag);
        p->replies[p->got++] = reply;
        if (p->got == replies_to(p)) take_replies(lk, d, p);
    }
    if (!whole || got < 0) take_loss(lk, d, now_ms);
    return whole && got == 0 && d->channel.more;
}

/* --------------------------------------------------------------------------------------------- giving -- */

/* It lay there, or its server is not the one any more: what it says now is asked. Somebody who comes late has his time
 * again. */
static bool renew(lk_async *d, place *p, int64_t now_ms, int64_t deadline_ms)
{
    int64_t late_ms = now_ms - p->deadline_ms;
    if (p->asks >= ASKS_MOST || (late_ms >= 0 && late_ms < LATE_MS)) return false;
    if (late_ms >= 0) p->deadline_ms = now_ms + deadline_ms;
    remember(d, p);
    queue(d, p);
    mind(d, p->deadline_ms);
    return true;
}

/* The lease has lapsed: a beat is on its way, and rings. It may have come just now. */
static int await_lease(lk_async *d, lk_node *node, place *p)
{
    d->channel.shared = true;
    lk_node_await_lease(node, d->channel.bell_fd);
    lk_async_conn_wake_at(&d->channel, p->deadline_ms);
    return lk_node_lease_covers_now(node, p->incarnation);
}

/* What may be said now: a status; or AGAIN: nothing yet. */
static int settle(latchkey *lk, lk_async *d, place *p, int64_t now_ms)
{
    lk_node *node = lk_l2_owner(&lk->l2, p->token.partition);
    /* A "no" that needed no lease then: it may be another server's turn by now. */
    int64_t old_ms = p->deadline_ms - lk->config.deadline_ms + lk->config.staleness_ms;
    if (p->status > 0 && p->as_is && now_ms > old_ms) {
        int status = without_redis(lk, p);
        if (status > 0) return status;
        if (renew(d, p, now_ms, lk->config.deadline_ms)) return LATCHKEY_AGAIN;
    }
    if (p->status < 0 || p->as_is) return p->status;
    int vouched = lk_node_lease_covers_now(node, p->incarnation);
    if (vouched == LATCHKEY_UNAVAILABLE && now_ms < p->deadline_ms) vouched = await_lease(d, node, p);
    p->waits = vouched == LATCHKEY_UNAVAILABLE && now_ms < p->deadline_ms;
    if (p->waits) return LATCHKEY_AGAIN;
    /* After the lease was read: what it vouches for was purged before it was stored. */
    bool purged = !p->status && lk_l1_ticket(lk->l1, p->token.text) != p->question.ticket;
    if (vouched == LATCHKEY_AGAIN || purged)
        return renew(d, p, now_ms, lk->config.deadline_ms) ? LATCHKEY_AGAIN : LATCHKEY_UNAVAILABLE;
    if (vouched) return LATCHKEY_UNAVAILABLE;
    if (p->status > 0 && p->unresolved) return p->status; /* not remembered: see alias_cache.h */
    if (p->status > 0) {
        lk_negative_cache_add(lk->negative_cache, p->refused_ticket, p->token.text, p->status, lk_coarse_ms());
        return p->status;
    }
    int status = lk_session_late(lk, p->token.partition, &p->entry, p->until_us);
    if (status == LATCHKEY_UNAVAILABLE && renew(d, p, now_ms, lk->config.deadline_ms)) return LATCHKEY_AGAIN;
    return status;
}

static size_t give(latchkey *lk, lk_async *d, latchkey_answer *answers, size_t max, int64_t now_ms)
{
    size_t given = 0;
    for (place *p = first(d, ANSWERED), *next; p && given < max; p = next) {
        next = at(d, p->next);
        int status = settle(lk, d, p, now_ms);
        if (status == LATCHKEY_AGAIN) continue;
        latchkey_answer *a = &answers[given++];
        memset(a, 0, sizeof *a);
        a->tag = p->tag;
        a->status = status;
        if (!status) a->entry = p->entry;
        if (status == LATCHKEY_UNAVAILABLE && lk_validate_stale(lk, &p->token, &a->entry)) a->status = LATCHKEY_OK;
        if (p->token.foreign) a->entry.flags |= LATCHKEY_FLAG_RENEW;
        if (a->status) memset(&a->entry, 0, sizeof a->entry);
        free_place(d, p);
    }
    return given;
}

/* On a connection to a server that the lease is not of, nothing is gained by asking again. */
static void leave_the_old(latchkey *lk, lk_async *d, int64_t now_ms)
{
    uint64_t leased = lk_node_lease_owner(lk->l2.node);
    if (d->channel.state != LK_ASYNC_CONN_UP || !leased || d->channel.hello.incarnation == leased) return;
    lk_async_conn_lose(&d->channel, now_ms, "the server is another one now");
    take_loss(lk, d, now_ms);
}

/* What is left for the next time: is there something that could be given? Those that were not looked at, since the caller
 * had no room left, count: a lease or a deadline may have come for them meanwhile. */
static void ring_for_more(lk_async *d, bool no_room)
{
    for (place *p = first(d, ANSWERED); p; p = at(d, p->next))
        if (no_room || !p->waits) {
            lk_async_conn_ring(&d->channel);
            return;
        }
}

/* ---------------------------------------------------------------------------------------- open and close -- */

static lk_async *open_desk(latchkey *lk)
{
    size_t places = (size_t)lk->config.in_flight * sizeof(place);
    lk_async *d = calloc(1, sizeof *d);
    if (!d) return NULL;
    d->count = (uint32_t)lk->config.in_flight;
    d->bytes = places;
    d->places = lk_map(places, true); /* tokens are in it */
    if (!d->places || !lk_async_conn_open(&d->channel, &lk->config, lk_node_pool(lk->l2.node))) {
        lk_unmap(d->places, places);
        free(d);
        return NULL;
    }
    pthread_mutex_init(&d->lock, NULL);
    d->soonest_ms = INT64_MAX;
    for (enum state s = FREE; s <= ANSWERED; s++) d->of[s] = (list){NOBODY, NOBODY};
    for (uint32_t i = 0; i < BUCKETS; i++) d->bucket[i] = NOBODY;
    for (uint32_t i = 0; i < d->count; i++) {
        d->places[i].joined = NOBODY;
        enlist(d, &d->places[i], FREE);
    }
    return d;
}

void lk_async_close(lk_async *d)
{
    if (!d) return;
    lk_async_conn_close(&d->channel);
    for (uint32_t i = 0; i < d->count; i++)
        for (unsigned k = 0; k < d->places[i].got; k++) lk_reply_free(d->places[i].replies[k]);
    lk_unmap(d->places, d->bytes);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

void lk_async_abandon(lk_async *d)
{
    if (d) lk_async_conn_abandon(&d->channel);
}

/* Made by who needs it first. */
static lk_async *desk_of(latchkey *lk)
{
    lk_async *d = atomic_load_explicit(&lk->async, memory_order_acquire), *none = NULL;
    if (d) return d;
    d = open_desk(lk);
    if (!d || atomic_compare_exchange_strong(&lk->async, &none, d)) return d;
    lk_async_close(d);
    return none;
}

/* ------------------------------------------------------------------------------------------------- verbs -- */

int latchkey_fd(latchkey *lk)
{
    if (!lk) return LATCHKEY_BAD_ARGUMENT;
    if (lk_forked(lk)) return LATCHKEY_FORKED;
    lk_async *d = desk_of(lk);
    if (!d) return LATCHKEY_NO_MEMORY;
    pthread_mutex_lock(&d->lock);
    lk_async_conn_wanted(&d->channel, lk_now_ms()); /* so that the first question finds it */
    pthread_mutex_unlock(&d->lock);
    return d->channel.epoll_fd;
}

/* An equal one that was asked with the same ticket, or has yet to be. */
static place *find_equal(lk_async *d, const place *p, uint64_t ticket, int64_t oldest_us)
{
    for (place *q = at(d, *bucket_of(d, p)); q; q = at(d, q->same)) {
        if (q->state == ASKED && (q->question.ticket != ticket || q->question.asked_us < oldest_us)) continue;
        if (lk_equal(q->token.text, p->token.text, LATCHKEY_TOKEN_LENGTH)) return q;
    }
    return NULL;
}

static void join_or_queue(latchkey *lk, lk_async *d, place *p, int64_t now_ms)
{
    int64_t oldest_us = (now_ms - lk->config.staleness_ms) * 1000;
    place *equal = find_equal(d, p, lk_l1_ticket(lk->l1, p->token.text), oldest_us);
    if (equal) {
        lk_count(&lk->counters, LK_JOINED, 1);
        move(d, p, JOINED);
        p->next = equal->joined;
        equal->joined = index_of(d, p);
        return;
    }
    remember(d, p);
    move(d, p, QUEUED);
    mind(d, p->deadline_ms);
    ask_queued(lk, d, now_ms);
    if (!send_asked(d, now_ms, false)) take_loss(lk, d, now_ms);
}

static void start(latchkey *lk, lk_async *d, place *p, int64_t now_ms)
{
    int status = without_redis(lk, p);
    if (status == LATCHKEY_AGAIN) {
        lk_count(&lk->counters, LK_L1_MISSES, 1);
        join_or_queue(lk, d, p, now_ms);
    } else {
        p->status = status;
        p->as_is = status != LATCHKEY_OK;
        move(d, p, ANSWERED);
    }
    ring_for_more(d, false);
}

/* `foreign` is NULL where the token is known. */
static int submit(latchkey *lk, const lk_token *token, const lk_foreign *foreign, uint64_t tag)
{
    lk_async *d = desk_of(lk);
    if (!d) return LATCHKEY_NO_MEMORY;
    int64_t now_ms = lk_now_ms();
    pthread_mutex_lock(&d->lock);
    place *p = first(d, FREE);
    if (p) {
        p->tag = tag;
        p->token = *token;
        p->unresolved = foreign != NULL;
        if (foreign) p->foreign = *foreign;
        p->deadline_ms = now_ms + lk->config.deadline_ms;
        p->asks = 0;
        p->waits = false;
        start(lk, d, p, now_ms);
    } else lk_count(&lk->counters, LK_SHED, 1);
    pthread_mutex_unlock(&d->lock);
    return p ? LATCHKEY_OK : LATCHKEY_UNAVAILABLE;
}

int latchkey_submit(latchkey *lk, const char *token, size_t token_len, uint64_t tag)
{
    lk_token parsed;
    lk_foreign foreign;
    int status = lk_begin_here(lk, token, token_len, &parsed, &foreign);
    bool unresolved = status == LATCHKEY_AGAIN;
    if (status == LATCHKEY_MALFORMED) lk_count(&lk->counters, LK_MALFORMED, 1);
    if (status && !unresolved) return status;
    if (unresolved) lk_foreign_stand_in(&foreign, &parsed);
    status = submit(lk, &parsed, unresolved ? &foreign : NULL, tag);
    if (unresolved) lk_wipe(&foreign, sizeof foreign);
    lk_wipe(&parsed, sizeof parsed);
    return status;
}

static size_t reap_locked(latchkey *lk, lk_async *d, latchkey_answer *answers, size_t max)
{
    int64_t now_ms = lk_now_ms();
    if (d->channel.rung || d->channel.shared) lk_async_conn_hush(&d->channel);
    for (int i = 0; i < READS_AT_ONCE; i++)
        if (!hear(lk, d, now_ms)) break;
    expire(lk, d, now_ms);
    size_t given = give(lk, d, answers, max, now_ms);
    leave_the_old(lk, d, now_ms);
    ask_queued(lk, d, now_ms);
    if (!send_asked(d, now_ms, true)) take_loss(lk, d, now_ms);
    ring_for_more(d, given == max);
    return given;
}

size_t latchkey_reap(latchkey *lk, latchkey_answer *answers, size_t max)
{
    if (!lk || !answers || lk_forked(lk)) return 0;
    lk_async *d = atomic_load_explicit(&lk->async, memory_order_acquire);
    if (!d) return 0;
    pthread_mutex_lock(&d->lock);
    size_t given = reap_locked(lk, d, answers, max);
    pthread_mutex_unlock(&d->lock);
    return given;
}
