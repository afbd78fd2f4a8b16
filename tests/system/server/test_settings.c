/* SPDX-License-Identifier: MIT
 *
 * What real servers are set to, and what is said of it at open: every wrong setting by its name and level, and nothing of
 * a server that is set as src/redis/README.md recommends. What INFO can show in which form is in unit/redis/test_server_check.c.
 */
#include "test_handle.h"
#include "logbook.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GOOD "--appendonly", "yes", "--maxmemory", "100mb", "--maxmemory-policy", "noeviction"

/* "level name; " of each line about a setting, in the order in which they were said. */
static const char *settings_said(void)
{
    static char names[512];
    size_t used = 0;
    names[0] = 0;
    char *text = logbook_text(), *rest = text, *line, name[64];
    while ((line = strsep(&rest, "\n"))) {
        int level, end = 0;
        if (sscanf(line, "%d setting %63[^:]: %n", &level, name, &end) != 2 || !end) continue;
        if (strlen(line + end) < 40) fail_msg("that says too little: %s", line);
        used += (size_t)snprintf(names + used, sizeof names - used, "%d %s; ", level, name);
        assert_true(used < sizeof names);
    }
    free(text);
    return names;
}

/* It is said before open returns. */
static void assert_said_at_open(redis *on, const char *options, const char *wanted)
{
    logbook_open();
    latchkey *lk = handle_open(on, options);
    char said[512];
    snprintf(said, sizeof said, "%s", settings_said());
    logbook_close();
    handle_close(lk);
    if (strcmp(said, wanted)) fail_msg("%s: said '%s', wanted '%s'", on->arguments[0], said, wanted);
}

static void test_good_server_has_none(void **state)
{
    (void)state;
    redis *on = redis_start(GOOD);
    logbook_open();
    latchkey *lk = handle_open(on, "");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 1, token);
    warm(lk, token);
    assert_status(lk, LATCHKEY_OK, end_session(lk, token));
    handle_close(lk);
    assert_said_at_open(on, "lazy=1", ""); /* at once, and there is nothing to be said later */
    logbook_open();
    lk = handle_open(on, "lazy=1");
    wait_for(stats_of(lk).connected);
    handle_close(lk);
    char *text = logbook_text();
    assert_string_equal(text, ""); /* no line of any kind */
    free(text);
    logbook_close();
    redis_end(on);
}

static void test_each_wrong_setting_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *arguments[8], *said;
    } rows[] = {
        {{GOOD}, ""},
        {{"--appendonly", "no"}, "4 appendonly; "},
        {{"--appendonly", "no", "--save", "3600 1"}, "4 appendonly; "},
        {{GOOD, "--maxmemory-policy", "allkeys-lru"}, "3 maxmemory-policy; "},
        {{GOOD, "--maxmemory-policy", "allkeys-random"}, "3 maxmemory-policy; "},
        {{GOOD, "--maxmemory-policy", "volatile-lfu"}, "3 maxmemory-policy; "},
        {{GOOD, "--maxmemory-policy", "volatile-ttl"}, "3 maxmemory-policy; "},
        {{"--appendonly", "yes", "--maxmemory-policy", "allkeys-lfu"}, "5 maxmemory-policy; "},
        {{"--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"}, "3 maxmemory-policy; 4 appendonly; "},
        /* Of no consequence: idle connections are noticed, and what takes part in no guarantee. */
        {{GOOD, "--timeout", "1"}, ""},
        {{GOOD, "--min-replicas-to-write", "0"}, ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *arguments[16] = {0};
        for (size_t k = 0; k < 8 && rows[i].arguments[k]; k++) arguments[k] = rows[i].arguments[k];
        redis *on = redis_start_with(arguments);
        assert_said_at_open(on, "", rows[i].said);
        redis_end(on);
    }
}

static void test_snapshot_that_failed(void **state)
{
    (void)state;
    redis *on = redis_start(GOOD);
    char blocked[160];
    snprintf(blocked, sizeof blocked, "%s/dump.rdb", on->dir);
    assert_int_equal(mkdir(blocked, 0700), 0); /* it cannot be renamed into place */
    freeReplyObject(redis_command(on, "BGSAVE"));
    wait_for(redis_info(on, "persistence", "rdb_bgsave_in_progress") == 0);
    assert_said_at_open(on, "", "4 rdb_last_bgsave_status; ");
    redis_end(on);
}

static void test_replicas_that_nobody_waits_for(void **state)
{
    (void)state;
    char port[16];
    redis *on = redis_start(GOOD, "--repl-diskless-sync-delay", "0");
    snprintf(port, sizeof port, "%d", on->port);
    redis *replica = redis_start("--replicaof", "127.0.0.1", port);
    wait_for(redis_info(on, "replication", "connected_slaves") == 1);
    assert_said_at_open(on, "", "4 durability; ");
    redis_end(replica);
    redis_end(on);
}

/* The rights of src/redis/acl.txt show the settings; CONFIG, which they do not hold, is not tried. */
static void test_no_right_but_info_is_needed(void **state)
{
    (void)state;
    char config[256];
    latchkey *lk;
    redis *on = redis_start("--appendonly", "no");
    redis_do(on, "ACL SETUSER app on >secret resetchannels ~lk:{*}:* &lk:* +@all -config -role");
    snprintf(config, sizeof config, "redis://app:secret@127.0.0.1:%d?deadline_ms=10000", on->port);
    logbook_open();
    assert_status(NULL, LATCHKEY_OK, latchkey_open(config, &lk, NULL, 0));
    assert_string_equal(settings_said(), "4 appendonly; ");
    logbook_close();
    latchkey_close(lk);
    assert_int_equal(redis_calls(on, "config|get"), 0);
    redisReply *denied = redis_command(on, "ACL LOG");
    assert_int_equal(denied->elements, 0);
    freeReplyObject(denied);
    redis_end(on);
}

/* A handle that opens while Redis is away looks as soon as it is there; and again at each restart, which may have brought
 * other settings. What it finds again as it was, it does not say again. */
static void test_each_start_of_the_server_is_looked_at(void **state)
{
    (void)state;
    redis *on = redis_start(GOOD);
    redis_kill(on);
    logbook_open();
    latchkey *lk = handle_open(on, "lazy=1");
    wait_for(logbook_has("4 link: down: "));
    redis_add_argument(on, "--maxmemory-policy");
    redis_add_argument(on, "volatile-lru");
    redis_boot(on);
    wait_for(logbook_has("5 link: up after "));
    assert_string_equal(settings_said(), "3 maxmemory-policy; ");
    logbook_clear();
    redis_kill(on);
    redis_boot(on);
    wait_for(logbook_has("5 link: up after "));
    assert_string_equal(settings_said(), "");
    logbook_clear();
    redis_kill(on);
    redis_add_argument(on, "--appendonly");
    redis_add_argument(on, "no");
    redis_boot(on);
    wait_for(logbook_has("5 link: up after "));
    assert_string_equal(settings_said(), "3 maxmemory-policy; 4 appendonly; ");
    /* A connection that breaks is no new server. */
    logbook_clear();
    redis_do(on, "CONFIG SET maxmemory-policy allkeys-lru");
    redis_do(on, "CLIENT KILL TYPE normal");
    wait_for(logbook_has("5 link: up after "));
    assert_string_equal(settings_said(), "");
    handle_close(lk);
    logbook_close();
    redis_end(on);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_good_server_has_none),        TEST(test_each_wrong_setting_is_named),
        TEST(test_snapshot_that_failed),        TEST(test_replicas_that_nobody_waits_for),
        TEST(test_no_right_but_info_is_needed), TEST(test_each_start_of_the_server_is_looked_at),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}
