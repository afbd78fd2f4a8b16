/* See park.h. A futex. FUTEX_WAKE names an address, and by then other memory may be in use there. That does no harm: a
 * thread that sleeps on that address wakes up, checks its own word and sleeps again (futex(2): spurious wake-ups). */
#include "base/park.h"

#include "base/clock.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

void lk_park_wake(lk_park *park)
{
    atomic_store_explicit(&park->given, 1, memory_order_release);
    syscall(SYS_futex, &park->given, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

bool lk_park_wait(lk_park *park, int64_t deadline_ms)
{
    struct timespec until = lk_timespec(deadline_ms);
    const struct timespec *end = deadline_ms == LK_PARK_FOREVER ? NULL : &until;
    for (;;) {
        if (atomic_load_explicit(&park->given, memory_order_acquire)) return true;
        /* WAIT_BITSET takes an absolute time on the monotonic clock. */
        long failed = syscall(SYS_futex, &park->given, FUTEX_WAIT_BITSET_PRIVATE, 0, end, NULL, FUTEX_BITSET_MATCH_ANY);
        if (failed && errno == ETIMEDOUT) return atomic_load_explicit(&park->given, memory_order_acquire);
    }
}
