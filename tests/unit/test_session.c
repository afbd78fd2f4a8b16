/* SPDX-License-Identifier: MIT
 *
 * For how long L1 may keep an entry, when a touch is due, and when another read is worth it: the arithmetic of session.h, for
 * any durations. (Guarantee H, and the promise of nine tenths.)
 */
#include "session.h"

#include "unit.h"

enum { TICK = LK_CLOCK_TICK_MS };
static const int64_t ASKED_MS = 5000000, FAR = INT64_C(1) << 40;

static lk_judged times(int64_t ttl, int64_t idle, int64_t left, int64_t absolute)
{
    lk_judged j = {0};
    lk_session_times(ttl, idle, left, absolute, ASKED_MS * 1000, &j);
    return j;
}

static int64_t life(const lk_judged *j) { return j->l1_until_ms + TICK - ASKED_MS; }

static void test_an_entry_lives_for_its_ttl(void **state)
{
    (void)state;
    lk_judged j = times(30000, 1800000, 1800000, FAR);
    assert_int_equal(life(&j), 30000);
    assert_false(j.touch_due);
    assert_false(j.final);
    assert_int_equal(j.until_us, (ASKED_MS + 1800000) * 1000);
    assert_int_equal(j.again_ms, ASKED_MS + 15000);
}

static void test_a_tenth_of_the_idle_time_bounds_it(void **state)
{
    (void)state;
    lk_judged j = times(600000, 1800000, 1800000 - 60000, FAR);
    assert_int_equal(life(&j), 180000 - 60000);
    assert_int_equal(j.again_ms, ASKED_MS + 150000 - 60000); /* when a touch is due: before, a read brings nothing */
    j = times(600000, 1800000, 1800000 - 149999, FAR);
    assert_false(j.touch_due);
    assert_int_equal(life(&j), 30001);
    j = times(600000, 1800000, 1800000 - 150000, FAR);
    assert_true(j.touch_due);
    assert_int_equal(life(&j), 180000);
}

static void test_the_absolute_expiry_ends_it(void **state)
{
    (void)state;
    lk_judged j = times(600000, 1800000, 100000, 100000);
    assert_true(j.final);
    assert_false(j.touch_due);
    assert_int_equal(life(&j), 100000);
    assert_int_equal(j.again_ms, j.l1_until_ms); /* never again */
    j = times(600000, 1800000, 1800000, 50000);  /* somebody stretched the key's */
    assert_int_equal(life(&j), 50000);
    assert_int_equal(j.until_us, (ASKED_MS + 50000) * 1000);
}

static void test_the_window_is_the_gap_at_most(void **state)
{
    (void)state;
    assert_int_equal(lk_session_window(30000, 1800000), 13500);
    assert_int_equal(lk_session_window(600000, 1800000), 30000);
    assert_int_equal(lk_session_window(10, 1800000), 0);
    assert_int_equal(lk_session_window(30000, 100), 0);
}

/* Whatever the durations: L1 never outlives the key; a touch is asked for exactly where touch.lua would move the expiry (but
 * for the absolute one); and an entry whose touch is not asked for is gone when a tenth of the idle time is. */
static void test_H_for_any_durations(void **state)
{
    (void)state;
    unit_random r = unit_random_new(1);
    for (uint64_t i = unit_rounds(300000); i; i--) {
        int64_t idle = (int64_t)(100 + unit_below(&r, 1u << (8 + unit_below(&r, 22))));
        int64_t left = 1 + (int64_t)unit_below(&r, (uint64_t)idle);
        int64_t absolute = left + (unit_chance(&r, 50) ? (int64_t)unit_below(&r, (uint64_t)idle) : FAR);
        int64_t ttl = 1 + (int64_t)unit_below(&r, 1u << (4 + unit_below(&r, 24)));
        lk_judged j = times(ttl, idle, left, absolute);
        bool moves = !(left * 12 > idle * 11);
        assert_true(life(&j) <= left && life(&j) <= ttl);
        assert_int_equal(j.touch_due, moves && !j.final);
        assert_int_equal(j.final, absolute - left < idle / 10);
        if (!j.final && !j.touch_due) {
            int64_t tenth = left - (idle - idle / 10);
            assert_true(life(&j) <= (tenth > 2 * TICK ? tenth : 2 * TICK));
        }
        if (j.touch_due) assert_true(life(&j) <= idle / 10);
        assert_true(j.again_ms <= j.l1_until_ms + TICK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_entry_lives_for_its_ttl),  cmocka_unit_test(test_a_tenth_of_the_idle_time_bounds_it),
        cmocka_unit_test(test_the_absolute_expiry_ends_it), cmocka_unit_test(test_the_window_is_the_gap_at_most),
        cmocka_unit_test(test_H_for_any_durations),
    };
    return cmocka_run_group_tests_name("session", tests, unit_setup, NULL);
}
