/* Makes a session, for the verbs that do so. */
#ifndef LK_API_CREATE_H
#define LK_API_CREATE_H

#include "session/draft.h"

/* The draft comes from lk_draft_take. `given`: with this token, once; else a token is made and put there. The caller
 * wipes it. On OK *entry is the session's. */
int lk_create(latchkey *lk, const latchkey_draft *draft, bool given, lk_token *token, latchkey_entry *entry);

/* Is this a token that latchkey_token_new made for the draft's user? OK; MALFORMED; BAD_ARGUMENT. */
int lk_create_given(const latchkey *lk, const latchkey_draft *draft, const char *token, size_t token_len,
                    lk_token *parsed);

#endif
