/* SPDX-License-Identifier: MIT
 *
 * The table of which session a foreign token means: what was put in is found, or nothing is; never another's. An emptying
 * leaves nothing, and lets nothing in that was asked for before it. (Guarantees D, G, J.)
 */
#include "l1/alias_cache.h"

#include "unit.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static lk_alias_cache *mapped;

static int setup(void **state)
{
    (void)state;
    mapped = lk_alias_cache_open(0, unit_seed());
    return !mapped;
}

static int teardown(void **state)
{
    (void)state;
    lk_alias_cache_close(mapped);
    return 0;
}

static void selector_of(uint64_t number, char selector[24])
{
    snprintf(selector, 24, "%020llu", (unsigned long long)number);
}

static void add(uint64_t ticket, uint64_t number, uint64_t means)
{
    char name[24], selector[24];
    unit_selector(number, name);
    selector_of(means, selector);
    char *exact_name = unit_copy(name, LATCHKEY_SELECTOR_LENGTH),
         *exact = unit_copy(selector, LATCHKEY_SELECTOR_LENGTH);
    lk_alias_cache_add(mapped, ticket, exact_name, exact);
    free(exact_name);
    free(exact);
}

/* 1: found, and right; 0: not found; -1: another's. */
static int find(uint64_t number, uint64_t means)
{
    char name[24], want[24], got[LATCHKEY_SELECTOR_LENGTH];
    unit_selector(number, name);
    selector_of(means, want);
    if (!lk_alias_cache_find(mapped, name, got)) return 0;
    return memcmp(want, got, sizeof got) ? -1 : 1;
}

static void test_what_was_put_in_is_found(void **state)
{
    (void)state;
    uint64_t ticket = lk_alias_cache_ticket(mapped);
    for (uint64_t i = 0; i < 500; i++) {
        assert_int_equal(find(i, i), 0);
        add(ticket, i, i);
        assert_int_equal(find(i, i), 1);
    }
    for (uint64_t i = 0; i < 500; i++) assert_int_equal(find(i, i), 1); /* far below its size */
    add(ticket, 7, 8);
    assert_int_equal(find(7, 8), 1);
}

/* Full, the newest of each bucket are there, and nothing grows. */
static void test_full_it_keeps_the_newest(void **state)
{
    (void)state;
    uint64_t ticket = lk_alias_cache_ticket(mapped), found = 0;
    for (uint64_t i = 0; i < 50000; i++) {
        add(ticket, i, i);
        assert_int_equal(find(i, i), 1);
    }
    for (uint64_t i = 0; i < 50000; i++) {
        int is = find(i, i);
        assert_int_not_equal(is, -1);
        found += (uint64_t)is;
    }
    assert_in_range(found, LK_ALIAS_CACHE_MIN * 9 / 10, LK_ALIAS_CACHE_MIN);
}

static void test_an_emptying_leaves_nothing_and_voids_tickets(void **state)
{
    (void)state;
    uint64_t before = lk_alias_cache_ticket(mapped);
    for (uint64_t i = 0; i < 3000; i++) add(before, i, i);
    lk_alias_cache_empty(mapped);
    for (uint64_t i = 0; i < 3000; i++) assert_int_equal(find(i, i), 0);
    add(before, 1, 1);
    assert_int_equal(find(1, 1), 0);
    add(lk_alias_cache_ticket(mapped), 1, 1);
    assert_int_equal(find(1, 1), 1);
    lk_alias_cache_empty(NULL);
    lk_alias_cache_close(NULL);
}

/* Many readers and writers beside emptyings: what is found is what belongs there. And what was put in with a
 * ticket from before the last emptying is never there after it. */
enum { NAMES = 6000, THREADS = 4 };
static _Atomic uint64_t wrong;

static void meddle(void *shared, unsigned index)
{
    (void)shared;
    unit_random r = unit_random_new(100 + index);
    for (uint64_t i = unit_rounds(100000); i; i--) {
        uint64_t number = unit_below(&r, NAMES);
        if (index == 0 && i % 1000 == 0) lk_alias_cache_empty(mapped);
        if (unit_chance(&r, 50)) add(lk_alias_cache_ticket(mapped), number, number);
        else if (find(number, number) < 0) atomic_fetch_add(&wrong, 1);
    }
}

static void test_threads_find_nothing_wrong(void **state)
{
    (void)state;
    wrong = 0;
    uint64_t old = lk_alias_cache_ticket(mapped);
    unit_threads(THREADS, meddle, NULL);
    assert_int_equal(wrong, 0);
    lk_alias_cache_empty(mapped);
    for (uint64_t i = 0; i < NAMES; i++) {
        add(old, i, i);
        assert_int_equal(find(i, i), 0);
    }
}

static void test_J_a_child_sees_it_empty(void **state)
{
    (void)state;
    add(lk_alias_cache_ticket(mapped), 1, 1);
    assert_true(unit_mapping_has(lk_bucket_at(mapped, 0), "wf"));
    assert_int_equal(find(1, 1), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_was_put_in_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_it_keeps_the_newest, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_emptying_leaves_nothing_and_voids_tickets, setup, teardown),
        cmocka_unit_test_setup_teardown(test_threads_find_nothing_wrong, setup, teardown),
        cmocka_unit_test_setup_teardown(test_J_a_child_sees_it_empty, setup, teardown),
    };
    return cmocka_run_group_tests(tests, unit_setup, NULL);
}
