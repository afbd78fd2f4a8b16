/* The whole record, read and checked: shared by load, show and set_fields. */
#ifndef LK_SESSION_READ_RECORD_H
#define LK_SESSION_READ_RECORD_H

#include "session/judge.h"

/* What is to be read of a session. */
typedef struct lk_want {
    const char *const *names; /* good ones, none key material; or NULL: all fields, and the key material is checked */
    size_t count;
    const char *section; /* or NULL: this one's bytes too, as Redis holds them: */
    lk_reply **value;    /* the caller's, where it is OK */
} lk_want;

/* OK: *fields is the caller's: names and values in turn, all strings, with their versions; those of one letter are the
 * library's own. Else as latchkey_load. Under the lease of the server that answered, as in validate.c: *fields may be given to
 * the caller. */
int lk_load_vouched(latchkey *lk, const lk_token *token, const lk_want *want, int64_t deadline_ms, lk_judged *judged,
                    lk_reply **fields);

/* All of it by the session's name, or one that was exchanged, alone: nobody may be admitted on it. `selector` is its name
 * now. */
int lk_load_named(latchkey *lk, unsigned partition, const char *name, int64_t deadline_ms, lk_judged *judged,
                  lk_reply **fields, char selector[LATCHKEY_SELECTOR_LENGTH + 1]);

struct latchkey_record {
    latchkey_entry entry;
    lk_reply *fields;
};

/* A field's value, where the session is sealed: opened in place. OK or CORRUPT. What loads all fields has done it. */
int lk_open_value(latchkey *lk, lk_node *node, const lk_record *record, const char *name, lk_reply *value);

const lk_reply *lk_find_field(const lk_reply *fields, const char *name); /* its value, or NULL */

#endif
