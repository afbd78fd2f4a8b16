/* SPDX-License-Identifier: MIT
 *
 * Some fields of a session alone, their versions, and changes that happen only if no other was faster.
 */
#include "test_handle.h"
#include "threads.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { USER = 42, LENGTH = LATCHKEY_TOKEN_LENGTH, LONG = 600000, FIELD_MOST = 64 * 1024 };

typedef char token_text[LATCHKEY_TOKEN_SIZE];

static const latchkey_field fields[] = {
    {"theme", "dark", 4}, {"cart", "three pears", 11}, {"empty", "", 0}, {"pq.a", "key a", 5}, {"pq.b", "key b", 5},
};
enum { FIELDS = sizeof fields / sizeof *fields };

static latchkey_record *get(latchkey *lk, const char *token, const char *const *names, size_t count)
{
    latchkey_record *record;
    assert_status(lk, LATCHKEY_OK, latchkey_get_fields(lk, token, LENGTH, names, count, &record));
    assert_non_null(record);
    return record;
}
#define GET(lk, token, ...)                                                                                            \
    get(lk, token, (const char *const[]){__VA_ARGS__}, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *))

static int try_get(latchkey *lk, const char *token, const char *name)
{
    latchkey_record *record;
    int status = latchkey_get_fields(lk, token, LENGTH, &name, 1, &record);
    if (status) assert_null(record);
    latchkey_record_free(record);
    return status;
}

static uint64_t version_of(latchkey *lk, const char *token, const char *name)
{
    latchkey_record *record = get(lk, token, &name, 1);
    uint64_t version = latchkey_record_version(record, name);
    latchkey_record_free(record);
    return version;
}

static int change(latchkey *lk, const char *token, const char *name, const char *text, uint64_t version)
{
    const latchkey_change one = {name, text, text ? strlen(text) : 0, version};
    return latchkey_change_fields(lk, token, LENGTH, &one, 1);
}

static void assert_text(const latchkey_record *record, const char *name, const char *text)
{
    size_t size = 77;
    const void *data = latchkey_record_field(record, name, &size);
    if (!text) {
        assert_null(data);
        assert_int_equal(size, 0);
        assert_true(latchkey_record_version(record, name) == 0);
        return;
    }
    assert_non_null(data);
    assert_int_equal(size, strlen(text));
    assert_memory_equal(data, text, size);
    assert_true(latchkey_record_version(record, name) != 0);
}

static void assert_field(latchkey *lk, const char *token, const char *name, const char *text)
{
    latchkey_record *record = get(lk, token, &name, 1);
    assert_text(record, name, text);
    latchkey_record_free(record);
}

/* ------------------------------------------------------------------------------------------------------ reading -- */

static void test_what_is_asked_for_and_nothing_else(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    token_text token;
    latchkey_entry entry;
    make_session_with(lk, USER, 0, 0, fields, FIELDS, token);
    assert_status(lk, LATCHKEY_OK, latchkey_validate(lk, token, LENGTH, &entry));
    latchkey_record *record = GET(lk, token, "cart", "empty", "never.there", "cart");
    assert_text(record, "cart", "three pears");
    assert_text(record, "empty", "");
    assert_text(record, "never.there", NULL);
    assert_text(record, "theme", NULL);
    assert_text(record, "pq.a", NULL);
    assert_memory_equal(latchkey_record_entry(record), &entry, sizeof entry);
    latchkey_record_free(record);
    record = GET(lk, token, "pq.b", "theme");
    assert_text(record, "pq.b", "key b");
    assert_text(record, "theme", "dark");
    assert_text(record, "pq.a", NULL);
    assert_text(record, "cart", NULL);
    assert_string_equal(latchkey_record_field_name(record, 0) ? "some" : "none", "some");
    assert_null(latchkey_record_field_name(record, 2));
    latchkey_record_free(record);
    record = GET(lk, token, "v.", "x.", "ff");
    assert_null(latchkey_record_field_name(record, 0));
    latchkey_record_free(record);
}

static void test_256_names_and_not_one_more(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    token_text token;
    static char text[257][16];
    const char *names[257];
    latchkey_field many[256];
    latchkey_record *record;
    for (int i = 0; i < 257; i++) {
        snprintf(text[i], sizeof text[i], "n%d", i + 10);
        names[i] = text[i];
        if (i < 256) many[i] = (latchkey_field){text[i], text[i], strlen(text[i])};
    }
    make_session_with(lk, USER, 0, 0, many, 256, token);
    record = get(lk, token, names, 256);
    for (int i = 0; i < 256; i++) assert_text(record, names[i], names[i]);
    latchkey_record_free(record);
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_get_fields(lk, token, LENGTH, names, 257, &record));
    assert_null(record);
}

static void test_bad_arguments(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    token_text token;
    const char *const good[] = {"theme"}, *const bad[] = {"theme", NULL}, *const own[] = {"v"}, *const odd[] = {"a b"};
    latchkey_record *record;
    make_session_with(lk, USER, 0, 0, fields, FIELDS, token);
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_get_fields(NULL, token, LENGTH, good, 1, &record));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_get_fields(lk, NULL, LENGTH, good, 1, &record));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_get_fields(lk, token, LENGTH, NULL, 1, &record));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_get_fields(lk, token, LENGTH, good, 0, &record));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_get_fields(lk, token, LENGTH, good, 1, NULL));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_get_fields(lk, token, LENGTH, bad, 2, &record));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_get_fields(lk, token, LENGTH, own, 1, &record));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_get_fields(lk, token, LENGTH, odd, 1, &record));
    assert_status(lk, LATCHKEY_MALFORMED, latchkey_get_fields(lk, token, LENGTH - 1, good, 1, &record));
    assert_null(record);
    assert_true(latchkey_record_version(NULL, "theme") == 0);

    const latchkey_change one = {"theme", "x", 1, 1}, twice[] = {one, one}, unnamed = {NULL, "x", 1, 0};
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_change_fields(NULL, token, LENGTH, &one, 1));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_change_fields(lk, NULL, LENGTH, &one, 1));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_change_fields(lk, token, LENGTH, NULL, 1));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_change_fields(lk, token, LENGTH, &one, 0));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_change_fields(lk, token, LENGTH, &one, 257));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_change_fields(lk, token, LENGTH, twice, 2));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_change_fields(lk, token, LENGTH, &unnamed, 1));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, change(lk, token, "v", "x", 0));
}

/* A small field of a large session moves little. */
static void test_the_others_are_not_moved(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "staleness_ms=60000");
    static char large[FIELD_MOST];
    token_text token;
    const latchkey_field both[] = {{"large", large, sizeof large}, {"small", "x", 1}};
    make_session_with(lk, USER, 0, 0, both, 2, token);
    long long before = redis_info(server, "stats", "total_net_output_bytes");
    for (int i = 0; i < 10; i++) assert_field(lk, token, "small", "x");
    for (int i = 0; i < 10; i++)
        assert_status(lk, LATCHKEY_OK, change(lk, token, "small", "x", version_of(lk, token, "small")));
    assert_true(redis_info(server, "stats", "total_net_output_bytes") - before < FIELD_MOST);
}

static void test_E_H_judged_as_the_whole_record_is(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "l1_capacity=0");
    token_text token, short_lived;
    char key[128];
    make_session_with(lk, USER, 0, 0, fields, FIELDS, token);
    token_text forged;
    memcpy(forged, token, sizeof forged);
    forged[30] = forged[30] == 'A' ? 'B' : 'A';
    assert_status_in(lk, try_get(lk, forged, "theme"), LATCHKEY_MALFORMED, LATCHKEY_NOT_FOUND);
    session_key(server, token, key);
    redis_do(server, "HSET %s pq.a other", key);
    assert_status(lk, LATCHKEY_OK, try_get(lk, token, "theme"));
    assert_status(lk, LATCHKEY_CORRUPT, try_get(lk, token, "pq.a"));
    redis_do(server, "PERSIST %s", key);
    assert_status(lk, LATCHKEY_CORRUPT, try_get(lk, token, "theme"));
    redis_do(server, "HDEL %s v", key);
    assert_status(lk, LATCHKEY_CORRUPT, load(lk, token));
    assert_status(lk, LATCHKEY_NOT_FOUND, try_get(lk, token, "nothing"));
    redis_do(server, "DEL %s", key);
    redis_do(server, "SET %s text", key);
    assert_status(lk, LATCHKEY_CORRUPT, try_get(lk, token, "theme"));
    assert_status(lk, LATCHKEY_CORRUPT, change(lk, token, "theme", "x", 1));
    redis_do(server, "DEL %s", key);
    assert_status(lk, LATCHKEY_NOT_FOUND, try_get(lk, token, "theme"));
    assert_status(lk, LATCHKEY_NOT_FOUND, change(lk, token, "theme", "x", 0));
    assert_int_equal(redis_integer(server, "EXISTS %s", key), 0);

    make_session_with(lk, USER, 0, 150, fields, FIELDS, short_lived);
    redis_do(server, "PEXPIRE %s 600000", session_key(server, short_lived, key));
    check_outlive(150);
    assert_status(lk, LATCHKEY_EXPIRED, try_get(lk, short_lived, "theme"));
    assert_status(lk, LATCHKEY_EXPIRED, change(lk, short_lived, "theme", "x", 1));
}

static void test_A_without_redis_there_is_no_answer(void **state)
{
    (void)state;
    redis *on = redis_start(NULL);
    latchkey *lk = handle_open(on, "deadline_ms=300");
    token_text token;
    make_session_with(lk, USER, 0, 0, fields, FIELDS, token);
    redis_kill(on);
    assert_status(lk, LATCHKEY_UNAVAILABLE, try_get(lk, token, "theme"));
    assert_status(lk, LATCHKEY_UNAVAILABLE, change(lk, token, "theme", "x", 0));
    handle_close_all(NULL);
    redis_end(on);
}

static void test_old_tokens_in_their_grace_are_the_sessions(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    token_text token[3];
    make_session_with(lk, USER, 0, 0, fields, FIELDS, token[0]);
    for (int i = 0; i < 2; i++)
        assert_status(lk, LATCHKEY_OK, latchkey_rotate(lk, token[i], LENGTH, LONG, token[i + 1]));
    for (int i = 0; i < 3; i++) {
        char text[16];
        snprintf(text, sizeof text, "by %d", i);
        assert_status(lk, LATCHKEY_OK, change(lk, token[i], "cart", text, version_of(lk, token[(i + 1) % 3], "cart")));
        assert_status(lk, LATCHKEY_OK, change(lk, token[i], "pq.a", text, version_of(lk, token[(i + 1) % 3], "pq.a")));
        for (int j = 0; j < 3; j++) {
            assert_field(lk, token[j], "cart", text);
            assert_field(lk, token[j], "pq.a", text);
        }
    }
    assert_int_equal(stats_of(lk).reuses, 0);
}

/* ----------------------------------------------------------------------------------------------------- versions -- */

static uint64_t said_by_redis(const char *key, const char *name)
{
    char hex[64] = "";
    redis_text(server, hex, sizeof hex, "EVAL %s 1 %s %s",
               "return string.sub(redis.sha1hex(redis.call('HGET', KEYS[1], ARGV[1])), 1, 16)", key, name);
    return strtoull(hex, NULL, 16);
}

static void test_it_is_what_redis_makes_of_it(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    static char bytes[FIELD_MOST];
    static const size_t sizes[] = {0, 1, 55, 56, 63, 64, 65, 119, 120, 1000, FIELD_MOST - 1, FIELD_MOST};
    token_text token;
    char key[128];
    uint32_t x = 7;
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)((x = x * 1664525 + 1013904223) >> 24);
    make_session(lk, USER, token);
    session_key(server, token, key);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const latchkey_field field = {"blob", bytes, sizes[i]};
        assert_status(lk, LATCHKEY_OK, latchkey_set_fields(lk, token, LENGTH, &field, 1));
        uint64_t version = version_of(lk, token, "blob");
        assert_true(version == said_by_redis(key, "blob"));
        latchkey_record *whole;
        assert_status(lk, LATCHKEY_OK, latchkey_load(lk, token, LENGTH, &whole));
        assert_true(latchkey_record_version(whole, "blob") == version);
        assert_true(latchkey_record_version(whole, "v") == 0);
        latchkey_record_free(whole);
        assert_status(lk, LATCHKEY_OK, change(lk, token, "blob", "anew", version));
    }
}

static void test_every_write_counts_whoever_made_it(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    token_text token;
    char key[128];
    make_session_with(lk, USER, 0, 0, fields, FIELDS, token);
    uint64_t version = version_of(lk, token, "cart");
    redis_do(server, "HSET %s cart stolen", session_key(server, token, key));
    assert_status(lk, LATCHKEY_REFUSED, change(lk, token, "cart", "x", version));
    assert_status(lk, LATCHKEY_OK, set_field(lk, token, "cart", "again"));
    assert_status(lk, LATCHKEY_REFUSED, change(lk, token, "cart", "x", version));
    assert_status(lk, LATCHKEY_REFUSED, change(lk, token, "cart", NULL, version));
    assert_status(lk, LATCHKEY_REFUSED, change(lk, token, "cart", "x", 0));
    assert_field(lk, token, "cart", "again");
    version = version_of(lk, token, "cart");
    assert_status(lk, LATCHKEY_OK, change(lk, token, "cart", NULL, version));
    assert_field(lk, token, "cart", NULL);
    assert_status(lk, LATCHKEY_REFUSED, change(lk, token, "cart", "x", version));
    assert_status(lk, LATCHKEY_OK, change(lk, token, "cart", "x", 0));
    assert_status(lk, LATCHKEY_REFUSED, change(lk, token, "cart", "y", 0));
    assert_field(lk, token, "cart", "x");
}

static void test_all_of_them_or_none(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "l1_ttl_ms=600000");
    token_text token;
    latchkey_entry before, after;
    make_session_with(lk, USER, 0, 0, fields, FIELDS, token);
    latchkey_record *record = GET(lk, token, "theme", "cart", "empty", "pq.a", "pq.b");
    uint64_t v[5];
    for (int i = 0; i < 5; i++) v[i] = latchkey_record_version(record, fields[i].name);
    latchkey_record_free(record);
    for (int i = 0; i < 5; i++)
        for (int j = 0; j < i; j++) assert_true(v[i] != v[j]);
    const latchkey_change good[] = {{"theme", "light", 5, v[0]},  {"cart", NULL, 0, v[1]}, {"fresh", "new", 3, 0},
                                    {"pq.a", "another", 7, v[3]}, {"pq.b", NULL, 0, v[4]}, {"pq.c", "third", 5, 0}};
    enum { CHANGES = sizeof good / sizeof *good };
    assert_status(lk, LATCHKEY_OK, latchkey_validate(lk, token, LENGTH, &before));
    for (int i = 0; i < CHANGES; i++) { /* whichever is wrong */
        latchkey_change bad[CHANGES];
        memcpy(bad, good, sizeof bad);
        bad[i].version ^= 1;
        assert_status(lk, LATCHKEY_REFUSED, latchkey_change_fields(lk, token, LENGTH, bad, CHANGES));
        record = GET(lk, token, "theme", "cart", "fresh", "pq.a", "pq.b", "pq.c");
        assert_text(record, "theme", "dark");
        assert_text(record, "cart", "three pears");
        assert_text(record, "fresh", NULL);
        assert_text(record, "pq.a", "key a");
        assert_text(record, "pq.b", "key b");
        assert_text(record, "pq.c", NULL);
        latchkey_record_free(record);
    }
    assert_status(lk, LATCHKEY_OK, latchkey_validate(lk, token, LENGTH, &after));
    assert_memory_equal(&before, &after, sizeof after);
    assert_status(lk, LATCHKEY_OK, latchkey_change_fields(lk, token, LENGTH, good, CHANGES));
    record = GET(lk, token, "theme", "cart", "fresh", "pq.a", "pq.b", "pq.c");
    assert_text(record, "theme", "light");
    assert_text(record, "cart", NULL);
    assert_text(record, "fresh", "new");
    assert_text(record, "pq.a", "another");
    assert_text(record, "pq.b", NULL);
    assert_text(record, "pq.c", "third");
    latchkey_record_free(record);
    assert_status(lk, LATCHKEY_OK, latchkey_validate(lk, token, LENGTH, &after));
    assert_memory_not_equal(before.pq_key_hash, after.pq_key_hash, 32);
}

/* ---------------------------------------------------------------------------------------------------------- races -- */

enum { WRITERS = 8, INCREMENTS = 1000 };

typedef struct count {
    latchkey *handle[2];
    const char *token, *name;
    int increments;
    atomic_int odd, refused;
} count;

static bool increment(count *c, latchkey *lk)
{
    latchkey_record *record;
    char text[24];
    if (latchkey_get_fields(lk, c->token, LENGTH, &c->name, 1, &record)) {
        atomic_fetch_add(&c->odd, 1);
        return true;
    }
    size_t size;
    const char *now = latchkey_record_field(record, c->name, &size);
    snprintf(text, sizeof text, "%d", now ? atoi(now) + 1 : 1);
    int status = change(lk, c->token, c->name, text, latchkey_record_version(record, c->name));
    latchkey_record_free(record);
    if (status == LATCHKEY_REFUSED) atomic_fetch_add(&c->refused, 1);
    else if (status) atomic_fetch_add(&c->odd, 1);
    return status != LATCHKEY_REFUSED;
}

static void add_up(crew_member *member)
{
    count *c = member->shared;
    for (int i = 0; i < c->increments; i++)
        while (!increment(c, c->handle[member->index % 2])) continue;
}

static void count_together(const char *name, int increments)
{
    token_text token;
    char text[24];
    count c = {.token = token, .name = name, .increments = increments};
    for (int i = 0; i < 2; i++) c.handle[i] = handle_open(server, "deadline_ms=60000");
    make_session(c.handle[0], USER, token);
    crew_run(WRITERS, add_up, &c);
    assert_int_equal(atomic_load(&c.odd), 0);
    snprintf(text, sizeof text, "%d", WRITERS * increments);
    assert_field(c.handle[0], token, name, text);
    assert_true(atomic_load(&c.refused) > 0); /* or no writer met another */
    assert_status(c.handle[0], LATCHKEY_OK, load(c.handle[0], token));
}

static void test_D_8_writers_lose_no_increment(void **state)
{
    (void)state;
    count_together("count", INCREMENTS);
}

static void test_D_8_writers_of_key_material_lose_no_increment(void **state)
{
    (void)state;
    count_together("pq.count", INCREMENTS / 20);
}

/* Two fields that are only ever changed together are only ever seen together; and the session is exchanged meanwhile. */
typedef struct pair {
    latchkey *handle[3];
    token_text token;
    atomic_int apart, odd, seen;
} pair;

static void change_pair(crew_member *member)
{
    pair *p = member->shared;
    latchkey *lk = p->handle[member->index];
    static const char *const names[] = {"left", "right"};
    while (!crew_stopped(member)) {
        latchkey_record *record;
        if (latchkey_get_fields(lk, p->token, LENGTH, names, 2, &record)) {
            atomic_fetch_add(&p->odd, 1);
            continue;
        }
        size_t size[2];
        const char *left = latchkey_record_field(record, "left", &size[0]),
                   *right = latchkey_record_field(record, "right", &size[1]);
        if (size[0] != size[1] || memcmp(left, right, size[0])) atomic_fetch_add(&p->apart, 1);
        char text[24];
        snprintf(text, sizeof text, "%d", atoi(left) + 1);
        const latchkey_change both[] = {{"left", text, strlen(text), latchkey_record_version(record, "left")},
                                        {"right", text, strlen(text), latchkey_record_version(record, "right")}};
        int status = latchkey_change_fields(lk, p->token, LENGTH, both, 2);
        if (status == LATCHKEY_OK) atomic_fetch_add(&p->seen, 1);
        else if (status != LATCHKEY_REFUSED) atomic_fetch_add(&p->odd, 1);
        latchkey_record_free(record);
    }
}

static void test_D_what_changes_together_is_seen_together(void **state)
{
    (void)state;
    static pair p;
    memset(&p, 0, sizeof p);
    const latchkey_field both[] = {{"left", "0", 1}, {"right", "0", 1}};
    for (int i = 0; i < 3; i++) p.handle[i] = handle_open(server, "deadline_ms=60000");
    make_session_with(p.handle[0], USER, 0, 0, both, 2, p.token);
    token_text now, next;
    memcpy(now, p.token, sizeof now);
    crew *crowd = crew_start(3, change_pair, &p);
    for (int i = 0; i < 40; i++) { /* the workers go on with the first token, in its grace */
        int status = latchkey_rotate(p.handle[0], now, LENGTH, LONG, next);
        if (status) crew_stop(crowd);
        assert_status(p.handle[0], LATCHKEY_OK, status);
        memcpy(now, next, sizeof now);
    }
    int least = atomic_load(&p.seen) + 50;
    wait_for(atomic_load(&p.seen) > least || atomic_load(&p.odd));
    crew_stop(crowd);
    crew_join(crowd);
    assert_int_equal(atomic_load(&p.apart), 0);
    assert_int_equal(atomic_load(&p.odd), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_is_asked_for_and_nothing_else),
        TEST(test_256_names_and_not_one_more),
        TEST(test_bad_arguments),
        TEST(test_the_others_are_not_moved),
        TEST(test_E_H_judged_as_the_whole_record_is),
        TEST(test_A_without_redis_there_is_no_answer),
        TEST(test_old_tokens_in_their_grace_are_the_sessions),
        TEST(test_it_is_what_redis_makes_of_it),
        TEST(test_every_write_counts_whoever_made_it),
        TEST(test_all_of_them_or_none),
        TEST(test_D_8_writers_lose_no_increment),
        TEST(test_D_8_writers_of_key_material_lose_no_increment),
        TEST(test_D_what_changes_together_is_seen_together),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}
