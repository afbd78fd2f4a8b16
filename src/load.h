/* The whole record, read and checked: shared by load, show and set_fields. */
#ifndef LK_LOAD_H
#define LK_LOAD_H

#include "session.h"

/* What is to be read of a session. */
typedef struct lk_want {
    const char *const *names; /* good ones, none key material; or NULL: all fields, and the key material is checked */
    size_t count;
    const char *section; /* or NULL: this one's bytes too, as Redis holds them: */
    lk_reply **value;    /* the caller's, where it is OK */
} lk_want;

/* OK: *fields is the caller's: names and values in turn, all strings, with their versions; those of one letter are the
 * library's own. Else as latchkey_load. *incarnation (may be NULL) is the server's that answered: nobody may be admitted but
 * under its lease. */
int lk_load(latchkey *lk, const lk_token *token, const lk_want *want, int64_t deadline_ms, lk_judged *judged,
            lk_reply **fields, uint64_t *incarnation);

/* The same under that lease, as in validate.c: *fields may be given to the caller. */
int lk_load_vouched(latchkey *lk, const lk_token *token, const lk_want *want, int64_t deadline_ms, lk_judged *judged,
                    lk_reply **fields);

/* HGETALL's reply and PTTL's, asked for at asked_us: OK, NOT_FOUND, EXPIRED, UNAVAILABLE or CORRUPT. `token` may be NULL, as
 * in lk_session_judge. */
int lk_load_judge(latchkey *lk, lk_node *node, unsigned partition, const char *selector, const lk_token *token,
                  const lk_reply *fields, const lk_reply *pttl, int64_t asked_us, lk_judged *judged);

/* The session's name now; `old` is HGETALL's reply for one that it had before. NOT_FOUND: it has ended. */
int lk_load_heir_name(latchkey *lk, unsigned partition, const lk_reply *old, int64_t deadline_ms,
                      char selector[LATCHKEY_SELECTOR_LENGTH + 1], uint64_t *incarnation);

struct latchkey_record {
    latchkey_entry entry;
    lk_reply *fields;
};

/* A field's value, where the session is sealed: opened in place. OK or CORRUPT. lk_load and lk_load_judge have done it. */
int lk_open_value(latchkey *lk, lk_node *node, const lk_record *record, const char *name, lk_reply *value);

const lk_reply *lk_find_field(const lk_reply *fields, const char *name); /* its value, or NULL */

#endif
