/* The password of a handle. If it is in a file it may change while the handle is open, as the tokens of hosted Redis do
 * every hour. So the file is read again for each connection. If the file is empty or cannot be read then, the last
 * password stays in use. */
#ifndef LK_BASE_PASSWORD_H
#define LK_BASE_PASSWORD_H

#include "base/notices.h"

#include <stdbool.h>
#include <stddef.h>

enum { LK_PASSWORD_SIZE = 4096 + 1 };

typedef struct lk_password lk_password;

/* The first line of the file. False: there is none, and `error` says why. `again`: see lk_file_read. */
bool lk_password_read(const char *path, bool again, char password[LK_PASSWORD_SIZE], char *error, size_t error_size);

/* `first`: the password as it was read from the file before. What goes wrong later is added to `notices`, once for each
 * change. NULL: no memory. */
lk_password *lk_password_open(const char *path, const char *first, lk_notices *notices);
void lk_password_close(lk_password *p); /* NULL is allowed */

/* The password in the file now, or else the last known one. The caller wipes it. May be called from any thread. */
void lk_password_now(lk_password *p, char password[LK_PASSWORD_SIZE]);

#endif
