/* What latchkey_create and latchkey_import have in common. */
#ifndef LK_SESSION_DRAFT_H
#define LK_SESSION_DRAFT_H

#include "base/record.h"
#include "redis/resp.h"
#include "session/handle.h"

/* OK, and the record that a draft asks for, with its idle time, but without selector and verifier and with times that
 * are not set yet. Or BAD_ARGUMENT. */
int lk_draft_record(const latchkey *lk, const latchkey_draft *draft, lk_record *record);

/* The draft as this library knows it, whichever header the caller was built with, and with the id of its name. OK or
 * BAD_ARGUMENT. */
int lk_draft_take(const latchkey_draft *given, latchkey_draft *draft);

/* The user's name for a script, in front of the fields: "n" and its hash. Returns the number of words, 2 or 0. */
size_t lk_draft_name(const latchkey_draft *draft, lk_span words[2], uint8_t hash[LK_HASH_SIZE]);
/* Did a script answer that the id belongs to another name? */
bool lk_draft_collides(const latchkey_draft *draft, const lk_reply *reply);

int64_t lk_draft_lifetime(const latchkey *lk, const latchkey_draft *draft);
/* The times of a session that is made now, by Redis' clock. Its record says that it was made at made_ms: that is later
 * than now if all sessions up to then were ended, by a clock that was ahead. */
void lk_draft_times(const latchkey *lk, const latchkey_draft *draft, lk_record *record, int64_t made_ms,
                    int64_t now_ms);

/* For a session that must not be used though Redis may hold it: the link ends it. `certain`: Redis has said that it made it. */
void lk_disown(latchkey *lk, const lk_token *token, bool certain);

/* Why latchkey_import answered REFUSED or MALFORMED. */
enum lk_import_refusal {
    LK_IMPORT_HERE, /* it moved in before; or the generation has moved */
    LK_IMPORT_OVER, /* it was created before all sessions were ended (latchkey_revoke_everyone) */
    LK_IMPORT_NAME, /* its user's id belongs to another name */
    LK_IMPORT_LATE  /* MALFORMED: foreign_until_ms is past */
};
int lk_import(latchkey *lk, const char *foreign, size_t foreign_len, const latchkey_draft *draft, int64_t created_at_ms,
              int64_t expires_at_ms, enum lk_import_refusal *why);

#endif
