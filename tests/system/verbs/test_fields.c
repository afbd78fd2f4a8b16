/* SPDX-License-Identifier: MIT
 *
 * Key material and other fields: real sizes, the hash that binds them to the entry, changes, and what is refused.
 */
#include "test_handle.h"
#include "threads.h"

#include <stdio.h>
#include <string.h>

enum { MLKEM768_PUBLIC = 1184, MLDSA44_PUBLIC = 1312, SLHDSA128_PUBLIC = 32, MLDSA44_SIGNATURE = 2420, ARTICLE = 4493 };
enum { FIELD_MOST = 64 * 1024 };

static unsigned char bytes[FIELD_MOST + 1];

/* Bytes that differ from place to place, zeros and line ends among them. */
static void fill_bytes(void)
{
    uint32_t x = 1;
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)((x = x * 1664525 + 1013904223) >> 24);
    memcpy(bytes, "\r\n\0$5\r\n", 8);
}

static const latchkey_field material[] = {
    {"pq.mlkem768", bytes, MLKEM768_PUBLIC},    {"pq.mldsa44", bytes + 1, MLDSA44_PUBLIC},
    {"pq.slhdsa", bytes + 2, SLHDSA128_PUBLIC}, {"pq.attestation", bytes + 3, MLDSA44_SIGNATURE},
    {"note", "kept, not hashed", 16},
};
enum { MATERIAL = sizeof material / sizeof *material };

static latchkey_record *load_record(latchkey *lk, const char *token)
{
    latchkey_record *record = NULL;
    assert_status(lk, LATCHKEY_OK, latchkey_load(lk, token, LATCHKEY_TOKEN_LENGTH, &record));
    assert_non_null(record);
    return record;
}

static void assert_field(latchkey *lk, const char *token, const char *name, const void *data, size_t size)
{
    latchkey_record *record = load_record(lk, token);
    size_t got = 77;
    const void *found = latchkey_record_field(record, name, &got);
    if (!data) {
        assert_null(found);
        assert_int_equal(got, 0);
    } else {
        assert_non_null(found);
        assert_int_equal(got, size);
        assert_memory_equal(found, data, size);
    }
    latchkey_record_free(record);
}

static void test_a_record_outlives_its_handle(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session_with(lk, 7, 0, 0, material, MATERIAL, token);
    latchkey_record *record = load_record(lk, token);
    handle_close(lk);
    size_t size = 0;
    assert_int_equal(latchkey_record_entry(record)->user_id, 7);
    assert_memory_equal(latchkey_record_field(record, "pq.mldsa44", &size), bytes + 1, MLDSA44_PUBLIC);
    assert_int_equal(size, MLDSA44_PUBLIC);
    latchkey_record_free(record);
}

static void test_key_material_of_real_sizes(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, ""), *other = handle_open_tcp(server, "");
    char token[LATCHKEY_TOKEN_SIZE];
    uint8_t hash[32];
    make_session_with(lk, 9, 0, 0, material, MATERIAL, token);
    for (size_t i = 0; i < MATERIAL; i++)
        assert_field(other, token, material[i].name, material[i].data, material[i].size);

    latchkey_record *record = load_record(other, token);
    const latchkey_entry *entry = latchkey_record_entry(record);
    assert_status(NULL, LATCHKEY_OK, latchkey_key_hash(material, MATERIAL, hash));
    assert_memory_equal(entry->pq_key_hash, hash, 32);
    assert_status(NULL, LATCHKEY_OK, latchkey_check_keys(entry, material, MATERIAL));
    latchkey_record_free(record);
}

static void test_article_record_of_4493_bytes(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE];
    const latchkey_field field = {"record", bytes, ARTICLE};
    make_session_with(lk, 9, 0, 0, &field, 1, token);
    assert_field(lk, token, "record", bytes, ARTICLE);
    assert_true(stats_of(lk).session_size_p50_bytes >= ARTICLE);
}

static void test_fields_at_their_limits(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE], longest[65];
    memset(longest, 'n', 64);
    longest[64] = 0;
    const latchkey_field field[] = {{longest, bytes, FIELD_MOST}, {"ab", bytes, 1}, {"A.:-_9", bytes, 2}};
    make_session_with(lk, 9, 0, 0, field, 3, token);
    for (int i = 0; i < 3; i++) assert_field(lk, token, field[i].name, field[i].data, field[i].size);
}

static void test_256_fields_and_not_one_more(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE], names[257][16];
    latchkey_field fields[257];
    for (int i = 0; i < 257; i++) {
        snprintf(names[i], sizeof names[i], "f%d.", i);
        fields[i] = (latchkey_field){names[i], bytes + i, 10};
    }
    make_session_with(lk, 9, 0, 0, fields, 256, token);
    for (int i = 0; i < 256; i += 51) assert_field(lk, token, names[i], bytes + i, 10);

    latchkey_draft draft = {.size = sizeof draft, .fields = fields, .field_count = 257};
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_create(lk, &draft, token));
    assert_int_equal(token[0], 0);
}

static void test_64_fields_of_key_material_and_not_one_more(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE], names[65][16];
    latchkey_field fields[65];
    uint8_t hash[32];
    for (int i = 0; i < 65; i++) {
        snprintf(names[i], sizeof names[i], "pq.k%d", i);
        fields[i] = (latchkey_field){names[i], bytes + i, 10};
    }
    make_session_with(lk, 9, 0, 0, fields, 64, token);
    assert_status(lk, LATCHKEY_OK, load(lk, token));
    latchkey_draft draft = {.size = sizeof draft, .fields = fields, .field_count = 65};
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_create(lk, &draft, token));
    assert_status(lk, LATCHKEY_OK, latchkey_key_hash(fields, 64, hash));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_key_hash(fields, 65, hash));
}

static void test_an_empty_field_is_a_field(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE];
    const latchkey_field field = {"empty", "", 0};
    make_session_with(lk, 9, 0, 0, &field, 1, token);
    assert_field(lk, token, "empty", "", 0);
}

static void test_bad_fields_are_bad_arguments(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    char good[LATCHKEY_TOKEN_SIZE], token[LATCHKEY_TOKEN_SIZE], too_long[66];
    memset(too_long, 'n', 65);
    too_long[65] = 0;
    make_session(lk, 1, good);
    const latchkey_field bad[] = {
        {NULL, bytes, 1},
        {"", bytes, 1},
        {"v", bytes, 1},
        {"x", bytes, 1},
        {too_long, bytes, 1},
        {"sp ace", bytes, 1},
        {"new\nline", bytes, 1},
        {"\xc3\xa9t\xc3\xa9", bytes, 1},
        {"brace{}", bytes, 1},
        {"star*", bytes, 1},
        {"big", bytes, FIELD_MOST + 1},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        latchkey_draft draft = {.size = sizeof draft, .fields = &bad[i], .field_count = 1};
        assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_create(lk, &draft, token));
        assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_set_fields(lk, good, LATCHKEY_TOKEN_LENGTH, &bad[i], 1));
    }
    const latchkey_field twice[] = {{"same", bytes, 1}, {"same", bytes, 2}};
    latchkey_draft draft = {.size = sizeof draft, .fields = twice, .field_count = 2};
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_create(lk, &draft, token));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_set_fields(lk, good, LATCHKEY_TOKEN_LENGTH, twice, 2));
    assert_status(lk, LATCHKEY_OK, validate(lk, good));
}

static void test_set_fields_sets_and_deletes_singly(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, ""), *other = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session_with(lk, 9, 0, 0, material, MATERIAL, token);
    assert_status(lk, LATCHKEY_OK, set_field(lk, token, "cart", "three pears"));
    assert_status(other, LATCHKEY_OK, set_field(other, token, "lang", "et"));
    assert_field(lk, token, "cart", "three pears", 11);
    assert_field(lk, token, "lang", "et", 2);
    assert_field(lk, token, "note", "kept, not hashed", 16);

    const latchkey_field mixed[] = {{"cart", NULL, 0}, {"lang", "fi", 2}, {"never.there", NULL, 0}};
    assert_status(lk, LATCHKEY_OK, latchkey_set_fields(lk, token, LATCHKEY_TOKEN_LENGTH, mixed, 3));
    assert_field(other, token, "cart", NULL, 0);
    assert_field(other, token, "lang", "fi", 2);
}

static void test_changed_key_material_changes_the_entry(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey_entry before, after;
    uint8_t hash[32];
    make_session_with(lk, 9, 0, 0, material, MATERIAL, token);
    assert_status(lk, LATCHKEY_OK, latchkey_validate(lk, token, LATCHKEY_TOKEN_LENGTH, &before));

    latchkey_field changed[MATERIAL];
    memcpy(changed, material, sizeof changed);
    changed[0].data = bytes + 500;
    assert_status(lk, LATCHKEY_OK, latchkey_set_fields(lk, token, LATCHKEY_TOKEN_LENGTH, changed, 1));
    assert_status(lk, LATCHKEY_OK, latchkey_validate(lk, token, LATCHKEY_TOKEN_LENGTH, &after));
    assert_memory_not_equal(before.pq_key_hash, after.pq_key_hash, 32);
    latchkey_key_hash(changed, MATERIAL, hash);
    assert_memory_equal(after.pq_key_hash, hash, 32);
    /* Nothing but the hash has changed, and the record is whole. */
    memcpy(after.pq_key_hash, before.pq_key_hash, 32);
    assert_memory_equal(&before, &after, sizeof before);
    assert_status(lk, LATCHKEY_OK, load(lk, token));

    /* Without any of it the hash is zero again. */
    latchkey_field gone[] = {
        {"pq.mlkem768", NULL, 0}, {"pq.mldsa44", NULL, 0}, {"pq.slhdsa", NULL, 0}, {"pq.attestation", NULL, 0}};
    static const uint8_t none[32];
    assert_status(lk, LATCHKEY_OK, latchkey_set_fields(lk, token, LATCHKEY_TOKEN_LENGTH, gone, 4));
    assert_status(lk, LATCHKEY_OK, latchkey_validate(lk, token, LATCHKEY_TOKEN_LENGTH, &after));
    assert_memory_equal(after.pq_key_hash, none, 32);
    assert_status(lk, LATCHKEY_OK, load(lk, token));
}

static void test_plain_fields_leave_the_entry_alone(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session_with(lk, 9, 0, 0, material, MATERIAL, token);
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
    uint64_t hits = stats_of(lk).l1_hits;
    assert_status(lk, LATCHKEY_OK, set_field(lk, token, "cart", "one plum"));
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
    assert_int_equal(stats_of(lk).l1_hits, hits + 1);
}

static void test_swapped_material_is_corrupt(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE], key[128], was[128];
    make_session_with(lk, 9, 0, 0, material, MATERIAL, token);
    session_key(server, token, key);
    size_t size = redis_text(server, was, sizeof was, "HGET %s pq.slhdsa", key); /* the bytes, or sealed ones */
    redis_do(server, "HSET %s pq.slhdsa %b", key, bytes + 99, (size_t)32);
    assert_status(lk, LATCHKEY_CORRUPT, load(lk, token));
    redis_do(server, "HDEL %s pq.slhdsa", key);
    assert_status(lk, LATCHKEY_CORRUPT, load(lk, token));
    redis_do(server, "HSET %s pq.slhdsa %b pq.extra more", key, was, size);
    assert_status(lk, LATCHKEY_CORRUPT, load(lk, token));
    redis_do(server, "HDEL %s pq.extra", key);
    assert_status(lk, LATCHKEY_OK, load(lk, token));
    assert_true(stats_of(lk).corrupt >= 3);
}

static void test_key_hash_binds_names_and_borders(void **state)
{
    (void)state;
    uint8_t one[32], two[32];
    const latchkey_field sorted[] = {{"pq.a", "xy", 2}, {"pq.b", "z", 1}},
                         turned[] = {{"pq.b", "z", 1}, {"pq.a", "xy", 2}};
    const latchkey_field moved[] = {{"pq.a", "x", 1}, {"pq.b", "yz", 2}},
                         renamed[] = {{"pq.b", "xy", 2}, {"pq.a", "z", 1}};
    const latchkey_field plain[] = {{"pq.a", "xy", 2}, {"note", "q", 1}, {"pq.b", "z", 1}, {"pqx", "q", 1}};
    const latchkey_field twice[] = {{"pq.a", "x", 1}, {"pq.a", "x", 1}};
    static const uint8_t none[32];
    assert_status(NULL, LATCHKEY_OK, latchkey_key_hash(sorted, 2, one));
    assert_memory_not_equal(one, none, 32);
    latchkey_key_hash(turned, 2, two);
    assert_memory_equal(one, two, 32);
    latchkey_key_hash(plain, 4, two);
    assert_memory_equal(one, two, 32);
    latchkey_key_hash(moved, 2, two);
    assert_memory_not_equal(one, two, 32);
    latchkey_key_hash(renamed, 2, two);
    assert_memory_not_equal(one, two, 32);
    assert_status(NULL, LATCHKEY_OK, latchkey_key_hash(plain + 1, 1, two));
    assert_memory_equal(two, none, 32);
    assert_status(NULL, LATCHKEY_OK, latchkey_key_hash(NULL, 0, two));
    assert_memory_equal(two, none, 32);
    assert_status(NULL, LATCHKEY_BAD_ARGUMENT, latchkey_key_hash(twice, 2, two));
    assert_memory_equal(two, none, 32);
}

static void test_key_hash_is_the_documented_one(void **state)
{
    (void)state;
    /* BLAKE2b-256 of 04 00.. "pq.a" 02 00.. "xy" 04 00.. "pq.b" 01 00.. "z", computed with Python's hashlib. */
    static const char expected[] = "2cafbe62fbfa69612bfd8bc01323d2c8c4e59ac09c7b74badb440be528d2c23e";
    const latchkey_field fields[] = {{"pq.b", "z", 1}, {"pq.a", "xy", 2}};
    uint8_t hash[32];
    char hex[65];
    assert_status(NULL, LATCHKEY_OK, latchkey_key_hash(fields, 2, hash));
    for (int i = 0; i < 32; i++) snprintf(hex + 2 * i, 3, "%02x", hash[i]);
    assert_string_equal(hex, expected);
}

static void test_check_keys_tells_foreign_material(void **state)
{
    (void)state;
    latchkey_entry entry;
    memset(&entry, 0, sizeof entry);
    latchkey_key_hash(material, MATERIAL, entry.pq_key_hash);
    assert_status(NULL, LATCHKEY_OK, latchkey_check_keys(&entry, material, MATERIAL));
    assert_status(NULL, LATCHKEY_CORRUPT, latchkey_check_keys(&entry, material, 2));
    assert_status(NULL, LATCHKEY_CORRUPT, latchkey_check_keys(&entry, NULL, 0));
    memset(&entry, 0, sizeof entry);
    assert_status(NULL, LATCHKEY_OK, latchkey_check_keys(&entry, NULL, 0));
    assert_status(NULL, LATCHKEY_CORRUPT, latchkey_check_keys(&entry, material, MATERIAL));
}

/* Several handles change the key material of one session at once: no change is lost, and the hash fits. */
enum { CHANGERS = 4, CHANGES = 10 };

typedef struct contest {
    latchkey *handles[CHANGERS];
    const char *token;
    atomic_int failures;
} contest;

static void change_keys(crew_member *member)
{
    contest *c = member->shared;
    char name[16], text[24];
    snprintf(name, sizeof name, "pq.k%zu", member->index);
    for (int i = 0; i < CHANGES; i++) {
        snprintf(text, sizeof text, "value %d", i);
        latchkey_field field = {name, text, strlen(text)};
        if (latchkey_set_fields(c->handles[member->index], c->token, LATCHKEY_TOKEN_LENGTH, &field, 1))
            atomic_fetch_add(&c->failures, 1);
    }
}

static void test_D_concurrent_changes_of_keys_lose_nothing(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE], last[16];
    contest c = {.token = token};
    for (int i = 0; i < CHANGERS; i++) c.handles[i] = handle_open(server, "deadline_ms=60000");
    make_session(c.handles[0], 1, token);
    crew_run(CHANGERS, change_keys, &c);
    assert_int_equal(atomic_load(&c.failures), 0);
    snprintf(last, sizeof last, "value %d", CHANGES - 1);
    for (int i = 0; i < CHANGERS; i++) {
        char name[16];
        snprintf(name, sizeof name, "pq.k%d", i);
        assert_field(c.handles[0], token, name, last, strlen(last));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_key_material_of_real_sizes),
        TEST(test_article_record_of_4493_bytes),
        TEST(test_fields_at_their_limits),
        TEST(test_256_fields_and_not_one_more),
        TEST(test_64_fields_of_key_material_and_not_one_more),
        TEST(test_an_empty_field_is_a_field),
        TEST(test_bad_fields_are_bad_arguments),
        TEST(test_set_fields_sets_and_deletes_singly),
        TEST(test_changed_key_material_changes_the_entry),
        TEST(test_plain_fields_leave_the_entry_alone),
        TEST(test_swapped_material_is_corrupt),
        TEST(test_key_hash_binds_names_and_borders),
        TEST(test_key_hash_is_the_documented_one),
        TEST(test_check_keys_tells_foreign_material),
        TEST(test_D_concurrent_changes_of_keys_lose_nothing),
        TEST(test_a_record_outlives_its_handle),
    };
    fill_bytes();
    return cmocka_run_group_tests(tests, server_start, server_end);
}
