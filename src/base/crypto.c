/* See crypto.h. The only file that includes libsodium. */
#include "base/crypto.h"

#include "base/fork.h"

#include <sodium.h>
#include <stdatomic.h>
#include <string.h>

_Static_assert(LK_HASH_SIZE == crypto_generichash_BYTES, "BLAKE2b-256");
_Static_assert(LK_WIDE_HASH_SIZE == crypto_generichash_BYTES_MAX, "BLAKE2b-512");
_Static_assert(LK_CHECK_KEY_SIZE == crypto_shorthash_KEYBYTES, "SipHash's key");
_Static_assert(LK_AEAD_KEY_SIZE == crypto_aead_xchacha20poly1305_ietf_KEYBYTES &&
                   LK_AEAD_NONCE_SIZE == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES &&
                   LK_AEAD_TAG_SIZE == crypto_aead_xchacha20poly1305_ietf_ABYTES,
               "XChaCha20-Poly1305");

/* libsodium takes a lock of its own, and a fork must not happen while it is held. In a child libsodium is not
 * initialised again. */
bool lk_crypto_init(void)
{
    /* Release after sodium_init, acquire before libsodium is used: so another thread sees what sodium_init wrote. */
    static atomic_bool ready;
    if (atomic_load_explicit(&ready, memory_order_acquire)) return true;
    lk_fork_enter();
    bool good = sodium_init() >= 0;
    lk_fork_leave();
    if (good) atomic_store_explicit(&ready, true, memory_order_release);
    return good;
}

void lk_random(void *out, size_t size) { randombytes_buf(out, size); }
void lk_wipe(void *data, size_t size) { sodium_memzero(data, size); }
bool lk_equal(const void *a, const void *b, size_t size) { return sodium_memcmp(a, b, size) == 0; }

void lk_blake2b(const lk_span *spans, size_t count, uint8_t out[LK_HASH_SIZE])
{
    crypto_generichash_state state;
    crypto_generichash_init(&state, NULL, 0, LK_HASH_SIZE);
    for (size_t i = 0; i < count; i++)
        if (spans[i].size) crypto_generichash_update(&state, spans[i].data, spans[i].size);
    crypto_generichash_final(&state, out, LK_HASH_SIZE);
    sodium_memzero(&state, sizeof state);
}

void lk_blake2b_wide(const char purpose[16], const void *data, size_t size, uint8_t out[LK_WIDE_HASH_SIZE])
{
    uint8_t personal[crypto_generichash_blake2b_PERSONALBYTES];
    for (size_t i = 0; i < sizeof personal; i++) personal[i] = (uint8_t)purpose[i];
    crypto_generichash_blake2b_salt_personal(out, LK_WIDE_HASH_SIZE, data, size, NULL, 0, NULL, personal);
}

static uint64_t little_endian(const uint8_t bytes[8])
{
    uint64_t value = 0;
    for (size_t i = 0; i < 8; i++) value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

uint64_t lk_user_of_name(const void *name, size_t size)
{
    uint8_t out[8];
    crypto_generichash_blake2b(out, sizeof out, name, size, NULL, 0);
    uint64_t value = little_endian(out);
    return value ? value : 1;
}

uint64_t lk_siphash(const void *data, size_t size, const uint8_t key[LK_CHECK_KEY_SIZE])
{
    uint8_t out[crypto_shorthash_BYTES];
    crypto_shorthash(out, data, size, key);
    return little_endian(out);
}

void lk_aead_seal(const uint8_t key[LK_AEAD_KEY_SIZE], lk_span beside, void *message, size_t size,
                  uint8_t nonce[LK_AEAD_NONCE_SIZE], uint8_t tag[LK_AEAD_TAG_SIZE])
{
    randombytes_buf(nonce, LK_AEAD_NONCE_SIZE);
    crypto_aead_xchacha20poly1305_ietf_encrypt_detached(message, tag, NULL, message, size, beside.data, beside.size,
                                                        NULL, nonce, key);
}

bool lk_aead_open(const uint8_t key[LK_AEAD_KEY_SIZE], lk_span beside, void *message, size_t size,
                  const uint8_t nonce[LK_AEAD_NONCE_SIZE], const uint8_t tag[LK_AEAD_TAG_SIZE])
{
    return crypto_aead_xchacha20poly1305_ietf_decrypt_detached(message, NULL, message, size, tag, beside.data,
                                                               beside.size, nonce, key) == 0;
}

bool lk_base64_decode(const char *text, size_t length, uint8_t *raw, size_t raw_size)
{
    size_t decoded = 0;
    const char *end = NULL;
    char again[128];
    if (length >= sizeof again || sodium_base642bin(raw, raw_size, text, length, NULL, &decoded, &end,
                                                    sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0)
        return false;
    if (decoded != raw_size || end != text + length) return false;
    /* libsodium 1.0.18 takes some bytes above 127 for digits. So only a text that it would write itself is accepted. */
    sodium_bin2base64(again, sizeof again, raw, raw_size, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    bool same = lk_equal(again, text, length);
    sodium_memzero(again, sizeof again);
    return same;
}

void lk_base64_encode(const uint8_t *raw, size_t raw_size, char *text, size_t text_size)
{
    sodium_bin2base64(text, text_size, raw, raw_size, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

bool lk_hex_decode(const char *text, size_t length, uint8_t *raw, size_t raw_size)
{
    size_t decoded = 0;
    const char *end = NULL;
    return sodium_hex2bin(raw, raw_size, text, length, NULL, &decoded, &end) == 0 && decoded == raw_size &&
           end == text + length;
}

bool lk_base64_read(const char *text, size_t length, uint8_t *raw, size_t *raw_size)
{
    while (length && memchr("=\r\n", text[length - 1], 3)) length--;
    for (size_t i = 0; i < length; i++)
        if (!text[i] || (unsigned char)text[i] > 127) return false; /* libsodium ignores a NUL; see lk_base64_decode */
    bool url = memchr(text, '-', length) || memchr(text, '_', length);
    const char *end = NULL;
    return sodium_base642bin(raw, length, text, length, "\r\n", raw_size, &end,
                             url ? sodium_base64_VARIANT_URLSAFE_NO_PADDING
                                 : sodium_base64_VARIANT_ORIGINAL_NO_PADDING) == 0 &&
           end == text + length;
}

void lk_hex_encode(const uint8_t *raw, size_t raw_size, char *text)
{
    sodium_bin2hex(text, 2 * raw_size + 1, raw, raw_size);
}
