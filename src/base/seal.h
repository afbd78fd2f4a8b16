/* Sealing: makes what Redis holds of a session unreadable to anyone who reads Redis, and useless if anyone who can
 * write to Redis changes or moves it. Optional: seal_key_file.
 *
 *     the key file, 64 hexadecimal digits a line      the first key seals; all keys open, found by their id
 *              |
 *     record   184 bytes as without sealing. Role, user, flags and both hashes are encrypted in place. The rest is only
 *              authenticated, since scripts read it. Behind them: the session's id, and the seal (record.h)
 *     field    'L' 'K' 'F' 1 | key id 4 | nonce 24 | ciphertext | tag 16
 *              also authenticated: those 4 bytes, the key id, the session's id 16, the user 8, the field's name
 *
 * XChaCha20-Poly1305, with a random nonce for each. The session's id is random and stays when its token is exchanged.
 * So fields need not be sealed again then, and a field that is moved to another session does not open there. A session
 * is sealed as a whole or not at all, and stays as it was made. Its record is sealed anew with the first key whenever
 * it is written, a field when it is set.
 *
 * The line `plain` takes the place of a key and stands for "not sealed". As the first line it leaves new sessions
 * unsealed; on any line it lets unsealed sessions be accepted. Without it an unsealed record is CORRUPT, because anyone
 * who can write to Redis could write one. Use it to start or to stop sealing. In the same way a second key is for
 * changing to another key.
 *
 * A key's id is the first 4 bytes of BLAKE2b-256 over "latchkey seal key" and the key. A seal holds no time: an older
 * record or field of the same session, put back, opens. */
#ifndef LK_BASE_SEAL_H
#define LK_BASE_SEAL_H

#include "base/crypto.h"

#define LK_SEAL_KEYS_MAX 16
#define LK_SEAL_ID_SIZE 4
#define LK_SEAL_SIZE (LK_SEAL_ID_SIZE + LK_AEAD_NONCE_SIZE + LK_AEAD_TAG_SIZE) /* key id, nonce, tag: 44 */
#define LK_SEAL_SESSION_SIZE 16
#define LK_SEAL_FIELD_MORE (4 + LK_SEAL_SIZE) /* a sealed field is longer by this */
#define LK_SEAL_NAME_MAX 128

typedef struct lk_seal_keys {
    uint8_t key[LK_SEAL_KEYS_MAX][LK_AEAD_KEY_SIZE];
    uint8_t id[LK_SEAL_KEYS_MAX][LK_SEAL_ID_SIZE];
    unsigned count; /* 0: there is no key file */
    bool plain;     /* sessions that are not sealed are accepted */
    bool plain_new; /* and new sessions are not sealed */
} lk_seal_keys;

/* Takes one line of the key file, without its line end. NULL: it is good. Else what is wrong with it, without showing
 * any of it. */
const char *lk_seal_keys_take(lk_seal_keys *keys, const char *line);

enum lk_seal_check { LK_SEAL_GOOD, LK_SEAL_UNKNOWN_KEY, LK_SEAL_BROKEN };

/* Seals or opens the message in place. `beside` is authenticated too; its last LK_SEAL_ID_SIZE bytes are the key's id:
 * sealing writes it there, opening reads it there. `seal` is the nonce and the tag. There must be a key. */
void lk_seal(const lk_seal_keys *keys, uint8_t *beside, size_t beside_size, void *message, size_t size,
             uint8_t seal[LK_AEAD_NONCE_SIZE + LK_AEAD_TAG_SIZE]);
enum lk_seal_check lk_unseal(const lk_seal_keys *keys, const uint8_t *beside, size_t beside_size, void *message,
                             size_t size, const uint8_t seal[LK_AEAD_NONCE_SIZE + LK_AEAD_TAG_SIZE]);

/* The session that a field belongs to. */
typedef struct lk_seal_context {
    uint8_t session[LK_SEAL_SESSION_SIZE];
    uint64_t user_id;
} lk_seal_context;

/* `sealed` has room for data.size + LK_SEAL_FIELD_MORE bytes. A name is at most LK_SEAL_NAME_MAX long. */
void lk_seal_field(const lk_seal_keys *keys, const lk_seal_context *context, lk_span name, lk_span data,
                   uint8_t *sealed);

/* In place: the *size bytes at `sealed` become the field's data, which begins there, and *size becomes its length. On
 * failure the bytes there are useless. */
enum lk_seal_check lk_open_field(const lk_seal_keys *keys, const lk_seal_context *context, lk_span name,
                                 uint8_t *sealed, size_t *size);

#endif
