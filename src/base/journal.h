/* The last lines of a handle's log, for latchkey_log_read. While the handle is being opened, also the lines that its other
 * threads have for the log function. The thread that opens the handle may hold a lock that the log function waits for (an
 * interpreter's), and latchkey_open waits for the link's thread. So until the handle is open, only the opening thread
 * calls that function.
 *
 * Bounded: if too many lines were not read, the oldest are dropped, and one line says how many. */
#ifndef LK_BASE_JOURNAL_H
#define LK_BASE_JOURNAL_H

#include "base/log.h"

#include <stdbool.h>
#include <stddef.h>

enum { LK_JOURNAL_LINES = 128 };

lk_journal *lk_journal_open(void);            /* NULL: no memory */
void lk_journal_close(lk_journal *journal);   /* NULL is allowed. What was not said yet is said */
void lk_journal_abandon(lk_journal *journal); /* in a forked child: closes its copy of the descriptor, and no more */

/* The handle is open: says what was kept, in this thread. From now on each thread says its own lines. */
void lk_journal_opened(lk_journal *journal);

/* For lk_log. True: lk_journal_opened or lk_journal_close says it. */
bool lk_journal_add(lk_journal *journal, int level, const char *line);

/* The oldest line that was not read. False: none. */
bool lk_journal_read(lk_journal *journal, int *level, char *text, size_t size);

/* A descriptor that is readable while a line waits. It is made by the first call. -1: none is left. */
int lk_journal_fd(lk_journal *journal);

#endif
