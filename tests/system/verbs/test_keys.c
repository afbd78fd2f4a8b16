/* SPDX-License-Identifier: MIT
 *
 * What stands in Redis: the names of the keys, the record's bytes, expiries on everything that must have one, indexes
 * that do not outlive what they point to, and nowhere anything that could be presented as a token (F).
 */
#include "test_handle.h"

#include <stdio.h>
#include <string.h>

static void test_keys_are_named_as_designed(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE], other[LATCHKEY_TOKEN_SIZE], name[128], key[128];
    make_session(lk, 77, token);
    make_session(lk, 77, other);
    unsigned p = token_partition(token);
    assert_true(p < 64);
    assert_int_equal(token_partition(other), p); /* all of a user in one partition */

    snprintf(name, sizeof name, "lk:{%u}:s:%.20s", p, token);
    assert_string_equal(session_key(server, token, key), name);
    char type[16];
    redis_text(server, type, sizeof type, "TYPE %s", name);
    assert_string_equal(type, "hash");
    assert_int_equal(redis_integer(server, "ZCARD lk:{%d}:u:77", (int)p), 2);
    assert_int_equal(redis_integer(server, "ZCARD lk:{%d}:a", (int)p), 2);
    redis_text(server, type, sizeof type, "ZSCORE lk:{%d}:u:77 %b", (int)p, token, (size_t)20);
    assert_true(type[0] != 0);

    assert_status(lk, LATCHKEY_OK, end_session(lk, token));
    assert_false(redis_integer(server, "EXISTS %s", name));
    assert_int_equal(redis_integer(server, "GET lk:{%d}:q", (int)p), 1);
    assert_int_equal(redis_integer(server, "XLEN lk:{%d}:r", (int)p), 1);
    assert_int_equal(redis_integer(server, "ZCARD lk:{%d}:u:77", (int)p), 1);
    assert_int_equal(redis_integer(server, "ZCARD lk:{%d}:a", (int)p), 1);
    assert_int_equal(redis_integer(server, "EXISTS lk:{0}:m"), 1);

    /* There is nothing else. */
    size_t count;
    char **keys = redis_keys(server, "*", &count);
    for (size_t i = 0; i < count; i++) {
        unsigned in;
        char kind;
        if (sscanf(keys[i], "lk:{%u}:%c", &in, &kind) != 2 || !strchr("suqragm", kind)) fail_msg("%s", keys[i]);
    }
    redis_free_keys(keys);
}

static void test_users_spread_over_partitions(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "partitions=4&prefix=four");
    char token[LATCHKEY_TOKEN_SIZE];
    int seen[4] = {0};
    for (uint64_t user = 1; user <= 200; user++) {
        make_session(lk, user, token);
        assert_true(token_partition(token) < 4);
        seen[token_partition(token)]++;
    }
    for (int i = 0; i < 4; i++) assert_true(seen[i] > 10);
}

static void test_record_bytes_are_the_documented_ones(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "idle_ms=600000");
    char token[LATCHKEY_TOKEN_SIZE], key[128], v[256], x[64], wanted[96];
    unsigned char raw[32];
    latchkey_entry l1, l2;
    make_session(lk, 0x0102030405060708, token);
    token_bytes(token, raw);
    session_key(server, token, key);
    assert_int_equal(redis_text(server, v, sizeof v, "HGET %s v", key), 184);
    assert_memory_equal(v, "LK\1\0\0\0\0\0", 8);
    assert_memory_equal(v + 8, "\xc0\x27\x09\0\0\0\0\0", 8); /* 600,000, little-endian */
    assert_memory_equal(v + 16, "\x08\x07\x06\x05\x04\x03\x02\x01", 8);
    assert_memory_equal(v + 168, raw, 15);
    assert_int_equal(v[183], 0);

    /* The same 120 bytes from L1, from Redis, in the record, and in the whole record. */
    latchkey *fresh = handle_open(server, "");
    latchkey_record *record;
    assert_status(lk, LATCHKEY_OK, latchkey_validate(fresh, token, LATCHKEY_TOKEN_LENGTH, &l2));
    assert_int_equal(stats_of(fresh).l1_hits, 0);
    assert_status(lk, LATCHKEY_OK, latchkey_try_validate(fresh, token, LATCHKEY_TOKEN_LENGTH, &l1));
    assert_int_equal(stats_of(fresh).l1_hits, 1);
    assert_status(lk, LATCHKEY_OK, latchkey_load(fresh, token, LATCHKEY_TOKEN_LENGTH, &record));
    assert_memory_equal(&l1, v + 16, 120);
    assert_memory_equal(&l2, v + 16, 120);
    assert_memory_equal(latchkey_record_entry(record), v + 16, 120);
    latchkey_record_free(record);

    redis_text(server, x, sizeof x, "HGET %s x", key);
    snprintf(wanted, sizeof wanted, "600000 %lld 72623859790382856", (long long)l1.expires_at_ms);
    assert_string_equal(x, wanted);
}

static void test_nothing_but_counters_lives_for_ever(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "max_sessions=3");
    char tokens[40][LATCHKEY_TOKEN_SIZE];
    for (size_t i = 0; i < 40; i++) {
        make_session(lk, 1 + i % 8, tokens[i]);
        validate(lk, tokens[i]);
        touch(lk, tokens[i]);
        if (i % 5 == 0) end_session(lk, tokens[i]);
        set_field(lk, tokens[i], "note", "x");
        set_field(lk, tokens[i], "pq.k", "x");
        if (i % 7 == 0) end_session(lk, tokens[i / 2]);
    }
    size_t count;
    char **keys = redis_keys(server, "*", &count);
    assert_true(count > 10);
    for (size_t i = 0; i < count; i++) {
        char kind = strchr(keys[i], '}')[2];
        long long ttl = redis_integer(server, "PTTL %s", keys[i]);
        if (strchr("qrgmw", kind)) continue;
        if (ttl <= 0) fail_msg("%s has no expiry", keys[i]);
    }
    redis_free_keys(keys);
}

static void test_session_expiry_is_idle_and_never_past_the_absolute(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    char idle[LATCHKEY_TOKEN_SIZE], both[LATCHKEY_TOKEN_SIZE], key[128];
    latchkey_entry entry;
    make_session_with(lk, 1, 500000, 5000000, NULL, 0, idle);
    make_session_with(lk, 1, 5000000, 500000, NULL, 0, both);
    assert_status(lk, LATCHKEY_OK, latchkey_validate(lk, idle, LATCHKEY_TOKEN_LENGTH, &entry));
    long long at = redis_integer(server, "PEXPIRETIME %s", session_key(server, idle, key));
    assert_in_range(at, entry.created_at_ms + 500000 - 1000, entry.created_at_ms + 500000 + CHECK_PATIENCE_MS);
    assert_int_equal(entry.expires_at_ms, entry.created_at_ms + 5000000);
    assert_status(lk, LATCHKEY_OK, latchkey_validate(lk, both, LATCHKEY_TOKEN_LENGTH, &entry));
    at = redis_integer(server, "PEXPIRETIME %s", session_key(server, both, key));
    assert_true(at <= entry.expires_at_ms);
    assert_true(at >= entry.expires_at_ms - 1000);
    assert_status(lk, LATCHKEY_OK, touch(lk, both));
    assert_true(redis_integer(server, "PEXPIRETIME %s", key) <= entry.expires_at_ms);
}

static long long expires(const char *key) { return redis_integer(server, "PEXPIRETIME %s", key); }

static void test_indexes_do_not_outlive_sessions(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "partitions=1&prefix=p1");
    char tokens[3][LATCHKEY_TOKEN_SIZE], later[4][LATCHKEY_TOKEN_SIZE], key[128];
    const int64_t idle[3] = {1000, 300000, 200000};
    long long longest = 0;
    for (int i = 0; i < 3; i++) {
        make_session_with(lk, 5, idle[i], 0, NULL, 0, tokens[i]);
        long long at = expires(session_key(server, tokens[i], key));
        if (at > longest) longest = at;
    }
    assert_true(expires("p1:{0}:u:5") <= longest);
    /* The partition's lives for a quarter of an idle time longer, so that the next session need not prolong it. */
    assert_true(expires("p1:{0}:a") <= longest + 300000 / 4);
    assert_true(expires("p1:{0}:u:5") > 0);
    assert_true(expires("p1:{0}:a") > 0);

    /* One idles out. The next login trims the user's index. The partition's is trimmed by every fourth. */
    wait_for(redis_integer(server, "EXISTS p1:{0}:s:%b", tokens[0], (size_t)20) == 0);
    assert_status(lk, LATCHKEY_OK, end_session(lk, tokens[2]));
    int made = 0;
    do {
        make_session_with(lk, 5, 300000, 0, NULL, 0, later[made++]);
        assert_int_equal(redis_integer(server, "ZCARD p1:{0}:u:5"), 1 + made);
    } while (made < 4 && redis_integer(server, "ZCARD p1:{0}:a") > 1 + made);
    assert_int_equal(redis_integer(server, "ZCARD p1:{0}:a"), 1 + made);

    /* With the last sessions the indexes go. */
    assert_status(lk, LATCHKEY_OK, end_session(lk, tokens[1]));
    while (made) assert_status(lk, LATCHKEY_OK, end_session(lk, later[--made]));
    assert_int_equal(redis_integer(server, "EXISTS p1:{0}:u:5"), 0);
    assert_int_equal(redis_integer(server, "EXISTS p1:{0}:a"), 0);
}

static void test_indexes_vanish_with_idle_sessions(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "idle_ms=500");
    char token[LATCHKEY_TOKEN_SIZE];
    for (uint64_t user = 1; user <= 10; user++) make_session(lk, user, token);
    size_t count = 1;
    do {
        char **keys = redis_keys(server, "lk:*:[sua]*", &count);
        redis_free_keys(keys);
        check_pause();
    } while (count); /* ctest's timeout is the limit */
}

static void test_revocation_log_is_bounded(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "partitions=1&prefix=p1");
    char token[LATCHKEY_TOKEN_SIZE];
    for (int i = 0; i < 50; i++) {
        make_session(lk, 1, token);
        assert_status(lk, LATCHKEY_OK, end_session(lk, token));
    }
    assert_int_equal(redis_integer(server, "GET p1:{0}:q"), 50);
    assert_true(redis_integer(server, "XLEN p1:{0}:r") >= 50);
    /* Far more than it may hold: the stream stays small. */
    for (int i = 0; i < 3000; i++) {
        make_session(lk, 1, token);
        assert_status(lk, LATCHKEY_OK, end_session(lk, token));
    }
    assert_true(redis_integer(server, "MEMORY USAGE p1:{0}:r SAMPLES 0") < 4 * 1024 * 1024);
}

/* ------------------------------------------------------------------------------------------------ F -- */

/* Does any of these bytes give the token away: whole, its verifier as text, raw, or in hexadecimal? */
static void assert_no_secret(const char *where, const void *data, size_t size, const char *token)
{
    unsigned char raw[32];
    char hex[2 * 17 + 1];
    token_bytes(token, raw);
    for (int i = 0; i < 17; i++) snprintf(hex + 2 * i, 3, "%02x", raw[15 + i]);
    /* A piece of the secret is as bad as half of it: look for 12 characters, 9 bytes. */
    if (check_find(data, size, token + 20, 12) || check_find(data, size, token + 31, 12) ||
        check_find(data, size, raw + 15, 9) || check_find(data, size, raw + 23, 9) || check_find(data, size, hex, 18) ||
        check_find(data, size, hex + 16, 18))
        fail_msg("%s holds the secret part of a token", where);
}

static void test_F_no_token_at_rest_or_on_the_wire(void **state)
{
    (void)state;
    redis *kept = redis_start("--appendonly", "yes", "--appendfsync", "always", "--aof-use-rdb-preamble", "no",
                              "--rdbcompression", "no", "--slowlog-log-slower-than", "0", "--loglevel", "debug");
    char tokens[6][LATCHKEY_TOKEN_SIZE], metrics[65536], error[256];
    size_t needed, size;
    redis_watch *watch = redis_watch_start(kept);
    latchkey *lk = handle_open(kept, "deadline_ms=10000&staleness_ms=200");
    const latchkey_field keys[] = {{"pq.mlkem768", "public", 6}, {"note", "n", 1}};
    for (int i = 0; i < 6; i++) {
        make_session_with(lk, 1, 0, 0, keys, 2, tokens[i]);
        assert_status(lk, LATCHKEY_OK, validate(lk, tokens[i]));
        assert_status(lk, LATCHKEY_OK, touch(lk, tokens[i]));
        assert_status(lk, LATCHKEY_OK, load(lk, tokens[i]));
        assert_status(lk, LATCHKEY_OK, set_field(lk, tokens[i], "pq.mlkem768", "other"));
        if (i % 2) assert_status(lk, LATCHKEY_OK, end_session(lk, tokens[i]));
    }
    latchkey *second = handle_open(kept, "");
    size_t loaded;
    assert_status(second, LATCHKEY_OK, latchkey_prewarm(second, 10, &loaded));
    assert_int_equal(loaded, 3);

    redis_do(kept, "SAVE");
    char *seen = redis_watch_end(watch, &size);
    for (int i = 0; i < 6; i++) assert_no_secret("MONITOR", seen, size, tokens[i]);
    assert_true(strstr(seen, "PUBLISH") || strstr(seen, "publish"));
    free(seen);

    unsigned char *files = redis_files(kept, &size);
    assert_true(size > 1000);
    assert_true(check_find(files, size, tokens[0], 20)); /* the selector is there: these are the right files */
    for (int i = 0; i < 6; i++) assert_no_secret("RDB, AOF or log", files, size, tokens[i]);
    free(files);

    assert_status(lk, LATCHKEY_OK, latchkey_metrics(lk, metrics, sizeof metrics, &needed));
    for (int i = 0; i < 6; i++) assert_no_secret("metrics", metrics, strlen(metrics), tokens[i]);

    /* Trouble of several kinds, and what is said about it. */
    char key[128];
    redis_do(kept, "HSET %s v broken", session_key(kept, tokens[0], key));
    latchkey *other = handle_open(kept, "l1_capacity=0&deadline_ms=2000");
    assert_status(other, LATCHKEY_CORRUPT, validate(other, tokens[0]));
    latchkey_stats stats = stats_of(other);
    assert_no_secret("last_error", stats.last_error, strlen(stats.last_error), tokens[0]);
    redis_kill(kept);
    assert_status(other, LATCHKEY_UNAVAILABLE, validate(other, tokens[2]));
    assert_status(other, LATCHKEY_PENDING, end_session(other, tokens[2]));
    stats = stats_of(other);
    assert_true(stats.last_error[0] != 0);
    assert_no_secret("last_error", stats.last_error, strlen(stats.last_error), tokens[2]);
    latchkey *none;
    char config[256];
    snprintf(config, sizeof config, "unix://%s?check_key_file=%s", kept->socket, tokens[1]);
    assert_status(NULL, LATCHKEY_CONFIG, latchkey_open(config, &none, error, sizeof error));
    handle_close_all(NULL);
    redis_end(kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_keys_are_named_as_designed),
        TEST(test_users_spread_over_partitions),
        TEST(test_record_bytes_are_the_documented_ones),
        TEST(test_nothing_but_counters_lives_for_ever),
        TEST(test_session_expiry_is_idle_and_never_past_the_absolute),
        TEST(test_indexes_do_not_outlive_sessions),
        TEST(test_indexes_vanish_with_idle_sessions),
        TEST(test_revocation_log_is_bounded),
        TEST(test_F_no_token_at_rest_or_on_the_wire),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}
