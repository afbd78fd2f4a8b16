/* SPDX-License-Identifier: MIT
 *
 * A password whose file changes while the handle is open: each connection has the newest that could be read, and what is wrong
 * with the file is said once. No text shows a password. (Guarantee F.)
 */
#include "base/config.h"
#include "base/log.h"
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char path[300], text[400];
static lk_config config;
static lk_notices *notices;

static char said[16][LK_LOG_LINE];
static unsigned lines;

static void hear(void *context, int level, const char *line)
{
    (void)context, (void)level;
    if (strstr(line, "s3cret")) fail_msg("a password in the log: %s", line);
    if (lines < UNIT_COUNT(said)) snprintf(said[lines], sizeof said[lines], "%s", line);
    lines++;
}

static void put(const void *bytes, size_t size)
{
    snprintf(path, sizeof path, "%s", unit_file("password", bytes, size));
}

static int setup(void **state)
{
    (void)state;
    char error[256];
    put("s3cret-1\n", 9);
    snprintf(text, sizeof text, "redis://h?password_file=%s", path);
    assert_int_equal(lk_config_parse(text, &config, error, sizeof error), LATCHKEY_OK);
    notices = config.notices = lk_notices_open();
    config.password_now = lk_password_open(config.password_file, config.password, notices);
    assert_true(notices && config.password_now);
    latchkey_set_log(hear, NULL);
    lines = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    latchkey_set_log(NULL, NULL);
    lk_password_close(config.password_now);
    lk_notices_close(notices);
    return 0;
}

static void assert_password(const char *expected)
{
    char password[LK_PASSWORD_SIZE];
    lk_config_password(&config, password);
    assert_string_equal(password, expected);
}

static void test_each_connection_has_the_newest(void **state)
{
    (void)state;
    assert_password("s3cret-1");
    put("s3cret-2", 8);
    assert_password("s3cret-2");
    assert_password("s3cret-2");
    put("s3cret-3\r\nsecond line\n", 22);
    assert_password("s3cret-3");
    lk_notices_say(notices);
    assert_int_equal(lines, 0);
}

static void test_as_long_as_tokens_are(void **state)
{
    (void)state;
    static char large[5000];
    memset(large, 'y', sizeof large);
    large[4096] = '\n';
    put(large, 4097);
    char expected[4097] = "";
    memcpy(expected, large, 4096);
    assert_password(expected);
    large[4096] = 'y';
    put(large, 4097);
    assert_password(expected); /* too long: the last known */
    lk_notices_say(notices);
    assert_int_equal(lines, 1);
    assert_non_null(strstr(said[0], "longer than 4096 bytes"));
}

static void test_a_file_that_is_no_good_changes_nothing_and_is_told_once(void **state)
{
    (void)state;
    const struct {
        const char *bytes;
        size_t size;
        const char *why;
    } rows[] = {{"", 0, "is empty"}, {"\ns3cret", 7, "is empty"}, {"s3cret\0x", 8, "NUL"}};
    unsigned expected = 0;
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
        put(rows[i].bytes, rows[i].size);
        for (int n = 0; n < 5; n++) assert_password("s3cret-1");
        lk_notices_say(notices);
        if (!i || strcmp(rows[i].why, rows[i - 1].why)) expected++;
        assert_int_equal(lines, expected);
        assert_non_null(strstr(said[expected - 1], rows[i].why));
        assert_non_null(strstr(said[expected - 1], path));
        assert_non_null(strstr(said[expected - 1], "last known password"));
    }
    unlink(path);
    for (int n = 0; n < 5; n++) assert_password("s3cret-1");
    mkfifo(path, 0600); /* no writer is waited for */
    for (int n = 0; n < 5; n++) assert_password("s3cret-1");
    unlink(path);
    lk_notices_say(notices);
    assert_int_equal(lines, expected + 2);
    assert_non_null(strstr(said[expected], "cannot open"));
    assert_non_null(strstr(said[expected + 1], "not a regular file"));
    put("s3cret-9", 8);
    assert_password("s3cret-9");
    lk_notices_say(notices);
    assert_int_equal(lines, expected + 3);
    assert_non_null(strstr(said[expected + 2], "can be read again"));
    put("", 0);
    assert_password("s3cret-9");
    lk_notices_say(notices);
    assert_int_equal(lines, expected + 4); /* a new trouble */
}

/* <(command) of a shell is a pipe: read once, at open. */
static void test_a_pipe_is_read_once(void **state)
{
    int fd[2];
    char error[256];
    teardown(state);
    assert_int_equal(pipe(fd), 0);
    assert_int_equal(write(fd[1], "s3cret-p\n", 9), 9);
    close(fd[1]);
    snprintf(text, sizeof text, "redis://h?password_file=/dev/fd/%d", fd[0]);
    assert_int_equal(lk_config_parse(text, &config, error, sizeof error), LATCHKEY_OK);
    notices = config.notices = lk_notices_open();
    config.password_now = lk_password_open(config.password_file, config.password, notices);
    latchkey_set_log(hear, NULL);
    for (int n = 0; n < 3; n++) assert_password("s3cret-p");
    close(fd[0]);
    assert_password("s3cret-p");
    lk_notices_say(notices);
    assert_int_equal(lines, 0);
}

static void test_a_password_of_the_url_stays(void **state)
{
    (void)state;
    lk_config fixed;
    char password[LK_PASSWORD_SIZE], error[256];
    assert_int_equal(lk_config_parse("redis://u:s3cret@h", &fixed, error, sizeof error), LATCHKEY_OK);
    lk_config_password(&fixed, password);
    assert_string_equal(password, "s3cret");
    assert_int_equal(lk_config_parse("redis://h", &fixed, error, sizeof error), LATCHKEY_OK);
    lk_config_password(&fixed, password);
    assert_string_equal(password, "");
}

/* Never half of one and half of the other. */
static _Atomic unsigned long wrong;

static void read_or_write(void *shared, unsigned index)
{
    uint64_t rounds = *(const uint64_t *)shared;
    char other[320];
    snprintf(other, sizeof other, "%s.new", path);
    for (uint64_t i = 0; i < rounds; i++) {
        char password[LK_PASSWORD_SIZE];
        if (!index) {
            FILE *file = fopen(other, "w");
            fputs(i % 2 ? "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n" : "bbbbbbbbbbbbbbbbbbbb\n", file);
            fclose(file);
            rename(other, path);
        }
        lk_config_password(&config, password);
        if (strspn(password, "a") != 40 && strspn(password, "b") != 20 && strcmp(password, "s3cret-1")) wrong++;
    }
}

static void test_while_threads_connect(void **state)
{
    (void)state;
    uint64_t rounds = unit_rounds(2000);
    unit_threads(4, read_or_write, &rounds);
    assert_int_equal(wrong, 0);
}

static void test_more_notices_than_there_is_room_for(void **state)
{
    (void)state;
    lk_notices_say(NULL);
    lk_notices_add(NULL, 3, "nobody");
    for (int i = 0; i < 12; i++) lk_notices_add(notices, LATCHKEY_LOG_INFO, "line %d", i);
    lk_notices_say(notices);
    assert_int_equal(lines, 8);
    for (unsigned i = 0; i < 8; i++) {
        char line[20];
        snprintf(line, sizeof line, "line %u", i);
        assert_string_equal(said[i], line);
    }
    lk_notices_say(notices);
    assert_int_equal(lines, 8);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_each_connection_has_the_newest),
        TEST(test_as_long_as_tokens_are),
        TEST(test_a_file_that_is_no_good_changes_nothing_and_is_told_once),
        TEST(test_a_pipe_is_read_once),
        TEST(test_a_password_of_the_url_stays),
        TEST(test_while_threads_connect),
        TEST(test_more_notices_than_there_is_room_for),
    };
    return cmocka_run_group_tests_name("password", tests, unit_setup, NULL);
}
