/* SPDX-License-Identifier: MIT
 *
 * The messages of the subscription: revocations are applied in order, a missing one is found by its number, and what is
 * no revocation does nothing. (Guarantee C.)
 */
#include "redis_model.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define A "AAAAAAAAAAAAAAAAAAAA"
#define B "BBBBBBBBBBBBBBBBBBBB"
#define C "CCCCCCCCCCCCCCCCCCCC"

static const char *lease_at(int64_t ms)
{
    static char text[40];
    snprintf(text, sizeof text, "= lease %" PRId64 "\n", ms);
    return text;
}

static void test_revocations_are_purged_before_the_lease(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=2");
    model_tick(m, model_beat_due(m));
    model_revoke(m, 0, A);
    model_revoke(m, 1, B);
    model_revoke(m, 1, A);
    model_run(m);
    model_expect(m, "= purge " A, "= purge " B, "= purge " A, "= lease", NULL);
    assert_false(model_saw(m, "empty"));
    assert_int_equal(model_counted(m, LK_PURGES), 3);
    assert_int_equal(model_counted(m, LK_MISSED), 0);
    assert_true(lk_histogram_count(&m->counters.revocation_us) == 3);
    model_close(m);
}

/* Found by number when the nonce comes, read in the log, and only then is there a lease. */
static void test_a_lost_message_is_replayed_before_the_lease(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=4");
    m->lose_messages = 3;
    for (int i = 0; i < 3; i++) model_revoke(m, i == 2 ? 3 : 1, i == 1 ? B : A);
    model_tick(m, model_beat_due(m));
    int64_t sent_ms = model_ms(m);
    model_serve(m, 0);
    model_deliver(m, 0);
    assert_false(model_saw(m, "= ")); /* the messages may still come: the nonce decides */
    model_deliver(m, 1);
    assert_false(model_saw(m, "= "));
    model_run(m);
    model_expect(m, "0 PUBLISH", "0 XRANGE lk:{1}:r 1-0 + COUNT", "0 XRANGE lk:{3}:r 1-0 + COUNT", "= purge " A,
                 "= purge " B, "= purge " A, lease_at(sent_ms), NULL);
    assert_false(model_saw(m, "empty"));
    assert_int_equal(model_counted(m, LK_MISSED), 3);
    assert_int_equal(model_counted(m, LK_REPLAYED), 3);
    model_clear(m);
    model_beat(m);
    assert_false(model_saw(m, "XRANGE")); /* once for each loss */
    assert_int_equal(model_counted(m, LK_MISSED), 3);
    model_close(m);
}

static void test_a_gap_in_the_messages_is_replayed_at_once(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=2");
    model_revoke(m, 0, A);
    m->lose_messages = 2;
    model_revoke(m, 0, B);
    model_revoke(m, 0, B);
    model_revoke(m, 0, A);
    model_run(m);
    /* From the last that was applied on, which the log must know by the same name. */
    model_expect(m, "= purge " A, "= purge " A, "0 XRANGE lk:{0}:r 1-0 +", "= purge " B, "= purge " B, NULL);
    assert_false(model_saw(m, "lease"));
    assert_false(model_saw(m, "empty"));
    assert_int_equal(model_counted(m, LK_MISSED), 2);
    assert_int_equal(model_counted(m, LK_REPLAYED), 3);
    model_clear(m);
    model_beat(m);
    assert_false(model_saw(m, "XRANGE"));
    assert_true(model_saw(m, "lease"));
    model_close(m);
}

/* The partitions' numbers are told apart. */
static void test_a_gap_is_of_one_partition(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=3");
    for (unsigned i = 0; i < 9; i++) model_revoke(m, i % 3, A);
    model_run(m);
    assert_false(model_saw(m, "empty"));
    m->lose_messages = 1;
    model_revoke(m, 1, A);
    model_revoke(m, 0, A);
    model_revoke(m, 2, A);
    model_run(m);
    assert_false(model_saw(m, "XRANGE"));
    model_revoke(m, 1, A);
    model_run(m);
    model_expect(m, "0 XRANGE lk:{1}:r 3-0", NULL);
    assert_false(model_saw(m, "XRANGE lk:{0}"));
    assert_false(model_saw(m, "XRANGE lk:{2}"));
    model_close(m);
}

/* A data set that was replaced in place by an older one, by the same server on the same connections: another server. It is
 * told of what was revoked before it is served, and L1 is emptied before and after. */
static void test_numbers_that_go_backwards_are_another_server(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=2");
    for (int i = 0; i < 5; i++) model_revoke(m, 0, A);
    model_beat(m);
    model_clear(m);
    m->number[0] = 2; /* seen by the beat */
    m->forgetful = true;
    model_beat(m);
    model_expect(m, "= met\n", "= empty\n", "EVAL reassert", A, NULL);
    assert_false(model_saw(m, "= lease"));
    assert_int_equal(m->number[0], 1005); /* by the assertion: it counts on from beyond what was known */
    model_tick(m, 5);
    model_run(m);
    model_expect(m, "EVAL reassert", "0 MGET", "= empty\n", "= lease", NULL);
    assert_int_equal(model_counted(m, LK_MISSED), 0);
    assert_int_equal(model_counted(m, LK_RECONNECTS), 0);
    model_clear(m);
    model_revoke(m, 0, B); /* the next one there */
    model_beat(m);
    model_expect(m, "= purge " B, "= lease", NULL);
    assert_false(model_saw(m, "empty"));

    model_clear(m);
    m->number[0] = 0; /* seen by a message */
    model_revoke(m, 0, C);
    model_run(m);
    model_expect(m, "= met\n", "= empty\n", "= purge " C, "reassert", NULL);
    assert_true(model_saw(m, A) && model_saw(m, B));
    assert_false(model_saw(m, "= lease"));
    model_tick(m, 5);
    model_run(m);
    model_expect(m, "reassert", "= empty\n", "= lease", NULL);
    model_close(m);
}

/* Where there is nothing to tell, too, what was answered to the beat before counts for none after it. */
static void test_a_data_set_that_is_replaced_under_a_beat(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=1");
    m->number[0] = 5;
    model_beat(m);
    m->link.recent = (lk_recent_close(m->link.recent), lk_recent_open(1, LK_RECENT_MAX)); /* nothing is remembered */
    model_clear(m);
    m->number[0] = 1;
    model_beat(m);
    model_expect(m, "= empty\n", "reassert 1 lk:{0}:s:--------------------", NULL);
    model_tick(m, 5);
    model_serve(m, 0);
    model_clear(m);
    model_deliver(m, 0);
    assert_false(model_saw(m, "= lease")); /* its nonce was not received yet */
    model_deliver(m, 1);
    model_expect(m, "= lease", NULL);
    model_close(m);
}

/* As above, and grown past the old number before it was compared: the log names another under the last one's number. */
static void test_numbers_that_go_backwards_and_overtake(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=1");
    for (int i = 0; i < 5; i++) model_revoke(m, 0, A);
    model_beat(m);
    m->number[0] = 0;
    m->lose_messages = 6;
    for (int i = 0; i < 6; i++) model_revoke(m, 0, B);
    model_clear(m);
    model_beat(m);
    model_expect(m, "XRANGE", "= met\n", "= empty\n", "EVAL reassert", A, NULL);
    assert_false(model_saw(m, "= lease"));
    model_tick(m, 5);
    model_run(m);
    model_expect(m, "reassert", "= empty\n", "= lease", NULL);
    model_close(m);
}

/* The same, and the log is so short that it begins right behind that number. */
static void test_numbers_that_overtake_in_a_log_that_begins_behind_them(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=1");
    for (int i = 0; i < 5; i++) model_revoke(m, 0, A);
    model_beat(m);
    m->number[0] = 0;
    m->lose_messages = 6;
    for (int i = 0; i < 6; i++) model_revoke(m, 0, B);
    model_trim(m, 0, 1);
    model_clear(m);
    model_beat(m);
    model_expect(m, "XRANGE", "= empty\n", "EVAL reassert", A, NULL);
    assert_false(model_saw(m, "= lease"));
    model_tick(m, 5);
    model_run(m);
    model_expect(m, "reassert", "= lease", NULL);
    model_close(m);
}

/* The data lost the number of a session's change, and gave it to the session's end: the log names the same session under it. */
static void test_numbers_that_overtake_with_an_end_in_place_of_a_change(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=1");
    m->number[0] = 1;
    model_publish(m, "lk:{0}:rev", "1 " A " @1 changed rights");
    model_run(m);
    model_beat(m);
    m->number[0] = 0;
    m->lose_messages = 2;
    model_revoke(m, 0, A);
    model_revoke(m, 0, B);
    model_clear(m);
    model_beat(m);
    model_expect(m, "XRANGE", "= met\n", "= empty\n", NULL);
    assert_false(model_saw(m, "= lease"));
    model_close(m);
}

/* Before the first lease a read of L2 may be under way, to fill L1 after that lease. Its revocation's message is lost, and
 * the first beat has nothing to compare its numbers with: so L1 is emptied after it, which voids such reads. */
static void test_a_message_lost_before_the_first_beat(void **state)
{
    (void)state;
    redis_model *m = model_open("h?partitions=2", 1);
    m->number[0] = 7; /* from before: those were not missed */
    model_connect(m);
    model_run(m);
    assert_int_equal(m->link.state, LK_LINK_UP);
    model_clear(m); /* reads begin here */
    m->lose_messages = 1;
    model_revoke(m, 0, A);
    model_tick(m, 0);
    model_run(m);
    model_expect(m, "= empty\n", "= lease", NULL);
    model_close(m);
}

/* --------------------------------------------------------------------------------------- messages of all kinds -- */

static void test_a_message_of_several_selectors(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h?partitions=2");
    model_publish(m, "lk:{1}:rev", "1 " A " " B " CCCCCCCCCCCCCCCCCCCC");
    m->number[1] = 1;
    model_run(m);
    model_expect(m, "= purge " A, "= purge " B, "= purge CCCCCCCCCCCCCCCCCCCC", NULL);
    assert_int_equal(model_counted(m, LK_PURGES), 3);
    model_beat(m);
    assert_false(model_saw(m, "empty"));
    model_close(m);
}

/* Channels know no databases: what another deployment publishes from another database of the server is not ours. */
static void test_a_message_names_its_database(void **state)
{
    (void)state;
    static const struct {
        const char *options, *ours, *foreign[3];
    } rows[] = {
        {"h?partitions=1", "1 " A " @5", {"7 " A " @5 /1", "1 *1700000000000 @5 /1", "0 nonsense /12"}},
        {"h/1?partitions=1", "1 " A " @5 /1", {"7 " A " @5", "1 *1700000000000 @5", "2 " B " @5 changed /11"}},
        {"h/11?partitions=1", "1 " A " @5 changed /11", {"7 " A " @5 /1", "1 *1700000000000 @5 /0", "9 " B}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        redis_model *m = model_opened_up(rows[i].options);
        unsigned empties = m->empties;
        for (size_t k = 0; k < 3; k++) model_publish(m, "lk:{0}:rev", rows[i].foreign[k]);
        model_run(m);
        assert_false(model_saw(m, "= purge"));
        assert_false(model_saw(m, "= trouble"));
        model_publish(m, "lk:{0}:rev", rows[i].ours);
        m->number[0] = 1;
        model_beat(m);
        model_expect(m, "= purge " A, "= lease", NULL);
        assert_int_equal(m->empties, empties);
        assert_int_equal(m->everyones, 0);
        assert_int_equal(model_counted(m, LK_MISSED), 0);
        model_close(m);
    }
}

/* And scripts are told which database that is, so that they can say it. */
static void test_scripts_and_beats_name_the_database(void **state)
{
    (void)state;
    redis_model *m = model_opened_up("h/3?partitions=1&events=1");
    model_job(m, LK_JOB_TOUCH, 0, A);
    model_beat(m);
    model_expect(m, "0 PUBLISH", " db=3", NULL);
    model_expect(m, "EVALSHA touch 1 lk:{0}:s:" A " lk:{0}: events /3 " A, NULL);
    model_close(m);
    m = model_opened_up("h?partitions=1");
    model_beat(m);
    model_expect(m, "0 PUBLISH", NULL);
    assert_false(model_saw(m, " db="));
    model_close(m);
}

/* Whatever stands in a message, its number counts, and only selectors are purged. */
static void test_messages_that_are_odd_but_numbered(void **state)
{
    (void)state;
    const char *odd[] = {"1 ",
                         "1  ",
                         "1 short",
                         "1 AAAAAAAAAAAAAAAAAAAAA",
                         "1 AAAAAAAAAAAAAAAAAAA.",
                         "1 @",
                         "1 @x",
                         "1 @-1",
                         "1 @99999999999999999999",
                         "1 @9223372036854775807",
                         "1 @-9223372036854775808"};
    for (size_t i = 0; i < UNIT_COUNT(odd); i++) {
        redis_model *m = model_opened_up("h?partitions=2");
        model_publish(m, "lk:{0}:rev", odd[i]);
        m->number[0] = 1;
        model_run(m);
        assert_false(model_saw(m, "purge"));
        model_beat(m);
        assert_false(model_saw(m, "empty"));
        assert_int_equal(m->leases, 2);
        model_close(m);
    }
}

static void test_foreign_messages_are_passed_over(void **state)
{
    (void)state;
    const char *rows[][2] = {
        {"lk:{0}:rev", ""},
        {"lk:{0}:rev", "hello"},
        {"lk:{0}:rev", "0 " A},
        {"lk:{0}:rev", "1"},
        {"lk:{0}:rev", "1," A},
        {"lk:{0}:rev", " " A},
        {"lk:{2}:rev", "1 " A},
        {"lk:{-1}:rev", "1 " A},
        {"lk:{00}:rev", "1 " A},
        {"lk:{0}:revx", "1 " A},
        {"xx:{0}:rev", "1 " A},
        {"lk:{0}:q", "1 " A},
        {"{0}", "1 " A},
        {"lk:0:rev", "1 " A},
        {"", "1 " A},
        {"lk:{4294967296}:rev", "1 " A},
        {"lk:{99999999999999999999}:rev", "1 " A},
        {"lk:beat:0", "1 " A},
    };
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
        redis_model *m = model_opened_up("h?partitions=2");
        model_publish(m, rows[i][0], rows[i][1]);
        model_run(m);
        assert_false(model_saw(m, "purge"));
        assert_false(model_saw(m, "empty"));
        assert_int_equal(m->link.state, LK_LINK_UP);
        model_revoke(m, 0, B);
        model_beat(m);
        model_expect(m, "= purge " B, "= lease", NULL);
        assert_false(model_saw(m, "empty"));
        model_close(m);
    }
}

static void test_random_messages(void **state)
{
    (void)state;
    static const char *const pieces[] = {"1", "2", "7", " ", " ", "@", "0", "-", A, B, "x", "18446744073709551615",
                                         "\t"};
    unit_random r = unit_random_new(1);
    redis_model *m = model_opened_up("h?partitions=2");
    for (uint64_t i = unit_rounds(20000); i; i--) {
        char text[512] = "";
        for (uint64_t n = unit_below(&r, 10); n; n--) strcat(text, pieces[unit_below(&r, UNIT_COUNT(pieces))]);
        model_publish(m, i % 2 ? "lk:{0}:rev" : "lk:{1}:rev", text);
        model_run(m);
        model_clear(m);
        assert_int_equal(m->link.state, LK_LINK_UP);
    }
    model_beat(m);
    assert_int_equal(m->leases, 2);
    model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_revocations_are_purged_before_the_lease),
        cmocka_unit_test(test_a_lost_message_is_replayed_before_the_lease),
        cmocka_unit_test(test_a_gap_in_the_messages_is_replayed_at_once),
        cmocka_unit_test(test_a_gap_is_of_one_partition),
        cmocka_unit_test(test_numbers_that_go_backwards_are_another_server),
        cmocka_unit_test(test_a_data_set_that_is_replaced_under_a_beat),
        cmocka_unit_test(test_numbers_that_go_backwards_and_overtake),
        cmocka_unit_test(test_numbers_that_overtake_in_a_log_that_begins_behind_them),
        cmocka_unit_test(test_numbers_that_overtake_with_an_end_in_place_of_a_change),
        cmocka_unit_test(test_a_message_lost_before_the_first_beat),
        cmocka_unit_test(test_a_message_of_several_selectors),
        cmocka_unit_test(test_a_message_names_its_database),
        cmocka_unit_test(test_scripts_and_beats_name_the_database),
        cmocka_unit_test(test_messages_that_are_odd_but_numbered),
        cmocka_unit_test(test_foreign_messages_are_passed_over),
        cmocka_unit_test(test_random_messages),
    };
    return cmocka_run_group_tests_name("link_messages", tests, unit_setup, NULL);
}
