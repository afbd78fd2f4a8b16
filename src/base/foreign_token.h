/* A foreign token: 16 to 256 bytes, made by another store, and accepted for a set time after its session was
 * imported. It is hashed with BLAKE2b-512, personalised "latchkey foreign", and the hash is cut into parts:
 *
 *   bytes  0-14   name, as 20 characters. Redis keeps the session's selector under it:  lk:{p}:i:<name> -> selector
 *          15-31  verifier: behind that selector it makes an ordinary token. Redis holds only its hash
 *          32-39  the 64 random bits of the selector that latchkey_import gives the session
 *          40-47  p, the name's partition: little-endian, modulo the number of partitions
 *
 * E: two foreign tokens count as one only if name and verifier are equal, which are 256 bits of the hash.
 * F: Redis holds the name and the selector. Those are other bits of the hash than the verifier, and say nothing about
 * it. A foreign token is protected only as far as it is random: someone who reads Redis can try guesses against it, as
 * in the store that it came from. */
#ifndef LK_BASE_FOREIGN_TOKEN_H
#define LK_BASE_FOREIGN_TOKEN_H

#include "base/token.h"

enum { LK_FOREIGN_MIN = 16, LK_FOREIGN_MAX = 256 };

typedef struct lk_foreign {
    char name[LATCHKEY_SELECTOR_LENGTH + 1];
    unsigned partition; /* of the name; the session lies in its user's partition */
    uint8_t verifier[LK_VERIFIER_RAW];
    uint8_t own[LK_SELECTOR_OWN];
} lk_foreign;

bool lk_foreign_parse(unsigned partitions, const char *text, size_t length,
                      lk_foreign *foreign); /* false: its length is not allowed */

/* The session's own token. It is the same each time, as long as the first check key is the same. */
void lk_foreign_make(const lk_check_keys *keys, unsigned partition, const lk_foreign *foreign, lk_token *token);

/* The token of the session with that selector. False: the selector is not valid for so many partitions. */
bool lk_foreign_token(unsigned partitions, const lk_foreign *foreign, const char *selector, size_t length,
                      lk_token *token);

/* Stands for the token until the selector is known: the name in the selector's place, and the verifier. It is no
 * session's token. */
void lk_foreign_stand_in(const lk_foreign *foreign, lk_token *token);

#endif
