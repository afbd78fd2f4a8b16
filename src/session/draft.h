/* What making a session has in common with moving one in (import.c). */
#ifndef LK_SESSION_DRAFT_H
#define LK_SESSION_DRAFT_H

#include "session/judge.h"

/* OK, and the record that a draft asks for, its idle time too, without selector and verifier; its times are not to be
 * relied upon; or BAD_ARGUMENT. */
int lk_draft_record(const latchkey *lk, const latchkey_draft *draft, lk_record *record);

/* A session that nobody is to have, though Redis may hold it: the link ends it. */
void lk_disown(latchkey *lk, const lk_token *token);

#endif
