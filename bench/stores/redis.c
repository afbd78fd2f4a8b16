/* SPDX-License-Identifier: MIT
 *
 * Redis over a unix socket: plain, by hiredis, a connection for each caller, GET of the whole record and EXPIRE in one flush; and
 * latchkey, one handle that all callers share. See stores.h.
 */
#include "stores.h"

#include <latchkey.h>

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

static bench_server *server;
static redisContext *watcher;
static latchkey *shared;

static void start(void)
{
    server = bench_server_start(false);
    watcher = bench_server_connect_unix(server);
}

static void stop(void)
{
    redisFree(watcher);
    bench_server_stop(server);
}

static spent spent_by(void)
{
    bench_info info;
    bench_info_read(watcher, &info);
    return (spent){info.cpu_s, info.input_bytes + info.output_bytes};
}

/* ------------------------------------------------------------------------------------------------------- plain -- */

static void *open_plain(void) { return bench_server_connect_unix(server); }
static void close_plain(void *way) { redisFree(way); }

static redisReply *next(redisContext *redis)
{
    void *reply = NULL;
    if (redisGetReply(redis, &reply) != REDIS_OK) bench_die("Redis: %s", redis->errstr);
    return reply;
}

static void login_plain(void *way, uint64_t user, char token[TOKEN_MAX])
{
    unsigned char record[RECORD_SIZE];
    token_make(token);
    record_write(record, token, user);
    redisAppendCommand(way, "SET sess:%s %b EX %d", token, record, sizeof record, IDLE_S);
    freeReplyObject(next(way));
}

static bool validate_plain(void *way, const char *token, uint64_t user)
{
    redisAppendCommand(way, "GET sess:%s", token);
    redisAppendCommand(way, "EXPIRE sess:%s %d", token, IDLE_S);
    redisReply *record = next(way);
    bool there = record->type == REDIS_REPLY_STRING;
    if (there && !record_names(record->str, record->len, token, user)) bench_die("Redis names another user");
    freeReplyObject(record);
    freeReplyObject(next(way));
    return there;
}

static void revoke_plain(void *way, const char *token)
{
    redisAppendCommand(way, "DEL sess:%s", token);
    freeReplyObject(next(way));
}

const store store_redis = {.key = "redis",
                           .name = "Redis, GET and EXPIRE",
                           .start = start,
                           .stop = stop,
                           .open = open_plain,
                           .other = open_plain,
                           .close = close_plain,
                           .login = login_plain,
                           .validate = validate_plain,
                           .revoke = revoke_plain,
                           .spent = spent_by};

/* ---------------------------------------------------------------------------------------------------- latchkey -- */

static latchkey *handle_open(void)
{
    char config[512], error[256];
    latchkey *lk;
    snprintf(config, sizeof config, "%s?deadline_ms=10000&l1_capacity=200000", bench_server_unix_url(server));
    if (latchkey_open(config, &lk, error, sizeof error)) bench_die("latchkey_open: %s", error);
    return lk;
}

static void start_latchkey(void)
{
    start();
    shared = handle_open();
}

static void stop_latchkey(void)
{
    latchkey_close(shared);
    stop();
}

static void *open_shared(void) { return shared; }
static void *open_other(void) { return handle_open(); }

static void close_handle(void *way)
{
    if (way != shared) latchkey_close(way);
}

static void login_latchkey(void *way, uint64_t user, char token[TOKEN_MAX])
{
    static const unsigned char material[RECORD_SIZE];
    const latchkey_field fields[] = {{"pq.mlkem768", material, 1184},
                                     {"pq.mldsa44", material, 1312},
                                     {"pq.slhdsa", material, 32},
                                     {"pq.attestation", material, 1869}};
    const latchkey_draft draft = {
        .size = sizeof draft, .user_id = user, .role = "member", .fields = fields, .field_count = 4};
    int status = latchkey_create(way, &draft, token);
    if (status) bench_die("create: %s", latchkey_status_text(status));
}

static bool validate_latchkey(void *way, const char *token, uint64_t user)
{
    latchkey_entry entry;
    int status = latchkey_validate(way, token, LATCHKEY_TOKEN_LENGTH, &entry);
    if (status < 0) bench_die("validate: %s", latchkey_status_text(status));
    if (!status && entry.user_id != user) bench_die("latchkey names another user");
    return !status;
}

static void revoke_latchkey(void *way, const char *token)
{
    int status = latchkey_revoke(way, token, LATCHKEY_TOKEN_LENGTH);
    if (status) bench_die("revoke: %s", latchkey_status_text(status));
}

const store store_latchkey = {.key = "latchkey",
                              .name = "latchkey before that Redis",
                              .start = start_latchkey,
                              .stop = stop_latchkey,
                              .open = open_shared,
                              .other = open_other,
                              .close = close_handle,
                              .login = login_latchkey,
                              .validate = validate_latchkey,
                              .revoke = revoke_latchkey,
                              .spent = spent_by};
