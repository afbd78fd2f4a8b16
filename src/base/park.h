/* One thread waits, once, until another says go, once. The waiter may be gone, and the turn with it, as soon as that was
 * said: so no lock is needed, and who says it touches nothing of the turn afterwards (POSIX semaphores promise the same,
 * but ThreadSanitizer does not know their wait by the monotonic clock). */
#ifndef LK_BASE_PARK_H
#define LK_BASE_PARK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct lk_park {
    _Atomic uint32_t given; /* release; acquire: what was written before go is seen */
} lk_park;

#define LK_PARK_FOREVER INT64_MAX

void lk_park_wake(lk_park *turn);
bool lk_park_wait(lk_park *turn, int64_t deadline_ms); /* false: it was not given until then (monotonic) */

#endif
