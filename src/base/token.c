/* See token.h. */
#include "base/token.h"

#include <string.h>

enum { FORMAT = 1, CHECK_AT = 10, CHECK_SIZE = 5 };

_Static_assert(LK_SELECTOR_RAW + LK_VERIFIER_RAW == LK_TOKEN_RAW, "selector and verifier make the token");
_Static_assert(LK_SELECTOR_RAW * 8 == LATCHKEY_SELECTOR_LENGTH * 6, "the selector ends on a character");
_Static_assert(LK_SELECTOR_OWN_AT + LK_SELECTOR_OWN == CHECK_AT && CHECK_AT + CHECK_SIZE == LK_SELECTOR_RAW,
               "the check closes the selector");

void lk_check_keys_public(lk_check_keys *keys)
{
    memset(keys, 0, sizeof *keys);
    memcpy(keys->key[0], "latchkey token 1", LK_CHECK_KEY_SIZE);
    keys->count = 1;
}

static void check_bytes(const uint8_t raw[LK_TOKEN_RAW], const uint8_t *key, uint8_t out[CHECK_SIZE])
{
    uint8_t rest[LK_TOKEN_RAW - CHECK_SIZE];
    memcpy(rest, raw, CHECK_AT);
    memcpy(rest + CHECK_AT, raw + LK_SELECTOR_RAW, LK_VERIFIER_RAW);
    uint64_t sum = lk_siphash(rest, sizeof rest, key);
    for (int i = 0; i < CHECK_SIZE; i++) out[i] = (uint8_t)(sum >> (8 * i));
    lk_wipe(rest, sizeof rest);
}

void lk_token_make(const lk_check_keys *keys, unsigned partition, lk_token *token)
{
    lk_random(token->raw, sizeof token->raw);
    lk_token_complete(keys, partition, token);
}

void lk_token_complete(const lk_check_keys *keys, unsigned partition, lk_token *token)
{
    token->raw[0] = (uint8_t)(FORMAT << 4 | partition >> 8);
    token->raw[1] = (uint8_t)partition;
    check_bytes(token->raw, keys->key[0], token->raw + CHECK_AT);
    token->partition = partition;
    token->foreign = false;
    lk_base64_encode(token->raw, sizeof token->raw, token->text, sizeof token->text);
}

bool lk_token_parse(const lk_check_keys *keys, unsigned partitions, const char *text, size_t length, lk_token *token)
{
    token->foreign = false;
    if (length != LATCHKEY_TOKEN_LENGTH) return false;
    if (!lk_base64_decode(text, length, token->raw, sizeof token->raw)) return false;
    if (token->raw[0] >> 4 != FORMAT) return false;
    token->partition = (token->raw[0] & 0x0fu) << 8 | token->raw[1];
    if (token->partition >= partitions) return false;
    bool matched = false;
    for (unsigned i = 0; i < keys->count && !matched; i++) {
        uint8_t check[CHECK_SIZE];
        check_bytes(token->raw, keys->key[i], check);
        matched = lk_equal(check, token->raw + CHECK_AT, CHECK_SIZE);
    }
    memcpy(token->text, text, length);
    token->text[length] = 0;
    return matched;
}

bool lk_selector_spelled(const char *text)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    return strspn(text, letters) >= LATCHKEY_SELECTOR_LENGTH;
}

bool lk_selector_parse(unsigned partitions, const char *text, unsigned *partition)
{
    uint8_t raw[LK_SELECTOR_RAW];
    if (!lk_base64_decode(text, LATCHKEY_SELECTOR_LENGTH, raw, sizeof raw) || raw[0] >> 4 != FORMAT) return false;
    *partition = (raw[0] & 0x0fu) << 8 | raw[1];
    return *partition < partitions;
}

void lk_token_verifier_hash(const lk_token *token, uint8_t hash[LK_HASH_SIZE])
{
    lk_blake2b(&(lk_span){token->raw + LK_SELECTOR_RAW, LK_VERIFIER_RAW}, 1, hash);
}

bool lk_verifier_text_hash(const char text[LK_VERIFIER_LENGTH], uint8_t hash[LK_HASH_SIZE])
{
    uint8_t raw[LK_VERIFIER_RAW];
    bool good = lk_base64_decode(text, LK_VERIFIER_LENGTH, raw, sizeof raw);
    if (good) lk_blake2b(&(lk_span){raw, sizeof raw}, 1, hash);
    lk_wipe(raw, sizeof raw);
    return good;
}
