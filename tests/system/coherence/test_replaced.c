/* SPDX-License-Identifier: MIT
 *
 * A data set that is replaced in place by an older one: the same server, the same run id, the same replication id, and all
 * connections stay. To every handle that is another server, which forgot. What was revoked stays revoked, what was changed is
 * not given back. (Guarantees B, C.)
 */
#include "test_handle.h"
#include "logbook.h"

#include <stdio.h>
#include <string.h>

#define OPTIONS "staleness_ms=2000&l1_ttl_ms=600000&deadline_ms=5000"

static redis *replaceable(void) { return redis_start("--enable-debug-command", "yes"); }

/* What was there at the last SAVE is there again. */
static void replace(redis *on) { redis_do(on, "DEBUG RELOAD NOSAVE"); }

static int set_role(latchkey *lk, const char *token, const char *role)
{
    const latchkey_access access = {.size = sizeof access, .role = role};
    return latchkey_set_access(lk, token, LATCHKEY_TOKEN_LENGTH, &access);
}

static void test_B_C_what_was_revoked_stays_revoked(void **state)
{
    (void)state;
    redis *on = replaceable();
    latchkey *revoker = handle_open(on, OPTIONS), *heard = handle_open(on, OPTIONS);
    char token[LATCHKEY_TOKEN_SIZE], kept[LATCHKEY_TOKEN_SIZE], key[128];
    make_session(revoker, 1, token);
    make_session(revoker, 2, kept);
    warm(heard, token);
    redis_do(on, "SAVE");
    assert_status(revoker, LATCHKEY_OK, end_session(revoker, token));
    wait_for(try_validate(heard, token) != LATCHKEY_OK);
    uint64_t reconnects = stats_of(revoker).reconnects;
    replace(on);
    assert_true(*session_key(on, token, key));
    do { /* from the first moment on, and for good: by both who know */
        assert_int_not_equal(validate(revoker, token), LATCHKEY_OK);
        assert_int_not_equal(load(revoker, token), LATCHKEY_OK);
        assert_int_not_equal(validate(heard, token), LATCHKEY_OK);
        check_pause();
    } while (*session_key(on, token, key)); /* until one of them has told the server */
    latchkey *fresh = handle_open(on, OPTIONS);
    assert_status(fresh, LATCHKEY_NOT_FOUND, validate(fresh, token));
    assert_status(fresh, LATCHKEY_OK, validate(fresh, kept));
    assert_int_equal(stats_of(revoker).reconnects, reconnects);
    redis_end(on);
}

static void test_C_what_was_changed_is_not_given_back(void **state)
{
    (void)state;
    redis *on = replaceable();
    latchkey *changer = handle_open(on, OPTIONS), *other = handle_open(on, OPTIONS);
    char before[LATCHKEY_TOKEN_SIZE], after[LATCHKEY_TOKEN_SIZE], keys[LATCHKEY_TOKEN_SIZE], key[128];
    make_session(changer, 1, before);
    make_session(changer, 2, after);
    make_session(changer, 3, keys);
    assert_status(changer, LATCHKEY_OK, set_role(changer, before, "reader"));
    warm(other, after);
    redis_do(on, "SAVE");
    assert_status(changer, LATCHKEY_OK, set_role(changer, after, "reader"));
    assert_status(changer, LATCHKEY_OK, set_field(changer, keys, "pq.k", "new"));
    replace(on);
    wait_for(!*session_key(on, after, key) && !*session_key(on, keys, key));
    assert_status(changer, LATCHKEY_NOT_FOUND, validate(changer, after));
    assert_status(other, LATCHKEY_NOT_FOUND, validate(other, after));
    assert_status(other, LATCHKEY_NOT_FOUND, validate(other, keys));
    assert_status(changer, LATCHKEY_OK, validate(changer, before)); /* the server knows of that change */
    assert_string_equal(entry_of(changer, before).role, "reader");
    redis_end(on);
}

/* Many at once, a user's, and remembered by the handle that changed them alone. */
static void test_C_what_was_changed_of_a_user_is_not_given_back(void **state)
{
    (void)state;
    enum { MANY = 150 };
    redis *on = replaceable();
    latchkey *changer = handle_open(on, OPTIONS);
    static char tokens[MANY][LATCHKEY_TOKEN_SIZE];
    char key[128];
    for (int i = 0; i < MANY; i++) make_session(changer, 7, tokens[i]);
    redis_do(on, "SAVE");
    const latchkey_access access = {.size = sizeof access, .role = "reader"};
    assert_status(changer, LATCHKEY_OK, latchkey_set_user_access(changer, 7, &access, NULL));
    replace(on);
    for (int i = 0; i < MANY; i++) wait_for(!*session_key(on, tokens[i], key));
    for (int i = 0; i < MANY; i++) assert_status(changer, LATCHKEY_NOT_FOUND, validate(changer, tokens[i]));
    redis_end(on);
}

static void test_C_a_cut_off_is_not_forgotten(void **state)
{
    (void)state;
    redis *on = replaceable();
    latchkey *lk = handle_open(on, OPTIONS);
    char token[LATCHKEY_TOKEN_SIZE], later[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 1, token);
    redis_do(on, "SAVE");
    assert_status(lk, LATCHKEY_OK, latchkey_revoke_everyone(lk));
    replace(on);
    latchkey *fresh = handle_open(on, OPTIONS);
    wait_for(validate(fresh, token) == LATCHKEY_NOT_FOUND);
    assert_int_not_equal(validate(lk, token), LATCHKEY_OK);
    make_session(fresh, 1, later);
    wait_for(validate(lk, later) == LATCHKEY_OK);
    redis_end(on);
}

/* In two steps: first there is nothing, and that is noticed; then come the sessions of before, and no number goes back. */
static void test_C_a_data_set_that_comes_back_later_is_told_too(void **state)
{
    (void)state;
    redis *on = replaceable();
    latchkey *revoker = handle_open(on, OPTIONS "&partitions=1");
    char token[LATCHKEY_TOKEN_SIZE], key[128];
    make_session(revoker, 1, token);
    session_key(on, token, key);
    redisReply *dump = redis_command(on, "DUMP %s", key);
    assert_status(revoker, LATCHKEY_OK, end_session(revoker, token));
    wait_for(stats_of(revoker).revocations_heard == 1);
    uint64_t empties = stats_of(revoker).empties;
    redis_do(on, "FLUSHALL");
    wait_for(stats_of(revoker).empties >= empties + 2); /* as it is met, and behind its first beat */
    redis_do(on, "DEL lk:{0}:q");
    redisReply *restored = redis_command(on, "RESTORE %s 600000 %b", key, dump->str, dump->len);
    assert_int_equal(restored->type, REDIS_REPLY_STATUS);
    freeReplyObject(restored);
    freeReplyObject(dump);
    wait_for(!*session_key(on, token, key));
    latchkey *fresh = handle_open(on, OPTIONS "&partitions=1");
    assert_status(fresh, LATCHKEY_NOT_FOUND, validate(fresh, token));
    redis_end(on);
}

/* No revocation was ever made, so no number goes back: the sessions are gone all the same, and no call for all of the user's
 * sessions could find them. The handles have had beats since they put the sessions into L1. */
static void what_lacks_only_logins(const char *how)
{
    redis *on = replaceable();
    latchkey *maker = handle_open(on, OPTIONS), *other = handle_open(on, OPTIONS);
    char made[LATCHKEY_TOKEN_SIZE], both[LATCHKEY_TOKEN_SIZE];
    redis_do(on, "SAVE");
    make_session(maker, 7, made);
    make_session(maker, 8, both);
    warm(maker, made);
    warm(maker, both);
    warm(other, both);
    uint64_t beats = stats_of(maker).beats, others = stats_of(other).beats;
    wait_for(stats_of(maker).beats >= beats + 2 && stats_of(other).beats >= others + 2);
    redis_do(on, how);
    wait_for(try_validate(maker, made) != LATCHKEY_OK && try_validate(maker, both) != LATCHKEY_OK);
    wait_for(try_validate(other, both) != LATCHKEY_OK);
    assert_status(maker, LATCHKEY_OK, latchkey_revoke_user(maker, 8, NULL, 0, NULL));
    assert_int_not_equal(validate(maker, both), LATCHKEY_OK);
    assert_status(other, LATCHKEY_NOT_FOUND, validate(other, both));
    redis_end(on);
}

static void test_C_sessions_that_a_restore_took_are_not_admitted(void **state)
{
    (void)state;
    what_lacks_only_logins("DEBUG RELOAD NOSAVE");
}

static void test_C_sessions_that_flushall_took_are_not_admitted(void **state)
{
    (void)state;
    what_lacks_only_logins("FLUSHALL");
}

/* It is said, and once. */
static void test_it_is_said(void **state)
{
    (void)state;
    redis *on = replaceable();
    latchkey *lk = handle_open(on, OPTIONS);
    char token[LATCHKEY_TOKEN_SIZE], key[128];
    make_session(lk, 1, token);
    redis_do(on, "SAVE");
    assert_status(lk, LATCHKEY_OK, end_session(lk, token));
    logbook_open();
    replace(on);
    wait_for(!*session_key(on, token, key));
    wait_for(logbook_has("Redis counts its revocations anew"));
    assert_contains(stats_of(lk).last_error, "Redis counts its revocations anew");
    logbook_close();
    redis_end(on);
}

/* What is ended again is counted again. The count must not come to the number that was known: an instance that was away meanwhile would
 * take the data for those that it knew, and keep sessions that are no longer there. */
static void test_C_the_count_goes_on_beyond_what_was_known(void **state)
{
    (void)state;
    redis *on = replaceable();
    latchkey *lk = handle_open(on, OPTIONS "&partitions=1");
    char token[LATCHKEY_TOKEN_SIZE], key[128];
    make_session(lk, 1, token);
    redis_do(on, "SAVE");
    assert_status(lk, LATCHKEY_OK, end_session(lk, token));
    long long known = redis_integer(on, "INCRBY lk:{0}:q 0");
    replace(on);
    assert_true(redis_integer(on, "INCRBY lk:{0}:q 0") < known);
    wait_for(!*session_key(on, token, key));
    assert_true(redis_integer(on, "INCRBY lk:{0}:q 0") > known);
    redis_end(on);
}

#define HANDLES(name) cmocka_unit_test_teardown(name, handle_close_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HANDLES(test_B_C_what_was_revoked_stays_revoked),
        HANDLES(test_C_what_was_changed_is_not_given_back),
        HANDLES(test_C_what_was_changed_of_a_user_is_not_given_back),
        HANDLES(test_C_a_cut_off_is_not_forgotten),
        HANDLES(test_C_a_data_set_that_comes_back_later_is_told_too),
        HANDLES(test_C_sessions_that_a_restore_took_are_not_admitted),
        HANDLES(test_C_sessions_that_flushall_took_are_not_admitted),
        HANDLES(test_C_the_count_goes_on_beyond_what_was_known),
        HANDLES(test_it_is_said),
    };
    return cmocka_run_group_tests_name("replaced", tests, NULL, NULL);
}
