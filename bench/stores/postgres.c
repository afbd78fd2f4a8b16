/* SPDX-License-Identifier: MIT
 *
 * PostgreSQL over a unix socket, by libpq: a pool of 8 connections, statements prepared. A validation reads the few columns that
 * it needs. See stores.h.
 */
#include "stores.h"

#include <arpa/inet.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { POOL = 8 };

static PGconn *idle[POOL];
static int idle_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t given = PTHREAD_COND_INITIALIZER;
static atomic_flag counted = ATOMIC_FLAG_INIT;
static double bytes_each; /* of a validation, when it was counted */
static _Atomic uint64_t validations;

static PGconn *take(void)
{
    pthread_mutex_lock(&lock);
    while (!idle_count) pthread_cond_wait(&given, &lock);
    PGconn *connection = idle[--idle_count];
    pthread_mutex_unlock(&lock);
    return connection;
}

static void give(PGconn *connection)
{
    pthread_mutex_lock(&lock);
    idle[idle_count++] = connection;
    pthread_cond_signal(&given);
    pthread_mutex_unlock(&lock);
}

static void must(PGconn *connection, PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        bench_die("PostgreSQL: %s", PQerrorMessage(connection));
    PQclear(result);
}

static PGconn *connection_open(void)
{
    PGconn *c = PQconnectdb(place.postgres);
    if (PQstatus(c) != CONNECTION_OK) bench_die("PostgreSQL: %s", PQerrorMessage(c));
    must(c,
         PQprepare(c, "login", "INSERT INTO sessions VALUES ($1, $2, 'member', now() + interval '30 minutes', $3, $4)",
                   4, NULL));
    must(c,
         PQprepare(c, "validate",
                   "SELECT user_id, role, permissions FROM sessions WHERE token = $1 AND expires_at > now()", 1, NULL));
    must(c, PQprepare(c, "revoke", "DELETE FROM sessions WHERE token = $1", 1, NULL));
    return c;
}

static void make_table(void)
{
    PGconn *c = PQconnectdb(place.postgres);
    if (PQstatus(c) != CONNECTION_OK) bench_die("PostgreSQL: %s", PQerrorMessage(c));
    must(c, PQexec(c, "CREATE TABLE sessions (token text PRIMARY KEY, user_id bigint NOT NULL, role text NOT NULL, "
                      "expires_at timestamptz NOT NULL, permissions bytea NOT NULL, record bytea NOT NULL)"));
    PQfinish(c);
}

static void start(void)
{
    make_table();
    for (int i = 0; i < POOL; i++) give(connection_open());
}

static void stop(void)
{
    while (idle_count) PQfinish(idle[--idle_count]);
}

static void *open_way(void) { return idle; }
static void close_way(void *way) { (void)way; }

static void login(void *way, uint64_t user, char token[TOKEN_MAX])
{
    unsigned char record[RECORD_SIZE];
    char number[24];
    (void)way;
    token_make(token);
    record_write(record, token, user);
    snprintf(number, sizeof number, "%llu", (unsigned long long)user);
    const char *const values[] = {token, number, (const char *)record, (const char *)record};
    const int sizes[] = {0, 0, 32, sizeof record}, binary[] = {0, 0, 1, 1};
    PGconn *c = take();
    must(c, PQexecPrepared(c, "login", 4, values, sizes, binary, 0));
    give(c);
}

static bool validate_by(PGconn *c, const char *token, uint64_t user)
{
    PGresult *result = PQexecPrepared(c, "validate", 1, &token, NULL, NULL, 1);
    if (PQresultStatus(result) != PGRES_TUPLES_OK) bench_die("PostgreSQL: %s", PQerrorMessage(c));
    bool there = PQntuples(result) == 1;
    if (there) {
        uint32_t halves[2];
        memcpy(halves, PQgetvalue(result, 0, 0), sizeof halves);
        if (((uint64_t)ntohl(halves[0]) << 32 | ntohl(halves[1])) != user) bench_die("PostgreSQL names another user");
    }
    PQclear(result);
    return there;
}

/* Each is the same, so one is counted, by libpq's own trace: every message says how long it is. */
static void count_bytes(PGconn *c, const char *token, uint64_t user)
{
    FILE *file = tmpfile();
    char line[8192];
    int size;
    if (!file) bench_die("no file for a trace");
    PQtrace(c, file);
    PQsetTraceFlags(c, PQTRACE_SUPPRESS_TIMESTAMPS);
    validate_by(c, token, user);
    PQuntrace(c);
    rewind(file);
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "%*c %d", &size) == 1) bytes_each += size + 1;
    fclose(file);
}

static bool validate(void *way, const char *token, uint64_t user)
{
    (void)way;
    PGconn *c = take();
    if (!atomic_flag_test_and_set(&counted)) count_bytes(c, token, user);
    bool there = validate_by(c, token, user);
    give(c);
    validations++;
    return there;
}

static void end_session(void *way, const char *token)
{
    (void)way;
    PGconn *c = take();
    must(c, PQexecPrepared(c, "revoke", 1, &token, NULL, NULL, 0));
    give(c);
}

static spent spent_by(void) { return (spent){family_cpu_s((int)place.postgres_pid), bytes_each * (double)validations}; }

const store store_postgres = {.key = "postgres",
                              .name = "PostgreSQL, prepared SELECT, pool of 8",
                              .start = start,
                              .stop = stop,
                              .open = open_way,
                              .other = open_way,
                              .close = close_way,
                              .login = login,
                              .validate = validate,
                              .revoke = end_session,
                              .spent = spent_by};
