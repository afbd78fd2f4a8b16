/* The reason why the last call of this thread failed, for latchkey_error_text. A call first clears the reason of the call
 * before it (a hit does not). Code that finds a failure sets the reason. It never holds a secret (guarantee F). */
#ifndef LK_BASE_REASON_H
#define LK_BASE_REASON_H

#include <stddef.h>

enum { LK_REASON_SIZE = 256 };

/* A call on this handle begins. */
void lk_reason_clear(const void *handle);

/* Keeps why, and returns the status. */
int lk_reason(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "": none is known, or it is another handle's. `handle` may be NULL: any. */
const char *lk_reason_text(const void *handle);

#endif
