/* latchkey_rotate: a new token for the same session --> script in Redis --> the new token is handed out.
 *
 * With a grace the old selector stays for so long, as a small record of its own that a miss reads like any other; after
 * that it is a tripwire: see lk_session_reused. Without, it is gone, and so is every token before it: that is a
 * revocation, announced and remembered as any other. Denying beforehand, as revoke does, is not needed: once Redis
 * confirmed, nobody finds the old token there, and then it is purged here. */
#include "session.h"

#include <stdio.h>
#include <string.h>

enum { ATTEMPTS = 4, GRACE_MOST_MS = 3600000 };

/* "OK", and whom it ended. */
static int take(latchkey *lk, const lk_token *old, const lk_reply *reply, uint64_t incarnation)
{
    if (lk_session_take_reused(lk, old, reply, incarnation)) return LATCHKEY_NOT_FOUND;
    if (reply->type == LK_REPLY_STRING && strncmp(reply->text, "OK ", 3) == 0) {
        lk_l1_purge(lk->l1, old->text); /* with a grace too: it may not stay longer than that */
        return lk_session_ended(lk, old->partition, reply->text + 3, incarnation) ? LATCHKEY_OK : LATCHKEY_UNAVAILABLE;
    }
    if (reply->type == LK_REPLY_INTEGER) return reply->integer ? LATCHKEY_EXPIRED : LATCHKEY_NOT_FOUND;
    return lk_reply_is(reply, "EXISTS")    ? LATCHKEY_AGAIN
           : lk_reply_is(reply, "REFUSED") ? LATCHKEY_REFUSED
                                           : LATCHKEY_UNAVAILABLE;
}

/* AGAIN: the new selector is taken. */
static int attempt(latchkey *lk, const lk_token *old, int64_t grace_ms, int64_t deadline_ms, lk_token *made)
{
    uint8_t old_hash[LK_HASH_SIZE], new_hash[LK_HASH_SIZE];
    char grace[24];
    lk_reply *reply;
    uint64_t incarnation = 0;
    lk_token_make(&lk->config.check_keys, old->partition, made);
    lk_token_verifier_hash(old, old_hash);
    lk_token_verifier_hash(made, new_hash);
    const lk_span words[5] = {{old_hash, sizeof old_hash},
                              {made->text, LATCHKEY_SELECTOR_LENGTH},
                              {new_hash, sizeof new_hash},
                              {made->raw, LK_SELECTOR_RAW},
                              {grace, (size_t)snprintf(grace, sizeof grace, "%lld", (long long)grace_ms)}};
    int status =
        lk_l2_script(&lk->l2, LK_SCRIPT_ROTATE, old->partition, old->text, words, 5, deadline_ms, &reply, &incarnation);
    if (status && status != LATCHKEY_PENDING) return status;
    bool durable = !status;
    status = take(lk, old, reply, incarnation);
    lk_reply_free(reply);
    if (!status && !durable) return LATCHKEY_UNAVAILABLE;
    return status == LATCHKEY_AGAIN ? status : lk_session_no(lk, old->partition, incarnation, status, deadline_ms);
}

int latchkey_rotate(latchkey *lk, const char *token, size_t token_len, int64_t grace_ms,
                    char new_token[LATCHKEY_TOKEN_SIZE])
{
    lk_token old, made;
    if (!new_token) return LATCHKEY_BAD_ARGUMENT;
    int64_t deadline_ms;
    int status = grace_ms < 0 || grace_ms > GRACE_MOST_MS ? LATCHKEY_BAD_ARGUMENT
                                                          : lk_begin(lk, token, token_len, &old, &deadline_ms);
    memset(new_token, 0, LATCHKEY_TOKEN_SIZE); /* only now: it may be where the old one stands */
    if (status) return status;
    status = lk_pending_has(lk->pending, &old) ? LATCHKEY_NOT_FOUND : LATCHKEY_AGAIN;
    for (int i = 0; i < ATTEMPTS && status == LATCHKEY_AGAIN; i++)
        status = attempt(lk, &old, grace_ms, deadline_ms, &made);
    if (!status) memcpy(new_token, made.text, LATCHKEY_TOKEN_SIZE);
    lk_wipe(&old, sizeof old);
    lk_wipe(&made, sizeof made);
    return status == LATCHKEY_AGAIN ? LATCHKEY_UNAVAILABLE : status;
}
