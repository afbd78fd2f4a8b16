/* SPDX-License-Identifier: MIT
 *
 * A bug that was in L1's eviction: live entries made room while dead ones lay beside them.
 */
#include "base/clock.h"
#include "l1/l1.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

enum { CAPACITY = 10000, NOW = 500, DEAD = 5, ALIVE = 1 << 30 };

static void token_of(uint64_t i, char out[LATCHKEY_TOKEN_SIZE])
{
    char selector[LATCHKEY_SELECTOR_LENGTH + 1];
    unit_selector(i, selector);
    snprintf(out, LATCHKEY_TOKEN_SIZE, "%s%023llu", selector, (unsigned long long)i);
}

static void put(lk_l1 *l1, uint64_t i, int64_t deadline_ms, int64_t now_ms)
{
    static const latchkey_entry entry;
    char token[LATCHKEY_TOKEN_SIZE];
    token_of(i, token);
    lk_l1_put(l1, lk_l1_ticket(l1, token), token, token + LATCHKEY_SELECTOR_LENGTH, false, lk_l1_until(deadline_ms),
              now_ms, &entry);
}

static bool holds(lk_l1 *l1, uint64_t i)
{
    char token[LATCHKEY_TOKEN_SIZE];
    token_of(i, token);
    return lk_l1_holds(l1, token);
}

static void test_dead_entries_make_room_before_live_ones(void **state)
{
    (void)state;
    enum { MORE = 3000 };
    lk_l1 *l1 = lk_l1_open(CAPACITY, unit_seed());
    assert_non_null(l1);
    for (uint64_t i = 0; i < CAPACITY; i++) put(l1, i, i % 2 ? ALIVE : DEAD, 0);
    uint64_t before = lk_l1_read_stats(l1).evictions;
    unsigned live_before = 0, live_after = 0;
    for (uint64_t i = 1; i < CAPACITY; i += 2) live_before += holds(l1, i);
    /* Room for 3,000, and nearly 5,000 are dead. A sweep may be too short for one here and there. */
    for (uint64_t i = CAPACITY; i < CAPACITY + MORE; i++) put(l1, i, ALIVE, NOW);
    for (uint64_t i = 1; i < CAPACITY; i += 2) live_after += holds(l1, i);
    uint64_t evicted = lk_l1_read_stats(l1).evictions - before;
    lk_l1_close(l1);
    print_message("of %d live %u made room; evictions %d\n", live_before, live_before - live_after, (int)evicted);
    assert_in_range(live_before - live_after, 0, MORE / 30);
    assert_in_range(evicted, 0, MORE / 15);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dead_entries_make_room_before_live_ones),
    };
    return cmocka_run_group_tests(tests, unit_setup, NULL);
}
