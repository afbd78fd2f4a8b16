/* SPDX-License-Identifier: MIT
 *
 * Files that the configuration names are never waited for without end, whatever lies at their paths. (Guarantee G.)
 */
#include "base/file.h"
#include "unit.h"

#include <latchkey.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char bytes[64], error[300];

static ssize_t read_it(const char *path)
{
    return lk_file_read("some_file", path, false, bytes, sizeof bytes, error, sizeof error);
}

static void test_a_pipe_without_a_writer_is_refused_for_every_option(void **state)
{
    (void)state;
    static const char *const rows[][2] = {{"redis://h?password_file=", ""},
                                          {"redis://h?check_key_file=", ""},
                                          {"redis://h?seal_key_file=", ""},
                                          {"redis+sentinel://h/m?sentinel_password_file=", ""},
                                          {"rediss://h?ca_file=", ""},
                                          {"rediss://h?key_file=/dev/null&cert_file=", ""},
                                          {"rediss://h?cert_file=", "&key_file=/"}};
    char path[300], config[700];
    snprintf(path, sizeof path, "%s", unit_file("fifo", "", 0));
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
        snprintf(config, sizeof config, "%s%s%s", rows[i][0], path, rows[i][1]);
        alarm(20); /* what waits for ever is ended */
        assert_int_equal(latchkey_check_config(config, error, sizeof error), LATCHKEY_CONFIG);
        alarm(0);
        if (!strstr(error, "nothing is written") || !strstr(error, path) || !strstr(error, "_file"))
            fail_msg("%s: %s", config, error);
    }
    unlink(path);
}

/* In pieces, as a command writes that takes its time. */
static void *write_slowly(void *context)
{
    for (int i = 0; i < 3; i++) {
        usleep(20000);
        if (write(*(int *)context, "part ", 5) != 5) return NULL;
    }
    close(*(int *)context);
    return NULL;
}

static void test_a_pipe_with_a_writer_is_waited_for(void **state)
{
    (void)state;
    int fd[2];
    char path[40];
    pthread_t writer;
    assert_int_equal(pipe(fd), 0);
    snprintf(path, sizeof path, "/dev/fd/%d", fd[0]);
    assert_int_equal(pthread_create(&writer, NULL, write_slowly, &fd[1]), 0);
    ssize_t got = read_it(path);
    pthread_join(writer, NULL);
    close(fd[0]);
    if (got != 15) fail_msg("%zd: %s", got, error);
    assert_memory_equal(bytes, "part part part ", 15);
}

static void test_a_writer_that_never_ends_is_not(void **state)
{
    (void)state;
    int fd[2];
    char path[40];
    assert_int_equal(pipe(fd), 0);
    assert_int_equal(write(fd[1], "begun", 5), 5);
    snprintf(path, sizeof path, "/dev/fd/%d", fd[0]);
    alarm(60);
    assert_int_equal(read_it(path), -1);
    alarm(0);
    assert_non_null(strstr(error, "not written to its end"));
    close(fd[0]);
    close(fd[1]);
}

static void test_what_has_no_end_or_is_no_file_is_refused(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"/", "Is a directory"}, {"/dev/zero", "larger than 63 bytes"}, {"/does/not/exist", "No such file"}};
    for (size_t i = 0; i < UNIT_COUNT(rows); i++) {
        assert_int_equal(read_it(rows[i][0]), -1);
        if (!strstr(error, rows[i][1]) || !strstr(error, "some_file")) fail_msg("%s: %s", rows[i][0], error);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_pipe_without_a_writer_is_refused_for_every_option),
        cmocka_unit_test(test_a_pipe_with_a_writer_is_waited_for),
        cmocka_unit_test(test_a_writer_that_never_ends_is_not),
        cmocka_unit_test(test_what_has_no_end_or_is_no_file_is_refused),
    };
    return cmocka_run_group_tests_name("file", tests, unit_setup, NULL);
}
