/* What the library tells the application's log: one line at a time, through the one log function of the process. */
#ifndef LK_BASE_LOG_H
#define LK_BASE_LOG_H

#include "latchkey.h"

enum { LK_LOG_LINE = 640 }; /* bytes of a line, its NUL included; a longer line is cut */

/* Call it under no lock: it calls the application's function. The line is printable ASCII whatever the arguments hold.
 * They must hold no secret (guarantee F). */
void lk_log(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The handle that this thread's lines belong to: from now on each line is kept in that handle's journal as well
 * (journal.h). NULL: none. Returns the one before. The link's thread sets it once; a call sets it for as long as it
 * lasts (session/visit.h). */
typedef struct lk_journal lk_journal;
lk_journal *lk_log_to(lk_journal *journal);

void lk_log_say(int level, const char *line); /* passes a journal's line to the log function only */

#endif
