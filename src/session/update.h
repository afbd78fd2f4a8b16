/* Changes a session in place: single fields, its records, or both, by one script, all or nothing.
 *
 *     read the records (records.lua) --> edit, encode --> swap them if they are still what was read, set fields --> announce
 *            ^                                                          |
 *            '------------------- they are not: once more --------------'
 *
 * Only this side can make a record: Redis can compute neither its encoding nor the hash in it that binds the key
 * material. So a change reads the record first, and the script compares the bytes. A session has several records if its
 * token was exchanged with a grace: old tokens answer from records of their own. Plain fields need no reading. */
#ifndef LK_SESSION_UPDATE_H
#define LK_SESSION_UPDATE_H

#include "session/judge.h"

typedef struct lk_update {
    const latchkey_field *fields; /* checked with lk_fields_check; data NULL deletes */
    size_t count;
    /* the versions that the fields must have, 0: the field must not exist; or NULL: any */
    const uint64_t *versions;
    const latchkey_access *access; /* or NULL */
} lk_update;

/* OK; REFUSED: a field has another version; else as latchkey_set_fields. */
int lk_update_session(latchkey *lk, const lk_token *token, const lk_update *change, int64_t deadline_ms);

/* Reads the session's record as Redis holds it, for what is bound to it. Statuses as latchkey_set_fields. */
int lk_update_read(latchkey *lk, const lk_token *token, int64_t deadline_ms, lk_record *record);

/* Records as they were read and as they are to be, in the form that unpack_swaps in common.lua reads. Zero it first,
 * free it afterwards. */
typedef struct lk_swaps {
    uint8_t *bytes;
    size_t size, room;
} lk_swaps;

/* Adds a record as it is after the edit. */
bool lk_swaps_add(lk_swaps *swaps, const lk_seal_keys *keys, const char selector[LATCHKEY_SELECTOR_LENGTH],
                  const lk_reply *was, const lk_record *record);
bool lk_swaps_keep(lk_swaps *swaps, const char selector[LATCHKEY_SELECTOR_LENGTH], const lk_reply *was);
void lk_swaps_free(lk_swaps *swaps);

/* The access as this library knows it (base/sized.h). OK or BAD_ARGUMENT. */
int lk_access_take(const latchkey_access *given, latchkey_access *access);
bool lk_access_apply(const latchkey_access *access, int64_t now_ms,
                     latchkey_entry *entry); /* false: the entry is like that already */

#endif
