/* SPDX-License-Identifier: MIT
 *
 * A fork finds no thread between enter and leave, also where handlers of the application's call in the middle of it.
 */
#include "base/fork.h"
#include "base/crypto.h"
#include "base/field_version.h"
#include "unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

static pthread_mutex_t torn = PTHREAD_MUTEX_INITIALIZER;
static _Atomic bool enough;
static _Atomic unsigned long bad_children, called;

/* The application's own handlers. They may be called before ours or after. */
static void call_us(void)
{
    lk_fork_enter();
    called++;
    lk_fork_leave();
}

static void use(void)
{
    lk_fork_enter();
    pthread_mutex_lock(&torn);
    pthread_mutex_unlock(&torn);
    lk_fork_leave();
    if (!lk_crypto_init() || !lk_field_version("x", 1)) abort();
}

static void fork_and_use(void *shared, unsigned index)
{
    uint64_t children = *(const uint64_t *)shared;
    while (index && !enough) use();
    for (uint64_t i = 0; !index && i < children; i++) {
        pid_t child = fork();
        if (child == 0) {
            alarm(60); /* a child that waits for ever is ended */
            use();
            _exit(!lk_fork_is_child());
        }
        int status = 1;
        if (child < 0 || waitpid(child, &status, 0) != child || status) bad_children++;
    }
    if (!index) enough = true;
}

static void test_no_lock_is_torn(void **state)
{
    (void)state;
    uint64_t children = unit_rounds(400);
    pthread_atfork(call_us, call_us, call_us);
    assert_false(lk_fork_is_child());
    unit_threads(4, fork_and_use, &children);
    assert_int_equal(bad_children, 0);
    assert_true(called >= 2 * children); /* before and after, in the parent */
    assert_false(lk_fork_is_child());
}

/* A look-up that does not end holds no fork up for long. */
static void test_what_is_slow_is_not_waited_for_for_ever(void **state)
{
    (void)state;
    lk_fork_enter_slow();
    pid_t child = fork();
    if (child == 0) {
        alarm(60);
        lk_fork_enter_slow();
        lk_fork_leave_slow();
        pid_t own = fork(); /* the parent's look-up is not here: nothing is waited for */
        if (own == 0) _exit(0);
        int end = 1;
        _exit(waitpid(own, &end, 0) != own || end);
    }
    int status = 1;
    assert_true(waitpid(child, &status, 0) == child);
    lk_fork_leave_slow();
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_lock_is_torn),
        cmocka_unit_test(test_what_is_slow_is_not_waited_for_for_ever),
    };
    return cmocka_run_group_tests_name("fork", tests, unit_setup, NULL);
}
