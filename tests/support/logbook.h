/* SPDX-License-Identifier: MIT
 *
 * Keeps what the library says to its log: lines "level text\n", level as a number.
 */
#ifndef LATCHKEY_TESTS_LOGBOOK_H
#define LATCHKEY_TESTS_LOGBOOK_H

#include <stddef.h>

enum { LOGBOOK_SIZE = 64 * 1024 };

void logbook_open(void); /* empty; from now on all is kept, and more than LOGBOOK_SIZE fails the test that reads it */
void logbook_close(void);

void logbook_clear(void);
char *logbook_text(void);          /* a copy of all, the caller's */
int logbook_has(const char *part); /* "4 setting appendonly: " */
size_t logbook_lines(void);

#endif
