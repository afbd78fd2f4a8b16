/* SPDX-License-Identifier: MIT
 *
 * Tokens. Input: a byte of choices, then either the text itself, or 32 bytes to make a token of (so that the fuzzer need
 * not guess 40 bits of SipHash) and pairs of place and character to change in it.
 *
 * Properties: what is accepted is the one spelling of its 32 bytes, carries a right check and a partition in range; a
 * token that was made is accepted; one that was changed in any character is not.
 */
#include "fuzz.h"
#include "base/token.h"

static const uint8_t second_key[LK_CHECK_KEY_SIZE] = "an older key ..";

/* The check by its description in token.h, not by token.c. */
static void expected_check(const uint8_t raw[LK_TOKEN_RAW], const uint8_t *key, uint8_t check[5])
{
    uint8_t rest[27];
    memcpy(rest, raw, 10);
    memcpy(rest + 10, raw + 15, 17);
    uint64_t sum = lk_siphash(rest, sizeof rest, key);
    for (int i = 0; i < 5; i++) check[i] = (uint8_t)(sum >> (8 * i));
}

static bool checks(const lk_check_keys *keys, const uint8_t raw[LK_TOKEN_RAW])
{
    bool any = false;
    for (unsigned i = 0; i < keys->count; i++) {
        uint8_t check[5];
        expected_check(raw, keys->key[i], check);
        any |= memcmp(check, raw + 10, 5) == 0;
    }
    return any;
}

static bool parse(const lk_check_keys *keys, unsigned partitions, const char *text, size_t size)
{
    lk_token token;
    char again[LATCHKEY_TOKEN_SIZE];
    if (!lk_token_parse(keys, partitions, text, size, &token)) return false;
    HOLDS(size == LATCHKEY_TOKEN_LENGTH);
    lk_base64_encode(token.raw, sizeof token.raw, again, sizeof again);
    HOLDS(memcmp(again, text, LATCHKEY_TOKEN_LENGTH) == 0 && memcmp(again, token.text, sizeof again) == 0);
    HOLDS(token.raw[0] >> 4 == 1 && token.partition == ((token.raw[0] & 15u) << 8 | token.raw[1]));
    HOLDS(token.partition < partitions);
    HOLDS(checks(keys, token.raw));
    return true;
}

static void changed(const lk_check_keys *keys, unsigned partitions, fuzz_input *in, bool right_format)
{
    uint8_t raw[LK_TOKEN_RAW];
    char made[LATCHKEY_TOKEN_SIZE], text[LATCHKEY_TOKEN_LENGTH];
    for (size_t i = 0; i < sizeof raw; i++) raw[i] = fuzz_byte(in);
    if (right_format) raw[0] = 0x10 | (raw[0] & 15);
    expected_check(raw, keys->key[raw[31] % keys->count], raw + 10);
    lk_base64_encode(raw, sizeof raw, made, sizeof made);
    bool good = raw[0] >> 4 == 1 && ((raw[0] & 15u) << 8 | raw[1]) < partitions;
    HOLDS(parse(keys, partitions, made, LATCHKEY_TOKEN_LENGTH) == good);
    memcpy(text, made, sizeof text);
    while (in->left) {
        size_t place = fuzz_byte(in) % sizeof text;
        text[place] = (char)fuzz_byte(in);
    }
    bool same = memcmp(text, made, sizeof text) == 0;
    HOLDS(parse(keys, partitions, text, sizeof text) == (good && same));
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    return !lk_crypto_init();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned counts[] = {1, 2, 64, 4096};
    fuzz_input in = {data, size};
    uint8_t choices = fuzz_byte(&in);
    unsigned partitions = counts[choices & 3];
    lk_check_keys keys;
    lk_check_keys_public(&keys);
    if (choices & 4) memcpy(keys.key[keys.count++], second_key, sizeof second_key);
    if (choices & 8) {
        changed(&keys, partitions, &in, choices & 16);
        return 0;
    }
    char *text = fuzz_text(&in, in.left, &size), *exact = malloc(size ? size : 1);
    if (!exact) abort();
    memcpy(exact, text, size);
    parse(&keys, partitions, exact, size);
    free(exact);
    free(text);
    return 0;
}
