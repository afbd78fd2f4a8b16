/* SPDX-License-Identifier: MIT
 *
 * Redis in trouble: full, loading, unable to write, turned into a replica, without its scripts, and killed in the
 * middle of everything.
 */
#include "test_handle.h"
#include "test_net.h"
#include "threads.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int create(latchkey *lk, char token[LATCHKEY_TOKEN_SIZE])
{
    latchkey_draft draft = {.size = sizeof draft, .user_id = 1};
    return latchkey_create(lk, &draft, token);
}

static void test_full_redis_refuses_creates_and_ends_sessions(void **state)
{
    (void)state;
    redis *on = redis_start("--maxmemory-policy", "noeviction");
    latchkey *lk = handle_open(on, "l1_capacity=0"), *other = handle_open(on, "");
    char tokens[3][LATCHKEY_TOKEN_SIZE], none[LATCHKEY_TOKEN_SIZE], key[128];
    for (int i = 0; i < 3; i++) make_session(lk, 1, tokens[i]);
    assert_status(other, LATCHKEY_OK, validate(other, tokens[0]));
    redis_do(on, "CONFIG SET maxmemory 1mb"); /* less than it holds already */

    memset(none, 'x', sizeof none);
    assert_status(lk, LATCHKEY_UNAVAILABLE, create(lk, none));
    assert_int_equal(none[0], 0);
    assert_contains(stats_of(lk).last_error, "maxmemory");
    assert_int_equal(redis_count_keys(on, "lk:*:s:*"), 3);

    assert_status(lk, LATCHKEY_OK, validate(lk, tokens[0]));
    assert_status(lk, LATCHKEY_OK, load(lk, tokens[0]));
    /* As if it had not been used for long: touch has something to write, and may. */
    redis_do(on, "PEXPIRE %s 300000", session_key(on, tokens[0], key));
    assert_status(lk, LATCHKEY_OK, touch(lk, tokens[0]));
    assert_true(redis_integer(on, "PTTL %s", key) > 400000);
    assert_status(lk, LATCHKEY_UNAVAILABLE, set_field(lk, tokens[1], "note", "x"));
    assert_status(lk, LATCHKEY_OK, validate(lk, tokens[1]));

    assert_status(lk, LATCHKEY_OK, end_session(lk, tokens[0]));
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, tokens[0]));
    wait_for(validate(other, tokens[0]) == LATCHKEY_NOT_FOUND); /* it was announced as well */
    /* Also the handle that finds Redis full when it opens. */
    latchkey *late = handle_open(on, "");
    assert_status(late, LATCHKEY_OK, validate(late, tokens[1]));
    assert_status(late, LATCHKEY_OK, end_session(late, tokens[1]));

    redis_do(on, "CONFIG SET maxmemory 0");
    make_session(lk, 1, none);
    assert_status(lk, LATCHKEY_OK, validate(lk, none));
    handle_close_all(NULL);
    redis_end(on);
}

static void test_forgotten_scripts_are_sent_again(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "staleness_ms=60000");
    char token[LATCHKEY_TOKEN_SIZE], key[128];
    for (int i = 0; i < 3; i++) {
        redis_do(server, "SCRIPT FLUSH");
        make_session(lk, 1, token);
        redis_do(server, "SCRIPT FLUSH");
        assert_status(lk, LATCHKEY_OK, touch(lk, token));
        redis_do(server, "SCRIPT FLUSH");
        wait_for(set_field(lk, token, "pq.k", "x") ==
                 LATCHKEY_OK); /* it waits for a beat, which a busy machine may send late */
        /* A touch by the link, for which no call waits. */
        redis_do(server, "PEXPIRE %s 1000000", session_key(server, token, key));
        redis_do(server, "SCRIPT FLUSH");
        wait_for(validate(lk, token) == LATCHKEY_OK && redis_integer(server, "PTTL %s", key) > 1100000);
        redis_do(server, "SCRIPT FLUSH");
        assert_status(lk, LATCHKEY_OK, end_session(lk, token));
    }
    assert_int_equal(stats_of(lk).l2_errors, 0);
}

/* Other threads flush the scripts all the time. */
static void flush_scripts(crew_member *member)
{
    redisContext *c = redisConnectUnix(server->socket);
    while (c && !c->err && !crew_stopped(member)) {
        redisReply *reply = redisCommand(c, "SCRIPT FLUSH");
        if (reply) freeReplyObject(reply);
    }
    if (c) redisFree(c);
}

static void test_scripts_forgotten_in_the_middle(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE];
    int statuses[4][60];
    crew *flushers = crew_start(1, flush_scripts, NULL);
    for (int i = 0; i < 60; i++) {
        statuses[0][i] = create(lk, token);
        statuses[1][i] = touch(lk, token);
        statuses[2][i] = set_field(lk, token, "pq.k", "x");
        statuses[3][i] = end_session(lk, token);
    }
    crew_stop(flushers);
    crew_join(flushers);
    for (int verb = 0; verb < 4; verb++)
        for (int i = 0; i < 60; i++) assert_status(lk, LATCHKEY_OK, statuses[verb][i]);
}

static void test_primary_that_becomes_a_replica(void **state)
{
    (void)state;
    redis *on = redis_start(NULL);
    latchkey *lk = handle_open(on, "l1_capacity=0&deadline_ms=2000");
    char token[LATCHKEY_TOKEN_SIZE], none[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 1, token);
    redis_do(on, "REPLICAOF 127.0.0.1 %d", net_refusing()); /* of no server: its data stays */
    assert_status(lk, LATCHKEY_UNAVAILABLE, create(lk, none));
    assert_int_equal(none[0], 0);
    assert_true(stats_of(lk).last_error[0] != 0);
    assert_status(lk, LATCHKEY_UNAVAILABLE, set_field(lk, token, "note", "x"));
    assert_status(lk, LATCHKEY_PENDING, end_session(lk, token));
    assert_int_not_equal(validate(lk, token), LATCHKEY_OK);
    redis_do(on, "REPLICAOF NO ONE");
    wait_for(stats_of(lk).pending == 0);
    wait_for(validate(lk, token) == LATCHKEY_NOT_FOUND);
    wait_for(create(lk, none) == LATCHKEY_OK);
    handle_close(lk);
    redis_end(on);
}

static void test_redis_that_cannot_write_its_disk(void **state)
{
    (void)state;
    redis *on = redis_start("--save", "1 1", "--stop-writes-on-bgsave-error", "yes");
    latchkey *lk = handle_open(on, "deadline_ms=2000");
    char token[LATCHKEY_TOKEN_SIZE], none[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 1, token);
    /* The snapshot's name is that of a directory: it cannot be renamed into place. */
    char blocked[160];
    snprintf(blocked, sizeof blocked, "%s/dump.rdb", on->dir);
    unlink(blocked);
    assert_int_equal(mkdir(blocked, 0700), 0);
    freeReplyObject(redis_command(on, "BGSAVE"));
    wait_for(redis_info(on, "persistence", "rdb_bgsave_in_progress") == 0);
    wait_for(create(lk, none) == LATCHKEY_UNAVAILABLE);
    assert_contains(stats_of(lk).last_error, "MISCONF");
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
    assert_status(lk, LATCHKEY_PENDING, end_session(lk, token));
    assert_int_not_equal(validate(lk, token), LATCHKEY_OK);
    redis_do(on, "CONFIG SET stop-writes-on-bgsave-error no");
    wait_for(stats_of(lk).pending == 0);
    wait_for(validate(lk, token) == LATCHKEY_NOT_FOUND);
    handle_close(lk);
    redis_end(on);
}

static void test_redis_that_is_loading(void **state)
{
    (void)state;
    redis *on = redis_start("--appendonly", "no", "--save", "", "--loading-process-events-interval-bytes", "1024",
                            "--rdbcompression", "no");
    latchkey *maker = handle_open(on, "");
    char token[LATCHKEY_TOKEN_SIZE], config[256], error[512];
    make_session(maker, 1, token);
    handle_close(maker);
    redis_do(on, "EVAL %s 0", "for i = 1, 3000 do redis.call('SET', 'filler:' .. i, string.rep('x', 1000)) end");
    redis_do(on, "SAVE");
    latchkey *lk = handle_open(on, "deadline_ms=500&staleness_ms=500&l1_capacity=0");
    redis_kill(on);
    /* 3,000 keys of 2 ms each: some seconds in which every command is answered by -LOADING. */
    redis_add_argument(on, "--key-load-delay");
    redis_add_argument(on, "2000");
    redis_boot(on);
    assert_int_equal(redis_info(on, "persistence", "loading"), 1);
    latchkey *eager;
    handle_config(on, 0, "deadline_ms=500", config, sizeof config);
    int status = latchkey_open(config, &eager, error, sizeof error);
    assert_int_equal(redis_info(on, "persistence", "loading"), 1);
    assert_status(NULL, LATCHKEY_UNAVAILABLE, status);
    assert_contains(error, "LOADING");
    /* Never NOT_FOUND, however far the loading has come. */
    int unavailable = 0;
    while ((status = validate(lk, token)) != LATCHKEY_OK) {
        assert_status(lk, LATCHKEY_UNAVAILABLE, status);
        unavailable++;
        check_pause();
    }
    assert_true(unavailable > 0);
    handle_close(lk);
    redis_end(on);
}

static void test_redis_busy_with_a_script_is_unavailable(void **state)
{
    (void)state;
    redis *on = redis_start("--busy-reply-threshold", "100");
    latchkey *lk = handle_open(on, "deadline_ms=1000&l1_capacity=0&staleness_ms=1000");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 1, token);
    redisContext *c = redisConnectUnix(on->socket);
    assert_non_null(c);
    redisAppendCommand(c, "EVAL %s 0", "while true do end");
    int done = 0;
    while (!done) redisBufferWrite(c, &done);
    wait_for(validate(lk, token) == LATCHKEY_UNAVAILABLE);
    assert_status(lk, LATCHKEY_PENDING, end_session(lk, token));
    redis_do(on, "SCRIPT KILL");
    redisFree(c);
    wait_for(stats_of(lk).pending == 0);
    wait_for(validate(lk, token) == LATCHKEY_NOT_FOUND);
    handle_close(lk);
    redis_end(on);
}

/* Redis throws sessions away to make room (a wrong policy): then they are gone, which is "no", not damage. */
static void test_redis_that_evicts_keys(void **state)
{
    (void)state;
    redis *on = redis_start("--maxmemory-policy", "allkeys-random");
    latchkey *lk = handle_open(on, "l1_capacity=0");
    char tokens[50][LATCHKEY_TOKEN_SIZE];
    for (int i = 0; i < 50; i++) make_session(lk, 1 + (uint64_t)i, tokens[i]);
    redis_do(on, "CONFIG SET maxmemory 1mb");
    freeReplyObject(redis_command(on, "SET x y"));
    for (int i = 0; i < 50; i++) {
        assert_status_in(lk, validate(lk, tokens[i]), LATCHKEY_OK, LATCHKEY_NOT_FOUND);
        assert_status_in(lk, touch(lk, tokens[i]), LATCHKEY_OK, LATCHKEY_NOT_FOUND);
        assert_status_in(lk, end_session(lk, tokens[i]), LATCHKEY_OK, LATCHKEY_NOT_FOUND);
    }
    handle_close(lk);
    redis_end(on);
}

/* ------------------------------------------------------------------------------ in the middle of everything -- */

enum { WORKERS = 4 };

typedef struct chaos {
    latchkey *lk;
    /* Judged after the join: how often an answer was wrong, and the first of them in words. */
    atomic_int wrong, done;
    char first[WORKERS][160];
} chaos;

static void blame(chaos *c, const crew_member *m, const char *verb, int status)
{
    atomic_fetch_add(&c->wrong, 1);
    if (!c->first[m->index][0])
        snprintf(c->first[m->index], sizeof c->first[0], "%s: %s", verb, latchkey_status_text(status));
}

static int either(int status, int a, int b) { return status == a || status == b; }

/* One session's whole life. What is known of it: alive until its revocation was asked for, over once that was OK. */
static void live_once(crew_member *m, unsigned round)
{
    chaos *c = m->shared;
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey_entry entry;
    uint64_t user = 1 + m->index;
    latchkey_draft draft = {.size = sizeof draft, .user_id = user};
    int status = latchkey_create(c->lk, &draft, token);
    if (!either(status, LATCHKEY_OK, LATCHKEY_UNAVAILABLE)) blame(c, m, "create", status);
    if (status) return;
    for (int i = 0; i < 3; i++) {
        status = latchkey_validate(c->lk, token, LATCHKEY_TOKEN_LENGTH, &entry);
        if (!either(status, LATCHKEY_OK, LATCHKEY_UNAVAILABLE)) blame(c, m, "validate", status);
        if (status == LATCHKEY_OK && entry.user_id != user) blame(c, m, "validate, another's entry", status);
    }
    status = touch(c->lk, token);
    if (!either(status, LATCHKEY_OK, LATCHKEY_UNAVAILABLE)) blame(c, m, "touch", status);
    status = set_field(c->lk, token, round % 2 ? "pq.k" : "note", "x");
    if (!either(status, LATCHKEY_OK, LATCHKEY_UNAVAILABLE)) blame(c, m, "set_fields", status);
    status = load(c->lk, token);
    if (!either(status, LATCHKEY_OK, LATCHKEY_UNAVAILABLE)) blame(c, m, "load", status);
    if (round % 16 == 0) {
        char text[64];
        size_t needed;
        latchkey_stats stats;
        status = latchkey_prewarm(c->lk, 50, NULL);
        if (!either(status, LATCHKEY_OK, LATCHKEY_UNAVAILABLE)) blame(c, m, "prewarm", status);
        latchkey_metrics(c->lk, text, sizeof text, &needed);
        latchkey_stats_read(c->lk, &stats, sizeof stats);
    }
    status = end_session(c->lk, token);
    if (!either(status, LATCHKEY_OK, LATCHKEY_PENDING)) blame(c, m, "revoke", status);
    for (int i = 0; i < 3; i++) {
        int after = latchkey_validate(c->lk, token, LATCHKEY_TOKEN_LENGTH, &entry);
        if (!either(after, LATCHKEY_NOT_FOUND, LATCHKEY_UNAVAILABLE)) blame(c, m, "validate after revoke", after);
    }
    atomic_fetch_add(&c->done, 1);
}

static void live_on(crew_member *m)
{
    for (unsigned round = 0; !crew_stopped(m); round++) live_once(m, round);
}

static void killed_under_load(const char *options)
{
    redis *on = redis_start("--appendonly", "yes", "--appendfsync", "no");
    chaos c;
    memset(&c, 0, sizeof c);
    c.lk = handle_open(on, options);
    char constant[LATCHKEY_TOKEN_SIZE];
    make_session(c.lk, 99, constant);
    crew *workers = crew_start(WORKERS, live_on, &c);
    int64_t limit = check_now_ms() + 2 * CHECK_PATIENCE_MS;
    for (int i = 0; i < 5 && check_now_ms() < limit; i++) {
        int done = atomic_load(&c.done);
        while (atomic_load(&c.done) < done + 20 && check_now_ms() < limit) check_pause();
        redis_kill(on);
        redis_launch(on);
    }
    int done = atomic_load(&c.done);
    while (atomic_load(&c.done) < done + 20 && check_now_ms() < limit) check_pause();
    crew_stop(workers);
    crew_join(workers);
    for (int i = 0; i < WORKERS; i++)
        if (c.first[i][0]) print_error("%s\n", c.first[i]);
    assert_int_equal(atomic_load(&c.wrong), 0);
    assert_true(atomic_load(&c.done) >= done + 20); /* it goes on after the last of them */
    wait_for(stats_of(c.lk).pending == 0);
    wait_for(validate(c.lk, constant) == LATCHKEY_OK);
    size_t left;
    char **keys = redis_keys(on, "lk:*:s:*", &left);
    for (size_t i = 0; i < left; i++) assert_true(redis_integer(on, "PTTL %s", keys[i]) > 0);
    redis_free_keys(keys);
    handle_close(c.lk);
    redis_end(on);
}

static void test_A_redis_killed_in_the_middle_of_everything(void **state)
{
    (void)state;
    killed_under_load("deadline_ms=1000&staleness_ms=1000");
}

static void test_A_redis_killed_in_the_middle_of_everything_over_one_connection(void **state)
{
    (void)state;
    killed_under_load("deadline_ms=1000&staleness_ms=400&connections=1&l1_capacity=4");
}

static void test_A_connections_killed_in_the_middle_of_everything(void **state)
{
    (void)state;
    chaos c;
    memset(&c, 0, sizeof c);
    c.lk = handle_open(server, "deadline_ms=2000&staleness_ms=1000");
    crew *workers = crew_start(WORKERS, live_on, &c);
    int64_t limit = check_now_ms() + CHECK_PATIENCE_MS;
    for (int i = 0; i < 40 && check_now_ms() < limit; i++) {
        int done = atomic_load(&c.done);
        while (atomic_load(&c.done) < done + 5 && check_now_ms() < limit) check_pause();
        redisReply *reply = redis_command(server, "CLIENT KILL TYPE %s", i % 4 ? "normal" : "pubsub");
        freeReplyObject(reply);
    }
    crew_stop(workers);
    crew_join(workers);
    for (int i = 0; i < WORKERS; i++)
        if (c.first[i][0]) print_error("%s\n", c.first[i]);
    assert_int_equal(atomic_load(&c.wrong), 0);
    wait_for(stats_of(c.lk).pending == 0);
    wait_for(stats_of(c.lk).connected == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_full_redis_refuses_creates_and_ends_sessions),
        TEST(test_forgotten_scripts_are_sent_again),
        TEST(test_scripts_forgotten_in_the_middle),
        TEST(test_primary_that_becomes_a_replica),
        TEST(test_redis_that_cannot_write_its_disk),
        TEST(test_redis_that_is_loading),
        TEST(test_redis_busy_with_a_script_is_unavailable),
        TEST(test_redis_that_evicts_keys),
        TEST(test_A_redis_killed_in_the_middle_of_everything),
        TEST(test_A_redis_killed_in_the_middle_of_everything_over_one_connection),
        TEST(test_A_connections_killed_in_the_middle_of_everything),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}
