/* latchkey_validate: what every request runs. latchkey_validate_fresh: the same, with an age that the caller sets.
 *
 *   lease, slot, clock  --hit-->  OK                                        (lk_hit: no lock, no system call)
 *      |                     +-- near the entry's end: the link reads it again meanwhile      (refresh.c)
 *      | miss
 *   is it a token that we could have made?  --no-->  MALFORMED              (Redis is not asked)
 *      |
 *   is it known to be dead?  --yes-->  NOT_FOUND, EXPIRED                   (negative_cache.h; Redis is not asked again)
 *      |
 *   ticket, denied?, is an equal miss reading?  --yes: join it-->  its answer
 *      | no
 *   HGET v, PTTL in one round trip on a pooled connection --> judge --> fill L1 if the ticket is still good --> complete
 *   (fresh: joins none, and reads the cut-off too)
 *      |
 *   does the server that answered have the lease, and had it when it was asked?   (lk_lease_covers; waits for a beat)
 *      | no answer, Redis lost, and grace_ms
 *   L1 once more, without a lease: OK, and LATCHKEY_FLAG_STALE
 *
 * C rests on the order in lk_hit (hit.h); B and D rest on the order in lk_read_vouched (vouched_read.h). */
#include "session/begin.h"
#include "base/argument.h"

#include "session/hit.h"
#include "session/read.h"
#include "session/token_reuse.h"
#include "session/judge.h"

#include <string.h>

typedef struct asking {
    const lk_token *token;
    latchkey_entry *entry;
    bool fresh;
    int64_t until_us; /* until when the session may be admitted, on what Redis said */
} asking;

static int lead(latchkey *lk, asking *a, lk_vouch *vouch, int64_t deadline_ms)
{
    lk_question_words words;
    lk_reply *replies[LK_QUESTION_CALLS] = {NULL};
    uint64_t server = 0;
    lk_question_ask(lk, a->token, vouch, a->fresh, &words);
    int status = lk_l2_pipeline(&lk->l2, a->token->partition, words.calls, LK_QUESTION_FIRM,
                                lk_question_calls(a->fresh), deadline_ms, replies, &server);
    int64_t over_ms = 0;
    if (!status) lk_vouch_answered(lk, a->token->partition, vouch, server);
    if (!status) status = lk_question_take(lk, a->token, vouch, replies, a->entry, &a->until_us, &over_ms);
    if (over_ms) status = lk_session_reused(lk, a->token, deadline_ms, &a->until_us);
    lk_histogram_add(&lk->counters.l2_read_us, (uint64_t)(lk_now_us() - vouch->asked_us));
    return status;
}

/* Redis' answer, to this caller or to an equal one with the same ticket. A fresh question is shared with none: a plain
 * one does not read the cut-off, and one that began earlier may have been answered before this call. */
static int ask_or_join(latchkey *lk, void *context, lk_vouch *vouch, int64_t deadline_ms)
{
    asking *a = context;
    int status = LATCHKEY_UNAVAILABLE;
    lk_flight *flight;
    if (a->fresh) return lead(lk, a, vouch, deadline_ms);
    int64_t oldest_ms = lk_now_ms() - lk->config.staleness_ms;
    switch (lk_singleflight_join(lk->singleflight, a->token->text, vouch->ticket, oldest_ms, deadline_ms, &flight,
                                 &status, a->entry, &a->until_us, &vouch->server)) {
    case LK_FLIGHT_DONE: lk_count(&lk->counters, LK_JOINED, 1); break;
    case LK_FLIGHT_LATE: return LATCHKEY_UNAVAILABLE;
    case LK_FLIGHT_LEAD:
        status = lead(lk, a, vouch, deadline_ms);
        lk_singleflight_complete(lk->singleflight, flight, status, a->entry, a->until_us, vouch->server);
    }
    return status;
}

static int last_look(latchkey *lk, void *context, const lk_vouch *vouch, int said)
{
    const asking *a = context;
    if (!said) return lk_session_late(lk, a->token->partition, a->entry, a->until_us);
    lk_negative_cache_add(lk->negative_cache, vouch->dead_ticket, a->token->text, said, lk_coarse_ms());
    return said;
}

static int from_l2(latchkey *lk, const lk_token *token, bool fresh, int64_t deadline_ms, latchkey_entry *entry)
{
    asking a = {.token = token, .entry = entry, .fresh = fresh};
    const lk_vouched_read read = {
        .partition = token->partition, .token = token, .ask = ask_or_join, .keep = last_look, .context = &a};
    return lk_read_vouched(lk, &read, deadline_ms);
}

/* Counts a validate that lk_begin ended. */
static void count_unanswered(latchkey *lk, int status)
{
    if (status == LATCHKEY_MALFORMED) lk_count(&lk->counters, LK_MALFORMED, 1);
    /* a foreign token that was asked for */
    else if (status != LATCHKEY_FORKED) lk_count(&lk->counters, LK_L1_MISSES, 1);
}

/* For what L1 did not answer with OK. */
static __attribute__((noinline)) int miss(latchkey *lk, const char *token, size_t token_len, latchkey_entry *entry,
                                          int status)
{
    memset(entry, 0, sizeof *entry);
    if (status != LATCHKEY_AGAIN) return status;
    lk_token parsed;
    LK_VISIT(visit);
    status = lk_begin(lk, token, token_len, &parsed, &visit);
    if (status) {
        count_unanswered(lk, status);
        return status;
    }
    status = lk_hit_known(lk, &parsed, entry);
    if (status == LATCHKEY_AGAIN) {
        lk_count(&lk->counters, LK_L1_MISSES, 1);
        status = from_l2(lk, &parsed, false, visit.deadline_ms, entry);
        if (status == LATCHKEY_UNAVAILABLE && lk_validate_stale(lk, &parsed, entry)) status = LATCHKEY_OK;
    }
    return lk_hit_give(&parsed, status, entry);
}

int latchkey_validate(latchkey *lk, const char *token, size_t token_len, latchkey_entry *entry)
{
    if (!entry) return lk_bad_argument("validate: entry is NULL");
    lk_l1_found found;
    if (!lk || !token) return lk_hit_refuse(entry, lk_bad_argument("validate: the handle or token is NULL"));
    int status = lk_hit(lk, token, token_len, entry, &found);
    return __builtin_expect(status == LATCHKEY_OK, 1) ? LATCHKEY_OK : miss(lk, token, token_len, entry, status);
}

int latchkey_validate_fresh(latchkey *lk, const char *token, size_t token_len, int64_t max_age_ms,
                            latchkey_entry *entry)
{
    lk_token parsed;
    int64_t until_us;
    LK_VISIT(visit);
    if (!entry) return lk_bad_argument("validate_fresh: entry is NULL");
    if (!lk || !token) return lk_hit_refuse(entry, lk_bad_argument("validate_fresh: the handle or token is NULL"));
    if (max_age_ms < 0) return lk_hit_refuse(entry, lk_bad_argument("validate_fresh: max_age_ms is below 0"));
    int status = lk_begin(lk, token, token_len, &parsed, &visit);
    if (status) {
        count_unanswered(lk, status);
        return lk_hit_refuse(entry, status);
    }
    if (max_age_ms > lk->config.staleness_ms) max_age_ms = lk->config.staleness_ms;
    status = lk_hit_fresh(lk, &parsed, max_age_ms, entry, &until_us);
    if (status == LATCHKEY_AGAIN) status = lk_hit_dead(lk, parsed.text);
    if (status == LATCHKEY_AGAIN) {
        lk_count(&lk->counters, LK_L1_MISSES, 1);
        status = from_l2(lk, &parsed, lk_question_fresh(lk, max_age_ms), visit.deadline_ms, entry);
    }
    return lk_hit_give(&parsed, status, entry);
}

int latchkey_try_validate(latchkey *lk, const char *token, size_t token_len, latchkey_entry *entry)
{
    if (!entry) return lk_bad_argument("validate: entry is NULL");
    lk_l1_found found;
    if (!lk || !token) return lk_hit_refuse(entry, lk_bad_argument("validate: the handle or token is NULL"));
    int status = lk_hit(lk, token, token_len, entry, &found);
    return __builtin_expect(status == LATCHKEY_OK, 1) ? LATCHKEY_OK : lk_hit_try(lk, token, token_len, entry, status);
}
