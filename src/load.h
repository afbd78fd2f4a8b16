/* The whole record, read and checked: shared by load and set_fields. */
#ifndef LK_LOAD_H
#define LK_LOAD_H

#include "session.h"

/* OK: *fields is HGETALL's reply, the caller's: names and values in turn, all strings. Else as latchkey_load.
 * *incarnation (may be NULL) is the server's that answered: nobody may be admitted but under its lease. */
int lk_load(latchkey *lk, const lk_token *token, int64_t deadline_ms, lk_judged *judged, lk_reply **fields,
            uint64_t *incarnation);

const lk_reply *lk_find_field(const lk_reply *fields, const char *name); /* its value, or NULL */

#endif
