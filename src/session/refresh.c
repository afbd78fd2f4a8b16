/* See refresh.h.
 *
 *   a hit that finds a question due (hit.c) --> refresh_queue.h --> the link
 *        a touch is due:                  PEXPIRE ... --> 1 --> the entry's time moves on              (touch.c)
 *        its end in L1 is near, or RENEW: HGET v, PTTL --> judge --> L1
 *
 * The read is the miss of validate.c, driven by the link: the same question, the same judging (the whole token, E), the
 * same fill under the same rules. The ticket is taken before the question is sent (D), and pending revocations are
 * looked at after it: a read that saw no denial has a ticket from before the purge (B). Whatever becomes of this, the
 * entry is used until its time is up: no answer changes nothing (A).
 *
 * A read does not count as a use of the session. Only a hit asks for one, and a touch tells Redis of that hit: a read
 * that finds a touch due asks for it, within LK_REFRESH_QUEUE_OLD_MS of the hit at most. */
#include "session/refresh.h"

#include "session/judge.h"
#include "session/read.h"
#include "session/touch.h"

#include <string.h>

/* Half a second is soon enough where times are minutes, and lets questions come together. */
int64_t lk_session_patience(const latchkey *lk, int64_t idle_ms)
{
    int64_t patience_ms = lk->refresh_ms && lk->refresh_ms < 2000 ? lk->refresh_ms / 4 : 500;
    int64_t most_ms = lk_later((idle_ms ? idle_ms : lk->config.idle_ms) / 16, 1);
    return lk_earlier(patience_ms, most_ms);
}

void lk_session_refresh(latchkey *lk, const char *token, int64_t idle_ms, int64_t now_ms)
{
    int64_t patience_ms = lk_session_patience(lk, idle_ms);
    if (!lk_refresh_gate_dedup(lk->book->refresh_gate, token, now_ms, 2 * patience_ms)) return;
    lk_l1_owe(lk->l1, token, now_ms);
    lk_node_refresh(lk_l2_owner(&lk->l2, lk_token_partition(token)), token, now_ms, patience_ms);
}

/* A touch is enough: the entry is there, and its own end is not near. */
static bool touch_does(latchkey *lk, const lk_token *token, lk_touch *touch)
{
    lk_l1_times times;
    latchkey_entry entry;
    if (!lk_l1_terms_of(lk->l1, token->text, &times, &entry) || !times.idle_ms) return false;
    if (times.end_ms - lk_coarse_ms() <= lk->refresh_ms + 2 * LK_CLOCK_TICK_MS) return false;
    *touch = lk_touch_of(lk, token->partition, token->text, &entry, times.idle_ms);
    return true;
}

bool lk_refresh_begin(latchkey *lk, lk_refresh_item *item, lk_job *job)
{
    lk_token token;
    if (!lk_parse(lk, item->token, sizeof item->token, &token)) return false;
    job->of.partition = token.partition;
    memcpy(job->of.selector, token.text, sizeof job->of.selector);
    bool good = lk_vouch_session(lk, &token, &item->vouch); /* else it is denied here */
    job->kind = touch_does(lk, &token, &job->touch) ? LK_JOB_TOUCH : LK_JOB_REFRESH;
    job->vouch = item->vouch;
    lk_wipe(&token, sizeof token);
    return good;
}

/* Redis says that the session is over. The entry goes, whichever server said it: the next request asks. */
static void refresh_found_end(latchkey *lk, unsigned partition, const char *token, const lk_vouch *vouch, int status)
{
    lk_l1_purge(lk->l1, token);
    if (lk_lease_covers_now(lk->book, partition, vouch->server) == LATCHKEY_OK)
        lk_negative_cache_add(lk->negative_cache, vouch->dead_ticket, token, status, lk_coarse_ms());
}

void lk_refresh_end(latchkey *lk, const lk_refresh_item *item, const lk_reply *value, const lk_reply *pttl,
                    uint64_t incarnation)
{
    lk_token token;
    lk_judged judged;
    if (!lk_parse(lk, item->token, sizeof item->token, &token)) return;
    lk_node *node = lk_l2_owner(&lk->l2, token.partition);
    lk_vouch vouch = item->vouch;
    lk_vouch_answered(lk, token.partition, &vouch, incarnation);
    int status = lk_session_judge(lk, node, token.partition, token.text, &token, value, pttl, vouch.asked_us, &judged);
    /* An old token (rotate.lua) whose grace ended meanwhile: its next use must reach Redis. */
    if (status > 0 && !judged.reused) refresh_found_end(lk, token.partition, item->token, &vouch, status);
    if (!status) lk_session_fill(lk, &token, &vouch, &judged);
    if (!status && judged.touch_due) lk_session_touch(lk, token.partition, &judged.record);
    lk_wipe(&token, sizeof token);
}
