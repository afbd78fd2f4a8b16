/* Clocks. Durations and deadlines are milliseconds on the monotonic clock. The wall clock of this machine is never read
 * (guarantee H): absolute times come from Redis and from the record. */
#ifndef LK_BASE_CLOCK_H
#define LK_BASE_CLOCK_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

/* The coarse clock lags behind the fine one by up to a tick: 4 ms at the kernel's usual HZ=250, 10 ms at HZ=100. A time
 * that is stored to be compared with the coarse clock is made this much earlier. */
#define LK_CLOCK_TICK_MS 10

static inline int64_t lk_clock_read(clockid_t clock, int64_t unit_ns)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * (1000000000 / unit_ns) + t.tv_nsec / unit_ns;
}

static inline int64_t lk_now_ms(void) { return lk_clock_read(CLOCK_MONOTONIC, 1000000); }
static inline int64_t lk_now_us(void) { return lk_clock_read(CLOCK_MONOTONIC, 1000); }
static inline int64_t lk_coarse_ms(void) { return lk_clock_read(CLOCK_MONOTONIC_COARSE, 1000000); }

static inline int64_t lk_later(int64_t a_ms, int64_t b_ms) { return a_ms > b_ms ? a_ms : b_ms; }
static inline int64_t lk_earlier(int64_t a_ms, int64_t b_ms) { return a_ms < b_ms ? a_ms : b_ms; }

static inline struct timespec lk_timespec(int64_t ms)
{
    return (struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
}

/* A condition whose waits end at a time on the monotonic clock. */
static inline void lk_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

/* ETIMEDOUT once until_ms has passed. 0 may also be a spurious wake-up, so check the condition again. */
static inline int lk_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t until_ms)
{
    struct timespec until = lk_timespec(until_ms);
    return pthread_cond_timedwait(cond, lock, &until);
}

#endif
