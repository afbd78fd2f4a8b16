/* See fork.h.
 *
 *   (1) enter adds to `inside`, then looks at `forking`; prepare sets `forking`, then waits for `inside` to be 0. Both are
 *       sequentially consistent, so at least one of the two sees the other. So it is with `slow`.
 *
 * Lock: fork_lock, held from before the fork until after it. Nothing is locked under it but by the handlers of others. */
#include "base/fork.h"

#include "base/clock.h"
#include "base/secure_memory.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

enum { SLOW_MOST_MS = 500 };

static pthread_mutex_t fork_lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_int inside;   /* threads in between; see (1) */
static atomic_int slow;     /* the same, of those that are not waited for for ever */
static atomic_bool forking; /* see (1) */
static atomic_bool child;   /* relaxed: written while there is one thread */
/* Handlers of the application's may call us in the middle of a fork. They are this thread. */
static _Thread_local bool this_thread_forks;

static void before_fork(void)
{
    pthread_mutex_lock(&fork_lock);
    this_thread_forks = true;
    atomic_store(&forking, true);
    const struct timespec pause = {.tv_nsec = 20000};
    while (atomic_load(&inside)) nanosleep(&pause, NULL);
    const int64_t until_ms = lk_now_ms() + SLOW_MOST_MS;
    while (atomic_load(&slow) && lk_now_ms() < until_ms) nanosleep(&pause, NULL);
}

static void after_fork(void)
{
    atomic_store(&forking, false);
    this_thread_forks = false;
    pthread_mutex_unlock(&fork_lock);
}

/* Threads that were on their way in are not here. */
static void in_child(void)
{
    atomic_store(&inside, 0);
    atomic_store(&slow, 0);
    atomic_store_explicit(&child, true, memory_order_relaxed);
    lk_map_forked();
    after_fork();
}

/* When the library is loaded: a process may fork before it opens a handle, and while it opens the first one. */
__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(before_fork, after_fork, in_child); }

static void enter(atomic_int *among)
{
    for (;;) {
        atomic_fetch_add(among, 1);
        if (!atomic_load(&forking) || this_thread_forks) return;
        atomic_fetch_sub(among, 1);
        pthread_mutex_lock(&fork_lock);
        pthread_mutex_unlock(&fork_lock);
    }
}

void lk_fork_enter(void) { enter(&inside); }
void lk_fork_leave(void) { atomic_fetch_sub(&inside, 1); }
void lk_fork_enter_slow(void) { enter(&slow); }
void lk_fork_leave_slow(void) { atomic_fetch_sub(&slow, 1); }

bool lk_fork_is_child(void) { return atomic_load_explicit(&child, memory_order_relaxed); }
