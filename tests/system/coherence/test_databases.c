/* SPDX-License-Identifier: MIT
 *
 * Redis' channels know no databases: two deployments with one prefix in two databases of a server hear each other. What one
 * of them ends, changes or empties is nothing to the other. (Guarantees A, C.)
 */
#include "test_handle.h"
#include "logbook.h"

#include <stdio.h>
#include <string.h>

#define OPTIONS "partitions=2&staleness_ms=20000"

static int no_log_and_close_all(void **state)
{
    int bad = handle_close_all(state);
    logbook_close();
    return bad;
}

/* The newest cut-off of both partitions, as the database holds it; 0: none. */
static long long cutoff(int database)
{
    char text[32];
    long long newest = 0;
    redis_do(server, "SELECT %d", database);
    for (int p = 0; p < 2; p++) {
        redis_text(server, text, sizeof text, "GET lk:{%d}:e", p);
        if (atoll(text) > newest) newest = atoll(text);
    }
    redis_do(server, "SELECT 0");
    return newest;
}

static void test_C_revoke_everyone_ends_the_sessions_of_its_own_database(void **state)
{
    (void)state;
    latchkey *zero = handle_open(server, OPTIONS), *one = handle_open(server, "db=1&" OPTIONS);
    latchkey *other_one = handle_open(server, "db=1&" OPTIONS);
    char kept[LATCHKEY_TOKEN_SIZE], ended[LATCHKEY_TOKEN_SIZE], later[LATCHKEY_TOKEN_SIZE];
    make_session(zero, 1, kept);
    make_session(one, 1, ended);
    warm(zero, kept);
    warm(other_one, ended);
    uint64_t empties = stats_of(zero).empties;
    assert_status(one, LATCHKEY_OK, latchkey_revoke_everyone(one));
    wait_for(try_validate(other_one, ended) != LATCHKEY_OK); /* so the messages came, to all who subscribed */
    long long told = cutoff(1);
    assert_true(told > 0);
    /* A revocation of its own comes behind them: by then all of the other database were heard. */
    char mark[LATCHKEY_TOKEN_SIZE];
    latchkey *other_zero = handle_open(server, OPTIONS);
    make_session(zero, 2, mark);
    warm(zero, mark);
    assert_status(other_zero, LATCHKEY_OK, end_session(other_zero, mark));
    wait_for(try_validate(zero, mark) != LATCHKEY_OK);
    assert_status(zero, LATCHKEY_OK, try_validate(zero, kept));
    assert_int_equal(stats_of(zero).empties, empties);
    assert_int_equal(cutoff(0), 0);
    /* They stay apart: who logs in stays logged in, and no cut-off grows any more. */
    make_session(one, 1, later);
    warm(other_one, later);
    for (int i = 0; i < 50; i++) check_pause();
    assert_status(other_one, LATCHKEY_OK, try_validate(other_one, later));
    assert_int_equal(cutoff(1), told);
    assert_int_equal(cutoff(0), 0);
}

static void test_C_a_revocation_is_heard_in_its_own_database_alone(void **state)
{
    (void)state;
    latchkey *zero = handle_open(server, OPTIONS), *one = handle_open(server, "db=1&" OPTIONS);
    latchkey *other_one = handle_open(server, "db=1&" OPTIONS);
    char kept[LATCHKEY_TOKEN_SIZE], ended[LATCHKEY_TOKEN_SIZE];
    make_session(zero, 1, kept);
    warm(zero, kept);
    logbook_open();
    uint64_t empties = stats_of(zero).empties;
    for (int i = 0; i < 20; i++) {
        make_session(one, 1, ended);
        warm(other_one, ended);
        assert_status(one, LATCHKEY_OK, end_session(one, ended));
        wait_for(try_validate(other_one, ended) != LATCHKEY_OK); /* by its message: no beat is near */
    }
    latchkey_stats s = stats_of(zero);
    assert_status(zero, LATCHKEY_OK, try_validate(zero, kept));
    assert_int_equal(s.empties, empties);
    assert_int_equal(s.purges, 0);
    assert_int_equal(s.missed, 0);
    assert_false(logbook_has("l1: "));
}

#define LOGGED(name) cmocka_unit_test_setup_teardown(name, server_clean, no_log_and_close_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOGGED(test_C_revoke_everyone_ends_the_sessions_of_its_own_database),
        LOGGED(test_C_a_revocation_is_heard_in_its_own_database_alone),
    };
    return cmocka_run_group_tests_name("databases", tests, server_start, server_end);
}
