/* Sealing: what Redis holds of a session, unreadable to whoever reads Redis, and of no use where whoever writes to Redis
 * changed or moved it. Optional: seal_key_file.
 *
 *     the key file, 64 hexadecimal digits a line      the first seals, all open, each found by its id
 *              |
 *     record   184 bytes as ever, of which role, user, flags and both hashes are encrypted where they stand; all else is
 *              authenticated beside them, since scripts read it. Behind them: the session's id, and the seal (record.h)
 *     field    'L' 'K' 'F' 1 | key id 4 | nonce 24 | ciphertext | tag 16
 *              authenticated beside it: those 4 bytes, the key id, the session's id 16, the user 8, the field's name
 *
 * XChaCha20-Poly1305, a random nonce for each. The session's id is random and stays when its token is exchanged: so fields
 * need not be sealed anew then, and nothing is at home in another session. A session is sealed whole or not at all, and
 * stays what it was made as. Its record is sealed anew with the first key whenever it is written, a field when it is set.
 *
 * The line `plain` stands for sealing nothing, in the same sense as a key: where it comes first, new sessions are not
 * sealed; anywhere, unsealed sessions are accepted. Without it an unsealed record is CORRUPT, or whoever writes to Redis
 * would write just that. It is for the way there and back; so is a key behind the first for the way to another key.
 *
 * A key's id is the first 4 bytes of BLAKE2b-256 over "latchkey seal key" and the key. A seal does not say when: an older
 * record or field of the same session, put back, opens. */
#ifndef LK_BASE_SEAL_H
#define LK_BASE_SEAL_H

#include "base/crypto.h"

#define LK_SEAL_KEYS_MAX 16
#define LK_SEAL_ID_SIZE 4
#define LK_SEAL_SIZE (LK_SEAL_ID_SIZE + LK_AEAD_NONCE_SIZE + LK_AEAD_TAG_SIZE) /* key id, nonce, tag: 44 */
#define LK_SEAL_SESSION_SIZE 16
#define LK_SEAL_FIELD_MORE (4 + LK_SEAL_SIZE) /* a sealed field is so much longer */
#define LK_SEAL_NAME_MAX 128

typedef struct lk_seal_keys {
    uint8_t key[LK_SEAL_KEYS_MAX][LK_AEAD_KEY_SIZE];
    uint8_t id[LK_SEAL_KEYS_MAX][LK_SEAL_ID_SIZE];
    unsigned count; /* 0: there is no key file */
    bool plain;     /* what is not sealed is accepted */
    bool plain_new; /* and new sessions are not sealed */
} lk_seal_keys;

/* One line of the key file, without its end. NULL: it is good; else what is wrong with it, without a word of it. */
const char *lk_seal_keys_take(lk_seal_keys *keys, const char *line);

enum lk_seal_check { LK_SEAL_GOOD, LK_SEAL_UNKNOWN_KEY, LK_SEAL_BROKEN };

/* The message in place; beside.size bytes at `beside`, of which the last LK_SEAL_ID_SIZE are the key's id: sealing writes it
 * there, opening finds it there. `seal` is the nonce and the tag. There must be a key. */
void lk_seal(const lk_seal_keys *keys, uint8_t *beside, size_t beside_size, void *message, size_t size,
             uint8_t seal[LK_AEAD_NONCE_SIZE + LK_AEAD_TAG_SIZE]);
enum lk_seal_check lk_unseal(const lk_seal_keys *keys, const uint8_t *beside, size_t beside_size, void *message,
                             size_t size, const uint8_t seal[LK_AEAD_NONCE_SIZE + LK_AEAD_TAG_SIZE]);

/* Whose a field is. */
typedef struct lk_seal_context {
    uint8_t session[LK_SEAL_SESSION_SIZE];
    uint64_t user_id;
} lk_seal_context;

/* `sealed` has room for data.size + LK_SEAL_FIELD_MORE bytes. A name is at most LK_SEAL_NAME_MAX long. */
void lk_seal_field(const lk_seal_keys *keys, const lk_seal_context *home, lk_span name, lk_span data, uint8_t *sealed);

/* In place: *size bytes at `sealed` become the field's data, at the front, and *size its length. On failure what is there is
 * of no use. */
enum lk_seal_check lk_open_field(const lk_seal_keys *keys, const lk_seal_context *home, lk_span name, uint8_t *sealed,
                                 size_t *size);

#endif
