/* SPDX-License-Identifier: MIT
 *
 * Passwords that change while a handle is open, as the hourly tokens of hosted Redis do: every new connection, the link's, a
 * caller's, and submit's, has the newest that password_file holds. What is wrong with the file is said once.
 */
#include "test_handle.h"
#include "logbook.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

static char path[200], config[400];

static void put_password(const char *password) { check_write_file(path, password, strlen(password)); }
static void set_password(const char *password)
{
    redis_do(server, "ACL SETUSER app reset on >%s ~* &* +@all", password);
}

/* Those of before are of no use any more. */
static void cut_connections(latchkey *lk)
{
    uint64_t before = stats_of(lk).reconnects;
    redis_do(server, "CLIENT KILL USER app");
    wait_for(stats_of(lk).reconnects > before && stats_of(lk).connected);
}

static latchkey *open_app(const char *password, const char *options)
{
    check_temp_path("app-password", path, sizeof path);
    put_password(password);
    set_password(password);
    snprintf(config, sizeof config, "redis://app@127.0.0.1:%d?deadline_ms=10000&staleness_ms=2000&password_file=%s%s",
             server->port, path, options);
    return handle_open_config(config);
}

static int ask_by_submit(latchkey *lk, const char *token)
{
    latchkey_answer answer;
    struct pollfd ready = {.fd = latchkey_fd(lk), .events = POLLIN};
    if (latchkey_submit(lk, token, LATCHKEY_TOKEN_LENGTH, 0)) return LATCHKEY_UNAVAILABLE;
    for (;;) {
        assert_int_equal(poll(&ready, 1, CHECK_PATIENCE_MS), 1);
        if (latchkey_reap(lk, &answer, 1)) return answer.status;
    }
}

static void assert_serves(latchkey *lk, const char *token)
{
    char other[LATCHKEY_TOKEN_SIZE];
    wait_for(validate(lk, token) == LATCHKEY_OK);
    wait_for(ask_by_submit(lk, token) == LATCHKEY_OK);
    make_session(lk, 2, other);
    assert_status(lk, LATCHKEY_OK, end_session(lk, other));
}

static void test_each_connection_has_the_newest_password(void **state)
{
    (void)state;
    static char large[4097];
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey *lk = open_app("first", "&l1_capacity=0");
    make_session(lk, 1, token);
    assert_serves(lk, token);
    memset(large, 'T', 4096);
    const char *const passwords[] = {"second\n", large, "third"};
    for (int i = 0; i < 3; i++) {
        char bare[4097];
        snprintf(bare, sizeof bare, "%.*s", (int)strcspn(passwords[i], "\n"), passwords[i]);
        put_password(passwords[i]);
        set_password(bare);
        cut_connections(lk);
        assert_serves(lk, token);
    }
}

/* The server's changes first: until the file follows, Redis refuses. It mends itself. */
static void test_a_file_that_follows_later(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey *lk = open_app("old", "&l1_capacity=0");
    make_session(lk, 1, token);
    set_password("new");
    redis_do(server, "CLIENT KILL USER app");
    wait_for(!stats_of(lk).connected);
    assert_true(validate(lk, token) < 0);
    put_password("new");
    wait_for(stats_of(lk).connected);
    assert_serves(lk, token);
}

static void test_a_file_that_cannot_be_read_changes_nothing(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE], line[400];
    logbook_open();
    latchkey *lk = open_app("s3cret", "&l1_capacity=0");
    make_session(lk, 1, token);
    put_password("");
    for (int i = 0; i < 3; i++) {
        cut_connections(lk);
        assert_serves(lk, token);
    }
    snprintf(line, sizeof line, "3 password_file: '%s' is empty; the last known password is used", path);
    wait_for(logbook_has(line));
    char *text = logbook_text(), *first = strstr(text, "password_file:");
    assert_non_null(first);
    assert_null(strstr(first + 1, "password_file:")); /* once */
    assert_lacks(text, "s3cret");
    free(text);
    put_password("s3cret");
    cut_connections(lk);
    wait_for(logbook_has("can be read again"));
    assert_serves(lk, token);
    logbook_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_each_connection_has_the_newest_password),
        TEST(test_a_file_that_follows_later),
        TEST(test_a_file_that_cannot_be_read_changes_nothing),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}
