/* See fork.h.
 *
 * (1) lk_fork_enter adds to `inside`, then reads `forking`. A fork sets `forking`, then reads `inside` until it is 0.
 * Each side writes its own word and then reads the other's. That needs sequential consistency: at least one of the two
 * then sees the other. With acquire and release alone, both could miss each other. The same holds for `slow`.
 *
 * Lock: fork_lock, held from before the fork until after it. Under it only the fork handlers of other libraries take
 * locks. */
#include "base/fork.h"

#include "base/clock.h"
#include "base/secure_memory.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

enum { SLOW_MOST_MS = 500 };

static pthread_mutex_t fork_lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_int inside;   /* threads between enter and leave; seq_cst, see (1) */
static atomic_int slow;     /* the same for those that a fork waits for only a while; seq_cst, see (1) */
static atomic_bool forking; /* seq_cst, see (1) */
static atomic_bool child;   /* relaxed: it is written while the process has one thread */
/* Fork handlers of the application may call us in the middle of a fork. They run in the forking thread, which must not
 * wait for itself. */
static _Thread_local bool this_thread_forks;

static void before_fork(void)
{
    pthread_mutex_lock(&fork_lock);
    this_thread_forks = true;
    atomic_store_explicit(&forking, true, memory_order_seq_cst);
    const struct timespec pause = {.tv_nsec = 20000};
    while (atomic_load_explicit(&inside, memory_order_seq_cst)) nanosleep(&pause, NULL);
    const int64_t until_ms = lk_now_ms() + SLOW_MOST_MS;
    while (atomic_load_explicit(&slow, memory_order_seq_cst) && lk_now_ms() < until_ms) nanosleep(&pause, NULL);
}

static void after_fork(void)
{
    atomic_store_explicit(&forking, false, memory_order_seq_cst);
    this_thread_forks = false;
    pthread_mutex_unlock(&fork_lock);
}

/* The threads that had entered do not exist in the child. */
static void in_child(void)
{
    atomic_store_explicit(&inside, 0, memory_order_seq_cst);
    atomic_store_explicit(&slow, 0, memory_order_seq_cst);
    atomic_store_explicit(&child, true, memory_order_relaxed);
    lk_map_forked();
    after_fork();
}

/* Runs when the library is loaded: a process may fork before it opens its first handle, or while it does. */
__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(before_fork, after_fork, in_child); }

static void enter(atomic_int *among)
{
    for (;;) {
        atomic_fetch_add_explicit(among, 1, memory_order_seq_cst);
        if (!atomic_load_explicit(&forking, memory_order_seq_cst) || this_thread_forks) return;
        atomic_fetch_sub_explicit(among, 1, memory_order_seq_cst);
        pthread_mutex_lock(&fork_lock);
        pthread_mutex_unlock(&fork_lock);
    }
}

void lk_fork_enter(void) { enter(&inside); }
void lk_fork_leave(void) { atomic_fetch_sub_explicit(&inside, 1, memory_order_seq_cst); }
void lk_fork_enter_slow(void) { enter(&slow); }
void lk_fork_leave_slow(void) { atomic_fetch_sub_explicit(&slow, 1, memory_order_seq_cst); }

bool lk_fork_is_child(void) { return atomic_load_explicit(&child, memory_order_relaxed); }
