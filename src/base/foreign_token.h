/* A foreign token: one that another store made, of 16 to 256 bytes, honoured for a stated time while its sessions move in.
 * It is taken apart by BLAKE2b-512, personalised "latchkey foreign":
 *
 *   bytes  0-14   name, as 20 characters. Redis holds under it whose session is meant:  lk:{p}:i:<name> -> selector
 *          15-31  verifier: behind that selector it makes an ordinary token, of which Redis holds the hash alone
 *          32-39  the 64 bits of the selector that latchkey_import gives the session
 *          40-47  p, the name's partition: little-endian, modulo their number
 *
 * E: two foreign tokens are taken for each other only if name and verifier are equal, 256 bits of the hash.
 * F: name and selector, which Redis holds, are other bits of the hash than the verifier, and say nothing about it. That is
 * worth as much as the foreign token is random: who reads Redis can try guesses against it, as in the store it comes from. */
#ifndef LK_BASE_FOREIGN_TOKEN_H
#define LK_BASE_FOREIGN_TOKEN_H

#include "base/token.h"

enum { LK_FOREIGN_MIN = 16, LK_FOREIGN_MAX = 256 };

typedef struct lk_foreign {
    char name[LATCHKEY_SELECTOR_LENGTH + 1];
    unsigned partition; /* of the name; the session's is its user's */
    uint8_t verifier[LK_VERIFIER_RAW];
    uint8_t own[LK_SELECTOR_OWN];
} lk_foreign;

bool lk_foreign_parse(unsigned partitions, const char *text, size_t length,
                      lk_foreign *foreign); /* false: its length */

/* The token that the session gets: the same each time, as long as the first check key is. */
void lk_foreign_make(const lk_check_keys *keys, unsigned partition, const lk_foreign *foreign, lk_token *token);

/* The token of the session with that selector. False: it is none, of so many partitions. */
bool lk_foreign_token(unsigned partitions, const lk_foreign *foreign, const char *selector, size_t length,
                      lk_token *token);

/* What stands for a token until the selector is known: the name and the verifier. Nobody's token. */
void lk_foreign_stand_in(const lk_foreign *foreign, lk_token *token);

#endif
