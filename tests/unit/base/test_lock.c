/* SPDX-License-Identifier: MIT
 *
 * The order of locks is kept at run time: each wrong one ends a debug build with an assertion. So this file is checked as such
 * whatever the build is.
 */
#ifndef LK_CHECK_LOCKS
#define LK_CHECK_LOCKS 1
#define NOT_IN_THE_LIBRARY
#endif
#undef NDEBUG
#include "base/lock.h"
#include "unit.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef NOT_IN_THE_LIBRARY
_Thread_local const lk_lock *lk_locks_held[LK_RANK_END];
#endif

static lk_lock low, high, other;

static int setup(void **state)
{
    lk_lock_open(&low, LK_RANK_ASYNC);
    lk_lock_open(&high, LK_RANK_TLS);
    lk_lock_open(&other, LK_RANK_TLS);
    return unit_setup(state);
}

/* In a child: true, if it ends with an assertion. */
static bool is_caught(void (*wrong)(void))
{
    int status;
    pid_t child = fork();
    if (!child) {
        if (!freopen("/dev/null", "w", stderr)) _exit(2);
        signal(SIGABRT, SIG_DFL);
        wrong();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void rising(void)
{
    lk_lock_take(&low);
    lk_lock_take(&high);
    lk_lock_assert(&low);
    lk_lock_give(&high);
    lk_lock_give(&low);
}

static void falling(void)
{
    lk_lock_take(&high);
    lk_lock_take(&low);
}

static void two_of_one_rank(void)
{
    lk_lock_take(&high);
    lk_lock_take(&other);
}

static void twice(void)
{
    lk_lock_take(&low);
    lk_lock_take(&low);
}

static void given_without(void) { lk_lock_give(&low); }

static void not_held(void)
{
    lk_lock_take(&other);
    lk_lock_assert(&high);
}

static void *take_high(void *context)
{
    (void)context;
    lk_lock_take(&high);
    return NULL;
}

static void held_by_another_thread(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, take_high, NULL);
    pthread_join(thread, NULL);
    lk_lock_assert(&high);
}

static void test_the_order_is_kept(void **state)
{
    (void)state;
    rising();
    assert_false(is_caught(rising));
}

static void test_what_is_wrong_is_caught(void **state)
{
    (void)state;
    void (*wrong[])(void) = {falling, two_of_one_rank, twice, given_without, not_held, held_by_another_thread};
    for (size_t i = 0; i < UNIT_COUNT(wrong); i++)
        if (!is_caught(wrong[i])) fail_msg("mistake %zu is not caught", i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_order_is_kept),
        cmocka_unit_test(test_what_is_wrong_is_caught),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
