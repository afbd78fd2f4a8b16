/* SPDX-License-Identifier: MIT
 *
 * For how long L1 may keep an entry, when a touch is due, and when another read is worth it: the arithmetic of judge.h, for
 * any durations. (Guarantee H, and the promise of eleven twelfths.)
 */

#include "unit.h"
#include "session/lifetime.h"

enum { TICK = LK_CLOCK_TICK_MS };
static const int64_t ASKED_MS = 5000000, FAR = INT64_C(1) << 40;

static lk_judged times_ahead(int64_t ttl, int64_t ahead, int64_t idle, int64_t left, int64_t absolute)
{
    lk_judged j = {0};
    lk_session_times(ttl, ahead, idle, left, absolute, ASKED_MS * 1000, &j);
    return j;
}

static lk_judged times(int64_t ttl, int64_t idle, int64_t left, int64_t absolute)
{
    return times_ahead(ttl, lk_session_window(ttl), idle, left, absolute);
}

static int64_t after(int64_t ms) { return ms + TICK - ASKED_MS; }
static int64_t life(const lk_judged *j) { return after(lk_l1_end(&j->times)); }
static int64_t due(const lk_judged *j) { return after(j->times.due_ms); }

static void test_an_entry_lives_for_its_ttl(void **state)
{
    (void)state;
    lk_judged j = times(30000, 1800000, 1800000, FAR);
    assert_int_equal(life(&j), 30000);
    assert_false(j.touch_due);
    assert_false(j.final);
    assert_int_equal(j.until_us, (ASKED_MS + 1800000) * 1000);
    assert_int_equal(due(&j), 30000 - 13500);
    j = times_ahead(30000, 20000, 1800000, 1800000, FAR);
    assert_int_equal(due(&j), 15000); /* half of its life, at most */
    j = times_ahead(30000, 0, 1800000, 1800000, FAR);
    assert_int_equal(due(&j), 30000);
}

static void test_a_touch_is_due_after_a_twelfth_of_the_idle_time(void **state)
{
    (void)state;
    lk_judged j = times(600000, 1800000, 1800000 - 60000, FAR);
    assert_int_equal(life(&j), 600000);
    assert_int_equal(due(&j), 150000 - 60000);
    j = times(600000, 1800000, 1800000 - 149999, FAR);
    assert_false(j.touch_due);
    assert_int_equal(due(&j), 1);
    j = times(600000, 1800000, 1800000 - 150000, FAR);
    assert_true(j.touch_due);
    assert_int_equal(due(&j), 0);
    j = times(600000, 60000, 20000, FAR); /* the session would idle out before the ttl is over */
    assert_true(j.touch_due);
    assert_int_equal(life(&j), 20000);
}

static void test_the_absolute_expiry_ends_it(void **state)
{
    (void)state;
    lk_judged j = times(600000, 1800000, 100000, 100000);
    assert_true(j.final);
    assert_false(j.touch_due);
    assert_int_equal(life(&j), 100000);
    assert_int_equal(due(&j), 100000);          /* there is never anything to ask */
    j = times(600000, 1800000, 1800000, 50000); /* somebody stretched the key's */
    assert_int_equal(life(&j), 50000);
    assert_int_equal(j.until_us, (ASKED_MS + 50000) * 1000);
}

static void test_the_window_is_half_a_minute_at_most(void **state)
{
    (void)state;
    assert_int_equal(lk_session_window(30000), 13500);
    assert_int_equal(lk_session_window(600000), 30000);
    assert_int_equal(lk_session_window(10), 0);
}

/* Whatever the durations: L1 never outlives the key, nor its ttl; and a touch is asked for exactly where touch.lua would move
 * the expiry (but for the absolute one), and a hit is told so by then. */
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
        assert_true(life(&j) == left || life(&j) == ttl); /* and no shorter */
        assert_int_equal(j.touch_due, moves && !j.final);
        assert_int_equal(j.final, absolute - left < idle / 10);
        assert_true(j.final ? !j.times.idle_ms : j.times.idle_ms == idle);
        assert_true(j.final || due(&j) <= left - idle * 11 / 12);
        assert_true(j.times.due_ms <= j.times.end_ms);
    }
}

/* --------------------------------------------------------------------------------------------------- renewal -- */

enum { EARLY = LK_SESSION_EARLY_MS, RENEW = 3600000 };

static bool flagged(const lk_judged *j) { return lk_session_entry(j).flags == LATCHKEY_FLAG_RENEW; }

static lk_judged aged(int64_t renew, int64_t age)
{
    lk_judged j = times(300000, 1800000, 1800000, FAR);
    lk_session_renewal(renew, age, ASKED_MS * 1000, &j);
    return j;
}

static void test_an_old_token_is_to_be_renewed(void **state)
{
    (void)state;
    lk_judged plain = times(300000, 1800000, 1800000, FAR), j = aged(0, INT64_MAX);
    assert_false(flagged(&j)); /* off */
    j = aged(RENEW, 0);
    assert_memory_equal(&j, &plain, sizeof j);
    j = aged(RENEW, RENEW);
    assert_true(flagged(&j));
    assert_memory_equal(&j.times, &plain.times, sizeof j.times); /* and kept as any other */
    j = aged(RENEW, RENEW - EARLY);
    assert_true(flagged(&j));
    j = aged(RENEW, -RENEW); /* a clock that was set */
    assert_memory_equal(&j, &plain, sizeof j);
}

static void test_no_entry_outlives_the_age_without_the_flag(void **state)
{
    (void)state;
    lk_judged j = aged(RENEW, RENEW - 100000);
    assert_false(flagged(&j));
    assert_int_equal(life(&j), 100000);
    assert_int_equal(j.times.due_ms, ASKED_MS + 100000 - EARLY);
    j = aged(RENEW, RENEW - EARLY - 1);
    assert_false(flagged(&j));
    assert_int_equal(life(&j), EARLY + 1);
    assert_int_equal(j.times.due_ms, ASKED_MS + 1);
}

/* Whatever the durations: an entry has the flag or is gone when the token is that old; and the read that due_ms asks for
 * brings it, so there is no second one. */
static void test_one_read_ahead_brings_the_flag(void **state)
{
    (void)state;
    unit_random r = unit_random_new(2);
    for (uint64_t i = unit_rounds(300000); i; i--) {
        int64_t renew = 10000 + (int64_t)unit_below(&r, 1u << (4 + unit_below(&r, 27)));
        int64_t age = (int64_t)unit_below(&r, (uint64_t)renew + 10000);
        lk_judged before = times(1 + (int64_t)unit_below(&r, 600000), 1800000, 1800000, FAR), j = before;
        lk_session_renewal(renew, age, ASKED_MS * 1000, &j);
        assert_true(flagged(&j) || ASKED_MS + renew - age > j.times.end_ms);
        assert_true(!flagged(&j) || age >= renew - EARLY);
        assert_true(j.times.end_ms <= before.times.end_ms);
        if (j.times.end_ms == before.times.end_ms || j.times.due_ms == j.touch_ms) continue;
        assert_true(j.times.due_ms < j.times.end_ms);
        lk_judged again = before;
        lk_session_renewal(renew, age + j.times.due_ms - ASKED_MS, j.times.due_ms * 1000, &again);
        assert_true(flagged(&again));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_entry_lives_for_its_ttl),
        cmocka_unit_test(test_a_touch_is_due_after_a_twelfth_of_the_idle_time),
        cmocka_unit_test(test_the_absolute_expiry_ends_it),
        cmocka_unit_test(test_the_window_is_half_a_minute_at_most),
        cmocka_unit_test(test_H_for_any_durations),
        cmocka_unit_test(test_an_old_token_is_to_be_renewed),
        cmocka_unit_test(test_no_entry_outlives_the_age_without_the_flag),
        cmocka_unit_test(test_one_read_ahead_brings_the_flag),
    };
    return cmocka_run_group_tests_name("session", tests, unit_setup, NULL);
}
