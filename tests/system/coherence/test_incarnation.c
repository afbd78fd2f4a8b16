/* SPDX-License-Identifier: MIT
 *
 * C where Redis itself forgets: killed and started from an old snapshot, failed over to a replica that had not heard of
 * the revocation, demoted and promoted. An instance that made or heard the revocation makes it once more before it serves a request.
 */
#include "test_handle.h"
#include "proxy.h"
#include "threads.h"

#include <stdio.h>
#include <string.h>

#define OPTIONS "staleness_ms=2000&l1_ttl_ms=600000&deadline_ms=5000"

static void test_C_revocation_lost_with_the_last_writes_is_made_once_more(void **state)
{
    (void)state;
    redis *on = redis_start(NULL);
    latchkey *revoker = handle_open(on, OPTIONS), *heard = handle_open(on, OPTIONS);
    char token[LATCHKEY_TOKEN_SIZE], kept[LATCHKEY_TOKEN_SIZE], changed[LATCHKEY_TOKEN_SIZE], key[128];
    make_session(revoker, 1, token);
    make_session(revoker, 2, kept);
    make_session(revoker, 3, changed);
    assert_status(revoker, LATCHKEY_OK, set_field(revoker, changed, "pq.k", "x"));
    warm(heard, token);
    redis_do(on, "SAVE");
    assert_status(revoker, LATCHKEY_OK, end_session(revoker, token));
    wait_for(try_validate(heard, token) != LATCHKEY_OK);
    handle_close(revoker); /* the instance that made it is gone; one that heard it is there */
    redis_kill(on);
    uint64_t reconnects = stats_of(heard).reconnects;
    redis_boot(on);
    while (stats_of(heard).reconnects == reconnects || !stats_of(heard).connected) {
        assert_int_not_equal(try_validate(heard, token), LATCHKEY_OK);
        check_pause();
    }
    assert_string_equal(session_key(on, token, key), "");
    assert_status(heard, LATCHKEY_NOT_FOUND, validate(heard, token));
    latchkey *fresh = handle_open(on, OPTIONS);
    assert_status(fresh, LATCHKEY_NOT_FOUND, validate(fresh, token));
    assert_status(fresh, LATCHKEY_OK, validate(fresh, kept));
    assert_status(fresh, LATCHKEY_OK, validate(fresh, changed)); /* announced, and not ended */
    handle_close(fresh);
    handle_close(heard);
    redis_end(on);
}

/* The server lost nothing, but its log is short: it no longer has the changes of rights. The instance still knows them. */
static void test_A_a_change_that_has_left_the_log_ends_nothing(void **state)
{
    (void)state;
    redis *on = redis_start("--appendonly", "yes", "--appendfsync", "always");
    latchkey *lk = handle_open(on, OPTIONS "&partitions=1");
    char token[LATCHKEY_TOKEN_SIZE], of_user[LATCHKEY_TOKEN_SIZE], old[LATCHKEY_TOKEN_SIZE],
        renewed[LATCHKEY_TOKEN_SIZE];
    latchkey_access access = {.size = sizeof access, .role = "admin"};
    latchkey_entry entry;
    make_session(lk, 1, token);
    make_session(lk, 2, of_user);
    make_session(lk, 3, old);
    assert_status(lk, LATCHKEY_OK, latchkey_set_access(lk, token, LATCHKEY_TOKEN_LENGTH, &access));
    assert_status(lk, LATCHKEY_OK, latchkey_set_user_access(lk, 2, &access, NULL));
    assert_status(lk, LATCHKEY_OK, set_field(lk, old, "pq.k", "x"));
    assert_status(lk, LATCHKEY_OK, latchkey_rotate(lk, old, LATCHKEY_TOKEN_LENGTH, 600000, renewed));
    char other[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 4, other);
    while (redis_integer(on, "XLEN lk:{0}:r") < 500 ||
           redis_integer(on, "EVAL %s 1 lk:{0}:r", "return #redis.call('XRANGE', KEYS[1], '-', '4')"))
        assert_status(lk, LATCHKEY_OK, latchkey_rotate(lk, other, LATCHKEY_TOKEN_LENGTH, 0, other));
    redis_kill(on);
    redis_boot(on);
    wait_for(validate(lk, other) == LATCHKEY_OK);
    assert_status(lk, LATCHKEY_OK, latchkey_validate_fresh(lk, token, LATCHKEY_TOKEN_LENGTH, 0, &entry));
    assert_string_equal(entry.role, "admin");
    assert_status(lk, LATCHKEY_OK, latchkey_validate_fresh(lk, of_user, LATCHKEY_TOKEN_LENGTH, 0, &entry));
    assert_string_equal(entry.role, "admin");
    assert_status(lk, LATCHKEY_OK, latchkey_validate_fresh(lk, old, LATCHKEY_TOKEN_LENGTH, 0, &entry));
    assert_status(lk, LATCHKEY_OK, latchkey_validate_fresh(lk, renewed, LATCHKEY_TOKEN_LENGTH, 0, &entry));
    handle_close(lk);
    redis_end(on);
}

/* Nor did this one. An instance knows of the first change of rights, has missed the second, and the log is too short for both. */
static void test_A_a_change_that_was_missed_ends_nothing(void **state)
{
    (void)state;
    redis *on = redis_start(NULL);
    proxy *wire = proxy_start(on->port);
    latchkey *maker = handle_open(on, OPTIONS "&partitions=1");
    latchkey *missing = handle_open_at(proxy_port(wire), OPTIONS "&partitions=1");
    char token[LATCHKEY_TOKEN_SIZE], other[LATCHKEY_TOKEN_SIZE];
    latchkey_access access = {.size = sizeof access, .role = "admin"};
    latchkey_entry entry;
    make_session(maker, 1, token);
    make_session(maker, 2, other);
    warm(missing, token);
    assert_status(maker, LATCHKEY_OK, latchkey_set_access(maker, token, LATCHKEY_TOKEN_LENGTH, &access));
    wait_for(try_validate(missing, token) != LATCHKEY_OK);
    proxy_set(wire, PROXY_CUT, NULL, 0);
    access.role = "guest";
    assert_status(maker, LATCHKEY_OK, latchkey_set_access(maker, token, LATCHKEY_TOKEN_LENGTH, &access));
    while (redis_integer(on, "XLEN lk:{0}:r") < 500 ||
           redis_integer(on, "EVAL %s 1 lk:{0}:r", "return #redis.call('XRANGE', KEYS[1], '-', '4')"))
        assert_status(maker, LATCHKEY_OK, latchkey_rotate(maker, other, LATCHKEY_TOKEN_LENGTH, 0, other));
    uint64_t empties = stats_of(missing).empties;
    proxy_set(wire, PROXY_RELAY, NULL, 0);
    wait_for(stats_of(missing).empties > empties && validate(missing, other) == LATCHKEY_OK);
    assert_status(missing, LATCHKEY_OK, latchkey_validate_fresh(missing, token, LATCHKEY_TOKEN_LENGTH, 0, &entry));
    assert_string_equal(entry.role, "guest");
    handle_close(missing);
    handle_close(maker);
    proxy_end(wire);
    redis_end(on);
}

static void test_C_promoted_replica_that_lacks_the_revocation_is_told(void **state)
{
    (void)state;
    char port[16], key[128], token[LATCHKEY_TOKEN_SIZE], kept[LATCHKEY_TOKEN_SIZE];
    redis *primary = redis_start(NULL);
    snprintf(port, sizeof port, "%d", primary->port);
    redis *replica = redis_start("--replicaof", "127.0.0.1", port);
    proxy *wire = proxy_start(primary->port);
    latchkey *lk = handle_open_at(proxy_port(wire), OPTIONS);
    make_session(lk, 1, token);
    make_session(lk, 2, kept);
    wait_for(*session_key(replica, token, key) && *session_key(replica, kept, key));
    redis_do(replica, "REPLICAOF NO ONE"); /* from here on nothing reaches it */
    wait_for(end_session(lk, token) >= LATCHKEY_OK);
    assert_true(*session_key(replica, token, key));
    proxy_aim(wire, replica->port);
    redis_kill(primary);
    while (validate(lk, kept) != LATCHKEY_OK) {
        assert_int_not_equal(validate(lk, token), LATCHKEY_OK);
        check_pause();
    }
    int status;
    do { /* a connection to the old one may still be found broken; and what was said there counts under its lease */
        status = validate(lk, token);
        assert_status_in(lk, status, LATCHKEY_NOT_FOUND, LATCHKEY_UNAVAILABLE);
    } while (status != LATCHKEY_NOT_FOUND || *session_key(replica, token, key));
    handle_close(lk);
    proxy_end(wire);
    redis_end(replica);
    redis_end(primary);
}

/* Before it is told, the token is exchanged there, for one that was never revoked. */
static void test_C_promoted_replica_that_exchanged_the_revoked_token_is_told(void **state)
{
    (void)state;
    char port[16], key[128], token[LATCHKEY_TOKEN_SIZE], renewed[LATCHKEY_TOKEN_SIZE];
    redis *primary = redis_start(NULL);
    snprintf(port, sizeof port, "%d", primary->port);
    redis *replica = redis_start("--replicaof", "127.0.0.1", port);
    proxy *wire = proxy_start(primary->port);
    latchkey *lk = handle_open_at(proxy_port(wire), OPTIONS);
    make_session(lk, 1, token);
    wait_for(*session_key(replica, token, key));
    redis_do(replica, "REPLICAOF NO ONE"); /* from here on nothing reaches it */
    assert_status(lk, LATCHKEY_OK, end_session(lk, token));
    latchkey *other = handle_open(replica, OPTIONS);
    assert_status(other, LATCHKEY_OK, latchkey_rotate(other, token, LATCHKEY_TOKEN_LENGTH, 60000, renewed));
    assert_status(other, LATCHKEY_OK, validate(other, renewed));
    uint64_t reconnects = stats_of(lk).reconnects;
    proxy_aim(wire, replica->port);
    redis_kill(primary);
    wait_for(stats_of(lk).reconnects > reconnects && stats_of(lk).connected);
    wait_for(validate(lk, renewed) == LATCHKEY_NOT_FOUND);
    assert_string_equal(session_key(replica, renewed, key), "");
    wait_for(validate(other, renewed) == LATCHKEY_NOT_FOUND);
    size_t total;
    assert_status(lk, LATCHKEY_OK, latchkey_sessions(lk, 1, NULL, 0, NULL, 0, &total));
    assert_int_equal(total, 0);
    handle_close(other);
    handle_close(lk);
    proxy_end(wire);
    redis_end(replica);
    redis_end(primary);
}

/* It keeps its run id, its role when looked at, and its numbers: the replication id alone tells. */
static void test_C_server_demoted_and_promoted_between_two_beats_is_another(void **state)
{
    (void)state;
    redis *on = redis_start(NULL);
    latchkey *lk = handle_open(on, "staleness_ms=2000&l1_ttl_ms=600000");
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 1, token);
    warm(lk, token);
    uint64_t empties = stats_of(lk).empties;
    redis_do(on, "REPLICAOF 127.0.0.1 1");
    redis_do(on, "REPLICAOF NO ONE");
    wait_for(stats_of(lk).empties > empties);
    warm(lk, token);
    handle_close(lk);
    redis_end(on);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_C_revocation_lost_with_the_last_writes_is_made_once_more),
        TEST(test_A_a_change_that_has_left_the_log_ends_nothing),
        TEST(test_A_a_change_that_was_missed_ends_nothing),
        TEST(test_C_promoted_replica_that_lacks_the_revocation_is_told),
        TEST(test_C_promoted_replica_that_exchanged_the_revoked_token_is_told),
        TEST(test_C_server_demoted_and_promoted_between_two_beats_is_another),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}
