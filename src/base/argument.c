/* See argument.h. */
#include "base/argument.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"

#include <stdatomic.h>

enum { SLOTS = 256, AGAIN_MS = 10000 };

/* When each text may be said again. Relaxed: two threads that say it at once do no harm, nor do two texts that share a slot. */
static _Atomic int64_t silent_until_ms[SLOTS];

int lk_bad_argument(const char *what)
{
    _Atomic int64_t *until = &silent_until_ms[lk_hash(&what, sizeof what, 0) % SLOTS];
    int64_t now_ms = lk_now_ms();
    if (now_ms >= atomic_load_explicit(until, memory_order_relaxed)) {
        atomic_store_explicit(until, now_ms + AGAIN_MS, memory_order_relaxed);
        lk_log(LATCHKEY_LOG_INFO, "argument: %s", what);
    }
    return LATCHKEY_BAD_ARGUMENT;
}
