/* SPDX-License-Identifier: MIT
 *
 * Bugs that were between a handle and its server: connecting that nothing could cut short, passwords in error texts, a
 * primary that became a replica unnoticed, connections that the server refuses, and answers that were not asked for.
 */
#include "test_handle.h"
#include "test_net.h"
#include "proxy.h"
#include "threads.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A listener with a full backlog: who connects to it hears nothing. */
enum { FILLERS = 4 };

typedef struct silent {
    int port, listener, filler[FILLERS];
} silent;

static void silent_start(silent *s)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&at, size), 0);
    assert_int_equal(listen(s->listener, 0), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&at, &size), 0);
    s->port = ntohs(at.sin_port);
    for (int i = 0; i < FILLERS; i++) {
        s->filler[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)!connect(s->filler[i], (struct sockaddr *)&at, size);
    }
}

static void silent_end(silent *s)
{
    for (int i = 0; i < FILLERS; i++) close(s->filler[i]);
    close(s->listener);
}

/* How many sockets wait for its answer (SYN_SENT is state 02). */
static int waiting_for(const silent *s)
{
    FILE *sockets = fopen("/proc/net/tcp", "r");
    char line[256];
    int count = 0;
    assert_non_null(sockets);
    while (fgets(line, sizeof line, sockets)) {
        unsigned port, state;
        if (sscanf(line, "%*d: %*[0-9A-F]:%*x %*[0-9A-F]:%x %x", &port, &state) == 2)
            count += (int)port == s->port && state == 2;
    }
    fclose(sockets);
    return count;
}

/* The best of a few tries: the machine may be busy in one, a bug is there in all. */
enum { TRIES = 5 };

static void test_G_open_returns_in_time_where_nobody_answers(void **state)
{
    (void)state;
    enum { DEADLINE = 100, LIMIT = 5 * DEADLINE };
    silent s;
    char config[96];
    silent_start(&s);
    snprintf(config, sizeof config, "redis://127.0.0.1:%d?deadline_ms=%d", s.port, DEADLINE);
    int64_t best = INT64_MAX;
    for (int i = 0; i < TRIES && best > LIMIT; i++) {
        latchkey *lk;
        int64_t start = check_now_ms();
        assert_status(NULL, LATCHKEY_UNAVAILABLE, latchkey_open(config, &lk, NULL, 0));
        int64_t took = check_now_ms() - start;
        if (took < best) best = took;
    }
    silent_end(&s);
    assert_in_range(best, 0, LIMIT);
}

static void test_close_does_not_wait_for_a_connection(void **state)
{
    (void)state;
    enum { DEADLINE = 5000, LIMIT = 1000 };
    silent s;
    char options[64];
    silent_start(&s);
    wait_for(waiting_for(&s) < FILLERS); /* one is in the backlog */
    int fillers = waiting_for(&s);
    snprintf(options, sizeof options, "lazy=1&deadline_ms=%d", DEADLINE);
    int64_t best = INT64_MAX;
    for (int i = 0; i < TRIES && best > LIMIT; i++) {
        latchkey *lk = handle_open_at(s.port, options);
        wait_for(waiting_for(&s) > fillers);
        int64_t start = check_now_ms();
        handle_close(lk);
        int64_t took = check_now_ms() - start;
        if (took < best) best = took;
        assert_in_range(took, 0, 2 * DEADLINE);
    }
    silent_end(&s);
    assert_in_range(best, 0, LIMIT);
}

static void test_F_no_password_in_the_errors_of_a_misspelt_configuration(void **state)
{
    (void)state;
    static const char *const configs[] = {
        "redis://s3cret-pass@127.0.0.1",
        "redis://s3cret-pass@127.0.0.1:1/0?lazy=1",
        "redis://127.0.0.1?s3cret-pass",
        "redis://127.0.0.1?lazy=1&s3cret-pass",
        "redis://127.0.0.1?lazy=1&s3cret-pass&deadline_ms=10",
        "redis://:a?s3cret-pass=1",
        "redis://:a?s3cret-pass@127.0.0.1",
        "redis://:a&s3cret-pass@127.0.0.1?x",
        "redis://:a/s3cret-pass@127.0.0.1",
        "redis://:a#s3cret-pass@127.0.0.1",
        "redis://:a%zzs3cret-pass@127.0.0.1",
        "redis://:s3cret-pass%@127.0.0.1",
        "redis://:s3cret-pass@127.0.0.1:port",
        "redis://:s3cret-pass@",
        "redis://user:s3cret-pass",
        "redis://127.0.0.1:s3cret-pass@",
        "redis:/:s3cret-pass@127.0.0.1",
        "rediss://:s3cret-pass@127.0.0.1",
        ":s3cret-pass@127.0.0.1",
        "s3cret-pass",
        "unix://s3cret-pass@/run/redis.sock",
        "unix://:a?s3cret-pass@/run/redis.sock",
        "unix://:s3cret-pass@run/redis.sock",
        "unix://:s3cret-pass@",
    };
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        char error[512] = "";
        latchkey *lk;
        int status = latchkey_open(configs[i], &lk, error, sizeof error);
        if (status == LATCHKEY_OK) latchkey_close(lk);
        if (strstr(error, "s3cret")) fail_msg("%s: %s", configs[i], error);
    }
}

static void test_F_no_password_in_the_errors_of_a_server_that_refuses_it(void **state)
{
    (void)state;
    redis *on = redis_start("--requirepass", "other");
    char config[256], error[512];
    latchkey *lk;
    snprintf(config, sizeof config, "redis://:s3cret-pass@127.0.0.1:%d?deadline_ms=10000", on->port);
    assert_status(NULL, LATCHKEY_CONFIG, latchkey_open(config, &lk, error, sizeof error));
    assert_lacks(error, "s3cret");
    assert_lacks(error, "other");
    strcat(config, "&lazy=1");
    assert_status(NULL, LATCHKEY_OK, latchkey_open(config, &lk, error, sizeof error));
    wait_for(stats_of(lk).last_error[0]);
    assert_lacks(stats_of(lk).last_error, "s3cret");
    latchkey_close(lk);
    redis_end(on);
}

/* A primary that is made a replica keeps its run id, its connections and its subscriptions. */
static void test_C_primary_made_a_replica_in_place_loses_the_lease(void **state)
{
    (void)state;
    redis *on = redis_start(NULL);
    latchkey *lk = handle_open(on, "staleness_ms=1000&l1_ttl_ms=600000"), *late;
    char token[LATCHKEY_TOKEN_SIZE], config[256], error[512];
    make_session(lk, 1, token);
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
    redis_do(on, "REPLICAOF 127.0.0.1 %d", net_refusing()); /* of no server: its data stays */
    wait_for(try_validate(lk, token) != LATCHKEY_OK);
    wait_for(!stats_of(lk).connected);
    for (int i = 0; i < 20; i++) {
        validate(lk, token);
        assert_status(lk, LATCHKEY_AGAIN, try_validate(lk, token));
    }
    assert_contains(stats_of(lk).last_error, "replica");
    handle_config(on, 0, "", config, sizeof config);
    assert_status(NULL, LATCHKEY_CONFIG, latchkey_open(config, &late, error, sizeof error));
    assert_contains(error, "replica");
    redis_do(on, "REPLICAOF NO ONE");
    wait_for(stats_of(lk).connected);
    wait_for(validate(lk, token) == LATCHKEY_OK && try_validate(lk, token) == LATCHKEY_OK);
    assert_true(stats_of(lk).reconnects > 0);
    handle_close(lk);
    redis_end(on);
}

/* Its revocations go elsewhere now, so its answers do not count: not through connections from before, either. */
static void test_A_primary_made_a_replica_in_place_is_not_asked(void **state)
{
    (void)state;
    redis *on = redis_start(NULL);
    latchkey *lk = handle_open(on, "staleness_ms=1000");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 1, token);
    redis_do(on, "REPLICAOF 127.0.0.1 %d", net_refusing());
    wait_for(!stats_of(lk).connected);
    wait_for(try_validate(lk, token) != LATCHKEY_OK);
    for (int i = 0; i < 20; i++) assert_status(lk, LATCHKEY_UNAVAILABLE, validate(lk, token));
    handle_close(lk);
    redis_end(on);
}

/* The server takes no more connections: those that there are serve all callers. */
enum { THREADS = 8, ROUNDS = 1000 };

typedef struct tally {
    latchkey *lk;
    char tokens[THREADS][LATCHKEY_TOKEN_SIZE];
    atomic_int good, bad;
} tally;

static void validate_many(crew_member *member)
{
    tally *t = member->shared;
    for (int i = 0; i < ROUNDS; i++)
        atomic_fetch_add(validate(t->lk, t->tokens[member->index]) == LATCHKEY_OK ? &t->good : &t->bad, 1);
}

static void test_calls_wait_where_the_server_takes_no_more_connections(void **state)
{
    (void)state;
    redis *on = redis_start(NULL);
    tally t = {.lk = handle_open(on, "l1_capacity=0&connections=8&deadline_ms=60000")};
    for (int i = 0; i < THREADS; i++) make_session(t.lk, 1, t.tokens[i]);
    redis_do(on, "CONFIG SET maxclients %d", (int)redis_info(on, "clients", "connected_clients"));
    crew_run(THREADS, validate_many, &t);
    assert_true(redis_info(on, "stats", "rejected_connections") > 0); /* so it did try */
    if (atomic_load(&t.bad)) fail_msg("%d of %d failed", atomic_load(&t.bad), THREADS * ROUNDS);
    handle_close(t.lk);
    redis_end(on);
}

/* "No such session, no expiry", twice: the second pair was not asked for, and is no answer to the next question. */
static void test_I_answer_that_nobody_asked_for_is_nobodys(void **state)
{
    (void)state;
    static const char twice[] = "$-1\r\n:-2\r\n$-1\r\n:-2\r\n", half[] = "$-1\r\n:-2\r\n$-1\r\n:-";
    static const struct {
        const char *bytes;
        size_t size;
    } strays[] = {{twice, sizeof twice - 1}, {half, sizeof half - 1}};
    proxy *wire = proxy_start(server->port);
    latchkey *maker = handle_open(server, ""), *lk = handle_open_at(proxy_port(wire), "staleness_ms=60000");
    for (size_t i = 0; i < 2; i++) {
        char token[LATCHKEY_TOKEN_SIZE], next[LATCHKEY_TOKEN_SIZE];
        make_session(maker, 1, token);
        make_session(maker, 1, next);
        proxy_set(wire, PROXY_REPLACE, strays[i].bytes, strays[i].size);
        assert_status_in(lk, validate(lk, token), LATCHKEY_NOT_FOUND, LATCHKEY_UNAVAILABLE);
        proxy_set(wire, PROXY_RELAY, NULL, 0);
        wait_for(stats_of(lk).connected);
        int status;
        wait_for((status = validate(lk, next)) != LATCHKEY_UNAVAILABLE);
        assert_status(lk, LATCHKEY_OK, status);
    }
    handle_close(lk);
    proxy_end(wire);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_G_open_returns_in_time_where_nobody_answers),
        TEST(test_close_does_not_wait_for_a_connection),
        TEST(test_F_no_password_in_the_errors_of_a_misspelt_configuration),
        TEST(test_F_no_password_in_the_errors_of_a_server_that_refuses_it),
        TEST(test_C_primary_made_a_replica_in_place_loses_the_lease),
        TEST(test_A_primary_made_a_replica_in_place_is_not_asked),
        TEST(test_calls_wait_where_the_server_takes_no_more_connections),
        TEST(test_I_answer_that_nobody_asked_for_is_nobodys),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}
