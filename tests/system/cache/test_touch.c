/* SPDX-License-Identifier: MIT
 *
 * What the link tells Redis of a session that is used: plain commands, which create nothing.
 */
#include "proxy.h"
#include "test_handle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { USER = 42, IDLE = 600000, LENGTH = LATCHKEY_TOKEN_LENGTH };

static long long calls_of(const char *command)
{
    redisReply *info = redis_command(server, "INFO commandstats");
    char name[64];
    snprintf(name, sizeof name, "cmdstat_%s:calls=", command);
    const char *at = strstr(info->str, name);
    long long calls = at ? atoll(at + strlen(name)) : 0;
    freeReplyObject(info);
    return calls;
}

/* As if it had not been used for a while, so that a touch is due. */
static void rest(const char *token)
{
    char key[128];
    redis_do(server, "PEXPIRE %s %d", session_key(server, token, key), IDLE / 2);
}

static void test_a_use_prolongs_the_session_and_its_users_index_without_a_script(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "partitions=1&idle_ms=600000&l1_capacity=0");
    char token[LATCHKEY_TOKEN_SIZE], key[128];
    make_session(lk, USER, token);
    redis_do(server, "PEXPIRE lk:{0}:u:%d %d", USER, IDLE / 2);
    redis_do(server, "PEXPIRE lk:{0}:a %d", IDLE / 2);
    redis_do(server, "ZADD lk:{0}:a 1 %b", token, (size_t)20);
    rest(token);
    long long scripts = calls_of("evalsha") + calls_of("eval");
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
    session_key(server, token, key);
    wait_for(redis_integer(server, "PTTL lk:{0}:u:%d", USER) > IDLE * 9 / 10);
    assert_true(redis_integer(server, "PTTL %s", key) > IDLE * 9 / 10);
    assert_true(redis_integer(server, "PTTL %s", key) <= IDLE);
    assert_true(redis_integer(server, "PTTL lk:{0}:a") > IDLE * 9 / 10);
    assert_int_equal(calls_of("evalsha") + calls_of("eval"), scripts);
    latchkey_session_info info;
    size_t total;
    assert_status(lk, LATCHKEY_OK, latchkey_sessions(lk, USER, NULL, 0, &info, 1, &total));
    assert_true(info.active_at_ms > 1);
}

/* What is found by an old token in its grace is the session; what the old token left lives no shorter for it. */
static void test_a_use_by_an_old_token_prolongs_the_session(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "partitions=1&idle_ms=600000&l1_capacity=0");
    char token[LATCHKEY_TOKEN_SIZE], renewed[LATCHKEY_TOKEN_SIZE], key[128], old[128];
    make_session(lk, USER, token);
    assert_status(lk, LATCHKEY_OK, latchkey_rotate(lk, token, LENGTH, 3000000, renewed));
    session_key(server, token, old);
    session_key(server, renewed, key);
    rest(renewed);
    long long left = redis_integer(server, "PTTL %s", old);
    assert_status(lk, LATCHKEY_OK, load(lk, token));
    wait_for(redis_integer(server, "PTTL %s", key) > IDLE * 9 / 10);
    assert_true(redis_integer(server, "PTTL %s", old) > left - 120000);
}

/* A user's index lives as long as the last of the sessions in it, whichever of them is touched, exchanged or made. */
/* Does a touch come? False: the session idled out before. */
static int is_prolonged(const char *key)
{
    long long left = redis_integer(server, "PTTL %s", key), now;
    while ((now = redis_integer(server, "PTTL %s", key)) >= 0 && now <= left) {
        left = now;
        check_pause();
    }
    return now > left;
}

/* Two uses, each of which is due to be told. The second one is no sooner than the first one's touch can be waited for. */
static int two_uses_count(latchkey *lk)
{
    enum { SHORT = 1600 };
    latchkey_draft draft = {.size = sizeof draft, .user_id = USER, .idle_ms = SHORT};
    char token[LATCHKEY_TOKEN_SIZE], key[128];
    assert_status(lk, LATCHKEY_OK, latchkey_create(lk, &draft, token));
    session_key(server, token, key);
    for (int use = 0; use < 2; use++) {
        int64_t next_ms = check_now_ms() + SHORT / 5;
        while (check_now_ms() < next_ms) check_pause();
        if (try_validate(lk, token) != LATCHKEY_OK || !is_prolonged(key)) return 0;
    }
    return 1;
}

/* This machine may be so slow that a session idles out between two uses: then another one is tried. */
static void test_each_use_counts_where_a_session_idles_out_sooner_than_most(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "partitions=1");
    wait_for(two_uses_count(lk));
}

static void test_a_users_index_is_never_shortened(void **state)
{
    (void)state;
    enum { OTHER = 43, SHORT = 5000 };
    latchkey *lk = handle_open(server, "partitions=1&idle_ms=600000&l1_capacity=0");
    char lasting[LATCHKEY_TOKEN_SIZE], brief[LATCHKEY_TOKEN_SIZE], renewed[LATCHKEY_TOKEN_SIZE], key[128];
    make_session(lk, OTHER, lasting);
    make_session_with(lk, OTHER, SHORT, 0, NULL, 0, brief);
    assert_true(redis_integer(server, "PTTL lk:{0}:u:%d", OTHER) > IDLE * 9 / 10);
    redis_do(server, "PEXPIRE %s %d", session_key(server, brief, key), SHORT / 2);
    assert_status(lk, LATCHKEY_OK, touch(lk, brief));
    assert_true(redis_integer(server, "PTTL lk:{0}:u:%d", OTHER) > IDLE * 9 / 10);
    assert_status(lk, LATCHKEY_OK, latchkey_rotate(lk, brief, LENGTH, 0, renewed));
    assert_true(redis_integer(server, "PTTL lk:{0}:u:%d", OTHER) > IDLE * 9 / 10);
}

/* A user's index that was lost is made anew by the next use. */
static void test_a_use_heals_a_lost_index(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "partitions=1&idle_ms=600000&l1_capacity=0");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(lk, USER, token);
    redis_do(server, "DEL lk:{0}:u:%d", USER);
    rest(token);
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
    wait_for(redis_integer(server, "EXISTS lk:{0}:u:%d", USER) == 1);
    assert_int_equal(sessions_of(lk, USER), 1);
}

/* Used all the time: Redis is told, and asked for nothing. Where the machine stood still for too long a read is right. */
static void test_a_touch_renews_what_l1_holds_without_a_read(void **state)
{
    (void)state;
    enum { SHORT_IDLE = 6000, TOUCHES = 5, TRIES = 5 };
    latchkey *lk = handle_open(server, "partitions=1&l1_ttl_ms=600000&idle_ms=6000");
    char token[LATCHKEY_TOKEN_SIZE], key[128];
    long long reads = 1;
    make_session(lk, USER, token);
    for (int i = 0; reads && i < TRIES; i++) {
        warm(lk, token);
        reads = calls_of("hget");
        uint64_t before = stats_of(lk).touches;
        wait_for(validate(lk, token) == LATCHKEY_OK && stats_of(lk).touches >= before + TOUCHES);
        reads = calls_of("hget") - reads;
    }
    assert_int_equal(reads, 0);
    session_key(server, token, key);
    assert_true(redis_integer(server, "PTTL %s", key) > SHORT_IDLE / 2);
}

/* A session that was taken away by hand, without a word: the next touch finds it out. */
static void test_a_touch_that_finds_nothing_ends_the_entry(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "partitions=1&l1_ttl_ms=600000&idle_ms=6000");
    char token[LATCHKEY_TOKEN_SIZE], key[128];
    make_session(lk, USER, token);
    warm(lk, token);
    redis_do(server, "DEL %s", session_key(server, token, key));
    wait_for(validate(lk, token) == LATCHKEY_NOT_FOUND);
    assert_int_equal(redis_integer(server, "EXISTS %s", key), 0); /* D */
}

/* The touch is lost on its way, with the connection: it is made again without another use. */
static void test_a_touch_that_is_lost_is_made_again(void **state)
{
    (void)state;
    proxy *p = proxy_start(server->port);
    latchkey *maker = handle_open(server, "partitions=1&idle_ms=600000"),
             *lk = handle_open_at(proxy_port(p), "partitions=1&idle_ms=600000&staleness_ms=60000&deadline_ms=10000");
    char token[LATCHKEY_TOKEN_SIZE], key[128];
    make_session(maker, USER, token);
    session_key(server, token, key);
    rest(token);
    proxy_set(p, PROXY_HOLD_REQUEST, "PEXPIRE", 7);
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
    wait_for(proxy_holds_one(p));
    assert_true(redis_integer(server, "PTTL %s", key) <= IDLE / 2);
    proxy_drop_connections(p);
    proxy_set(p, PROXY_RELAY, NULL, 0);
    wait_for(redis_integer(server, "PTTL %s", key) > IDLE * 9 / 10);
    assert_int_equal(stats_of(lk).l1_hits, 0);
    assert_true(stats_of(lk).touches_dropped > 0);
    assert_status(lk, LATCHKEY_OK, try_validate(lk, token));
    handle_close(lk);
    proxy_end(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_use_prolongs_the_session_and_its_users_index_without_a_script),
        TEST(test_a_use_by_an_old_token_prolongs_the_session),
        TEST(test_each_use_counts_where_a_session_idles_out_sooner_than_most),
        TEST(test_a_users_index_is_never_shortened),
        TEST(test_a_use_heals_a_lost_index),
        TEST(test_a_touch_renews_what_l1_holds_without_a_read),
        TEST(test_a_touch_that_finds_nothing_ends_the_entry),
        TEST(test_a_touch_that_is_lost_is_made_again),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}
