/* SPDX-License-Identifier: MIT
 *
 * A token that is made before the session is (latchkey_token_new, latchkey_create_with): one session, once.
 */
#include "test_handle.h"

#include <string.h>

static int make_with(latchkey *lk, uint64_t user_id, const char *token)
{
    latchkey_draft draft = {.size = sizeof draft, .user_id = user_id, .role = "member"};
    return latchkey_create_with(lk, &draft, token, strlen(token));
}

static void test_one_session_once(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, ""), *other = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE], renewed[LATCHKEY_TOKEN_SIZE], text[256];
    latchkey_entry entry;
    assert_status(lk, LATCHKEY_OK, latchkey_token_new(lk, 7, token));
    assert_int_equal(strlen(token), LATCHKEY_TOKEN_LENGTH);
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(other, token));
    assert_status(lk, LATCHKEY_OK, make_with(lk, 7, token));
    assert_status(lk, LATCHKEY_OK, try_validate(lk, token)); /* it is in L1 */
    assert_status(lk, LATCHKEY_REFUSED, make_with(lk, 7, token));
    assert_status(lk, LATCHKEY_OK, latchkey_error_text(lk, text, sizeof text));
    assert_contains(text, "a session of this token exists");
    assert_status(lk, LATCHKEY_OK, latchkey_validate(lk, token, strlen(token), &entry));
    assert_int_equal(entry.user_id, 7);
    assert_status(lk, LATCHKEY_OK, end_session(lk, token));
    assert_status(lk, LATCHKEY_REFUSED, make_with(lk, 7, token));
    assert_status(lk, LATCHKEY_REFUSED, make_with(other, 7, token)); /* Redis' log of revocations tells */
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, token));
    /* After an exchange, too. */
    assert_status(lk, LATCHKEY_OK, latchkey_token_new(lk, 7, token));
    assert_status(lk, LATCHKEY_OK, make_with(lk, 7, token));
    assert_status(lk, LATCHKEY_OK, latchkey_rotate(lk, token, strlen(token), 0, renewed));
    assert_status(lk, LATCHKEY_REFUSED, make_with(other, 7, token));
    assert_status(lk, LATCHKEY_OK, validate(other, renewed));
}

/* A browser may show the token before its session is made, on any instance. Then it is known to be dead there, until it lives: that is
 * told to all. */
static void test_A_shown_before_it_was_made(void **state)
{
    (void)state;
    static const char *const options[] = {"staleness_ms=400", "staleness_ms=400&l1_capacity=0"};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        latchkey *lk = handle_open(server, options[i]), *other = handle_open(server, options[i]);
        char token[LATCHKEY_TOKEN_SIZE];
        const latchkey_access access = {.size = sizeof access, .role = "editor"};
        assert_status(lk, LATCHKEY_OK, latchkey_token_new(lk, 7, token));
        assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, token));
        assert_status(other, LATCHKEY_NOT_FOUND, validate(other, token));
        assert_status(lk, LATCHKEY_OK, make_with(lk, 7, token));
        assert_status(lk, LATCHKEY_OK, validate(lk, token));
        uint64_t beats = stats_of(other).beats;
        wait_for(stats_of(other).beats >= beats + 2); /* what was published before is received by then */
        assert_status(other, LATCHKEY_OK, validate(other, token));
        assert_status(lk, LATCHKEY_OK, latchkey_set_access(lk, token, strlen(token), &access)); /* out of L1 */
        assert_status(lk, LATCHKEY_OK, validate(lk, token));
        assert_status(lk, LATCHKEY_OK, latchkey_revoke(lk, token, strlen(token)));
        assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, token));
        wait_for(validate(other, token) == LATCHKEY_NOT_FOUND);
        handle_close(lk);
        handle_close(other);
    }
}

static void test_by_all_of_one_user(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE], text[256];
    size_t total;
    uint64_t ada = latchkey_user_id("ada", 3);
    latchkey_draft draft = {.size = sizeof draft, .user_name = "ada", .user_name_size = 3};
    const latchkey_field field = {"note", "x", 1};
    draft.fields = &field;
    draft.field_count = 1;
    assert_status(lk, LATCHKEY_OK, latchkey_token_new(lk, ada, token));
    assert_status(lk, LATCHKEY_OK, latchkey_create_with(lk, &draft, token, strlen(token)));
    assert_status(lk, LATCHKEY_OK, load(lk, token));
    assert_status(lk, LATCHKEY_OK, latchkey_sessions(lk, ada, NULL, 0, NULL, 0, &total));
    assert_int_equal(total, 1);
    /* Of another user, whose partition is another: with 64 of them, one of these is. */
    int refused = 0;
    for (uint64_t user = 1; user <= 8; user++) {
        assert_status(lk, LATCHKEY_OK, latchkey_token_new(lk, user, token));
        int status = make_with(lk, user + 100, token);
        assert_status_in(lk, status, LATCHKEY_OK, LATCHKEY_BAD_ARGUMENT);
        refused += status == LATCHKEY_BAD_ARGUMENT;
        if (!status) continue;
        assert_status(lk, LATCHKEY_OK, latchkey_error_text(lk, text, sizeof text));
        assert_contains(text, "another user");
    }
    assert_true(refused > 0);
}

static void test_arguments(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE] = "x";
    latchkey_draft draft = {.size = sizeof draft, .user_id = 1};
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_token_new(NULL, 1, token));
    assert_string_equal(token, "");
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_token_new(lk, 1, NULL));
    assert_status(lk, LATCHKEY_OK, latchkey_token_new(lk, 1, token));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_create_with(NULL, &draft, token, 43));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_create_with(lk, NULL, token, 43));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_create_with(lk, &draft, NULL, 43));
    assert_status(lk, LATCHKEY_MALFORMED, latchkey_create_with(lk, &draft, token, 42));
    token[25] = token[25] == 'A' ? 'B' : 'A';
    assert_status(lk, LATCHKEY_MALFORMED, latchkey_create_with(lk, &draft, token, 43));
    draft.size = 3;
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_create_with(lk, &draft, token, 43));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_one_session_once),
        TEST(test_A_shown_before_it_was_made),
        TEST(test_by_all_of_one_user),
        TEST(test_arguments),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}
