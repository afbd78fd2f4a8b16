/* Reads and checks the whole record: used by load, show and set_fields. */
#ifndef LK_SESSION_READ_RECORD_H
#define LK_SESSION_READ_RECORD_H

#include "session/judge.h"

/* What to read of a session. */
typedef struct lk_want {
    /* good names, none of key material; or NULL: all fields, and the key material is checked */
    const char *const *names;
    size_t count;
    const char *section; /* or NULL: the bytes of this section too, as Redis holds them: */
    lk_reply **value;    /* the caller frees it if the status is OK */
} lk_want;

/* OK: the caller frees *fields: names and values in turn, all strings, with their versions. Names of one letter are the
 * library's own. Else as latchkey_load. It is read under the lease of the server that answered, as in validate.c, so
 * *fields may be given to the caller. */
int lk_load_vouched(latchkey *lk, const lk_token *token, const lk_want *want, int64_t deadline_ms, lk_judged *judged,
                    lk_reply **fields);

/* The same by the session's name alone, or by a name that it had before it was exchanged. The answer must admit no
 * request. `selector` is its name now. */
int lk_load_named(latchkey *lk, unsigned partition, const char *name, int64_t deadline_ms, lk_judged *judged,
                  lk_reply **fields, char selector[LATCHKEY_SELECTOR_LENGTH + 1]);

struct latchkey_record {
    latchkey_entry entry;
    lk_reply *fields;
};

/* A field's value if the session is sealed: opens it in place. OK or CORRUPT. Not needed after all fields were loaded. */
int lk_open_value(latchkey *lk, lk_node *node, const lk_record *record, const char *name, lk_reply *value);

const lk_reply *lk_find_field(const lk_reply *fields, const char *name); /* its value, or NULL */

#endif
