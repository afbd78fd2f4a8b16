/* See read.h. */
#include "session/read.h"
#include "session/judge.h"
#include "session/lifetime.h"

#include <string.h>

void lk_session_ask(lk_session_read *read, const char *key, lk_call calls[2])
{
    lk_span name = {key, strlen(key)};
    *read = (lk_session_read){.hget = {{"HGET", 4}, name, {"v", 1}}, .pttl = {{"PTTL", 4}, name}};
    calls[0] = (lk_call){read->hget, 3};
    calls[1] = (lk_call){read->pttl, 2};
}

void lk_session_fill(latchkey *lk, const lk_token *token, uint64_t ticket, const lk_judged *judged,
                     uint64_t incarnation)
{
    int64_t now = lk_coarse_ms();
    /* A line to another incarnation of the server than the lease's proves nothing about revocations. */
    if (!incarnation || incarnation != atomic_load_explicit(&lk->lease->incarnation, memory_order_relaxed)) return;
    if (judged->l1_until_ms <= now || !lk->config.l1_capacity) return;
    latchkey_entry entry = lk_session_entry(judged);
    bool filled = lk_count_fill(lk, lk_l1_put(lk->l1, ticket, token->text, token->text + LATCHKEY_SELECTOR_LENGTH,
                                              false, judged->l1_until_ms, now, &entry));
    /* One whose life is shorter than the window was made for. */
    if (filled && judged->again_ms > judged->l1_until_ms - lk->refresh_ms + 2 * LK_CLOCK_TICK_MS)
        lk_refresh_queue_shut(lk->refresh_queue, token->text, now, judged->again_ms);
}

void lk_question_ask(latchkey *lk, const lk_token *token, uint64_t ticket, lk_question *question,
                     lk_question_words *words)
{
    lk_key_session(words->key, lk->config.prefix, token->partition, token->text);
    lk_session_ask(&words->read, words->key, words->calls);
    lk_count(&lk->counters, LK_L2_READS, 1);
    question->ticket = ticket;
    question->asked_us = lk_now_us();
    question->leased = lk_node_lease_owner(lk_l2_owner(&lk->l2, token->partition));
}

int lk_question_take(latchkey *lk, const lk_token *token, const lk_question *question,
                     lk_reply *replies[LK_QUESTION_CALLS], uint64_t *incarnation, latchkey_entry *entry,
                     int64_t *until_us, bool *reused)
{
    lk_judged judged;
    lk_node *node = lk_l2_owner(&lk->l2, token->partition);
    if (question->leased != *incarnation) *incarnation = 0;
    int status = lk_session_judge(lk, node, token->partition, token->text, token, replies[0], replies[1],
                                  question->asked_us, &judged);
    for (int i = 0; i < LK_QUESTION_CALLS; i++) lk_reply_free(replies[i]);
    *reused = status && judged.reused;
    if (*reused) *entry = judged.record.entry; /* in case that it has a moment left */
    if (status) return status;
    *until_us = judged.until_us;
    if (judged.touch_due) lk_node_touch(node, token->partition, token->text);
    lk_session_fill(lk, token, question->ticket, &judged, *incarnation);
    *entry = lk_session_entry(&judged);
    return LATCHKEY_OK;
}

int lk_question_answer(latchkey *lk, const lk_token *token, const lk_question *question,
                       lk_reply *replies[LK_QUESTION_CALLS], uint64_t *incarnation, latchkey_entry *entry,
                       int64_t *until_us)
{
    bool reused;
    int status = lk_question_take(lk, token, question, replies, incarnation, entry, until_us, &reused);
    if (reused) {
        memset(entry, 0, sizeof *entry);
        /* Not a word until its session is sure to be ended. */
        if (!lk_node_reused(lk_l2_owner(&lk->l2, token->partition), token)) status = LATCHKEY_UNAVAILABLE;
    }
    return status;
}
