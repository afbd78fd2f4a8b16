/* SPDX-License-Identifier: MIT
 *
 * A, and what follows from it: Redis goes away, comes back with its data or without, or drops the connections; the
 * answer meanwhile is UNAVAILABLE, and afterwards nothing from before is served unasked.
 */
#include "test_handle.h"
#include "proxy.h"
#include "threads.h"

#include <stdio.h>
#include <string.h>

enum { TICK_MS = 20 };

/* Validates until Redis' absence shows, and asserts that nothing but OK (while the lease lasts) and UNAVAILABLE was
 * answered, and no OK to a call that started past the bound. */
static void assert_fails_closed(latchkey *lk, const char *token, int64_t gone_ms, int64_t staleness_ms)
{
    int64_t limit = check_now_ms() + CHECK_PATIENCE_MS;
    int unavailable = 0;
    while (unavailable < 5 || check_now_ms() < gone_ms + staleness_ms + 500) {
        int64_t started = check_now_ms();
        int status = validate(lk, token);
        assert_status_in(lk, status, LATCHKEY_OK, LATCHKEY_UNAVAILABLE);
        if (status == LATCHKEY_OK && started > gone_ms + staleness_ms + TICK_MS)
            fail_msg("admitted %lld ms after Redis had gone", (long long)(started - gone_ms));
        unavailable += status == LATCHKEY_UNAVAILABLE;
        if (status == LATCHKEY_OK) check_pause();
        assert_true(check_now_ms() < limit);
    }
}

/* Each write is in the kernel's hands before it is answered, and a killed process takes nothing from there. */
static redis *start_lasting(void) { return redis_start("--appendonly", "yes", "--appendfsync", "no"); }

static void test_A_redis_dies_and_comes_back_with_its_data(void **state)
{
    (void)state;
    redis *on = start_lasting();
    latchkey *lk = handle_open(on, "staleness_ms=1000&deadline_ms=1000");
    char token[LATCHKEY_TOKEN_SIZE], gone[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 1, token);
    make_session(lk, 2, gone);
    assert_status(lk, LATCHKEY_OK, end_session(lk, gone));
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
    redis_kill(on);
    int64_t gone_ms = check_now_ms();
    assert_fails_closed(lk, token, gone_ms, 1000);
    assert_status(lk, LATCHKEY_UNAVAILABLE, validate(lk, gone));
    assert_status(lk, LATCHKEY_UNAVAILABLE, touch(lk, token));
    assert_status(lk, LATCHKEY_UNAVAILABLE, load(lk, token));
    assert_status(lk, LATCHKEY_UNAVAILABLE, set_field(lk, token, "note", "x"));
    assert_status(lk, LATCHKEY_UNAVAILABLE, latchkey_prewarm(lk, 10, NULL));
    latchkey_draft draft = {.size = sizeof draft, .user_id = 3};
    char none[LATCHKEY_TOKEN_SIZE] = "x";
    assert_status(lk, LATCHKEY_UNAVAILABLE, latchkey_create(lk, &draft, none));
    assert_int_equal(none[0], 0);
    assert_true(stats_of(lk).l2_errors > 0);
    assert_true(stats_of(lk).last_error[0] != 0);
    wait_for(stats_of(lk).connected == 0);

    redis_boot(on);
    int status;
    while ((status = validate(lk, token)) != LATCHKEY_OK) {
        assert_status(lk, LATCHKEY_UNAVAILABLE, status);
        check_pause();
    }
    wait_for(validate(lk, gone) != LATCHKEY_UNAVAILABLE);
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, gone));
    wait_for(stats_of(lk).connected == 1);
    assert_true(stats_of(lk).reconnects >= 1);
    assert_true(stats_of(lk).empties >= 1);
    wait_for(try_validate(lk, token) == LATCHKEY_OK || validate(lk, token) != LATCHKEY_OK);
    make_session(lk, 4, none);
    assert_status(lk, LATCHKEY_OK, end_session(lk, none));
    handle_close(lk);
    redis_end(on);
}

static void test_A_redis_comes_back_without_its_data(void **state)
{
    (void)state;
    redis *on = redis_start(NULL);
    latchkey *lk = handle_open(on, "staleness_ms=60000&l1_ttl_ms=600000&deadline_ms=2000");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 1, token);
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
    uint64_t empties = stats_of(lk).empties;
    redis_kill(on);
    redis_boot(on);
    /* The lease would last for a minute; the new incarnation ends it: L1 is emptied, and Redis knows no session. */
    wait_for(stats_of(lk).reconnects >= 1 && stats_of(lk).connected == 1);
    assert_true(stats_of(lk).empties > empties);
    wait_for(validate(lk, token) == LATCHKEY_NOT_FOUND);
    /* The scripts are gone there, and the number of partitions: both come back by themselves. */
    make_session(lk, 1, token);
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
    wait_for(redis_integer(on, "EXISTS lk:{0}:m") == 1);
    handle_close(lk);
    redis_end(on);
}

/* The server comes back as one that was set up with another number of partitions: a handle that has been open all the
 * time gets no lease from it, so L1 answers nothing, and it says why. */
static void test_A_another_number_of_partitions_after_a_restart_gives_no_lease(void **state)
{
    (void)state;
    redis *on = start_lasting();
    latchkey *lk = handle_open(on, "staleness_ms=500&deadline_ms=2000");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 1, token);
    redis_do(on, "HSET lk:{0}:m partitions 128");
    redis_kill(on);
    redis_boot(on);
    wait_for(strstr(stats_of(lk).last_error, "partitions"));
    assert_int_equal(stats_of(lk).connected, 0);
    validate(lk, token);
    wait_for(try_validate(lk, token) != LATCHKEY_OK);
    redis_do(on, "HSET lk:{0}:m partitions 64");
    wait_for(validate(lk, token) == LATCHKEY_OK && try_validate(lk, token) == LATCHKEY_OK);
    handle_close(lk);
    redis_end(on);
}

static void test_A_killed_connections_are_made_anew(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "staleness_ms=2000");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 1, token);
    const char *kinds[] = {"normal", "pubsub", "normal", "pubsub"};
    for (size_t i = 0; i < 4; i++) {
        uint64_t reconnects = stats_of(lk).reconnects;
        assert_status(lk, LATCHKEY_OK, validate(lk, token));
        redis_do(server, "CLIENT KILL TYPE %s", kinds[i]);
        /* Pooled connections: at most the first call meets the dead one, and says UNAVAILABLE if it does. */
        for (int j = 0; j < 100; j++) {
            int status = validate(lk, token);
            assert_status_in(lk, status, LATCHKEY_OK, LATCHKEY_UNAVAILABLE);
        }
        if (strcmp(kinds[i], "pubsub") == 0)
            wait_for(stats_of(lk).reconnects > reconnects && stats_of(lk).connected == 1);
        wait_for(validate(lk, token) == LATCHKEY_OK);
        wait_for(touch(lk, token) == LATCHKEY_OK);
        wait_for(load(lk, token) == LATCHKEY_OK);
    }
    wait_for(stats_of(lk).connected == 1);
    assert_status(lk, LATCHKEY_OK, end_session(lk, token));
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, token));
}

/* What was revoked while the subscription was down is not admitted after it is back; the rest of L1 stays. */
static void test_C_l1_is_brought_up_to_date_upon_reconnect(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "staleness_ms=60000&l1_ttl_ms=600000"), *other = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE], untouched[LATCHKEY_TOKEN_SIZE];
    make_session(other, 2, untouched);
    warm(lk, untouched);
    uint64_t empties = stats_of(lk).empties;
    for (int i = 0; i < 10; i++) {
        make_session(other, 1, token);
        warm(lk, token);
        uint64_t reconnects = stats_of(lk).reconnects;
        redis_do(server, "CLIENT KILL TYPE pubsub");
        wait_for(end_session(other, token) >= LATCHKEY_OK);
        wait_for(stats_of(lk).reconnects > reconnects && stats_of(lk).connected == 1);
        assert_int_not_equal(try_validate(lk, token), LATCHKEY_OK);
        wait_for(validate(lk, token) == LATCHKEY_NOT_FOUND);
        assert_status(lk, LATCHKEY_OK, try_validate(lk, untouched));
    }
    assert_int_equal(stats_of(lk).empties, empties);
}

static void test_lazy_open_waits_for_redis(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE], error[256];
    redis *on = start_lasting();
    latchkey *before = handle_open(on, "");
    make_session(before, 1, token);
    handle_close(before);
    redis_kill(on);

    latchkey *eager = (latchkey *)(uintptr_t)1;
    char config[256];
    handle_config(on, 0, "deadline_ms=1000", config, sizeof config);
    assert_status(NULL, LATCHKEY_UNAVAILABLE, latchkey_open(config, &eager, error, sizeof error));
    assert_null(eager);
    assert_true(error[0] != 0);

    latchkey *lk = handle_open(on, "lazy=1&deadline_ms=1000");
    assert_status(lk, LATCHKEY_UNAVAILABLE, validate(lk, token));
    assert_status(lk, LATCHKEY_AGAIN, try_validate(lk, token));
    assert_status(lk, LATCHKEY_UNAVAILABLE, touch(lk, token));
    assert_status(lk, LATCHKEY_UNAVAILABLE, load(lk, token));
    assert_int_equal(stats_of(lk).connected, 0);
    assert_int_equal(stats_of(lk).lease_age_ms, -1);
    redis_boot(on);
    wait_for(validate(lk, token) == LATCHKEY_OK);
    wait_for(stats_of(lk).connected == 1);
    wait_for(validate(lk, token) == LATCHKEY_OK && try_validate(lk, token) == LATCHKEY_OK);
    handle_close(lk);
    redis_end(on);
}

/* lazy does not excuse what can be known without Redis. */
static void test_lazy_open_still_reads_its_configuration(void **state)
{
    (void)state;
    latchkey *lk;
    char error[256];
    assert_status(NULL, LATCHKEY_CONFIG,
                  latchkey_open("redis://127.0.0.1:1?lazy=1&deadline_ms=0", &lk, error, sizeof error));
    assert_contains(error, "deadline_ms");
    assert_status(NULL, LATCHKEY_CONFIG,
                  latchkey_open("redis://127.0.0.1:1?lazy=1&password_file=/nowhere/at/all", &lk, error, sizeof error));
    assert_contains(error, "password_file");
}

static void test_close_is_prompt_while_redis_is_away(void **state)
{
    (void)state;
    redis *on = redis_start(NULL);
    latchkey *lk = handle_open(on, "deadline_ms=60000");
    redis_freeze(on);
    int64_t start = check_now_ms();
    handle_close(lk);
    assert_true(check_now_ms() - start < 30000);
    redis_thaw(on);
    lk = handle_open(on, "deadline_ms=60000");
    redis_kill(on);
    start = check_now_ms();
    handle_close(lk);
    assert_true(check_now_ms() - start < 30000);
    redis_end(on);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_A_redis_dies_and_comes_back_with_its_data),
        TEST(test_A_redis_comes_back_without_its_data),
        TEST(test_A_another_number_of_partitions_after_a_restart_gives_no_lease),
        TEST(test_A_killed_connections_are_made_anew),
        TEST(test_C_l1_is_brought_up_to_date_upon_reconnect),
        TEST(test_lazy_open_waits_for_redis),
        TEST(test_lazy_open_still_reads_its_configuration),
        TEST(test_close_is_prompt_while_redis_is_away),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}
