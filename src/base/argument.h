/* How the library reports a caller's mistake, where a developer looks: in the log. */
#ifndef LK_ARGUMENT_H
#define LK_ARGUMENT_H

/* Returns BAD_ARGUMENT, and writes "argument: " and `what` to the log at LATCHKEY_LOG_INFO. `what` is static text: the
 * argument's name, what is wrong with it, and what is allowed. The same text is logged at most once in ten seconds.
 * Call it under no lock (base/log.h). */
int lk_bad_argument(const char *what);

#endif
