/* SPDX-License-Identifier: MIT
 *
 * For how long an entry is good, as L1 writes it down, and how a touch moves that on. (Guarantees B, D and H.)
 */
#include "l1_kit.h"

#include <string.h>

enum { MINUTE = 60000, IDLE = 30 * MINUTE, AHEAD = MINUTE / 2 };

static lk_l1_times plain(int64_t due_ms, int64_t end_ms, int64_t idle_ms)
{
    return (lk_l1_times){.due_ms = due_ms, .end_ms = end_ms, .idle_ms = idle_ms};
}

static enum lk_l1_put put_for(lk_l1 *l1, text t, lk_l1_times times)
{
    latchkey_entry e = entry_of(7);
    return lk_l1_put(l1, lk_l1_ticket(l1, t.at), t.at, t.at + LATCHKEY_SELECTOR_LENGTH, false, times, NOW_MS, &e);
}

static enum lk_l1_put renew(lk_l1 *l1, text t, lk_l1_times times)
{
    return lk_l1_renew(l1, lk_l1_ticket(l1, t.at), t.at, times, AHEAD);
}

/* The same whichever way it is asked for; -1: it is not there. */
static int64_t due_of(lk_l1 *l1, text t)
{
    lk_l1_found found;
    lk_l1_times by_token, by_name;
    latchkey_entry e;
    if (!lk_l1_get(l1, t.at, &found, &e)) {
        assert_false(lk_l1_look(l1, t.at, &by_token, &e));
        assert_false(lk_l1_terms_of(l1, t.at, &by_name, &e));
        return -1;
    }
    assert_true(lk_l1_look(l1, t.at, &by_token, &e) && e.user_id == 7);
    assert_true(lk_l1_terms_of(l1, t.at, &by_name, &e) && e.user_id == 7);
    assert_memory_equal(&by_token, &by_name, sizeof by_name);
    assert_int_equal(found.due_ms, by_token.due_ms);
    return found.due_ms;
}

static int64_t end_of(lk_l1 *l1, text t)
{
    lk_l1_times times;
    latchkey_entry e;
    assert_true(lk_l1_look(l1, t.at, &times, &e));
    return lk_l1_end(&times);
}

static void test_a_touch_moves_an_entry_on(void **state)
{
    (void)state;
    lk_l1 *l1 = lk_l1_open(100, unit_seed());
    text t = token_of(1, 0);
    assert_int_equal(put_for(l1, t, plain(NOW_MS + 5 * MINUTE / 2, NOW_MS + 600 * MINUTE, IDLE)), LK_L1_STORED);
    assert_int_equal(end_of(l1, t), NOW_MS + IDLE);
    for (int64_t at = 3 * MINUTE; at < 500 * MINUTE; at += 3 * MINUTE) {
        assert_int_equal(renew(l1, t, plain(NOW_MS + at + IDLE / 12, INT64_MAX / 2, IDLE)), LK_L1_STORED);
        assert_int_equal(due_of(l1, t), NOW_MS + at + IDLE / 12);
        assert_int_equal(end_of(l1, t), NOW_MS + at + IDLE);
    }
    lk_l1_close(l1);
}

static void test_never_beyond_its_own_end(void **state)
{
    (void)state;
    lk_l1 *l1 = lk_l1_open(100, unit_seed());
    text t = token_of(1, 0);
    const int64_t end = NOW_MS + 20 * MINUTE;
    put_for(l1, t, plain(NOW_MS + 5 * MINUTE / 2, end, IDLE));
    for (int64_t at = 3 * MINUTE; at < 30 * MINUTE; at += 3 * MINUTE) {
        renew(l1, t, plain(NOW_MS + at + IDLE / 12, INT64_MAX / 2, IDLE));
        assert_true(due_of(l1, t) <= end - AHEAD);
        assert_true(end_of(l1, t) <= end);
    }
    assert_true(end_of(l1, t) > end - MINUTE); /* what is rounded down is little */
    lk_l1_close(l1);
}

static void test_D_not_across_a_purge(void **state)
{
    (void)state;
    lk_l1 *l1 = lk_l1_open(100, unit_seed());
    text t = token_of(1, 0);
    const lk_l1_times was = plain(NOW_MS + 10, NOW_MS + 100 * MINUTE, IDLE),
                      is = plain(NOW_MS + MINUTE, INT64_MAX / 2, IDLE);
    put_for(l1, t, was);
    uint64_t ticket = lk_l1_ticket(l1, t.at);
    lk_l1_purge(l1, t.at);
    assert_int_equal(lk_l1_renew(l1, ticket, t.at, is, AHEAD), LK_L1_REFUSED);
    assert_int_equal(due_of(l1, t), -1);
    put_for(l1, t, was); /* a read that began later brings it again: the older touch is not for this one */
    assert_int_equal(lk_l1_renew(l1, ticket, t.at, is, AHEAD), LK_L1_REFUSED);
    assert_int_equal(due_of(l1, t), NOW_MS + 10);
    ticket = lk_l1_ticket(l1, t.at);
    lk_l1_empty(l1);
    assert_int_equal(lk_l1_renew(l1, ticket, t.at, is, AHEAD), LK_L1_REFUSED);
    lk_l1_close(l1);
}

static void test_nothing_is_made_or_shortened(void **state)
{
    (void)state;
    lk_l1 *l1 = lk_l1_open(100, unit_seed());
    text t = token_of(1, 0), other = token_of(2, 0);
    const lk_l1_times late = plain(NOW_MS + 50 * MINUTE, INT64_MAX / 2, IDLE);
    assert_int_equal(renew(l1, t, late), LK_L1_LEFT_OUT);
    assert_true(entries(l1) == 0);
    put_for(l1, t, plain(NOW_MS + 60 * MINUTE, NOW_MS + 600 * MINUTE, IDLE));
    assert_int_equal(renew(l1, t, late), LK_L1_LEFT_OUT);
    assert_int_equal(due_of(l1, t), NOW_MS + 60 * MINUTE);
    put_for(l1, other, plain(NOW_MS + MINUTE, NOW_MS + 600 * MINUTE, 0)); /* no touch moves this one on */
    assert_int_equal(renew(l1, other, late), LK_L1_LEFT_OUT);
    assert_int_equal(due_of(l1, other), NOW_MS + MINUTE);
    lk_l1_close(l1);
}

/* The last touch: from then on the absolute expiry ends the session. */
static void test_the_last_touch_ends_it(void **state)
{
    (void)state;
    lk_l1 *l1 = lk_l1_open(100, unit_seed());
    text t = token_of(1, 0);
    put_for(l1, t, plain(NOW_MS + MINUTE, NOW_MS + 600 * MINUTE, IDLE));
    assert_int_equal(renew(l1, t, plain(NOW_MS + 20 * MINUTE, NOW_MS + 20 * MINUTE, 0)), LK_L1_STORED);
    assert_true(end_of(l1, t) <= NOW_MS + 20 * MINUTE && end_of(l1, t) > NOW_MS + 19 * MINUTE);
    assert_int_equal(renew(l1, t, plain(NOW_MS + 30 * MINUTE, INT64_MAX / 2, IDLE)), LK_L1_LEFT_OUT);
    lk_l1_close(l1);
}

/* More idle times than there are places: such an entry is read again in time. */
/* What the whole of L1 remembers, in parts of three slots. */
static int owed(lk_l1 *l1, int64_t now_ms, text *which)
{
    size_t at = 0;
    int count = 0;
    do count += lk_l1_owed(l1, &at, 3, now_ms, which->at);
    while (at);
    return count;
}

/* It costs the entry no time, and a touch or a fill ends it; a purge as well. */
static void test_a_use_that_is_owed_is_remembered(void **state)
{
    (void)state;
    lk_l1 *l1 = lk_l1_open(100, unit_seed());
    for (int64_t odd = 0; odd < 2; odd++) {
        text t = token_of(1, 0), other = token_of(2, 0), brief = token_of(3, 0), found;
        int64_t due = NOW_MS + MINUTE + odd, now = due + MINUTE;
        for (int i = 0; i < 2; i++)
            assert_int_equal(put_for(l1, i ? other : t, plain(due, due + 600 * MINUTE, IDLE)), 0);
        assert_int_equal(put_for(l1, brief, plain(due, due + 600 * MINUTE, 0)), LK_L1_STORED);
        int64_t until = end_of(l1, t);
        assert_true(until <= due + IDLE * 11 / 12);
        lk_l1_owe(l1, t.at, due - 2); /* no touch is due yet */
        assert_int_equal(owed(l1, now, &found), 0);
        lk_l1_owe(l1, t.at, now);
        lk_l1_owe(l1, brief.at, now); /* no touch moves it on */
        assert_int_equal(owed(l1, now, &found), 1);
        assert_memory_equal(found.at, t.at, LATCHKEY_SELECTOR_LENGTH);
        assert_in_range(until - end_of(l1, t), 0, 1); /* H: never later */
        lk_l1_owe(l1, t.at, now);                     /* once */
        assert_in_range(until - end_of(l1, t), 0, 1);
        assert_in_range(due_of(l1, t), due - 2, due);
        assert_int_equal(owed(l1, until, &found), 0); /* it is over */
        assert_int_equal(renew(l1, t, plain(now + IDLE / 12, INT64_MAX / 2, IDLE)), LK_L1_STORED);
        lk_l1_owe(l1, other.at, now);
        assert_int_equal(owed(l1, now, &found), 1);
        assert_memory_equal(found.at, other.at, LATCHKEY_SELECTOR_LENGTH);
        put_for(l1, other, plain(now, now + 600 * MINUTE, IDLE));
        assert_int_equal(owed(l1, now, &found), 0);
        lk_l1_owe(l1, other.at, now);
        lk_l1_purge(l1, other.at);
        lk_l1_purge(l1, t.at);
        assert_int_equal(owed(l1, now, &found), 0);
        lk_l1_owe(l1, other.at, now); /* it is not there */
        lk_l1_purge(l1, brief.at);
    }
    lk_l1_close(l1);
}

static void test_H_any_times_are_written_down_or_end_earlier(void **state)
{
    (void)state;
    lk_l1 *l1 = lk_l1_open(100, unit_seed());
    unit_random r = unit_random_new(3);
    text t = token_of(1, 0);
    unsigned exact = 0, round = (unsigned)unit_rounds(20000);
    for (unsigned i = round; i; i--) {
        int64_t idle = unit_chance(&r, 20) ? 0 : (int64_t)unit_below(&r, unit_chance(&r, 50) ? 4 : 1u << 31) * 1000;
        int64_t due = (int64_t)unit_below(&r, UINT64_C(1) << 33) - (int64_t)unit_below(&r, 1u << 31);
        lk_l1_times times = plain(due, due + (int64_t)unit_below(&r, UINT64_C(1) << unit_below(&r, 36)), idle);
        if (put_for(l1, t, times) != LK_L1_STORED) {
            assert_true(times.end_ms < 0);
            continue;
        }
        int64_t wanted = lk_l1_end(&times) > 0 ? lk_l1_end(&times) : 0, is = end_of(l1, t);
        assert_true(is <= wanted && due_of(l1, t) <= is && due_of(l1, t) <= (due > 0 ? due : 0));
        assert_true(is >= wanted - (wanted - due_of(l1, t)) / 32);
        exact += is == wanted;
    }
    assert_true(exact > round / 50);
    assert_int_equal(put_for(l1, t, lk_l1_until(INT64_MAX)), LK_L1_STORED); /* 34 years of uptime are the most */
    assert_true(end_of(l1, t) == (INT64_C(1) << 40) - 1);
    lk_l1_close(l1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_touch_moves_an_entry_on),
        cmocka_unit_test(test_never_beyond_its_own_end),
        cmocka_unit_test(test_D_not_across_a_purge),
        cmocka_unit_test(test_nothing_is_made_or_shortened),
        cmocka_unit_test(test_the_last_touch_ends_it),
        cmocka_unit_test(test_a_use_that_is_owed_is_remembered),
        cmocka_unit_test(test_H_any_times_are_written_down_or_end_earlier),
    };
    return cmocka_run_group_tests_name("l1 renew", tests, unit_setup, NULL);
}
