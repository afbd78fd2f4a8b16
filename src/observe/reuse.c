/* See reuse.h. */
#include "observe/reuse.h"

#include "base/log.h"

#include <inttypes.h>
#include <string.h>

const char *lk_reuse_ended(const lk_reply *reply)
{
    static const char word[] = "REUSED ";
    bool is = reply->type == LK_REPLY_STRING && strncmp(reply->text, word, sizeof word - 1) == 0;
    return is ? reply->text + sizeof word - 1 : NULL;
}

void lk_reuse_report(lk_counters *counters, const char *selector, int64_t now_ms)
{
    lk_count(counters, LK_REUSES, 1);
    atomic_fetch_add_explicit(&counters->reuses_unsaid, 1, memory_order_relaxed);
    int64_t next_ms = atomic_load_explicit(&counters->reuse_say_ms, memory_order_relaxed);
    /* Whoever moves the time says it. */
    if (now_ms < next_ms ||
        !atomic_compare_exchange_strong(&counters->reuse_say_ms, &next_ms, now_ms + LK_REUSE_EVERY_MS))
        return;
    uint64_t unsaid = atomic_exchange_explicit(&counters->reuses_unsaid, 0, memory_order_relaxed);
    lk_log(LATCHKEY_LOG_WARNING,
           "rotation: the old token of selector %.20s was used after its grace, so two hold it: its session was ended; "
           "%" PRIu64 " such since this was last said",
           selector, unsaid);
}
