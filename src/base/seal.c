/* See seal.h. */
#include "base/seal.h"

#include <string.h>

enum {
    FIELD_HEAD = 4,
    FIELD_DATA = FIELD_HEAD + LK_SEAL_ID_SIZE + LK_AEAD_NONCE_SIZE,
    /* What is authenticated beside a field: its head, its session and user, its name, and last the key's id. */
    BESIDE_NAME = FIELD_HEAD + LK_SEAL_SESSION_SIZE + 8,
    BESIDE_MAX = BESIDE_NAME + LK_SEAL_NAME_MAX + LK_SEAL_ID_SIZE,
};
_Static_assert(FIELD_DATA + LK_AEAD_TAG_SIZE == LK_SEAL_FIELD_MORE, "head, key id, nonce, data, tag");

static const uint8_t field_head[FIELD_HEAD] = {'L', 'K', 'F', 1};

/* ------------------------------------------------------------------------------------------------- the keys -- */

static int find_key(const lk_seal_keys *keys, const uint8_t id[LK_SEAL_ID_SIZE])
{
    for (unsigned i = 0; i < keys->count; i++)
        if (memcmp(keys->id[i], id, LK_SEAL_ID_SIZE) == 0) return (int)i;
    return -1;
}

static const char *take_plain(lk_seal_keys *keys)
{
    if (keys->plain) return "says plain once more";
    keys->plain = true;
    keys->plain_new = !keys->count;
    return NULL;
}

const char *lk_seal_keys_take(lk_seal_keys *keys, const char *line)
{
    static const char use[] = "latchkey seal key";
    uint8_t hash[LK_HASH_SIZE];
    if (!*line || *line == '#') return NULL;
    if (strcmp(line, "plain") == 0) return take_plain(keys);
    if (keys->count == LK_SEAL_KEYS_MAX) return "is one key too many: 16 are allowed";
    uint8_t *key = keys->key[keys->count];
    if (!lk_hex_decode(line, strlen(line), key, LK_AEAD_KEY_SIZE)) return "is neither 64 hexadecimal digits nor plain";
    lk_blake2b((lk_span[]){{use, sizeof use - 1}, {key, LK_AEAD_KEY_SIZE}}, 2, hash);
    if (find_key(keys, hash) >= 0) return "is a key that is in the file already";
    memcpy(keys->id[keys->count++], hash, LK_SEAL_ID_SIZE);
    return NULL;
}

/* ----------------------------------------------------------------------------------------------- the sealing -- */

void lk_seal(const lk_seal_keys *keys, uint8_t *beside, size_t beside_size, void *message, size_t size,
             uint8_t seal[LK_AEAD_NONCE_SIZE + LK_AEAD_TAG_SIZE])
{
    memcpy(beside + beside_size - LK_SEAL_ID_SIZE, keys->id[0], LK_SEAL_ID_SIZE);
    lk_aead_seal(keys->key[0], (lk_span){beside, beside_size}, message, size, seal, seal + LK_AEAD_NONCE_SIZE);
}

enum lk_seal_check lk_unseal(const lk_seal_keys *keys, const uint8_t *beside, size_t beside_size, void *message,
                             size_t size, const uint8_t seal[LK_AEAD_NONCE_SIZE + LK_AEAD_TAG_SIZE])
{
    int at = find_key(keys, beside + beside_size - LK_SEAL_ID_SIZE);
    if (at < 0) return LK_SEAL_UNKNOWN_KEY;
    bool good =
        lk_aead_open(keys->key[at], (lk_span){beside, beside_size}, message, size, seal, seal + LK_AEAD_NONCE_SIZE);
    return good ? LK_SEAL_GOOD : LK_SEAL_BROKEN;
}

/* ------------------------------------------------------------------------------------------------- fields -- */

/* Only the name has a length that varies, so two different fields never give the same bytes. */
static size_t field_beside(const lk_seal_context *context, lk_span name, uint8_t beside[BESIDE_MAX])
{
    memcpy(beside, field_head, FIELD_HEAD);
    memcpy(beside + FIELD_HEAD, context->session, LK_SEAL_SESSION_SIZE);
    for (int i = 0; i < 8; i++) beside[FIELD_HEAD + LK_SEAL_SESSION_SIZE + i] = (uint8_t)(context->user_id >> (8 * i));
    memcpy(beside + BESIDE_NAME, name.data, name.size);
    return BESIDE_NAME + name.size + LK_SEAL_ID_SIZE;
}

void lk_seal_field(const lk_seal_keys *keys, const lk_seal_context *context, lk_span name, lk_span data,
                   uint8_t *sealed)
{
    uint8_t beside[BESIDE_MAX], seal[LK_AEAD_NONCE_SIZE + LK_AEAD_TAG_SIZE];
    size_t beside_size = field_beside(context, name, beside);
    if (data.size) memcpy(sealed + FIELD_DATA, data.data, data.size);
    lk_seal(keys, beside, beside_size, sealed + FIELD_DATA, data.size, seal);
    memcpy(sealed, field_head, FIELD_HEAD);
    memcpy(sealed + FIELD_HEAD, beside + beside_size - LK_SEAL_ID_SIZE, LK_SEAL_ID_SIZE);
    memcpy(sealed + FIELD_HEAD + LK_SEAL_ID_SIZE, seal, LK_AEAD_NONCE_SIZE);
    memcpy(sealed + FIELD_DATA + data.size, seal + LK_AEAD_NONCE_SIZE, LK_AEAD_TAG_SIZE);
}

enum lk_seal_check lk_open_field(const lk_seal_keys *keys, const lk_seal_context *context, lk_span name,
                                 uint8_t *sealed, size_t *size)
{
    uint8_t beside[BESIDE_MAX], seal[LK_AEAD_NONCE_SIZE + LK_AEAD_TAG_SIZE];
    if (*size < LK_SEAL_FIELD_MORE || name.size > LK_SEAL_NAME_MAX || memcmp(sealed, field_head, FIELD_HEAD))
        return LK_SEAL_BROKEN;
    size_t beside_size = field_beside(context, name, beside), data_size = *size - LK_SEAL_FIELD_MORE;
    memcpy(beside + beside_size - LK_SEAL_ID_SIZE, sealed + FIELD_HEAD, LK_SEAL_ID_SIZE);
    memcpy(seal, sealed + FIELD_HEAD + LK_SEAL_ID_SIZE, LK_AEAD_NONCE_SIZE);
    memcpy(seal + LK_AEAD_NONCE_SIZE, sealed + FIELD_DATA + data_size, LK_AEAD_TAG_SIZE);
    enum lk_seal_check check = lk_unseal(keys, beside, beside_size, sealed + FIELD_DATA, data_size, seal);
    if (check) return check;
    memmove(sealed, sealed + FIELD_DATA, data_size);
    lk_wipe(sealed + data_size, LK_SEAL_FIELD_MORE); /* the tail of the moved data too */
    *size = data_size;
    return LK_SEAL_GOOD;
}
