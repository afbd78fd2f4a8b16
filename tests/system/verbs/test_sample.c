/* SPDX-License-Identifier: MIT
 *
 * latchkey_sample beside populations of which everything is known: exact where all are looked at, within three of its own
 * margins where not; what was deleted by hand, damaged or lost from the index is found; nothing is changed by it.
 */
#include "test_handle.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { USERS = 300, EACH = 4, SESSIONS = USERS * EACH, FIRST_USER = 1000, DEVICES = 3 };

static char token[SESSIONS][LATCHKEY_TOKEN_SIZE];

/* Session i is of user FIRST_USER + i / EACH, and of device i % DEVICES + 10. */
static void populate(latchkey *lk)
{
    const latchkey_field fields[] = {{"pq.k", "0123456789", 10}, {"note", "abc", 3}};
    for (int i = 0; i < SESSIONS; i++) {
        latchkey_draft draft = {.size = sizeof draft,
                                .user_id = (uint64_t)(FIRST_USER + i / EACH),
                                .device = (uint32_t)(i % DEVICES + 10),
                                .fields = fields,
                                .field_count = 2};
        assert_status(lk, LATCHKEY_OK, latchkey_create(lk, &draft, token[i]));
    }
}

static latchkey_population sample(latchkey *lk, size_t count)
{
    latchkey_population p;
    memset(&p, 0xff, sizeof p);
    assert_status(lk, LATCHKEY_OK, latchkey_sample(lk, count, &p, sizeof p));
    return p;
}

static char *key_of(int i, char key[128])
{
    snprintf(key, 128, "lk:{%u}:s:%.20s", token_partition(token[i]), token[i]);
    return key;
}

static uint64_t sum(const uint64_t span[LATCHKEY_SPANS])
{
    uint64_t all = 0;
    for (int s = 0; s < LATCHKEY_SPANS; s++) all += span[s];
    return all;
}

static void test_nobody(void **state)
{
    (void)state;
    latchkey_population p = sample(handle_open(server, "partitions=4"), 1000);
    assert_int_equal(p.exact, 1);
    assert_int_equal(p.sessions + p.indexed + p.users + p.peak + p.devices + p.damaged + p.unindexed, 0);
    assert_true(p.taken_at_ms > 0);
}

static void test_all_are_looked_at(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "partitions=4");
    char key[128];
    populate(lk);
    for (int i = 0; i < 25 * EACH; i++) assert_status(lk, LATCHKEY_OK, end_session(lk, token[i]));
    for (int i = 25 * EACH; i < 75 * EACH; i++) redis_do(server, "DEL %s", key_of(i, key));
    for (int i = 75 * EACH; i < 85 * EACH; i++) redis_do(server, "PEXPIRE %s 1", key_of(i, key));
    wait_for(!redis_integer(server, "EXISTS %s", key_of(85 * EACH - 1, key)));
    const uint64_t alive = SESSIONS - 85 * EACH;
    latchkey_population p = sample(lk, 100000);
    assert_int_equal(p.exact, 1);
    assert_int_equal(p.sessions, alive);
    assert_int_equal(p.sessions_margin, 0);
    assert_int_equal(p.indexed, SESSIONS - 25 * EACH);
    assert_int_equal(p.looked_at, p.indexed);
    assert_int_equal(p.living, alive);
    assert_int_equal(p.damaged, 0);
    assert_int_equal(p.users, USERS - 85);
    assert_int_equal(p.peak, SESSIONS);
    assert_true(p.peak_at_ms > p.taken_at_ms - 600000 && p.peak_at_ms <= p.taken_at_ms + 1000);
    assert_int_equal(p.devices, DEVICES);
    uint64_t of_devices = 0;
    for (int d = 0; d < DEVICES; d++) {
        assert_in_range(p.device[d].device, 10, 10 + DEVICES - 1);
        assert_in_range(p.device[d].sessions, alive / DEVICES, alive / DEVICES + 1);
        of_devices += p.device[d].sessions;
    }
    assert_int_equal(of_devices, alive);
    assert_int_equal(sum(p.age), alive);
    assert_int_equal(sum(p.idle), alive);
    assert_true(p.age_p50_ms >= p.idle_p50_ms);
}

/* Every session is alike here, so each size is known. */
static void test_sizes(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "partitions=4");
    char key[128], x[128];
    populate(lk);
    /* A hash that grew has its old table too, until some more commands have looked into it. */
    for (int i = 0; i < SESSIONS; i++)
        for (int looks = 0; looks < 16; looks++) redis_do(server, "HGET %s v", key_of(i, key));
    latchkey_population p = sample(lk, 100);
    key_of(0, key);
    uint64_t bytes = 1 + 184 + 1 + redis_text(server, x, sizeof x, "HGET %s x", key) + 1 + 1 + 4 + 10 + 4 + 3;
    assert_in_range(p.sized, 1, 256);
    assert_int_equal(p.fields_p50, 2);
    assert_int_equal(p.fields_p99, 2);
    assert_int_equal(p.record_p50_bytes, 184);
    assert_int_equal(p.session_p50_bytes, bytes);
    assert_int_equal(p.session_p99_bytes, bytes);
    assert_in_range(p.redis_p50_bytes, bytes, 4 * bytes);
    assert_int_equal(p.redis_p99_bytes, redis_integer(server, "MEMORY USAGE %s SAMPLES 0", key));
    assert_true(p.redis_mean_bytes >= bytes);
}

static void near(uint64_t estimate, uint64_t truth, uint64_t margin)
{
    uint64_t off = estimate > truth ? estimate - truth : truth - estimate;
    if (off > margin)
        fail_msg("%llu, in truth %llu, off by more than %llu", (unsigned long long)estimate, (unsigned long long)truth,
                 (unsigned long long)margin);
}

static void test_some_are_looked_at(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "partitions=16");
    char key[128];
    populate(lk);
    /* Of every user two of four sessions are gone, without the index' knowledge. */
    for (int i = 0; i < SESSIONS; i += 2) redis_do(server, "DEL %s", key_of(i, key));
    for (int round = 0; round < 5; round++) {
        latchkey_population p = sample(lk, 300);
        assert_int_equal(p.exact, 0);
        assert_int_equal(p.indexed, SESSIONS);
        assert_in_range(p.looked_at, 298, 302);
        assert_true(p.living <= p.looked_at);
        assert_in_range(p.sessions_margin, 1, SESSIONS / 4);
        near(p.sessions, SESSIONS / 2, 3 * p.sessions_margin); /* six standard deviations */
        near(sum(p.age), p.sessions, LATCHKEY_SPANS);
        uint64_t devices = 0;
        for (int d = 0; d < DEVICES; d++) devices += p.device[d].sessions;
        near(devices, p.sessions, DEVICES);
        /* Each found one has four by its user's index, of which two are dead: so users are counted by half. */
        near(p.users, USERS / 2, 3 * p.sessions_margin);
    }
}

static void test_users_are_estimated(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "partitions=16");
    populate(lk);
    latchkey_population p = sample(lk, 300);
    near(p.users, USERS, 3); /* all have the same number: nothing is left to chance but rounding */
    near(p.sessions, SESSIONS, 0);
}

static void test_times(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "partitions=4&idle_ms=1800000");
    char key[128];
    long long now = redis_integer(server, "EVAL %s 0", "local t = redis.call('TIME') return t[1] * 1000");
    populate(lk);
    for (int i = 0; i < SESSIONS; i++) {
        unsigned p = token_partition(token[i]);
        /* A tenth was made within ten minutes, and is in use; the rest is an hour and a half old, and idle for ten minutes. */
        long long age = i % 10 ? 5400000 : 60000 + i * 100, idle = i % 10 ? 600000 : 0;
        char created[8];
        for (int b = 0; b < 8; b++) created[b] = (char)((now - age) >> (8 * b));
        redis_do(server, "EVAL %s 1 %s %b",
                 "local v = redis.call('HGET', KEYS[1], 'v') "
                 "redis.call('HSET', KEYS[1], 'v', v:sub(1, 112) .. ARGV[1] .. v:sub(121))",
                 key_of(i, key), created, sizeof created);
        redis_do(server, "ZADD lk:{%d}:a %lld %b", (int)p, now - idle, token[i], (size_t)20);
    }
    latchkey_population p = sample(lk, 100000);
    assert_int_equal(p.sessions, SESSIONS);
    assert_int_equal(p.idle[2], SESSIONS / 10 * 9); /* 5 to 15 minutes */
    assert_int_equal(p.age[5], SESSIONS / 10 * 9);  /* 1 to 4 hours */
    assert_true(p.idle_p50_ms >= 600000 && p.idle_p50_ms < 900000);
    assert_true(p.age_p99_ms >= 5400000 && p.age_p50_ms < 9000000);
    assert_true(p.used_mean_ms >= 4320000 && p.used_mean_ms < 4800000); /* 9 of 10: 80 minutes; the others 2 */
    assert_int_equal(p.duration_mean_ms, 6000000);                      /* ten times as many as came in ten minutes */
}

static void test_what_is_damaged_or_lost_from_the_index(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "partitions=4");
    char key[128], renewed[LATCHKEY_TOKEN_SIZE];
    populate(lk);
    redis_do(server, "HSET %s v damaged", key_of(0, key));
    redis_do(server, "DEL %s", key_of(1, key));
    redis_do(server, "SET %s foreign", key);
    redis_do(server, "HDEL %s x", key_of(2, key));
    for (int i = 10; i < 30; i++)
        redis_do(server, "ZREM lk:{%d}:a %b", (int)token_partition(token[i]), token[i], (size_t)20);
    for (int i = 40; i < 47; i++)
        assert_status(lk, LATCHKEY_OK, latchkey_rotate(lk, token[i], LATCHKEY_TOKEN_LENGTH, 60000, renewed));
    redis_do(server, "SET other:key 1");
    redis_do(server, "ZADD lk:{0}:a 1 not-a-selector 2 AAAAAAAAAAAAAAAAAAAAA");
    long long keys = redis_integer(server, "DBSIZE");
    latchkey_population p = sample(lk, 100000);
    assert_int_equal(p.damaged, 3);
    assert_int_equal(p.sessions, SESSIONS - 3 - 20);
    assert_int_equal(p.unindexed, 20);
    assert_int_equal(p.old_tokens, 7);
    assert_in_range(p.keys, keys, redis_integer(server, "DBSIZE")); /* a first beat adds one */
    assert_int_equal(p.scanned, p.keys);
    /* Something else in an index' place costs that partition, and no more. */
    uint64_t before = p.sessions, in_2 = 0;
    for (int i = 0; i < SESSIONS; i++) in_2 += token_partition(token[i]) == 2;
    redis_do(server, "DEL lk:{2}:a");
    redis_do(server, "SET lk:{2}:a foreign");
    p = sample(lk, 100000);
    near(p.sessions, before - in_2, 23);
    assert_true(p.unindexed >= in_2 - 23);
}

/* Sessions that were ended all at once are not counted, though Redis still holds their keys. */
static void test_after_everybody_was_ended(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "partitions=4");
    char fresh[LATCHKEY_TOKEN_SIZE];
    populate(lk);
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_everyone(lk));
    latchkey_population p = sample(lk, 100000);
    assert_int_equal(p.sessions + p.users + p.unindexed + p.living, 0);
    assert_int_equal(p.peak, SESSIONS);
    for (int i = 0; i < 12; i++) make_session(lk, (uint64_t)(FIRST_USER + i / 3), fresh);
    p = sample(lk, 100000);
    assert_int_equal(p.sessions, 12);
    assert_int_equal(p.users, 4);
    assert_int_equal(p.unindexed, 0);
}

static void test_nothing_is_changed(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "partitions=4");
    populate(lk);
    /* Every key with its end, but for what the beats of the handle itself move. */
    static const char *const all = "EVAL %s 0";
    static const char *const digest =
        "local keys, all = redis.call('KEYS', '*'), {} table.sort(keys) "
        "for _, key in ipairs(keys) do if not key:find(':w$') then "
        "  local value = redis.call('TYPE', key).ok == 'hash' and redis.call('HGETALL', key) or {redis.call('DUMP', "
        "key)} "
        "  table.sort(value) " /* a hash has no order */
        "  all[#all + 1] = key .. table.concat(value, ' ') .. redis.call('PEXPIRETIME', key) "
        "end end "
        "return #all .. ' ' .. redis.sha1hex(table.concat(all))";
    char before[64], after[64];
    redis_do(server, "CONFIG SET rdbcompression no"); /* a value that is compressed twice has two dumps */
    redis_text(server, before, sizeof before, all, digest);
    assert_true(atoi(before) >= SESSIONS);
    sample(lk, 500);
    sample(lk, 5000);
    redis_text(server, after, sizeof after, all, digest);
    assert_string_equal(before, after);
    assert_int_equal(stats_of(lk).l2_errors, 0);
}

/* ---------------------------------------------------------------------------------------- when things go on */

static atomic_bool stop;

static void *live_and_die(void *handle)
{
    char mine[8][LATCHKEY_TOKEN_SIZE] = {""};
    for (uint64_t i = 0; !stop; i++) {
        latchkey_draft draft = {.size = sizeof draft, .user_id = i, .device = (uint32_t)i % 20};
        char *slot = mine[i % 8];
        if (*slot) latchkey_revoke(handle, slot, LATCHKEY_TOKEN_LENGTH);
        if (latchkey_create(handle, &draft, slot)) *slot = 0;
    }
    return NULL;
}

static void test_under_load(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "partitions=8");
    pthread_t thread[2];
    populate(lk);
    stop = false;
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&thread[i], NULL, live_and_die, lk), 0);
    for (int round = 0; round < 20; round++) {
        latchkey_population p;
        int status = latchkey_sample(lk, round % 2 ? 200 : 5000, &p, sizeof p);
        if (status || p.living > p.looked_at || p.damaged || p.sessions < SESSIONS - 200 ||
            p.sessions > SESSIONS + 200 || p.peak < SESSIONS) {
            stop = true;
            fail_msg("%d: %llu sessions, %llu living of %llu, %llu damaged", status, (unsigned long long)p.sessions,
                     (unsigned long long)p.living, (unsigned long long)p.looked_at, (unsigned long long)p.damaged);
        }
    }
    stop = true;
    for (int i = 0; i < 2; i++) pthread_join(thread[i], NULL);
}

static void test_redis_stands_still(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "partitions=4&deadline_ms=100&staleness_ms=60000");
    make_session(lk, 1, token[0]);
    redis_freeze(server);
    latchkey_population p, zero = {0};
    memset(&p, 0xff, sizeof p);
    int status = latchkey_sample(lk, 1000, &p, sizeof p);
    redis_thaw(server);
    assert_status(lk, LATCHKEY_UNAVAILABLE, status);
    assert_memory_equal(&p, &zero, sizeof p);
    wait_for(latchkey_sample(lk, 1000, &p, sizeof p) == LATCHKEY_OK);
    assert_int_equal(p.sessions, 1);
}

static void test_arguments(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "partitions=4");
    latchkey_population p;
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_sample(NULL, 1, &p, sizeof p));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_sample(lk, 0, &p, sizeof p));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_sample(lk, 1, NULL, sizeof p));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_sample(lk, 1, &p, 0));
    make_session(lk, 1, token[0]);
    uint64_t first[2] = {7, 7}; /* of a caller who knows only the beginning */
    assert_status(lk, LATCHKEY_OK, latchkey_sample(lk, SIZE_MAX, (latchkey_population *)(void *)first, 8));
    assert_int_equal(first[0], 1);
    assert_int_equal(first[1], 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_nobody),
        TEST(test_all_are_looked_at),
        TEST(test_sizes),
        TEST(test_some_are_looked_at),
        TEST(test_users_are_estimated),
        TEST(test_times),
        TEST(test_what_is_damaged_or_lost_from_the_index),
        TEST(test_after_everybody_was_ended),
        TEST(test_nothing_is_changed),
        TEST(test_under_load),
        TEST(test_redis_stands_still),
        TEST(test_arguments),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}
