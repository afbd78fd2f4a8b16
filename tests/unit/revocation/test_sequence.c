/* SPDX-License-Identifier: MIT
 *
 * The numbers of a partition's revocations: each is applied, or known to be missing. (Guarantee C.)
 */
#include "revocation/sequence.h"
#include "unit.h"

static void hear(lk_sequence *s, uint64_t number, uint64_t missed_wanted)
{
    uint64_t missed = 99;
    assert_true(lk_sequence_message(s, number, number * 10, &missed));
    assert_int_equal(missed, missed_wanted);
}

static void test_in_order(void **state)
{
    (void)state;
    lk_sequence s = {0};
    for (uint64_t i = 1; i < 10; i++) {
        hear(&s, i, 0);
        assert_int_equal(s.applied, i);
        assert_int_equal(s.mark, i * 10);
        assert_false(lk_sequence_gap(&s));
    }
    assert_true(lk_sequence_count(&s, 9));
    assert_int_equal(lk_sequence_settle(&s), 0);
}

/* What is heard behind a gap counts as soon as the gap is closed, and each missing one is counted once. */
static void test_a_gap_and_its_closing(void **state)
{
    (void)state;
    lk_sequence s = {0};
    hear(&s, 1, 0);
    hear(&s, 4, 2);
    hear(&s, 5, 0);
    assert_int_equal(s.applied, 1);
    assert_int_equal(s.missing, 3);
    assert_true(lk_sequence_gap(&s));
    assert_true(lk_sequence_count(&s, 5));
    assert_int_equal(lk_sequence_settle(&s), 0);
    assert_true(lk_sequence_logged(&s, 1, 10));
    assert_true(lk_sequence_logged(&s, 2, 20));
    lk_sequence_join(&s);
    assert_true(lk_sequence_gap(&s) && s.applied == 2);
    assert_true(lk_sequence_logged(&s, 3, 30));
    lk_sequence_join(&s);
    assert_false(lk_sequence_gap(&s));
    assert_int_equal(s.applied, 5);
    assert_int_equal(s.mark, 50);
    hear(&s, 6, 0);
    assert_int_equal(s.applied, 6);
}

static void test_a_log_that_does_not_go_on_from_here(void **state)
{
    (void)state;
    lk_sequence s = {.applied = 5, .mark = 50, .missing = 8};
    assert_false(lk_sequence_logged(&s, 7, 70)); /* 6 was trimmed */
    assert_false(lk_sequence_logged(&s, 4, 40));
    assert_false(lk_sequence_logged(&s, 5, 51)); /* another 5: started anew, and grown past it */
    assert_true(lk_sequence_logged(&s, 5, 50) && lk_sequence_logged(&s, 6, 60));
}

/* A replay overtakes messages that are under way: they come later, and are no new start. */
static void test_messages_behind_a_replay(void **state)
{
    (void)state;
    lk_sequence s = {0};
    hear(&s, 1, 0);
    hear(&s, 3, 1);
    for (uint64_t i = 2; i <= 6; i++) assert_true(lk_sequence_logged(&s, i, i * 10));
    lk_sequence_join(&s);
    assert_int_equal(s.applied, 6);
    for (uint64_t i = 4; i <= 7; i++) hear(&s, i, 0);
    assert_int_equal(s.applied, 7);
    assert_false(lk_sequence_gap(&s));
}

static void test_a_beat_finds_what_no_message_showed(void **state)
{
    (void)state;
    lk_sequence s = {0};
    hear(&s, 1, 0);
    assert_true(lk_sequence_count(&s, 4));
    assert_false(lk_sequence_gap(&s)); /* they may still be under way */
    assert_int_equal(lk_sequence_settle(&s), 3);
    assert_int_equal(lk_sequence_settle(&s), 0);
    assert_int_equal(s.missing, 4);
    hear(&s, 5, 0);
    for (uint64_t i = 2; i <= 4; i++) assert_true(lk_sequence_logged(&s, i, 1));
    lk_sequence_join(&s);
    assert_int_equal(s.applied, 5);
}

static void test_backwards(void **state)
{
    (void)state;
    uint64_t missed;
    lk_sequence s = {0};
    for (uint64_t i = 1; i <= 5; i++) hear(&s, i, 0);
    assert_false(lk_sequence_message(&s, 5, 1, &missed));
    assert_false(lk_sequence_message(&s, 1, 1, &missed));
    s.at_beat = lk_sequence_top(&s);
    assert_false(lk_sequence_count(&s, 4));
    s.replay = LK_REPLAY_ASKED;
    lk_sequence_restart(&s, 2);
    assert_int_equal(s.replay, LK_REPLAY_VOID);
    assert_int_equal(s.applied, 2);
    assert_int_equal(s.mark, 0);
    assert_false(lk_sequence_gap(&s));
    hear(&s, 2, 0); /* was under way */
    hear(&s, 3, 0);
    assert_int_equal(s.applied, 3);
    s.at_beat = 3;
    assert_true(lk_sequence_count(&s, 3));
}

/* A message of the old count that is behind an open gap: what was counted by then must not be lost from sight. */
static void test_skipping_takes_the_highest_that_is_known(void **state)
{
    (void)state;
    lk_sequence s = {0};
    hear(&s, 1, 0);
    hear(&s, 9, 7);
    s.replay = LK_REPLAY_ASKED;
    lk_sequence_skip(&s);
    assert_int_equal(s.applied, 9);
    assert_int_equal(s.mark, 90);
    assert_int_equal(s.replay, LK_REPLAY_VOID);
    assert_true(lk_sequence_count(&s, 12)); /* 10 to 12 are under way */
    lk_sequence_skip(&s);
    hear(&s, 10, 0);
    hear(&s, 13, 0);
    assert_int_equal(s.applied, 13);
}

static void test_a_new_subscription(void **state)
{
    (void)state;
    lk_sequence s = {0};
    hear(&s, 1, 0);
    hear(&s, 4, 2);
    s.replay = LK_REPLAY_ASKED;
    lk_sequence_resubscribe(&s);
    assert_int_equal(s.replay, LK_REPLAY_NONE);
    assert_true(lk_sequence_gap(&s));
    hear(&s, 8, 3);
    assert_int_equal(s.missing, 7);
    uint64_t missed;
    assert_false(lk_sequence_message(&s, 8, 1, &missed));
}

static void test_the_end_of_the_numbers(void **state)
{
    (void)state;
    uint64_t missed;
    lk_sequence s = {0};
    assert_true(lk_sequence_message(&s, UINT64_MAX, 1, &missed));
    assert_true(lk_sequence_gap(&s));
    lk_sequence_skip(&s);
    assert_false(lk_sequence_gap(&s));
    assert_false(lk_sequence_message(&s, UINT64_MAX, 1, &missed));
    assert_false(lk_sequence_logged(&s, 0, 1));
    lk_sequence_restart(&s, 0);
    assert_true(lk_sequence_count(&s, UINT64_MAX));
    assert_true(lk_sequence_settle(&s) == UINT64_MAX);
    lk_sequence_skip(&s);
    assert_false(lk_sequence_gap(&s));
}

/* Beside a naive set: whatever is lost, replayed and reordered between the two connections, what is said to be applied
 * was applied, and in the end everything is. */
static void test_beside_a_set(void **state)
{
    (void)state;
    enum { MOST = 300 };
    unit_random r = unit_random_new(1);
    for (uint64_t round = unit_rounds(3000); round; round--) {
        lk_sequence s = {0};
        bool applied[MOST + 1] = {true};
        uint64_t given = 0, delivered = 0, lost_until = 0;
        bool end = false;
        for (int step = 0; step < 400; step++) {
            end = step > 350;
            if (!end && given < MOST && unit_chance(&r, 50)) given++;
            if (!end && unit_chance(&r, 5)) lost_until = delivered + unit_below(&r, 5);
            while (delivered < given && unit_chance(&r, 60)) {
                uint64_t missed;
                if (++delivered <= lost_until) continue;
                applied[delivered] = true;
                assert_true(lk_sequence_message(&s, delivered, delivered, &missed));
            }
            if (lk_sequence_gap(&s) && unit_chance(&r, 40)) {
                for (uint64_t n = s.applied; n <= given && unit_chance(&r, 90); n++) {
                    if (!n || (n == s.applied && !s.mark)) continue;
                    assert_true(lk_sequence_logged(&s, n, n));
                    applied[n] = true;
                }
                lk_sequence_join(&s);
            }
            if (delivered == given && unit_chance(&r, 20)) {
                assert_true(lk_sequence_count(&s, given));
                lk_sequence_settle(&s);
            }
            for (uint64_t n = 0; n <= s.applied; n++) assert_true(applied[n]);
        }
        for (int i = 0; i < MOST && (delivered < given || lk_sequence_gap(&s)); i++) {
            uint64_t missed;
            while (delivered < given) {
                applied[++delivered] = true;
                assert_true(lk_sequence_message(&s, delivered, delivered, &missed));
            }
            for (uint64_t n = s.applied + 1; lk_sequence_gap(&s); n++) {
                assert_true(lk_sequence_logged(&s, n, n));
                applied[n] = true;
            }
            lk_sequence_join(&s);
        }
        lk_sequence_count(&s, given);
        if (!lk_sequence_settle(&s)) assert_true(s.applied == given);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_order),
        cmocka_unit_test(test_a_gap_and_its_closing),
        cmocka_unit_test(test_a_log_that_does_not_go_on_from_here),
        cmocka_unit_test(test_messages_behind_a_replay),
        cmocka_unit_test(test_a_beat_finds_what_no_message_showed),
        cmocka_unit_test(test_backwards),
        cmocka_unit_test(test_skipping_takes_the_highest_that_is_known),
        cmocka_unit_test(test_a_new_subscription),
        cmocka_unit_test(test_the_end_of_the_numbers),
        cmocka_unit_test(test_beside_a_set),
    };
    return cmocka_run_group_tests_name("series", tests, unit_setup, NULL);
}
