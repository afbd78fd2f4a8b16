/* SPDX-License-Identifier: MIT
 *
 * Several queues wait for one lease: each is told, once, and none that has left, whose descriptor may be somebody else's by then.
 */
#include "l2/bells.h"
#include "unit.h"

#include <sys/eventfd.h>
#include <unistd.h>

static bool rung(int fd)
{
    uint64_t times;
    return read(fd, &times, sizeof times) == (ssize_t)sizeof times;
}

static void test_all_who_wait_are_told_once(void **state)
{
    (void)state;
    lk_bells bells;
    int a = eventfd(0, EFD_NONBLOCK), b = eventfd(0, EFD_NONBLOCK), c = eventfd(0, EFD_NONBLOCK);
    lk_bells_open(&bells);
    lk_bells_wait(&bells, a);
    lk_bells_wait(&bells, b);
    lk_bells_wait(&bells, a);
    lk_bells_wait(&bells, c);
    lk_bells_leave(&bells, b);
    lk_bells_leave(&bells, b);
    lk_bells_ring(&bells);
    assert_true(rung(a) && rung(c));
    assert_false(rung(b));
    lk_bells_ring(&bells);
    assert_false(rung(a) || rung(b) || rung(c));
    lk_bells_close(&bells);
    close(a), close(b), close(c);
}

static void test_one_too_many_looks_again(void **state)
{
    (void)state;
    lk_bells bells;
    int fd[LK_BELLS_MAX + 1];
    lk_bells_open(&bells);
    for (int i = 0; i <= LK_BELLS_MAX; i++) lk_bells_wait(&bells, fd[i] = eventfd(0, EFD_NONBLOCK));
    assert_true(rung(fd[LK_BELLS_MAX]));
    assert_false(rung(fd[0]) || rung(fd[LK_BELLS_MAX - 1]));
    lk_bells_ring(&bells);
    for (int i = 0; i < LK_BELLS_MAX; i++) assert_true(rung(fd[i]));
    for (int i = 0; i <= LK_BELLS_MAX; i++) close(fd[i]);
    lk_bells_close(&bells);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_who_wait_are_told_once),
        cmocka_unit_test(test_one_too_many_looks_again),
    };
    return cmocka_run_group_tests_name("bells", tests, unit_setup, NULL);
}
