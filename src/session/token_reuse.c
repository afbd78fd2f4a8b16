/* See token_reuse.h. */
#include "session/token_reuse.h"

#include "observe/events.h"
#include "session/ended.h"
#include "session/run_script.h"

bool lk_session_take_reused(latchkey *lk, unsigned partition, const char *selector, const lk_reply *reply,
                            lk_source source)
{
    const char *ended = lk_reuse_ended(reply);
    if (!ended) return false;
    /* If another server was met meanwhile that knows nothing of it, the next use of the old token tells that server. */
    lk_session_ended(lk, partition, ended, source);
    lk_reuse_report(&lk->counters, selector, lk_now_ms());
    lk_event_reused(&lk->config, selector, ended);
    return true;
}

enum { MOMENT_US = 1000000 };

int lk_session_reused(latchkey *lk, const lk_token *token, int64_t deadline_ms, int64_t *until_us)
{
    uint8_t hash[LK_HASH_SIZE];
    lk_token_verifier_hash(token, hash);
    /* A touch with an old token ends its session: Redis' clock decides. */
    const lk_span words[1] = {{hash, sizeof hash}};
    const lk_script_run run = lk_script_on(token, LK_SCRIPT_TOUCH, words, 1);
    int status = lk_run_script(lk, &run, deadline_ms);
    if (!status) *until_us = lk_now_us() + MOMENT_US;
    return status == LATCHKEY_EXPIRED ? LATCHKEY_NOT_FOUND : status;
}
