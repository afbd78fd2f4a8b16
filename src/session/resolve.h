/* Whose session a foreign token means (foreign_token.h): from memory, else from Redis. Shared by lk_begin, submit and import. */
#ifndef LK_SESSION_RESOLVE_H
#define LK_SESSION_RESOLVE_H

#include "base/foreign_token.h"
#include "redis/keys.h"
#include "session/handle.h"

/* Are foreign tokens taken now? By Redis' clock; where it was never heard, they are: who goes on waits for a lease, and
 * with it the clock is known. */
bool lk_foreign_taken(const latchkey *lk);

/* One question: asked, and answered by its one reply, whoever drives the connection. */
typedef struct lk_resolving {
    uint64_t ticket, leased; /* alias_cache.h; and who had the lease when it was asked */
} lk_resolving;
typedef struct lk_resolving_words { /* they point into this: it must not move before they are sent */
    char key[LK_KEY_SIZE];
    lk_span words[2];
    lk_call call;
} lk_resolving_words;
void lk_resolve_ask(latchkey *lk, const lk_foreign *foreign, lk_resolving *resolving, lk_resolving_words *words);

/* Takes the reply. *incarnation is the server that gave it; 0 afterwards where it had no lease when it was asked. OK, and the
 * token of the session; NOT_FOUND: no session came with it; CORRUPT; UNAVAILABLE. To be vouched for (lk_node_lease_covers), and,
 * where it is OK, remembered. */
int lk_resolve_take(latchkey *lk, const lk_foreign *foreign, const lk_resolving *resolving, lk_reply *reply,
                    uint64_t *incarnation, lk_token *token);
void lk_resolve_remember(latchkey *lk, const lk_foreign *foreign, const lk_resolving *resolving, const lk_token *token);

/* All of that, waiting for at most until deadline_ms, under the lease of the server that answered. */
int lk_resolve(latchkey *lk, const lk_foreign *foreign, int64_t deadline_ms, lk_token *token);

#endif
