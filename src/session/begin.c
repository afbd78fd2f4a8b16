/* See begin.h. */
#include "session/begin.h"
#include "base/argument.h"
#include "base/reason.h"

#include "session/resolve.h"

#include <string.h>

int lk_begin_here(latchkey *lk, const char *token, size_t token_len, lk_token *parsed, lk_foreign *foreign)
{
    char selector[LATCHKEY_SELECTOR_LENGTH];
    if (!lk || !token) return lk_bad_argument("the handle or the token is NULL");
    lk_reason_clear(lk);
    if (lk_forked(lk)) return lk_reason(LATCHKEY_FORKED, "the handle was opened by a parent process: open one here");
    unsigned partitions = (unsigned)lk->config.partitions;
    if (lk_parse(lk, token, token_len, parsed)) return LATCHKEY_OK;
    lk_wipe(parsed, sizeof *parsed); /* it may be a real token, misspelt */
    if (!lk->config.foreign_until_ms || !lk_foreign_parse(partitions, token, token_len, foreign))
        return LATCHKEY_MALFORMED;
    if (!lk_foreign_taken(lk, foreign)) {
        lk_wipe(foreign, sizeof *foreign);
        return LATCHKEY_MALFORMED;
    }
    if (!lk_alias_cache_find(lk->alias_cache, foreign->name, selector)) return LK_OUTCOME_ASK_REDIS;
    lk_foreign_token(partitions, foreign, selector, sizeof selector, parsed); /* it was valid when it was put in */
    lk_wipe(foreign, sizeof *foreign);
    return LATCHKEY_OK;
}

int lk_begin(latchkey *lk, const char *token, size_t token_len, lk_token *parsed, lk_visit *visit)
{
    lk_foreign foreign;
    int status = lk_begin_here(lk, token, token_len, parsed, &foreign);
    if (status != LATCHKEY_OK && status != LK_OUTCOME_ASK_REDIS) return status;
    int begun = lk_visit_begin(lk, visit);
    if (begun) {
        if (status) lk_wipe(&foreign, sizeof foreign);
        lk_wipe(parsed, sizeof *parsed);
        return begun;
    }
    if (status == LK_OUTCOME_ASK_REDIS) {
        status = lk_resolve(lk, &foreign, visit->deadline_ms, parsed);
        if (status >= 0 && !lk_foreign_taken(lk, &foreign))
            status = LATCHKEY_MALFORMED; /* the clock was not known before */
        if (status == LATCHKEY_NOT_FOUND) lk_count(&lk->counters, LK_FOREIGN_UNKNOWN, 1);
        lk_wipe(&foreign, sizeof foreign);
        if (status) lk_wipe(parsed, sizeof *parsed);
    }
    return status;
}
