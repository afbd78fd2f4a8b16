/* SPDX-License-Identifier: MIT
 *
 * latchkey_log_read: a handle's own lines, without a function; the own queue's descriptor tells of them. And opening a handle under a
 * lock that the log function takes: an interpreter's.
 */
#include "test_handle.h"
#include "threads.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static int readable(latchkey *lk, int wait_ms)
{
    struct pollfd p = {.fd = latchkey_fd(lk), .events = POLLIN};
    return poll(&p, 1, wait_ms) == 1;
}

/* The next line, and its level; "" where none waits. */
static int next(latchkey *lk, char text[640])
{
    int level = 99;
    int status = latchkey_log_read(lk, &level, text, 640);
    if (status == LATCHKEY_NOT_FOUND) assert_string_equal(text, "");
    else assert_status(lk, LATCHKEY_OK, status);
    return status ? 0 : level;
}

/* Reads on until a line begins like that. */
static int said(latchkey *lk, const char *beginning)
{
    char text[640];
    while (next(lk, text))
        if (!strncmp(text, beginning, strlen(beginning))) return 1;
    return 0;
}

/* The descriptor tells of nothing, once everything was taken. */
static int silent(latchkey *lk)
{
    latchkey_answer none;
    char text[640];
    while (next(lk, text)) continue;
    assert_int_equal(latchkey_reap(lk, &none, 1), 0);
    return !readable(lk, 20);
}

static void test_each_handle_has_its_own_lines(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "events=1"), *other = handle_open(server, "events=1");
    char text[640], token[LATCHKEY_TOKEN_SIZE], short_text[8];
    int level = 0;
    /* The server keeps nothing: open says so, before anybody reads. */
    assert_int_equal(next(lk, text), LATCHKEY_LOG_WARNING);
    assert_contains(text, "setting appendonly: ");
    wait_for(silent(lk));
    make_session(lk, 7, token);
    assert_true(readable(lk, 10000));
    assert_true(readable(lk, 0)); /* it goes on telling */
    assert_status(lk, LATCHKEY_OK, latchkey_log_read(lk, &level, short_text, sizeof short_text));
    assert_int_equal(level, LATCHKEY_LOG_INFO);
    assert_string_equal(short_text, "event: ");
    assert_int_equal(next(lk, text), 0);
    assert_status(lk, LATCHKEY_NOT_FOUND, latchkey_log_read(lk, NULL, text, sizeof text));
    assert_false(said(other, "event: "));
    /* What the link's thread says. */
    redis_do(server, "CLIENT KILL TYPE normal");
    redis_do(server, "CLIENT KILL TYPE pubsub");
    wait_for(said(lk, "link: down"));
    wait_for(said(lk, "link: up"));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_log_read(NULL, &level, text, sizeof text));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_log_read(lk, &level, NULL, 5));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_log_read(lk, &level, text, 0));
}

/* A refused argument belongs to no handle, whether it is found before or after the call is under way. */
static void test_a_refused_argument_is_no_line_of_a_handle(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey_field twice[2] = {{"name", "a", 1}, {"name", "b", 1}};
    make_session(lk, 7, token);
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_validate(lk, NULL, 0, NULL));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_set_fields(lk, token, LATCHKEY_TOKEN_LENGTH, twice, 2));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT,
                  latchkey_section_put(lk, token, LATCHKEY_TOKEN_LENGTH, "a name", "data", 4));
    assert_false(said(lk, "argument: "));
}

/* Programs that do not read lines never hear of them through the descriptor. */
static void test_who_does_not_read_is_not_woken(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "events=1");
    char token[LATCHKEY_TOKEN_SIZE], text[640];
    latchkey_answer none;
    latchkey_fd(lk);
    for (int i = 0; i < 10; i++) make_session(lk, 7, token);
    /* The channel's own: its connection is being made. Lines would go on telling. */
    wait_for(latchkey_reap(lk, &none, 1) == 0 && !readable(lk, 50));
    assert_int_not_equal(next(lk, text), 0); /* from now on it does */
    assert_true(readable(lk, 0));
    wait_for(silent(lk));
}

static void test_G_it_is_bounded(void **state)
{
    (void)state;
    enum { MADE = 200, KEPT = 128 };
    latchkey *lk = handle_open(server, "events=1");
    char token[LATCHKEY_TOKEN_SIZE], text[640];
    while (next(lk, text)) continue;
    for (int i = 0; i < MADE; i++) make_session(lk, (uint64_t)i, token);
    assert_int_equal(next(lk, text), LATCHKEY_LOG_WARNING);
    assert_string_equal(text, "log: 72 lines were dropped");
    for (int i = MADE - KEPT; i < MADE; i++) {
        char user[32];
        snprintf(user, sizeof user, " user=%d ", i);
        assert_int_equal(next(lk, text), LATCHKEY_LOG_INFO);
        assert_contains(text, user);
    }
    assert_int_equal(next(lk, text), 0);
}

static void make_some(crew_member *m)
{
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey_draft draft = {.size = sizeof draft, .user_id = m->index};
    for (int i = 0; i < 50; i++) latchkey_create(m->shared, &draft, token);
}

static void test_read_while_others_speak(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "events=1");
    char text[640];
    unsigned events = 0, dropped = 0;
    while (next(lk, text)) continue;
    crew *c = crew_start(3, make_some, lk);
    int64_t until_ms = check_now_ms() + CHECK_PATIENCE_MS;
    while (events + dropped < 150 && check_now_ms() < until_ms) {
        unsigned some;
        if (!readable(lk, 100)) continue;
        while (next(lk, text)) {
            events += !strncmp(text, "event: ", 7);
            if (sscanf(text, "log: %u lines", &some) == 1) dropped += some;
        }
    }
    crew_join(c);
    assert_int_equal(events + dropped, 150);
}

/* ------------------------------------------------------------------------------------------------- opening -- */

/* As an interpreter's lock: a thread may take it again. */
static pthread_mutex_t interpreter;
static _Atomic int lines;

static void speak(void *context, int level, const char *text)
{
    (void)context, (void)level, (void)text;
    pthread_mutex_lock(&interpreter);
    lines++;
    pthread_mutex_unlock(&interpreter);
}

/* The log function waits for the thread that opens. With a link that said its lines itself, open would fail at its deadline, and then
 * wait for the link for ever. */
static void test_open_under_a_lock_that_the_log_function_takes(void **state)
{
    (void)state;
    char config[256], error[256];
    latchkey *lk, *none;
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&interpreter, &attr);
    latchkey_set_log(speak, NULL);
    handle_config(server, 0, "partitions=64", config, sizeof config);
    pthread_mutex_lock(&interpreter);
    assert_status(NULL, LATCHKEY_OK, latchkey_open(config, &lk, error, sizeof error));
    assert_true(lines > 0); /* said before open returns */
    lines = 0;
    handle_config(server, 0, "partitions=8", config, sizeof config);
    assert_status(NULL, LATCHKEY_CONFIG, latchkey_open(config, &none, error, sizeof error));
    assert_int_equal(lines, 1);
    pthread_mutex_unlock(&interpreter);
    lines = 0;
    redis_do(server, "CLIENT KILL TYPE pubsub"); /* from then on the link says its own */
    wait_for(lines >= 1);
    latchkey_close(lk);
    latchkey_set_log(NULL, NULL);
    pthread_mutex_destroy(&interpreter);
    pthread_mutexattr_destroy(&attr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_each_handle_has_its_own_lines),  TEST(test_a_refused_argument_is_no_line_of_a_handle),
        TEST(test_who_does_not_read_is_not_woken), TEST(test_G_it_is_bounded),
        TEST(test_read_while_others_speak),        TEST(test_open_under_a_lock_that_the_log_function_takes),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}
