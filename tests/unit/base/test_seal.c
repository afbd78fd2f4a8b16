/* SPDX-License-Identifier: MIT
 *
 * Sealing: the key file's lines; and that nothing opens but what was sealed, where it was sealed: every bit of record and
 * field turned over, every length, another session, user, name or key.
 */
#include "base/record.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

static const char *const key_1 = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";
static const char *const key_2 = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

static lk_seal_keys keys_of(const char *first, const char *second)
{
    lk_seal_keys keys = {.count = 0};
    assert_null(lk_seal_keys_take(&keys, first));
    if (second) assert_null(lk_seal_keys_take(&keys, second));
    return keys;
}

/* ------------------------------------------------------------------------------------------------- the keys -- */

static void test_lines_of_the_key_file(void **state)
{
    (void)state;
    lk_seal_keys keys = {.count = 0};
    assert_null(lk_seal_keys_take(&keys, ""));
    assert_null(lk_seal_keys_take(&keys, "# a comment"));
    assert_int_equal(keys.count, 0);
    assert_null(lk_seal_keys_take(&keys, key_1));
    assert_int_equal(keys.count, 1);
    assert_memory_equal(keys.key[0], "\x00\x11\x22\x33", 4);
    assert_memory_equal(keys.key[0] + 28, "\xcc\xdd\xee\xff", 4);
    assert_false(keys.plain);
    const char *bad[] = {
        "x",           " plain", "plain ", "Plain",
        "plain plain", " ",      "001122", "0011223344556677889900112233445566778899001122334455667788990011x"};
    for (size_t i = 0; i < UNIT_COUNT(bad); i++) assert_non_null(lk_seal_keys_take(&keys, bad[i]));
    char longer[66];
    snprintf(longer, sizeof longer, "%s0", key_1);
    assert_non_null(lk_seal_keys_take(&keys, longer));
    longer[63] = 0;
    assert_non_null(lk_seal_keys_take(&keys, longer));
    assert_non_null(strstr(lk_seal_keys_take(&keys, key_1), "already"));
    assert_int_equal(keys.count, 1);
    assert_null(lk_seal_keys_take(&keys, "plain"));
    assert_true(keys.plain && !keys.plain_new);
    assert_non_null(lk_seal_keys_take(&keys, "plain"));
    for (unsigned i = 1; i < LK_SEAL_KEYS_MAX; i++) {
        char line[65];
        snprintf(line, sizeof line, "%064x", i);
        assert_null(lk_seal_keys_take(&keys, line));
    }
    assert_non_null(strstr(lk_seal_keys_take(&keys, key_2), "16"));
    assert_int_equal(keys.count, LK_SEAL_KEYS_MAX);
}

static void test_plain_before_the_keys_seals_nothing_new(void **state)
{
    (void)state;
    lk_seal_keys keys = keys_of("plain", key_1);
    assert_true(keys.plain && keys.plain_new);
    assert_int_equal(keys.count, 1);
}

/* --------------------------------------------------------------------------------------------------- records -- */

static lk_record some_record(unit_random *r, bool rotated)
{
    lk_record record;
    memset(&record, 0, sizeof record);
    unit_fill(r, &record.entry, sizeof record.entry);
    unit_fill(r, record.verifier_hash, sizeof record.verifier_hash);
    unit_fill(r, record.selector, sizeof record.selector);
    unit_fill(r, record.session, sizeof record.session);
    int64_t time = 1 + (int64_t)unit_below(r, 1000000000);
    if (rotated) record.grace_until_ms = time;
    else record.idle_ms = time;
    record.sealed = true;
    record.entry.created_at_ms = (int64_t)unit_below(r, 2000000000000);
    record.entry.expires_at_ms = record.entry.created_at_ms + 1 + (int64_t)unit_below(r, 1000000000);
    return record;
}

static enum lk_record_check open_copy(const lk_seal_keys *keys, const uint8_t *bytes, size_t size, lk_record *record)
{
    uint8_t *exact = unit_copy(bytes, size);
    enum lk_record_check check = lk_record_open(keys, exact, size, record);
    free(exact);
    return check;
}

static void assert_same(const lk_record *a, const lk_record *b)
{
    assert_true(a->idle_ms == b->idle_ms && a->grace_until_ms == b->grace_until_ms && a->sealed == b->sealed);
    assert_memory_equal(&a->entry, &b->entry, sizeof a->entry);
    assert_memory_equal(a->verifier_hash, b->verifier_hash, sizeof a->verifier_hash);
    assert_memory_equal(a->selector, b->selector, sizeof a->selector);
    assert_memory_equal(a->session, b->session, sizeof a->session);
}

static void test_records_round_trip_and_never_look_alike(void **state)
{
    (void)state;
    unit_random r = unit_random_new(1);
    lk_seal_keys keys = keys_of(key_1, NULL), both = keys_of(key_2, key_1);
    for (uint64_t i = unit_rounds(20000); i; i--) {
        uint8_t bytes[LK_RECORD_SEALED_SIZE], again[LK_RECORD_SEALED_SIZE], plain[LK_RECORD_SIZE];
        lk_record record = some_record(&r, i % 2), back;
        assert_int_equal(lk_record_seal(&keys, &record, bytes), LK_RECORD_SEALED_SIZE);
        lk_record_seal(&keys, &record, again);
        assert_int_equal(open_copy(i % 3 ? &keys : &both, bytes, sizeof bytes, &back), LK_RECORD_GOOD);
        assert_same(&record, &back);
        /* What is read by scripts stands where it stands in every record; what is secret does not, nor twice the same. */
        lk_record_encode(&record, plain);
        assert_int_equal(bytes[2], plain[2] + 2);
        for (size_t at = 0; at < LK_RECORD_SIZE; at++) {
            bool secret = (at >= 16 && at < 40) || (at >= 48 && at < 112) || (at >= 132 && at < 136);
            if (!secret && at != 2) assert_int_equal(bytes[at], plain[at]);
        }
        assert_memory_not_equal(bytes + 16, plain + 16, 24);
        assert_memory_not_equal(bytes + 48, plain + 48, 64);
        assert_memory_not_equal(bytes + 16, again + 16, 24);
        assert_memory_not_equal(bytes + 204, again + 204, 24);
    }
}

static void test_every_bit_of_a_record_counts(void **state)
{
    (void)state;
    unit_random r = unit_random_new(2);
    for (int rotated = 0; rotated < 2; rotated++) {
        lk_seal_keys keys = keys_of(key_1, key_2);
        uint8_t bytes[LK_RECORD_SEALED_SIZE];
        lk_record record = some_record(&r, rotated), back;
        lk_record_seal(&keys, &record, bytes);
        for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            enum lk_record_check check = open_copy(&keys, bytes, sizeof bytes, &back);
            assert_int_not_equal(check, LK_RECORD_GOOD);
            size_t at = bit / 8;
            if (at >= 200 && at < 204) assert_int_equal(check, LK_RECORD_UNKNOWN_KEY);
            else if (at > 2) assert_int_equal(check, LK_RECORD_BROKEN);
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        assert_int_equal(open_copy(&keys, bytes, sizeof bytes, &back), LK_RECORD_GOOD);
    }
}

static void test_every_other_length_of_a_record_is_refused(void **state)
{
    (void)state;
    unit_random r = unit_random_new(3);
    lk_seal_keys keys = keys_of(key_1, NULL);
    uint8_t bytes[LK_RECORD_SEALED_SIZE + 300] = {0};
    lk_record record = some_record(&r, false), back;
    lk_record_seal(&keys, &record, bytes);
    for (size_t size = 0; size < sizeof bytes; size++)
        if (size != LK_RECORD_SEALED_SIZE) assert_int_equal(open_copy(&keys, bytes, size, &back), LK_RECORD_BAD);
    for (int format = 0; format < 256; format++) {
        if (format == 3) continue;
        bytes[2] = (uint8_t)format;
        assert_int_not_equal(open_copy(&keys, bytes, LK_RECORD_SEALED_SIZE, &back), LK_RECORD_GOOD);
        assert_int_not_equal(open_copy(&keys, bytes, LK_RECORD_SIZE, &back), LK_RECORD_GOOD); /* the seal cut off */
    }
}

/* A part of one session's record in another's, of the same user or of another: each of the parts that scripts know. */
static void test_parts_of_other_records_do_not_fit(void **state)
{
    (void)state;
    unit_random r = unit_random_new(4);
    lk_seal_keys keys = keys_of(key_1, NULL);
    const size_t cut[] = {0, 3, 8, 16, 24, 40, 48, 80, 112, 120, 128, 132, 136, 168, 183, 184, 200, 204, 228, 244};
    uint8_t mine[LK_RECORD_SEALED_SIZE], yours[LK_RECORD_SEALED_SIZE], mixed[LK_RECORD_SEALED_SIZE];
    lk_record record = some_record(&r, false), other = some_record(&r, false), back;
    other.entry.user_id = record.entry.user_id; /* a user's other session is another, too */
    lk_record_seal(&keys, &record, mine);
    lk_record_seal(&keys, &other, yours);
    for (size_t from = 0; from + 1 < UNIT_COUNT(cut); from++) {
        for (size_t to = from + 1; to < UNIT_COUNT(cut); to++) {
            memcpy(mixed, mine, sizeof mixed);
            memcpy(mixed + cut[from], yours + cut[from], cut[to] - cut[from]);
            enum lk_record_check check = open_copy(&keys, mixed, sizeof mixed, &back);
            bool whole = !memcmp(mixed, mine, sizeof mixed) || !memcmp(mixed, yours, sizeof mixed);
            if (whole) assert_int_equal(check, LK_RECORD_GOOD);
            else assert_int_equal(check, LK_RECORD_BROKEN);
        }
    }
}

static void test_records_and_the_keys_that_are_there(void **state)
{
    (void)state;
    unit_random r = unit_random_new(5);
    lk_seal_keys none = {.count = 0}, one = keys_of(key_1, NULL), two = keys_of(key_2, NULL);
    lk_seal_keys plain = keys_of(key_1, "plain"), forged = keys_of(key_2, NULL);
    uint8_t sealed[LK_RECORD_SEALED_SIZE], open[LK_RECORD_SEALED_SIZE];
    lk_record record = some_record(&r, false), back;
    lk_record_seal(&one, &record, sealed);
    record.sealed = false;
    assert_int_equal(lk_record_seal(&one, &record, open), LK_RECORD_SIZE);
    assert_int_equal(open_copy(&none, sealed, sizeof sealed, &back), LK_RECORD_KEYLESS);
    assert_int_equal(open_copy(&two, sealed, sizeof sealed, &back), LK_RECORD_UNKNOWN_KEY);
    memcpy(forged.id[0], one.id[0], sizeof one.id[0]); /* another key that has, or claims, its id */
    assert_int_equal(open_copy(&forged, sealed, sizeof sealed, &back), LK_RECORD_BROKEN);
    assert_int_equal(open_copy(&plain, sealed, sizeof sealed, &back), LK_RECORD_GOOD);
    assert_int_equal(open_copy(&none, open, LK_RECORD_SIZE, &back), LK_RECORD_GOOD);
    assert_false(back.sealed);
    assert_int_equal(open_copy(&plain, open, LK_RECORD_SIZE, &back), LK_RECORD_GOOD);
    assert_int_equal(open_copy(&one, open, LK_RECORD_SIZE, &back), LK_RECORD_UNSEALED);
    for (int check = LK_RECORD_GOOD; check <= LK_RECORD_BROKEN; check++)
        for (int other = 0; other < check; other++)
            assert_string_not_equal(lk_record_fault((enum lk_record_check)check),
                                    lk_record_fault((enum lk_record_check)other));
}

/* ---------------------------------------------------------------------------------------------------- fields -- */

enum { MOST = 64 * 1024 };

static enum lk_seal_check open_field(const lk_seal_keys *keys, const lk_seal_context *home, const char *name,
                                     const uint8_t *sealed, size_t size, const void *data, size_t data_size)
{
    uint8_t *copy = unit_copy(sealed, size);
    enum lk_seal_check check = lk_open_field(keys, home, (lk_span){name, strlen(name)}, copy, &size);
    if (!check) {
        assert_int_equal(size, data_size);
        assert_memory_equal(copy, data, size);
    }
    free(copy);
    return check;
}

static void test_fields_round_trip(void **state)
{
    (void)state;
    unit_random r = unit_random_new(6);
    static uint8_t data[MOST], sealed[MOST + LK_SEAL_FIELD_MORE], again[MOST + LK_SEAL_FIELD_MORE];
    const size_t sizes[] = {0, 1, 15, 16, 17, 1184, 2420, MOST};
    lk_seal_keys keys = keys_of(key_1, NULL), both = keys_of(key_2, key_1);
    unit_fill(&r, data, sizeof data);
    for (size_t i = 0; i < UNIT_COUNT(sizes); i++) {
        lk_seal_context home = {.user_id = unit_next(&r)};
        unit_fill(&r, home.session, sizeof home.session);
        lk_seal_field(&keys, &home, (lk_span){"pq.k", 4}, (lk_span){data, sizes[i]}, sealed);
        lk_seal_field(&keys, &home, (lk_span){"pq.k", 4}, (lk_span){data, sizes[i]}, again);
        size_t size = sizes[i] + LK_SEAL_FIELD_MORE;
        assert_memory_equal(sealed, "LKF\1", 4);
        assert_memory_not_equal(sealed + 8, again + 8, 24);
        if (sizes[i] > 15) assert_memory_not_equal(sealed + 32, data, sizes[i]);
        assert_int_equal(open_field(&keys, &home, "pq.k", sealed, size, data, sizes[i]), LK_SEAL_GOOD);
        assert_int_equal(open_field(&both, &home, "pq.k", again, size, data, sizes[i]), LK_SEAL_GOOD);
    }
    lk_seal_field(&keys, &(lk_seal_context){.user_id = 1}, (lk_span){"empty", 5}, (lk_span){NULL, 0}, sealed);
    assert_int_equal(open_field(&keys, &(lk_seal_context){.user_id = 1}, "empty", sealed, LK_SEAL_FIELD_MORE, "", 0),
                     LK_SEAL_GOOD);
}

static void test_every_bit_and_every_length_of_a_field_counts(void **state)
{
    (void)state;
    unit_random r = unit_random_new(7);
    uint8_t data[100], sealed[sizeof data + LK_SEAL_FIELD_MORE + 100] = {0};
    const size_t size = sizeof data + LK_SEAL_FIELD_MORE;
    lk_seal_keys keys = keys_of(key_1, NULL);
    lk_seal_context home = {.user_id = 7, .session = "a session's id.."};
    unit_fill(&r, data, sizeof data);
    lk_seal_field(&keys, &home, (lk_span){"note", 4}, (lk_span){data, sizeof data}, sealed);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(open_field(&keys, &home, "note", sealed, size, data, sizeof data),
                         bit / 8 >= 4 && bit / 8 < 8 ? LK_SEAL_UNKNOWN_KEY : LK_SEAL_BROKEN);
        sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t cut = 0; cut < sizeof sealed; cut++)
        if (cut != size)
            assert_int_equal(open_field(&keys, &home, "note", sealed, cut, data, sizeof data), LK_SEAL_BROKEN);
    assert_int_equal(open_field(&keys, &home, "note", sealed, size, data, sizeof data), LK_SEAL_GOOD);
}

static void test_a_field_is_at_home_in_one_place(void **state)
{
    (void)state;
    uint8_t sealed[4 + LK_SEAL_FIELD_MORE];
    lk_seal_keys keys = keys_of(key_1, NULL), other = keys_of(key_2, NULL);
    lk_seal_context home = {.user_id = 7, .session = "a session's id.."}, away = home;
    lk_seal_field(&keys, &home, (lk_span){"note", 4}, (lk_span){"data", 4}, sealed);
    assert_int_equal(open_field(&keys, &home, "note", sealed, sizeof sealed, "data", 4), LK_SEAL_GOOD);
    for (const char *const *name = (const char *const[]){"not", "notf", "notes", "pq.note", "", NULL}; *name; name++)
        assert_int_equal(open_field(&keys, &home, *name, sealed, sizeof sealed, "data", 4), LK_SEAL_BROKEN);
    for (unsigned bit = 0; bit < 64; bit++) {
        away.user_id = home.user_id ^ UINT64_C(1) << bit;
        assert_int_equal(open_field(&keys, &away, "note", sealed, sizeof sealed, "data", 4), LK_SEAL_BROKEN);
    }
    for (unsigned bit = 0; bit < 8 * LK_SEAL_SESSION_SIZE; bit++) {
        away = home;
        away.session[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(open_field(&keys, &away, "note", sealed, sizeof sealed, "data", 4), LK_SEAL_BROKEN);
    }
    assert_int_equal(open_field(&other, &home, "note", sealed, sizeof sealed, "data", 4), LK_SEAL_UNKNOWN_KEY);
    memcpy(other.id[0], keys.id[0], sizeof keys.id[0]);
    assert_int_equal(open_field(&other, &home, "note", sealed, sizeof sealed, "data", 4), LK_SEAL_BROKEN);
}

/* Made by another program from the description in seal.h and record.h. */
static void test_known_answers(void **state)
{
    (void)state;
    static const uint8_t known_field[56] = {0x4c, 0x4b, 0x46, 0x01, 0xed, 0xff, 0x49, 0x5a, 0x00, 0x01, 0x02, 0x03,
                                            0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f,
                                            0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0xde, 0xdf, 0xa9, 0x9a,
                                            0x1a, 0xb4, 0xca, 0x83, 0x94, 0xb8, 0xcc, 0xed, 0xd2, 0xed, 0x5a, 0x50,
                                            0x72, 0x5f, 0xe3, 0xd8, 0x31, 0x71, 0xce, 0x64};
    static const uint8_t known_record[244] = {
        0x4c, 0x4b, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x40, 0x77, 0x1b, 0x00, 0x00, 0x00, 0x00, 0x00, 0x88, 0xbf,
        0xbc, 0x3e, 0x33, 0x55, 0x28, 0xdd, 0xcc, 0x16, 0xe6, 0x8f, 0xb7, 0xb7, 0x59, 0x0d, 0xba, 0x63, 0x0b, 0x1d,
        0x19, 0x80, 0x83, 0xee, 0x00, 0x50, 0x5c, 0x18, 0xa3, 0x01, 0x00, 0x00, 0x6d, 0xdc, 0x71, 0xfe, 0x76, 0x62,
        0xf9, 0xbc, 0x7f, 0x7d, 0xe0, 0x8a, 0x44, 0x3c, 0x7c, 0xc0, 0x7d, 0x5b, 0xb0, 0x62, 0x18, 0x62, 0x19, 0x63,
        0x0d, 0xa5, 0x3e, 0x0e, 0xed, 0x32, 0xd8, 0x1f, 0xa6, 0xe0, 0x00, 0xd1, 0x0f, 0x91, 0xec, 0x51, 0x4b, 0xef,
        0x22, 0x75, 0x95, 0xbb, 0x4e, 0xdf, 0x80, 0xcd, 0x4b, 0xe9, 0x97, 0xc9, 0x3a, 0xc1, 0x5a, 0x33, 0x0d, 0x05,
        0x46, 0x45, 0x96, 0xc6, 0x00, 0x68, 0xe5, 0xcf, 0x8b, 0x01, 0x00, 0x00, 0x00, 0x68, 0xe5, 0xcf, 0x8b, 0x01,
        0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0xcb, 0x29, 0x28, 0x1b, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc,
        0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc,
        0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xdd, 0xdd, 0xdd, 0xdd, 0xdd, 0xdd, 0xdd, 0xdd, 0xdd, 0xdd, 0xdd, 0xdd,
        0xdd, 0xdd, 0xdd, 0x00, 0x61, 0x20, 0x73, 0x65, 0x73, 0x73, 0x69, 0x6f, 0x6e, 0x27, 0x73, 0x20, 0x69, 0x64,
        0x2e, 0x2e, 0xed, 0xff, 0x49, 0x5a, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f, 0x20, 0x21, 0x22, 0x23,
        0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x2b, 0x2c, 0x2d, 0x2e, 0x2f, 0x95, 0xf7, 0x93, 0x79, 0xe6, 0xca,
        0x8b, 0xd7, 0xa8, 0x84, 0x6e, 0xde, 0xa3, 0xfc, 0x38, 0x88};
    lk_seal_keys keys = keys_of(key_1, NULL);
    lk_seal_context home = {.user_id = UINT64_C(0x0102030405060708), .session = "a session's id.."};
    assert_memory_equal(keys.id[0], known_field + 4, 4);
    assert_int_equal(open_field(&keys, &home, "pq.k", known_field, sizeof known_field, "material", 8), LK_SEAL_GOOD);
    lk_record back;
    assert_int_equal(open_copy(&keys, known_record, sizeof known_record, &back), LK_RECORD_GOOD);
    assert_true(back.entry.user_id == home.user_id && back.idle_ms == 1800000 && back.sealed);
    assert_memory_equal(back.session, home.session, sizeof home.session);
    assert_string_equal(back.entry.role, "member");
    assert_int_equal(back.entry.flags, 0x8001);
    for (int i = 0; i < 32; i++) {
        assert_int_equal(back.entry.permissions_hash[i], 0xaa);
        assert_int_equal(back.entry.pq_key_hash[i], 0xbb);
        assert_int_equal(back.verifier_hash[i], 0xcc);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_of_the_key_file),
        cmocka_unit_test(test_plain_before_the_keys_seals_nothing_new),
        cmocka_unit_test(test_records_round_trip_and_never_look_alike),
        cmocka_unit_test(test_every_bit_of_a_record_counts),
        cmocka_unit_test(test_every_other_length_of_a_record_is_refused),
        cmocka_unit_test(test_parts_of_other_records_do_not_fit),
        cmocka_unit_test(test_records_and_the_keys_that_are_there),
        cmocka_unit_test(test_fields_round_trip),
        cmocka_unit_test(test_every_bit_and_every_length_of_a_field_counts),
        cmocka_unit_test(test_a_field_is_at_home_in_one_place),
        cmocka_unit_test(test_known_answers),
    };
    return cmocka_run_group_tests_name("seal", tests, unit_setup, NULL);
}
