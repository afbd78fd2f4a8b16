/* A caller's mistake, said where a developer looks. */
#ifndef LK_ARGUMENT_H
#define LK_ARGUMENT_H

/* BAD_ARGUMENT; and the log hears, at LATCHKEY_LOG_INFO, "argument: " and `what`: the argument's name, what is wrong with it, and
 * what is allowed. Static text. Each text is said at most once in ten seconds. Call it under no lock (base/log.h). */
int lk_bad_argument(const char *what);

#endif
