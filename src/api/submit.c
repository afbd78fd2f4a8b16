/* latchkey_fd, latchkey_submit, latchkey_submit_fresh, latchkey_reap: validate without waiting, for event loops. See session/async.h. */
#include "session/async.h"
#include "base/argument.h"
#include "session/begin.h"

int latchkey_fd(latchkey *lk)
{
    if (!lk) return lk_bad_argument("fd: the handle is NULL");
    return lk_forked(lk) ? (int)LATCHKEY_FORKED : lk_async_fd(lk);
}

static int submit_aged(latchkey *lk, const char *token, size_t token_len, int64_t max_age_ms, uint64_t tag)
{
    lk_token parsed;
    lk_foreign foreign;
    int status = lk_begin_here(lk, token, token_len, &parsed, &foreign);
    bool unresolved = status == LK_OUTCOME_ASK_REDIS;
    if (status == LATCHKEY_MALFORMED) lk_count(&lk->counters, LK_MALFORMED, 1);
    if (status && !unresolved) return status;
    if (unresolved) lk_foreign_stand_in(&foreign, &parsed);
    status = lk_async_submit(lk, &parsed, unresolved ? &foreign : NULL, max_age_ms, tag);
    if (unresolved) lk_wipe(&foreign, sizeof foreign);
    lk_wipe(&parsed, sizeof parsed);
    return status;
}

int latchkey_submit(latchkey *lk, const char *token, size_t token_len, uint64_t tag)
{
    return submit_aged(lk, token, token_len, INT64_MAX, tag);
}

int latchkey_submit_fresh(latchkey *lk, const char *token, size_t token_len, int64_t max_age_ms, uint64_t tag)
{
    if (max_age_ms < 0) return lk_bad_argument("submit_fresh: max_age_ms is below 0");
    return submit_aged(lk, token, token_len, max_age_ms < INT64_MAX ? max_age_ms : INT64_MAX - 1, tag);
}

size_t latchkey_reap(latchkey *lk, latchkey_answer *answers, size_t max)
{
    if (!lk || !answers || lk_forked(lk)) return 0;
    return lk_async_reap(lk, answers, max);
}
