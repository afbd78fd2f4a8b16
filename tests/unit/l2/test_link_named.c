/* SPDX-License-Identifier: MIT
 *
 * A link whose server sentinels name: no lease unless they named it when the beat was sent or later; and a server met in place of
 * another is served from only after the others had the time to tell it what it lacks. (Guarantee C.)
 */
#include "redis_model.h"

#include <string.h>

#define A "AAAAAAAAAAAAAAAAAAAA"

static redis_model *named_up(void)
{
    redis_model *m = model_opened_up("h?partitions=2");
    m->config.sentinels = 3;
    return m;
}

static void test_no_lease_from_a_server_that_was_deposed(void **state)
{
    (void)state;
    redis_model *m = named_up();
    m->deposed = true;
    unsigned empties = m->empties;
    for (int i = 0; i < 6; i++) {
        model_beat(m);
        assert_int_equal(m->asked_since_ms, m->link.beat.sent_ms);
        assert_int_equal(m->leases, 1);
        assert_int_equal(m->link.state, LK_LINK_UP); /* that is no reason to leave it */
    }
    assert_int_equal(m->empties, empties);
    m->deposed = false;
    lk_link_vouched(&m->link, model_ms(m));
    assert_int_equal(m->leases, 2);
    model_close(m);
}

/* The last thing that was missing: the lease is there at once, and as of the time at which the beat was sent. */
static void test_the_lease_comes_with_the_sentinels_answer(void **state)
{
    (void)state;
    redis_model *m = named_up();
    m->deposed = true;
    model_beat(m);
    model_tick(m, 20);
    lk_link_vouched(&m->link, model_ms(m));
    assert_int_equal(m->leases, 1);
    m->deposed = false;
    int64_t sent_ms = m->link.beat.sent_ms;
    lk_link_vouched(&m->link, model_ms(m));
    assert_int_equal(m->leases, 2);
    assert_true(m->link.confirmed_ms == sent_ms && sent_ms < model_ms(m));
    lk_link_vouched(&m->link, model_ms(m)); /* once */
    assert_int_equal(m->leases, 2);
    model_close(m);
}

/* Nothing is taken from a server that is met before they have named it: L1 is emptied behind the beat that counts. */
static void test_a_server_that_is_met_is_vouched_for_first(void **state)
{
    (void)state;
    redis_model *m = named_up();
    m->deposed = true;
    lk_link_moved(&m->link, model_ms(m), "moved");
    assert_int_equal(m->link.state, LK_LINK_DOWN);
    assert_true(m->link.retry_at_ms <= model_ms(m)); /* not after a while */
    m->run_id[0] = m->run_id[1] = "run-2";
    model_connect(m);
    model_run(m);
    for (int i = 0; i < 4; i++) {
        model_beat(m);
        assert_true(m->link.fresh);
    }
    assert_int_equal(m->leases, 1);
    m->deposed = false;
    lk_link_vouched(&m->link, model_ms(m));
    for (int i = 0; m->leases == 1 && i < 10; i++) model_beat(m);
    assert_false(m->link.fresh);
    assert_int_equal(m->leases, 2);
    model_close(m);
}

static void test_others_have_the_time_to_tell_it(void **state)
{
    (void)state;
    redis_model *m = named_up();
    lk_link_moved(&m->link, model_ms(m), "moved");
    m->run_id[0] = m->run_id[1] = "run-2";
    model_connect(m);
    int64_t met_ms = model_ms(m);
    model_run(m);
    while (m->leases == 1) {
        model_tick(m, model_beat_due(m));
        model_run(m);
        assert_true(model_ms(m) < met_ms + 10000);
        /* Somebody tells it, in between. */
        if (m->leases == 1 && model_ms(m) < met_ms + 250 && !m->number[0]) model_revoke(m, 0, A);
    }
    assert_true(m->link.confirmed_ms >= met_ms + m->config.staleness_ms / 4);
    assert_true(m->link.confirmed_ms <= met_ms + m->config.staleness_ms / 4 + 10); /* and not longer */
    /* The same server once more: nobody has to tell it anything. */
    lk_link_moved(&m->link, model_ms(m), "moved");
    model_up(m);
    model_close(m);
}

/* The first server of all is served from at once: nothing is known that it might lack. */
static void test_the_first_is_served_from_at_once(void **state)
{
    (void)state;
    redis_model *m = model_open("h?partitions=2", unit_seed());
    m->config.sentinels = 3;
    model_up(m);
    assert_int_equal(m->leases, 1);
    model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_lease_from_a_server_that_was_deposed),
        cmocka_unit_test(test_the_lease_comes_with_the_sentinels_answer),
        cmocka_unit_test(test_a_server_that_is_met_is_vouched_for_first),
        cmocka_unit_test(test_others_have_the_time_to_tell_it),
        cmocka_unit_test(test_the_first_is_served_from_at_once),
    };
    return cmocka_run_group_tests_name("link_named", tests, unit_setup, NULL);
}
