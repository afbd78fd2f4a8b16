/* SPDX-License-Identifier: MIT
 *
 * The application that both servers serve, without a word of HTTP libraries: what a request means to latchkey, and what
 * each status means to the client. Nothing here logs a request, so no token can be logged.
 */
#ifndef EXAMPLES_APP_H
#define EXAMPLES_APP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <latchkey.h>

enum { REPLY_SIZE = 65536, HEADERS = 4, HEADER_SIZE = 160 };

/* Lies on the stack of whoever answers; only `body` up to its NUL is sent. */
typedef struct reply {
    unsigned status;
    const char *type;
    size_t header_count;
    const char *names[HEADERS];
    char values[HEADERS][HEADER_SIZE];
    char body[REPLY_SIZE];
} reply;

void reply_begin(reply *r);

/* -------------------------------------------------------------------------------------- reading requests -- */

/* The token inside the request's Cookie header (NULL where it has none), not copied: the library takes a length and needs
 * no NUL. NULL without a cookie named sid. */
const char *app_cookie(const char *header, size_t *length);

/* The text of /login's ?user=; false unless it is a number from 0 to 2^64-1. */
bool app_user(const char *text, uint64_t *user);

/* --------------------------------------------------------------------------------------------- the routes -- */

/* Makes a session with key material. Blocks, as latchkey_create does; a real login checks a password here, too. */
int app_login(latchkey *lk, uint64_t user, char token[LATCHKEY_TOKEN_SIZE]);

/* Was the answer for a token that is to be renewed (the option renew_ms)? Then app_renew gives the new one, "" where there is
 * none: another request was faster, or Redis is away; the old one goes on. Blocks, as latchkey_rotate does. */
bool app_old(int status, const latchkey_entry *entry);
void app_renew(latchkey *lk, const char *token, char renewed[LATCHKEY_TOKEN_SIZE]);
void reply_renewed(reply *r, const char *renewed, bool insecure_cookie); /* beside the answer */

/* What the status says, once it is known. */
void reply_login(reply *r, int status, uint64_t user, const char *token, bool insecure_cookie);
void reply_whoami(reply *r, int status, const latchkey_entry *entry, bool hit, double took_us);
void reply_logout(reply *r, int status, bool insecure_cookie);

/* For Prometheus; in production on a port that the public cannot reach. Never waits. */
void reply_metrics(reply *r, latchkey *lk);
/* Whether this instance should be sent requests: not while it has no Redis. Never waits. */
void reply_healthz(reply *r, latchkey *lk);

void reply_no_user(reply *r);
void reply_no_cookie(reply *r);
void reply_no_route(reply *r);
void reply_busy(reply *r, const char *why);

/* --------------------------------------------------------------------------------------------------- rest -- */

double app_now_us(void);
unsigned app_number(const char *program, const char *name, const char *text, unsigned long min, unsigned long max);

#endif
