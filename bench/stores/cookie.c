/* SPDX-License-Identifier: MIT
 *
 * A signed cookie: whom it is for and until when, 120 bytes as latchkey's entry has, and a MAC over them (HMAC-SHA-512-256).
 * See stores.h.
 */
#include "stores.h"

#include <sodium.h>
#include <string.h>
#include <time.h>

enum { CLAIMS = 120, SIGNED = CLAIMS + crypto_auth_BYTES };

static unsigned char secret[crypto_auth_KEYBYTES];

static void start(void) { crypto_auth_keygen(secret); }
static void *open_way(void) { return secret; }
static void close_way(void *way) { (void)way; }

static void login(void *way, uint64_t user, char token[TOKEN_MAX])
{
    unsigned char raw[SIGNED] = {0};
    int64_t until = (int64_t)time(NULL) + IDLE_S;
    memcpy(raw, &user, sizeof user);
    memcpy(raw + 8, &until, sizeof until);
    crypto_auth(raw + CLAIMS, raw, CLAIMS, way);
    sodium_bin2base64(token, TOKEN_MAX, raw, sizeof raw, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

static bool validate(void *way, const char *token, uint64_t user)
{
    unsigned char raw[SIGNED];
    size_t size;
    uint64_t is;
    int64_t until;
    if (sodium_base642bin(raw, sizeof raw, token, strlen(token), NULL, &size, NULL,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING) ||
        size != sizeof raw || crypto_auth_verify(raw + CLAIMS, raw, CLAIMS, way))
        return false;
    memcpy(&is, raw, sizeof is);
    memcpy(&until, raw + 8, sizeof until);
    if (is != user) bench_die("a cookie names another user");
    return time(NULL) < until;
}

static spent nothing(void) { return (spent){0, 0}; }

const store store_cookie = {.key = "cookie",
                            .name = "signed cookie, no store",
                            .honoured = "until it expires",
                            .start = start,
                            .open = open_way,
                            .other = open_way,
                            .close = close_way,
                            .login = login,
                            .validate = validate,
                            .spent = nothing};
