/* See foreign_token.h. */
#include "base/foreign_token.h"

#include <string.h>

enum { NAME_AT = 0, VERIFIER_AT = 15, OWN_AT = 32, PARTITION_AT = 40 };

_Static_assert(VERIFIER_AT == NAME_AT + LK_SELECTOR_RAW && OWN_AT == VERIFIER_AT + LK_VERIFIER_RAW &&
                   PARTITION_AT == OWN_AT + LK_SELECTOR_OWN && PARTITION_AT + 8 <= LK_WIDE_HASH_SIZE,
               "the parts of the hash do not overlap");

bool lk_foreign_parse(unsigned partitions, const char *text, size_t length, lk_foreign *foreign)
{
    uint8_t hash[LK_WIDE_HASH_SIZE];
    if (length < LK_FOREIGN_MIN || length > LK_FOREIGN_MAX) return false;
    lk_blake2b_wide("latchkey foreign", text, length, hash);
    lk_base64_encode(hash + NAME_AT, LK_SELECTOR_RAW, foreign->name, sizeof foreign->name);
    memcpy(foreign->verifier, hash + VERIFIER_AT, sizeof foreign->verifier);
    memcpy(foreign->own, hash + OWN_AT, sizeof foreign->own);
    uint64_t number = 0;
    for (int i = 0; i < 8; i++) number |= (uint64_t)hash[PARTITION_AT + i] << (8 * i);
    foreign->partition = (unsigned)(number % partitions);
    lk_wipe(hash, sizeof hash);
    return true;
}

void lk_foreign_make(const lk_check_keys *keys, unsigned partition, const lk_foreign *foreign, lk_token *token)
{
    memcpy(token->raw + LK_SELECTOR_OWN_AT, foreign->own, sizeof foreign->own);
    memcpy(token->raw + LK_SELECTOR_RAW, foreign->verifier, sizeof foreign->verifier);
    lk_token_complete(keys, partition, token);
    token->foreign = true;
}

static bool join(const lk_foreign *foreign, const char *selector, lk_token *token)
{
    if (!lk_base64_decode(selector, LATCHKEY_SELECTOR_LENGTH, token->raw, LK_SELECTOR_RAW)) return false;
    memcpy(token->raw + LK_SELECTOR_RAW, foreign->verifier, sizeof foreign->verifier);
    lk_base64_encode(token->raw, sizeof token->raw, token->text, sizeof token->text);
    token->foreign = true;
    return true;
}

bool lk_foreign_token(unsigned partitions, const lk_foreign *foreign, const char *selector, size_t length,
                      lk_token *token)
{
    return length == LATCHKEY_SELECTOR_LENGTH && lk_selector_parse(partitions, selector, &token->partition) &&
           join(foreign, selector, token);
}

void lk_foreign_stand_in(const lk_foreign *foreign, lk_token *token)
{
    join(foreign, foreign->name, token);
    token->partition = foreign->partition;
}
