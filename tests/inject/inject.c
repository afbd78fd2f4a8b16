/* SPDX-License-Identifier: MIT
 *
 * See inject.h. What the threads share is atomic; a plan is set while no thread of the library runs.
 */
#include "inject.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* ------------------------------------------------------------------------------------------------- names -- */

enum { HOWS_MAX = 6 };

static const struct {
    const char *name;
    int how[HOWS_MAX];
} calls[INJECT_CALLS] = {
    [INJECT_ALLOC] = {"malloc, calloc, realloc", {ENOMEM}},
    [INJECT_MMAP] = {"mmap", {ENOMEM}},
    [INJECT_MADVISE] = {"madvise", {EINVAL}},
    [INJECT_THREAD] = {"pthread_create", {EAGAIN}},
    [INJECT_EVENTFD] = {"eventfd", {EMFILE}},
    [INJECT_OPEN] = {"open", {EINTR, EMFILE}},
    [INJECT_RESOLVE] = {"getaddrinfo", {EAI_MEMORY, EAI_AGAIN}},
    [INJECT_SOCKET] = {"socket", {EMFILE, ENOBUFS}},
    [INJECT_CONNECT] = {"connect", {ECONNREFUSED, EINTR, EAGAIN}},
    [INJECT_SOCKET_ERROR] = {"getsockopt", {ENOBUFS}},
    [INJECT_POLL] = {"poll", {EINTR, EAGAIN, ENOMEM}},
    [INJECT_RECV] = {"recv", {ECONNRESET, EINTR, EAGAIN, INJECT_END, INJECT_SHORT}},
    [INJECT_SEND] = {"send", {ECONNRESET, EINTR, EAGAIN, INJECT_SHORT}},
    [INJECT_READ] = {"read", {EINTR, EAGAIN}},
    [INJECT_WRITE] = {"write", {EINTR, EAGAIN}},
    [INJECT_EPOLL] = {"epoll_create1", {EMFILE, ENOMEM}},
    [INJECT_WATCH] = {"epoll_ctl", {ENOMEM, ENOSPC}},
    [INJECT_TIMER] = {"timerfd_create", {EMFILE, ENOMEM}},
    [INJECT_SET_TIMER] = {"timerfd_settime", {ENOMEM}},
};

const char *inject_call_name(enum inject_call call) { return calls[call].name; }
const int *inject_hows(enum inject_call call) { return calls[call].how; }

const char *inject_how_name(enum inject_call call, int how)
{
    if (how == INJECT_SHORT) return "1 byte";
    if (how == INJECT_END) return "end of file";
    return call == INJECT_RESOLVE ? gai_strerror(how) : strerrorname_np(how);
}

/* -------------------------------------------------------------------------------------------------- plans -- */

static struct {
    inject_plan plan;
    uint64_t seed;
    unsigned odds;   /* of random failures; 0: by the plan */
    _Atomic bool on; /* release when it is set, acquire when it is read: the rest was written before */
    _Atomic uint64_t count[INJECT_THREADS][INJECT_CALLS], failed;
} now;

static _Thread_local enum inject_thread this_thread = INJECT_CALLER;

static void begin(const inject_plan *plan, uint64_t seed, unsigned odds)
{
    inject_stop();
    for (int t = 0; t < INJECT_THREADS; t++)
        for (int c = 0; c < INJECT_CALLS; c++) atomic_store(&now.count[t][c], 0);
    atomic_store(&now.failed, 0);
    now.plan = *plan;
    now.seed = seed;
    now.odds = odds;
    atomic_store_explicit(&now.on, true, memory_order_release);
}

void inject_begin(const inject_plan *plan) { begin(plan, 0, 0); }
void inject_begin_random(uint64_t seed, unsigned odds) { begin(&(inject_plan){.count = 0}, seed, odds); }
void inject_stop(void) { atomic_store(&now.on, false); }
uint64_t inject_count(enum inject_thread thread, enum inject_call call)
{
    return atomic_load(&now.count[thread][call]);
}
uint64_t inject_failed(void) { return atomic_load(&now.failed); }

/* SplitMix64's output function (Steele, Lea and Flood, OOPSLA 2014). */
static uint64_t mixed(uint64_t z)
{
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static int random_how(enum inject_call call, uint64_t nth)
{
    uint64_t random =
        mixed(now.seed + mixed(nth * INJECT_CALLS * INJECT_THREADS + call * INJECT_THREADS + this_thread));
    unsigned ways = 0;
    while (ways < HOWS_MAX && calls[call].how[ways]) ways++;
    return random % now.odds ? 0 : calls[call].how[(random >> 32) % ways];
}

/* Counts the call: 0, or how it is to fail. */
static int fails(enum inject_call call)
{
    if (!atomic_load_explicit(&now.on, memory_order_acquire)) return 0;
    uint64_t nth = atomic_fetch_add(&now.count[this_thread][call], 1) + 1;
    const inject_plan *p = &now.plan;
    int how = 0;
    if (now.odds) how = random_how(call, nth);
    else if (p->thread == this_thread && p->call == call && nth >= p->nth && nth - p->nth < p->count) how = p->how;
    if (how) atomic_fetch_add(&now.failed, 1);
    return how;
}

static int failure(int how)
{
    errno = how;
    return -1;
}

/* ------------------------------------------------------------------------------------------------- memory -- */

static _Atomic long allocations, mapped_bytes, descriptors;

inject_held inject_holds(void)
{
    return (inject_held){atomic_load(&allocations), atomic_load(&mapped_bytes), atomic_load(&descriptors)};
}

static void *held(void *at)
{
    if (at) atomic_fetch_add(&allocations, 1);
    return at;
}

static bool no_memory(void)
{
    if (!fails(INJECT_ALLOC)) return false;
    errno = ENOMEM;
    return true;
}

void *inject_malloc(size_t size);
void *inject_malloc(size_t size) { return no_memory() ? NULL : held(malloc(size)); }

void *inject_calloc(size_t count, size_t size);
void *inject_calloc(size_t count, size_t size) { return no_memory() ? NULL : held(calloc(count, size)); }

void *inject_realloc(void *at, size_t size);
void *inject_realloc(void *at, size_t size)
{
    if (no_memory()) return NULL;
    return at ? realloc(at, size) : held(realloc(at, size));
}

void inject_free(void *at);
void inject_free(void *at)
{
    if (at) atomic_fetch_sub(&allocations, 1);
    free(at);
}

void *inject_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);
void *inject_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    int how = fails(INJECT_MMAP);
    if (how) {
        errno = how;
        return MAP_FAILED;
    }
    void *mapped = mmap(at, size, protection, flags, fd, offset);
    if (mapped != MAP_FAILED) atomic_fetch_add(&mapped_bytes, (long)size);
    return mapped;
}

/* What mmap is called where offsets have 64 bits by an option (-D_FILE_OFFSET_BITS=64). */
void *inject_mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset)
    __attribute__((alias("inject_mmap")));

int inject_munmap(void *at, size_t size);
int inject_munmap(void *at, size_t size)
{
    atomic_fetch_sub(&mapped_bytes, (long)size);
    return munmap(at, size);
}

int inject_madvise(void *at, size_t size, int advice);
int inject_madvise(void *at, size_t size, int advice)
{
    int how = fails(INJECT_MADVISE);
    return how ? failure(how) : madvise(at, size, advice);
}

/* ------------------------------------------------------------------------------------------------ threads -- */

typedef struct start {
    void *(*run)(void *);
    void *argument;
} start;

static void *run_as_link(void *argument)
{
    start s = *(start *)argument;
    free(argument);
    this_thread = INJECT_LINK;
    return s.run(s.argument);
}

int inject_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *argument);
int inject_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *argument)
{
    int how = fails(INJECT_THREAD);
    if (how) return how;
    start *s = malloc(sizeof *s);
    if (!s) abort();
    *s = (start){run, argument};
    int failed = pthread_create(thread, attr, run_as_link, s);
    if (failed) free(s);
    return failed;
}

/* -------------------------------------------------------------------------------------------- descriptors -- */

static int opened(int fd)
{
    if (fd >= 0) atomic_fetch_add(&descriptors, 1);
    return fd;
}

int inject_eventfd(unsigned value, int flags);
int inject_eventfd(unsigned value, int flags)
{
    int how = fails(INJECT_EVENTFD);
    return how ? failure(how) : opened(eventfd(value, flags));
}

/* Of files that are there: the library makes none. */
int inject_open(const char *path, int flags, ...);
int inject_open(const char *path, int flags, ...)
{
    int how = fails(INJECT_OPEN);
    return how ? failure(how) : opened(open(path, flags));
}

/* See inject_mmap64. */
int inject_open64(const char *path, int flags, ...) __attribute__((alias("inject_open")));

int inject_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **list);
int inject_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **list)
{
    int how = fails(INJECT_RESOLVE);
    return how ? how : getaddrinfo(host, service, hints, list);
}

int inject_socket(int domain, int type, int protocol);
int inject_socket(int domain, int type, int protocol)
{
    int how = fails(INJECT_SOCKET);
    return how ? failure(how) : opened(socket(domain, type, protocol));
}

/* Interrupted, it goes on in the background, as the kernel's does. */
int inject_connect(int fd, const struct sockaddr *at, socklen_t size);
int inject_connect(int fd, const struct sockaddr *at, socklen_t size)
{
    int how = fails(INJECT_CONNECT);
    if (how && how != EINTR) return failure(how);
    int result = connect(fd, at, size);
    return how ? failure(how) : result;
}

int inject_getsockopt(int fd, int level, int name, void *value, socklen_t *size);
int inject_getsockopt(int fd, int level, int name, void *value, socklen_t *size)
{
    int how = fails(INJECT_SOCKET_ERROR);
    return how ? failure(how) : getsockopt(fd, level, name, value, size);
}

int inject_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int inject_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    int how = fails(INJECT_POLL);
    return how ? failure(how) : poll(fds, count, timeout_ms);
}

ssize_t inject_recv(int fd, void *bytes, size_t size, int flags);
ssize_t inject_recv(int fd, void *bytes, size_t size, int flags)
{
    int how = fails(INJECT_RECV);
    if (how == INJECT_END) return 0;
    if (how > 0) return failure(how);
    return recv(fd, bytes, how == INJECT_SHORT && size ? 1 : size, flags);
}

ssize_t inject_send(int fd, const void *bytes, size_t size, int flags);
ssize_t inject_send(int fd, const void *bytes, size_t size, int flags)
{
    int how = fails(INJECT_SEND);
    if (how > 0) return failure(how);
    return send(fd, bytes, how == INJECT_SHORT && size ? 1 : size, flags);
}

ssize_t inject_read(int fd, void *bytes, size_t size);
ssize_t inject_read(int fd, void *bytes, size_t size)
{
    int how = fails(INJECT_READ);
    return how ? failure(how) : read(fd, bytes, size);
}

/* To an eventfd. EAGAIN says that it is raised as far as it goes, so then it is raised. */
ssize_t inject_write(int fd, const void *bytes, size_t size);
ssize_t inject_write(int fd, const void *bytes, size_t size)
{
    int how = fails(INJECT_WRITE);
    if (how == EINTR) return failure(how);
    ssize_t wrote = write(fd, bytes, size);
    return how ? failure(how) : wrote;
}

int inject_epoll_create1(int flags);
int inject_epoll_create1(int flags)
{
    int how = fails(INJECT_EPOLL);
    return how ? failure(how) : opened(epoll_create1(flags));
}

int inject_epoll_ctl(int epoll, int what, int fd, struct epoll_event *event);
int inject_epoll_ctl(int epoll, int what, int fd, struct epoll_event *event)
{
    int how = fails(INJECT_WATCH);
    return how ? failure(how) : epoll_ctl(epoll, what, fd, event);
}

int inject_timerfd_create(int clock, int flags);
int inject_timerfd_create(int clock, int flags)
{
    int how = fails(INJECT_TIMER);
    return how ? failure(how) : opened(timerfd_create(clock, flags));
}

int inject_timerfd_settime(int fd, int flags, const struct itimerspec *at, struct itimerspec *before);
int inject_timerfd_settime(int fd, int flags, const struct itimerspec *at, struct itimerspec *before)
{
    int how = fails(INJECT_SET_TIMER);
    return how ? failure(how) : timerfd_settime(fd, flags, at, before);
}

int inject_close(int fd);
int inject_close(int fd)
{
    atomic_fetch_sub(&descriptors, 1);
    return close(fd);
}
