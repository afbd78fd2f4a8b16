/* SPDX-License-Identifier: MIT
 *
 * Users that have names and no numbers: the id of a name, and two names of one id, which must never become one user.
 * Nobody has found two such names, so another name's hash is put into Redis by hand.
 */
#include "logbook.h"
#include "test_handle.h"

#include <stdio.h>
#include <string.h>

static const char ada[] = "ada@example.org";
#define ADA_ID UINT64_C(8281344503043639700)

static latchkey_draft draft_of(const char *name)
{
    return (latchkey_draft){.size = sizeof(latchkey_draft), .user_name = name, .user_name_size = strlen(name)};
}

/* As Python says: int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "little") */
static void test_the_id_of_a_name(void **state)
{
    (void)state;
    static const unsigned char bytes[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    static const char uuid[] = "3f2b8c1e-7a54-4b0e-9d5c-000000000001";
    assert_true(latchkey_user_id(ada, strlen(ada)) == ADA_ID);
    assert_true(latchkey_user_id(uuid, strlen(uuid)) == UINT64_C(9608975160102715329));
    assert_true(latchkey_user_id(bytes, sizeof bytes) == UINT64_C(6765881130712925518));
    assert_true(latchkey_user_id(NULL, 0) == 0 && latchkey_user_id("", 0) == 0 && latchkey_user_id(NULL, 5) == 0);
}

static void test_a_login_by_name(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    char token[2][LATCHKEY_TOKEN_SIZE];
    latchkey_draft draft = draft_of(ada);
    for (int i = 0; i < 2; i++) {
        draft.user_id = i ? ADA_ID : 0;
        assert_status(lk, LATCHKEY_OK, latchkey_create(lk, &draft, token[i]));
        assert_true(entry_of(lk, token[i]).user_id == ADA_ID);
    }
    assert_int_equal(sessions_of(lk, ADA_ID), 2);
    /* One that says no name is the id's as well. */
    make_session(lk, ADA_ID, token[0]);
    assert_int_equal(sessions_of(lk, ADA_ID), 3);
}

static void name_key(char key[128], const char *token)
{
    snprintf(key, 128, "lk:{%u}:n:%llu", token_partition(token), (unsigned long long)ADA_ID);
}

static void test_two_names_of_one_id_are_never_one_user(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "foreign_until_ms=99999999999999&events=1");
    char token[LATCHKEY_TOKEN_SIZE], more[LATCHKEY_TOKEN_SIZE], key[128];
    const latchkey_draft draft = draft_of(ada);
    static const char foreign[] = "a token of another store";
    assert_status(lk, LATCHKEY_OK, latchkey_create(lk, &draft, token));
    name_key(key, token);
    redis_do(server, "SET %s another-names-hash-of-32-bytes--- KEEPTTL", key);
    logbook_open();
    assert_status(lk, LATCHKEY_REFUSED, latchkey_create(lk, &draft, more));
    assert_int_equal(more[0], 0);
    assert_true(logbook_has("3 users: two names have the user id"));
    assert_true(logbook_has("why=name"));
    assert_status(lk, LATCHKEY_REFUSED, latchkey_import(lk, foreign, strlen(foreign), &draft, 0, 0));
    logbook_close();
    assert_int_equal(sessions_of(lk, ADA_ID), 1);
}

/* The name stays for as long as a session of the user may, and is never without an end (D). */
static void test_the_name_goes_with_the_last_session(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "foreign_until_ms=99999999999999");
    char token[LATCHKEY_TOKEN_SIZE], key[128];
    latchkey_draft draft = draft_of(ada);
    draft.lifetime_ms = 3600000;
    assert_status(lk, LATCHKEY_OK, latchkey_create(lk, &draft, token));
    name_key(key, token);
    assert_in_range(redis_integer(server, "PTTL %s", key), 1, 3600000);
    draft.lifetime_ms = 7200000;
    assert_status(lk, LATCHKEY_OK, latchkey_create(lk, &draft, token));
    assert_in_range(redis_integer(server, "PTTL %s", key), 3600001, 7200000);
    draft.lifetime_ms = 60000;
    assert_status(lk, LATCHKEY_OK, latchkey_create(lk, &draft, token));
    assert_in_range(redis_integer(server, "PTTL %s", key), 3600001, 7200000);
    static const char foreign[] = "a token of another store";
    draft.lifetime_ms = 14400000;
    assert_status(lk, LATCHKEY_OK, latchkey_import(lk, foreign, strlen(foreign), &draft, 0, 0));
    assert_in_range(redis_integer(server, "PTTL %s", key), 7200001, 14400000);
    assert_int_equal(redis_integer(server, "STRLEN %s", key), 32); /* a hash, not the name */
}

static void test_arguments(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey_draft bad[3] = {draft_of(ada), draft_of(ada), draft_of(ada)};
    bad[0].user_id = 7; /* not the id of that name */
    bad[1].user_name_size = 0;
    bad[2].user_name = NULL;
    for (int i = 0; i < 3; i++) assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_create(lk, &bad[i], token));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_id_of_a_name),
        TEST(test_a_login_by_name),
        TEST(test_two_names_of_one_id_are_never_one_user),
        TEST(test_the_name_goes_with_the_last_session),
        TEST(test_arguments),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}
