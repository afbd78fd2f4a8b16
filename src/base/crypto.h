/* The one file that gives the library libsodium: randomness, hashes, sealing, constant-time comparison, base64url. */
#ifndef LK_BASE_CRYPTO_H
#define LK_BASE_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LK_HASH_SIZE 32
#define LK_CHECK_KEY_SIZE 16
#define LK_AEAD_KEY_SIZE 32
#define LK_AEAD_NONCE_SIZE 24
#define LK_AEAD_TAG_SIZE 16

typedef struct lk_span {
    const void *data;
    size_t size;
} lk_span;

bool lk_crypto_init(void); /* once per process is enough, more often does no harm; false: there is no randomness */
void lk_random(void *out, size_t size);
void lk_wipe(void *data, size_t size);
bool lk_equal(const void *a, const void *b, size_t size); /* constant time */

/* BLAKE2b-256 over the spans, one after the other. */
uint64_t lk_user_of_name(const void *name, size_t size); /* BLAKE2b-64, little-endian; 1 in place of 0 */
void lk_blake2b(const lk_span *spans, size_t count, uint8_t out[LK_HASH_SIZE]);

/* BLAKE2b-512 of one span, personalised by 16 characters: for another purpose the same data has another hash. */
#define LK_WIDE_HASH_SIZE 64
void lk_blake2b_wide(const char purpose[16], const void *data, size_t size, uint8_t out[LK_WIDE_HASH_SIZE]);

/* SipHash-2-4, 64 bits. */
uint64_t lk_siphash(const void *data, size_t size, const uint8_t key[LK_CHECK_KEY_SIZE]);

/* XChaCha20-Poly1305, in place. The nonce is random; it is long enough that two messages never get the same one.
 * `beside` is authenticated and not encrypted. lk_aead_open returns false if the message, the nonce, `beside` or the
 * key is not the one that was sealed; the message is zeros then. */
void lk_aead_seal(const uint8_t key[LK_AEAD_KEY_SIZE], lk_span beside, void *message, size_t size,
                  uint8_t nonce[LK_AEAD_NONCE_SIZE], uint8_t tag[LK_AEAD_TAG_SIZE]);
bool lk_aead_open(const uint8_t key[LK_AEAD_KEY_SIZE], lk_span beside, void *message, size_t size,
                  const uint8_t nonce[LK_AEAD_NONCE_SIZE], const uint8_t tag[LK_AEAD_TAG_SIZE]);

/* Unpadded base64url in constant time, for texts below 128 characters. Decoding accepts only the canonical spelling of
 * exactly raw_size bytes; the text need not be NUL-terminated. Encoding writes a NUL. */
bool lk_base64_decode(const char *text, size_t length, uint8_t *raw, size_t raw_size);
void lk_base64_encode(const uint8_t *raw, size_t raw_size, char *text, size_t text_size);

/* Base64 as others write it: either alphabet, padded or not; line ends inside it are skipped. `raw` needs room for
 * `length` bytes. */
bool lk_base64_read(const char *text, size_t length, uint8_t *raw, size_t *raw_size);

bool lk_hex_decode(const char *text, size_t length, uint8_t *raw, size_t raw_size);
void lk_hex_encode(const uint8_t *raw, size_t raw_size, char *text); /* 2 * raw_size characters and a NUL */

#endif
