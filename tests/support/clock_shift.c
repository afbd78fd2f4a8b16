/* SPDX-License-Identifier: MIT
 *
 * A server with another clock: loaded into redis-server by LD_PRELOAD, this adds LATCHKEY_CLOCK_SHIFT_S seconds to its
 * wall clock, in each of the ways in which a program reads that. The monotonic clock stays as it is. It needs nothing but
 * the kernel, so it may be built with any compiler, and goes into a program that was built without sanitizers.
 */
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static time_t shift_s;

/* Once, since redis-server writes over its environment. */
__attribute__((constructor)) static void read_shift(void)
{
    const char *text = getenv("LATCHKEY_CLOCK_SHIFT_S");
    shift_s = text ? (time_t)atoll(text) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int status = (int)syscall(SYS_clock_gettime, clock, now);
    if (!status && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += shift_s;
    return status;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    int status = (int)syscall(SYS_gettimeofday, now, zone);
    if (!status) now->tv_sec += shift_s;
    return status;
}

time_t time(time_t *out)
{
    struct timespec now = {0};
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
