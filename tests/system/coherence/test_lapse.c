/* SPDX-License-Identifier: MIT
 *
 * C for answers of Redis: they too are given only under a lease of the server that answered. One that has lapsed costs a
 * beat while Redis can be reached, and UNAVAILABLE where no beat comes back.
 */
#include "test_handle.h"
#include "proxy.h"
#include "threads.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static void test_C_answers_of_redis_are_not_given_without_a_lease(void **state)
{
    (void)state;
    proxy *wire = proxy_start(server->port);
    latchkey *maker = handle_open(server, ""), *lk;
    char token[LATCHKEY_TOKEN_SIZE], absent[LATCHKEY_TOKEN_SIZE], other[LATCHKEY_TOKEN_SIZE], made[LATCHKEY_TOKEN_SIZE];
    lk = handle_open_at(proxy_port(wire), "staleness_ms=300&deadline_ms=1500&l1_capacity=0");
    make_session(maker, 1, token);
    make_session(maker, 2, absent);
    make_session(maker, 3, other);
    assert_status(maker, LATCHKEY_OK, end_session(maker, absent));
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
    /* Every request is answered; nothing comes through the subscription, and no new one is confirmed. */
    proxy_set(wire, PROXY_HOLD_MESSAGES, NULL, 0);
    int64_t cut_ms = check_now_ms();
    while (check_now_ms() < cut_ms + 400) check_pause();
    assert_status(lk, LATCHKEY_UNAVAILABLE, validate(lk, token));
    assert_status(lk, LATCHKEY_UNAVAILABLE, load(lk, token));
    /* A "no" may be that of a server that lost what was made since (A). */
    assert_status(lk, LATCHKEY_UNAVAILABLE, validate(lk, absent));
    assert_status(lk, LATCHKEY_UNAVAILABLE, load(lk, absent));
    /* So may what was written: on a server that is not the primary any more it is lost. */
    assert_status(lk, LATCHKEY_UNAVAILABLE, touch(lk, token));
    assert_status(lk, LATCHKEY_UNAVAILABLE, set_field(lk, token, "cart", "3"));
    assert_status(lk, LATCHKEY_UNAVAILABLE, latchkey_rotate(lk, other, strlen(other), 0, made));
    assert_status(lk, LATCHKEY_UNAVAILABLE, create_with(lk, 3, 0, made));
    proxy_set(wire, PROXY_RELAY, NULL, 0);
    wait_for(validate(lk, token) == LATCHKEY_OK && load(lk, token) == LATCHKEY_OK);
    handle_close(lk);
    handle_close(maker);
    proxy_end(wire);
}

/* The whole process stood still for longer than the lease: its next answer waits for a beat, and is a yes. */
static void test_C_lapsed_lease_costs_a_beat(void **state)
{
    (void)state;
    char config[256], token[LATCHKEY_TOKEN_SIZE];
    latchkey *maker = handle_open(server, "");
    make_session(maker, 1, token);
    handle_config(server, 0, "staleness_ms=300&deadline_ms=20000", config, sizeof config);
    peer *p = peer_start(config);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(peer_number(p, "validate %s", token), LATCHKEY_OK);
        kill(peer_pid(p), SIGSTOP);
        int64_t stopped_ms = check_now_ms();
        while (check_now_ms() < stopped_ms + 400) check_pause();
        kill(peer_pid(p), SIGCONT);
        assert_int_equal(peer_number(p, "validate %s", token), LATCHKEY_OK);
    }
    peer_end(p);
    handle_close(maker);
}

/* L1 was emptied between two beats, which are 15 s apart here: the answer does not wait for the next, one is asked for. */
static void test_C_answer_without_a_lease_asks_for_a_beat(void **state)
{
    (void)state;
    const char *options = "partitions=1&staleness_ms=60000&deadline_ms=3000";
    latchkey *lk = handle_open(server, options);
    char ended[4][LATCHKEY_TOKEN_SIZE], token[LATCHKEY_TOKEN_SIZE];
    for (int i = 0; i < 4; i++) make_session(lk, 1, ended[i]);
    make_session(lk, 2, token);
    for (int i = 0; i < 3; i++) assert_status(lk, LATCHKEY_OK, end_session(lk, ended[i]));
    wait_for(stats_of(lk).revocations_heard == 3);
    uint64_t empties = stats_of(lk).empties, beats = stats_of(lk).beats;
    redis_do(server, "DEL lk:{0}:q");
    /* Also where the link hears that Redis counts anew before the answer is there. */
    assert_status(lk, LATCHKEY_OK, end_session(lk, ended[3]));
    wait_for(stats_of(lk).empties > empties);
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
    assert_true(stats_of(lk).beats > beats);
    handle_close(lk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_C_answers_of_redis_are_not_given_without_a_lease),
        TEST(test_C_lapsed_lease_costs_a_beat),
        TEST(test_C_answer_without_a_lease_asks_for_a_beat),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}
