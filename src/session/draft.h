/* What making a session has in common with moving one in (import.c). */
#ifndef LK_SESSION_DRAFT_H
#define LK_SESSION_DRAFT_H

#include "base/record.h"
#include "redis/resp.h"
#include "session/handle.h"

/* OK, and the record that a draft asks for, its idle time too, without selector and verifier; its times are not to be
 * relied upon; or BAD_ARGUMENT. */
int lk_draft_record(const latchkey *lk, const latchkey_draft *draft, lk_record *record);

/* The draft as this library knows it, whichever header the caller was built with, and with the id of its name. OK or
 * BAD_ARGUMENT. */
int lk_draft_take(const latchkey_draft *given, latchkey_draft *draft);

/* The user's name for a script, in front of the fields: "n" and its hash. Returns how many words, 2 or 0. */
size_t lk_draft_name(const latchkey_draft *draft, lk_span words[2], uint8_t hash[LK_HASH_SIZE]);
/* A script answered that the id is another name's. */
bool lk_draft_collides(const latchkey_draft *draft, const lk_reply *reply);

int64_t lk_draft_lifetime(const latchkey *lk, const latchkey_draft *draft);
/* The times of a session that is made now, by Redis' clock, and says that it was made at made_ms: later, where all sessions were
 * ended up to then by a clock that was ahead. */
void lk_draft_times(const latchkey *lk, const latchkey_draft *draft, lk_record *record, int64_t made_ms,
                    int64_t now_ms);

/* A session that nobody is to have, though Redis may hold it: the link ends it. */
void lk_disown(latchkey *lk, const lk_token *token);

/* latchkey_import, and what REFUSED means. */
enum lk_import_refusal {
    LK_IMPORT_HERE, /* it moved in before; or the generation moved */
    LK_IMPORT_OVER, /* it was created before the sessions of everybody were ended (latchkey_revoke_everyone) */
    LK_IMPORT_NAME  /* its user's id is another name's */
};
int lk_import(latchkey *lk, const char *foreign, size_t foreign_len, const latchkey_draft *draft, int64_t created_at_ms,
              int64_t expires_at_ms, enum lk_import_refusal *why);

#endif
