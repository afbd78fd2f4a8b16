/* SPDX-License-Identifier: MIT
 *
 * What every unit test includes: cmocka, numbers from a printed seed, threads that start together, temporary files.
 *
 *   LATCHKEY_SEED    replays a run; the seed is printed at its start
 *   LATCHKEY_SCALE   multiplies the random rounds: 0.1 for a slow tool, 1000 for a night
 */
#ifndef LATCHKEY_TESTS_UNIT_H
#define LATCHKEY_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#define UNIT_COUNT(array) (sizeof(array) / sizeof *(array))

/* Group setup of every program: makes the library's randomness ready and prints the seed. */
int unit_setup(void **state);

uint64_t unit_seed(void);

typedef struct unit_random {
    uint64_t state;
} unit_random;

unit_random unit_random_new(uint64_t stream); /* the same seed and stream give the same numbers */
uint64_t unit_next(unit_random *r);
uint64_t unit_below(unit_random *r, uint64_t end); /* 0 to end - 1 */
bool unit_chance(unit_random *r, unsigned percent);
void unit_fill(unit_random *r, void *bytes, size_t size);

/* The 20 characters of the selector of session `number`: as evenly spread as those that the library draws. */
void unit_selector(uint64_t number, char selector[21]);

/* How often to go round: `usual`, times LATCHKEY_SCALE, and less in a sanitized build. At least 1. */
uint64_t unit_rounds(uint64_t usual);

/* Runs `count` threads, let go at one barrier, and joins them. Assertions jump out of a test, so they are for its main
 * thread alone: workers write down what they saw, and the main thread judges it afterwards. */
void unit_threads(unsigned count, void (*work)(void *shared, unsigned index), void *shared);

/* A copy of `size` bytes that ends where its memory ends, so that a tool sees one byte read too many. To be freed. */
void *unit_copy(const void *bytes, size_t size);

/* A file in this program's own temporary directory, which is removed at exit; the path is valid until the next call. */
const char *unit_file(const char *name, const void *bytes, size_t size);

/* Does the kernel's line of flags (/proc/self/smaps) for the mapping that holds `at` name this one? "dd": outside core
 * dumps; "wf": zeros in a forked child. */
bool unit_mapping_has(const void *at, const char *flag);

#endif
