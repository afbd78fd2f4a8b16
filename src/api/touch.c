/* latchkey_touch: the session was used, in a way that validate did not see. */
#include "session/run_script.h"
#include "session/begin.h"

int latchkey_touch(latchkey *lk, const char *token, size_t token_len)
{
    lk_token parsed;
    LK_VISIT(visit);
    int status = lk_begin(lk, token, token_len, &parsed, &visit);
    if (status) return status;
    uint8_t hash[LK_HASH_SIZE];
    lk_token_verifier_hash(&parsed, hash);
    const lk_span words[1] = {{hash, sizeof hash}};
    const lk_script_run run = lk_script_on(&parsed, LK_SCRIPT_TOUCH, words, 1);
    status = lk_pending_has(lk->pending, &parsed) ? LATCHKEY_NOT_FOUND : lk_run_script(lk, &run, visit.deadline_ms);
    lk_wipe(&parsed, sizeof parsed);
    return status;
}
