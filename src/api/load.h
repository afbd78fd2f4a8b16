/* Reads a session, or some of its fields, for the caller: latchkey_load and latchkey_get_fields. */
#ifndef LK_API_LOAD_H
#define LK_API_LOAD_H

#include "session/read_record.h"
#include "session/visit.h"

/* OK, with a record that the caller frees; or a status of latchkey_load. A touch that is due is begun.
 * The visit begins here, and ends where the verb returns. */
int lk_load_record(latchkey *lk, const char *token, size_t token_len, const lk_want *want, lk_visit *visit,
                   latchkey_record **out);

#endif
