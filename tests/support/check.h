/* SPDX-License-Identifier: MIT
 *
 * What every test includes: cmocka, assertions that say what they saw, and waiting for a condition instead of for a
 * time. Assertions jump out of the test, so they are for its main thread only; a worker thread writes down what it saw
 * and the main thread judges it after the join.
 */
#ifndef LATCHKEY_TESTS_CHECK_H
#define LATCHKEY_TESTS_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "latchkey.h"

/* How long a condition may take to become true before the test gives up: generous, since the machine may be slow and
 * busy and the code may run under a sanitizer. A condition that holds costs nothing of it. */
#define CHECK_PATIENCE_MS 60000

/* Asserts a status, and on failure prints both in words with the handle's last_error. `lk` may be NULL. */
#define assert_status(lk, want, got) check_status((lk), (want), (got), #got, __FILE__, __LINE__)
void check_status(latchkey *lk, int want, int got, const char *call, const char *file, int line);

/* Asserts that a status is one of a set: assert_status_in(lk, got, LATCHKEY_OK, LATCHKEY_UNAVAILABLE). */
#define assert_status_in(lk, got, ...)                                                                                 \
    check_status_in((lk), (got), (const int[]){__VA_ARGS__}, sizeof((const int[]){__VA_ARGS__}) / sizeof(int), #got,   \
                    __FILE__, __LINE__)
void check_status_in(latchkey *lk, int got, const int *allowed, size_t count, const char *call, const char *file,
                     int line);

/* Asserts that `text` contains `part` (or does not), printing both. */
#define assert_contains(text, part) check_contains((text), (part), 1, __FILE__, __LINE__)
#define assert_lacks(text, part) check_contains((text), (part), 0, __FILE__, __LINE__)
void check_contains(const char *text, const char *part, int wanted, const char *file, int line);

/* Polls a condition until it holds; fails the test when it does not within CHECK_PATIENCE_MS. */
#define wait_for(condition)                                                                                            \
    do {                                                                                                               \
        int64_t wait_until_ = check_now_ms() + CHECK_PATIENCE_MS;                                                      \
        while (!(condition)) {                                                                                         \
            if (check_now_ms() > wait_until_) {                                                                        \
                fail_msg("waited %d ms in vain for: %s", CHECK_PATIENCE_MS, #condition);                               \
            }                                                                                                          \
            check_pause();                                                                                             \
        }                                                                                                              \
    } while (0)

int64_t check_now_ms(void); /* CLOCK_MONOTONIC, which all processes of a machine share */
void check_pause(void);     /* a few milliseconds, between two looks at a condition */

/* Until that time is over by every handle's idea of Redis' clock too, which may be late by half a round trip: on a slow
 * machine that is long. */
void check_outlive(int64_t ms);

/* A path in this program's own directory of temporary files, which is removed at exit. `out` receives it. */
void check_temp_path(const char *name, char *out, size_t out_size);
void check_write_file(const char *path, const void *data, size_t size);

/* Removes a directory and all that is in it. */
void check_remove_tree(const char *path);

/* Where temporary files go: TMPDIR, or /tmp where that is unset or too long for the path of a unix socket. */
const char *check_temp_root(void);

/* Does `needle` occur in `haystack`? */
int check_find(const void *haystack, size_t haystack_size, const void *needle, size_t needle_size);

#endif
