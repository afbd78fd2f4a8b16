/* SPDX-License-Identifier: MIT
 *
 * The compact record and the hash that binds key material: every byte comes from Redis, so every byte is looked at.
 */
#include "base/record.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

static lk_record some_record(unit_random *r)
{
    lk_record record;
    unit_fill(r, &record, sizeof record);
    record.idle_ms = 1 + (int64_t)unit_below(r, 1000000000);
    record.grace_until_ms = 0;
    record.age_s = (uint32_t)unit_below(r, 2) * 100000;
    record.entry.created_at_ms = (int64_t)unit_below(r, 2000000000000);
    record.entry.expires_at_ms =
        record.entry.created_at_ms + record.age_s * 1000 + 1 + (int64_t)unit_below(r, 1000000000);
    return record;
}

static enum lk_record_check decode(const uint8_t *bytes, size_t size, lk_record *record)
{
    uint8_t *exact = unit_copy(bytes, size);
    enum lk_record_check check = lk_record_decode(exact, size, record);
    free(exact);
    return check;
}

static void assert_same(const lk_record *a, const lk_record *b)
{
    assert_true(a->idle_ms == b->idle_ms);
    assert_int_equal(a->age_s, b->age_s);
    assert_memory_equal(&a->entry, &b->entry, sizeof a->entry);
    assert_memory_equal(a->verifier_hash, b->verifier_hash, sizeof a->verifier_hash);
    assert_memory_equal(a->selector, b->selector, sizeof a->selector);
}

static void test_round_trip(void **state)
{
    (void)state;
    unit_random r = unit_random_new(1);
    for (uint64_t i = unit_rounds(100000); i; i--) {
        uint8_t bytes[LK_RECORD_SIZE];
        lk_record record = some_record(&r), back;
        lk_record_encode(&record, bytes);
        assert_int_equal(decode(bytes, sizeof bytes, &back), LK_RECORD_GOOD);
        assert_same(&record, &back);
    }
}

/* The scripts in Redis and other versions read these places. */
static void test_layout_is_frozen(void **state)
{
    (void)state;
    lk_record record = {.idle_ms = 0x0102030405,
                        .age_s = 0x01020304,
                        .entry = {.user_id = UINT64_C(0x1122334455667788),
                                  .role = {'a', 'd', 'm', 'i', 'n'},
                                  .expires_at_ms = 0x0a0b0c0d0e,
                                  .created_at_ms = 0x0102,
                                  .auth_at_ms = -2,
                                  .device = 0xdeadbeef,
                                  .flags = 0x8001}};
    uint8_t expected[LK_RECORD_SIZE] =
        {'L',  'K',  1,    0,    4,    3,    2,    1,   5,   4,   3,   2,  1, 0, 0, 0, /* 16: */ 0x88,
         0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 'a', 'd', 'm', 'i', 'n'},
            bytes[LK_RECORD_SIZE];
    memcpy(expected + 40, (uint8_t[]){0x0e, 0x0d, 0x0c, 0x0b, 0x0a}, 5);
    memset(expected + 48, 0xaa, 32);
    memset(expected + 80, 0xbb, 32);
    memcpy(expected + 112, (uint8_t[]){2, 1}, 2);
    memcpy(expected + 120, (uint8_t[]){0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 8);
    memcpy(expected + 128, (uint8_t[]){0xef, 0xbe, 0xad, 0xde, 0x01, 0x80, 0, 0}, 8);
    memset(expected + 136, 0xcc, 32);
    memset(expected + 168, 0xdd, 15);
    memset(record.entry.permissions_hash, 0xaa, 32);
    memset(record.entry.pq_key_hash, 0xbb, 32);
    memset(record.verifier_hash, 0xcc, 32);
    memset(record.selector, 0xdd, 15);
    lk_record_encode(&record, bytes);
    assert_memory_equal(bytes, expected, sizeof bytes);
    assert_int_equal(LK_RECORD_SIZE, 184);
    assert_int_equal(LK_RECORD_AGE, 4);       /* AGE, */
    assert_int_equal(LK_RECORD_KEY_HASH, 80); /* KEY_HASH in common.lua, which counts from 1 */
    assert_int_equal(LK_RECORD_VERIFIER_HASH, 136);
}

/* Made after the session's end: damage. */
static void test_a_token_younger_than_its_session_may_live_is_refused(void **state)
{
    (void)state;
    uint8_t bytes[LK_RECORD_SIZE];
    lk_record back, record = {.idle_ms = 1, .entry = {.created_at_ms = 5000, .expires_at_ms = 12999}};
    const struct {
        int32_t age_s;
        enum lk_record_check check;
    } rows[] = {{0, LK_RECORD_GOOD},  {7, LK_RECORD_GOOD},  {8, LK_RECORD_BAD},        {INT32_MAX, LK_RECORD_BAD},
                {-1, LK_RECORD_GOOD}, {-5, LK_RECORD_GOOD}, {INT32_MIN, LK_RECORD_BAD}};
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
        record.age_s = rows[i].age_s;
        lk_record_encode(&record, bytes);
        assert_int_equal(decode(bytes, sizeof bytes, &back), rows[i].check);
    }
}

static void test_the_age_of_a_new_token(void **state)
{
    (void)state;
    const lk_record record = {.entry = {.created_at_ms = 5000, .expires_at_ms = 12999}};
    const int64_t rows[][2] = {{5000, 0}, {5999, 0}, {6000, 1}, {12999, 7}, {99999, 7}, {4999, -1}, {-1, -6}};
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) assert_int_equal(lk_record_age_s(&record, rows[i][0]), rows[i][1]);
}

static void test_every_other_size_is_refused(void **state)
{
    (void)state;
    unit_random r = unit_random_new(2);
    uint8_t bytes[LK_RECORD_SIZE + 200] = {0};
    lk_record record = some_record(&r), back;
    lk_record_encode(&record, bytes);
    for (size_t size = 0; size <= sizeof bytes; size++)
        if (size != LK_RECORD_SIZE) assert_int_equal(decode(bytes, size, &back), LK_RECORD_BAD);
}

/* What decodes after a flip shows the flip: encoding it again gives the flipped bytes. Nothing is passed over. */
static void test_every_flip_of_every_byte_shows(void **state)
{
    (void)state;
    unit_random r = unit_random_new(3);
    uint8_t bytes[LK_RECORD_SIZE], again[LK_RECORD_SIZE];
    lk_record record = some_record(&r), back;
    lk_record_encode(&record, bytes);
    for (size_t at = 0; at < sizeof bytes; at++) {
        for (unsigned flip = 1; flip < 256; flip++) {
            bytes[at] ^= (uint8_t)flip;
            enum lk_record_check check = decode(bytes, sizeof bytes, &back);
            if (check == LK_RECORD_GOOD) {
                lk_record_encode(&back, again);
                assert_memory_equal(bytes, again, sizeof bytes);
            }
            bool header = at < LK_RECORD_AGE || at == LK_RECORD_SIZE - 1,
                 other = at == 2 && bytes[2] == LK_RECORD_ROTATED;
            if (other) assert_int_equal(back.grace_until_ms, record.idle_ms);
            else if (header) assert_int_not_equal(check, LK_RECORD_GOOD);
            if (other) assert_int_equal(check, LK_RECORD_GOOD);
            else if (at == 2) assert_int_equal(check, bytes[2] ? LK_RECORD_FUTURE : LK_RECORD_BAD);
            else assert_int_not_equal(check, LK_RECORD_FUTURE);
            bytes[at] ^= (uint8_t)flip;
        }
    }
}

/* What an old token leaves: the same, but for idle_ms. */
static void test_rotated_record_round_trips(void **state)
{
    (void)state;
    unit_random r = unit_random_new(4);
    uint8_t bytes[LK_RECORD_SIZE];
    lk_record record = some_record(&r), back;
    record.grace_until_ms = record.entry.expires_at_ms;
    lk_record_encode(&record, bytes);
    assert_int_equal(decode(bytes, sizeof bytes, &back), LK_RECORD_GOOD);
    assert_int_equal(back.grace_until_ms, record.grace_until_ms);
    assert_int_equal(back.idle_ms, 0);
    assert_memory_equal(&back.entry, &record.entry, sizeof back.entry);
    memset(bytes + 8, 0, 8);
    assert_int_equal(decode(bytes, sizeof bytes, &back), LK_RECORD_BAD);
}

/* A newer version may have another size; only that it is newer can be said. */
static void test_newer_formats_are_told_apart(void **state)
{
    (void)state;
    uint8_t bytes[300] = {'L', 'K', LK_RECORD_NEWEST + 1};
    lk_record back;
    for (size_t size = 0; size < sizeof bytes; size++)
        assert_int_equal(decode(bytes, size, &back), size < 4 ? LK_RECORD_BAD : LK_RECORD_FUTURE);
    bytes[1] = 'X';
    assert_int_equal(decode(bytes, LK_RECORD_SIZE, &back), LK_RECORD_BAD);
}

static void test_times_out_of_range_are_refused(void **state)
{
    (void)state;
    const int64_t most = INT64_C(100000000000000) - 1;
    const struct {
        int64_t idle, created, expires;
        enum lk_record_check check;
    } rows[] = {
        {1, 0, 1, LK_RECORD_GOOD},        {most, most, most, LK_RECORD_GOOD},
        {0, 0, 1, LK_RECORD_BAD},         {-1, 0, 1, LK_RECORD_BAD},
        {INT64_MIN, 0, 1, LK_RECORD_BAD}, {most + 1, 0, 1, LK_RECORD_BAD},
        {INT64_MAX, 0, 1, LK_RECORD_BAD}, {1, 0, 0, LK_RECORD_BAD},
        {1, -1, 1, LK_RECORD_BAD},        {1, 2, 1, LK_RECORD_BAD},
        {1, 0, -1, LK_RECORD_BAD},        {1, 0, most + 1, LK_RECORD_BAD},
        {1, 0, INT64_MAX, LK_RECORD_BAD}, {1, INT64_MIN, INT64_MIN, LK_RECORD_BAD},
    };
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
        uint8_t bytes[LK_RECORD_SIZE];
        lk_record record = {.idle_ms = rows[i].idle}, back;
        record.entry.created_at_ms = rows[i].created;
        record.entry.expires_at_ms = rows[i].expires;
        lk_record_encode(&record, bytes);
        assert_int_equal(decode(bytes, sizeof bytes, &back), rows[i].check);
    }
}

static void test_random_bytes_never_crash(void **state)
{
    (void)state;
    unit_random r = unit_random_new(4);
    uint8_t bytes[256];
    for (uint64_t i = unit_rounds(200000); i; i--) {
        lk_record back;
        size_t size = i % 2 ? LK_RECORD_SIZE : unit_below(&r, sizeof bytes);
        unit_fill(&r, bytes, size);
        if (i % 4 == 1) memcpy(bytes, "LK\1\0\0\0\0", 8);
        decode(bytes, size, &back);
    }
}

/* ------------------------------------------------------------------------------------------- field names -- */

static void test_field_names(void **state)
{
    (void)state;
    char long_name[66] = {0};
    memset(long_name, 'a', sizeof long_name - 1);
    const char *good[] = {"ab", "pq.mlkem768", "A-Z_0.9:x", "..", "--", "vx"};
    const char *bad[] = {"", "v", "x", "a", "a b", "a\n", "a/b", "\xc3\xa4", "a{b", "a\"", "a*"};
    for (size_t i = 0; i < UNIT_COUNT(good); i++) assert_true(lk_field_name_good(good[i], strlen(good[i])));
    for (size_t i = 0; i < UNIT_COUNT(bad); i++) assert_false(lk_field_name_good(bad[i], strlen(bad[i])));
    assert_false(lk_field_name_good(long_name, 65));
    long_name[64] = 0;
    assert_true(lk_field_name_good(long_name, 64));
    assert_true(lk_field_is_key("pq.a", 4));
    assert_true(lk_field_is_key("pq.", 3));
    assert_false(lk_field_is_key("pq", 2));
    assert_false(lk_field_is_key("pqa.", 4));
    assert_false(lk_field_is_key("PQ.a", 4));
    assert_false(lk_field_is_key("p", 1));
}

static void test_lists_of_fields(void **state)
{
    (void)state;
    static char names[LK_FIELDS_MAX + 1][8], big[LK_FIELD_SIZE_MAX + 1];
    latchkey_field fields[LK_FIELDS_MAX + 1];
    for (unsigned i = 0; i < UNIT_COUNT(fields); i++) {
        snprintf(names[i], sizeof names[i], "f%u", i);
        fields[i] = (latchkey_field){names[i], "x", 1};
    }
    assert_int_equal(lk_fields_check(NULL, 0, false), LATCHKEY_OK);
    assert_int_equal(lk_fields_check(NULL, 1, false), LATCHKEY_BAD_ARGUMENT);
    assert_int_equal(lk_fields_check(fields, LK_FIELDS_MAX, false), LATCHKEY_OK);
    assert_int_equal(lk_fields_check(fields, LK_FIELDS_MAX + 1, false), LATCHKEY_BAD_ARGUMENT);
    fields[0].name = "f7";
    assert_int_equal(lk_fields_check(fields, 8, false), LATCHKEY_BAD_ARGUMENT); /* twice */
    const struct {
        latchkey_field field;
        bool good, good_to_delete;
    } rows[] = {
        {{"ab", "", 0}, true, true},
        {{"ab", big, LK_FIELD_SIZE_MAX}, true, true},
        {{"ab", big, LK_FIELD_SIZE_MAX + 1}, false, false},
        {{"ab", NULL, 0}, false, true},
        {{"ab", NULL, 1}, false, false},
        {{NULL, "x", 1}, false, false},
        {{"v", "x", 1}, false, false},
        {{"x", NULL, 0}, false, false},
    };
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
        assert_int_equal(lk_fields_check(&rows[i].field, 1, false) == LATCHKEY_OK, rows[i].good);
        assert_int_equal(lk_fields_check(&rows[i].field, 1, true) == LATCHKEY_OK, rows[i].good_to_delete);
    }
}

/* ------------------------------------------------------------------------------------------ the key hash -- */

/* Made by another program from the description in latchkey.h. */
static void test_key_hash_known_answer(void **state)
{
    (void)state;
    const latchkey_field fields[] = {{"pq.mlkem768", "kem", 3},
                                     {"note", "passed over", 11},
                                     {"pq.a", "", 0},
                                     {"pq.mldsa44", "signature key", 13},
                                     {"pqr", "passed over too", 15}};
    const uint8_t zero[LK_HASH_SIZE] = {0};
    uint8_t hash[LK_HASH_SIZE], expected[LK_HASH_SIZE];
    const char *hex = "6511644c85a3a68e07982c6f636c33c030a9bb46d80b27287256d2b65aca5bb7";
    assert_true(lk_hex_decode(hex, 64, expected, sizeof expected));
    assert_int_equal(latchkey_key_hash(fields, UNIT_COUNT(fields), hash), LATCHKEY_OK);
    assert_memory_equal(hash, expected, sizeof hash);
    assert_int_equal(latchkey_key_hash(fields + 1, 1, hash), LATCHKEY_OK);
    assert_memory_equal(hash, zero, sizeof hash);
    assert_int_equal(latchkey_key_hash(NULL, 0, hash), LATCHKEY_OK);
    assert_memory_equal(hash, zero, sizeof hash);
}

static void test_key_hash_does_not_depend_on_the_order(void **state)
{
    (void)state;
    unit_random r = unit_random_new(5);
    char names[12][8];
    lk_named fields[12];
    uint8_t first[LK_HASH_SIZE], hash[LK_HASH_SIZE];
    for (unsigned i = 0; i < 12; i++) {
        snprintf(names[i], sizeof names[i], i % 2 ? "pq.%u" : "pq.%ua", i);
        fields[i] = (lk_named){names[i], strlen(names[i]), names[i], i % 5 % 4};
    }
    assert_true(lk_key_hash(fields, 12, first));
    for (int round = 0; round < 200; round++) {
        for (size_t i = 11; i; i--) {
            size_t j = unit_below(&r, i + 1);
            lk_named swap = fields[i];
            fields[i] = fields[j];
            fields[j] = swap;
        }
        assert_true(lk_key_hash(fields, 12, hash));
        assert_memory_equal(hash, first, sizeof hash);
    }
}

/* All ways to cut one text into two fields' names and values: no two have the same hash. */
static void test_key_hash_tells_where_bytes_stand(void **state)
{
    (void)state;
    static const char text[] = "pq.aapq.bb";
    uint8_t seen[256][LK_HASH_SIZE];
    size_t used = 0;
    for (size_t value = 4; value < 10; value++) {
        for (size_t name = value; name <= 10; name++) {
            for (size_t last = name; last <= 10; last++) {
                lk_named fields[2] = {{text, value, text + value, name - value},
                                      {text + name, last - name, text + last, 10 - last}};
                assert_true(lk_key_hash(fields, 2, seen[used]));
                for (size_t i = 0; i < used; i++) assert_memory_not_equal(seen[i], seen[used], LK_HASH_SIZE);
                used++;
            }
        }
    }
    lk_named one = {text, 4, text + 4, 6};
    assert_true(lk_key_hash(&one, 1, seen[used]));
    for (size_t i = 0; i < used; i++) assert_memory_not_equal(seen[i], seen[used], LK_HASH_SIZE);
}

static void test_key_hash_refuses_too_many_and_twice(void **state)
{
    (void)state;
    const uint8_t zero[LK_HASH_SIZE] = {0};
    char names[LK_KEY_FIELDS_MAX + 1][8];
    latchkey_field fields[LK_KEY_FIELDS_MAX + 1];
    lk_named named[LK_KEY_FIELDS_MAX + 1];
    uint8_t hash[LK_HASH_SIZE];
    for (unsigned i = 0; i < UNIT_COUNT(fields); i++) {
        snprintf(names[i], sizeof names[i], "pq.%u", i);
        fields[i] = (latchkey_field){names[i], "x", 1};
        named[i] = (lk_named){names[i], strlen(names[i]), "x", 1};
    }
    assert_true(lk_key_hash(named, 64, hash));
    assert_int_equal(latchkey_key_hash(fields, 64, hash), LATCHKEY_OK);
    memset(hash, 0xff, sizeof hash);
    assert_false(lk_key_hash(named, 65, hash));
    assert_memory_equal(hash, zero, sizeof hash);
    memset(hash, 0xff, sizeof hash);
    assert_int_equal(latchkey_key_hash(fields, 65, hash), LATCHKEY_BAD_ARGUMENT);
    assert_memory_equal(hash, zero, sizeof hash);
    fields[9].name = "pq.3";
    assert_int_equal(latchkey_key_hash(fields, 10, hash), LATCHKEY_BAD_ARGUMENT);
    assert_memory_equal(hash, zero, sizeof hash);
    assert_int_equal(latchkey_key_hash(fields, 9, NULL), LATCHKEY_BAD_ARGUMENT);
    assert_int_equal(latchkey_key_hash(NULL, 1, hash), LATCHKEY_BAD_ARGUMENT);
    assert_int_equal(latchkey_key_hash(&(latchkey_field){NULL, "x", 1}, 1, hash), LATCHKEY_BAD_ARGUMENT);
    assert_int_equal(latchkey_key_hash(&(latchkey_field){"pq.a", NULL, 1}, 1, hash), LATCHKEY_BAD_ARGUMENT);
}

static void test_check_keys(void **state)
{
    (void)state;
    latchkey_field field = {"pq.a", "key", 3};
    latchkey_entry entry = {0};
    assert_int_equal(latchkey_check_keys(&entry, NULL, 0), LATCHKEY_OK);
    assert_int_equal(latchkey_check_keys(&entry, &field, 1), LATCHKEY_CORRUPT);
    assert_int_equal(latchkey_key_hash(&field, 1, entry.pq_key_hash), LATCHKEY_OK);
    assert_int_equal(latchkey_check_keys(&entry, &field, 1), LATCHKEY_OK);
    assert_int_equal(latchkey_check_keys(&entry, NULL, 0), LATCHKEY_CORRUPT);
    assert_int_equal(latchkey_check_keys(NULL, &field, 1), LATCHKEY_BAD_ARGUMENT);
    field.data = "kez";
    assert_int_equal(latchkey_check_keys(&entry, &field, 1), LATCHKEY_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_layout_is_frozen),
        cmocka_unit_test(test_the_age_of_a_new_token),
        cmocka_unit_test(test_every_other_size_is_refused),
        cmocka_unit_test(test_a_token_younger_than_its_session_may_live_is_refused),
        cmocka_unit_test(test_every_flip_of_every_byte_shows),
        cmocka_unit_test(test_rotated_record_round_trips),
        cmocka_unit_test(test_newer_formats_are_told_apart),
        cmocka_unit_test(test_times_out_of_range_are_refused),
        cmocka_unit_test(test_random_bytes_never_crash),
        cmocka_unit_test(test_field_names),
        cmocka_unit_test(test_lists_of_fields),
        cmocka_unit_test(test_key_hash_known_answer),
        cmocka_unit_test(test_key_hash_does_not_depend_on_the_order),
        cmocka_unit_test(test_key_hash_tells_where_bytes_stand),
        cmocka_unit_test(test_key_hash_refuses_too_many_and_twice),
        cmocka_unit_test(test_check_keys),
    };
    return cmocka_run_group_tests_name("record", tests, unit_setup, NULL);
}
