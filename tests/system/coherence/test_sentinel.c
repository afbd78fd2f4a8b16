/* SPDX-License-Identifier: MIT
 *
 * Behind real sentinels: a primary, two replicas and three sentinels of their own for each test. The handle finds the primary by
 * them, follows a failover at once, and serves from nobody whom more than half of them do not name.
 */
#include "fake.h"
#include "logbook.h"
#include "pki.h"
#include "test_handle.h"
#include "threads.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { SERVERS = 3, SENTINELS = 3 };

typedef struct stage {
    redis *server[SERVERS], *sentinel[SENTINELS];
} stage;

static void join_replica(redis *primary, redis *replica, const char *host)
{
    redis_do(replica, "REPLICAOF %s %d", host, primary->port);
    char state[64];
    wait_for(redis_text(replica, state, sizeof state, "INFO replication") &&
             redis_info(primary, "replication", "connected_slaves"));
}

static bool all_know(const stage *s)
{
    for (int i = 0; i < SENTINELS; i++) {
        redisReply *reply = redis_command(s->sentinel[i], "SENTINEL REPLICAS mymaster");
        size_t replicas = reply->elements;
        freeReplyObject(reply);
        reply = redis_command(s->sentinel[i], "SENTINEL SENTINELS mymaster");
        size_t others = reply->elements;
        freeReplyObject(reply);
        if (replicas != SERVERS - 1 || others != SENTINELS - 1) return false;
    }
    return true;
}

static stage set_up_with(const char *settings)
{
    stage s;
    const char *host = settings && strstr(settings, "announce-hostnames") ? "localhost" : "127.0.0.1";
    for (int i = 0; i < SERVERS; i++)
        s.server[i] = redis_start("--repl-diskless-sync-delay", "0", "--repl-diskless-sync", "yes");
    for (int i = 1; i < SERVERS; i++) join_replica(s.server[0], s.server[i], host);
    wait_for(redis_info(s.server[0], "replication", "connected_slaves") == SERVERS - 1);
    wait_for(redis_integer(s.server[0], "WAIT 2 100") == 2);
    for (int i = 0; i < SENTINELS; i++) s.sentinel[i] = redis_start_sentinel(s.server[0], 2, settings);
    wait_for(all_know(&s));
    return s;
}

static stage set_up(void) { return set_up_with(NULL); }

static void tear_down(stage *s)
{
    for (int i = 0; i < SENTINELS; i++) redis_end(s->sentinel[i]);
    for (int i = 0; i < SERVERS; i++) redis_end(s->server[i]);
}

static void config_of(const stage *s, const char *options, char *out, size_t size)
{
    snprintf(out, size, "redis+sentinel://127.0.0.1:%d,127.0.0.1:%d,127.0.0.1:%d/mymaster?%s%s", s->sentinel[0]->port,
             s->sentinel[1]->port, s->sentinel[2]->port, strstr(options, "deadline_ms") ? "" : "deadline_ms=10000&",
             options);
}

static latchkey *open_on(const stage *s, const char *options)
{
    char config[512];
    config_of(s, options, config, sizeof config);
    return handle_open_config(config);
}

/* The server that sentinel i names. */
static redis *named(const stage *s, int i)
{
    redisReply *reply = redis_command(s->sentinel[i], "SENTINEL GET-MASTER-ADDR-BY-NAME mymaster");
    int port = reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 ? atoi(reply->element[1]->str) : 0;
    freeReplyObject(reply);
    for (int k = 0; k < SERVERS; k++)
        if (s->server[k]->port == port) return s->server[k];
    fail_msg("a sentinel names port %d", port);
    return NULL;
}

/* Until more than half name another one. */
static redis *await_another(const stage *s, const redis *before)
{
    wait_for((named(s, 0) != before) + (named(s, 1) != before) + (named(s, 2) != before) >= 2);
    return named(s, 0) != before ? named(s, 0) : named(s, 1);
}

static void patience(const stage *s, int ms)
{
    for (int i = 0; i < SENTINELS; i++) redis_sentinel_patience(s->sentinel[i], ms);
}

static bool has(redis *on, const char *token)
{
    char key[128];
    return *session_key(on, token, key) != 0;
}

/* ------------------------------------------------------------------------------------------------ opening -- */

static void test_A_the_primary_is_found(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE];
    stage s = set_up();
    latchkey *lk = open_on(&s, ""), *other = open_on(&s, "");
    make_session(lk, 1, token);
    assert_true(has(s.server[0], token));
    warm(other, token);
    assert_status(lk, LATCHKEY_OK, end_session(lk, token));
    wait_for(validate(other, token) == LATCHKEY_NOT_FOUND);

    /* One sentinel is down: the others are enough. Two: nobody is served, and it is said why. */
    char config[512], error[512];
    latchkey *none = NULL;
    redis_kill(s.sentinel[2]);
    handle_close(open_on(&s, ""));
    redis_kill(s.sentinel[1]);
    config_of(&s, "deadline_ms=2000", config, sizeof config);
    assert_status(NULL, LATCHKEY_UNAVAILABLE, latchkey_open(config, &none, error, sizeof error));
    assert_contains(error, "1 of 3 sentinels answer");
    char port[16];
    snprintf(port, sizeof port, ":%d", s.sentinel[2]->port);
    assert_contains(error, port);
    /* lazy: it opens, and serves once they are back. */
    latchkey *lazy = open_on(&s, "lazy=1&deadline_ms=2000");
    assert_status(lazy, LATCHKEY_UNAVAILABLE, validate(lazy, token));
    redis_boot(s.sentinel[1]);
    wait_for(validate(lazy, token) == LATCHKEY_NOT_FOUND);
    handle_close_all(NULL);
    tear_down(&s);
}

/* A list that is not whole, in whichever order the connections come; a whole one says nothing. */
static void test_sentinels_that_are_not_listed_are_logged(void **state)
{
    (void)state;
    char config[256], missing[64];
    stage s = set_up();
    logbook_open();
    handle_close(open_on(&s, ""));
    assert_false(logbook_has("are listed: "));
    snprintf(config, sizeof config, "redis+sentinel://127.0.0.1:%d,127.0.0.1:%d/mymaster?deadline_ms=10000",
             s.sentinel[0]->port, s.sentinel[1]->port);
    snprintf(missing, sizeof missing, "knows 2 others, and 2 are listed: 127.0.0.1:%d is not", s.sentinel[2]->port);
    handle_open_config(config);
    wait_for(logbook_has(missing));
    logbook_close();
    handle_close_all(NULL);
    tear_down(&s);
}

static void test_what_is_wrong_is_said(void **state)
{
    (void)state;
    char config[512], error[512];
    latchkey *none = NULL;
    redis *alone = redis_start(NULL), *sentinel = redis_start_sentinel(alone, 1, NULL);
    snprintf(config, sizeof config, "redis+sentinel://127.0.0.1:%d/nobody?deadline_ms=10000", sentinel->port);
    assert_status(NULL, LATCHKEY_CONFIG, latchkey_open(config, &none, error, sizeof error));
    assert_contains(error, "know no primary named 'nobody'");
    snprintf(config, sizeof config, "redis+sentinel://127.0.0.1:%d/mymaster?deadline_ms=10000", alone->port);
    assert_status(NULL, LATCHKEY_CONFIG, latchkey_open(config, &none, error, sizeof error));
    assert_contains(error, "name the sentinels, port 26379, not Redis");
    redis_end(sentinel);
    redis_end(alone);
}

static void test_sentinels_have_a_password_of_their_own(void **state)
{
    (void)state;
    char config[1024], error[512], path[256], token[LATCHKEY_TOKEN_SIZE];
    latchkey *none = NULL;
    redis *alone = redis_start("--requirepass", "red");
    redis *sentinel = redis_start_sentinel(alone, 1, "requirepass blue");
    redis_do(sentinel, "SENTINEL SET mymaster auth-pass red");
    redis_do(sentinel, "ACL SETUSER watcher on >green resetkeys -@all +sentinel|get-master-addr-by-name");
    check_temp_path("sentinel.password", path, sizeof path);
    snprintf(config, sizeof config, "redis+sentinel://:red@127.0.0.1:%d/mymaster?deadline_ms=10000", sentinel->port);
    assert_status(NULL, LATCHKEY_CONFIG, latchkey_open(config, &none, error, sizeof error));
    assert_contains(error, "sentinel_password_file");
    const char *const passwords[] = {"blue\n", "green\n", "red\n"};
    for (int i = 0; i < 3; i++) {
        check_write_file(path, passwords[i], strlen(passwords[i]));
        snprintf(config, sizeof config,
                 "redis+sentinel://:red@127.0.0.1:%d/mymaster/2?deadline_ms=10000&sentinel_password_file=%s%s",
                 sentinel->port, path, i ? "&sentinel_user=watcher" : "");
        if (i == 2) {
            assert_status(NULL, LATCHKEY_CONFIG, latchkey_open(config, &none, error, sizeof error));
            assert_contains(error, "refuses sentinel_user or the password");
            assert_lacks(error, "red");
            break;
        }
        latchkey *lk = handle_open_config(config);
        make_session(lk, 1, token);
        handle_close(lk);
    }
    assert_true(redis_integer(alone, "DBSIZE") == 0); /* they are in database 2 */
    handle_close_all(NULL);
    redis_end(sentinel);
    redis_end(alone);
}

/* They name hosts by name where they are told to; the name is looked up. */
static void test_hosts_by_name(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE];
    redis *alone = redis_start(NULL);
    redis *sentinel = redis_start_sentinel(alone, 1, "sentinel resolve-hostnames yes\nsentinel announce-hostnames yes");
    char config[256], name[64] = "";
    redisReply *reply = redis_command(sentinel, "SENTINEL GET-MASTER-ADDR-BY-NAME mymaster");
    assert_int_equal(reply->elements, 2);
    snprintf(name, sizeof name, "%s", reply->element[0]->str);
    freeReplyObject(reply);
    assert_string_equal(name, "localhost");
    snprintf(config, sizeof config, "redis+sentinel://localhost:%d/mymaster?deadline_ms=10000", sentinel->port);
    latchkey *lk = handle_open_config(config);
    make_session(lk, 1, token);
    assert_true(has(alone, token));
    handle_close_all(NULL);
    redis_end(sentinel);
    redis_end(alone);
}

/* TLS to the sentinels and to Redis. They name Redis by its address, while certificates hold a name: server_name stands for all. */
static void test_TLS_to_both(void **state)
{
    (void)state;
    char config[512], settings[1024], error[512], token[LATCHKEY_TOKEN_SIZE];
    latchkey *none = NULL;
    pki_make(&(pki_card){.name = "ca", .ca = 1});
    pki_make(&(pki_card){.name = "named", .for_names = "DNS:redis.test", .issuer = "ca"});
    redis *alone = redis_start("--tls-cert-file", pki_crt("named"), "--tls-key-file", pki_key("named"),
                               "--tls-ca-cert-file", pki_crt("ca"), "--tls-auth-clients", "no");
    snprintf(settings, sizeof settings,
             "tls-cert-file %s\ntls-key-file %s\ntls-ca-cert-file %s\ntls-auth-clients no\ntls-replication yes",
             pki_crt("named"), pki_key("named"), pki_crt("ca"));
    redis *sentinel = redis_start_sentinel(alone, 1, settings);
    snprintf(config, sizeof config,
             "rediss+sentinel://127.0.0.1:%d/mymaster?deadline_ms=10000&ca_file=%s&server_name=redis.test",
             sentinel->port, pki_crt("ca"));
    latchkey *lk = handle_open_config(config);
    make_session(lk, 1, token);
    assert_true(has(alone, token));
    warm(lk, token);
    snprintf(config, sizeof config, "rediss+sentinel://127.0.0.1:%d/mymaster?deadline_ms=2000&ca_file=%s",
             sentinel->port, pki_crt("ca"));
    assert_status(NULL, LATCHKEY_CONFIG, latchkey_open(config, &none, error, sizeof error));
    assert_contains(error, "certificate");
    snprintf(config, sizeof config, "redis+sentinel://127.0.0.1:%d/mymaster?deadline_ms=2000", sentinel->port);
    assert_status(NULL, LATCHKEY_UNAVAILABLE, latchkey_open(config, &none, error, sizeof error));
    handle_close_all(NULL);
    redis_end(sentinel);
    sentinel = redis_start_sentinel(alone, 1, NULL); /* without TLS */
    snprintf(config, sizeof config, "rediss+sentinel://127.0.0.1:%d/mymaster?deadline_ms=4000&ca_file=%s",
             sentinel->port, pki_crt("ca"));
    assert_status(NULL, LATCHKEY_UNAVAILABLE, latchkey_open(config, &none, error, sizeof error));
    assert_contains(error, "does it speak TLS?");
    redis_end(sentinel);
    redis_end(alone);
}

/* ---------------------------------------------------------------------------------- sentinels that are wrong -- */

typedef struct liars {
    fake_script script[SENTINELS];
    char answer[SENTINELS][8][64]; /* one that was given stays: a thread may be sending it */
    int answers[SENTINELS];
    fake *at[SENTINELS];
} liars;

static const char *address(redis *of, char answer[64])
{
    char port[16];
    int size = snprintf(port, sizeof port, "%d", of->port);
    snprintf(answer, 64, "*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%s\r\n", size, port);
    return answer;
}

static void names(liars *l, int i, redis *of)
{
    assert_true(l->answers[i] < 8);
    fake_answer(l->at[i], address(of, l->answer[i][l->answers[i]++]));
}

static void liars_start(liars *l, redis *of)
{
    memset(l, 0, sizeof *l);
    for (int i = 0; i < SENTINELS; i++) {
        l->at[i] = fake_start(&l->script[i]);
        names(l, i, of);
    }
}

static void liars_end(liars *l)
{
    for (int i = 0; i < SENTINELS; i++) fake_end(l->at[i]);
}

static void config_of_liars(const liars *l, const char *options, char *out, size_t size)
{
    snprintf(out, size, "redis+sentinel://127.0.0.1:%d,127.0.0.1:%d,127.0.0.1:%d/mymaster?%s", fake_port(l->at[0]),
             fake_port(l->at[1]), fake_port(l->at[2]), options);
}

/* What one sentinel answers: what open says. */
static void open_beside(const char *answer, size_t size, int status, const char *why)
{
    char config[256], error[512] = "";
    latchkey *none = NULL;
    int said = 0;
    fake_script script = {.answer = answer, .answer_size = size};
    fake *at = fake_start(&script);
    /* On a slow machine there may be no answer at all within a short deadline. */
    for (int deadline_ms = 500; deadline_ms < 30000 && !strstr(error, why); deadline_ms *= 4) {
        snprintf(config, sizeof config, "redis+sentinel://127.0.0.1:%d/mymaster?deadline_ms=%d", fake_port(at),
                 deadline_ms);
        said = latchkey_open(config, &none, error, sizeof error);
    }
    fake_end(at);
    assert_status(NULL, status, said);
    assert_contains(error, why);
    for (const char *c = error; *c; c++) assert_in_range(*c, ' ', '~');
}

/* Taken as it stands, or not at all: each of these would lead to the server if it were read with less care. */
static void test_an_address_is_read_with_care(void **state)
{
    (void)state;
    redis *alone = redis_start(NULL);
    const struct {
        const char *host;
        size_t host_size;
        const char *port; /* %d: the server's */
    } rows[] = {
        {"127.0.0.1", 9, "%dx"},       {"127.0.0.1", 9, " %d"},
        {"127.0.0.1", 9, "+%d"},       {"127.0.0.1", 9, "-%d"},
        {"127.0.0.1", 9, "%d\n"},      {"127.0.0.1", 9, "0"},
        {"127.0.0.1", 9, "65536"},     {"127.0.0.1", 9, "99999999999999999999"},
        {"127.0.0.1", 9, ""},          {"127.0.0.1\0.example", 18, "%d"},
        {"127.0.0.1\n", 10, "%d"},     {" 127.0.0.1", 10, "%d"},
        {"\33[2J127.0.0.1", 13, "%d"}, {"127.0.0.1\177", 10, "%d"},
        {"127.0.0.1\377", 10, "%d"},   {"", 0, "%d"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char answer[128], port[32], number[16];
        snprintf(number, sizeof number, "%d", alone->port);
        const char *place = strstr(rows[i].port, "%d");
        if (place)
            snprintf(port, sizeof port, "%.*s%s%s", (int)(place - rows[i].port), rows[i].port, number, place + 2);
        else snprintf(port, sizeof port, "%s", rows[i].port);
        size_t used = (size_t)snprintf(answer, sizeof answer, "*2\r\n$%zu\r\n", rows[i].host_size);
        memcpy(answer + used, rows[i].host, rows[i].host_size);
        used += rows[i].host_size;
        used += (size_t)snprintf(answer + used, sizeof answer - used, "\r\n$%zu\r\n%s\r\n", strlen(port), port);
        open_beside(answer, used, LATCHKEY_CONFIG, "names a primary without an address");
    }
    redis_end(alone);
}

/* What passes by itself is no mistake of the configuration. */
static void test_A_a_sentinel_that_is_busy_is_waited_for(void **state)
{
    (void)state;
    open_beside("-LOADING Redis is loading the dataset in memory\r\n", 0, LATCHKEY_UNAVAILABLE, "is loading");
    open_beside("-NOPERM this user has no permissions\r\n", 0, LATCHKEY_CONFIG, "its user may not ask it");
    open_beside("-DENIED Redis is running in protected mode\r\n", 0, LATCHKEY_CONFIG, "set protected-mode no");
}

/* The rule that makes C hold where two servers think that they are primaries. */
static void test_C_more_than_half_decide(void **state)
{
    (void)state;
    char config[256], token[LATCHKEY_TOKEN_SIZE];
    redis *first = redis_start(NULL), *second = redis_start(NULL);
    liars l;
    liars_start(&l, first);
    config_of_liars(&l, "staleness_ms=400&deadline_ms=2000", config, sizeof config);
    latchkey *lk = handle_open_config(config);
    make_session(lk, 1, token);
    warm(lk, token);
    /* One is wrong: nothing happens, for longer than a lease lasts. */
    names(&l, 0, second);
    long before = fake_commands(l.at[0]);
    wait_for(fake_commands(l.at[0]) > before + 20);
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
    assert_status(lk, LATCHKEY_OK, try_validate(lk, token));
    /* They do not agree: nobody is served. */
    fake_answer(l.at[1], "*-1\r\n");
    wait_for(try_validate(lk, token) == LATCHKEY_AGAIN);
    assert_status(lk, LATCHKEY_UNAVAILABLE, validate(lk, token));
    assert_true(stats_of(lk).connected); /* that is no reason to leave the server */
    names(&l, 1, first);
    wait_for(try_validate(lk, token) == LATCHKEY_OK);
    /* Two name the other: the handle is there at once, and nothing is believed of the first. */
    names(&l, 1, second);
    wait_for(validate(lk, token) == LATCHKEY_NOT_FOUND);
    make_session(lk, 2, token);
    assert_true(has(second, token));
    assert_false(has(first, token));
    handle_close_all(NULL);
    liars_end(&l);
    redis_end(first);
    redis_end(second);
}

/* Two names of one sentinel are not two of three. */
static void two_names(const char *other)
{
    char config[256], error[512] = "", token[LATCHKEY_TOKEN_SIZE];
    latchkey *none = NULL;
    redis *first = redis_start(NULL), *second = redis_start(NULL);
    liars l;
    liars_start(&l, second);
    names(&l, 0, first);
    snprintf(config, sizeof config, "redis+sentinel://127.0.0.1:%d,%s:%d,127.0.0.1:%d/mymaster?deadline_ms=2000",
             fake_port(l.at[0]), other, fake_port(l.at[0]), fake_port(l.at[1]));
    assert_status(NULL, LATCHKEY_UNAVAILABLE, latchkey_open(config, &none, error, sizeof error));
    assert_contains(error, "do not agree");
    fake_answer(l.at[1], "*-1\r\n");
    latchkey *lazy = handle_open_config(strcat(config, "&lazy=1"));
    assert_status(lazy, LATCHKEY_UNAVAILABLE, create_with(lazy, 1, 0, token));
    names(&l, 1, first);
    wait_for(create_with(lazy, 1, 0, token) == LATCHKEY_OK);
    assert_true(has(first, token));
    handle_close_all(NULL);
    liars_end(&l);
    redis_end(first);
    redis_end(second);
}

static void test_C_a_sentinel_that_is_listed_by_two_names_counts_once(void **state)
{
    (void)state;
    two_names("localhost");
    two_names("[::ffff:127.0.0.1]");
}

/* By two addresses of its own: it says that it is the same. If its user may not ask that, the address alone counts. */
static void test_C_a_sentinel_that_is_listed_by_two_addresses_counts_once(void **state)
{
    static const char *const others[] = {"[::1]", "127.0.0.2"}, *bound[] = {"--bind", "127.0.0.1", "127.0.0.2", "::1"};
    (void)state;
    redis *primary = redis_start(NULL), *sentinel[2];
    for (int i = 0; i < 2; i++) sentinel[i] = redis_start_sentinel(primary, 2, "protected-mode no");
    redis_kill(sentinel[0]);
    for (size_t i = 0; i < sizeof bound / sizeof *bound; i++) redis_add_argument(sentinel[0], bound[i]);
    redis_boot(sentinel[0]);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char config[256], error[512] = "", token[LATCHKEY_TOKEN_SIZE];
        latchkey *none = NULL;
        snprintf(config, sizeof config, "redis+sentinel://127.0.0.1:%d,%s:%d,127.0.0.1:%d/mymaster?deadline_ms=5000",
                 sentinel[0]->port, others[i], sentinel[0]->port, sentinel[1]->port);
        latchkey *lk = handle_open_config(config);
        make_session(lk, 1, token);
        warm(lk, token);
        redis_kill(sentinel[1]);
        wait_for(try_validate(lk, token) == LATCHKEY_AGAIN && validate(lk, token) == LATCHKEY_UNAVAILABLE);
        assert_status(NULL, LATCHKEY_UNAVAILABLE, latchkey_open(config, &none, error, sizeof error));
        redis_boot(sentinel[1]);
        wait_for(try_validate(lk, token) == LATCHKEY_OK);
        handle_close_all(NULL);
    }
    for (int i = 0; i < 2; i++) redis_end(sentinel[i]);
    redis_end(primary);
}

/* No sentinel names the primary of the handle any more, and it goes on answering. What was made at the new one it does not know: so
 * that it says "not found" to a revocation does not mean that the session is over. */
static void test_B_a_deposed_primary_settles_no_revocation(void **state)
{
    (void)state;
    char config[256], known[LATCHKEY_TOKEN_SIZE], token[LATCHKEY_TOKEN_SIZE];
    redis *first = redis_start(NULL), *second = redis_start(NULL);
    liars l;
    liars_start(&l, first);
    config_of_liars(&l, "staleness_ms=400&deadline_ms=1000", config, sizeof config);
    latchkey *lk = handle_open_config(config), *other = handle_open_tcp(second, "");
    make_session(lk, 1, known);
    wait_for(end_session(lk, known) >= LATCHKEY_OK); /* the server knows the script from now on */
    make_session(other, 2, token);
    for (int i = 0; i < SENTINELS; i++) fake_answer(l.at[i], "*-1\r\n");
    wait_for(validate(lk, token) == LATCHKEY_UNAVAILABLE);
    long long ran = redis_calls(first, "evalsha");
    assert_status(lk, LATCHKEY_PENDING, end_session(lk, token));
    wait_for(redis_calls(first, "evalsha") >= ran + 2); /* the call's own, and the link's */
    long asked = fake_commands(l.at[0]);
    wait_for(fake_commands(l.at[0]) > asked + 20);
    assert_int_equal(stats_of(lk).pending, 1);
    assert_true(has(second, token));
    for (int i = 0; i < SENTINELS; i++) names(&l, i, second);
    wait_for(stats_of(lk).pending == 0);
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, token));
    assert_false(has(second, token));
    handle_close_all(NULL);
    liars_end(&l);
    redis_end(first);
    redis_end(second);
}

static bool tells_why(latchkey *lk)
{
    static const char why[] = "half of the listed sentinels name this primary now: no lease (127.0.0.1:";
    char text[256];
    latchkey_error_text(lk, text, sizeof text);
    return strstr(text, why) && strstr(stats_of(lk).last_error, why);
}

/* With durability it is the replicas that tell, and the sentinels may be away. */
static void test_C_without_sentinels_no_lease_unless_durability(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE], other[LATCHKEY_TOKEN_SIZE];
    stage s = set_up();
    latchkey *lk = open_on(&s, "staleness_ms=800&deadline_ms=2000");
    latchkey *durable = open_on(&s, "durability=1&staleness_ms=800&deadline_ms=2000");
    make_session(lk, 1, token);
    warm(lk, token);
    warm(durable, token);
    logbook_open();
    for (int i = 1; i < SENTINELS; i++) redis_kill(s.sentinel[i]);
    wait_for(try_validate(lk, token) == LATCHKEY_AGAIN && validate(lk, token) == LATCHKEY_UNAVAILABLE);
    wait_for(logbook_has("4 link: Redis cannot be used: no more than half of the listed sentinels name this primary"));
    /* Why is told by each call, and no call's own trouble hides it. */
    wait_for(validate(lk, token) == LATCHKEY_UNAVAILABLE && tells_why(lk));
    int64_t since = check_now_ms();
    while (check_now_ms() < since + 1600) assert_status(durable, LATCHKEY_OK, validate(durable, token));
    make_session(durable, 2, other);
    assert_status(durable, LATCHKEY_OK, end_session(durable, other));
    for (int i = 1; i < SENTINELS; i++) redis_boot(s.sentinel[i]);
    wait_for(validate(lk, token) == LATCHKEY_OK && try_validate(lk, token) == LATCHKEY_OK);
    wait_for(logbook_has("5 link: up after "));
    logbook_close();
    handle_close_all(NULL);
    tear_down(&s);
}

/* A replica in the primary's place is no mistake of the configuration: they will name another, or it will be one. */
static void test_A_a_replica_that_is_named_is_waited_for(void **state)
{
    (void)state;
    char config[256], error[512], token[LATCHKEY_TOKEN_SIZE];
    latchkey *none = NULL;
    redis *primary = redis_start("--repl-diskless-sync-delay", "0"), *replica = redis_start(NULL);
    join_replica(primary, replica, "127.0.0.1");
    liars l;
    liars_start(&l, replica);
    config_of_liars(&l, "deadline_ms=500", config, sizeof config);
    assert_status(NULL, LATCHKEY_UNAVAILABLE, latchkey_open(config, &none, error, sizeof error));
    assert_contains(error, "is a replica");
    config_of_liars(&l, "deadline_ms=2000&lazy=1", config, sizeof config);
    latchkey *lk = handle_open_config(config);
    assert_status(lk, LATCHKEY_UNAVAILABLE, create_with(lk, 1, 0, token));
    redis_do(replica, "REPLICAOF NO ONE");
    wait_for(create_with(lk, 1, 0, token) == LATCHKEY_OK);
    assert_true(has(replica, token));
    handle_close_all(NULL);
    liars_end(&l);
    redis_end(primary);
    redis_end(replica);
}

/* A promoted replica lacks a revocation that was OK. Who knows of it tells it, and whoever has never heard of it does not serve from
 * the new primary before that: here `other`, which comes from elsewhere and is there first. */
static void test_C_a_new_primary_is_told_before_it_is_served(void **state)
{
    (void)state;
    enum { LATER_MS = 300 };
    char config[256], token[LATCHKEY_TOKEN_SIZE];
    redis *first = redis_start("--repl-diskless-sync-delay", "0"), *second = redis_start(NULL),
          *elsewhere = redis_start(NULL);
    join_replica(first, second, "127.0.0.1");
    liars l, l2;
    liars_start(&l, first);
    liars_start(&l2, elsewhere);
    config_of_liars(&l, "staleness_ms=4000&deadline_ms=2000", config, sizeof config);
    latchkey *ender = handle_open_config(config);
    config_of_liars(&l2, "staleness_ms=4000&deadline_ms=50", config, sizeof config); /* nobody waits here for long */
    latchkey *other = handle_open_config(config);
    make_session(ender, 1, token);
    wait_for(has(second, token));
    redis_do(second, "REPLICAOF NO ONE");
    assert_status(ender, LATCHKEY_OK, end_session(ender, token));
    assert_true(has(second, token));
    for (int i = 0; i < SENTINELS; i++) names(&l2, i, second);
    int64_t since = check_now_ms();
    bool told = false;
    while (validate(other, token) != LATCHKEY_NOT_FOUND || has(second, token)) {
        assert_int_not_equal(validate(other, token), LATCHKEY_OK);
        if (!told && check_now_ms() > since + LATER_MS)
            for (int i = 0; i < SENTINELS; i++) names(&l, i, second);
        told |= check_now_ms() > since + LATER_MS;
        assert_true(check_now_ms() < since + CHECK_PATIENCE_MS);
    }
    handle_close_all(NULL);
    liars_end(&l);
    liars_end(&l2);
    redis_end(first);
    redis_end(second);
    redis_end(elsewhere);
}

/* ----------------------------------------------------------------------------------------------- failovers -- */

enum { SESSIONS = 60 };

typedef struct load {
    latchkey *lk;
    char (*tokens)[LATCHKEY_TOKEN_SIZE]; /* even: alive; odd: ended */
    _Atomic size_t answered, refused, admitted_dead, refused_alive;
} pressure;

/* What is alive is never said to be dead, and what is dead never to be alive, whatever happens. */
static void ask_on(crew_member *m)
{
    pressure *l = m->shared;
    for (int i = 0; !crew_stopped(m); i = (i + 1) % SESSIONS) {
        int status = validate(l->lk, l->tokens[i]);
        atomic_fetch_add(status < 0 ? &l->refused : &l->answered, 1);
        if (i % 2 && status == LATCHKEY_OK) atomic_fetch_add(&l->admitted_dead, 1);
        if (i % 2 == 0 && status > 0) atomic_fetch_add(&l->refused_alive, 1);
    }
}

static void fill(latchkey *lk, char (*tokens)[LATCHKEY_TOKEN_SIZE])
{
    for (int i = 0; i < SESSIONS; i++) make_session(lk, (uint64_t)i, tokens[i]);
    for (int i = 1; i < SESSIONS; i += 2) assert_status(lk, LATCHKEY_OK, end_session(lk, tokens[i]));
}

static crew *begin_load(pressure *l, latchkey *lk, char (*tokens)[LATCHKEY_TOKEN_SIZE])
{
    memset(l, 0, sizeof *l);
    l->lk = lk;
    l->tokens = tokens;
    crew *c = crew_start(2, ask_on, l);
    wait_for(l->answered > SESSIONS);
    return c;
}

static void end_load(crew *c, pressure *l)
{
    size_t before = l->answered;
    wait_for(l->answered > before + SESSIONS);
    crew_stop(c);
    crew_join(c);
    assert_int_equal(l->admitted_dead, 0);
    assert_int_equal(l->refused_alive, 0);
}

/* Two handles, and sessions that all replicas have. */
static void open_two(stage *s, const char *options, latchkey *lk[2], char (*tokens)[LATCHKEY_TOKEN_SIZE])
{
    *s = set_up();
    for (int i = 0; i < 2; i++) lk[i] = open_on(s, options);
    fill(lk[0], tokens);
    wait_for(redis_integer(s->server[0], "WAIT 2 100") == 2);
}

/* SENTINEL FAILOVER leaves the old primary alive, as a primary, for 11 s: nobody may stay with it. */
static void test_C_a_planned_failover_is_followed_at_once(void **state)
{
    (void)state;
    static char tokens[SESSIONS][LATCHKEY_TOKEN_SIZE];
    char more[LATCHKEY_TOKEN_SIZE];
    stage s;
    latchkey *both[2];
    open_two(&s, "staleness_ms=1000&deadline_ms=1000", both, tokens);
    latchkey *lk = both[0], *other = both[1];
    pressure l;
    crew *c = begin_load(&l, other, tokens);
    redis_do(s.sentinel[0], "SENTINEL FAILOVER mymaster");
    redis *now = await_another(&s, s.server[0]);
    patience(&s, 60000);
    wait_for(create_with(lk, 7, 0, more) == LATCHKEY_OK && has(now, more));
    char role[4096];
    redis_text(s.server[0], role, sizeof role, "INFO replication");
    assert_contains(role,
                    "role:master"); /* else this test shows nothing: the old one is alive, and thinks that it is one */
    wait_for(validate(other, more) == LATCHKEY_OK);
    assert_status(lk, LATCHKEY_OK, end_session(lk, more));
    wait_for(validate(other, more) == LATCHKEY_NOT_FOUND);
    end_load(c, &l);
    handle_close_all(NULL);
    tear_down(&s);
}

/* The primary dies: what was pending is done on the new one, what was ended stays so. */
static void test_A_B_a_dead_primary_is_left(void **state)
{
    (void)state;
    static char tokens[SESSIONS][LATCHKEY_TOKEN_SIZE];
    stage s;
    latchkey *both[2];
    open_two(&s, "staleness_ms=1000&deadline_ms=500", both, tokens);
    latchkey *lk = both[0], *other = both[1];
    pressure l;
    crew *c = begin_load(&l, other, tokens);
    patience(&s, 500);
    redis_kill(s.server[0]);
    assert_status_in(lk, end_session(lk, tokens[2]), LATCHKEY_PENDING);
    assert_status_in(lk, end_session(lk, tokens[4]), LATCHKEY_PENDING);
    crew_stop(c);
    crew_join(c);
    assert_int_equal(l.admitted_dead + l.refused_alive, 0);
    redis *now = await_another(&s, s.server[0]);
    patience(&s, 60000);
    wait_for(stats_of(lk).pending == 0);
    for (int i = 2; i <= 4; i += 2) {
        assert_false(has(now, tokens[i]));
        wait_for(validate(other, tokens[i]) == LATCHKEY_NOT_FOUND);
    }
    wait_for(validate(other, tokens[6]) == LATCHKEY_OK && try_validate(other, tokens[6]) == LATCHKEY_OK);
    /* It comes back as a primary of yesterday, alone: nobody goes there. */
    redis_boot(s.server[0]);
    int64_t since = check_now_ms();
    while (check_now_ms() < since + 1500) {
        assert_status_in(other, validate(other, tokens[6]), LATCHKEY_OK);
        assert_status_in(other, validate(other, tokens[2]), LATCHKEY_NOT_FOUND);
    }
    handle_close_all(NULL);
    tear_down(&s);
}

/* It stands still, another is promoted, it goes on as a primary for 10 s: connections to it never broke. */
static void test_C_a_primary_that_stood_still_is_not_believed(void **state)
{
    (void)state;
    static char tokens[SESSIONS][LATCHKEY_TOKEN_SIZE];
    stage s;
    latchkey *both[2];
    open_two(&s, "staleness_ms=1000&deadline_ms=500", both, tokens);
    latchkey *lk = both[0], *other = both[1];
    patience(&s, 500);
    redis_freeze(s.server[0]);
    redis *now = await_another(&s, s.server[0]);
    patience(&s, 60000);
    wait_for(validate(lk, tokens[2]) == LATCHKEY_OK && validate(other, tokens[2]) == LATCHKEY_OK);
    assert_status(lk, LATCHKEY_OK, end_session(lk, tokens[2]));
    assert_false(has(now, tokens[2]));
    redis_thaw(s.server[0]);
    assert_true(has(s.server[0], tokens[2])); /* it knows nothing of that */
    wait_for(validate(other, tokens[2]) == LATCHKEY_NOT_FOUND);
    int64_t since = check_now_ms();
    while (check_now_ms() < since + 1500) {
        assert_status(other, LATCHKEY_NOT_FOUND, validate(other, tokens[2]));
        assert_status_in(other, validate(other, tokens[6]), LATCHKEY_OK);
    }
    handle_close_all(NULL);
    tear_down(&s);
}

#define OWN(name) cmocka_unit_test_teardown(name, handle_close_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OWN(test_A_the_primary_is_found),
        OWN(test_sentinels_that_are_not_listed_are_logged),
        OWN(test_what_is_wrong_is_said),
        OWN(test_sentinels_have_a_password_of_their_own),
        OWN(test_hosts_by_name),
        OWN(test_TLS_to_both),
        OWN(test_an_address_is_read_with_care),
        OWN(test_A_a_sentinel_that_is_busy_is_waited_for),
        OWN(test_C_more_than_half_decide),
        OWN(test_C_a_sentinel_that_is_listed_by_two_names_counts_once),
        OWN(test_C_a_sentinel_that_is_listed_by_two_addresses_counts_once),
        OWN(test_B_a_deposed_primary_settles_no_revocation),
        OWN(test_C_without_sentinels_no_lease_unless_durability),
        OWN(test_A_a_replica_that_is_named_is_waited_for),
        OWN(test_C_a_new_primary_is_told_before_it_is_served),
        OWN(test_C_a_planned_failover_is_followed_at_once),
        OWN(test_A_B_a_dead_primary_is_left),
        OWN(test_C_a_primary_that_stood_still_is_not_believed),
    };
    signal(SIGPIPE, SIG_IGN); /* sentinels end the connections of a server that they promote, this test's too */
    return cmocka_run_group_tests_name("sentinel", tests, NULL, NULL);
}
