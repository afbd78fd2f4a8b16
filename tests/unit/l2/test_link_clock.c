/* SPDX-License-Identifier: MIT
 *
 * Redis' clock is set: where it was set forward, L1 holds sessions that are over by the new time, and is emptied before the
 * next lease. (Guarantee H.)
 */
#include "redis_model.h"

#include <stdio.h>
#include <string.h>

static void step(redis_model *m, int64_t ms)
{
    model_clear(m);
    m->clock_ahead_us += ms * 1000;
    model_beat(m);
    assert_true(model_saw(m, "= lease"));
}

static void test_H_a_clock_that_was_set_forward_empties_l1(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=2");
    static const int64_t steps_ms[] = {150, 5000, 86400000};
    for (size_t i = 0; i < sizeof steps_ms / sizeof *steps_ms; i++) {
        step(m, steps_ms[i]);
        model_expect(m, "0 TIME\n", "= everyone\n", "= lease", NULL);
        step(m, 0); /* and that was that */
        assert_false(model_saw(m, "everyone"));
    }
    assert_int_equal(model_counted(m, LK_EMPTIES), 3 + 1); /* it was empty when the server was met */
    model_close(m);
}

static void test_a_clock_that_drifts_or_went_back_empties_nothing(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=2");
    static const int64_t steps_ms[] = {1, 50, -50, -5000, -86400000, 20};
    for (size_t i = 0; i < sizeof steps_ms / sizeof *steps_ms; i++) {
        step(m, steps_ms[i]);
        assert_false(model_saw(m, "everyone"));
    }
    model_close(m);
}

/* A server that is met is no clock that was set: L1 is emptied for it anyway. */
static void test_another_servers_clock_is_its_own(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=2");
    lk_link_lost(&m->link, model_ms(m), LATCHKEY_UNAVAILABLE, "cut");
    m->clock_ahead_us += 60000000;
    m->run_id[0] = m->run_id[1] = "run-2";
    model_clear(m);
    model_up(m);
    assert_false(model_saw(m, "everyone"));
    model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_H_a_clock_that_was_set_forward_empties_l1),
        cmocka_unit_test(test_a_clock_that_drifts_or_went_back_empties_nothing),
        cmocka_unit_test(test_another_servers_clock_is_its_own),
    };
    return cmocka_run_group_tests_name("link_clock", tests, NULL, NULL);
}
