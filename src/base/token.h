/* The token: 32 bytes, written as 43 characters of unpadded base64url.
 *
 *   bytes  0-1    format (4 bits, 1), partition (12 bits), big-endian         \
 *          2-9    64 random bits                                               } selector = characters 0-19
 *          10-14  check: 40 bits of SipHash-2-4 over the other 27 bytes       /
 *          15-31  136 random bits                                               verifier = characters 20-42
 *
 * The selector names the session and is no secret. The verifier is the secret; Redis holds its BLAKE2b-256. The check
 * refuses invented tokens before anything is sent. It is a filter, not the security boundary. */
#ifndef LK_BASE_TOKEN_H
#define LK_BASE_TOKEN_H

#include "base/crypto.h"
#include "latchkey.h"

#define LK_TOKEN_RAW 32
#define LK_SELECTOR_RAW 15
#define LK_VERIFIER_RAW 17
#define LK_SELECTOR_OWN_AT 2 /* the selector's random bytes */
#define LK_SELECTOR_OWN 8
#define LK_VERIFIER_LENGTH (LATCHKEY_TOKEN_LENGTH - LATCHKEY_SELECTOR_LENGTH)
#define LK_CHECK_KEYS_MAX 16

typedef struct lk_check_keys {
    uint8_t key[LK_CHECK_KEYS_MAX][LK_CHECK_KEY_SIZE]; /* the first key makes tokens, all are accepted */
    unsigned count;
} lk_check_keys;

typedef struct lk_token {
    char text[LATCHKEY_TOKEN_SIZE]; /* NUL-terminated; the selector is its first 20 characters */
    uint8_t raw[LK_TOKEN_RAW];
    unsigned partition;
    bool foreign; /* it stands for a token of another store: foreign_token.h */
} lk_token;

void lk_check_keys_public(lk_check_keys *keys); /* the fixed public key, for use without check_key_file */

void lk_token_make(const lk_check_keys *keys, unsigned partition, lk_token *token);

/* The same with the random bytes that raw already holds: the selector's own, and the verifier. */
void lk_token_complete(const lk_check_keys *keys, unsigned partition, lk_token *token);

/* False: no holder of these keys could have made this token for so many partitions. */
bool lk_token_parse(const lk_check_keys *keys, unsigned partitions, const char *text, size_t length, lk_token *token);

/* Could these 20 characters begin such a token? Its check needs the rest of the token and is not looked at. */
bool lk_selector_parse(unsigned partitions, const char *text, unsigned *partition);

/* Does the text begin with 20 characters of the tokens' alphabet? Text from Redis is not taken for a selector before
 * that. */
bool lk_selector_spelled(const char *text);

/* The partition that stands in a token's first three characters. Of anything else a number that is no partition, or any: always
 * below LK_TOKEN_PARTITIONS. Cheap: it is on the way of every request. */
enum { LK_TOKEN_PARTITIONS = 4096 };
extern const uint8_t lk_base64_values[256];

static inline unsigned lk_token_partition(const char *token)
{
    const unsigned char *c = (const unsigned char *)token;
    return (lk_base64_values[c[0]] & 3u) << 10 | (unsigned)lk_base64_values[c[1]] << 4 | lk_base64_values[c[2]] >> 2;
}

/* What Redis holds of the verifier. */
void lk_token_verifier_hash(const lk_token *token, uint8_t hash[LK_HASH_SIZE]);
bool lk_verifier_text_hash(const char text[LK_VERIFIER_LENGTH], uint8_t hash[LK_HASH_SIZE]);

#endif
