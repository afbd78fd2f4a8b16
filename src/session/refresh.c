/* Refresh ahead: entries of L1 that are in use are read again before their time is up, off the requests' path.
 *
 *   a hit near the entry's end (validate.c) --> refresh_queue.c --> the link asks HGET v, PTTL --> judge --> L1
 *                    before Redis is asked: lk_refresh_begin       with both replies: lk_refresh_end
 *
 * It is the miss of validate.c, driven by the link: the same question, the same judge (the whole token, E), the same fill
 * under the same rules. The ticket is taken before the question is sent (D); then it is looked whether the session is being
 * revoked here: who saw no denial took his ticket before the purge (B). The entry is used until its time is up whatever
 * becomes of this: no answer changes nothing (A).
 *
 * A refresh is no use of a session. It is asked for by a hit alone, and that is the use which a touch tells Redis of: so the
 * refresh that finds a touch due asks for it, within moments of the hit (LK_REFRESH_QUEUE_OLD_MS at the most). */
#include "session/touch.h"
#include "session/refresh.h"

#include "session/read.h"
#include "session/judge.h"

/* Half a second is soon enough where windows are seconds, and lets refreshes come together; asked for again after twice that,
 * whatever became of it. */
void lk_session_refresh(latchkey *lk, const char *token, int64_t now_ms)
{
    lk_token parsed;
    int64_t patience_ms = lk->refresh_ms < 2000 ? lk->refresh_ms / 4 : 500;
    if (!lk->refresh_ms || !lk_refresh_queue_dedup(lk->refresh_queue, token, now_ms, 2 * patience_ms)) return;
    if (lk_parse(lk, token, LATCHKEY_TOKEN_LENGTH, &parsed))
        lk_node_refresh(lk_l2_owner(&lk->l2, parsed.partition), parsed.text, now_ms, patience_ms);
    lk_wipe(&parsed, sizeof parsed);
}

bool lk_refresh_begin(latchkey *lk, lk_refresh_item *item, lk_pending_item *of)
{
    lk_token token;
    if (!lk_parse(lk, item->token, sizeof item->token, &token)) return false;
    of->partition = token.partition;
    memcpy(of->selector, token.text, sizeof of->selector);
    bool good = lk_vouch_session(lk, &token, &item->vouch); /* else it is denied here */
    lk_wipe(&token, sizeof token);
    return good;
}

/* Redis says that it is no more. The entry goes, whoever said it: the next request asks. */
static void refresh_found_end(latchkey *lk, lk_node *node, const char *token, const lk_vouch *vouch, int status)
{
    lk_l1_purge(lk->l1, token);
    if (lk_node_lease_covers_now(node, vouch->server) == LATCHKEY_OK)
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
    /* An old token (rotate.lua) whose grace ended meanwhile: its next use must come to Redis. */
    if (status > 0 && !judged.reused) refresh_found_end(lk, node, item->token, &vouch, status);
    if (!status && judged.touch_due) lk_session_touch(lk, token.partition, &judged.record);
    if (!status) lk_session_fill(lk, &token, &vouch, &judged);
    lk_wipe(&token, sizeof token);
}
