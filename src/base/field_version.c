/* See field_version.h. The only file that uses OpenSSL's digests. */
#include "base/field_version.h"

#include "base/fork.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/sha.h>
#include <stdbool.h>

uint64_t lk_field_version(const void *data, size_t size)
{
    uint8_t digest[SHA_DIGEST_LENGTH];
    uint64_t version = 0;
    lk_fork_enter();
    OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL); /* as in redis/tls_guard.c */
    ERR_set_mark(); /* the thread's queue of OpenSSL errors belongs to the application */
    bool hashed = SHA1(size ? data : "", size, digest) != NULL;
    ERR_pop_to_mark();
    lk_fork_leave();
    if (!hashed) return 0;
    for (int i = 0; i < 8; i++) version = version << 8 | digest[i];
    return version ? version : 1;
}
