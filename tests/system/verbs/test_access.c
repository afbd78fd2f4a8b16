/* SPDX-License-Identifier: MIT
 *
 * Passwords, files with passwords, and an ACL user that may do exactly what the library needs.
 */
#include "test_handle.h"
#include "logbook.h"

#include <stdio.h>
#include <string.h>

/* Characters that mean something in a URL, and something in RESP. */
#define PASSWORD "p@ss:w/rd?&=%#$5"
#define PASSWORD_ESCAPED "p%40ss%3Aw%2Frd%3F%26%3D%25%23%245"

static void live(const char *config)
{
    char token[LATCHKEY_TOKEN_SIZE], error[512];
    latchkey *lk, *other;
    size_t loaded;
    int status = latchkey_open(config, &lk, error, sizeof error);
    if (status) fail_msg("open: %s: %s", latchkey_status_text(status), error);
    if (latchkey_open(config, &other, NULL, 0)) fail_msg("open, without an error text");
    make_session(lk, 1, token);
    assert_status(other, LATCHKEY_OK, validate(other, token));
    assert_status(lk, LATCHKEY_OK, touch(lk, token));
    assert_status(lk, LATCHKEY_OK, set_field(lk, token, "note", "x"));
    assert_status(lk, LATCHKEY_OK, set_field(lk, token, "pq.k", "x"));
    assert_status(lk, LATCHKEY_OK, load(lk, token));
    /* Once the change of key material has reached it: then the session is not in its L1. */
    wait_for(latchkey_prewarm(other, 10, &loaded) == LATCHKEY_OK && loaded == 1);
    assert_status(lk, LATCHKEY_OK, end_session(lk, token));
    wait_for(validate(other, token) == LATCHKEY_NOT_FOUND);
    /* The link is whole too: leases are confirmed, messages come, and nothing was found missing by number. */
    wait_for(stats_of(other).beats >= 2);
    wait_for(stats_of(other).revocations_heard >= 1);
    latchkey_stats stats = stats_of(other);
    assert_int_equal(stats.connected, 1);
    assert_int_equal(stats.reconnects, 0);
    assert_int_equal(stats.missed, 0);
    assert_int_equal(stats.l2_errors, 0);
    assert_string_equal(stats.last_error, "");
    latchkey_close(lk);
    latchkey_close(other);
}

static void test_password_in_the_url(void **state)
{
    (void)state;
    char config[512];
    redis *guarded = redis_start("--requirepass", PASSWORD);
    snprintf(config, sizeof config, "redis://:%s@127.0.0.1:%d?deadline_ms=10000&staleness_ms=4000", PASSWORD_ESCAPED,
             guarded->port);
    live(config);
    snprintf(config, sizeof config, "redis://default:%s@127.0.0.1:%d?deadline_ms=10000&staleness_ms=4000",
             PASSWORD_ESCAPED, guarded->port);
    live(config);
    snprintf(config, sizeof config, "unix://:%s@%s?deadline_ms=10000&staleness_ms=4000", PASSWORD_ESCAPED,
             guarded->socket);
    live(config);
    redis_end(guarded);
}

static void test_password_in_a_file(void **state)
{
    (void)state;
    char config[512], path[160];
    redis *guarded = redis_start("--requirepass", PASSWORD);
    check_temp_path("password", path, sizeof path);
    check_write_file(path, PASSWORD "\n", strlen(PASSWORD) + 1);
    snprintf(config, sizeof config, "redis://127.0.0.1:%d?deadline_ms=10000&staleness_ms=4000&password_file=%s",
             guarded->port, path);
    live(config);
    check_write_file(path, PASSWORD, strlen(PASSWORD));
    live(config);
    redis_end(guarded);
}

static void refused(const char *config, const char *named)
{
    char error[512] = "";
    latchkey *lk = (latchkey *)(uintptr_t)1;
    assert_status(NULL, LATCHKEY_CONFIG, latchkey_open(config, &lk, error, sizeof error));
    assert_null(lk);
    assert_contains(error, named);
    assert_lacks(error, "wrong-secret");
    assert_lacks(error, PASSWORD);
    assert_lacks(error, PASSWORD_ESCAPED);
}

static void test_wrong_and_missing_passwords_are_config(void **state)
{
    (void)state;
    char config[512], path[160];
    redis *guarded = redis_start("--requirepass", PASSWORD);
    snprintf(config, sizeof config, "redis://127.0.0.1:%d?deadline_ms=10000", guarded->port);
    refused(config, "password");
    snprintf(config, sizeof config, "redis://:wrong-secret@127.0.0.1:%d?deadline_ms=10000", guarded->port);
    refused(config, "password");
    snprintf(config, sizeof config, "redis://nobody:wrong-secret@127.0.0.1:%d?deadline_ms=10000", guarded->port);
    refused(config, "password");
    /* lazy is for a Redis that is away, not for one that refuses: this one is there. Either answer may be given. */
    check_temp_path("wrong", path, sizeof path);
    check_write_file(path, "wrong-secret\n", 13);
    snprintf(config, sizeof config, "redis://127.0.0.1:%d?deadline_ms=10000&password_file=%s", guarded->port, path);
    refused(config, "password");
    redis_end(guarded);
}

static void test_password_where_none_is_set_is_config(void **state)
{
    (void)state;
    char config[512];
    snprintf(config, sizeof config, "redis://:wrong-secret@127.0.0.1:%d?deadline_ms=10000", server->port);
    refused(config, "password");
}

/* The rights that src/redis/README.md lists. Every command here is needed, see the test after the next. */
static const char *const rights[] = {
    "select", "info",    "subscribe", "publish", "time",    "get",         "mget",          "hsetnx",
    "hget",   "hmget",   "hgetall",   "hset",    "hdel",    "hlen",        "hexists",       "hkeys",
    "pttl",   "pexpire", "pexpireat", "exists",  "strlen",  "del",         "incr",          "xadd",
    "xrange", "zadd",    "zrem",      "zcard",   "zrange",  "zrandmember", "zrangebyscore", "zrevrange",
    "zscore", "rename",  "set",       "unlink",  "evalsha", "eval"};
enum { RIGHT_COUNT = sizeof rights / sizeof *rights };

/* An ACL user with all of them but one (or all, where `without` is none of them). */
static void allow(redis *on, size_t without)
{
    char line[2048] = "ACL SETUSER app reset on >wrong-secret resetchannels -@all ~lk:{*}:* &lk:*";
    for (size_t i = 0; i < RIGHT_COUNT; i++) {
        if (i == without) continue;
        strcat(line, " +");
        strcat(line, rights[i]);
    }
    redis_do(on, line);
}

static void test_acl_user_with_exactly_these_commands(void **state)
{
    (void)state;
    char config[512];
    allow(server, RIGHT_COUNT);
    snprintf(config, sizeof config, "redis://app:wrong-secret@127.0.0.1:%d?deadline_ms=10000&staleness_ms=4000",
             server->port);
    live(config);

    /* Trouble needs no further right: scripts that Redis has forgotten, a link that is broken. */
    char token[LATCHKEY_TOKEN_SIZE], error[512];
    latchkey *lk;
    assert_status(NULL, LATCHKEY_OK, latchkey_open(config, &lk, error, sizeof error));
    redis_do(server, "SCRIPT FLUSH");
    make_session(lk, 1, token);
    redis_do(server, "CLIENT KILL USER app");
    wait_for(validate(lk, token) == LATCHKEY_OK);
    wait_for(stats_of(lk).connected == 1);
    assert_status(lk, LATCHKEY_OK, end_session(lk, token));
    latchkey_close(lk);

    /* And what the user may not do: foreign keys, KEYS, MONITOR, CONFIG, FLUSHALL. */
    const char *forbidden[] = {"GET other", "KEYS *",        "MONITOR",         "CONFIG GET *", "FLUSHALL",
                               "SCAN 0",    "DEBUG SLEEP 0", "PUBLISH other x", "ACL LIST",     "SCRIPT FLUSH"};
    const struct timeval patience = {.tv_sec = CHECK_PATIENCE_MS / 1000};
    redisContext *app = redisConnectUnixWithTimeout(server->socket, patience);
    freeReplyObject(redisCommand(app, "AUTH app wrong-secret"));
    for (size_t i = 0; i < sizeof forbidden / sizeof *forbidden; i++) {
        redisReply *reply = redisCommand(app, forbidden[i]);
        assert_non_null(reply);
        if (reply->type != REDIS_REPLY_ERROR) fail_msg("%s is allowed", forbidden[i]);
        freeReplyObject(reply);
    }
    redisFree(app);
    redis_do(server, "ACL DELUSER app");
}

/* What latchkey_sample may ask for beside them: each tells something more, and is not missed otherwise. */
static void test_acl_of_sample(void **state)
{
    (void)state;
    char config[512], token[LATCHKEY_TOKEN_SIZE];
    allow(server, RIGHT_COUNT);
    snprintf(config, sizeof config, "redis://app:wrong-secret@127.0.0.1:%d?deadline_ms=10000&staleness_ms=4000",
             server->port);
    latchkey *lk = handle_open_config(config);
    make_session(lk, 1, token);
    make_session(lk, 1, token);
    latchkey_population p;
    static const char *const more[] = {"", "scan", "memory|usage", "hkeys", "hstrlen", "zcount"};
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        if (i) redis_do(server, "ACL SETUSER app +%s", more[i]);
        assert_status(lk, LATCHKEY_OK, latchkey_sample(lk, 100, &p, sizeof p));
        assert_int_equal(p.sessions, 2);
        assert_int_equal(p.users, i >= 5);
        assert_int_equal(p.peak, 2);
        assert_true(p.keys >= 1);
        assert_int_equal(p.scanned > 0, i >= 1);
        assert_int_equal(p.redis_p50_bytes > 0, i >= 2);
        assert_int_equal(p.session_p50_bytes > 0, i >= 4);
        assert_int_equal(p.record_p50_bytes, 184);
        latchkey_stats stats = stats_of(lk);
        assert_int_equal(stats.l2_errors, 0);
        assert_string_equal(stats.last_error, "");
    }
    redis_do(server, "ACL DELUSER app");
}

static int user_life(latchkey *lk, char token[LATCHKEY_TOKEN_SIZE])
{
    char renewed[LATCHKEY_TOKEN_SIZE];
    uint64_t generation;
    latchkey_session_info info;
    size_t total, revoked;
    int status = latchkey_user_generation(lk, 1, &generation);
    if (!status) status = latchkey_sessions(lk, 1, NULL, 0, &info, 1, &total);
    if (!status) status = latchkey_rotate(lk, token, LATCHKEY_TOKEN_LENGTH, 1000, renewed);
    if (!status) status = set_field(lk, token, "pq.k", "y");
    const latchkey_access access = {.size = sizeof access, .role = "x"};
    if (!status) status = latchkey_set_user_access(lk, 1, &access, NULL);
    if (!status) status = latchkey_section_put(lk, token, LATCHKEY_TOKEN_LENGTH, "large", "x", 1);
    if (!status) status = latchkey_rotate(lk, renewed, LATCHKEY_TOKEN_LENGTH, 0, token);
    if (!status) status = latchkey_revoke_user(lk, 1, NULL, 0, &revoked);
    if (!status && revoked != 1) status = LATCHKEY_CORRUPT;
    return status;
}

/* A right that is missing is named: in stats, and in the log, once and as an error. It is never taken for damage. */
static void assert_right_named(latchkey *lk, const char *right, int status)
{
    char said[96], first[128];
    snprintf(said, sizeof said, "the Redis user lacks the right +%s ", right);
    snprintf(first, sizeof first, "3 redis: %s", said);
    if (status == LATCHKEY_CORRUPT) fail_msg("without +%s: CORRUPT: %s", right, stats_of(lk).last_error);
    if (!strstr(stats_of(lk).last_error, said)) fail_msg("without +%s: %s", right, stats_of(lk).last_error);
    wait_for(logbook_has(first));
    uint64_t beats = stats_of(lk).beats;
    wait_for(stats_of(lk).beats > beats + 2); /* it would have been said again */
    char *log = logbook_text(), *at = strstr(log, first);
    if (strstr(at + 1, first)) fail_msg("said twice: %s", log);
    free(log);
}

/* Everything that a session's life needs, as one status; the first that is not as wished. `missing` is the right that is
 * not there, NULL: all are. */
static int whole_life(const char *config, const char *missing)
{
    char token[LATCHKEY_TOKEN_SIZE], error[256];
    latchkey *lk;
    int status = latchkey_open(config, &lk, error, sizeof error);
    if (status && missing && !strstr(error, missing)) fail_msg("without +%s: %s", missing, error);
    if (status) return status;
    latchkey_draft draft = {.size = sizeof draft, .user_id = 1, .generation = 1, .idle_ms = 1000000};
    const latchkey_field gone = {"note", NULL, 0};
    status = latchkey_create(lk, &draft, token);
    if (!status) status = latchkey_create(lk, &draft, token);
    if (!status) status = validate(lk, token);
    if (!status) status = set_field(lk, token, "note", "x");
    if (!status) status = latchkey_set_fields(lk, token, LATCHKEY_TOKEN_LENGTH, &gone, 1);
    if (!status) status = set_field(lk, token, "pq.k", "x");
    if (!status) status = load(lk, token);
    if (!status) status = latchkey_prewarm(lk, 10, NULL);
    if (!status) {
        /* As if it had not been used for a while, so that touch writes; and trimmable entries in both indexes. */
        char key[128];
        redis_do(server, "PEXPIRE %s 500000", session_key(server, token, key));
        redis_do(server, "ZADD lk:{0}:a 1 %s", "AAAAAAAAAAAAAAAAAAAA");
        status = touch(lk, token);
    }
    if (!status) { /* and once more, so that a read has the link touch it */
        char key[128];
        redis_do(server, "PEXPIRE %s 500000", session_key(server, token, key));
        status = load(lk, token);
        if (!status) wait_for(redis_integer(server, "PTTL %s", key) > 900000 || stats_of(lk).last_error[0]);
    }
    if (!status) {
        /* A revocation whose message does not come: the log tells it. */
        long long number = redis_integer(server, "INCR lk:{0}:q");
        redis_do(server, "XADD lk:{0}:r %lld-0 s AAAAAAAAAAAAAAAAAAAA", number);
        wait_for(stats_of(lk).missed == 1);
        uint64_t empties = stats_of(lk).empties;
        wait_for(stats_of(lk).replayed == 1 || stats_of(lk).empties > empties || stats_of(lk).last_error[0]);
        if (!stats_of(lk).replayed) status = LATCHKEY_UNAVAILABLE;
    }
    if (!status) status = end_session(lk, token);
    if (!status) status = latchkey_import(lk, "another store's token", 21, &draft, 0, 0);
    if (!status) status = latchkey_revoke(lk, "another store's token", 21);
    if (!status) status = latchkey_create(lk, &draft, token);
    if (!status) status = user_life(lk, token);
    if (!status) status = latchkey_revoke_everyone(lk);
    if (!status && redis_integer(server, "EXISTS lk:{0}:r") == 0) status = LATCHKEY_CORRUPT; /* and it was logged */
    latchkey_stats stats = stats_of(lk);
    if (!status && stats.l2_errors) status = LATCHKEY_UNAVAILABLE;
    if (status && missing) assert_right_named(lk, missing, status);
    latchkey_close(lk);
    return status;
}

static void test_acl_none_of_the_commands_is_superfluous(void **state)
{
    (void)state;
    static const char format[] = "redis://app:wrong-secret@127.0.0.1:%d/2?max_sessions=1&partitions=1&"
                                 "foreign_until_ms=4102444800000&deadline_ms=%d&staleness_ms=%d";
    char config[512];
    redis_do(server, "SELECT 2");
    allow(server, RIGHT_COUNT);
    snprintf(config, sizeof config, format, server->port, 20000, 2000);
    assert_status(NULL, LATCHKEY_OK, whole_life(config, NULL));
    snprintf(config, sizeof config, format, server->port, 1500, 200); /* where one is missing, that ends a call */
    int superfluous = 0;
    logbook_open();
    for (size_t i = 0; i < RIGHT_COUNT; i++) {
        redis_do(server, "FLUSHALL");
        redis_do(server, "SCRIPT FLUSH");
        logbook_clear();
        allow(server, i);
        int status = whole_life(config, rights[i]);
        if (status == LATCHKEY_OK) {
            print_error("+%s is not needed\n", rights[i]);
            superfluous++;
        }
    }
    logbook_close();
    redis_do(server, "ACL DELUSER app");
    redis_do(server, "FLUSHALL");
    redis_do(server, "SELECT 0");
    assert_int_equal(superfluous, 0);
}

/* What opening needs is missed at opening, at once and in words; not by waiting for the deadline. */
static void test_right_missing_at_open_is_config_at_once(void **state)
{
    (void)state;
    static const char *const needed[] = {"select", "info",   "subscribe", "publish", "mget",
                                         "exists", "hsetnx", "hget",      "time"};
    char config[512], error[512];
    snprintf(config, sizeof config, "redis://app:wrong-secret@127.0.0.1:%d/1?deadline_ms=20000", server->port);
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        size_t which = 0;
        while (which < RIGHT_COUNT && strcmp(rights[which], needed[i])) which++;
        assert_true(which < RIGHT_COUNT);
        redis_do(server, "FLUSHALL"); /* the number of partitions was recorded by the round before */
        allow(server, which);
        latchkey *lk;
        int status = latchkey_open(config, &lk, error, sizeof error);
        if (status != LATCHKEY_CONFIG)
            fail_msg("without %s: %s: %s", needed[i], latchkey_status_text(status), status ? error : "");
        if (!strstr(error, "NOPERM")) fail_msg("without %s: %s", needed[i], error);
    }
    redis_do(server, "ACL DELUSER app");
}

static void test_user_without_rights_gets_a_clear_word(void **state)
{
    (void)state;
    char config[512], error[512];
    latchkey *lk;
    redis_do(server, "ACL SETUSER app reset on >wrong-secret -@all ~lk:{*}:* &lk:* +get +ping");
    snprintf(config, sizeof config, "redis://app:wrong-secret@127.0.0.1:%d?deadline_ms=10000", server->port);
    assert_status(NULL, LATCHKEY_CONFIG, latchkey_open(config, &lk, error, sizeof error));
    assert_contains(error, "NOPERM");
    assert_lacks(error, "wrong-secret");
    /* All commands, and no right to the channels: the subscription is refused, and no lease is to be had. */
    redis_do(server, "ACL SETUSER app reset on >wrong-secret resetchannels +@all ~*");
    assert_status(NULL, LATCHKEY_CONFIG, latchkey_open(config, &lk, error, sizeof error));
    assert_contains(error, "NOPERM");
    redis_do(server, "ACL DELUSER app");
}

/* A right that is taken away while handles are open: what cannot be announced is not done, not even in part. Else another
 * process would go on admitting what Redis no longer holds, and the call that is made again would find nothing to do. */
static void test_C_what_cannot_be_announced_is_not_done(void **state)
{
    (void)state;
    char config[512], token[3][LATCHKEY_TOKEN_SIZE], renewed[LATCHKEY_TOKEN_SIZE], selector[LATCHKEY_SELECTOR_LENGTH];
    latchkey_entry entry;
    latchkey_access access = {.size = sizeof access, .role = "guest"};
    size_t revoked;
    redis_do(server, "ACL SETUSER app reset on >secret +@all ~* &*");
    snprintf(config, sizeof config, "redis://app:secret@127.0.0.1:%d?deadline_ms=10000", server->port);
    latchkey *app = handle_open_config(config), *other = handle_open(server, "");
    for (int i = 0; i < 3; i++) {
        make_session(app, 7, token[i]);
        assert_status(other, LATCHKEY_OK, validate(other, token[i]));
    }
    memcpy(selector, token[0], sizeof selector);
    redis_do(server, "ACL SETUSER app -incr");
    assert_status(app, LATCHKEY_UNAVAILABLE, latchkey_revoke_selector(app, 7, selector));
    assert_status(app, LATCHKEY_UNAVAILABLE, latchkey_rotate(app, token[1], LATCHKEY_TOKEN_LENGTH, 0, renewed));
    assert_status(app, LATCHKEY_UNAVAILABLE, latchkey_set_access(app, token[2], LATCHKEY_TOKEN_LENGTH, &access));
    assert_status(app, LATCHKEY_UNAVAILABLE, latchkey_set_user_access(app, 7, &access, &revoked));
    assert_status(app, LATCHKEY_UNAVAILABLE, latchkey_revoke_user(app, 7, NULL, 0, &revoked));
    for (int i = 0; i < 3; i++) {
        assert_status(other, LATCHKEY_OK, latchkey_validate_fresh(other, token[i], LATCHKEY_TOKEN_LENGTH, 0, &entry));
        assert_string_equal(entry.role, "member");
    }
    redis_do(server, "ACL SETUSER app +incr");
    assert_status(app, LATCHKEY_OK, latchkey_revoke_selector(app, 7, selector));
    assert_status(app, LATCHKEY_OK, latchkey_rotate(app, token[1], LATCHKEY_TOKEN_LENGTH, 0, renewed));
    assert_status(app, LATCHKEY_OK, latchkey_set_access(app, token[2], LATCHKEY_TOKEN_LENGTH, &access));
    wait_for(validate(other, token[0]) == LATCHKEY_NOT_FOUND);
    wait_for(validate(other, token[1]) == LATCHKEY_NOT_FOUND);
    wait_for(!latchkey_validate(other, token[2], LATCHKEY_TOKEN_LENGTH, &entry) && !strcmp(entry.role, "guest"));
    handle_close_all(NULL);
    redis_do(server, "ACL DELUSER app");
}

/* The same of every right that a script writes with: it may be taken away in the middle of what it does. When the right is back
 * and the call is made again, other processes hear of it. */
static void test_C_a_script_that_was_stopped_is_made_up_for(void **state)
{
    (void)state;
    static const char *const writes[] = {"hset", "hdel", "pexpire", "pexpireat", "del",    "incr",   "xadd",
                                         "zadd", "zrem", "rename",  "set",       "unlink", "publish"};
    char config[512], token[3][LATCHKEY_TOKEN_SIZE], renewed[LATCHKEY_TOKEN_SIZE], selector[LATCHKEY_SELECTOR_LENGTH];
    latchkey_entry entry;
    latchkey_access access = {.size = sizeof access, .role = "guest"};
    redis_do(server, "ACL SETUSER app reset on >secret +@all ~* &*");
    snprintf(config, sizeof config, "redis://app:secret@127.0.0.1:%d?deadline_ms=2000", server->port);
    latchkey *app = handle_open_config(config), *other = handle_open(server, "");
    for (size_t w = 0; w < sizeof writes / sizeof *writes; w++) {
        for (int i = 0; i < 3; i++) {
            make_session(app, 7, token[i]);
            wait_for(validate(other, token[i]) == LATCHKEY_OK);
        }
        memcpy(selector, token[0], sizeof selector);
        redis_do(server, "ACL SETUSER app -%s", writes[w]);
        latchkey_revoke_selector(app, 7, selector);
        latchkey_rotate(app, token[1], LATCHKEY_TOKEN_LENGTH, 0, renewed);
        latchkey_set_access(app, token[2], LATCHKEY_TOKEN_LENGTH, &access);
        redis_do(server, "ACL SETUSER app +%s", writes[w]);
        wait_for(latchkey_revoke_selector(app, 7, selector) >= 0);
        wait_for(latchkey_rotate(app, token[1], LATCHKEY_TOKEN_LENGTH, 0, renewed) >= 0);
        wait_for(latchkey_set_access(app, token[2], LATCHKEY_TOKEN_LENGTH, &access) >= 0);
        wait_for(validate(other, token[0]) == LATCHKEY_NOT_FOUND);
        wait_for(validate(other, token[1]) == LATCHKEY_NOT_FOUND);
        wait_for(latchkey_validate(other, token[2], LATCHKEY_TOKEN_LENGTH, &entry) || !strcmp(entry.role, "guest"));
    }
    handle_close_all(NULL);
    redis_do(server, "ACL DELUSER app");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_password_in_the_url),
        TEST(test_password_in_a_file),
        TEST(test_wrong_and_missing_passwords_are_config),
        TEST(test_password_where_none_is_set_is_config),
        TEST(test_acl_user_with_exactly_these_commands),
        TEST(test_acl_of_sample),
        TEST(test_acl_none_of_the_commands_is_superfluous),
        TEST(test_right_missing_at_open_is_config_at_once),
        TEST(test_user_without_rights_gets_a_clear_word),
        TEST(test_C_what_cannot_be_announced_is_not_done),
        TEST(test_C_a_script_that_was_stopped_is_made_up_for),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}
