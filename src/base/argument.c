/* See argument.h. */
#include "base/argument.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/reason.h"

#include <stdatomic.h>

enum { SLOTS = 256, AGAIN_MS = 10000 };

/* When each text may be logged again. A slot belongs to the first text that takes it. If all slots are taken, which
 * takes more texts than the library has, a text is logged each time. All accesses are relaxed: at worst two threads log
 * the same text at once. */
static struct {
    _Atomic(const char *) what;
    _Atomic int64_t silent_until_ms;
} said[SLOTS];

static _Atomic int64_t *silence_of(const char *what)
{
    for (uint64_t at = lk_hash(&what, sizeof what, 0), i = 0; i < SLOTS; i++, at++) {
        const char *none = NULL;
        if (atomic_load_explicit(&said[at % SLOTS].what, memory_order_relaxed) == what ||
            atomic_compare_exchange_strong_explicit(&said[at % SLOTS].what, &none, what, memory_order_relaxed,
                                                    memory_order_relaxed) ||
            none == what)
            return &said[at % SLOTS].silent_until_ms;
    }
    return NULL;
}

int lk_bad_argument(const char *what)
{
    _Atomic int64_t *until = silence_of(what);
    int64_t now_ms = lk_now_ms();
    if (!until || now_ms >= atomic_load_explicit(until, memory_order_relaxed)) {
        if (until) atomic_store_explicit(until, now_ms + AGAIN_MS, memory_order_relaxed);
        lk_journal *handle = lk_log_to(NULL); /* the line belongs to no handle, whichever verb it is */
        lk_log(LATCHKEY_LOG_INFO, "argument: %s", what);
        lk_log_to(handle);
    }
    lk_reason_clear(NULL);
    return lk_reason(LATCHKEY_BAD_ARGUMENT, "%s", what);
}
