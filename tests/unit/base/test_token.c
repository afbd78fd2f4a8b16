/* SPDX-License-Identifier: MIT
 *
 * The token: its layout is frozen, only what a holder of the keys could have made is taken for one, and it has one
 * spelling. (Guarantees E and F rest on it.)
 */
#include "base/token.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

enum { PARTITIONS_MOST = 4096 };

static lk_check_keys public_keys(void)
{
    lk_check_keys keys;
    lk_check_keys_public(&keys);
    return keys;
}

static bool parses(const lk_check_keys *keys, unsigned partitions, const char *text, size_t length, lk_token *token)
{
    char *exact = unit_copy(text, length); /* tokens need not be NUL-terminated */
    bool parsed = lk_token_parse(keys, partitions, exact, length, token);
    free(exact);
    return parsed;
}

/* Made by another program from the description in token.h. */
static void test_known_tokens(void **state)
{
    (void)state;
    lk_check_keys keys = public_keys();
    lk_token token;
    const struct {
        const char *text;
        unsigned partition;
    } known[] = {
        {"EAAAAAAAAAAAAPAtxAsSAAAAAAAAAAAAAAAAAAAAAAA", 0},
        {"ECoBAgMEBQYHCCaHm-tTgIGCg4SFhoeIiYqLjI2Oj5A", 42},
        {"H____________5WKrzZK______________________8", 4095},
    };
    for (size_t i = 0; i < UNIT_COUNT(known); i++) {
        assert_true(parses(&keys, PARTITIONS_MOST, known[i].text, LATCHKEY_TOKEN_LENGTH, &token));
        assert_int_equal(token.partition, known[i].partition);
        assert_string_equal(token.text, known[i].text);
    }
    uint8_t hash[LK_HASH_SIZE], expected[LK_HASH_SIZE];
    const char *hex = "5998409e2ce1e555c6326cce9c9866c0ddee41cf0430bf121fc6fb5e49202665";
    assert_true(lk_hex_decode(hex, 64, expected, sizeof expected));
    assert_true(lk_verifier_text_hash(known[1].text + LATCHKEY_SELECTOR_LENGTH, hash));
    assert_memory_equal(hash, expected, sizeof hash);
}

static void test_round_trip(void **state)
{
    (void)state;
    unit_random r = unit_random_new(1);
    lk_check_keys keys = public_keys();
    for (uint64_t i = unit_rounds(20000); i; i--) {
        lk_token made, parsed;
        unsigned partition = (unsigned)unit_below(&r, PARTITIONS_MOST);
        uint8_t by_raw[LK_HASH_SIZE], by_text[LK_HASH_SIZE];
        lk_token_make(&keys, partition, &made);
        assert_int_equal(strlen(made.text), LATCHKEY_TOKEN_LENGTH);
        assert_true(parses(&keys, PARTITIONS_MOST, made.text, LATCHKEY_TOKEN_LENGTH, &parsed));
        assert_int_equal(parsed.partition, partition);
        assert_memory_equal(parsed.raw, made.raw, sizeof made.raw);
        assert_string_equal(parsed.text, made.text);
        lk_token_verifier_hash(&parsed, by_raw);
        assert_true(lk_verifier_text_hash(made.text + LATCHKEY_SELECTOR_LENGTH, by_text));
        assert_memory_equal(by_raw, by_text, sizeof by_raw);
    }
}

static void test_made_tokens_differ_in_every_random_part(void **state)
{
    (void)state;
    lk_check_keys keys = public_keys();
    lk_token a, b;
    lk_token_make(&keys, 7, &a);
    lk_token_make(&keys, 7, &b);
    assert_memory_equal(a.raw, b.raw, 2);
    assert_memory_not_equal(a.raw + 2, b.raw + 2, 8);
    assert_memory_not_equal(a.raw + LK_SELECTOR_RAW, b.raw + LK_SELECTOR_RAW, LK_VERIFIER_RAW);
}

/* Any other byte in any place: the check is of 40 bits, so 11,000 mutations pass by chance once in 10^8 runs. */
static void test_every_mutation_of_every_character_is_refused(void **state)
{
    (void)state;
    lk_check_keys keys = public_keys();
    lk_token made, parsed;
    lk_token_make(&keys, 3, &made);
    for (size_t at = 0; at < LATCHKEY_TOKEN_LENGTH; at++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            char text[LATCHKEY_TOKEN_SIZE];
            memcpy(text, made.text, sizeof text);
            text[at] = (char)byte;
            bool same = text[at] == made.text[at];
            assert_int_equal(parses(&keys, PARTITIONS_MOST, text, LATCHKEY_TOKEN_LENGTH, &parsed), same);
        }
    }
    for (size_t i = 0; i < LATCHKEY_TOKEN_LENGTH; i++) { /* two characters change places */
        for (size_t j = 0; j < i; j++) {
            char text[LATCHKEY_TOKEN_SIZE];
            memcpy(text, made.text, sizeof text);
            text[i] = made.text[j];
            text[j] = made.text[i];
            bool same = text[i] == text[j];
            assert_int_equal(parses(&keys, PARTITIONS_MOST, text, LATCHKEY_TOKEN_LENGTH, &parsed), same);
        }
    }
}

/* The last character carries 4 bits; the 15 other spellings of each value are no tokens. */
static void test_the_last_character_is_canonical(void **state)
{
    (void)state;
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    lk_check_keys keys = public_keys();
    for (int i = 0; i < 200; i++) {
        lk_token made, parsed;
        char text[LATCHKEY_TOKEN_SIZE];
        uint8_t hash[LK_HASH_SIZE];
        lk_token_make(&keys, 0, &made);
        memcpy(text, made.text, sizeof text);
        size_t value = (size_t)(strchr(digits, text[LATCHKEY_TOKEN_LENGTH - 1]) - digits);
        assert_int_equal(value % 4, 0);
        for (size_t spare = 1; spare < 4; spare++) {
            text[LATCHKEY_TOKEN_LENGTH - 1] = digits[value + spare];
            assert_false(parses(&keys, PARTITIONS_MOST, text, LATCHKEY_TOKEN_LENGTH, &parsed));
            assert_false(lk_verifier_text_hash(text + LATCHKEY_SELECTOR_LENGTH, hash));
        }
    }
}

static void test_keys_are_rotated(void **state)
{
    (void)state;
    lk_check_keys old = {.count = 1}, next = {.count = 2}, after = {.count = 1}, many = {.count = LK_CHECK_KEYS_MAX};
    memset(old.key[0], 0x11, LK_CHECK_KEY_SIZE);
    memset(next.key[0], 0x22, LK_CHECK_KEY_SIZE);
    memset(next.key[1], 0x11, LK_CHECK_KEY_SIZE);
    memset(after.key[0], 0x22, LK_CHECK_KEY_SIZE);
    for (unsigned i = 0; i < many.count; i++) memset(many.key[i], (int)(0x31 - i), LK_CHECK_KEY_SIZE); /* 0x22 last */
    lk_check_keys public = public_keys(), none = {0};
    lk_token by_old, by_next, parsed;
    lk_token_make(&old, 1, &by_old);
    lk_token_make(&next, 1, &by_next);
    const struct {
        const lk_check_keys *keys;
        bool takes_old, takes_next;
    } rows[] = {{&old, true, false},  {&next, true, true},     {&after, false, true},
                {&many, false, true}, {&public, false, false}, {&none, false, false}};
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
        assert_int_equal(parses(rows[i].keys, 64, by_old.text, LATCHKEY_TOKEN_LENGTH, &parsed), rows[i].takes_old);
        assert_int_equal(parses(rows[i].keys, 64, by_next.text, LATCHKEY_TOKEN_LENGTH, &parsed), rows[i].takes_next);
    }
}

static void test_partitions_bound_the_token(void **state)
{
    (void)state;
    lk_check_keys keys = public_keys();
    const unsigned partitions[] = {0, 1, 15, 16, 63, 64, 255, 256, 257, 4095};
    for (size_t i = 0; i < UNIT_COUNT(partitions); i++) {
        lk_token made, parsed;
        lk_token_make(&keys, partitions[i], &made);
        assert_int_equal(made.partition, partitions[i]);
        assert_true(parses(&keys, partitions[i] + 1, made.text, LATCHKEY_TOKEN_LENGTH, &parsed));
        assert_int_equal(parsed.partition, partitions[i]);
        assert_false(parses(&keys, partitions[i], made.text, LATCHKEY_TOKEN_LENGTH, &parsed));
    }
}

/* A token of another format with a right check: of a later version, and no token to this one. */
static void test_other_formats_are_refused(void **state)
{
    (void)state;
    lk_check_keys keys = public_keys();
    for (unsigned format = 0; format < 16; format++) {
        lk_token made, parsed;
        uint8_t rest[LK_TOKEN_RAW - 5];
        lk_token_make(&keys, 5, &made);
        made.raw[0] = (uint8_t)(format << 4);
        memcpy(rest, made.raw, 10);
        memcpy(rest + 10, made.raw + LK_SELECTOR_RAW, LK_VERIFIER_RAW);
        uint64_t check = lk_siphash(rest, sizeof rest, keys.key[0]);
        for (int i = 0; i < 5; i++) made.raw[10 + i] = (uint8_t)(check >> (8 * i));
        lk_base64_encode(made.raw, sizeof made.raw, made.text, sizeof made.text);
        assert_int_equal(parses(&keys, 64, made.text, LATCHKEY_TOKEN_LENGTH, &parsed), format == 1);
    }
}

static void test_wrong_lengths_are_refused(void **state)
{
    (void)state;
    lk_check_keys keys = public_keys();
    lk_token made, parsed;
    char text[2 * LATCHKEY_TOKEN_SIZE];
    lk_token_make(&keys, 1, &made);
    snprintf(text, sizeof text, "%s%s", made.text, made.text);
    for (size_t length = 0; length < strlen(text); length++)
        assert_int_equal(parses(&keys, 64, text, length, &parsed), length == LATCHKEY_TOKEN_LENGTH);
    assert_false(lk_token_parse(&keys, 64, text, SIZE_MAX, &parsed));
}

static void test_random_bytes_of_all_lengths(void **state)
{
    (void)state;
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unit_random r = unit_random_new(2);
    lk_check_keys keys = public_keys();
    lk_token parsed;
    char text[128];
    for (uint64_t i = unit_rounds(200000); i; i--) {
        bool spelt = i % 2;
        size_t length = spelt ? LATCHKEY_TOKEN_LENGTH : unit_below(&r, sizeof text);
        unit_fill(&r, text, length);
        for (size_t at = 0; spelt && at < length; at++) text[at] = digits[(unsigned char)text[at] % 64];
        if (spelt) text[0] = 'E'; /* format 1 */
        assert_false(parses(&keys, PARTITIONS_MOST, text, length, &parsed));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_tokens),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_made_tokens_differ_in_every_random_part),
        cmocka_unit_test(test_every_mutation_of_every_character_is_refused),
        cmocka_unit_test(test_the_last_character_is_canonical),
        cmocka_unit_test(test_keys_are_rotated),
        cmocka_unit_test(test_partitions_bound_the_token),
        cmocka_unit_test(test_other_formats_are_refused),
        cmocka_unit_test(test_wrong_lengths_are_refused),
        cmocka_unit_test(test_random_bytes_of_all_lengths),
    };
    return cmocka_run_group_tests_name("token", tests, unit_setup, NULL);
}
