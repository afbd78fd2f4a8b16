/* SPDX-License-Identifier: MIT
 *
 * A turn: given once, waited for once, by two threads of which either may be first; and gone as soon as it was given.
 */
#include "base/park.h"

#include "base/clock.h"
#include "unit.h"

#include <pthread.h>
#include <sched.h>

static void test_given_before_it_is_waited_for(void **state)
{
    (void)state;
    lk_park turn = {0};
    lk_park_wake(&turn);
    assert_true(lk_park_wait(&turn, LK_PARK_FOREVER));
    assert_true(lk_park_wait(&turn, 0)); /* even where the deadline is long gone */
}

static void test_not_given_until_the_deadline(void **state)
{
    (void)state;
    lk_park turn = {0};
    assert_false(lk_park_wait(&turn, 0));
    int64_t until_ms = lk_now_ms() + 30;
    assert_false(lk_park_wait(&turn, until_ms));
    assert_true(lk_now_ms() >= until_ms); /* not before */
}

typedef struct handed {
    lk_park turn;
    uint64_t written; /* before it was given */
} handed;

static void *give(void *context)
{
    handed *h = context;
    for (uint64_t i = h->written % 7; i; i--) sched_yield();
    h->written++;
    lk_park_wake(&h->turn);
    return NULL; /* `h` may be gone */
}

/* ThreadSanitizer and AddressSanitizer watch: what was written before is seen, and nothing is touched afterwards. */
static void test_it_is_gone_once_it_was_given(void **state)
{
    (void)state;
    for (uint64_t i = 0, rounds = unit_rounds(4000); i < rounds; i++) {
        handed *h = calloc(1, sizeof *h);
        pthread_t giver;
        assert_non_null(h);
        h->written = i;
        assert_int_equal(pthread_create(&giver, NULL, give, h), 0);
        assert_true(lk_park_wait(&h->turn, i % 2 ? LK_PARK_FOREVER : lk_now_ms() + 100000));
        assert_int_equal(h->written, i + 1);
        free(h);
        pthread_join(giver, NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_given_before_it_is_waited_for),
        cmocka_unit_test(test_not_given_until_the_deadline),
        cmocka_unit_test(test_it_is_gone_once_it_was_given),
    };
    return cmocka_run_group_tests(tests, unit_setup, NULL);
}
