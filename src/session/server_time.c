/* See server_time.h. */
#include "session/server_time.h"

#include <stdlib.h>
#include <string.h>

int64_t lk_server_now_ms(const latchkey *lk, unsigned partition, int64_t now_us)
{
    int64_t ahead_us = atomic_load_explicit(&lk->leases->of[partition].server_ahead_us, memory_order_relaxed);
    return ahead_us ? (now_us + ahead_us) / 1000 : 0;
}

int64_t lk_server_any_now_ms(const latchkey *lk, int64_t now_us)
{
    int64_t now_ms = 0;
    for (unsigned p = 0; !now_ms && p < (unsigned)lk->config.partitions; p++) now_ms = lk_server_now_ms(lk, p, now_us);
    return now_ms;
}

int64_t lk_session_guess_ms(const latchkey *lk, unsigned partition)
{
    int64_t now_ms = lk_server_now_ms(lk, partition, lk_now_us());
    return now_ms > LK_CLOCK_TICK_MS ? now_ms - LK_CLOCK_TICK_MS : 0;
}

bool lk_session_is_time(int64_t ms) { return ms > 0 && ms < INT64_C(100000000000000); }

int64_t lk_session_clock(const lk_reply *reply, int64_t *now_ms)
{
    *now_ms = 0;
    if (reply->type != LK_REPLY_STATUS || strncmp(reply->text, "CLOCK ", 6) != 0) return 0;
    char *end;
    int64_t should_ms = strtoll(reply->text + 6, &end, 10);
    *now_ms = strtoll(end, NULL, 10);
    return lk_session_is_time(should_ms) && lk_session_is_time(*now_ms) ? should_ms : 0;
}
