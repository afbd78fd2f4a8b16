/* SPDX-License-Identifier: MIT
 *
 * Foreign tokens: what they are taken apart into is frozen, since Redis holds it; every byte of them counts; and what they
 * stand for is an ordinary token. (Guarantees E and F rest on it.)
 */
#include "base/foreign_token.h"
#include "unit.h"

#include <string.h>

enum { PARTITIONS_MOST = 4096 };

static bool take(unsigned partitions, const void *bytes, size_t size, lk_foreign *foreign)
{
    char *exact = unit_copy(bytes, size); /* tokens need not be NUL-terminated */
    memset(foreign, 0, sizeof *foreign);  /* so that two can be compared as bytes */
    bool taken = lk_foreign_parse(partitions, exact, size, foreign);
    free(exact);
    return taken;
}

/* By Python: hashlib.blake2b(token, digest_size=64, person=b"latchkey foreign"). */
static void test_known_tokens(void **state)
{
    (void)state;
    char all[256];
    for (int i = 0; i < 256; i++) all[i] = (char)i;
    const struct {
        const char *bytes;
        size_t size;
        const char *name, *verifier, *own;
        unsigned of_4096, of_64;
    } known[] = {
        {"0123456789abcdef", 16, "JFLeffCQZXNvXejrxbYd", "d11395de699239385fc315a2be5a4c1d3e", "2255a43163209968", 1166,
         14},
        {"8f14e45f-ceea-467f-a0e6-4f3c1b2a9d77", 36, "-Netz4wKl4DWksJdOyH2", "e8d9fc740cb869f7a90c776318bc05bf77",
         "c938fab1fef179da", 1677, 13},
        {all, 256, "m-nrURs5389WzO0b3ow_", "0c7ea3d33b6f74cee2b1244f8940184474", "c5b788e3b1764b40", 2499, 3},
    };
    for (size_t i = 0; i < UNIT_COUNT(known); i++) {
        lk_foreign f;
        uint8_t verifier[LK_VERIFIER_RAW], own[LK_SELECTOR_OWN];
        assert_true(lk_hex_decode(known[i].verifier, 34, verifier, sizeof verifier));
        assert_true(lk_hex_decode(known[i].own, 16, own, sizeof own));
        assert_true(take(PARTITIONS_MOST, known[i].bytes, known[i].size, &f));
        assert_string_equal(f.name, known[i].name);
        assert_memory_equal(f.verifier, verifier, sizeof verifier);
        assert_memory_equal(f.own, own, sizeof own);
        assert_int_equal(f.partition, known[i].of_4096);
        assert_true(take(64, known[i].bytes, known[i].size, &f));
        assert_int_equal(f.partition, known[i].of_64);
    }
}

static void test_lengths(void **state)
{
    (void)state;
    char bytes[300] = {0};
    lk_foreign f;
    for (size_t size = 0; size <= sizeof bytes; size++)
        assert_int_equal(take(64, bytes, size, &f), size >= 16 && size <= 256);
}

static void test_every_bit_and_the_length_count(void **state)
{
    (void)state;
    unit_random r = unit_random_new(1);
    for (uint64_t round = unit_rounds(20); round; round--) {
        uint8_t bytes[256];
        lk_foreign f, g;
        size_t size = 16 + (size_t)unit_below(&r, 240);
        unit_fill(&r, bytes, sizeof bytes);
        assert_true(take(64, bytes, size, &f));
        for (size_t bit = 0; bit < size * 8; bit++) {
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_true(take(64, bytes, size, &g));
            assert_memory_not_equal(f.verifier, g.verifier, sizeof f.verifier);
            assert_string_not_equal(f.name, g.name);
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        assert_true(take(64, bytes, size + 1, &g));
        assert_memory_not_equal(f.verifier, g.verifier, sizeof f.verifier);
        assert_true(take(64, bytes, size, &g));
        assert_memory_equal(&f, &g, sizeof f);
    }
}

/* As import makes it, and as it is found again by its selector: one token, and one like any other. */
static void test_what_it_stands_for_is_an_ordinary_token(void **state)
{
    (void)state;
    unit_random r = unit_random_new(2);
    lk_check_keys keys;
    lk_check_keys_public(&keys);
    for (uint64_t round = unit_rounds(2000); round; round--) {
        uint8_t bytes[64];
        lk_foreign f;
        lk_token made, found, parsed;
        uint8_t a[LK_HASH_SIZE], b[LK_HASH_SIZE];
        unsigned partition = (unsigned)unit_below(&r, PARTITIONS_MOST);
        unit_fill(&r, bytes, sizeof bytes);
        assert_true(take(PARTITIONS_MOST, bytes, sizeof bytes, &f));
        lk_foreign_make(&keys, partition, &f, &made);
        assert_true(made.foreign);
        assert_true(lk_token_parse(&keys, PARTITIONS_MOST, made.text, LATCHKEY_TOKEN_LENGTH, &parsed));
        assert_false(parsed.foreign);
        assert_int_equal(parsed.partition, partition);
        assert_memory_equal(made.raw, parsed.raw, sizeof made.raw);
        assert_true(lk_foreign_token(PARTITIONS_MOST, &f, made.text, LATCHKEY_SELECTOR_LENGTH, &found));
        assert_true(found.foreign);
        assert_string_equal(found.text, made.text);
        assert_int_equal(found.partition, partition);
        lk_token_verifier_hash(&made, a);
        lk_token_verifier_hash(&found, b);
        assert_memory_equal(a, b, sizeof a);
        /* What stands for it until then is no token, and has its verifier. */
        lk_foreign_stand_in(&f, &found);
        assert_memory_equal(found.text, f.name, LATCHKEY_SELECTOR_LENGTH);
        assert_string_equal(found.text + LATCHKEY_SELECTOR_LENGTH, made.text + LATCHKEY_SELECTOR_LENGTH);
        assert_int_equal(found.partition, f.partition);
        assert_false(lk_token_parse(&keys, PARTITIONS_MOST, found.text, LATCHKEY_TOKEN_LENGTH, &parsed));
    }
}

static void test_what_is_no_selector(void **state)
{
    (void)state;
    lk_foreign f;
    lk_token token;
    assert_true(take(64, "0123456789abcdef", 16, &f));
    assert_true(lk_foreign_token(64, &f, "EAAAAAAAAAAAAAAAAAAA", 20, &token));
    const struct {
        const char *text;
        size_t size;
    } bad[] = {
        {"", 0},
        {"EAAAAAAAAAAAAAAAAAA", 19},
        {"EAAAAAAAAAAAAAAAAAAAA", 21},
        {"FAAAAAAAAAAAAAAAAAAA", 20}, /* of partition 1024 */
        {"AAAAAAAAAAAAAAAAAAAA", 20}, /* of no format */
        {"EAAAAAAAAAAAAAAAAAA=", 20},
        {"EAAAAAAAAAAAAAAAAA\0A", 20},
        {"EAAAAAAAAAAAAAAAAA\xff"
         "A",
         20},
    };
    for (size_t i = 0; i < UNIT_COUNT(bad); i++)
        assert_false(lk_foreign_token(64, &f, bad[i].text, bad[i].size, &token));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_tokens),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_every_bit_and_the_length_count),
        cmocka_unit_test(test_what_it_stands_for_is_an_ordinary_token),
        cmocka_unit_test(test_what_is_no_selector),
    };
    return cmocka_run_group_tests(tests, unit_setup, NULL);
}
