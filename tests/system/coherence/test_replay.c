/* SPDX-License-Identifier: MIT
 *
 * C where a message is lost and nothing else: it is found by its number and read in the log, and the rest of L1 stays.
 * Where the log does not reach back to it, L1 is emptied.
 */
#include "test_handle.h"
#include "proxy.h"
#include "threads.h"

#include <string.h>

/* One partition, so that its numbers are those of every session here. Long leases: only the link's work ends a hit. */
#define OPTIONS "partitions=1&staleness_ms=10000&l1_ttl_ms=600000"

typedef struct scene {
    proxy *wire;
    latchkey *lk, *other;
    char lost[LATCHKEY_TOKEN_SIZE], heard[LATCHKEY_TOKEN_SIZE], untouched[LATCHKEY_TOKEN_SIZE];
    latchkey_stats before;
} scene;

static scene open_scene(void)
{
    scene s = {.wire = proxy_start(server->port)};
    s.other = handle_open(server, OPTIONS);
    s.lk = handle_open_at(proxy_port(s.wire), OPTIONS);
    char first[LATCHKEY_TOKEN_SIZE];
    make_session(s.other, 1, first);
    make_session(s.other, 1, s.lost);
    make_session(s.other, 2, s.heard);
    make_session(s.other, 3, s.untouched);
    assert_status(s.other, LATCHKEY_OK, end_session(s.other, first)); /* one that comes */
    wait_for(stats_of(s.lk).revocations_heard + stats_of(s.lk).purges > 0);
    warm(s.lk, s.lost);
    warm(s.lk, s.heard);
    warm(s.lk, s.untouched);
    s.before = stats_of(s.lk);
    return s;
}

static void close_scene(scene *s)
{
    handle_close(s->lk);
    handle_close(s->other);
    proxy_end(s->wire);
}

/* Ends the session of which no message arrives. */
static void lose_a_message(scene *s)
{
    proxy_set(s->wire, PROXY_DROP_ONE, s->lost, LATCHKEY_SELECTOR_LENGTH);
    assert_status(s->other, LATCHKEY_OK, end_session(s->other, s->lost));
    wait_for(proxy_holds_one(s->wire));
}

static void assert_replayed(scene *s)
{
    wait_for(try_validate(s->lk, s->lost) != LATCHKEY_OK);
    assert_status(s->lk, LATCHKEY_NOT_FOUND, validate(s->lk, s->lost));
    latchkey_stats after = stats_of(s->lk);
    assert_true(after.missed > s->before.missed && after.replayed > s->before.replayed);
    assert_int_equal(after.empties, s->before.empties);
    uint64_t reads = after.l2_reads;
    assert_status(s->lk, LATCHKEY_OK, try_validate(s->lk, s->untouched));
    assert_int_equal(stats_of(s->lk).l2_reads, reads);
}

static void test_C_lost_message_is_replayed_when_the_next_one_comes(void **state)
{
    (void)state;
    scene s = open_scene();
    lose_a_message(&s);
    assert_status(s.other, LATCHKEY_OK, end_session(s.other, s.heard));
    assert_replayed(&s);
    wait_for(try_validate(s.lk, s.heard) != LATCHKEY_OK);
    close_scene(&s);
}

static void test_C_lost_message_is_replayed_when_the_next_beat_comes(void **state)
{
    (void)state;
    scene s = open_scene();
    lose_a_message(&s);
    assert_replayed(&s);
    wait_for(stats_of(s.lk).beats > s.before.beats);
    close_scene(&s);
}

static void test_C_lost_message_beyond_the_log_empties(void **state)
{
    (void)state;
    const char *const gone[] = {"DEL lk:{0}:r", "XTRIM lk:{0}:r MAXLEN 0", "SET lk:{0}:r something"};
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++) {
        server_clean(state);
        scene s = open_scene();
        lose_a_message(&s);
        redis_do(server, gone[i]);
        wait_for(stats_of(s.lk).empties > s.before.empties);
        assert_int_not_equal(try_validate(s.lk, s.lost), LATCHKEY_OK);
        assert_status(s.lk, LATCHKEY_NOT_FOUND, validate(s.lk, s.lost));
        warm(s.lk, s.untouched);
        /* And it goes on: the next ones are applied one by one. */
        uint64_t empties = stats_of(s.lk).empties;
        assert_status(s.other, LATCHKEY_OK, end_session(s.other, s.heard));
        wait_for(try_validate(s.lk, s.heard) != LATCHKEY_OK);
        assert_status(s.lk, LATCHKEY_OK, try_validate(s.lk, s.untouched));
        assert_int_equal(stats_of(s.lk).empties, empties);
        close_scene(&s);
    }
}

/* The counter is lost, or a person deletes it: what was revoked under the old one and the new one is not known. */
static void test_C_counter_that_starts_anew_empties(void **state)
{
    (void)state;
    scene s = open_scene();
    for (int i = 0; i < 3; i++) {
        char token[LATCHKEY_TOKEN_SIZE];
        make_session(s.other, 9, token);
        assert_status(s.other, LATCHKEY_OK, end_session(s.other, token));
    }
    redis_do(server, "DEL lk:{0}:q");
    /* Also where the server that forgot is being told meanwhile what was ended before. */
    assert_status(s.other, LATCHKEY_OK, end_session(s.other, s.lost));
    wait_for(stats_of(s.lk).empties > s.before.empties);
    assert_status(s.lk, LATCHKEY_NOT_FOUND, validate(s.lk, s.lost));
    wait_for(try_validate(s.lk, s.untouched) == LATCHKEY_OK || validate(s.lk, s.untouched) == LATCHKEY_OK);
    close_scene(&s);
}

/* The wire is cut, and sessions are ended meanwhile: upon return they are purged, the others stay. */
static void test_C_reconnect_to_the_same_server_replays(void **state)
{
    (void)state;
    scene s = open_scene();
    proxy_set(s.wire, PROXY_CUT, NULL, 0);
    wait_for(stats_of(s.lk).connected == 0);
    assert_status(s.other, LATCHKEY_OK, end_session(s.other, s.lost));
    assert_status(s.other, LATCHKEY_OK, end_session(s.other, s.heard));
    proxy_set(s.wire, PROXY_RELAY, NULL, 0);
    wait_for(stats_of(s.lk).connected == 1);
    assert_replayed(&s);
    assert_status(s.lk, LATCHKEY_NOT_FOUND, validate(s.lk, s.heard));
    assert_int_equal(stats_of(s.lk).replayed - s.before.replayed, 2);
    close_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_C_lost_message_is_replayed_when_the_next_one_comes),
        TEST(test_C_lost_message_is_replayed_when_the_next_beat_comes),
        TEST(test_C_lost_message_beyond_the_log_empties),
        TEST(test_C_counter_that_starts_anew_empties),
        TEST(test_C_reconnect_to_the_same_server_replays),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}
