/* SPDX-License-Identifier: MIT
 *
 * The epochs: what is one, that they never go back, and who is over by them.
 */
#include "revocation/cutoff.h"
#include "latchkey.h"
#include "unit.h"

#include <sched.h>
#include <stdatomic.h>
#include <string.h>

static void test_what_is_an_epoch(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms; /* -1: it is none */
    } rows[] = {{"0", 0},
                {"1", 1},
                {"1763800000000", 1763800000000},
                {"9999999999999", LK_CUTOFF_MAX},
                {"0000000000005", 5},
                {"10000000000000", -1},
                {"", -1},
                {"-1", -1},
                {"+1", -1},
                {" 1", -1},
                {"1 ", -1},
                {"1.5", -1},
                {"1e3", -1},
                {"0x10", -1},
                {"junk", -1}};
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
        int64_t ms = 77;
        bool good = lk_cutoff_parse(rows[i].text, strlen(rows[i].text), &ms);
        assert_int_equal(good, rows[i].ms >= 0);
        if (good) assert_int_equal(ms, rows[i].ms);
    }
    int64_t ms;
    assert_true(lk_cutoff_parse("123 @456", 3, &ms)); /* a word of a message */
    assert_int_equal(ms, 123);
    assert_false(lk_cutoff_parse("1\0003", 3, &ms));
}

static void test_who_is_over(void **state)
{
    (void)state;
    lk_cutoffs *e = lk_cutoffs_open(2);
    assert_int_equal(lk_cutoffs_judge(e, 0, 0), LATCHKEY_OK); /* no session was ended yet */
    assert_true(lk_cutoffs_set(e, 0, 1000));
    assert_int_equal(lk_cutoffs_judge(e, 0, 0), LATCHKEY_NOT_FOUND);
    assert_int_equal(lk_cutoffs_judge(e, 0, 1000), LATCHKEY_NOT_FOUND);
    assert_int_equal(lk_cutoffs_judge(e, 0, 1001), LATCHKEY_OK);
    assert_int_equal(lk_cutoffs_judge(e, 1, 1), LATCHKEY_OK); /* the other partition is another */
    assert_int_equal(lk_cutoffs_known(e, 1), 0);
    lk_cutoffs_close(e);
}

static void test_it_never_goes_back(void **state)
{
    (void)state;
    lk_cutoffs *e = lk_cutoffs_open(1);
    assert_true(lk_cutoffs_set(e, 0, 1000));
    assert_false(lk_cutoffs_set(e, 0, 1000)); /* no news: L1 stays */
    assert_false(lk_cutoffs_set(e, 0, 999));
    assert_false(lk_cutoffs_set(e, 0, 0));
    assert_int_equal(lk_cutoffs_known(e, 0), 1000);
    assert_true(lk_cutoffs_set(e, 0, 1001));
    assert_int_equal(lk_cutoffs_known(e, 0), 1001);
    lk_cutoffs_close(e);
}

static void test_in_doubt_nobody_is_known_to_live(void **state)
{
    (void)state;
    static const int64_t before[] = {0, 1000};
    for (size_t i = 0; i < UNIT_COUNT(before); i++) {
        lk_cutoffs *e = lk_cutoffs_open(1);
        lk_cutoffs_set(e, 0, before[i]);
        assert_true(lk_cutoffs_doubt(e, 0));
        assert_false(lk_cutoffs_doubt(e, 0)); /* it is said once */
        assert_int_equal(lk_cutoffs_known(e, 0), before[i]);
        assert_int_equal(lk_cutoffs_judge(e, 0, LK_CUTOFF_MAX), LATCHKEY_CORRUPT);
        assert_int_equal(lk_cutoffs_judge(e, 0, 0), LATCHKEY_CORRUPT);
        assert_false(lk_cutoffs_set(e, 0, before[i])); /* it is there again, and is what it was */
        assert_int_equal(lk_cutoffs_judge(e, 0, 5000), LATCHKEY_OK);
        assert_true(lk_cutoffs_doubt(e, 0));
        assert_true(lk_cutoffs_set(e, 0, 2000));
        assert_int_equal(lk_cutoffs_judge(e, 0, 2000), LATCHKEY_NOT_FOUND);
        assert_int_equal(lk_cutoffs_judge(e, 0, 5000), LATCHKEY_OK);
        lk_cutoffs_close(e);
    }
}

typedef struct race {
    lk_cutoffs *cutoffs;
    uint64_t rounds;
    _Atomic uint64_t arrived;
    atomic_bool went_back;
} race;

/* Spins, so that both go on in the same moment; but not for long where there is one processor. */
static void meet(race *r, uint64_t arrivals)
{
    atomic_fetch_add(&r->arrived, 1);
    for (int i = 0; atomic_load(&r->arrived) < arrivals; i++)
        if (i > 10000) sched_yield();
}

/* Both set it in the same moment, the one to an older time than the other. */
static void set_together(void *shared, unsigned index)
{
    race *r = shared;
    for (uint64_t i = 1; i <= r->rounds; i++) {
        int64_t newer = (int64_t)(2 * i);
        meet(r, 4 * i - 2);
        lk_cutoffs_set(r->cutoffs, 0, newer - index);
        if (index) lk_cutoffs_doubt(r->cutoffs, 0);
        meet(r, 4 * i);
        if (lk_cutoffs_known(r->cutoffs, 0) != newer) r->went_back = true;
    }
}

/* A partition changes its owner: for a moment two links write. */
static void test_two_links_do_not_set_it_back(void **state)
{
    (void)state;
    race r = {.cutoffs = lk_cutoffs_open(1), .rounds = unit_rounds(10000)};
    unit_threads(2, set_together, &r);
    assert_false(r.went_back);
    lk_cutoffs_close(r.cutoffs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_an_epoch),
        cmocka_unit_test(test_who_is_over),
        cmocka_unit_test(test_two_links_do_not_set_it_back),
        cmocka_unit_test(test_it_never_goes_back),
        cmocka_unit_test(test_in_doubt_nobody_is_known_to_live),
    };
    return cmocka_run_group_tests_name("epochs", tests, unit_setup, NULL);
}
