/* SPDX-License-Identifier: MIT
 *
 * The hashes are the published ones, and a text has one spelling: what a binding or another language computes must agree.
 */
#include "base/crypto.h"
#include "unit.h"

#include <string.h>

static void assert_hex(const uint8_t *bytes, size_t size, const char *hex)
{
    uint8_t expected[64];
    assert_int_equal(strlen(hex), 2 * size);
    assert_true(lk_hex_decode(hex, strlen(hex), expected, size));
    assert_memory_equal(bytes, expected, size);
}

/* From the reference implementation. */
static void test_blake2b_256_known_answers(void **state)
{
    (void)state;
    uint8_t hash[LK_HASH_SIZE], bytes[256], a[129];
    for (int i = 0; i < 256; i++) bytes[i] = (uint8_t)i;
    memset(a, 'a', sizeof a);
    const struct {
        lk_span text;
        const char *hash;
    } known[] = {
        {{"", 0}, "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8"},
        {{NULL, 0}, "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8"},
        {{"abc", 3}, "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319"},
        {{a, 128}, "ae2aa48507885c4c950fb809b2076f959cde9f8ea6da260d9a3587df33dac450"},
        {{a, 129}, "2f64744a6de0d2c0b56e64cf6e29a5aaa255010d415d51c75ccc82f73dccd865"},
        {{bytes, 256}, "39a7eb9fedc19aabc83425c6755dd90e6f9d0c804964a1f4aaeea3b9fb599835"},
    };
    for (size_t i = 0; i < UNIT_COUNT(known); i++) {
        lk_blake2b(&known[i].text, 1, hash);
        assert_hex(hash, sizeof hash, known[i].hash);
    }
    lk_blake2b(NULL, 0, hash);
    assert_hex(hash, sizeof hash, known[0].hash);
}

static void test_blake2b_of_spans_is_that_of_their_bytes(void **state)
{
    (void)state;
    unit_random r = unit_random_new(1);
    uint8_t bytes[600], whole[LK_HASH_SIZE], parts[LK_HASH_SIZE];
    unit_fill(&r, bytes, sizeof bytes);
    for (uint64_t i = unit_rounds(2000); i; i--) {
        size_t size = unit_below(&r, sizeof bytes), first = unit_below(&r, size + 1);
        size_t second = first + unit_below(&r, size - first + 1);
        lk_span spans[4] = {
            {bytes, first}, {bytes + first, 0}, {bytes + first, second - first}, {bytes + second, size - second}};
        lk_blake2b(&(lk_span){bytes, size}, 1, whole);
        lk_blake2b(spans, 4, parts);
        assert_memory_equal(whole, parts, sizeof whole);
    }
}

/* The first ones are from the SipHash paper's own table (key 00..0f, text 00..n-1). */
static void test_siphash_2_4_known_answers(void **state)
{
    (void)state;
    uint8_t key[LK_CHECK_KEY_SIZE], text[64];
    for (uint8_t i = 0; i < sizeof key; i++) key[i] = i;
    for (uint8_t i = 0; i < sizeof text; i++) text[i] = i;
    assert_true(lk_siphash(text, 0, key) == UINT64_C(0x726fdb47dd0e0e31));
    assert_true(lk_siphash(text, 1, key) == UINT64_C(0x74f839c593dc67fd));
    assert_true(lk_siphash(text, 7, key) == UINT64_C(0xab0200f58b01d137));
    assert_true(lk_siphash(text, 8, key) == UINT64_C(0x93f5f5799a932462));
    assert_true(lk_siphash(text, 15, key) == UINT64_C(0xa129ca6149be45e5));
    assert_true(lk_siphash(text, 27, key) == UINT64_C(0x2f2e6163076bcfad));
    assert_true(lk_siphash(text, 63, key) == UINT64_C(0x958a324ceb064572));
}

static void test_base64url_round_trip(void **state)
{
    (void)state;
    unit_random r = unit_random_new(2);
    uint8_t raw[48], back[48];
    char text[80];
    for (size_t size = 1; size <= sizeof raw; size++) {
        for (uint64_t i = unit_rounds(64); i; i--) {
            unit_fill(&r, raw, size);
            lk_base64_encode(raw, size, text, sizeof text);
            size_t length = strlen(text);
            assert_int_equal(length, (size * 8 + 5) / 6);
            assert_int_equal(strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), length);
            char *exact = unit_copy(text, length); /* no NUL behind it */
            assert_true(lk_base64_decode(exact, length, back, size));
            assert_memory_equal(raw, back, size);
            assert_false(lk_base64_decode(exact, length, back, size - 1));
            if (size < sizeof raw) assert_false(lk_base64_decode(exact, length, back, size + 1));
            assert_false(lk_base64_decode(exact, length - 1, back, size));
            free(exact);
        }
    }
    memcpy(raw, "\xfb\xff\xbf", 3);
    lk_base64_encode(raw, 3, text, sizeof text);
    assert_string_equal(text, "-_-_");
}

/* Two spellings of one token would be two entries in L1 and one session in Redis. */
static void test_base64url_has_one_spelling(void **state)
{
    (void)state;
    uint8_t raw[4];
    assert_true(lk_base64_decode("AA", 2, raw, 1));
    for (const char *last = "BCDEFGHIJKLMNOP"; *last; last++)
        assert_false(lk_base64_decode((char[]){'A', *last}, 2, raw, 1));
    assert_true(lk_base64_decode("AAE", 3, raw, 2));
    assert_false(lk_base64_decode("AAF", 3, raw, 2));
    const struct {
        const char *text;
        size_t raw_size;
    } bad[] = {{"AA==", 1}, {"AA=", 1}, {"AA\n", 1}, {" AA", 1},  {"A A", 1},  {"AA ", 1},   {"++++", 3}, {"////", 3},
               {"A", 1},    {"A", 0},   {"AA,A", 3}, {"AA.A", 3}, {"AA~A", 3}, {"AA%41", 3}, {"AAA=", 2}, {"AAA==", 2}};
    for (size_t i = 0; i < UNIT_COUNT(bad); i++)
        assert_false(lk_base64_decode(bad[i].text, strlen(bad[i].text), raw, bad[i].raw_size));
    assert_false(lk_base64_decode("AA\0A", 4, raw, 3));
    assert_false(lk_base64_decode("AA\0", 3, raw, 1));
}

static void test_base64url_has_64_digits(void **state)
{
    (void)state;
    unsigned digits = 0;
    for (unsigned byte = 0; byte < 256; byte++) {
        uint8_t raw[3];
        char text[5] = {'A', 'A', 'A', (char)byte}, again[5];
        if (!lk_base64_decode(text, 4, raw, sizeof raw)) continue;
        lk_base64_encode(raw, sizeof raw, again, sizeof again);
        assert_memory_equal(again, text, sizeof text);
        digits++;
    }
    assert_int_equal(digits, 64);
}

/* What encoders of other stores write. */
static void test_anybodys_base64(void **state)
{
    (void)state;
    static const struct {
        const char *text, *raw;
        int size; /* -1: refused */
    } known[] = {
        {"", "", 0},
        {"AA==", "\0", 1},
        {"AA", "\0", 1},
        {"+/+/", "\xfb\xff\xbf", 3},
        {"-_-_", "\xfb\xff\xbf", 3},
        {"-_-_AAE=", "\xfb\xff\xbf\0\1", 5},
        {"+/+/\r\nAAE=\r\n", "\xfb\xff\xbf\0\1", 5},
        {"AA\nAB", "\0\0\1", 3},
        {"=", "", 0},
        {"+/-_", NULL, -1},
        {"A", NULL, -1},
        {"AAAAA", NULL, -1},
        {"AB", NULL, -1},
        {"AA A", NULL, -1},
        {"AA=A", NULL, -1},
        {"AA.A", NULL, -1},
        {"AAA\xe9", NULL, -1},
    };
    for (size_t i = 0; i < UNIT_COUNT(known); i++) {
        uint8_t raw[32];
        size_t length = strlen(known[i].text), size = 99;
        char *exact = unit_copy(known[i].text, length); /* no NUL behind it */
        assert_int_equal(lk_base64_read(exact, length, raw, &size), known[i].size >= 0);
        if (known[i].size >= 0) {
            assert_int_equal(size, known[i].size);
            assert_memory_equal(raw, known[i].raw, size);
        }
        free(exact);
    }
    uint8_t raw[8];
    size_t size;
    assert_false(lk_base64_read("AA\0AA", 5, raw, &size));
    unsigned digits = 0;
    for (unsigned byte = 0; byte < 256; byte++)
        digits += byte != '=' && byte != '\r' && byte != '\n' &&
                  lk_base64_read((char[]){'A', 'A', 'A', (char)byte}, 4, raw, &size);
    assert_int_equal(digits, 66); /* of both alphabets */
}

static void test_hex_is_exact(void **state)
{
    (void)state;
    uint8_t raw[4];
    assert_true(lk_hex_decode("00ffA5a5", 8, raw, 4));
    assert_memory_equal(raw, "\x00\xff\xa5\xa5", 4);
    const char *bad[] = {"",          "0",         "00ffA5a",  "00ffA5a50", "00ffA5a5 ",
                         " 00ffA5a5", "00:ffA5a5", "0x00ffA5", "00ffA5ag",  "00ffA5a500"};
    for (size_t i = 0; i < UNIT_COUNT(bad); i++) assert_false(lk_hex_decode(bad[i], strlen(bad[i]), raw, 4));
    assert_false(lk_hex_decode("00ffA5\0a", 8, raw, 4));
    char text[9];
    lk_hex_encode((const uint8_t *)"\x00\xff\xa5\xa5", 4, text);
    assert_string_equal(text, "00ffa5a5");
}

static void test_equal_sees_every_bit(void **state)
{
    (void)state;
    uint8_t a[32] = {0}, b[32] = {0};
    assert_true(lk_equal(a, b, sizeof a));
    assert_true(lk_equal(a, b, 0));
    for (unsigned bit = 0; bit < 8 * sizeof a; bit++) {
        b[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(lk_equal(a, b, sizeof a));
        b[bit / 8] = 0;
    }
}

static void test_wipe_and_random(void **state)
{
    (void)state;
    uint8_t a[64], b[64], zero[64] = {0};
    assert_true(lk_crypto_init());
    lk_random(a, sizeof a);
    lk_random(b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    assert_memory_not_equal(a, zero, sizeof a);
    lk_wipe(a, sizeof a);
    assert_memory_equal(a, zero, sizeof a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blake2b_256_known_answers),
        cmocka_unit_test(test_blake2b_of_spans_is_that_of_their_bytes),
        cmocka_unit_test(test_siphash_2_4_known_answers),
        cmocka_unit_test(test_base64url_round_trip),
        cmocka_unit_test(test_base64url_has_one_spelling),
        cmocka_unit_test(test_base64url_has_64_digits),
        cmocka_unit_test(test_anybodys_base64),
        cmocka_unit_test(test_hex_is_exact),
        cmocka_unit_test(test_equal_sees_every_bit),
        cmocka_unit_test(test_wipe_and_random),
    };
    return cmocka_run_group_tests_name("crypto", tests, unit_setup, NULL);
}
