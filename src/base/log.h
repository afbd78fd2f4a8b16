/* What the library says to the application's log: a line at a time, through the one function of the process. */
#ifndef LK_BASE_LOG_H
#define LK_BASE_LOG_H

#include "latchkey.h"

enum { LK_LOG_LINE = 640 }; /* bytes of a line, its NUL included: what is longer is cut */

/* Call it under no lock: the application's function runs in it. Whatever the arguments hold, the line is printable ASCII.
 * No secret may stand in them (guarantee F). */
void lk_log(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
