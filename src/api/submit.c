/* latchkey_fd, latchkey_submit, latchkey_submit_fresh, latchkey_reap: the short form of the handle's own queue. */
#include "api/writes.h"
#include "base/argument.h"

int latchkey_fd(latchkey *lk)
{
    latchkey_queue *q;
    if (!lk) return lk_bad_argument("fd: the handle is NULL");
    if (lk_forked(lk)) return LATCHKEY_FORKED;
    int status = lk_queue_own(lk, &q);
    return status ? status : lk_async_fd(lk, q->async);
}

static int submit_aged(latchkey *lk, const char *token, size_t token_len, int64_t max_age_ms, uint64_t tag)
{
    latchkey_queue *q;
    if (!lk || !token) return lk_bad_argument("submit: the handle or the token is NULL");
    if (lk_forked(lk)) return LATCHKEY_FORKED;
    int status = lk_queue_own(lk, &q);
    return status ? status : lk_queue_validate(q, token, token_len, max_age_ms, tag);
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
    latchkey_queue *q = lk_queue_made(lk);
    if (!q) return 0;
    size_t given = lk_async_reap(lk, q->async, answers, max);
    if (atomic_load_explicit(&q->writes, memory_order_acquire))
        lk_writes_ring(q); /* there is something left for queue_reap */
    return given;
}
