/* SPDX-License-Identifier: MIT
 *
 * Bad input: what other programs wrote into Redis under our names. Never OK for what is not a whole record of this very
 * session, never NOT_FOUND for what is there and damaged; and a text that says what it was.
 */
#include "test_handle.h"

#include <stdio.h>
#include <string.h>

/* A session, its key, and a fresh handle that has it not in L1. */
typedef struct scene {
    latchkey *lk;
    char token[LATCHKEY_TOKEN_SIZE], key[128], v[256];
    size_t v_size;
} scene;

static scene set_scene(void)
{
    scene s;
    memset(&s, 0, sizeof s);
    latchkey *maker = handle_open(server, "");
    make_session(maker, 1, s.token);
    handle_close(maker);
    s.lk = handle_open(server, ""); /* its L1 does not hold it */
    session_key(server, s.token, s.key);
    s.v_size = redis_text(server, s.v, sizeof s.v, "HGET %s v", s.key);
    assert_int_equal(s.v_size, 184);
    return s;
}

static void assert_corrupt(scene *s, const char *what)
{
    uint64_t before = stats_of(s->lk).corrupt;
    int status = validate(s->lk, s->token);
    if (status != LATCHKEY_CORRUPT) fail_msg("%s: validate: %s", what, latchkey_status_text(status));
    status = load(s->lk, s->token);
    if (status != LATCHKEY_CORRUPT) fail_msg("%s: load: %s", what, latchkey_status_text(status));
    assert_int_equal(try_validate(s->lk, s->token), LATCHKEY_AGAIN);
    latchkey_stats stats = stats_of(s->lk);
    assert_true(stats.corrupt >= before + 2);
    assert_true(stats.last_error[0] != 0);
    assert_int_equal(stats.l1_entries, 0);
}

static void put(scene *s, const void *v, size_t size) { redis_do(server, "HSET %s v %b", s->key, v, size); }

static void test_truncated_and_lengthened_records_are_corrupt(void **state)
{
    (void)state;
    scene s = set_scene();
    char v[300], what[32];
    memset(v, 0, sizeof v);
    memcpy(v, s.v, s.v_size);
    for (size_t size = 0; size < 300; size += size < 190 ? 1 : 37) {
        if (size == 184) continue;
        put(&s, v, size);
        snprintf(what, sizeof what, "%zu bytes", size);
        assert_corrupt(&s, what);
    }
    put(&s, s.v, s.v_size);
    assert_status(s.lk, LATCHKEY_OK, validate(s.lk, s.token));
}

/* Every bit of format, magic, length and names; a changed one of the application's own bytes cannot be told. */
static void test_foreign_and_future_records_are_corrupt(void **state)
{
    (void)state;
    scene s = set_scene();
    const struct {
        size_t at;
        const char *what;
    } places[] = {{0, "magic"}, {1, "magic"},      {3, "reserved"},   {6, "age"},
                  {7, "age"},   {168, "selector"}, {182, "selector"}, {183, "last byte"}};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char v[184];
        memcpy(v, s.v, sizeof v);
        v[places[i].at] = (char)(v[places[i].at] ^ 1);
        put(&s, v, sizeof v);
        assert_corrupt(&s, places[i].what);
    }
    static const char json[] = "{\"user\":1}";
    put(&s, json, sizeof json - 1);
    assert_corrupt(&s, "json");
    char zeros[184] = {0};
    put(&s, zeros, sizeof zeros);
    assert_corrupt(&s, "zeros");
}

/* A newer version's record is nothing that this one may judge: never OK. */
static void test_future_versions_are_never_admitted(void **state)
{
    (void)state;
    scene s = set_scene();
    for (int version = 0; version < 256; version++) {
        char v[184];
        memcpy(v, s.v, sizeof v);
        v[2] = (char)version;
        put(&s, v, sizeof v);
        int status = validate(s.lk, s.token);
        if (version == 1) assert_status(s.lk, LATCHKEY_OK, status);
        else assert_status_in(s.lk, status, LATCHKEY_CORRUPT, LATCHKEY_NOT_FOUND);
        if (version == 1) {
            handle_close(s.lk); /* and out of L1 again */
            s.lk = handle_open(server, "");
        }
    }
}

static void test_E_other_verifier_in_the_record_refuses(void **state)
{
    (void)state;
    scene s = set_scene();
    for (size_t at = 136; at < 168; at++) {
        char v[184];
        memcpy(v, s.v, sizeof v);
        v[at] = (char)(v[at] ^ 0x80);
        put(&s, v, sizeof v);
        assert_status_in(s.lk, validate(s.lk, s.token), LATCHKEY_NOT_FOUND, LATCHKEY_CORRUPT);
        assert_int_not_equal(try_validate(s.lk, s.token), LATCHKEY_OK);
        assert_status_in(s.lk, load(s.lk, s.token), LATCHKEY_NOT_FOUND, LATCHKEY_CORRUPT);
        assert_status_in(s.lk, touch(s.lk, s.token), LATCHKEY_NOT_FOUND, LATCHKEY_CORRUPT);
        assert_status_in(s.lk, set_field(s.lk, s.token, "note", "x"), LATCHKEY_NOT_FOUND, LATCHKEY_CORRUPT);
        assert_status_in(s.lk, end_session(s.lk, s.token), LATCHKEY_NOT_FOUND, LATCHKEY_CORRUPT);
        assert_int_equal(redis_integer(server, "EXISTS %s", s.key), 1);
    }
}

static void test_E_swapped_records_are_corrupt(void **state)
{
    (void)state;
    scene s = set_scene();
    char other[LATCHKEY_TOKEN_SIZE], key[128];
    latchkey *maker = handle_open(server, "");
    make_session(maker, 666, other);
    /* The whole hash of another session, expiry and all, under this one's key. */
    redis_do(server, "COPY %s %s REPLACE", session_key(server, other, key), s.key);
    assert_corrupt(&s, "swapped");
    assert_status_in(s.lk, touch(s.lk, s.token), LATCHKEY_CORRUPT, LATCHKEY_NOT_FOUND);
    assert_status(s.lk, LATCHKEY_OK, validate(s.lk, other));
}

static void test_record_without_expiry_is_corrupt(void **state)
{
    (void)state;
    scene s = set_scene();
    redis_do(server, "PERSIST %s", s.key);
    assert_corrupt(&s, "no expiry");
    redis_do(server, "PEXPIRE %s 60000", s.key);
    assert_status(s.lk, LATCHKEY_OK, validate(s.lk, s.token));
}

static void test_record_without_its_fields_is_corrupt(void **state)
{
    (void)state;
    scene s = set_scene();
    redis_do(server, "HDEL %s v", s.key);
    /* The key is there, the record is not: "no", or damage. */
    assert_status_in(s.lk, validate(s.lk, s.token), LATCHKEY_NOT_FOUND, LATCHKEY_CORRUPT);
    assert_status_in(s.lk, load(s.lk, s.token), LATCHKEY_NOT_FOUND, LATCHKEY_CORRUPT);
    assert_status_in(s.lk, touch(s.lk, s.token), LATCHKEY_CORRUPT, LATCHKEY_NOT_FOUND);
    put(&s, s.v, s.v_size);
    redis_do(server, "HDEL %s x", s.key);
    assert_status_in(s.lk, touch(s.lk, s.token), LATCHKEY_CORRUPT);
    assert_status_in(s.lk, set_field(s.lk, s.token, "note", "x"), LATCHKEY_CORRUPT);
    const char *bad[] = {"",       "1", "1 2", "a b c", "1 2 3 4", "-1 2 3", "1 2 3\n", "99999999999999999999 1 1",
                         "1.5 2 3"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        redis_do(server, "HSET %s x %s", s.key, bad[i]);
        int status = touch(s.lk, s.token);
        assert_int_not_equal(status, LATCHKEY_UNAVAILABLE);
        assert_true(redis_integer(server, "PTTL %s", s.key) > 0); /* and never without an expiry */
    }
}

static void test_wrong_types_of_the_session_key_are_corrupt(void **state)
{
    (void)state;
    const char *makers[] = {"SET %s x", "RPUSH %s x", "SADD %s x", "ZADD %s 1 x", "XADD %s * a b"};
    for (size_t i = 0; i < sizeof makers / sizeof *makers; i++) {
        scene s = set_scene();
        redis_do(server, "DEL %s", s.key);
        redis_do(server, makers[i], s.key);
        redis_do(server, "PEXPIRE %s 60000", s.key);
        assert_corrupt(&s, makers[i]);
        assert_status(s.lk, LATCHKEY_CORRUPT, touch(s.lk, s.token));
        assert_status(s.lk, LATCHKEY_CORRUPT, set_field(s.lk, s.token, "note", "x"));
        assert_status(s.lk, LATCHKEY_CORRUPT, set_field(s.lk, s.token, "pq.k", "x"));
        assert_status_in(s.lk, end_session(s.lk, s.token), LATCHKEY_CORRUPT, LATCHKEY_NOT_FOUND);
        assert_int_equal(stats_of(s.lk).pending, 0);
        handle_close(s.lk);
    }
}

/* Whatever lies under the names of the indexes: sessions are still ended, and every key keeps its expiry. */
static void wrong_index(const char *suffix, const char *maker)
{
    latchkey *lk = handle_open(server, "partitions=1&prefix=p1&max_sessions=5");
    char token[LATCHKEY_TOKEN_SIZE], again[LATCHKEY_TOKEN_SIZE], name[64], key[128];
    latchkey_draft draft = {.size = sizeof draft, .user_id = 7, .generation = 1};
    make_session(lk, 7, token);
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
    snprintf(name, sizeof name, "p1:{0}:%s", suffix);
    redis_do(server, "DEL %s", name);
    redis_do(server, maker, name);

    /* A create says that something is wrong, or makes a whole session. It leaves nothing without an expiry. */
    int status = latchkey_create(lk, &draft, again);
    assert_status_in(lk, status, LATCHKEY_OK, LATCHKEY_REFUSED, LATCHKEY_CORRUPT, LATCHKEY_UNAVAILABLE);
    if (status < 0) assert_true(stats_of(lk).last_error[0] != 0);
    size_t count;
    char **keys = redis_keys(server, "p1:{0}:s:*", &count);
    for (size_t i = 0; i < count; i++) assert_true(redis_integer(server, "PTTL %s", keys[i]) > 0);
    redis_free_keys(keys);

    /* Ending the session is what must work: here at once, and in Redis. */
    status = end_session(lk, token);
    assert_status_in(lk, status, LATCHKEY_OK, LATCHKEY_CORRUPT, LATCHKEY_PENDING);
    assert_int_not_equal(validate(lk, token), LATCHKEY_OK);
    assert_string_equal(session_key(server, token, key), "");
    redis_do(server, "FLUSHALL");
    handle_close(lk);
}

static int submitted(latchkey *lk, const char *token)
{
    latchkey_answer answer = {.status = LATCHKEY_OK};
    assert_status(lk, LATCHKEY_OK, latchkey_submit(lk, token, strlen(token), 5));
    wait_for(latchkey_reap(lk, &answer, 1) == 1);
    return answer.status;
}

/* What another program made larger than anything of a session: whatever reads it says what is wrong and how to end it. No
 * connection is lost by it, so no other call has to be repeated, and the link is not away. */
static void test_A_more_than_a_session_can_have(void **state)
{
    (void)state;
    static const char *const makers[] = {
        "return redis.call('HSET', KEYS[1], 'other', string.rep('x', 26214400))",
        "for i = 1, 5000 do redis.call('HSET', KEYS[1], 'other' .. i, 'x') end return 0",
        "return redis.call('HSET', KEYS[1], 'v', string.rep('x', 26214400))",
        "return redis.call('SET', KEYS[1] .. ':notes', string.rep('x', 26214400))",
    };
    for (size_t i = 0; i < sizeof makers / sizeof *makers; i++) {
        scene s = set_scene();
        handle_close(s.lk);
        latchkey *lk = handle_open(server, "deadline_ms=20000&connections=1&foreign_until_ms=4102444800000");
        char text[256], beside[LATCHKEY_TOKEN_SIZE];
        size_t size;
        int found;
        make_session(lk, 1, beside);
        assert_status(lk, LATCHKEY_OK, latchkey_section_put(lk, s.token, strlen(s.token), "notes", "x", 1));
        redis_do(server, "EVAL %s 1 %s", makers[i], s.key);
        latchkey_stats before = stats_of(lk);
        int fits = i < 2 ? LATCHKEY_OK : i == 2 ? LATCHKEY_CORRUPT : LATCHKEY_OK;
        assert_status(lk, fits, submitted(lk, s.token));
        assert_status(lk, fits, validate(lk, s.token));
        assert_status(lk, i < 3 ? LATCHKEY_CORRUPT : LATCHKEY_OK, load(lk, s.token));
        if (i >= 2)
            assert_status(lk, LATCHKEY_CORRUPT,
                          latchkey_section_get(lk, s.token, strlen(s.token), "notes", NULL, 0, &size, &found));
        assert_status(lk, LATCHKEY_OK, latchkey_error_text(lk, text, sizeof text));
        assert_contains(text, "24 MiB, 8,192 values");
        assert_contains(text, "latchkey_revoke_selector ends it");
        assert_contains(stats_of(lk).last_error, "24 MiB");
        latchkey_stats stats = stats_of(lk);
        assert_true(stats.corrupt > before.corrupt);
        assert_int_equal(stats.retries, before.retries);
        assert_int_equal(stats.reconnects, before.reconnects);
        assert_status(lk, LATCHKEY_OK, load(lk, beside));
        latchkey_session_info listed[LATCHKEY_SESSIONS_MAX];
        assert_status(lk, LATCHKEY_OK,
                      latchkey_sessions(lk, 1, beside, strlen(beside), listed, LATCHKEY_SESSIONS_MAX, &size));
        assert_true(size >= 1);
        assert_status(lk, LATCHKEY_OK, latchkey_revoke_selector(lk, 1, s.token));
        assert_status(lk, LATCHKEY_NOT_FOUND, load(lk, s.token));
        handle_close(lk);
    }
}

static void test_wrong_types_of_indexes_do_not_keep_sessions_alive(void **state)
{
    (void)state;
    static const char *const suffixes[] = {"u:7", "a", "q", "r", "g:7"};
    static const char *const makers[] = {"SET %s x", "RPUSH %s x", "HSET %s a b", "ZADD %s 1 x"};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
        for (size_t j = 0; j < sizeof makers / sizeof *makers; j++) {
            print_message("        %s: %s\n", suffixes[i], makers[j]);
            wrong_index(suffixes[i], makers[j]);
        }
}

static void test_counter_that_was_lost_goes_on(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "partitions=1&prefix=p1&staleness_ms=400");
    latchkey *other = handle_open(server, "partitions=1&prefix=p1&staleness_ms=400");
    char token[LATCHKEY_TOKEN_SIZE];
    for (int i = 0; i < 5; i++) {
        make_session(lk, 1, token);
        assert_status(lk, LATCHKEY_OK, end_session(lk, token));
    }
    redis_do(server, "DEL p1:{0}:q");
    for (int i = 0; i < 3; i++) {
        make_session(lk, 1, token);
        assert_status(other, LATCHKEY_OK, validate(other, token));
        assert_status(lk, LATCHKEY_OK, end_session(lk, token));
        wait_for(validate(other, token) == LATCHKEY_NOT_FOUND);
    }
    redis_do(server, "DEL p1:{0}:r");
    make_session(lk, 1, token);
    assert_status(lk, LATCHKEY_OK, end_session(lk, token));
    redis_do(server, "FLUSHALL");
    wait_for(stats_of(other).empties >= 1);
    make_session(lk, 1, token);
    wait_for(validate(other, token) == LATCHKEY_OK);
    assert_status(lk, LATCHKEY_OK, end_session(lk, token));
    wait_for(validate(other, token) == LATCHKEY_NOT_FOUND);
}

/* Other programs' messages on our channels. */
static void test_foreign_messages_are_survived(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "partitions=1&prefix=p1&staleness_ms=1000");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 1, token);
    static const char *const messages[] = {"",
                                           " ",
                                           "x",
                                           "1",
                                           "0 AAAAAAAAAAAAAAAAAAAA",
                                           "-1 AAAAAAAAAAAAAAAAAAAA",
                                           "18446744073709551615 AAAAAAAAAAAAAAAAAAAA",
                                           "99999999999999999999999 A",
                                           "5 short",
                                           "6 AAAAAAAAAAAAAAAAAAAA BBBBBBBBBBBBBBBBBBBB @",
                                           "7 @@@@",
                                           "8 @-5",
                                           "9 AAAAAAAAAAAAAAAAAAA\xff @99999999999999999999",
                                           "10  AAAAAAAAAAAAAAAAAAAA"};
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) {
        redis_do(server, "PUBLISH p1:{0}:rev %s", messages[i]);
        wait_for(validate(lk, token) == LATCHKEY_OK);
    }
    char *huge = calloc(1, 300000);
    memset(huge, 'A', 299999);
    redis_do(server, "PUBLISH p1:{0}:rev %s", huge);
    free(huge);
    wait_for(validate(lk, token) == LATCHKEY_OK);
    /* And real ones are heard as before. */
    latchkey *other = handle_open(server, "partitions=1&prefix=p1");
    wait_for(stats_of(lk).connected == 1);
    wait_for(validate(lk, token) == LATCHKEY_OK && try_validate(lk, token) == LATCHKEY_OK);
    assert_status(other, LATCHKEY_OK, end_session(other, token));
    wait_for(try_validate(lk, token) != LATCHKEY_OK);
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, token));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_truncated_and_lengthened_records_are_corrupt),
        TEST(test_foreign_and_future_records_are_corrupt),
        TEST(test_future_versions_are_never_admitted),
        TEST(test_E_other_verifier_in_the_record_refuses),
        TEST(test_E_swapped_records_are_corrupt),
        TEST(test_record_without_expiry_is_corrupt),
        TEST(test_record_without_its_fields_is_corrupt),
        TEST(test_wrong_types_of_the_session_key_are_corrupt),
        TEST(test_A_more_than_a_session_can_have),
        TEST(test_wrong_types_of_indexes_do_not_keep_sessions_alive),
        TEST(test_counter_that_was_lost_goes_on),
        TEST(test_foreign_messages_are_survived),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}
