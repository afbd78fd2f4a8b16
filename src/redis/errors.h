/* What an error reply of Redis means: a status, and what to do about it. */
#ifndef LK_REDIS_ERRORS_H
#define LK_REDIS_ERRORS_H

#include "redis/resp.h"

#include "latchkey.h"

/* UNAVAILABLE, CORRUPT or CONFIG; and, in `text`, what to do about it. */
int lk_error_status(const lk_reply *reply, char *text, size_t text_size);

/* The same of an error that is known. 0 of another one, and no text: it never shows what the server wrote. */
int lk_known_error(const lk_reply *reply, char *text, size_t text_size);

#endif
