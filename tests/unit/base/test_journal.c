/* SPDX-License-Identifier: MIT
 *
 * A handle's lines: kept in order and bounded; while the handle is being opened the log function hears of none but from the thread that
 * opens it; the descriptor is readable exactly while a line waits.
 */
#include "base/journal.h"
#include "unit.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

static char said[65536];

static void keep(void *context, int level, const char *text)
{
    (void)context;
    size_t used = strlen(said);
    snprintf(said + used, sizeof said - used, "%d %s\n", level, text);
}

static int setup(void **state)
{
    (void)state;
    said[0] = 0;
    latchkey_set_log(keep, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    lk_log_to(NULL);
    latchkey_set_log(NULL, NULL);
    return 0;
}

static bool readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

static void test_nothing_is_said_before_it_is_open(void **state)
{
    (void)state;
    int level;
    char text[LK_LOG_LINE];
    lk_journal *j = lk_journal_open();
    assert_null(lk_log_to(j));
    lk_log(LATCHKEY_LOG_ERROR, "one");
    lk_log(LATCHKEY_LOG_INFO, "two");
    assert_string_equal(said, "");
    assert_true(lk_journal_read(j, &level, text, sizeof text));
    assert_string_equal(text, "one");
    lk_journal_opened(j);
    assert_string_equal(said, "6 two\n"); /* unless it was read before */
    lk_log(LATCHKEY_LOG_WARNING, "three");
    assert_string_equal(said, "6 two\n4 three\n");
    assert_ptr_equal(lk_log_to(NULL), j);
    lk_log(LATCHKEY_LOG_INFO, "no handle's");
    assert_true(lk_journal_read(j, &level, text, sizeof text));
    assert_true(lk_journal_read(j, &level, text, sizeof text));
    assert_string_equal(text, "three");
    assert_int_equal(level, LATCHKEY_LOG_WARNING);
    assert_false(lk_journal_read(j, &level, text, sizeof text));
    assert_string_equal(text, "");
    lk_journal_close(j);
}

static void test_what_was_not_said_is_said_at_the_end(void **state)
{
    (void)state;
    lk_journal *j = lk_journal_open();
    lk_log_to(j);
    for (int i = 0; i < LK_JOURNAL_LINES + 3; i++) lk_log(LATCHKEY_LOG_INFO, "%d", i);
    lk_log_to(NULL);
    lk_journal_close(j);
    assert_int_equal(strncmp(said, "6 3\n6 4\n", 8), 0);
    assert_string_equal(said + strlen(said) - 6, "6 130\n");
    lk_journal_close(NULL);
}

static void test_the_oldest_go(void **state)
{
    (void)state;
    int level;
    char text[LK_LOG_LINE], wanted[16];
    lk_journal *j = lk_journal_open();
    lk_journal_opened(j);
    lk_log_to(j);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < LK_JOURNAL_LINES + 5; i++) lk_log(LATCHKEY_LOG_INFO, "%d", i);
        assert_true(lk_journal_read(j, &level, text, sizeof text));
        assert_string_equal(text, "log: 5 lines were dropped");
        for (int i = 5; i < LK_JOURNAL_LINES + 5; i++) {
            assert_true(lk_journal_read(j, &level, text, sizeof text));
            snprintf(wanted, sizeof wanted, "%d", i);
            assert_string_equal(text, wanted);
        }
        assert_false(lk_journal_read(j, &level, text, sizeof text));
    }
    lk_log_to(NULL);
    lk_journal_close(j);
}

static void test_the_descriptor(void **state)
{
    (void)state;
    int level;
    char text[LK_LOG_LINE];
    lk_journal *j = lk_journal_open();
    lk_journal_opened(j);
    lk_log_to(j);
    lk_log(LATCHKEY_LOG_INFO, "before it was made");
    int fd = lk_journal_fd(j);
    assert_true(fd >= 0);
    assert_int_equal(lk_journal_fd(j), fd);
    assert_true(readable(fd));
    lk_log(LATCHKEY_LOG_INFO, "after");
    assert_true(lk_journal_read(j, &level, text, sizeof text));
    assert_true(readable(fd));
    assert_true(lk_journal_read(j, &level, text, sizeof text));
    assert_false(readable(fd));
    lk_log(LATCHKEY_LOG_INFO, "again");
    assert_true(readable(fd));
    assert_true(lk_journal_read(j, &level, text, 4));
    assert_string_equal(text, "aga");
    lk_log_to(NULL);
    lk_journal_close(j);
}

typedef struct crowd {
    lk_journal *journal;
    uint64_t rounds;
    _Atomic uint64_t heard, lost;
} crowd;

static void speak_and_read(void *shared, unsigned index)
{
    crowd *c = shared;
    int level;
    char text[LK_LOG_LINE];
    lk_log_to(c->journal);
    for (uint64_t i = 0; i < c->rounds; i++) {
        unsigned long long some;
        if (index) lk_log(LATCHKEY_LOG_INFO, "line");
        else if (lk_journal_read(c->journal, &level, text, sizeof text)) {
            if (sscanf(text, "log: %llu lines", &some) == 1) c->lost += some;
            else c->heard++;
        }
    }
    lk_log_to(NULL);
}

static void test_every_line_is_read_or_counted(void **state)
{
    (void)state;
    int level;
    char text[LK_LOG_LINE];
    unsigned long long some;
    latchkey_set_log(NULL, NULL);
    crowd c = {.journal = lk_journal_open(), .rounds = unit_rounds(5000)};
    lk_journal_opened(c.journal);
    unit_threads(4, speak_and_read, &c);
    while (lk_journal_read(c.journal, &level, text, sizeof text)) {
        if (sscanf(text, "log: %llu lines", &some) == 1) c.lost += some;
        else c.heard++;
    }
    assert_int_equal(c.heard + c.lost, 3 * c.rounds);
    lk_journal_close(c.journal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nothing_is_said_before_it_is_open, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_was_not_said_is_said_at_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_oldest_go, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_descriptor, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_line_is_read_or_counted, setup, teardown),
    };
    return cmocka_run_group_tests_name("journal", tests, unit_setup, NULL);
}
