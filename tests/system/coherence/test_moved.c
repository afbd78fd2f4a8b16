/* SPDX-License-Identifier: MIT
 *
 * A failover behind one address, as a proxy or a Kubernetes Service makes it: new connections lead to the new primary, while
 * old ones stay with the old one, which lives on. What the new one answers, and what it writes, says nothing of what L1 holds
 * under the old one's lease: it counts once the link has met it. (Guarantees A, C.)
 */
#include "test_handle.h"
#include "logbook.h"
#include "proxy.h"

#include <stdio.h>
#include <string.h>

typedef struct stage {
    redis *old, *new;
    proxy *wire;
    latchkey *lk;
    long long link; /* the newest connection of the link: those of callers are made after it */
} stage;

/* The newest connection of a kind; 0: there is none. */
static long long newest(redis *on, const char *type)
{
    long long id = 0;
    redisReply *list = redis_command(on, "CLIENT LIST TYPE %s", type);
    for (const char *line = list->str; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        if (atoll(line + 3) > id) id = atoll(line + 3);
    freeReplyObject(list);
    return id;
}

static stage open_stage(void)
{
    char port[16];
    stage s = {.old = redis_start("--repl-diskless-sync-delay", "0", NULL)};
    redis_do(s.old, "PING"); /* the test's own connection is older than all others */
    snprintf(port, sizeof port, "%d", s.old->port);
    s.new = redis_start("--replicaof", "127.0.0.1", port);
    wait_for(redis_integer(s.old, "WAIT 1 1000") == 1); /* its replication id is another from its first replica on */
    s.wire = proxy_start(s.old->port);
    s.lk = handle_open_at(proxy_port(s.wire), "staleness_ms=60000&l1_ttl_ms=600000");
    s.link = newest(s.old, "pubsub");
    return s;
}

/* The callers' connections to the old primary break, those of the link stay. */
static void break_callers(stage *s)
{
    long long id;
    while ((id = newest(s->old, "normal")) > s->link) redis_do(s->old, "CLIENT KILL ID %lld", id);
}

static void move(stage *s)
{
    redis_do(s->old, "PUBLISH up.to here"); /* from Redis 7.2 on, WAIT asks for what its own connection sent */
    redis_do(s->old, "WAIT 1 10000");
    redis_do(s->new, "REPLICAOF NO ONE");
    proxy_aim(s->wire, s->new->port);
    break_callers(s);
}

/* A write is not repeated where its connection breaks, and the handle may notice that only then. */
#define write_ok(s, call)                                                                                              \
    do {                                                                                                               \
        int status_;                                                                                                   \
        wait_for((status_ = (call)) != LATCHKEY_UNAVAILABLE);                                                          \
        assert_status((s).lk, LATCHKEY_OK, status_);                                                                   \
    } while (0)

static void close_stage(stage *s)
{
    handle_close(s->lk);
    proxy_end(s->wire);
    redis_end(s->new);
    redis_end(s->old);
}

static int set_role(latchkey *lk, const char *token, const char *role)
{
    const latchkey_access access = {.size = sizeof access, .role = role};
    return latchkey_set_access(lk, token, LATCHKEY_TOKEN_LENGTH, &access);
}

static void test_C_a_role_that_was_taken_away_is_not_answered_any_more(void **state)
{
    (void)state;
    stage s = open_stage();
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(s.lk, 1, token);
    write_ok(s, set_role(s.lk, token, "admin"));
    warm(s.lk, token);
    assert_string_equal(entry_of(s.lk, token).role, "admin");
    move(&s);
    write_ok(s, set_role(s.lk, token, "reader"));
    for (int i = 0; i < 200; i++) {
        latchkey_entry entry;
        int status = latchkey_validate(s.lk, token, LATCHKEY_TOKEN_LENGTH, &entry);
        if (status == LATCHKEY_OK) assert_string_equal(entry.role, "reader");
        check_pause();
    }
    wait_for(validate(s.lk, token) == LATCHKEY_OK);
    close_stage(&s);
}

/* Each OK, from the first one on. What is not OK was perhaps made, and its token is not handed out. */
static void test_A_a_new_token_is_good_where_it_was_made(void **state)
{
    (void)state;
    stage s = open_stage();
    char old[LATCHKEY_TOKEN_SIZE], made[LATCHKEY_TOKEN_SIZE], rotated[LATCHKEY_TOKEN_SIZE];
    make_session(s.lk, 1, old);
    warm(s.lk, old);
    move(&s);
    int good = 0;
    for (int i = 0; i < 1000 && good < 20; i++) {
        int status = create_with(s.lk, 2, 0, made);
        assert_status_in(s.lk, status, LATCHKEY_OK, LATCHKEY_UNAVAILABLE);
        if (status) continue;
        assert_status(s.lk, LATCHKEY_OK, validate(s.lk, made));
        status = latchkey_rotate(s.lk, made, LATCHKEY_TOKEN_LENGTH, 0, rotated);
        assert_status_in(s.lk, status, LATCHKEY_OK, LATCHKEY_UNAVAILABLE);
        if (status) continue;
        assert_status(s.lk, LATCHKEY_OK, validate(s.lk, rotated));
        assert_status(s.lk, LATCHKEY_NOT_FOUND, validate(s.lk, made));
        good++;
    }
    assert_int_equal(good, 20);
    close_stage(&s);
}

static void test_C_a_revocation_counts_where_it_was_made(void **state)
{
    (void)state;
    stage s = open_stage();
    char token[LATCHKEY_TOKEN_SIZE], other[LATCHKEY_TOKEN_SIZE], key[128];
    make_session(s.lk, 1, token);
    make_session(s.lk, 2, other);
    warm(s.lk, token);
    move(&s);
    assert_status_in(s.lk, end_session(s.lk, token), LATCHKEY_OK, LATCHKEY_PENDING);
    assert_status(s.lk, LATCHKEY_NOT_FOUND, validate(s.lk, token));
    /* If it was retried over the link, the old one has it. The next call to the new one brings the link there, which tells it. */
    wait_for(load(s.lk, other) == LATCHKEY_OK);
    wait_for(!*session_key(s.new, token, key));
    wait_for(stats_of(s.lk).pending == 0);
    close_stage(&s);
}

/* The first write whose connection leads to the new primary is not sent there before the link has met that one. So it waits for
 * that, in place of failing. (Its own connection may break under it: that is another thing, and is said.) */
static void test_the_first_write_waits_until_the_server_is_met(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        stage s = open_stage();
        char token[LATCHKEY_TOKEN_SIZE], made[LATCHKEY_TOKEN_SIZE];
        size_t ended;
        make_session(s.lk, 1, token);
        move(&s);
        check_pause();
        int status = LATCHKEY_UNAVAILABLE;
        if (i == 0) status = create_with(s.lk, 2, 0, made);
        if (i == 1) status = latchkey_rotate(s.lk, token, LATCHKEY_TOKEN_LENGTH, 0, made);
        if (i == 2) status = latchkey_revoke_user(s.lk, 1, NULL, 0, &ended);
        if (i == 3) status = set_role(s.lk, token, "reader");
        if (i == 4) status = latchkey_revoke_everyone(s.lk);
        latchkey_stats stats = stats_of(s.lk);
        int broke = status == LATCHKEY_UNAVAILABLE && strstr(stats.last_error, "connection") &&
                    !strstr(stats.last_error, "met");
        if (!broke) assert_status(s.lk, LATCHKEY_OK, status);
        close_stage(&s);
    }
}

/* And it is said, to the log and in last_error; then there is nothing left to say. */
static void test_misses_go_on_and_the_reason_is_said(void **state)
{
    (void)state;
    enum { SESSIONS = 20 };
    stage s = open_stage();
    latchkey *maker = handle_open(s.old, "");
    char tokens[SESSIONS][LATCHKEY_TOKEN_SIZE];
    for (int i = 0; i < SESSIONS; i++) make_session(maker, (uint64_t)i, tokens[i]);
    warm(s.lk, tokens[0]);
    move(&s);
    logbook_open();
    for (int i = 1; i < SESSIONS; i++) wait_for(validate(s.lk, tokens[i]) == LATCHKEY_OK);
    /* "another server answers at the same address", unless the link's own connection broke first on a machine that stands still */
    assert_true(logbook_has("link: down: "));
    assert_true(stats_of(s.lk).reconnects >= 1);
    char more[LATCHKEY_TOKEN_SIZE];
    make_session(s.lk, 99, more);
    assert_status(s.lk, LATCHKEY_OK, validate(s.lk, more));
    logbook_close();
    handle_close(maker);
    close_stage(&s);
}

#define HANDLES(name) cmocka_unit_test_teardown(name, handle_close_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HANDLES(test_C_a_role_that_was_taken_away_is_not_answered_any_more),
        HANDLES(test_A_a_new_token_is_good_where_it_was_made),
        HANDLES(test_C_a_revocation_counts_where_it_was_made),
        HANDLES(test_the_first_write_waits_until_the_server_is_met),
        HANDLES(test_misses_go_on_and_the_reason_is_said),
    };
    return cmocka_run_group_tests_name("moved", tests, NULL, NULL);
}
