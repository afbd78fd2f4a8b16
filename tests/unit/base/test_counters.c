/* SPDX-License-Identifier: MIT
 *
 * Counters lose nothing under threads; a histogram's bucket is at most a sixteenth wide, and quantiles tell its upper
 * edge.
 */
#include "base/counters.h"
#include "unit.h"

#include <string.h>

static const uint64_t LARGEST = UINT64_C(1) << 40;

static lk_histogram histogram;

static void clear(void) { memset(&histogram, 0, sizeof histogram); }

/* What a histogram that holds this one value says of it. */
static uint64_t edge_of(uint64_t value)
{
    clear();
    lk_histogram_add(&histogram, value);
    assert_true(lk_histogram_count(&histogram) == 1);
    assert_true(atomic_load(&histogram.sum) == value);
    return lk_histogram_quantile(&histogram, 0);
}

static void test_empty(void **state)
{
    (void)state;
    clear();
    assert_true(lk_histogram_count(&histogram) == 0);
    assert_true(lk_histogram_quantile(&histogram, 0) == 0);
    assert_true(lk_histogram_quantile(&histogram, 0.99) == 0);
    assert_true(lk_histogram_below(&histogram, UINT64_MAX) == 0);
}

static void test_small_values_are_exact(void **state)
{
    (void)state;
    for (uint64_t value = 0; value < 32; value++) assert_true(edge_of(value) == value);
}

static void test_an_edge_is_not_below_and_at_most_a_sixteenth_above(void **state)
{
    (void)state;
    unit_random r = unit_random_new(1);
    for (unsigned octave = 4; octave < 40; octave++) {
        for (int i = 0; i < 300; i++) {
            uint64_t least = UINT64_C(1) << octave, value = least + unit_below(&r, least);
            if (i == 0) value = least;
            if (i == 1) value = 2 * least - 1;
            uint64_t edge = edge_of(value);
            assert_true(edge >= value && edge - value < (value >> 4) + 1);
            assert_true(edge_of(edge) == edge);                           /* the edge itself is inside, */
            assert_true(edge_of(edge + 1) > edge || edge + 1 >= LARGEST); /* the next value is not */
        }
    }
}

static void test_edges_rise(void **state)
{
    (void)state;
    uint64_t before = 0;
    unsigned buckets = 1;
    for (uint64_t value = 0; value < LARGEST; value = before + 1) {
        uint64_t edge = edge_of(value);
        assert_true(edge >= before);
        buckets += edge > before;
        before = edge;
    }
    assert_int_equal(buckets, LK_HISTOGRAM_BUCKETS);
}

static void test_values_beyond_the_last_bucket_are_counted_in_it(void **state)
{
    (void)state;
    const uint64_t values[] = {LARGEST - 1, LARGEST, LARGEST + 1, UINT64_C(1) << 63, UINT64_MAX};
    for (size_t i = 0; i < UNIT_COUNT(values); i++) assert_true(edge_of(values[i]) == LARGEST - 1);
}

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void test_quantiles_beside_sorted_values(void **state)
{
    (void)state;
    enum { COUNT = 5000 };
    static uint64_t values[COUNT];
    const double quantiles[] = {0, 0.001, 0.25, 0.5, 0.9, 0.99, 0.999};
    unit_random r = unit_random_new(2);
    for (unsigned bits = 4; bits <= 40; bits += 4) {
        uint64_t sum = 0;
        clear();
        for (int i = 0; i < COUNT; i++) {
            values[i] = unit_next(&r) >> (64 - 1 - unit_below(&r, bits));
            sum += values[i];
            lk_histogram_add(&histogram, values[i]);
        }
        qsort(values, COUNT, sizeof *values, ascending);
        assert_true(lk_histogram_count(&histogram) == COUNT);
        assert_true(atomic_load(&histogram.sum) == sum);
        for (size_t q = 0; q < UNIT_COUNT(quantiles); q++) {
            uint64_t exact = values[(size_t)(quantiles[q] * COUNT)];
            uint64_t told = lk_histogram_quantile(&histogram, quantiles[q]);
            assert_true(told >= exact && told - exact <= exact / 16);
        }
        for (int i = 0; i < COUNT; i += 97) { /* how many are at most this, to a bucket */
            uint64_t below = lk_histogram_below(&histogram, values[i]), least = 0, most = 0;
            for (int k = 0; k < COUNT; k++) {
                least += values[k] <= values[i];
                most += values[k] <= values[i] + values[i] / 16;
            }
            assert_true(below >= least && below <= most);
        }
    }
}

/* ------------------------------------------------------------------------------------------------ threads -- */

enum { THREADS = LK_COUNTER_OWN + 20 }; /* so that some have no stripe of their own */

typedef struct shared {
    lk_counters counters;
    uint64_t rounds;
} shared;

static void count(void *argument, unsigned index)
{
    shared *s = argument;
    for (uint64_t i = 0; i < s->rounds; i++) {
        lk_count(&s->counters, LK_L1_HITS, 1);
        lk_count(&s->counters, LK_MISSED, i);
        lk_histogram_add(&s->counters.l2_read_us, i + index);
    }
    lk_count(&s->counters, LK_CORRUPT_RECORDS, index);
}

static void test_nothing_is_lost_between_threads(void **state)
{
    (void)state;
    shared *s = aligned_alloc(64, (sizeof *s + 63) / 64 * 64);
    assert_non_null(s);
    memset(s, 0, sizeof *s);
    s->rounds = unit_rounds(20000);
    unit_threads(THREADS, count, s);
    uint64_t indexes = (uint64_t)THREADS * (THREADS - 1) / 2, sum = s->rounds * (s->rounds - 1) / 2;
    assert_true(lk_counted(&s->counters, LK_L1_HITS) == THREADS * s->rounds);
    assert_true(lk_counted(&s->counters, LK_MISSED) == THREADS * sum);
    assert_true(lk_counted(&s->counters, LK_CORRUPT_RECORDS) == indexes);
    assert_true(lk_histogram_count(&s->counters.l2_read_us) == THREADS * s->rounds);
    assert_true(atomic_load(&s->counters.l2_read_us.sum) == THREADS * sum + indexes * s->rounds);
    for (int i = 0; i < LK_COUNTER_COUNT; i++)
        if (i != LK_L1_HITS && i != LK_MISSED && i != LK_CORRUPT_RECORDS)
            assert_true(lk_counted(&s->counters, (enum lk_counter)i) == 0);
    assert_true(lk_histogram_count(&s->counters.revocation_us) == 0);
    free(s);
}

/* Stripes are given back, and the next owner of one goes on counting where the last one stopped. */
static void count_one(void *argument, unsigned index)
{
    shared *s = argument;
    (void)index;
    lk_count(&s->counters, LK_L1_HITS, 1);
    if (lk_thread_stripe > LK_COUNTER_OWN) lk_count(&s->counters, LK_MISSED, 1);
}

static void test_stripes_are_given_back(void **state)
{
    (void)state;
    shared *s = aligned_alloc(64, (sizeof *s + 63) / 64 * 64);
    assert_non_null(s);
    memset(s, 0, sizeof *s);
    for (int round = 0; round < 20; round++) unit_threads(LK_COUNTER_OWN / 2, count_one, s);
    assert_true(lk_counted(&s->counters, LK_L1_HITS) == 20 * (LK_COUNTER_OWN / 2));
    assert_true(lk_counted(&s->counters, LK_MISSED) == 0); /* no thread had to share */
    free(s);
}

/* What came before a mark does not count. */
static void test_quantiles_since(void **state)
{
    (void)state;
    static lk_histogram_mark mark;
    clear();
    for (int i = 0; i < 1000; i++) lk_histogram_add(&histogram, 9);
    lk_histogram_keep(&histogram, &mark);
    assert_int_equal(lk_histogram_quantile_since(&histogram, &mark, 0.99), 0);
    for (int i = 0; i < 100; i++) lk_histogram_add(&histogram, i < 90 ? 3 : 7);
    assert_int_equal(lk_histogram_quantile_since(&histogram, &mark, 0.5), 3);
    assert_int_equal(lk_histogram_quantile_since(&histogram, &mark, 0.99), 7);
    assert_int_equal(lk_histogram_quantile(&histogram, 0.99), 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_small_values_are_exact),
        cmocka_unit_test(test_an_edge_is_not_below_and_at_most_a_sixteenth_above),
        cmocka_unit_test(test_edges_rise),
        cmocka_unit_test(test_values_beyond_the_last_bucket_are_counted_in_it),
        cmocka_unit_test(test_quantiles_beside_sorted_values),
        cmocka_unit_test(test_quantiles_since),
        cmocka_unit_test(test_nothing_is_lost_between_threads),
        cmocka_unit_test(test_stripes_are_given_back),
    };
    return cmocka_run_group_tests_name("counters", tests, unit_setup, NULL);
}
