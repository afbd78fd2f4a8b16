/* latchkey_touch: the session was used, in a way that validate did not see. */
#include "session/judge.h"
#include "session/begin.h"
#include "session/token_reuse.h"

int latchkey_touch(latchkey *lk, const char *token, size_t token_len)
{
    lk_token parsed;
    int64_t deadline_ms;
    int status = lk_begin(lk, token, token_len, &parsed, &deadline_ms);
    if (status) return status;
    uint8_t hash[LK_HASH_SIZE];
    lk_token_verifier_hash(&parsed, hash);
    lk_reply *reply;
    uint64_t incarnation = 0;
    unsigned partition = parsed.partition;
    if (lk_pending_has(lk->pending, &parsed)) status = LATCHKEY_NOT_FOUND;
    else
        status = lk_l2_script(&lk->l2, LK_SCRIPT_TOUCH, parsed.partition, parsed.text, &(lk_span){hash, sizeof hash}, 1,
                              deadline_ms, &reply, &incarnation);
    if (status && status != LATCHKEY_PENDING) {
        lk_wipe(&parsed, sizeof parsed);
        return status;
    }
    bool durable = !status, reused = lk_session_take_reused(lk, &parsed, reply, incarnation);
    lk_wipe(&parsed, sizeof parsed);
    status = reused                            ? LATCHKEY_NOT_FOUND
             : reply->type != LK_REPLY_INTEGER ? LATCHKEY_UNAVAILABLE
             : reply->integer > 0              ? LATCHKEY_OK
             : reply->integer < 0              ? LATCHKEY_EXPIRED
                                               : LATCHKEY_NOT_FOUND;
    lk_reply_free(reply);
    if (!status && !durable) return LATCHKEY_UNAVAILABLE;
    return lk_session_no(lk, partition, incarnation, status, deadline_ms);
}
