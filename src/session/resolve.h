/* Which session a foreign token means (foreign_token.h): from memory, else from Redis. Used by lk_begin, submit and
 * import. */
#ifndef LK_SESSION_RESOLVE_H
#define LK_SESSION_RESOLVE_H

#include "base/foreign_token.h"
#include "redis/keys.h"
#include "session/vouched_read.h"

/* Is this foreign token accepted now? By the clock of the server that has its name: the name lasts as long by that clock
 * (api/import.c). If it is not known yet, yes: the caller will wait for a lease, and with it the clock is known. */
bool lk_foreign_taken(const latchkey *lk, const lk_foreign *foreign);

/* One question: asks, and takes its one reply, whichever thread drives the connection. */
typedef struct lk_resolving_words { /* the calls point into this, so it must not move before they are sent */
    char key[LK_KEY_SIZE];
    lk_span words[2];
    lk_call call;
} lk_resolving_words;
void lk_resolve_ask(latchkey *lk, const lk_foreign *foreign, lk_vouch *vouch, lk_resolving_words *words);

/* Takes the reply. OK, with the session's token; NOT_FOUND: no session came with it; CORRUPT; UNAVAILABLE. It counts
 * only under the lease (vouched_read.h). If it is OK, lk_resolve_remember is called then. */
int lk_resolve_take(latchkey *lk, const lk_foreign *foreign, lk_reply *reply, lk_token *token);
void lk_resolve_remember(latchkey *lk, const lk_foreign *foreign, const lk_vouch *vouch, const lk_token *token);

/* All of that, waiting until deadline_ms at most, under the lease of the server that answered. */
int lk_resolve(latchkey *lk, const lk_foreign *foreign, int64_t deadline_ms, lk_token *token);

#endif
