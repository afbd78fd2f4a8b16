/* SPDX-License-Identifier: MIT
 *
 * What was seen of sessions, added up, beside sums made in the plainest way.
 */
#include "analytics/estimate.h"
#include "unit.h"

#include <string.h>

static const int64_t spans[LATCHKEY_SPANS] = LATCHKEY_SPANS_MS;

static latchkey_population p;

static void clear(void) { memset(&p, 0, sizeof p); }

static void test_nobody(void **state)
{
    (void)state;
    latchkey_population zero = {0};
    clear();
    lk_estimate_sights(NULL, 0, 1, &p);
    lk_estimate_weights(NULL, 0, &p);
    lk_estimate_live(0, 0, 0, &p);
    assert_memory_equal(&p, &zero, sizeof p);
    assert_int_equal(lk_estimate_duration(NULL, 0, 1000), 0);
}

static void test_all_of_them(void **state)
{
    (void)state;
    enum { COUNT = 100 };
    lk_sight sights[COUNT];
    for (int i = 0; i < COUNT; i++) /* in no order */
        sights[i] = (lk_sight){.age_ms = 1000 * ((i * 37) % COUNT + 1),
                               .used_ms = 500,
                               .idle_ms = 100 * ((i * 61) % COUNT + 1),
                               .of_user = 0.25,
                               .device = (uint32_t)(i % 10 < 7   ? 3
                                                    : i % 10 < 9 ? 1
                                                                 : 2)};
    clear();
    lk_estimate_sights(sights, COUNT, 1, &p);
    assert_int_equal(p.age_mean_ms, 50500);
    assert_int_equal(p.age_p50_ms, 50000);
    assert_int_equal(p.age_p99_ms, 99000);
    assert_int_equal(p.used_mean_ms, 500);
    assert_int_equal(p.idle_mean_ms, 5050);
    assert_int_equal(p.idle_p50_ms, 5000);
    assert_int_equal(p.idle_p99_ms, 9900);
    assert_int_equal(p.age[0], 59); /* less than a minute */
    assert_int_equal(p.age[1], 41);
    assert_int_equal(p.idle[0], COUNT);
    assert_int_equal(p.users, 25);
    assert_int_equal(p.devices, 3);
    assert_int_equal(p.device[0].device, 3);
    assert_int_equal(p.device[0].sessions, 70);
    assert_int_equal(p.device[1].device, 1);
    assert_int_equal(p.device[2].sessions, 10);
    assert_int_equal(p.device[3].sessions, 0);
    clear();
    lk_estimate_sights(sights, COUNT, 2.5, &p); /* each stands for more */
    assert_int_equal(p.age[1], 103);            /* 102.5 */
    assert_int_equal(p.device[0].sessions, 175);
    assert_int_equal(p.age_p50_ms, 50000);
}

/* The commonest stay, whatever the order in which they come. */
static void test_more_devices_than_are_listed(void **state)
{
    (void)state;
    enum { DEVICES = 40, MOST = DEVICES * (DEVICES + 1) / 2 };
    lk_sight sights[MOST];
    unit_random r = unit_random_new(3);
    uint32_t name[DEVICES];
    size_t count = 0;
    memset(sights, 0, sizeof sights);
    for (uint32_t d = 0; d < DEVICES; d++) name[d] = (uint32_t)unit_next(&r); /* device d has d + 1 sessions */
    for (uint32_t d = 0; d < DEVICES; d++)
        for (uint32_t i = 0; i <= d; i++) sights[count++].device = name[d];
    for (size_t i = count; i > 1; i--) {
        size_t k = unit_below(&r, i);
        lk_sight swap = sights[k];
        sights[k] = sights[i - 1];
        sights[i - 1] = swap;
    }
    clear();
    lk_estimate_sights(sights, count, 1, &p);
    assert_int_equal(p.devices, DEVICES);
    for (uint32_t i = 0; i < LATCHKEY_SAMPLE_DEVICES; i++) {
        assert_int_equal(p.device[i].sessions, DEVICES - i);
        assert_int_equal(p.device[i].device, name[DEVICES - 1 - i]);
    }
}

static void test_spans_have_edges(void **state)
{
    (void)state;
    lk_sight sights[2 * LATCHKEY_SPANS];
    memset(sights, 0, sizeof sights);
    for (int s = 0; s < LATCHKEY_SPANS; s++) {
        sights[2 * s].age_ms = spans[s] - 1;
        sights[2 * s + 1].age_ms = s ? spans[s - 1] : 0;
    }
    clear();
    lk_estimate_sights(sights, 2 * LATCHKEY_SPANS, 1, &p);
    for (int s = 0; s < LATCHKEY_SPANS; s++) assert_int_equal(p.age[s], 2);
}

static void test_weights(void **state)
{
    (void)state;
    lk_weight weights[100];
    for (uint64_t i = 0; i < 100; i++)
        weights[i] = (lk_weight){i % 3, 184, (i + 1) * 10, i % 2 ? 0 : 1000}; /* half of them not known */
    clear();
    lk_estimate_weights(weights, 100, &p);
    assert_int_equal(p.sized, 100);
    assert_int_equal(p.fields_p50, 1);
    assert_int_equal(p.fields_p99, 2);
    assert_int_equal(p.record_p50_bytes, 184);
    assert_int_equal(p.session_p50_bytes, 500);
    assert_int_equal(p.session_p99_bytes, 990);
    assert_int_equal(p.redis_p50_bytes, 1000);
    assert_int_equal(p.redis_mean_bytes, 1000);
}

static void test_estimates_and_their_margin(void **state)
{
    (void)state;
    clear();
    lk_estimate_live(1000000, 1000, 900, &p);
    assert_int_equal(p.sessions, 900000);
    assert_in_range(p.sessions_margin, 18000, 19000); /* 1.96 sqrt(.9 x .1 / 1000) = 0.0186 */
    lk_estimate_live(1000000, 1000, 1000, &p);
    assert_int_equal(p.sessions, 1000000);
    assert_in_range(p.sessions_margin, 1000, 4000); /* not "certainly": one in 300 may be over and unseen */
    clear();
    p.exact = 1;
    lk_estimate_live(50, 49, 40, &p); /* one went while we looked */
    assert_int_equal(p.sessions, 40);
    assert_int_equal(p.sessions_margin, 0);
}

/* In truth within three margins of the estimate, a thousand times: that is six standard deviations. */
static void test_margins_hold(void **state)
{
    (void)state;
    enum { NAMES = 10000, LIVING = 7300, LOOKED = 500 };
    unit_random r = unit_random_new(5);
    size_t outside = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t living = 0;
        for (int k = 0; k < LOOKED; k++) living += unit_below(&r, NAMES) < LIVING;
        clear();
        lk_estimate_live(NAMES, LOOKED, living, &p);
        uint64_t off = p.sessions > LIVING ? p.sessions - LIVING : LIVING - p.sessions;
        assert_true(off < 3 * p.sessions_margin);
        outside += off > p.sessions_margin;
    }
    assert_in_range(outside, 10, 120); /* 5 of 100 are */
}

static void test_duration_by_littles_law(void **state)
{
    (void)state;
    enum { COUNT = 3000, LIFE_MS = 900000, WINDOW_MS = 60000 };
    lk_sight sights[COUNT];
    memset(sights, 0, sizeof sights);
    /* Each lives for LIFE_MS, and one begins every LIFE_MS / COUNT: those who live are of all ages up to that. */
    for (int i = 0; i < COUNT; i++) sights[i].age_ms = (int64_t)i * LIFE_MS / COUNT;
    assert_in_range(lk_estimate_duration(sights, COUNT, WINDOW_MS), LIFE_MS - LIFE_MS / 20, LIFE_MS + LIFE_MS / 20);
    /* Too young to tell: no session is older than the window. */
    for (int i = 0; i < COUNT; i++) sights[i].age_ms = i % WINDOW_MS;
    assert_int_equal(lk_estimate_duration(sights, COUNT, WINDOW_MS), 0);
    /* Too few. */
    for (int i = 0; i < COUNT; i++) sights[i].age_ms = i < 29 ? 0 : 10 * WINDOW_MS;
    assert_int_equal(lk_estimate_duration(sights, COUNT, WINDOW_MS), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody),
        cmocka_unit_test(test_all_of_them),
        cmocka_unit_test(test_more_devices_than_are_listed),
        cmocka_unit_test(test_spans_have_edges),
        cmocka_unit_test(test_weights),
        cmocka_unit_test(test_estimates_and_their_margin),
        cmocka_unit_test(test_margins_hold),
        cmocka_unit_test(test_duration_by_littles_law),
    };
    return cmocka_run_group_tests_name("tally", tests, unit_setup, NULL);
}
