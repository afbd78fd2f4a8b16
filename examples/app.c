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
    if (r->header_count == HEADERS) abort(); /* a bug in this file, whatever the input was */
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

/* What comes out of a session is data, even a role: a person may have chosen it. In JSON it must not end the string, must not
 * read as HTML if a page embeds it, and must be UTF-8. */
enum { JSON_ROLE = 16 * 6 + 1 };

/* How many bytes the character at `at` has; 0: it is not UTF-8. */
static size_t utf8(const unsigned char *at, size_t left)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t size = *at < 0x80 ? 1 : *at >= 0xf0 ? 4 : *at >= 0xe0 ? 3 : 2;
    if (size == 1) return 1;
    if (*at < 0xc2 || *at > 0xf4 || size > left) return 0;
    uint32_t character = *at & (0x7fu >> size);
    for (size_t i = 1; i < size; i++) {
        if ((at[i] & 0xc0) != 0x80) return 0;
        character = character << 6 | (at[i] & 0x3fu);
    }
    bool surrogate = character >= 0xd800 && character < 0xe000;
    return character < least[size] || surrogate || character > 0x10ffff ? 0 : size;
}

/* The text, up to its NUL or its size, as it stands between the quotes of a JSON string. */
static void json_role(const char role[16], char out[JSON_ROLE])
{
    const unsigned char *at = (const unsigned char *)role, *end = at + strnlen(role, 16);
    while (at < end) {
        size_t size = utf8(at, (size_t)(end - at));
        if (size > 1 || (size == 1 && *at >= ' ' && *at != 0x7f && !strchr("\"\\<>&'", *at))) {
            memcpy(out, at, size);
            out += size;
        } else out += sprintf(out, "\\u%04x", size ? *at : 0xfffdu);
        at += size ? size : 1;
    }
    *out = 0;
}

/* JavaScript reads a number beyond 2^53 as another one: two users would become one. So those are strings. */
static const char *json_user(uint64_t user, char out[24])
{
    const char *quote = user > (UINT64_C(1) << 53) - 1 ? "\"" : "";
    snprintf(out, 24, "%s%" PRIu64 "%s", quote, user, quote);
    return out;
}

/* Above 0 the answer is "no", and asking again will not change it: 4xx. Below 0 there was no answer, and the client
 * may try again: 5xx. Only a "no" may make a client forget its session. */
static void refuse(reply *r, int status)
{
    unsigned http = status == LATCHKEY_LIMIT ? 403 : status > 0 ? 401 : 503;
    json(r, http, "{\"error\":\"%s\"}\n", latchkey_status_text(status));
}

/* HttpOnly keeps scripts of the page away from the token, SameSite=Lax keeps other sites from posting with it. */
static void set_cookie(reply *r, const char *token, bool insecure)
{
    header(r, "Set-Cookie", "sid=%s; Path=/; HttpOnly%s; SameSite=Lax%s", token, insecure ? "" : "; Secure",
           *token ? "" : "; Max-Age=0");
}

void reply_no_user(reply *r) { json(r, 400, "{\"error\":\"want /login?user=N, N a number from 0 to 2^64-1\"}\n"); }

bool reply_cookies(reply *r, const cookies *c)
{
    if (c->too_many) json(r, 400, "{\"error\":\"more than %d cookies are named sid: remove some\"}\n", COOKIES_MOST);
    else if (!c->count) json(r, 401, "{\"error\":\"no cookie named sid: log in first\"}\n");
    return c->count && !c->too_many;
}

void reply_no_route(reply *r)
{
    json(r, 404,
         "{\"error\":\"no such route: want POST /login?user=N, GET /whoami, POST /logout, "
         "GET /metrics or GET /healthz\"}\n");
}

void reply_busy(reply *r, const char *why) { json(r, 503, "{\"error\":\"%s\"}\n", why); }

/* -------------------------------------------------------------------------------------- reading requests -- */

bool app_user(const char *text, uint64_t *user)
{
    if (!text || !*text || text[strspn(text, "0123456789")]) return false;
    errno = 0;
    *user = strtoull(text, NULL, 10);
    return errno == 0;
}

/* --------------------------------------------------------------------------------------------- the routes -- */

/* Every client is believed; a real login takes a name and a proof from the request's body, and checks them here. */
bool app_draft(uint64_t user, login_draft *l)
{
    /* Random bytes in the sizes of what a client would send at login: public keys and the signature that attests them.
     * Like real ones they do not compress. */
    if (getrandom(&l->keys, sizeof l->keys, 0) != (ssize_t)sizeof l->keys) return false;
    l->fields[0] = (latchkey_field){"pq.mlkem768", l->keys.mlkem768, sizeof l->keys.mlkem768};
    l->fields[1] = (latchkey_field){"pq.mldsa44", l->keys.mldsa44, sizeof l->keys.mldsa44};
    l->fields[2] = (latchkey_field){"pq.slhdsa", l->keys.slhdsa, sizeof l->keys.slhdsa};
    l->fields[3] = (latchkey_field){"pq.attestation", l->keys.attestation, sizeof l->keys.attestation};
    l->draft = (latchkey_draft){
        .size = sizeof l->draft, .user_id = user, .role = "member", .fields = l->fields, .field_count = 4};
    /* The application's own 32 bytes: a hash of what the user may do. Here all users may do the same. */
    memset(l->draft.permissions_hash, 0x5a, sizeof l->draft.permissions_hash);
    return true;
}

bool app_final(int status) { return status <= 0; }

/* The most that can be said: of a token that was once good, rather than that it never was (MALFORMED). */
int app_refused(int before, int status) { return before && before < status ? before : status; }

int app_validate(latchkey *lk, const cookies *c, size_t *which, latchkey_entry *entry, bool *hit)
{
    int refused = 0;
    *hit = true;
    for (*which = 0; *which < c->count; ++*which) {
        const cookie *one = &c->at[*which];
        /* One latchkey_validate would do; asking L1 first tells hits from misses. */
        int status = latchkey_try_validate(lk, one->token, one->length, entry);
        if (status == LATCHKEY_AGAIN) {
            *hit = false;
            status = latchkey_validate(lk, one->token, one->length, entry);
        }
        if (app_final(status)) return status;
        refused = app_refused(refused, status);
    }
    return refused;
}

/* The weight of an outcome of a logout: of several outcomes, the heaviest is the answer. */
static int weight(int status)
{
    if (status == LATCHKEY_MALFORMED) return 0; /* this cookie never was a session */
    if (status > 0) return 1;                   /* its session is over already */
    if (status == LATCHKEY_OK) return 2;
    return status == LATCHKEY_PENDING ? 3 : 4;
}

int app_ended(int before, int status) { return weight(status) >= weight(before) ? status : before; }

int app_logout(latchkey *lk, const cookies *c)
{
    int answer = LATCHKEY_MALFORMED;
    for (size_t i = 0; i < c->count; i++)
        answer = app_ended(answer, latchkey_revoke(lk, c->at[i].token, c->at[i].length));
    return answer;
}

/* What was in this browser before ends, or it would be in use from then on where its cookie comes first. If an end is PENDING, it is
 * denied here already. */
int app_login(latchkey *lk, uint64_t user, const cookies *before, char token[LATCHKEY_TOKEN_SIZE])
{
    login_draft l;
    int status = app_draft(user, &l) ? latchkey_create(lk, &l.draft, token) : LATCHKEY_NO_MEMORY;
    if (status == LATCHKEY_OK) app_logout(lk, before);
    return status;
}

bool app_old(int status, const latchkey_entry *entry)
{
    return status == LATCHKEY_OK && entry->flags & LATCHKEY_FLAG_RENEW;
}

/* The status is not for the client: the request was admitted, and the old token goes on. If the answer with the new token gets
 * lost, the client shows the old one again. That works until the grace is over; after it, that ends the session, and the user
 * logs in again. */
void app_renew(latchkey *lk, const cookie *old, char renewed[LATCHKEY_TOKEN_SIZE])
{
    latchkey_rotate(lk, old->token, old->length, APP_RENEWAL_GRACE_MS, renewed);
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
    char id[24];
    set_cookie(r, token, insecure_cookie);
    json(r, 200, "{\"user\":%s}\n", json_user(user, id));
}

void reply_whoami(reply *r, int status, const latchkey_entry *entry, bool hit, double took_us)
{
    header(r, "X-Latchkey-Us", "%.3f", took_us);
    header(r, "X-Latchkey", "%s", hit ? "hit" : "miss");
    if (status != LATCHKEY_OK) {
        refuse(r, status);
        return;
    }
    char id[24], role[JSON_ROLE];
    json_role(entry->role, role);
    json(r, 200, "{\"user\":%s,\"role\":\"%s\",\"created_at_ms\":%" PRId64 ",\"expires_at_ms\":%" PRId64 "}\n",
         json_user(entry->user_id, id), role, entry->created_at_ms, entry->expires_at_ms);
}

/* A session that has ended already is as good as one that ends now.
 *
 * PENDING: this instance denies the session from here on, and goes on telling Redis until Redis has heard it. So the client is
 * logged out, and its cookie goes: the next person at this browser must not find it. It is 202, not 200, since other instances may
 * admit a copy of the token until then. Before the process stops, it waits for Redis (app_settle).
 *
 * On other failures nothing was promised. The cookie stays, so that the client can try again. */
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

enum { SETTLE_MS = 10000, SETTLE_STEP_MS = 20 };

bool app_settle(latchkey *lk, const char *program)
{
    const struct timespec step = {.tv_nsec = SETTLE_STEP_MS * 1000000L};
    latchkey_stats stats;
    for (int waited = 0; latchkey_stats_read(lk, &stats, sizeof stats) == LATCHKEY_OK && stats.pending;) {
        if (waited >= SETTLE_MS) {
            fprintf(stderr,
                    "%s: stopping, and Redis has not heard of %" PRIu64 " logouts: until they expire, these sessions "
                    "go on in other instances; end them with the command latchkey once Redis is back\n",
                    program, stats.pending);
            return false;
        }
        nanosleep(&step, NULL);
        waited += SETTLE_STEP_MS;
    }
    return true;
}

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
