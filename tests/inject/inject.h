/* SPDX-License-Identifier: MIT
 *
 * Calls that fail on purpose. The library's objects (and hiredis') are linked with the system's calls renamed, so that
 * inject_malloc and its sisters here replace malloc for them and for nothing else: see CMakeLists.txt and
 * calls.txt. What is not told to fail goes on to the real call.
 *
 * Calls are counted for each kind of thread, so that "the 7th send of the link's thread" means the same in every run,
 * as far as threads allow.
 */
#ifndef LATCHKEY_TESTS_INJECT_H
#define LATCHKEY_TESTS_INJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum inject_thread { INJECT_CALLER, INJECT_LINK, INJECT_THREADS };

enum inject_call {
    INJECT_ALLOC, /* malloc, calloc, realloc */
    INJECT_MMAP,
    INJECT_MADVISE,
    INJECT_THREAD, /* pthread_create */
    INJECT_EVENTFD,
    INJECT_OPEN,
    INJECT_RESOLVE, /* getaddrinfo */
    INJECT_SOCKET,
    INJECT_CONNECT,
    INJECT_SOCKET_ERROR, /* getsockopt */
    INJECT_POLL,
    INJECT_RECV,
    INJECT_SEND,
    INJECT_READ,
    INJECT_WRITE,
    INJECT_EPOLL,     /* epoll_create1 */
    INJECT_WATCH,     /* epoll_ctl */
    INJECT_TIMER,     /* timerfd_create */
    INJECT_SET_TIMER, /* timerfd_settime */
    INJECT_CALLS
};

/* How a call fails: an errno (an EAI_ code for getaddrinfo), or one of these. */
enum {
    INJECT_SHORT = -1, /* recv and send: one byte */
    INJECT_END = -2,   /* recv: the other side closed */
};

typedef struct inject_plan {
    enum inject_thread thread;
    enum inject_call call;
    int how;
    uint64_t nth, count; /* the nth call (from 1) fails, and those that follow it: `count` together; 0: none */
} inject_plan;

const char *inject_call_name(enum inject_call call);
const char *inject_how_name(enum inject_call call, int how);
/* The ways in which a call is made to fail; ends with 0. */
const int *inject_hows(enum inject_call call);

/* From now on; counting starts anew. */
void inject_begin(const inject_plan *plan);
/* Instead of a plan: any call fails with a chance of 1 in `odds`, in any of its ways; the same seed makes the same choice
 * for the same nth call of a thread. */
void inject_begin_random(uint64_t seed, unsigned odds);
void inject_stop(void); /* nothing fails any more */

uint64_t inject_count(enum inject_thread thread, enum inject_call call); /* since the beginning */
uint64_t inject_failed(void);                                            /* calls made to fail since then */

/* What the library holds at this moment. */
typedef struct inject_held {
    long allocations, mapped_bytes, descriptors;
} inject_held;
inject_held inject_holds(void);

#endif
