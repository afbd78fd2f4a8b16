/* See visit.h. */
#include "session/visit.h"

#include "base/reason.h"

static _Thread_local int64_t worker_deadline_ms; /* 0: this is a thread of the application's */

void lk_visit_at(int64_t deadline_ms) { worker_deadline_ms = deadline_ms; }

int lk_visit_begin(latchkey *lk, lk_visit *visit)
{
    if (visit->lk) return LATCHKEY_OK;
    lk_reason_clear(lk);
    if (lk_forked(lk)) return lk_reason(LATCHKEY_FORKED, "the handle was opened by a parent process: open one here");
    atomic_fetch_add_explicit(&lk->visits, 1, memory_order_seq_cst);
    visit->lk = lk;
    visit->before = lk_log_to(lk->journal);
    visit->deadline_ms = worker_deadline_ms ? worker_deadline_ms : lk_now_ms() + lk->config.deadline_ms;
    if (!lk_visit_draining(lk) || worker_deadline_ms) return LATCHKEY_OK;
    return lk_reason(LATCHKEY_UNAVAILABLE, "the handle is being drained (latchkey_drain)");
}

void lk_visit_end(const lk_visit *visit)
{
    if (!visit->lk) return;
    lk_log_to(visit->before);
    atomic_fetch_sub_explicit(&visit->lk->visits, 1, memory_order_seq_cst);
}
