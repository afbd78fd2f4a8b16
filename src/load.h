/* The whole record, read and checked: shared by load, show and set_fields. */
#ifndef LK_LOAD_H
#define LK_LOAD_H

#include "session.h"

/* OK: *fields is HGETALL's reply, the caller's: names and values in turn, all strings. Else as latchkey_load.
 * *incarnation (may be NULL) is the server's that answered: nobody may be admitted but under its lease. */
int lk_load(latchkey *lk, const lk_token *token, int64_t deadline_ms, lk_judged *judged, lk_reply **fields,
            uint64_t *incarnation);

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
