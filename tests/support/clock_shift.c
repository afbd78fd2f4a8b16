/* SPDX-License-Identifier: MIT
 *
 * A server with another clock: loaded into redis-server or nginx by LD_PRELOAD, this adds LATCHKEY_CLOCK_SHIFT_S seconds to
 * its wall clock, in each of the ways in which a program reads that. With LATCHKEY_CLOCK_SHIFT_FILE they are the 64-bit number
 * in that file, which may change meanwhile. The monotonic clock stays as it is. It needs nothing but the kernel, so it may be
 * built with any compiler, and goes into a program that was built without sanitizers.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int64_t from_environment;
static const volatile int64_t *shift_s = &from_environment;

/* Once, since redis-server writes over its environment. */
__attribute__((constructor)) static void read_shift(void)
{
    const char *text = getenv("LATCHKEY_CLOCK_SHIFT_S"), *path = getenv("LATCHKEY_CLOCK_SHIFT_FILE");
    if (text) from_environment = atoll(text);
    if (!path) return;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *mapped = mmap(NULL, sizeof *shift_s, PROT_READ, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) abort();
    shift_s = mapped;
    close(fd);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int status = (int)syscall(SYS_clock_gettime, clock, now);
    if (!status && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += (time_t)*shift_s;
    return status;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    int status = (int)syscall(SYS_gettimeofday, now, zone);
    if (!status) now->tv_sec += (time_t)*shift_s;
    return status;
}

time_t time(time_t *out)
{
    struct timespec now = {0};
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
