/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* getrandom */
#include "app.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

/* ------------------------------------------------------------------------------------------- replies -- */

void reply_begin(reply *r)
{
    r->status = 500;
    r->type = "application/json";
    r->header_count = 0;
    r->body[0] = 0;
}

__attribute__((format(printf, 3, 4))) static void header(reply *r, const char *name, const char *format, ...)
{
    if (r->header_count == HEADERS) abort(); /* a bug in this file, not a matter of input */
    va_list args;
    va_start(args, format);
    vsnprintf(r->values[r->header_count], HEADER_SIZE, format, args);
    va_end(args);
    r->names[r->header_count++] = name;
}

__attribute__((format(printf, 3, 4))) static void json(reply *r, unsigned http, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(r->body, sizeof r->body, format, args);
    va_end(args);
    r->status = http;
}

/* Above 0 the answer is "no", and asking again will not change it: 4xx. Below 0 there was no answer, and the client
 * may try again: 5xx. Only a "no" may make a client forget its session. */
static void refuse(reply *r, int status)
{
    unsigned http = status == LATCHKEY_MALFORMED ? 400 : status == LATCHKEY_LIMIT ? 403 : status > 0 ? 401 : 503;
    json(r, http, "{\"error\":\"%s\"}\n", latchkey_status_text(status));
}

/* HttpOnly keeps scripts of the page away from the token, SameSite=Lax keeps other sites from posting with it. */
static void set_cookie(reply *r, const char *token, bool insecure)
{
    header(r, "Set-Cookie", "sid=%s; Path=/; HttpOnly%s; SameSite=Lax%s", token, insecure ? "" : "; Secure",
           *token ? "" : "; Max-Age=0");
}

void reply_no_user(reply *r) { json(r, 400, "{\"error\":\"want /login?user=N, N a number from 0 to 2^64-1\"}\n"); }

void reply_no_cookie(reply *r) { json(r, 401, "{\"error\":\"no cookie named sid: log in first\"}\n"); }

void reply_no_route(reply *r)
{
    json(r, 404,
         "{\"error\":\"no such route: want POST /login?user=N, GET /whoami, POST /logout, "
         "GET /metrics or GET /healthz\"}\n");
}

void reply_busy(reply *r, const char *why) { json(r, 503, "{\"error\":\"%s\"}\n", why); }

/* -------------------------------------------------------------------------------------- reading requests -- */

const char *app_cookie(const char *header_text, size_t *length)
{
    for (const char *at = header_text; at && *at;) {
        at += strspn(at, "; ");
        size_t size = strcspn(at, "; ");
        if (strncmp(at, "sid=", 4) == 0) {
            *length = size - 4;
            return at + 4;
        }
        at += size;
    }
    return NULL;
}

bool app_user(const char *text, uint64_t *user)
{
    if (!text || !*text || text[strspn(text, "0123456789")]) return false;
    errno = 0;
    *user = strtoull(text, NULL, 10);
    return errno == 0;
}

/* --------------------------------------------------------------------------------------------- the routes -- */

/* Whoever asks is believed; a real login takes a name and a proof from the request's body, and checks them here. */
int app_login(latchkey *lk, uint64_t user, char token[LATCHKEY_TOKEN_SIZE])
{
    /* Random bytes in the sizes of what a client would send at login: public keys and the signature that attests them.
     * Like real ones they do not compress. */
    struct material {
        uint8_t mlkem768[1184], mldsa44[1312], slhdsa[32], attestation[2420];
    } keys;
    const latchkey_field fields[] = {
        {"pq.mlkem768", keys.mlkem768, sizeof keys.mlkem768},
        {"pq.mldsa44", keys.mldsa44, sizeof keys.mldsa44},
        {"pq.slhdsa", keys.slhdsa, sizeof keys.slhdsa},
        {"pq.attestation", keys.attestation, sizeof keys.attestation},
    };
    latchkey_draft draft = {
        .size = sizeof draft, .user_id = user, .role = "member", .fields = fields, .field_count = 4};
    if (getrandom(&keys, sizeof keys, 0) != (ssize_t)sizeof keys) return LATCHKEY_NO_MEMORY;
    /* The application's own 32 bytes: a hash of what the user may do. Here everybody may do the same. */
    memset(draft.permissions_hash, 0x5a, sizeof draft.permissions_hash);
    return latchkey_create(lk, &draft, token);
}

bool app_old(int status, const latchkey_entry *entry)
{
    return status == LATCHKEY_OK && entry->flags & LATCHKEY_FLAG_RENEW;
}

enum { RENEWAL_GRACE_MS = 30000 }; /* as long requests that carry the old token may still come in */

void app_renew(latchkey *lk, const char *token, char renewed[LATCHKEY_TOKEN_SIZE])
{
    latchkey_rotate(lk, token, LATCHKEY_TOKEN_LENGTH, RENEWAL_GRACE_MS, renewed);
}

void reply_renewed(reply *r, const char *renewed, bool insecure_cookie)
{
    if (*renewed) set_cookie(r, renewed, insecure_cookie);
}

void reply_login(reply *r, int status, uint64_t user, const char *token, bool insecure_cookie)
{
    if (status != LATCHKEY_OK) {
        refuse(r, status);
        return;
    }
    set_cookie(r, token, insecure_cookie);
    json(r, 200, "{\"user\":%" PRIu64 "}\n", user);
}

void reply_whoami(reply *r, int status, const latchkey_entry *entry, bool hit, double took_us)
{
    header(r, "X-Latchkey-Us", "%.3f", took_us);
    header(r, "X-Latchkey", "%s", hit ? "hit" : "miss");
    if (status == LATCHKEY_OK)
        json(r, 200,
             "{\"user\":%" PRIu64 ",\"role\":\"%.16s\",\"created_at_ms\":%" PRId64 ",\"expires_at_ms\":%" PRId64 "}\n",
             entry->user_id, entry->role, entry->created_at_ms, entry->expires_at_ms);
    else refuse(r, status);
}

/* A session that has ended already is as good as one that ends now. PENDING is a promise: this instance denies the
 * session from here on, and goes on telling Redis until Redis has heard it. On other failures the cookie stays, so that
 * the client can try again. */
void reply_logout(reply *r, int status, bool insecure_cookie)
{
    if (status == LATCHKEY_OK || status == LATCHKEY_NOT_FOUND) json(r, 200, "{\"ended\":true}\n");
    else if (status == LATCHKEY_PENDING) json(r, 202, "{\"ended\":\"here, and soon everywhere\"}\n");
    else {
        refuse(r, status);
        return;
    }
    set_cookie(r, "", insecure_cookie);
}

void reply_metrics(reply *r, latchkey *lk)
{
    size_t needed;
    int status = latchkey_metrics(lk, r->body, sizeof r->body, &needed);
    if (status != LATCHKEY_OK) {
        refuse(r, status);
        return;
    }
    r->status = 200;
    r->type = "text/plain; version=0.0.4";
}

void reply_healthz(reply *r, latchkey *lk)
{
    latchkey_stats stats;
    int status = latchkey_stats_read(lk, &stats, sizeof stats);
    if (status != LATCHKEY_OK) refuse(r, status);
    else if (!stats.connected) reply_busy(r, "not connected to Redis");
    else json(r, 200, "{\"ok\":true,\"sessions_in_memory\":%" PRIu64 "}\n", stats.l1_entries);
}

/* --------------------------------------------------------------------------------------------------- rest -- */

double app_now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

unsigned app_number(const char *program, const char *name, const char *text, unsigned long min, unsigned long max)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    if (*text >= '0' && *text <= '9' && !*end && n >= min && n <= max) return (unsigned)n;
    fprintf(stderr, "%s: --%s wants a number from %lu to %lu, not \"%s\"\n", program, name, min, max, text);
    exit(2);
}
