/* The beginning of every verb that takes a token:
 *
 *   is it one of ours? --yes--> OK
 *      | no, and foreign_until_ms is set and not over
 *   name and verifier (foreign_token.c) --known--> selector + verifier: an ordinary token from there on     (alias_cache.c)
 *      | not known
 *   GET of the name, under the lease like any answer (resolve.c): found, or NOT_FOUND
 *
 * With that option off, a token that is not ours is MALFORMED at once. */
#ifndef LK_SESSION_BEGIN_H
#define LK_SESSION_BEGIN_H

#include "base/foreign_token.h"
#include "base/outcome.h"
#include "session/visit.h"

/* OK, with the token, and the visit is begun (visit.h); BAD_ARGUMENT, FORKED, MALFORMED or UNAVAILABLE. For a foreign
 * token Redis may have to be asked, within that time. Then it is OK with the ordinary token that it stands for; or
 * NOT_FOUND, UNAVAILABLE, CORRUPT, NO_MEMORY. */
int lk_begin(latchkey *lk, const char *token, size_t token_len, lk_token *parsed, lk_visit *visit);

/* The same without Redis. OK, BAD_ARGUMENT, FORKED, MALFORMED; or LK_OUTCOME_ASK_REDIS with *foreign: the token is
 * foreign, and only Redis can tell which session it means. */
int lk_begin_here(latchkey *lk, const char *token, size_t token_len, lk_token *parsed, lk_foreign *foreign);

#endif
