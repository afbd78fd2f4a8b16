/* latchkey_validate: the way of every request.
 *
 *   lease, slot, clock  --hit-->  OK                                        (from_l1: no lock, no system call)
 *      |                     +-- near the entry's end: the link reads it again meanwhile      (refresh.c)
 *      | miss
 *   is it a token that we could have made?  --no-->  MALFORMED              (Redis is not asked)
 *      |
 *   is it known to be dead?  --yes-->  NOT_FOUND, EXPIRED                   (negative_cache.h; Redis is not asked again)
 *      |
 *   ticket, denied?, board a flight  --another is reading-->  its answer
 *      | lead
 *   HGET v, PTTL in one round trip on a pooled line --> judge --> fill L1 if the ticket is still good --> land
 *      |
 *   does the server that answered have the lease, and had it when it was asked?   (lk_node_lease_covers; waits for a beat)
 *      | no answer, Redis lost, and grace_ms
 *   L1 once more, without a lease: OK, and LATCHKEY_FLAG_STALE
 *
 * The order in from_l1 is what guarantee C rests on. The lease is read first: every purge that it vouches for was
 * applied before it was stored. The clock is read last: a process that was paused in between finds the lease lapsed.
 *
 * The order in from_l2 is what B and D rest on. Revoke denies (pending), then purges (which voids tickets). Who saw no
 * denial took his ticket before the purge, so what he reads is not filled after it. */
#include "session/begin.h"

#include "session/hit.h"
#include "session/read.h"
#include "session/token_reuse.h"
#include "session/judge.h"

#include <string.h>

static int lead(latchkey *lk, const lk_token *token, uint64_t ticket, int64_t deadline_ms, latchkey_entry *entry,
                int64_t *until_us, uint64_t *incarnation)
{
    lk_question question;
    lk_question_words words;
    lk_reply *replies[LK_QUESTION_CALLS];
    lk_question_ask(lk, token, ticket, &question, &words);
    int status = lk_l2_pipeline(&lk->l2, lk_l2_owner(&lk->l2, token->partition), words.calls, LK_QUESTION_CALLS,
                                deadline_ms, replies, incarnation);
    bool reused = false;
    if (!status) status = lk_question_take(lk, token, &question, replies, incarnation, entry, until_us, &reused);
    if (reused) status = lk_session_reused(lk, token, deadline_ms, until_us);
    lk_histogram_add(&lk->counters.l2_read_us, (uint64_t)(lk_now_us() - question.asked_us));
    return status;
}

/* What Redis says, and which server it is that says so. */
static int ask_l2(latchkey *lk, const lk_token *token, int64_t deadline_ms, latchkey_entry *entry, int64_t *until_us,
                  uint64_t *incarnation)
{
    int status = LATCHKEY_UNAVAILABLE;
    lk_flight *flight;
    int64_t now_ms = lk_now_ms();
    uint64_t ticket = lk_l1_ticket(lk->l1, token->text);
    if (lk_pending_has(lk->pending, token)) return LATCHKEY_NOT_FOUND;
    switch (lk_singleflight_join(lk->singleflight, token->text, ticket, now_ms - lk->config.staleness_ms, deadline_ms,
                                 &flight, &status, entry, until_us, incarnation)) {
    case LK_FLIGHT_DONE: lk_count(&lk->counters, LK_JOINED, 1); break;
    case LK_FLIGHT_LATE: return LATCHKEY_UNAVAILABLE;
    case LK_FLIGHT_LEAD:
        status = lead(lk, token, ticket, deadline_ms, entry, until_us, incarnation);
        lk_singleflight_complete(lk->singleflight, flight, status, entry, *until_us, *incarnation);
    }
    return status;
}

/* What Redis says counts only under the lease of the server that said it. Where another one has it, that is asked, once.
 * What is denied here needs nobody's. */
static int from_l2(latchkey *lk, const lk_token *token, int64_t deadline_ms, latchkey_entry *entry)
{
    int status = LATCHKEY_AGAIN;
    for (int i = 0; i < 2 && status == LATCHKEY_AGAIN; i++) {
        uint64_t incarnation = 0, ticket = lk_negative_cache_ticket(lk->negative_cache);
        int64_t until_us = 0; /* the session may be admitted until then, on what Redis said */
        if (lk_pending_has(lk->pending, token)) return LATCHKEY_NOT_FOUND;
        int said = ask_l2(lk, token, deadline_ms, entry, &until_us, &incarnation);
        if (said < 0) return said;
        status = lk_node_lease_covers(lk_l2_owner(&lk->l2, token->partition), incarnation, deadline_ms);
        if (!status && said) lk_negative_cache_add(lk->negative_cache, ticket, token->text, said, lk_coarse_ms());
        if (!status) status = said ? said : lk_session_late(lk, token->partition, entry, until_us);
    }
    return status == LATCHKEY_AGAIN ? LATCHKEY_UNAVAILABLE : status;
}

/* Whom lk_begin turned away. */
static void count_unanswered(latchkey *lk, int status)
{
    if (status == LATCHKEY_MALFORMED) lk_count(&lk->counters, LK_MALFORMED, 1);
    else if (status != LATCHKEY_FORKED) lk_count(&lk->counters, LK_L1_MISSES, 1); /* foreign, and asked for */
}

/* What L1 did not answer with OK. */
static __attribute__((noinline)) int miss(latchkey *lk, const char *token, size_t token_len, latchkey_entry *entry,
                                          int status)
{
    memset(entry, 0, sizeof *entry);
    if (status != LATCHKEY_AGAIN) return status;
    lk_token parsed;
    int64_t deadline_ms;
    status = lk_begin(lk, token, token_len, &parsed, &deadline_ms);
    if (status) {
        count_unanswered(lk, status);
        return status;
    }
    status = lk_hit_known(lk, &parsed, entry);
    if (status == LATCHKEY_AGAIN) {
        lk_count(&lk->counters, LK_L1_MISSES, 1);
        status = from_l2(lk, &parsed, deadline_ms, entry);
        if (status == LATCHKEY_UNAVAILABLE && lk_validate_stale(lk, &parsed, entry)) status = LATCHKEY_OK;
    }
    return lk_hit_give(&parsed, status, entry);
}

int latchkey_validate(latchkey *lk, const char *token, size_t token_len, latchkey_entry *entry)
{
    if (!entry) return LATCHKEY_BAD_ARGUMENT;
    lk_l1_found found;
    if (!lk || !token) return lk_hit_refuse(entry, LATCHKEY_BAD_ARGUMENT);
    int status = lk_hit(lk, token, token_len, entry, &found);
    return __builtin_expect(status == LATCHKEY_OK, 1) ? LATCHKEY_OK : miss(lk, token, token_len, entry, status);
}

int latchkey_try_validate(latchkey *lk, const char *token, size_t token_len, latchkey_entry *entry)
{
    if (!entry) return LATCHKEY_BAD_ARGUMENT;
    lk_l1_found found;
    if (!lk || !token) return lk_hit_refuse(entry, LATCHKEY_BAD_ARGUMENT);
    int status = lk_hit(lk, token, token_len, entry, &found);
    return __builtin_expect(status == LATCHKEY_OK, 1) ? LATCHKEY_OK : lk_hit_try(lk, token, token_len, entry, status);
}
