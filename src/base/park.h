/* One thread waits, once, until another says go, once. The waiter may be gone, and the turn with it, as soon as that was
 * said: so no lock is needed, and who says it touches nothing of the turn afterwards (POSIX semaphores promise the same,
 * but ThreadSanitizer does not know their wait by the monotonic clock). */
#ifndef LK_TURN_H
#define LK_TURN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct lk_turn {
    _Atomic uint32_t given; /* release; acquire: what was written before go is seen */
} lk_turn;

#define LK_TURN_FOREVER INT64_MAX

void lk_turn_give(lk_turn *turn);
bool lk_turn_wait(lk_turn *turn, int64_t deadline_ms); /* false: it was not given until then (monotonic) */

#endif
