/* See token_reuse.h. */
#include "session/token_reuse.h"

#include "observe/events.h"
#include "session/ended.h"

bool lk_session_take_reused(latchkey *lk, const lk_token *token, const lk_reply *reply, uint64_t incarnation)
{
    const char *ended = lk_reuse_ended(reply);
    if (!ended) return false;
    /* Where another server was met meanwhile that knows nothing of it: the next use of the old token tells that one. */
    lk_session_ended(lk, token->partition, ended, incarnation);
    lk_reuse_report(&lk->counters, token->text, lk_now_ms());
    lk_event_reused(&lk->config, token->text, ended);
    return true;
}

enum { MOMENT_US = 1000000 };

int lk_session_reused(latchkey *lk, const lk_token *token, int64_t deadline_ms, int64_t *until_us)
{
    uint8_t hash[LK_HASH_SIZE];
    lk_reply *reply;
    uint64_t incarnation = 0;
    lk_token_verifier_hash(token, hash);
    /* Touching with an old token is what ends its session: Redis' clock decides. */
    int status = lk_l2_script(&lk->l2, LK_SCRIPT_TOUCH, token->partition, token->text, &(lk_span){hash, sizeof hash}, 1,
                              deadline_ms, &reply, &incarnation);
    if (status && status != LATCHKEY_PENDING) return status;
    status = LATCHKEY_NOT_FOUND;
    if (!lk_session_take_reused(lk, token, reply, incarnation) && reply->type == LK_REPLY_INTEGER &&
        reply->integer > 0) {
        status = LATCHKEY_OK;
        *until_us = lk_now_us() + MOMENT_US;
    }
    lk_reply_free(reply);
    return status;
}
