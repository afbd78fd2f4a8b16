/* SPDX-License-Identifier: MIT
 *
 * Handles on a private server, closed at the end of each test whatever became of it, and the shortest way to a session.
 */
#ifndef LATCHKEY_TESTS_HANDLE_H
#define LATCHKEY_TESTS_HANDLE_H

#include "check.h"
#include "redis.h"

/* The server that the tests of most programs share: group setup and teardown, and a setup that empties it before each
 * test. */
extern redis *server;
int server_start(void **state);
int server_end(void **state);
int server_clean(void **state);
#define TEST(name) cmocka_unit_test_setup_teardown(name, server_clean, handle_close_all)

/* Opens over the unix socket, or over TCP, with options as they stand after the '?' ("staleness_ms=500&lazy=1", or "").
 * What stands in LATCHKEY_TEST_OPTIONS ("name=value&") comes first: so whole programs are run under other options.
 * deadline_ms=10000 and staleness_ms=20000 stand before them unless given, so that a slow machine is no failure. Fails
 * the test when it is not OK. UNAVAILABLE is tried again: within a short deadline a slow machine may not manage it. */
latchkey *handle_open(redis *on, const char *options);
latchkey *handle_open_tcp(redis *on, const char *options);
latchkey *handle_open_at(int port, const char *options); /* over TCP at any port: a proxy's */
latchkey *handle_open_config(const char *config);        /* as it stands */

/* The string that the first two give to latchkey_open. */
void handle_config(const redis *on, int tcp, const char *options, char *out, size_t out_size);
/* The part of it that begins with '?'; "" if there is nothing to say. */
void handle_config_options(const char *options, char *out, size_t out_size);

void handle_close(latchkey *lk);    /* closes one of them before the end of the test */
int handle_close_all(void **state); /* the teardown of every test that opens handles */

/* A session of this user; fails the test when it is not OK. */
void make_session(latchkey *lk, uint64_t user_id, char token[LATCHKEY_TOKEN_SIZE]);
/* The same with these fields and times (0: the handle's). */
void make_session_with(latchkey *lk, uint64_t user_id, int64_t idle_ms, int64_t lifetime_ms,
                       const latchkey_field *fields, size_t field_count, char token[LATCHKEY_TOKEN_SIZE]);

/* Validates until L1 holds the session. A fill may rightly be refused: by the message of an earlier revocation, say. */
void warm(latchkey *lk, const char *token);

/* validate, load, try_validate and so on with the token's length filled in; the entry goes nowhere. */
int validate(latchkey *lk, const char *token);
int try_validate(latchkey *lk, const char *token);
int end_session(latchkey *lk, const char *token);
int touch(latchkey *lk, const char *token);
int load(latchkey *lk, const char *token);
/* Sets one field to a text. */
int set_field(latchkey *lk, const char *token, const char *name, const char *text);

latchkey_stats stats_of(latchkey *lk);
/* What validate answers, and how many are listed; they fail the test when it is not OK. */
latchkey_entry entry_of(latchkey *lk, const char *token);
size_t sessions_of(latchkey *lk, uint64_t user_id);

/* A login that read this generation before. */
int create_with(latchkey *lk, uint64_t user_id, uint64_t generation, char token[LATCHKEY_TOKEN_SIZE]);

/* The server is coming back: no answer for a while, and then a "no"; never a "yes". */
void stays_dead(latchkey *lk, const char *token);

/* The session's key in Redis, found by its selector; "" where there is none. Returns `out`. */
char *session_key(redis *on, const char *token, char out[128]);
/* The partition that stands in the token. */
unsigned token_partition(const char *token);
/* The 32 bytes of a token. */
void token_bytes(const char *token, unsigned char out[32]);

#endif
