/* See read.h. */
#include "session/touch.h"
#include "session/read.h"
#include "session/judge.h"
#include "session/lifetime.h"
#include "session/refresh.h"
#include "session/server_time.h"
#include "redis/errors.h"

#include <string.h>

void lk_session_ask(lk_session_read *read, const char *key, lk_call calls[2])
{
    lk_span name = {key, strlen(key)};
    *read = (lk_session_read){.hget = {{"HGET", 4}, name, {"v", 1}}, .pttl = {{"PTTL", 4}, name}};
    calls[0] = (lk_call){read->hget, 3};
    calls[1] = (lk_call){read->pttl, 2};
}

void lk_session_fill(latchkey *lk, const lk_token *token, const lk_vouch *vouch, const lk_judged *judged)
{
    int64_t now = lk_coarse_ms();
    /* A connection to a server without the lease proves nothing about revocations. Relaxed: the lease's acquire comes
     * later, before the answer counts. */
    uint64_t owner = atomic_load_explicit(&lk->leases->of[token->partition].incarnation, memory_order_relaxed);
    if (!vouch->server || vouch->server != owner) return;
    if (lk_l1_end(&judged->times) <= now || !lk->config.l1_capacity) return;
    latchkey_entry entry = lk_session_entry(judged);
    bool filled =
        lk_count_fill(lk, lk_l1_put(lk->l1, vouch->ticket, token->text, token->text + LATCHKEY_SELECTOR_LENGTH, false,
                                    judged->times, now, &entry));
    /* A touch is on its way; no hit needs to ask for another one yet. */
    if (filled && judged->touch_due)
        lk_refresh_gate_shut(lk->book->refresh_gate, token->text, now,
                             now + 2 * lk_session_patience(lk, judged->times.idle_ms));
}

void lk_question_ask(latchkey *lk, const lk_token *token, const lk_vouch *vouch, bool fresh, lk_question_words *words)
{
    (void)vouch; /* it was taken before this */
    lk_key_session(words->key, lk->config.prefix, token->partition, token->text);
    lk_session_ask(&words->read, words->key, words->calls);
    if (fresh) {
        lk_key_partition(words->cutoff_key, lk->config.prefix, token->partition, "e");
        words->cutoff[0] = lk_word("GET");
        words->cutoff[1] = lk_word(words->cutoff_key);
        words->calls[LK_QUESTION_CUTOFF] = (lk_call){words->cutoff, 2};
    }
    lk_count(&lk->counters, LK_L2_READS, 1);
}

/* What was judged by the cut-off that is known is judged by the one that was read, too. If that is later, only the link
 * may note it, and a beat does that now. If this thread stored it first, a beat would find nothing new, and might store a
 * lease before this thread has emptied L1. */
static int judge_fresh(latchkey *lk, lk_node *node, unsigned partition, const lk_reply *cutoff, lk_vouch *vouch,
                       lk_judged *judged)
{
    int64_t ms;
    bool asks = lk->config.cluster && lk_error_is_ask(cutoff);
    if (asks) vouch->since_ms = vouch->asked_us / 1000;
    if (asks) return LATCHKEY_OK;
    int status = lk_session_cutoff(lk, node, cutoff, &ms);
    if (status) return status;
    if (ms > lk_cutoffs_known(lk->book->cutoffs, partition)) lk_lease_renew(lk->book, partition);
    return ms && judged->record.entry.created_at_ms <= ms ? LATCHKEY_NOT_FOUND : LATCHKEY_OK;
}

int lk_question_take(latchkey *lk, const lk_token *token, lk_vouch *vouch, lk_reply *replies[LK_QUESTION_CALLS],
                     latchkey_entry *entry, int64_t *until_us, int64_t *over_ms)
{
    lk_judged judged;
    lk_node *node = lk_l2_owner(&lk->l2, token->partition);
    int status = lk_session_judge(lk, node, token->partition, token->text, token, replies[0], replies[1],
                                  vouch->asked_us, &judged);
    if (!status && replies[LK_QUESTION_CUTOFF])
        status = judge_fresh(lk, node, token->partition, replies[LK_QUESTION_CUTOFF], vouch, &judged);
    for (int i = 0; i < LK_QUESTION_CALLS; i++) lk_reply_free(replies[i]);
    *over_ms = status && judged.reused ? judged.record.grace_until_ms : 0;
    if (*over_ms) *entry = judged.record.entry; /* in case it is still good for a moment */
    if (status) return status;
    *until_us = judged.until_us;
    lk_session_fill(lk, token, vouch, &judged);
    if (judged.touch_due)
        lk_session_touch(lk, token->partition, &judged.record); /* its answer renews what was filled */
    *entry = lk_session_entry(&judged);
    return LATCHKEY_OK;
}

int lk_question_answer(latchkey *lk, const lk_token *token, lk_vouch *vouch, lk_reply *replies[LK_QUESTION_CALLS],
                       int64_t begun_us, latchkey_entry *entry, int64_t *until_us)
{
    int64_t over_ms, begun_ms = lk_server_now_ms(lk, token->partition, begun_us);
    int status = lk_question_take(lk, token, vouch, replies, entry, until_us, &over_ms);
    if (over_ms) {
        memset(entry, 0, sizeof *entry);
        if (begun_ms && begun_ms < over_ms) return LATCHKEY_UNAVAILABLE; /* it lay unread until the grace was over */
        /* No answer until it is certain that its session will be ended. */
        if (!lk_node_reused(lk_l2_owner(&lk->l2, token->partition), token)) status = LATCHKEY_UNAVAILABLE;
    }
    return status;
}
