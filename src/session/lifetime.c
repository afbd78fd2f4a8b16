/* See lifetime.h. */
#include "session/lifetime.h"

#include "base/hash.h"

/* Between nine tenths and all of l1_ttl_ms, so that what was filled together is not asked for together again. */
int64_t lk_session_ttl(const latchkey *lk, const char *selector, int64_t asked_us)
{
    int64_t ttl = lk->config.l1_ttl_ms;
    uint64_t random = lk_hash(selector, LATCHKEY_SELECTOR_LENGTH, (uint64_t)asked_us);
    return ttl - (int64_t)(random % (uint64_t)(ttl / 10 + 1));
}

static int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t max_of(int64_t a, int64_t b) { return a > b ? a : b; }

void lk_session_times(int64_t ttl, int64_t idle, int64_t left, int64_t absolute, int64_t asked_us, lk_judged *judged)
{
    const int64_t tick = LK_CLOCK_TICK_MS, keep = idle / LK_SESSION_KEEP;
    left = min_of(left, absolute);
    judged->until_us = asked_us + left * 1000; /* from before it was asked: never too long */
    judged->final = absolute - left < keep; /* a touch could add less than that: the absolute expiry is what ends it */
    int64_t until_due = left - idle * (LK_SESSION_TOUCH - 1) / LK_SESSION_TOUCH, until_gone = left - (idle - keep);
    judged->touch_due = !judged->final && until_due <= 0;
    int64_t life = min_of(ttl, left), bound = until_gone;
    if (judged->touch_due) bound = keep; /* since it is asked for now */
    /* Never for less than two ticks: the last moments before a touch is due are not worth a read for every use. */
    else if (bound < 2 * tick) bound = min_of(2 * tick, keep);
    bool bounded = !judged->final && bound < life;
    if (bounded) life = bound;
    judged->l1_until_ms = asked_us / 1000 + life - tick;
    /* What ends with the session, or before the touch is due, would be given no more by another read. */
    judged->again_ms = asked_us / 1000 + life / 2;
    if (bounded && !judged->touch_due) judged->again_ms = max_of(judged->again_ms, asked_us / 1000 + until_due);
    if (judged->final && life == left) judged->again_ms = judged->l1_until_ms;
}

void lk_session_renewal(int64_t renew_ms, int64_t age_ms, int64_t asked_us, lk_judged *judged)
{
    if (!renew_ms) return;
    int64_t asked_ms = asked_us / 1000, left = renew_ms - age_ms, early = left - LK_SESSION_EARLY_MS;
    if (early <= 0) {
        judged->renew = true;
        return;
    }
    if (judged->l1_until_ms <= asked_ms + left - LK_CLOCK_TICK_MS) return;
    judged->l1_until_ms = asked_ms + left - LK_CLOCK_TICK_MS;
    judged->again_ms = asked_ms + early; /* before then a read would bring the same */
}

latchkey_entry lk_session_entry(const lk_judged *judged)
{
    latchkey_entry entry = judged->record.entry;
    if (judged->renew) entry.flags |= LATCHKEY_FLAG_RENEW;
    return entry;
}

int64_t lk_session_window(int64_t ttl, int64_t idle)
{
    int64_t window = min_of(ttl * 45 / 100, idle / LK_SESSION_KEEP - idle / LK_SESSION_TOUCH);
    return window < 2 * LK_CLOCK_TICK_MS ? 0 : window;
}
