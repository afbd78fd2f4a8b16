/* SPDX-License-Identifier: MIT
 *
 * Bugs that were in what is kept beside the sessions: indexes, limits, fields and counts.
 */
#include "test_handle.h"

#include <stdio.h>
#include <string.h>

static size_t count_sessions(void) { return redis_count_keys(server, "lk:*:s:*"); }

/* Two quiet sessions are the oldest in the index of activity; what dies behind them is forgotten all the same. */
static void test_quiet_sessions_do_not_keep_the_dead_in_the_index(void **state)
{
    (void)state;
    enum { MANY = 3000, LONG = 600000 };
    latchkey *lk = handle_open(server, "partitions=1");
    char token[LATCHKEY_TOKEN_SIZE];
    for (uint64_t i = 0; i < 2; i++) make_session_with(lk, 1, LONG, LONG, NULL, 0, token);
    for (uint64_t i = 0; i < MANY; i++) make_session_with(lk, 2 + i, 100, LONG, NULL, 0, token);
    wait_for(count_sessions() == 2);
    for (uint64_t i = 0; i < MANY; i++) make_session_with(lk, 2 + i, LONG, LONG, NULL, 0, token);
    assert_int_equal(count_sessions(), 2 + MANY);
    assert_in_range(redis_integer(server, "ZCARD lk:{0}:a"), 2 + MANY, 2 + MANY + MANY / 2);
}

/* One login does not end more than 100 sessions, so that it does not stop Redis; a few logins reach the limit. */
static void test_lowered_limit_is_reached_by_a_hundred_at_a_time(void **state)
{
    (void)state;
    enum { MANY = 350, LIMIT = 5 };
    char tokens[MANY][LATCHKEY_TOKEN_SIZE], newest[LATCHKEY_TOKEN_SIZE];
    latchkey *lk = handle_open(server, "partitions=1");
    for (int i = 0; i < MANY; i++) make_session(lk, 1, tokens[i]);
    latchkey *strict = handle_open(server, "partitions=1&max_sessions=5");
    size_t before = MANY, logins = 0;
    while (before != LIMIT) {
        make_session(strict, 1, newest);
        size_t after = count_sessions();
        assert_in_range(after, before > 100 + LIMIT ? before + 1 - 100 : LIMIT, before);
        before = after;
        assert_true(++logins < 10);
    }
    make_session(strict, 1, newest);
    assert_int_equal(count_sessions(), LIMIT);
    assert_int_equal(redis_integer(server, "ZCARD lk:{0}:u:1"), LIMIT);
    assert_status(strict, LATCHKEY_OK, validate(strict, newest));
    for (int i = 0; i < MANY; i++) assert_status(strict, LATCHKEY_NOT_FOUND, validate(strict, tokens[i]));
}

static void test_malformed_counts_validates_alone(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    latchkey_record *record;
    latchkey_field field = {"note", "x", 1};
    latchkey_entry entry;
    assert_status(lk, LATCHKEY_MALFORMED, latchkey_revoke(lk, "x", 1));
    assert_status(lk, LATCHKEY_MALFORMED, latchkey_touch(lk, "x", 1));
    assert_status(lk, LATCHKEY_MALFORMED, latchkey_load(lk, "x", 1, &record));
    assert_status(lk, LATCHKEY_MALFORMED, latchkey_set_fields(lk, "x", 1, &field, 1));
    latchkey_stats stats = stats_of(lk);
    assert_int_equal(stats.malformed, 0);
    assert_int_equal(stats.validates, 0);
    assert_status(lk, LATCHKEY_MALFORMED, latchkey_validate(lk, "x", 1, &entry));
    assert_status(lk, LATCHKEY_MALFORMED, latchkey_try_validate(lk, "x", 1, &entry));
    stats = stats_of(lk);
    assert_int_equal(stats.malformed, 2);
    assert_int_equal(stats.validates, 2);
}

static void test_fills_count_what_l1_holds(void **state)
{
    (void)state;
    latchkey *without = handle_open(server, "l1_capacity=0"), *with = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE];
    size_t loaded;
    make_session(without, 1, token);
    for (int i = 0; i < 3; i++) assert_status(without, LATCHKEY_OK, validate(without, token));
    assert_status(without, LATCHKEY_OK, latchkey_prewarm(without, 10, &loaded));
    assert_int_equal(loaded, 0);
    assert_int_equal(stats_of(without).fills, 0);
    assert_int_equal(stats_of(without).fills_refused, 0);

    assert_status(with, LATCHKEY_OK, latchkey_prewarm(with, 10, &loaded));
    assert_int_equal(loaded, 1);
    assert_status(with, LATCHKEY_OK, latchkey_prewarm(with, 10, &loaded)); /* it is there already */
    assert_int_equal(loaded, 0);
    assert_int_equal(stats_of(with).fills, 1);
    assert_status(with, LATCHKEY_OK, try_validate(with, token));
}

static void test_one_field_for_another_where_no_more_fit(void **state)
{
    (void)state;
    enum { MOST = 256 };
    latchkey *lk = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE], names[MOST][16];
    latchkey_field fields[MOST];
    make_session(lk, 1, token);
    for (int i = 0; i < MOST; i++) {
        snprintf(names[i], sizeof names[i], "f%03d", i);
        fields[i] = (latchkey_field){names[i], "v", 1};
    }
    assert_status(lk, LATCHKEY_OK, latchkey_set_fields(lk, token, LATCHKEY_TOKEN_LENGTH, fields, MOST));
    const latchkey_field swap[] = {{"f000", NULL, 0}, {"g000", "w", 1}};
    assert_status(lk, LATCHKEY_OK, latchkey_set_fields(lk, token, LATCHKEY_TOKEN_LENGTH, swap, 2));
    /* One more is one too many, and deleting what is not there makes no room. */
    const latchkey_field more[] = {{"f000", NULL, 0}, {"h000", "w", 1}};
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_set_fields(lk, token, LATCHKEY_TOKEN_LENGTH, more, 2));
    latchkey_record *record;
    assert_status(lk, LATCHKEY_OK, latchkey_load(lk, token, LATCHKEY_TOKEN_LENGTH, &record));
    size_t size = 7;
    assert_null(latchkey_record_field(record, "f000", &size));
    assert_int_equal(size, 0);
    assert_non_null(latchkey_record_field(record, "g000", NULL));
    assert_null(latchkey_record_field(record, "h000", NULL));
    latchkey_record_free(record);
}

/* The shortest name that starts with "pq." is "pq." itself. */
static void test_the_field_pq_is_key_material(void **state)
{
    (void)state;
    static const uint8_t zero[32];
    latchkey *lk = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey_entry entry;
    const latchkey_field key = {"pq.", "abc", 3}, forged = {"pq.", "abd", 3};
    uint8_t hash[32];
    assert_int_equal(latchkey_key_hash(&key, 1, hash), LATCHKEY_OK);
    assert_memory_not_equal(hash, zero, sizeof hash);
    make_session_with(lk, 1, 0, 0, &key, 1, token);
    assert_status(lk, LATCHKEY_OK, latchkey_validate(lk, token, LATCHKEY_TOKEN_LENGTH, &entry));
    assert_memory_equal(entry.pq_key_hash, hash, sizeof hash);
    assert_int_equal(latchkey_check_keys(&entry, &key, 1), LATCHKEY_OK);
    assert_int_equal(latchkey_check_keys(&entry, &forged, 1), LATCHKEY_CORRUPT);
    char stored[128];
    redis_do(server, "HSET %s pq. abd", session_key(server, token, stored));
    assert_status(lk, LATCHKEY_CORRUPT, load(lk, token));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_quiet_sessions_do_not_keep_the_dead_in_the_index),
        TEST(test_lowered_limit_is_reached_by_a_hundred_at_a_time),
        TEST(test_malformed_counts_validates_alone),
        TEST(test_fills_count_what_l1_holds),
        TEST(test_one_field_for_another_where_no_more_fit),
        TEST(test_the_field_pq_is_key_material),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}
