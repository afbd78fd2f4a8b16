/* SPDX-License-Identifier: MIT
 *
 * The log function: what it is given, and that it can be set while others speak (ThreadSanitizer watches), and across a
 * fork. What the link says of its ups and downs is in test_trouble.c.
 */
#include "base/log.h"
#include "unit.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char line[2 * LK_LOG_LINE];
static int lines, level;

static void keep(void *context, int how, const char *text)
{
    assert_ptr_equal(context, line);
    snprintf(line, sizeof line, "%s", text);
    level = how;
    lines++;
}

static void test_levels_are_syslogs(void **state)
{
    (void)state;
    assert_int_equal(LATCHKEY_LOG_ERROR, 3);
    assert_int_equal(LATCHKEY_LOG_WARNING, 4);
    assert_int_equal(LATCHKEY_LOG_NOTICE, 5);
    assert_int_equal(LATCHKEY_LOG_INFO, 6);
}

static void test_one_printable_line(void **state)
{
    (void)state;
    lines = 0;
    lk_log(LATCHKEY_LOG_ERROR, "nobody listens");
    latchkey_set_log(keep, line);
    lk_log(LATCHKEY_LOG_WARNING, "%s %d", "a\nb\r\t\033[31m\x7f\xc3\xa9 ~", 7);
    assert_string_equal(line, "a?b???[31m??? ~ 7");
    assert_int_equal(level, LATCHKEY_LOG_WARNING);
    char long_text[2 * LK_LOG_LINE];
    memset(long_text, 'x', sizeof long_text);
    long_text[sizeof long_text - 1] = 0;
    lk_log(LATCHKEY_LOG_NOTICE, "%s", long_text);
    assert_int_equal(strlen(line), LK_LOG_LINE - 1);
    latchkey_set_log(NULL, NULL);
    lk_log(LATCHKEY_LOG_ERROR, "nor now");
    assert_int_equal(lines, 2);
}

/* ------------------------------------------------------------------------------------------------ threads -- */

/* A function is only ever called with the context that it was set with. */
static _Atomic unsigned long calls, mixed;
static int context_a, context_b;
static void a(void *context, int how, const char *text)
{
    atomic_fetch_add(&calls, 1);
    if (context != &context_a || how != LATCHKEY_LOG_INFO || strcmp(text, "hello 1")) atomic_fetch_add(&mixed, 1);
}
static void b(void *context, int how, const char *text)
{
    atomic_fetch_add(&calls, 1);
    if (context != &context_b || how != LATCHKEY_LOG_INFO || strcmp(text, "hello 1")) atomic_fetch_add(&mixed, 1);
}

static void set_and_say(void *shared, unsigned index)
{
    uint64_t rounds = *(const uint64_t *)shared;
    for (uint64_t i = 0; i < rounds; i++) {
        if (index >= 2) lk_log(LATCHKEY_LOG_INFO, "hello %d", 1);
        else if (i % 3 == 0) latchkey_set_log(a, &context_a);
        else if (i % 3 == 1) latchkey_set_log(b, &context_b);
        else latchkey_set_log(NULL, NULL);
    }
}

static void test_set_while_others_speak(void **state)
{
    (void)state;
    uint64_t rounds = unit_rounds(20000);
    calls = mixed = 0;
    /* Until a line fell between two settings, which one round almost certainly brings. */
    for (int i = 0; i < 1000 && !calls; i++) unit_threads(5, set_and_say, &rounds);
    assert_true(calls > 0);
    assert_int_equal(mixed, 0);
    latchkey_set_log(NULL, NULL);
}

/* The function may set another one, or say something itself: no lock is held while it runs. */
static int depth;
static void reentrant(void *context, int how, const char *text)
{
    (void)how, (void)text;
    if (depth++) return;
    lk_log(LATCHKEY_LOG_INFO, "from within");
    latchkey_set_log(keep, context);
}

static void test_no_lock_is_held_while_it_runs(void **state)
{
    (void)state;
    lines = depth = 0;
    latchkey_set_log(reentrant, line);
    lk_log(LATCHKEY_LOG_INFO, "first");
    assert_int_equal(depth, 2);
    lk_log(LATCHKEY_LOG_INFO, "second");
    assert_int_equal(lines, 1);
    assert_string_equal(line, "second");
    latchkey_set_log(NULL, NULL);
}

/* -------------------------------------------------------------------------------------------------- fork -- */

static void quiet(void *context, int how, const char *text) { (void)context, (void)how, (void)text; }

static _Atomic bool forked_enough;
static _Atomic unsigned long bad_children;

/* Children are forked while other threads are in and out of the lock; each must get through. No function was ever set: who is
 * silent must not hang either. */
static void fork_and_say(void *shared, unsigned index)
{
    uint64_t children = *(const uint64_t *)shared;
    while (index && !forked_enough) lk_log(LATCHKEY_LOG_INFO, "x");
    for (uint64_t i = 0; !index && i < children; i++) {
        pid_t child = fork();
        if (child == 0) {
            alarm(60); /* a child that waits for ever is ended */
            lk_log(LATCHKEY_LOG_INFO, "x");
            latchkey_set_log(quiet, NULL);
            lk_log(LATCHKEY_LOG_INFO, "x");
            _exit(0);
        }
        int status = 1;
        if (child < 0 || waitpid(child, &status, 0) != child || status) bad_children++;
    }
    if (!index) forked_enough = true;
}

static void test_fork_while_others_speak(void **state)
{
    (void)state;
    uint64_t children = unit_rounds(400);
    forked_enough = false;
    unit_threads(4, fork_and_say, &children);
    assert_int_equal(bad_children, 0);
    latchkey_set_log(NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fork_while_others_speak), /* the first: no function was set yet */
        cmocka_unit_test(test_levels_are_syslogs),      cmocka_unit_test(test_one_printable_line),
        cmocka_unit_test(test_set_while_others_speak),  cmocka_unit_test(test_no_lock_is_held_while_it_runs),
    };
    return cmocka_run_group_tests_name("log", tests, unit_setup, NULL);
}
