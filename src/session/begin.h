/* The beginning of every verb on a token:
 *
 *   is it one of ours? --yes--> OK
 *      | no, and foreign_until_ms is set and not over
 *   name and verifier (foreign_token.c) --known--> selector + verifier: an ordinary token from there on     (alias_cache.c)
 *      | not known
 *   GET of the name, under the lease like any answer (resolve.c): there, or NOT_FOUND
 *
 * With the option off nothing of this is reached: what is not ours is MALFORMED. */
#ifndef LK_SESSION_BEGIN_H
#define LK_SESSION_BEGIN_H

#include "base/foreign_token.h"
#include "base/outcome.h"
#include "session/visit.h"

/* OK, the token, and the visit is begun (visit.h); BAD_ARGUMENT, FORKED, MALFORMED or UNAVAILABLE. A foreign token may have to
 * be asked for, within that time: OK, and it stands for an ordinary one; or also NOT_FOUND, UNAVAILABLE, CORRUPT, NO_MEMORY. */
int lk_begin(latchkey *lk, const char *token, size_t token_len, lk_token *parsed, lk_visit *visit);

/* The same without Redis; *foreign is for a token that is not one of ours. OK, BAD_ARGUMENT, FORKED, MALFORMED; or
 * LK_OUTCOME_ASK_REDIS: it is foreign, and only Redis can tell which session it means. */
int lk_begin_here(latchkey *lk, const char *token, size_t token_len, lk_token *parsed, lk_foreign *foreign);

#endif
