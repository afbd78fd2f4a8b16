/* SPDX-License-Identifier: MIT
 *
 * Bugs that were: Redis' clock was ahead for a while, and then set right. What times in Redis say of the order of things, of who
 * is alive, and of who is young, is not so then. Here the times are written as such a clock would have left them.
 */
#include "logbook.h"
#include "test_handle.h"

#include <string.h>

enum { USER = 42, LENGTH = LATCHKEY_TOKEN_LENGTH, HOUR = 3600000, CREATED = 112 };

/* As if it had been made by a clock that was so much ahead. */
static void made_ahead(const char *token, int64_t ms)
{
    char key[128];
    redisReply *v = redis_command(server, "HGET %s v", session_key(server, token, key));
    assert_int_equal(v->len, 184);
    int64_t times[3];
    memcpy(times, v->str + CREATED, 16);
    memcpy(&times[2], v->str + 40, 8);
    for (int i = 0; i < 3; i++) times[i] += ms;
    memcpy(v->str + CREATED, times, 16);
    memcpy(v->str + 40, &times[2], 8);
    redis_do(server, "HSET %s v %b", key, v->str, v->len);
    freeReplyObject(v);
}

/* So many that one run of the script does not do: the second one took all that had been made "later" for new logins. */
static void test_revoke_user_ends_all_whatever_they_say_of_their_age(void **state)
{
    (void)state;
    enum { MANY = 1200 };
    latchkey *lk = handle_open(server, "partitions=1&deadline_ms=60000");
    char token[LATCHKEY_TOKEN_SIZE], kept[LATCHKEY_TOKEN_SIZE];
    size_t revoked = 0;
    for (int i = 0; i < MANY; i++) {
        make_session(lk, USER, token);
        made_ahead(token, HOUR);
    }
    make_session(lk, USER, kept);
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_user(lk, USER, kept, LENGTH, &revoked));
    assert_int_equal(revoked, MANY);
    assert_int_equal(sessions_of(lk, USER), 1);
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, token));
    assert_status(lk, LATCHKEY_OK, validate(lk, kept));
}

/* The clock was ahead when another session of the user began: this one's time seemed to be over, and it left the list. */
static void test_what_seemed_to_be_over_is_not_forgotten(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "partitions=1&max_sessions=2&limit=deny");
    char token[2][LATCHKEY_TOKEN_SIZE], third[LATCHKEY_TOKEN_SIZE];
    size_t revoked = 0;
    make_session(lk, USER, token[0]);
    redis_do(server, "ZADD lk:{0}:u:%d XX 1 %b", USER, token[0], (size_t)20);
    make_session(lk, USER, token[1]);
    redis_do(server, "ZADD lk:{0}:u:%d XX 2 %b", USER, token[1], (size_t)20);
    assert_int_equal(sessions_of(lk, USER), 2);
    assert_status(lk, LATCHKEY_LIMIT, create_with(lk, USER, 0, third));
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_user(lk, USER, NULL, 0, &revoked));
    assert_int_equal(revoked, 2);
    for (int i = 0; i < 2; i++) assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, token[i]));
}

/* All sessions were ended by a clock that was a day ahead. Who logs in afterwards lives no longer than lifetime_ms for that, and
 * ages like any other; and everything else works. */
static void test_after_a_cut_off_to_come_lifetimes_and_ages_are_right(void **state)
{
    (void)state;
    latchkey *maker = handle_open(server, "partitions=1&lifetime_ms=7200000&idle_ms=7200000");
    char before[LATCHKEY_TOKEN_SIZE], token[LATCHKEY_TOKEN_SIZE], renewed[LATCHKEY_TOKEN_SIZE], key[128];
    make_session(maker, USER, before);
    long long now_ms = redis_integer(server, "EVAL %s 0", "return redis.call('TIME')[1] * 1000");
    redis_do(server, "SET lk:{0}:e %lld", now_ms + 24 * HOUR);
    redis_do(server, "DEL lk:{0}:a");
    latchkey *lk =
        handle_open(server, "partitions=1&renew_ms=10000&l1_ttl_ms=1000&lifetime_ms=7200000&idle_ms=7200000");
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, before));
    make_session(lk, USER, token);
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
    assert_in_range(redis_integer(server, "PTTL %s", session_key(server, token, key)), 7000000, 7200000);
    redis_do(server, "PEXPIRE %s 60000", key);
    assert_status(lk, LATCHKEY_OK, touch(lk, token));
    assert_in_range(redis_integer(server, "PTTL %s", key), 7000000, 7200000); /* 5,000 or so were not added */
    int64_t made_ms = check_now_ms();
    wait_for(entry_of(lk, token).flags & LATCHKEY_FLAG_RENEW);
    assert_true(check_now_ms() - made_ms >= 5000);
    assert_status(lk, LATCHKEY_OK, latchkey_rotate(lk, token, LENGTH, 0, renewed));
    assert_false(entry_of(lk, renewed).flags & LATCHKEY_FLAG_RENEW);
    assert_int_equal(sessions_of(lk, USER), 1);
    assert_status(lk, LATCHKEY_OK, end_session(lk, renewed));
}

/* Ended with all others is ended: it was OK, and told, a second time. */
static void test_what_was_ended_with_all_others_is_not_found(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "partitions=1&events=1");
    char token[2][LATCHKEY_TOKEN_SIZE];
    for (int i = 0; i < 2; i++) make_session(lk, USER, token[i]);
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_everyone(lk));
    logbook_open();
    assert_status(lk, LATCHKEY_NOT_FOUND, end_session(lk, token[0]));
    assert_status(lk, LATCHKEY_NOT_FOUND, latchkey_revoke_selector(lk, USER, token[1]));
    assert_false(logbook_has("event: revoked"));
    logbook_close();
}

/* A token that stands for a session after its grace tells of a theft, wherever it is shown: its session ended without a word. */
static void test_a_token_to_keep_that_is_over_is_told(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "partitions=1&events=1");
    char old[LATCHKEY_TOKEN_SIZE], renewed[LATCHKEY_TOKEN_SIZE], mine[LATCHKEY_TOKEN_SIZE];
    size_t revoked = 0;
    make_session(lk, USER, mine);
    make_session(lk, USER + 1, old);
    assert_status(lk, LATCHKEY_OK, latchkey_rotate(lk, old, LENGTH, 1, renewed));
    assert_status(lk, LATCHKEY_OK, validate(lk, renewed));
    int64_t rotated_ms = check_now_ms();
    wait_for(check_now_ms() > rotated_ms + 5);
    uint64_t reuses = stats_of(lk).reuses;
    logbook_open();
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_user(lk, USER, old, LENGTH, &revoked));
    assert_int_equal(revoked, 1);
    assert_int_equal(stats_of(lk).reuses, reuses + 1);
    assert_true(logbook_has("event: reuse"));
    logbook_close();
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, renewed));
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, mine));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_revoke_user_ends_all_whatever_they_say_of_their_age),
        TEST(test_what_seemed_to_be_over_is_not_forgotten),
        TEST(test_after_a_cut_off_to_come_lifetimes_and_ages_are_right),
        TEST(test_what_was_ended_with_all_others_is_not_found),
        TEST(test_a_token_to_keep_that_is_over_is_told),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}
