/* latchkey_queue_open, _own, _fd, _submit, _reap, _close: requests that never wait, for event loops. Validations are in
 * session/async.h, all others in writes.h. */
#include "api/writes.h"

#include "base/argument.h"
#include "base/reason.h"
#include "base/sized.h"
#include "session/begin.h"
#include "session/visit.h"

#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------------------------------- open and close -- */

static int build_queue(latchkey *lk, latchkey_queue **out)
{
    latchkey_queue *q = calloc(1, sizeof *q);
    if (!q) return lk_reason(LATCHKEY_NO_MEMORY, "no memory");
    q->lk = lk;
    int status = lk_async_open(lk, &q->async);
    if (status) free(q);
    else *out = q;
    return status;
}

static void destroy_queue(latchkey_queue *q, bool end)
{
    lk_writes_leave(q, end);
    lk_async_close(q->lk, q->async);
    free(q);
}

int lk_queue_own(latchkey *lk, latchkey_queue **out)
{
    latchkey_queue *none = NULL;
    if ((*out = lk_queue_made(lk))) return LATCHKEY_OK;
    int status = build_queue(lk, out);
    if (status ||
        atomic_compare_exchange_strong_explicit(&lk->queue[0], &none, *out, memory_order_acq_rel, memory_order_acquire))
        return status;
    destroy_queue(*out, false);
    *out = none;
    return LATCHKEY_OK;
}

latchkey_queue *latchkey_queue_own(latchkey *lk)
{
    latchkey_queue *q = NULL;
    if (!lk) lk_bad_argument("queue_own: the handle is NULL");
    else if (lk_forked(lk)) lk_reason(LATCHKEY_FORKED, "the handle was opened by a parent process");
    else if (lk_queue_own(lk, &q)) q = NULL;
    return q;
}

latchkey_queue *latchkey_queue_open(latchkey *lk)
{
    latchkey_queue *q = latchkey_queue_own(lk), *none;
    if (!q || build_queue(lk, &q)) return NULL;
    for (size_t i = 1; i < LK_QUEUES_MAX; i++)
        if ((none = NULL, atomic_compare_exchange_strong_explicit(&lk->queue[i], &none, q, memory_order_acq_rel,
                                                                  memory_order_acquire)))
            return q;
    destroy_queue(q, false);
    lk_reason(LATCHKEY_UNAVAILABLE, "queue_open: a handle has at most %d queues", LK_QUEUES_MAX);
    return NULL;
}

/* Takes it off the handle's list. False: it is the handle's own. */
static bool unlist_queue(latchkey_queue *q)
{
    for (size_t i = 1; i < LK_QUEUES_MAX; i++)
        if (atomic_load_explicit(&q->lk->queue[i], memory_order_relaxed) == q) {
            atomic_store_explicit(&q->lk->queue[i], NULL, memory_order_release);
            return true;
        }
    return false;
}

void latchkey_queue_close(latchkey_queue *q)
{
    if (!q || !unlist_queue(q)) return;
    if (!lk_forked(q->lk)) destroy_queue(q, true);
    else if (lk_marker_stands(&q->lk->marker)) lk_async_abandon(q->async);
}

void lk_queues_close(latchkey *lk)
{
    for (size_t i = 0; i < LK_QUEUES_MAX; i++) {
        latchkey_queue *q = atomic_load_explicit(&lk->queue[i], memory_order_acquire);
        if (q) destroy_queue(q, false); /* there is no link any more */
    }
}

void lk_queues_abandon(latchkey *lk)
{
    for (size_t i = 0; i < LK_QUEUES_MAX; i++) {
        latchkey_queue *q = atomic_load_explicit(&lk->queue[i], memory_order_acquire);
        if (q) lk_async_abandon(q->async);
    }
}

/* ------------------------------------------------------------------------------------------------ verbs -- */

int latchkey_queue_fd(latchkey_queue *q)
{
    if (!q) return lk_bad_argument("queue_fd: the queue is NULL");
    return lk_forked(q->lk) ? (int)LATCHKEY_FORKED : lk_async_fd(q->lk, q->async);
}

int lk_queue_validate(latchkey_queue *q, const char *token, size_t token_len, int64_t max_age_ms, uint64_t tag)
{
    lk_token parsed;
    lk_foreign foreign;
    if (lk_visit_draining(q->lk))
        return lk_reason(LATCHKEY_UNAVAILABLE, "the handle is being drained (latchkey_drain)");
    int status = lk_begin_here(q->lk, token, token_len, &parsed, &foreign);
    bool unresolved = status == LK_OUTCOME_ASK_REDIS;
    if (status == LATCHKEY_MALFORMED) lk_count(&q->lk->counters, LK_MALFORMED, 1);
    if (status && !unresolved) return status;
    if (unresolved) lk_foreign_stand_in(&foreign, &parsed);
    status = lk_async_submit(q->lk, q->async, &parsed, unresolved ? &foreign : NULL, max_age_ms, tag);
    if (unresolved) lk_wipe(&foreign, sizeof foreign);
    lk_wipe(&parsed, sizeof parsed);
    return status;
}

static int submit_validate(latchkey_queue *q, const latchkey_request *r)
{
    if (!r->fresh) return lk_queue_validate(q, r->token, r->token_len, INT64_MAX, r->tag);
    if (r->max_age_ms < 0) return lk_bad_argument("request.max_age_ms is below 0");
    int64_t age_ms = r->max_age_ms < INT64_MAX ? r->max_age_ms : INT64_MAX - 1;
    return lk_queue_validate(q, r->token, r->token_len, age_ms, r->tag);
}

int latchkey_queue_submit(latchkey_queue *q, const latchkey_request *request)
{
    latchkey_request r;
    if (!q) return lk_bad_argument("queue_submit: the queue is NULL");
    if (!lk_take_sized(&r, sizeof r, sizeof r, request))
        return lk_bad_argument(
            "request.size: sizeof(latchkey_request) is expected, and 0 in all members that this version does not have");
    if (lk_forked(q->lk)) return LATCHKEY_FORKED;
    if (r.kind == LATCHKEY_VALIDATE) return submit_validate(q, &r);
    if (r.kind > LATCHKEY_VALIDATE && r.kind <= LATCHKEY_REVOKE_USER) return lk_writes_submit(q, &r);
    return lk_bad_argument("request.kind: one of enum latchkey_kind is expected");
}

/* ------------------------------------------------------------------------------------------------- reap -- */

enum { AT_ONCE = 32 };

/* Where results go. An older program has shorter structs, a newer one longer ones. */
typedef struct basket {
    char *next;
    size_t size;
} basket;

static void give_result(void *context, const latchkey_result *result)
{
    basket *b = context;
    if (b->size > sizeof *result) memset(b->next + sizeof *result, 0, b->size - sizeof *result);
    memcpy(b->next, result, b->size < sizeof *result ? b->size : sizeof *result);
    b->next += b->size;
}

static size_t reap_validations(latchkey_queue *q, basket *b, size_t max)
{
    latchkey_answer answers[AT_ONCE];
    size_t given = 0, wanted, got;
    do {
        wanted = max - given < AT_ONCE ? max - given : AT_ONCE;
        got = lk_async_reap(q->lk, q->async, answers, wanted);
        given += got;
        for (size_t i = 0; i < got; i++) {
            latchkey_result result = {.tag = answers[i].tag, .status = answers[i].status, .entry = answers[i].entry};
            give_result(b, &result);
        }
    } while (got == wanted && given < max);
    return given;
}

size_t latchkey_queue_reap(latchkey_queue *q, latchkey_result *results, size_t result_size, size_t max)
{
    if (!q || !results || lk_forked(q->lk)) return 0;
    if (result_size < sizeof *results || result_size > sizeof *results + 4096) {
        lk_bad_argument("queue_reap: result_size: sizeof(latchkey_result) is expected");
        return 0;
    }
    basket b = {(char *)results, result_size};
    size_t given = atomic_load_explicit(&q->writes, memory_order_acquire) ? lk_writes_reap(q, give_result, &b, max) : 0;
    if (given < max) given += reap_validations(q, &b, max - given);
    /* the bell was hushed, and there may be more to reap, or more by now */
    if (atomic_load_explicit(&q->writes, memory_order_acquire)) lk_writes_ring(q);
    return given;
}
