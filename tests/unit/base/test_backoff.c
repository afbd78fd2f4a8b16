/* SPDX-License-Identifier: MIT
 *
 * The wait before the next attempt: it doubles up to a limit, and a random half of it is waited.
 */
#include "unit.h"

#include "base/backoff.h"

static void test_it_doubles_up_to_its_limit(void **state)
{
    (void)state;
    for (unsigned failures = 0, i = 0; failures < 200; failures++, i = failures) {
        int64_t whole = i < 6 ? 20 << i : 1000;
        if (whole > 1000) whole = 1000;
        for (uint64_t random = 0; random < 3000; random += 7) {
            int64_t wait = lk_backoff_ms(failures, 20, 1000, random);
            assert_in_range(wait, whole / 2, whole);
        }
        assert_int_equal(lk_backoff_ms(failures, 20, 1000, 0), whole / 2);
        assert_int_equal(lk_backoff_ms(failures, 20, 1000, (uint64_t)whole / 2), whole);
    }
}

static void test_any_random_number_will_do(void **state)
{
    (void)state;
    assert_in_range(lk_backoff_ms(0, 5, 250, UINT64_MAX), 2, 5);
    assert_in_range(lk_backoff_ms(UINT32_MAX, 5, 250, UINT64_MAX), 125, 250);
    assert_in_range(lk_backoff_ms(3, 1, 1, UINT64_MAX), 0, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_doubles_up_to_its_limit),
        cmocka_unit_test(test_any_random_number_will_do),
    };
    return cmocka_run_group_tests_name("backoff", tests, unit_setup, NULL);
}
