/* SPDX-License-Identifier: MIT
 *
 * G and I: a Redis that stands still or answers late. Calls return, and a late reply answers no call.
 *
 * The limits asserted are many times the deadline: the machine may be slow. What matters is that calls end.
 */
#include "test_handle.h"
#include "proxy.h"
#include "threads.h"

#include <string.h>

enum { GENEROUS = 8000 }; /* against a deadline of 300 */
#define OPTIONS "deadline_ms=300&l1_capacity=0&staleness_ms=60000"

#define assert_prompt(lk, want, call)                                                                                  \
    do {                                                                                                               \
        int64_t start_ = check_now_ms();                                                                               \
        assert_status(lk, want, call);                                                                                 \
        assert_true(check_now_ms() - start_ < GENEROUS);                                                               \
    } while (0)

static void every_call_ends(latchkey *lk, const char *token)
{
    latchkey_draft draft = {.size = sizeof draft, .user_id = 1};
    char none[LATCHKEY_TOKEN_SIZE];
    assert_prompt(lk, LATCHKEY_UNAVAILABLE, validate(lk, token));
    assert_prompt(lk, LATCHKEY_AGAIN, try_validate(lk, token));
    assert_prompt(lk, LATCHKEY_UNAVAILABLE, touch(lk, token));
    assert_prompt(lk, LATCHKEY_UNAVAILABLE, load(lk, token));
    assert_prompt(lk, LATCHKEY_UNAVAILABLE, set_field(lk, token, "note", "x"));
    assert_prompt(lk, LATCHKEY_UNAVAILABLE, set_field(lk, token, "pq.k", "x"));
    assert_prompt(lk, LATCHKEY_UNAVAILABLE, latchkey_create(lk, &draft, none));
    assert_prompt(lk, LATCHKEY_PENDING, end_session(lk, token));
}

static void test_G_calls_end_while_redis_stands_still(void **state)
{
    (void)state;
    latchkey *maker = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE], other[LATCHKEY_TOKEN_SIZE];
    make_session(maker, 1, token);
    make_session(maker, 2, other);
    latchkey *lk = handle_open(server, OPTIONS);
    wait_for(validate(lk, token) == LATCHKEY_OK);
    redis_freeze(server);
    every_call_ends(lk, token);
    redis_thaw(server);
    wait_for(stats_of(lk).pending == 0);
    wait_for(validate(lk, other) == LATCHKEY_OK);
    wait_for(validate(lk, token) == LATCHKEY_NOT_FOUND);
    handle_close(lk);
}

static void faulty_wire(proxy_mode mode, const char *bytes, size_t size)
{
    proxy *wire = proxy_start(server->port);
    latchkey *maker = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE], other[LATCHKEY_TOKEN_SIZE];
    make_session(maker, 1, token);
    make_session(maker, 2, other);
    latchkey *lk = handle_open_at(proxy_port(wire), OPTIONS);
    wait_for(validate(lk, token) == LATCHKEY_OK);
    proxy_set(wire, mode, bytes, size);
    every_call_ends(lk, token);
    proxy_set(wire, PROXY_RELAY, NULL, 0);
    proxy_drop_connections(wire);
    wait_for(stats_of(lk).pending == 0);
    wait_for(validate(lk, other) == LATCHKEY_OK);
    wait_for(validate(lk, token) == LATCHKEY_NOT_FOUND);
    handle_close(lk);
    proxy_end(wire);
}

static void test_G_calls_end_on_a_wire_that_holds_replies(void **state)
{
    (void)state;
    faulty_wire(PROXY_HOLD_DOWN, NULL, 0);
}

static void test_G_calls_end_on_a_wire_that_swallows(void **state)
{
    (void)state;
    faulty_wire(PROXY_BLACKHOLE, NULL, 0);
}

static void test_G_calls_end_on_a_wire_that_cuts(void **state)
{
    (void)state;
    faulty_wire(PROXY_CUT, NULL, 0);
}

static _Atomic int refused;
static char session[LATCHKEY_TOKEN_SIZE];

static void read_some(crew_member *m)
{
    latchkey_entry entry;
    for (int i = 0; i < 2; i++)
        if (latchkey_validate_fresh(m->shared, session, LATCHKEY_TOKEN_LENGTH, 0, &entry)) refused++;
}

/* The server, or what lies before it, answers no further connection. Those that are open go on, and serve all callers. */
static void test_calls_share_what_is_open_where_no_more_is_admitted(void **state)
{
    (void)state;
    proxy *wire = proxy_start(server->port);
    latchkey *lk = handle_open_at(proxy_port(wire), "l1_capacity=0&connections=8&deadline_ms=4000");
    make_session(lk, 1, session);
    proxy_set(wire, PROXY_ADMIT_NONE, NULL, 0);
    refused = 0;
    crew_run(6, read_some, lk);
    if (refused) fail_msg("%d of 12 reads failed", refused);
    handle_close(lk);
    proxy_end(wire);
}

static void test_A_truncated_replies_are_no_answers(void **state)
{
    (void)state;
    const size_t sizes[] = {0, 1, 3, 7, 60};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) faulty_wire(PROXY_TRUNCATE, NULL, sizes[i]);
}

/* A reply of one request comes after its deadline, when the next request waits on the handle's only connection. */
enum { ASKERS = 4, ROUNDS = 12 };

typedef struct quiz {
    latchkey *lk;
    char tokens[ASKERS][LATCHKEY_TOKEN_SIZE];
    atomic_int wrong, odd, answered, late;
} quiz;

static void ask(crew_member *member)
{
    quiz *q = member->shared;
    while (!crew_stopped(member)) {
        latchkey_entry entry;
        const char *token = q->tokens[member->index];
        int status = latchkey_validate(q->lk, token, LATCHKEY_TOKEN_LENGTH, &entry);
        if (status == LATCHKEY_OK) atomic_fetch_add(entry.user_id == 100 + member->index ? &q->answered : &q->wrong, 1);
        else atomic_fetch_add(status == LATCHKEY_UNAVAILABLE ? &q->late : &q->odd, 1);
        latchkey_record *record;
        status = latchkey_load(q->lk, token, LATCHKEY_TOKEN_LENGTH, &record);
        if (status == LATCHKEY_OK && latchkey_record_entry(record)->user_id != 100 + member->index)
            atomic_fetch_add(&q->wrong, 1);
        latchkey_record_free(record);
    }
}

static void late_replies(const char *options)
{
    proxy *wire = proxy_start(server->port);
    latchkey *maker = handle_open(server, "");
    quiz q;
    memset(&q, 0, sizeof q);
    for (size_t i = 0; i < ASKERS; i++) make_session(maker, 100 + i, q.tokens[i]);
    q.lk = handle_open_at(proxy_port(wire), options);
    crew *askers = crew_start(ASKERS, ask, &q);
    int64_t limit = check_now_ms() + CHECK_PATIENCE_MS;
    for (int i = 0; i < ROUNDS && check_now_ms() < limit; i++) {
        int late = atomic_load(&q.late), answered;
        proxy_set(wire, i % 2 ? PROXY_HOLD_DOWN : PROXY_HOLD, NULL, 0);
        while (atomic_load(&q.late) < late + 2 && check_now_ms() < limit) check_pause();
        answered = atomic_load(&q.answered);
        proxy_set(wire, PROXY_RELAY, NULL, 0); /* all that was held comes now, late */
        while (atomic_load(&q.answered) < answered + 10 && check_now_ms() < limit) check_pause();
    }
    crew_stop(askers);
    crew_join(askers);
    assert_int_equal(atomic_load(&q.wrong), 0);
    assert_int_equal(atomic_load(&q.odd), 0);
    assert_true(atomic_load(&q.late) >= 2 * ROUNDS);
    assert_true(atomic_load(&q.answered) >= 10 * ROUNDS);
    handle_close(q.lk);
    proxy_end(wire);
}

static void test_I_late_reply_never_answers_another_request(void **state)
{
    (void)state;
    late_replies("deadline_ms=200&l1_capacity=0&connections=1");
}

static void test_I_late_reply_never_answers_another_request_with_many_connections(void **state)
{
    (void)state;
    late_replies("deadline_ms=200&l1_capacity=0&connections=8");
}

/* Both sides of a swap: Redis answers what another call asked. The record names its session, so it is no answer. */
static void test_I_foreign_record_is_corrupt(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "l1_capacity=0");
    char one[LATCHKEY_TOKEN_SIZE], two[LATCHKEY_TOKEN_SIZE], key[2][128], v[256];
    make_session(lk, 1, one);
    make_session(lk, 2, two);
    session_key(server, one, key[0]);
    session_key(server, two, key[1]);
    size_t size = redis_text(server, v, sizeof v, "HGET %s v", key[0]);
    redis_do(server, "HSET %s v %b", key[1], v, size);
    assert_status(lk, LATCHKEY_CORRUPT, validate(lk, two));
    assert_status(lk, LATCHKEY_CORRUPT, load(lk, two));
    assert_status(lk, LATCHKEY_OK, validate(lk, one));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_G_calls_end_while_redis_stands_still),
        TEST(test_G_calls_end_on_a_wire_that_holds_replies),
        TEST(test_G_calls_end_on_a_wire_that_swallows),
        TEST(test_G_calls_end_on_a_wire_that_cuts),
        TEST(test_calls_share_what_is_open_where_no_more_is_admitted),
        TEST(test_A_truncated_replies_are_no_answers),
        TEST(test_I_late_reply_never_answers_another_request),
        TEST(test_I_late_reply_never_answers_another_request_with_many_connections),
        TEST(test_I_foreign_record_is_corrupt),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}
