/* The password of a handle. One that stands in a file may change while the handle is open, as the tokens of hosted Redis do every
 * hour: the file is read again for each connection. What cannot be read just then, or is empty, changes nothing. */
#ifndef LK_BASE_PASSWORD_H
#define LK_BASE_PASSWORD_H

#include "base/notices.h"

#include <stdbool.h>
#include <stddef.h>

enum { LK_PASSWORD_SIZE = 4096 + 1 };

typedef struct lk_password lk_password;

/* Of a file: its first line. False: none, and why. `again`: see lk_file_read. */
bool lk_password_read(const char *path, bool again, char password[LK_PASSWORD_SIZE], char *error, size_t error_size);

/* `first` was read from the file before. What goes wrong later is added to `notices`, once for each change. NULL: no memory. */
lk_password *lk_password_open(const char *path, const char *first, lk_notices *notices);
void lk_password_close(lk_password *p); /* NULL is allowed */

/* The file's, or the last that it held. To be wiped by the caller. From any thread. */
void lk_password_now(lk_password *p, char password[LK_PASSWORD_SIZE]);

#endif
