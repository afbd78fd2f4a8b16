/* SPDX-License-Identifier: MIT
 *
 * What people keep sessions in, behind the same calls.
 *
 *     stores.c      sessions, callers, what is measured, JSON
 *     redis.c       plain Redis (GET and EXPIRE of the whole record) and latchkey before the same server
 *     memcached.c   Memcached: get of the whole record, and touch
 *     postgres.c    PostgreSQL: a table of sessions, a prepared SELECT, a pool of 8 connections
 *     cookie.c      no store: the session is in the cookie, signed
 *
 * All keep idle time, but for the cookie, and PostgreSQL, where no use is written in the time that is measured: an application
 * would write it once in a while.
 */
#ifndef LATCHKEY_BENCH_STORES_H
#define LATCHKEY_BENCH_STORES_H

#include "harness.h"

enum { TOKEN_MAX = 320, RECORD_SIZE = 4493, IDLE_S = 1800 };

typedef struct spent {
    double cpu_s, bytes; /* the store's processor time, and what went over its connections; bytes below 0: not known */
} spent;

typedef struct store {
    const char *key, *name;
    const char *honoured; /* NULL: measured */
    void (*start)(void);  /* everything that callers share; NULL: nothing */
    void (*stop)(void);
    void *(*open)(void);  /* a caller's way in */
    void *(*other)(void); /* the same of another process' kind, which is to hear of a revocation */
    void (*close)(void *way);
    void (*login)(void *way, uint64_t user, char token[TOKEN_MAX]);
    bool (*validate)(void *way, const char *token,
                     uint64_t user);              /* false: refused; a wrong answer ends the benchmark */
    void (*revoke)(void *way, const char *token); /* NULL: it cannot be done */
    spent (*spent)(void);
} store;

extern const store store_cookie, store_postgres, store_memcached, store_redis, store_latchkey;

typedef struct places { /* where run.py has started the servers */
    const char *memcached, *postgres;
    double memcached_pid, postgres_pid;
} places;
extern places place;

/* A record of RECORD_SIZE bytes that names the token and the user, and whether it does. */
void record_write(unsigned char record[RECORD_SIZE], const char *token, uint64_t user);
bool record_names(const void *record, size_t size, const char *token, uint64_t user);
void token_make(char token[TOKEN_MAX]); /* 43 characters of base64url, by libsodium */

double process_cpu_s(int pid); /* user and system */
double family_cpu_s(int pid);  /* of a process and its children */

#endif
