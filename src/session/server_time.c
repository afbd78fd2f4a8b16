/* See server_time.h. */
#include "session/server_time.h"

#include <stdlib.h>
#include <string.h>

int64_t lk_server_now_ms(const latchkey *lk, int64_t now_us)
{
    int64_t ahead_us = atomic_load_explicit(&lk->lease->server_ahead_us, memory_order_relaxed);
    return ahead_us ? (now_us + ahead_us) / 1000 : 0;
}

int64_t lk_session_guess_ms(const latchkey *lk)
{
    int64_t now_ms = lk_server_now_ms(lk, lk_now_us());
    return now_ms > LK_CLOCK_TICK_MS ? now_ms - LK_CLOCK_TICK_MS : 0;
}

int64_t lk_session_clock(const lk_reply *reply)
{
    bool is = reply->type == LK_REPLY_STATUS && strncmp(reply->text, "CLOCK ", 6) == 0;
    int64_t now_ms = is ? strtoll(reply->text + 6, NULL, 10) : 0;
    return now_ms > 0 && now_ms < INT64_C(100000000000000) ? now_ms : 0;
}
