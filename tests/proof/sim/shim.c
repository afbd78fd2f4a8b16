/* SPDX-License-Identifier: MIT
 *
 * The library's way out, bent (ld --wrap): clocks, threads, locks and randomness lead into the world. Sockets are in
 * wire.c. A call made outside of any task (by the simulation itself) goes where it always went.
 *
 * Locks and conditions keep their state in the library's own pthread objects. A step (world.h) comes before a lock is
 * taken and before a clock is read, so two tasks may interleave there as two threads may.
 */
#include "l2/mux.h"
#include "truth.h"
#include "wire.h"
#include "world.h"

#include <sys/types.h>
#include <stdio.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

/* ---------------------------------------------------------------------------------------------------- identity -- */

/* Beats name the process and its host. Theirs, and how many digits they have, must not change a world. */
pid_t __wrap_getpid(void);
pid_t __wrap_getpid(void) { return 4711; }

int __wrap_gethostname(char *name, size_t size);
int __wrap_gethostname(char *name, size_t size)
{
    snprintf(name, size, "sim");
    return 0;
}

/* ----------------------------------------------------------------------------------------------- clocks -- */

int __real_clock_gettime(clockid_t clock, struct timespec *t);
int __wrap_clock_gettime(clockid_t clock, struct timespec *t);
int __wrap_clock_gettime(clockid_t clock, struct timespec *t)
{
    if (!task_current()) return __real_clock_gettime(clock, t);
    task_step();
    const machine *m = task_machine();
    int64_t us = w.now_us + m->clock_us;
    task_notes()->clock_us = w.now_us;
    if (clock == CLOCK_MONOTONIC_COARSE) us -= us % m->tick_us;
    else if (clock != CLOCK_MONOTONIC) fail("the library reads clock %d", (int)clock);
    t->tv_sec = us / SECOND;
    t->tv_nsec = us % SECOND * 1000;
    task_step(); /* and what is done with the time comes later */
    return 0;
}

int __real_nanosleep(const struct timespec *time, struct timespec *left);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left)
{
    if (!task_current()) return __real_nanosleep(time, left);
    task_sleep((int64_t)time->tv_sec * SECOND + time->tv_nsec / 1000);
    return 0;
}

static int64_t world_us(const struct timespec *until)
{
    return (int64_t)until->tv_sec * SECOND + until->tv_nsec / 1000 - task_machine()->clock_us;
}

/* ------------------------------------------------------------------------------------------------ locks -- */

typedef struct lock_state {
    const task *owner;
    unsigned waiting;
} lock_state;

_Static_assert(sizeof(lock_state) <= sizeof(pthread_mutex_t), "a lock's state lies in the lock");

static lock_state *state_of(pthread_mutex_t *mutex) { return (lock_state *)(void *)mutex; }

int __wrap_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attr);
int __wrap_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attr)
{
    (void)attr;
    memset(mutex, 0, sizeof *mutex);
    return 0;
}

int __wrap_pthread_mutex_destroy(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_destroy(pthread_mutex_t *mutex)
{
    if (state_of(mutex)->owner) fail("a lock is destroyed while it is held");
    return 0;
}

static void take(lock_state *s)
{
    while (s->owner) {
        s->waiting++;
        task_wait(s, FOREVER);
        s->waiting--;
    }
    s->owner = task_current();
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
    if (!task_current()) return 0;
    if (state_of(mutex)->owner == task_current()) fail("a lock is taken twice by one thread");
    task_step();
    take(state_of(mutex));
    return 0;
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    lock_state *s = state_of(mutex);
    if (!task_current()) return 0;
    if (s->owner != task_current()) fail("a lock is given back by a thread that does not hold it");
    s->owner = NULL;
    if (s->waiting) task_wake(s, false);
    task_step();
    return 0;
}

int __wrap_pthread_cond_init(pthread_cond_t *cond, const pthread_condattr_t *attr);
int __wrap_pthread_cond_init(pthread_cond_t *cond, const pthread_condattr_t *attr)
{
    (void)cond, (void)attr;
    return 0;
}

int __wrap_pthread_cond_destroy(pthread_cond_t *cond);
int __wrap_pthread_cond_destroy(pthread_cond_t *cond)
{
    (void)cond;
    return 0;
}

int __wrap_pthread_cond_signal(pthread_cond_t *cond);
int __wrap_pthread_cond_signal(pthread_cond_t *cond)
{
    task_wake(cond, false);
    return 0;
}

int __wrap_pthread_cond_broadcast(pthread_cond_t *cond);
int __wrap_pthread_cond_broadcast(pthread_cond_t *cond)
{
    task_wake(cond, true);
    return 0;
}

static bool wait_for(const pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t until_us)
{
    lock_state *s = state_of(mutex);
    s->owner = NULL;
    if (s->waiting) task_wake(s, false);
    bool woken = task_wait(cond, until_us);
    take(s);
    return woken;
}

int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until);
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until)
{
    return wait_for(cond, mutex, world_us(until)) ? 0 : ETIMEDOUT;
}

int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex);
int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex)
{
    wait_for(cond, mutex, FOREVER);
    return 0;
}

void __wrap_lk_park_wake(lk_park *turn);
void __wrap_lk_park_wake(lk_park *turn)
{
    task_step();
    if (atomic_load(&turn->given)) fail("a turn is given twice");
    const lk_exchange *x = (const void *)((const char *)turn - offsetof(lk_exchange, told));
    totals.handed_over += atomic_load(&x->state) == LK_EXCHANGE_DRIVES;
    atomic_store(&turn->given, 1);
    task_wake(turn, false);
    task_step();
}

bool __wrap_lk_park_wait(lk_park *turn, int64_t deadline_ms);
bool __wrap_lk_park_wait(lk_park *turn, int64_t deadline_ms)
{
    bool forever = deadline_ms == LK_PARK_FOREVER;
    int64_t until_us = forever ? FOREVER : deadline_ms * MS - task_machine()->clock_us;
    while (!atomic_load(&turn->given))
        if (!task_wait(turn, until_us)) break;
    bool given = atomic_load(&turn->given);
    memset(turn, 0xee, given ? sizeof *turn : 0); /* so that one that comes too late shows */
    return given;
}

/* ---------------------------------------------------------------------------------------------- threads -- */

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*body)(void *), void *argument);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*body)(void *), void *argument)
{
    (void)attr;
    task *t = task_start(task_machine(), "link", body, argument);
    if (!t) return EAGAIN;
    *thread = (pthread_t)task_number(t);
    return 0;
}

int __wrap_pthread_join(pthread_t thread, void **result);
int __wrap_pthread_join(pthread_t thread, void **result)
{
    (void)result;
    task *t = task_of((unsigned)thread);
    while (!task_done(t)) task_wait(t, FOREVER);
    return 0;
}

int __wrap_pthread_setname_np(pthread_t thread, const char *name);
int __wrap_pthread_setname_np(pthread_t thread, const char *name)
{
    (void)thread, (void)name;
    return 0;
}

int __wrap_pthread_sigmask(int how, const sigset_t *set, sigset_t *before);
int __wrap_pthread_sigmask(int how, const sigset_t *set, sigset_t *before)
{
    (void)how, (void)set, (void)before;
    return 0;
}

/* ------------------------------------------------------------------------------------------- randomness -- */

void __real_randombytes_buf(void *out, size_t size);
void __wrap_randombytes_buf(void *out, size_t size);
void __wrap_randombytes_buf(void *out, size_t size)
{
    if (task_current()) random_bytes(out, size);
    else __real_randombytes_buf(out, size);
}
