/* SPDX-License-Identifier: MIT
 *
 * Bad input: servers that are not Redis, not yet, not new enough, or not the right one.
 */
#include "fake.h"
#include "test_handle.h"
#include "test_net.h"
#include "proxy.h"
#include "threads.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { GENEROUS = 30000 };

static int open_at(const char *config, char error[512])
{
    latchkey *lk = (latchkey *)(uintptr_t)1;
    int64_t start = check_now_ms();
    int status = latchkey_open(config, &lk, error, 512);
    assert_true(check_now_ms() - start < GENEROUS);
    if (status) assert_null(lk);
    latchkey_close(status ? NULL : lk);
    return status;
}

static void expect(const fake_script *script, int deadline_ms, int status, const char *named)
{
    char config[128], error[512] = "";
    fake *f = fake_start(script);
    snprintf(config, sizeof config, "redis://127.0.0.1:%d?deadline_ms=%d", fake_port(f), deadline_ms);
    assert_status(NULL, status, open_at(config, error));
    fake_end(f);
    assert_true(strlen(error) > 10);
    if (named) assert_contains(error, named);
}

/* Deadlines: long where the answer does not wait for it, short where it must. */
enum { LONG = 20000, SHORT = 700 };

static void test_http_server_is_no_redis(void **state)
{
    (void)state;
    expect(&(fake_script){.answer = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", .close_after_answer = 1},
           LONG, LATCHKEY_CONFIG, NULL);
    expect(&(fake_script){.answer = "HTTP/1.1 400 Bad Request\r\n\r\n"}, LONG, LATCHKEY_CONFIG, NULL);
}

static void test_ssh_server_is_no_redis(void **state)
{
    (void)state;
    expect(&(fake_script){.greeting = "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n"}, LONG, LATCHKEY_CONFIG, NULL);
}

static void test_mail_and_memcached_servers_are_no_redis(void **state)
{
    (void)state;
    expect(&(fake_script){.greeting = "220 mail.example.org ESMTP\r\n", .answer = "500 what?\r\n"}, LONG,
           LATCHKEY_CONFIG, NULL);
    expect(&(fake_script){.answer = "ERROR\r\n"}, LONG, LATCHKEY_CONFIG, NULL);
}

static void test_binary_noise_is_no_redis(void **state)
{
    (void)state;
    expect(&(fake_script){.answer = "\x15\x03\x03\x00\x02\x02\x28", .answer_size = 7}, LONG, LATCHKEY_CONFIG, NULL);
    expect(&(fake_script){.answer = "\0\0\0\0\0\0\0\0", .answer_size = 8}, LONG, LATCHKEY_CONFIG, NULL);
}

static void test_wrong_kinds_of_reply_are_no_redis(void **state)
{
    (void)state;
    /* RESP, but not an INFO. */
    const char *answers[] = {"+OK\r\n", ":1\r\n",          "$-1\r\n",           "*0\r\n",
                             "*-1\r\n", "$5\r\nhello\r\n", "*2\r\n+a\r\n+b\r\n"};
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++)
        expect(&(fake_script){.answer = answers[i]}, LONG, LATCHKEY_CONFIG, NULL);
}

static void test_absurd_lengths_are_refused(void **state)
{
    (void)state;
    const char *answers[] = {"$99999999999999999999\r\n",
                             "$-5\r\n",
                             "*1000000000\r\n",
                             "*99999999999999999999\r\n",
                             "*-7\r\n",
                             "$abc\r\n",
                             "*x\r\n",
                             "$999999999\r\n",
                             "%3\r\n"};
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++)
        expect(&(fake_script){.answer = answers[i]}, SHORT, LATCHKEY_CONFIG, NULL);
    /* Well formed so far: before the deadline it is not known whether the rest will come. */
    expect(&(fake_script){.answer = "$20000000\r\n"}, SHORT, LATCHKEY_UNAVAILABLE, NULL);
}

static void test_deep_nesting_is_refused(void **state)
{
    (void)state;
    char deep[4 * 100000 + 1];
    for (size_t i = 0; i < 100000; i++) memcpy(deep + 4 * i, "*1\r\n", 5);
    expect(&(fake_script){.answer = deep}, SHORT, LATCHKEY_CONFIG, NULL);
    deep[4 * 20] = 0;
    expect(&(fake_script){.answer = deep}, SHORT, LATCHKEY_CONFIG, NULL);
}

static void test_floods_are_cut_off_and_take_no_memory(void **state)
{
    (void)state;
    struct rusage before, after;
    const char *answers[] = {"$999999999\r\n", "$90000000\r\n", "+", "-", "*1000000000\r\n"};
    getrusage(RUSAGE_SELF, &before);
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        char config[128], error[512] = "";
        const fake_script script = {.answer = answers[i], .flood = 1};
        fake *f = fake_start(&script);
        snprintf(config, sizeof config, "redis://127.0.0.1:%d?deadline_ms=2000", fake_port(f));
        assert_status_in(NULL, open_at(config, error), LATCHKEY_CONFIG, LATCHKEY_UNAVAILABLE);
        fake_end(f);
    }
    getrusage(RUSAGE_SELF, &after);
    /* In KiB; an L1 of the default size is taken and given back five times. Far from the gigabyte that was announced. */
    assert_true(after.ru_maxrss - before.ru_maxrss < 400 * 1024);
}

static void test_silence_is_unavailable_within_the_deadline(void **state)
{
    (void)state;
    expect(&(fake_script){.answer = NULL}, SHORT, LATCHKEY_UNAVAILABLE, NULL);
}

static void test_drips_are_unavailable_within_the_deadline(void **state)
{
    (void)state;
    /* Each byte comes in time; the whole never does. */
    expect(&(fake_script){.answer = "+O", .drip = 1}, SHORT, LATCHKEY_UNAVAILABLE, NULL);
    expect(&(fake_script){.answer = "$100000\r\n", .drip = 1}, SHORT, LATCHKEY_UNAVAILABLE, NULL);
}

static void test_closed_at_once_is_unavailable(void **state)
{
    (void)state;
    expect(&(fake_script){.close_at_once = 1}, SHORT, LATCHKEY_UNAVAILABLE, NULL);
    expect(&(fake_script){.answer = "", .close_after_answer = 1}, SHORT, LATCHKEY_UNAVAILABLE, NULL);
}

static void test_loading_is_unavailable(void **state)
{
    (void)state;
    expect(&(fake_script){.answer = "-LOADING Redis is loading the dataset in memory\r\n"}, SHORT, LATCHKEY_UNAVAILABLE,
           "LOADING");
}

static void test_too_many_clients_is_unavailable(void **state)
{
    (void)state;
    expect(&(fake_script){.greeting = "-ERR max number of clients reached\r\n", .close_at_once = 1}, SHORT,
           LATCHKEY_UNAVAILABLE, NULL);
}

static void test_protected_mode_is_unavailable(void **state)
{
    (void)state;
    char config[128], error[512];
    const fake_script script = {.greeting = "-DENIED Redis is running in protected mode because ...\r\n",
                                .close_at_once = 1};
    fake *f = fake_start(&script);
    for (int password = 0; password < 2; password++) {
        snprintf(config, sizeof config, "redis://%s127.0.0.1:%d?deadline_ms=%d", password ? ":p@" : "", fake_port(f),
                 SHORT);
        assert_status(NULL, LATCHKEY_UNAVAILABLE, open_at(config, error));
    }
    fake_end(f);
}

#define INFO_OF(version, mode, role)                                                                                   \
    "# Server\r\nredis_version:" version "\r\nredis_mode:" mode                                                        \
    "\r\nrun_id:0123456789012345678901234567890123456789\r\n# Replication\r\nrole:" role "\r\n"

static void test_too_old_redis_is_config(void **state)
{
    (void)state;
    const char *old[] = {INFO_OF("6.0.16", "standalone", "master"), INFO_OF("2.8.4", "standalone", "master"),
                         INFO_OF("6.1.99", "standalone", "master"), INFO_OF("5.0.7", "standalone", "master")};
    const char *named[] = {"6.0.16", "2.8.4", "6.2", "5.0.7"};
    for (size_t i = 0; i < 4; i++)
        expect(&(fake_script){.answer = "+OK\r\n", .info = old[i]}, LONG, LATCHKEY_CONFIG, named[i]);
}

static void test_info_without_sense_is_config(void **state)
{
    (void)state;
    const char *odd[] = {"",
                         "\r\n\r\n",
                         "redis_version:\r\n",
                         "redis_version:banana\r\nrun_id:1\r\n",
                         "redis_version\r\nrun_id",
                         INFO_OF("-7.0.0", "standalone", "master"),
                         INFO_OF("7.0.15", "standalone", "emperor")};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        expect(&(fake_script){.answer = "+OK\r\n", .info = odd[i]}, LONG, LATCHKEY_CONFIG, NULL);
}

static void test_sentinel_and_cluster_by_their_info_are_config(void **state)
{
    (void)state;
    expect(&(fake_script){.answer = "+OK\r\n", .info = INFO_OF("7.0.15", "sentinel", "sentinel")}, LONG,
           LATCHKEY_CONFIG, "entinel");
    expect(&(fake_script){.answer = "+OK\r\n", .info = INFO_OF("7.0.15", "cluster", "master")}, LONG, LATCHKEY_CONFIG,
           "redis+cluster://");
    expect(&(fake_script){.answer = "+OK\r\n", .info = INFO_OF("7.0.15", "standalone", "slave")}, LONG, LATCHKEY_CONFIG,
           "replica");
}

static void test_nobody_listens(void **state)
{
    (void)state;
    char config[256], error[512], path[160];
    snprintf(config, sizeof config, "redis://127.0.0.1:%d?deadline_ms=%d", net_refusing(), SHORT);
    assert_status(NULL, LATCHKEY_UNAVAILABLE, open_at(config, error));
    assert_true(strlen(error) > 10);
    check_temp_path("no-socket", path, sizeof path);
    snprintf(config, sizeof config, "unix://%s?deadline_ms=%d", path, SHORT);
    assert_status(NULL, LATCHKEY_UNAVAILABLE, open_at(config, error));
    check_write_file(path, "a file", 6);
    assert_status(NULL, LATCHKEY_UNAVAILABLE, open_at(config, error));
}

static void test_host_that_does_not_exist(void **state)
{
    (void)state;
    char error[512];
    /* .invalid never resolves; whether that is known at once depends on the machine's resolver. */
    assert_status_in(NULL, open_at("redis://no-such-host.invalid?deadline_ms=700", error), LATCHKEY_UNAVAILABLE,
                     LATCHKEY_CONFIG);
    assert_contains(error, "no-such-host.invalid");
}

/* --------------------------------------------------------------------------- real servers, wrongly set up -- */

static void test_replica_is_config(void **state)
{
    (void)state;
    char port[16], config[256], error[512];
    snprintf(port, sizeof port, "%d", server->port);
    redis *replica = redis_start("--replicaof", "127.0.0.1", port);
    handle_config(replica, 0, "", config, sizeof config);
    assert_status(NULL, LATCHKEY_CONFIG, open_at(config, error));
    assert_contains(error, "replica");
    /* Also one that has its data and a link that is up. */
    wait_for(redis_info(replica, "replication", "master_sync_in_progress") == 0);
    assert_status(NULL, LATCHKEY_CONFIG, open_at(config, error));
    redis_end(replica);
}

static void test_cluster_mode_is_config(void **state)
{
    (void)state;
    char config[256], error[512];
    redis *cluster = redis_start("--cluster-enabled", "yes");
    handle_config(cluster, 1, "", config, sizeof config);
    assert_status(NULL, LATCHKEY_CONFIG, open_at(config, error));
    assert_contains(error, "redis+cluster://");
    redis_end(cluster);
}

static void test_other_number_of_partitions_is_config(void **state)
{
    (void)state;
    char config[256], error[512];
    latchkey *first = handle_open(server, "partitions=16");
    handle_config(server, 0, "partitions=32", config, sizeof config);
    assert_status(NULL, LATCHKEY_CONFIG, open_at(config, error));
    assert_contains(error, "partitions");
    assert_contains(error, "16");
    assert_contains(error, "32");
    /* It is recorded, so also when no session is there any more. */
    handle_close(first);
    assert_status(NULL, LATCHKEY_CONFIG, open_at(config, error));
    handle_config(server, 0, "partitions=16", config, sizeof config);
    assert_status(NULL, LATCHKEY_OK, open_at(config, error));
}

static void test_record_of_partitions_that_is_something_else_is_config(void **state)
{
    (void)state;
    char config[256], error[512];
    handle_config(server, 0, "", config, sizeof config);
    redis_do(server, "SET lk:{0}:m 64");
    assert_status(NULL, LATCHKEY_CONFIG, open_at(config, error));
    redis_do(server, "DEL lk:{0}:m");
    redis_do(server, "HSET lk:{0}:m partitions banana");
    assert_status(NULL, LATCHKEY_CONFIG, open_at(config, error));
    assert_contains(error, "partitions");
}

static void test_database_that_does_not_exist_is_config(void **state)
{
    (void)state;
    char config[256], error[512];
    handle_config(server, 0, "db=999", config, sizeof config);
    assert_status(NULL, LATCHKEY_CONFIG, open_at(config, error));
    assert_contains(error, "database");
}

static void test_lazy_open_of_a_server_that_is_no_redis_admits_nothing(void **state)
{
    (void)state;
    const fake_script script = {.answer = "HTTP/1.1 400 Bad Request\r\n\r\n", .close_after_answer = 1};
    char config[256], error[512], token[LATCHKEY_TOKEN_SIZE];
    latchkey *maker = handle_open(server, ""), *lk;
    make_session(maker, 1, token);
    fake *f = fake_start(&script);
    snprintf(config, sizeof config, "redis://127.0.0.1:%d?deadline_ms=700&lazy=1", fake_port(f));
    int status = latchkey_open(config, &lk, error, sizeof error);
    if (status == LATCHKEY_OK) {
        assert_status_in(lk, validate(lk, token), LATCHKEY_UNAVAILABLE);
        assert_status_in(lk, load(lk, token), LATCHKEY_UNAVAILABLE);
        wait_for(stats_of(lk).last_error[0] != 0);
        latchkey_close(lk);
    } else {
        assert_status(NULL, LATCHKEY_CONFIG, status);
    }
    fake_end(f);
}

/* ------------------------------------------------------------------- replies that go wrong in mid-life -- */

static void test_A_foreign_bytes_instead_of_replies_admit_and_deny_nothing(void **state)
{
    (void)state;
    static const char *const pieces[] = {"HTTP/1.1 400 Bad Request\r\n\r\n",
                                         "-ERR something\r\n",
                                         "-LOADING Redis is loading\r\n",
                                         "$999999999\r\n",
                                         "*1000000000\r\n",
                                         "+OK\r\n",
                                         ":0\r\n",
                                         ":1\r\n",
                                         "*0\r\n",
                                         "*-1\r\n",
                                         "$0\r\n\r\n",
                                         "\r\n\r\n",
                                         "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n",
                                         "%1\r\n+a\r\n+b\r\n",
                                         "$184\r\nshort\r\n",
                                         "-MASTERDOWN x\r\n",
                                         "-CLUSTERDOWN x\r\n",
                                         "-MOVED 1 h:1\r\n",
                                         "-NOAUTH Authentication required.\r\n"};
    proxy *wire = proxy_start(server->port);
    latchkey *maker = handle_open(server, "");
    latchkey *lk = handle_open_at(proxy_port(wire), "deadline_ms=500&l1_capacity=0&connections=2&staleness_ms=1000");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(maker, 1, token);
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        wait_for(validate(lk, token) == LATCHKEY_OK);
        proxy_set(wire, PROXY_REPLACE, pieces[i], strlen(pieces[i]));
        for (int j = 0; j < 3; j++) {
            int status = validate(lk, token);
            if (status != LATCHKEY_UNAVAILABLE && status != LATCHKEY_CORRUPT)
                fail_msg("'%s' is answered by %s", pieces[i], latchkey_status_text(status));
            status = load(lk, token);
            if (status != LATCHKEY_UNAVAILABLE && status != LATCHKEY_CORRUPT)
                fail_msg("load: '%s' is answered by %s", pieces[i], latchkey_status_text(status));
        }
        proxy_set(wire, PROXY_RELAY, NULL, 0);
        proxy_drop_connections(wire);
    }
    wait_for(validate(lk, token) == LATCHKEY_OK);
    handle_close(lk);
    proxy_end(wire);
}

/* ------------------------------------------------------------------------------- permanent is not passing -- */

/* If a right is missing, open names it: each right in turn. */
static void test_open_names_the_right_that_is_missing(void **state)
{
    (void)state;
    char acl[2048], config[256], error[512];
    FILE *file = fopen(LATCHKEY_ACL, "r");
    assert_non_null(file);
    assert_non_null(fgets(acl, sizeof acl, file));
    fclose(file);
    char *rights = strstr(acl, "resetchannels");
    assert_non_null(rights);
    rights[strcspn(rights, "\r\n")] = 0;
    redis_do(server, "SELECT 0");
    handle_close(handle_open(server, "")); /* the number of partitions is recorded */
    snprintf(config, sizeof config, "unix://probed:pw@%s?deadline_ms=10000&db=0", server->socket);
    unsigned asked = 0;
    for (char *right = strstr(rights, " +"); right; right = strstr(right + 1, " +")) {
        char line[2048], command[40];
        size_t length = strcspn(right + 2, " ");
        snprintf(command, sizeof command, "%.*s", (int)length, right + 2);
        if (strcmp(command, "select") == 0) continue; /* of another database than the first */
        snprintf(line, sizeof line, "ACL SETUSER probed reset on >pw %.*s -%s", (int)strlen(rights), rights, command);
        const char *words[100];
        size_t sizes[100], count = 0;
        for (char *at = strtok(line, " "); at && count < 100; at = strtok(NULL, " "), count++) {
            words[count] = at;
            sizes[count] = strlen(at);
        }
        redisReply *reply = redisCommandArgv(server->control, (int)count, words, sizes);
        assert_true(reply && reply->type == REDIS_REPLY_STATUS);
        freeReplyObject(reply);
        *error = 0;
        if (strcmp(command, "hsetnx") == 0) redis_do(server, "DEL lk:{0}:m"); /* needed once, to record it */
        int status = open_at(config, error);
        if (strcmp(command, "hsetnx") == 0) handle_close(handle_open(server, ""));
        if (status != LATCHKEY_CONFIG || !strstr(error, command))
            fail_msg("without +%s: %s, '%s'", command, latchkey_status_text(status), error);
        asked++;
    }
    assert_true(asked > 30);
    redis_do(server, "ACL DELUSER probed");
}

/* Commands that are not there: renamed, or not passed on. */
static void test_open_names_the_command_that_is_not_there(void **state)
{
    (void)state;
    static const struct {
        const char *command, *options;
    } rows[] = {{"INFO", ""}, {"TIME", ""},   {"EVAL", ""},      {"EVALSHA", ""}, {"SUBSCRIBE", ""},
                {"ZADD", ""}, {"PTTL", ""},   {"PEXPIREAT", ""}, {"PUBLISH", ""}, {"WAIT", "&durability=1"},
                {"MGET", ""}, {"HSETNX", ""}, {"PEXPIRE", ""}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char config[256], error[512] = "";
        redis *on = redis_start("--rename-command", rows[i].command, "GONE");
        snprintf(config, sizeof config, "unix://%s?deadline_ms=10000%s", on->socket, rows[i].options);
        int status = open_at(config, error);
        char *found = strcasestr(error, rows[i].command);
        if (status != LATCHKEY_CONFIG || !found)
            fail_msg("without %s: %s, '%s'", rows[i].command, latchkey_status_text(status), error);
        redis_end(on);
    }
}

/* What was refused is looked for without leaving anything behind. */
static void test_open_leaves_nothing_behind(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "partitions=4");
    handle_close(lk);
    size_t count;
    char **keys = redis_keys(server, "*", &count);
    assert_int_equal(count, 1);
    assert_string_equal(keys[0], "lk:{0}:m");
    redis_free_keys(keys);
    assert_int_equal(redis_integer(server, "HLEN lk:{0}:m"), 1);
}

/* As twemproxy does: for ever, and nothing is ever said. */
static void test_a_proxy_that_hangs_up_is_config(void **state)
{
    (void)state;
    expect(&(fake_script){.knows_ping_alone = 1}, LONG, LATCHKEY_CONFIG, "proxy");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_http_server_is_no_redis),
        TEST(test_ssh_server_is_no_redis),
        TEST(test_mail_and_memcached_servers_are_no_redis),
        TEST(test_binary_noise_is_no_redis),
        TEST(test_wrong_kinds_of_reply_are_no_redis),
        TEST(test_absurd_lengths_are_refused),
        TEST(test_deep_nesting_is_refused),
        TEST(test_floods_are_cut_off_and_take_no_memory),
        TEST(test_silence_is_unavailable_within_the_deadline),
        TEST(test_drips_are_unavailable_within_the_deadline),
        TEST(test_closed_at_once_is_unavailable),
        TEST(test_loading_is_unavailable),
        TEST(test_too_many_clients_is_unavailable),
        TEST(test_protected_mode_is_unavailable),
        TEST(test_too_old_redis_is_config),
        TEST(test_info_without_sense_is_config),
        TEST(test_sentinel_and_cluster_by_their_info_are_config),
        TEST(test_nobody_listens),
        TEST(test_host_that_does_not_exist),
        TEST(test_replica_is_config),
        TEST(test_cluster_mode_is_config),
        TEST(test_other_number_of_partitions_is_config),
        TEST(test_record_of_partitions_that_is_something_else_is_config),
        TEST(test_database_that_does_not_exist_is_config),
        TEST(test_lazy_open_of_a_server_that_is_no_redis_admits_nothing),
        TEST(test_A_foreign_bytes_instead_of_replies_admit_and_deny_nothing),
        TEST(test_open_names_the_right_that_is_missing),
        TEST(test_open_names_the_command_that_is_not_there),
        TEST(test_open_leaves_nothing_behind),
        TEST(test_a_proxy_that_hangs_up_is_config),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}
