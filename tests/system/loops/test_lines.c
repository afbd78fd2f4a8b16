/* SPDX-License-Identifier: MIT
 *
 * Many callers on few connections: each gets its own answer, none waits longer than its deadline, and there are never more
 * connections, calls or repetitions than the options say.
 */
#include "test_handle.h"
#include "proxy.h"
#include "threads.h"

#include <string.h>

enum { THREADS = 24, ROUNDS = 200, SESSIONS = 96 };

typedef struct shared {
    latchkey *lk;
    char tokens[SESSIONS][LATCHKEY_TOKEN_SIZE];
    size_t rounds;
    _Atomic size_t good, unavailable, wrong;
} shared;

static void validate_in_turn(crew_member *m)
{
    shared *s = m->shared;
    for (size_t i = 0; i < s->rounds && !crew_stopped(m); i++) {
        size_t which = (m->index * 31 + i * 7) % SESSIONS;
        latchkey_entry entry;
        int status = latchkey_validate(s->lk, s->tokens[which], LATCHKEY_TOKEN_LENGTH, &entry);
        if (status == LATCHKEY_UNAVAILABLE) atomic_fetch_add(&s->unavailable, 1);
        else atomic_fetch_add(status == LATCHKEY_OK && entry.user_id == which + 1 ? &s->good : &s->wrong, 1);
    }
}

static shared *share(latchkey *lk)
{
    shared *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->lk = lk;
    s->rounds = ROUNDS;
    latchkey *maker = handle_open(server, "");
    for (int i = 0; i < SESSIONS; i++) make_session(maker, (uint64_t)i + 1, s->tokens[i]);
    handle_close(maker);
    return s;
}

static void test_callers_share_connections(void **state)
{
    (void)state;
    static const char *const options[] = {"l1_capacity=0&connections=1", "l1_capacity=0&connections=3"};
    for (int i = 0; i < 2; i++) {
        shared *s = share(handle_open(server, options[i]));
        long long before = redis_info(server, "stats", "total_connections_received");
        crew_run(THREADS, validate_in_turn, s);
        assert_int_equal(s->wrong, 0);
        assert_int_equal(s->unavailable, 0);
        assert_int_equal(s->good, THREADS * ROUNDS);
        long long made = redis_info(server, "stats", "total_connections_received") - before;
        if (made > 1 + 2 * i) fail_msg("%lld connections were made", made);
        handle_close(s->lk);
        free(s);
    }
}

/* Those behind another wait in the kernel, and go out together: fewer pieces than commands. */
static void test_commands_go_out_together(void **state)
{
    (void)state;
    shared *s = share(handle_open(server, "l1_capacity=0&connections=1"));
    assert_status(s->lk, LATCHKEY_OK, validate(s->lk, s->tokens[0]));
    long long reads = redis_info(server, "stats", "total_reads_processed");
    uint64_t asked = stats_of(s->lk).l2_reads;
    crew_run(THREADS, validate_in_turn, s);
    long long pieces = redis_info(server, "stats", "total_reads_processed") - reads;
    assert_true((uint64_t)pieces < (stats_of(s->lk).l2_reads - asked) * 3 / 4);
    free(s);
}

/* All connections are cut, again and again: no answer to the wrong one, and every loss is made up for or said. */
static void test_I_connections_killed_under_many(void **state)
{
    (void)state;
    shared *s = share(handle_open(server, "l1_capacity=0&connections=2&deadline_ms=2000"));
    s->rounds = SIZE_MAX;
    crew *c = crew_start(THREADS, validate_in_turn, s);
    for (int i = 0; i < 40; i++) {
        size_t good = s->good;
        redis_do(server, "CLIENT KILL TYPE normal SKIPME yes");
        if (i % 4) check_pause();
        else wait_for(s->good > good + THREADS);
    }
    crew_stop(c);
    crew_join(c);
    assert_int_equal(s->wrong, 0);
    assert_true(stats_of(s->lk).retries <= 100 + (uint64_t)s->good / 10 + 1); /* the budget */
    wait_for(validate(s->lk, s->tokens[0]) == LATCHKEY_OK);
    free(s);
}

/* The one ahead is not answered: those behind him are, or are told, within their own time; later everything is well. */
static void test_G_stuck_ahead(void **state)
{
    (void)state;
    proxy *wire = proxy_start(server->port);
    latchkey *lk = handle_open_at(proxy_port(wire), "l1_capacity=0&connections=1&deadline_ms=400&staleness_ms=60000");
    shared *s = share(lk);
    assert_status(lk, LATCHKEY_OK, validate(lk, s->tokens[0]));
    proxy_set(wire, PROXY_HOLD_ONE, s->tokens[1], 20); /* the selector of one of them */
    crew_run(THREADS, validate_in_turn, s);
    proxy_set(wire, PROXY_RELAY, NULL, 0);
    assert_int_equal(s->wrong, 0);
    assert_true(s->unavailable > 0);
    wait_for(validate(lk, s->tokens[1]) == LATCHKEY_OK);
    free(s);
    handle_close(lk);
    proxy_end(wire);
}

typedef struct one_call {
    latchkey *lk;
    const char *token;
    _Atomic int status;
} one_call;

static void call_once(crew_member *m)
{
    one_call *c = m->shared;
    atomic_store(&c->status, validate(c->lk, c->token));
}

static void test_G_beyond_in_flight_it_is_refused_at_once(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "l1_capacity=0&in_flight=1&deadline_ms=60000");
    shared *s = share(lk);
    one_call call = {lk, s->tokens[0], -100};
    redis_freeze(server);
    crew *c = crew_start(1, call_once, &call);
    wait_for(crew_asleep(c) && stats_of(lk).l2_reads == 1);
    assert_status(lk, LATCHKEY_UNAVAILABLE, validate(lk, s->tokens[1]));
    assert_int_equal(stats_of(lk).shed, 1);
    assert_contains(stats_of(lk).last_error, "in_flight=1");
    redis_thaw(server);
    crew_join(c);
    assert_status(lk, LATCHKEY_OK, call.status);
    assert_status(lk, LATCHKEY_OK, validate(lk, s->tokens[1]));
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_callers_share_connections),
        TEST(test_commands_go_out_together),
        TEST(test_I_connections_killed_under_many),
        TEST(test_G_stuck_ahead),
        TEST(test_G_beyond_in_flight_it_is_refused_at_once),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}
