/* See lifetime.h. */
#include "session/lifetime.h"

#include "base/hash.h"

/* Between nine tenths and all of l1_ttl_ms, so that entries that were filled together are not all read again together. */
int64_t lk_session_ttl(const latchkey *lk, const char *selector, int64_t asked_us)
{
    int64_t ttl = lk->config.l1_ttl_ms;
    uint64_t random = lk_hash(selector, LATCHKEY_SELECTOR_LENGTH, (uint64_t)asked_us);
    return ttl - (int64_t)(random % (uint64_t)(ttl / 10 + 1));
}

static int64_t min_of(int64_t a, int64_t b) { return a < b ? a : b; }

void lk_session_times(int64_t ttl, int64_t ahead, int64_t idle, int64_t left, int64_t absolute, int64_t asked_us,
                      lk_judged *judged)
{
    const int64_t asked_ms = asked_us / 1000 - LK_CLOCK_TICK_MS;
    left = min_of(left, absolute);
    judged->until_us = asked_us + left * 1000; /* counted from before Redis was asked: so it is never too long */
    /* A touch could add less than that, so it ends by its absolute expiry. */
    judged->final = absolute - left < idle / LK_SESSION_WORTH;
    int64_t until_due = left - idle * (LK_SESSION_TOUCH - 1) / LK_SESSION_TOUCH,
            life = min_of(ttl, judged->final ? left : absolute);
    judged->touch_due = !judged->final && until_due <= 0;
    judged->touch_ms = judged->final ? INT64_MAX : asked_ms + until_due;
    judged->times.end_ms = asked_ms + life;
    /* Another read would not give a longer life to an entry that ends with the session. */
    if (life == ttl || !judged->final) life -= min_of(ahead, life / 2);
    judged->times.due_ms = min_of(asked_ms + life, judged->touch_ms);
    judged->times.idle_ms = judged->final ? 0 : idle;
}

void lk_session_renewal(int64_t renew_ms, int64_t age_ms, int64_t asked_us, lk_judged *judged)
{
    if (!renew_ms) return;
    int64_t asked_ms = asked_us / 1000, left = renew_ms - age_ms, early = left - LK_SESSION_EARLY_MS;
    if (early <= 0) {
        judged->renew = true;
        return;
    }
    if (judged->times.end_ms <= asked_ms + left - LK_CLOCK_TICK_MS) return;
    judged->times.end_ms = asked_ms + left - LK_CLOCK_TICK_MS;
    judged->times.due_ms = min_of(asked_ms + early, judged->touch_ms); /* before then a read would bring the same */
}

latchkey_entry lk_session_entry(const lk_judged *judged)
{
    latchkey_entry entry = judged->record.entry;
    if (judged->renew) entry.flags |= LATCHKEY_FLAG_RENEW;
    return entry;
}

int64_t lk_session_window(int64_t ttl)
{
    int64_t window = min_of(ttl * 45 / 100, LK_SESSION_WINDOW_MS);
    return window < 2 * LK_CLOCK_TICK_MS ? 0 : window;
}
