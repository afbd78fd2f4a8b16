/* One thread waits, once, until another thread wakes it, once. The waiter may return and free the lk_park as soon as it
 * was woken: so no lock is needed, and the waking thread does not touch the lk_park afterwards. POSIX semaphores
 * promise the same, but ThreadSanitizer does not know sem_clockwait. */
#ifndef LK_BASE_PARK_H
#define LK_BASE_PARK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct lk_park {
    _Atomic uint32_t given; /* release in wake, acquire in wait: the waiter sees what was written before the wake */
} lk_park;

#define LK_PARK_FOREVER INT64_MAX

void lk_park_wake(lk_park *park);
bool lk_park_wait(lk_park *park, int64_t deadline_ms); /* false: it was not woken by then (monotonic clock) */

#endif
