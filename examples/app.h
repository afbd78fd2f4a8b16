/* SPDX-License-Identifier: MIT
 *
 * The application that both servers serve. It knows no HTTP library: it says what a request means to latchkey, and what each
 * status means to the client. Nothing here logs a request, so no token can be logged.
 */
#ifndef EXAMPLES_APP_H
#define EXAMPLES_APP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <latchkey.h>

#include "cookies.h"

enum { REPLY_SIZE = 65536, HEADERS = 4, HEADER_SIZE = 160 };

/* Lies on the stack of the function that answers; only `body` up to its NUL is sent. */
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

/* The text of /login's ?user=; false unless it is a number from 0 to 2^64-1. */
bool app_user(const char *text, uint64_t *user);

/* --------------------------------------------------------------------------------------------- the routes -- */

/* The draft of a login, with key material. Its pointers lead into it. False: there is no randomness. */
typedef struct login_draft {
    latchkey_draft draft;
    latchkey_field fields[4];
    struct {
        uint8_t mlkem768[1184], mldsa44[1312], slhdsa[32], attestation[2420];
    } keys;
} login_draft;
bool app_draft(uint64_t user, login_draft *l);

/* Makes a session of such a draft, and ends those of the cookies that came with the login. Blocks, as latchkey_create and latchkey_revoke
 * do; a real login checks a password here, too. */
int app_login(latchkey *lk, uint64_t user, const cookies *before, char token[LATCHKEY_TOKEN_SIZE]);

/* Tries the cookies until one is not refused, and says in *which it was, *hit: from memory alone. Where all are refused, it
 * returns the answer to give for them together. Blocks, as latchkey_validate does. */
int app_validate(latchkey *lk, const cookies *c, size_t *which, latchkey_entry *entry, bool *hit);

/* Is this answer final, or is the next cookie to be tried? Only a "no" (above 0) passes on. After "no answer" (below 0) it is
 * not known who the client is, and another cookie may be another user's. */
bool app_final(int status);
/* The answer to give for two cookies that were both refused; `before` is 0 where there was none before. */
int app_refused(int before, int status);

/* Ends the sessions of all cookies. OK only if none goes on: PENDING, if Redis has to hear of one; below 0, if one may go on.
 * Blocks, as latchkey_revoke does, for each of them. */
int app_logout(latchkey *lk, const cookies *c);
/* The answer to a logout, when one of its revocations has this status; `before` is LATCHKEY_MALFORMED where it is the first. */
int app_ended(int before, int status);

/* Was the answer for a token that is to be exchanged (the option renew_ms, or a token of another store)? Then app_renew gives
 * the new one. It gives "" where there is none: another request was faster, or Redis is away. The old one goes on then, and a
 * later answer asks again. Blocks, as latchkey_rotate does. */
enum { APP_RENEWAL_GRACE_MS = 300000 }; /* longer than a client may be without an answer */
bool app_old(int status, const latchkey_entry *entry);
void app_renew(latchkey *lk, const cookie *old, char renewed[LATCHKEY_TOKEN_SIZE]);
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
/* False: the cookies are none or too many, and `r` says so. */
bool reply_cookies(reply *r, const cookies *c);
void reply_no_route(reply *r);
void reply_busy(reply *r, const char *why);

/* --------------------------------------------------------------------------------------------------- rest -- */

/* Before latchkey_close: waits until Redis has heard of every logout that is PENDING, for at most ten seconds. False: some are
 * given up, which is said on stderr. */
bool app_settle(latchkey *lk, const char *program);

double app_now_us(void);
unsigned app_number(const char *program, const char *name, const char *text, unsigned long min, unsigned long max);

#endif
