/* SPDX-License-Identifier: MIT
 *
 * What an instance says of itself with each beat: written, read, and nonsense refused.
 */
#include "observe/beat_stats.h"
#include "unit.h"

#include <string.h>

static lk_beat_stats some(void)
{
    return (lk_beat_stats){.version = "0.1.0",
                           .host = "web-3.example",
                           .name = "check_out:7",
                           .pid = 4194304,
                           .uptime_ms = 3600000,
                           .hits = 181203,
                           .misses = 2410,
                           .refused = 7,
                           .reads = 2400,
                           .writes = 99,
                           .errors = 3,
                           .shed = 2,
                           .in_flight = 5,
                           .read_p50_us = 120,
                           .read_p99_us = 900,
                           .purges = 44,
                           .lag_p50_us = 210,
                           .lag_p99_us = 899,
                           .lease_age_ms = 501,
                           .entries = 70123,
                           .capacity = 100000,
                           .reconnects = 1,
                           .pending = 4};
}

static void test_what_is_written_is_read(void **state)
{
    (void)state;
    char text[LK_BEAT_STATS_SIZE];
    lk_beat_stats pulse = some(), read;
    size_t size = lk_beat_stats_write(&pulse, text);
    assert_int_equal(size, strlen(text));
    assert_true(lk_beat_stats_read(text, &read));
    assert_memory_equal(&pulse, &read, sizeof pulse);

    lk_beat_stats none = {.version = "12.34.56", .lease_age_ms = -1};
    lk_beat_stats_write(&none, text);
    assert_string_equal(text, "v=12.34.56 age=-1");
    assert_true(lk_beat_stats_read(text, &read));
    assert_memory_equal(&none, &read, sizeof none);
}

/* Of a cluster: how old the lease of each node is. What cannot be a node is passed over. */
static void test_nodes(void **state)
{
    (void)state;
    char text[LK_BEAT_STATS_SIZE];
    lk_beat_stats pulse = some(), read;
    for (int64_t i = 0; i < LK_BEAT_NODES; i++)
        pulse.node[pulse.nodes++] = (lk_beat_node){i ? 4095 - i : 0, i % 3 ? 10000 + i : -1};
    lk_beat_stats_write(&pulse, text);
    assert_true(lk_beat_stats_read(text, &read));
    assert_memory_equal(&pulse, &read, sizeof pulse);
    assert_true(lk_beat_stats_read("v=1.0 n=5 nx=6 n-1=5 n4096=7 n99999=8 name1=9 n7=1 n7=2 n0=0", &read));
    assert_int_equal(read.nodes, 2);
    assert_int_equal(read.node[0].partition, 7);
    assert_int_equal(read.node[0].lease_age_ms, 2);
    assert_int_equal(read.node[1].partition, 0);
}

/* A message is small whatever the numbers are. */
static void test_it_fits(void **state)
{
    (void)state;
    char text[LK_BEAT_STATS_SIZE];
    lk_beat_stats pulse = some(), read;
    for (size_t at = offsetof(lk_beat_stats, uptime_ms); at + 8 <= sizeof pulse; at += 8)
        memcpy((char *)&pulse + at, &(int64_t){INT64_MAX}, 8);
    memcpy(pulse.version, "999.999.999.999", 16);
    memset(pulse.host, 'h', sizeof pulse.host);
    memset(pulse.name, 'n', sizeof pulse.name);
    size_t size = lk_beat_stats_write(&pulse, text);
    assert_true(size < LK_BEAT_STATS_SIZE && size == strlen(text));
    assert_true(lk_beat_stats_read(text, &read));
    assert_int_equal(read.hits, INT64_C(9999999999999));
    assert_int_equal(strlen(read.host), 32);
    assert_int_equal(strlen(read.name), 32);
    /* As large as in years of the busiest service: nothing is left out. */
    pulse = some();
    memset(pulse.host, 'h', 32);
    memset(pulse.name, 'n', 32);
    pulse.uptime_ms = INT64_C(99999999999);
    pulse.hits = pulse.misses = pulse.refused = INT64_C(99999999999);
    pulse.reads = pulse.writes = pulse.purges = 9999999999;
    pulse.errors = pulse.shed = 99999999;
    pulse.entries = pulse.capacity = 100000000;
    pulse.read_p50_us = pulse.read_p99_us = pulse.lag_p50_us = pulse.lag_p99_us = 9999999;
    lk_beat_stats_write(&pulse, text);
    assert_true(lk_beat_stats_read(text, &read));
    assert_memory_equal(&pulse, &read, sizeof pulse);
}

/* What a newer version says more is passed over. */
static void test_unknown_numbers(void **state)
{
    (void)state;
    lk_beat_stats read;
    assert_true(lk_beat_stats_read("v=9.0.0 hit=5 colour=7 miss=6", &read));
    assert_int_equal(read.hits, 5);
    assert_int_equal(read.misses, 6);
    assert_string_equal(read.version, "9.0.0");
}

/* It is shown on a terminal: what did not come from us never gets there. */
static void test_nonsense_is_no_pulse(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",
                                        " ",
                                        "hello",
                                        "hit=5",
                                        "v=",
                                        "v=\x1b[2J",
                                        "v=1.0 hit=\x1b[2J",
                                        "v=1.0 hit=",
                                        "v=1.0 hit=-",
                                        "v=1.0 hit=12345678901234",
                                        "v=1.0 hit=0x1",
                                        "v=1.0 hit",
                                        "v=1.0.0.0.0.0.0.0.0",
                                        "v=1.0 hit=1 \n",
                                        "v=1.0 host=",
                                        "v=1.0 host=a\x1b[2J",
                                        "v=1.0 name=012345678901234567890123456789012"};
    lk_beat_stats read, zero;
    memset(&zero, 0, sizeof zero);
    for (size_t i = 0; i < UNIT_COUNT(wrong); i++) {
        if (lk_beat_stats_read(wrong[i], &read)) fail_msg("taken: %s", wrong[i]);
        assert_memory_equal(&read, &zero, sizeof read);
    }
    assert_true(lk_beat_stats_read("v=1.0 hit=-7", &read));
    assert_int_equal(read.hits, -1); /* every "less than nothing" is "there is none" */
}

static void test_any_bytes(void **state)
{
    (void)state;
    static const char alphabet[] = "v=1. -hitmsr50\x1b";
    unit_random r = unit_random_new(1);
    for (uint64_t i = unit_rounds(100000); i; i--) {
        char text[64];
        size_t size = unit_below(&r, sizeof text - 1);
        for (size_t k = 0; k < size; k++) text[k] = alphabet[unit_below(&r, sizeof alphabet - 1)];
        text[size] = 0;
        char *exact = unit_copy(text, size + 1);
        lk_beat_stats read;
        if (lk_beat_stats_read(exact, &read)) {
            assert_true(strspn(read.version, "0123456789.") == strlen(read.version) && read.version[0]);
            assert_true(read.hits >= -1);
        }
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_is_read),
        cmocka_unit_test(test_nodes),
        cmocka_unit_test(test_it_fits),
        cmocka_unit_test(test_unknown_numbers),
        cmocka_unit_test(test_nonsense_is_no_pulse),
        cmocka_unit_test(test_any_bytes),
    };
    return cmocka_run_group_tests_name("pulse", tests, unit_setup, NULL);
}
