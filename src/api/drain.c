/* latchkey_drain: prepares the end of a handle that threads may still be using. See session/visit.h. */
#include "base/argument.h"
#include "base/reason.h"
#include "session/visit.h"

enum { LOOK_US = 500, MORE_MS = 100 }; /* a call may end a little after its deadline */

int latchkey_drain(latchkey *lk)
{
    if (!lk) return lk_bad_argument("drain: the handle is NULL");
    if (lk_forked(lk)) return LATCHKEY_FORKED;
    const struct timespec moment = {.tv_nsec = LOOK_US * 1000};
    int64_t until_ms = lk_now_ms() + lk->config.deadline_ms + MORE_MS;
    lk_reason_clear(lk);
    atomic_store_explicit(&lk->draining, true, memory_order_seq_cst);
    while (atomic_load_explicit(&lk->visits, memory_order_seq_cst) && lk_now_ms() < until_ms) nanosleep(&moment, NULL);
    if (!atomic_load_explicit(&lk->visits, memory_order_seq_cst)) return LATCHKEY_OK;
    return lk_reason(LATCHKEY_UNAVAILABLE, "drain: a call that waits for Redis is still under way");
}
