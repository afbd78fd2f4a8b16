/* A revocation in two halves: denied here, at once; and confirmed by Redis. */
#ifndef LK_API_REVOKE_H
#define LK_API_REVOKE_H

#include "session/handle.h"

typedef struct lk_revocation {
    lk_pending_item item;
    char token[LATCHKEY_TOKEN_SIZE]; /* the caller wipes it */
    uint64_t ticket;                 /* of the negative cache, as of the denial */
    bool denied;                     /* false: the list of pending revocations has no place for it */
    uint64_t confirmed_by;           /* the server that confirmed it, with its replicas; 0: none */
} lk_revocation;

/* Once it has returned and r->denied is set, no validate on this handle that starts later admits the session. */
void lk_revoke_deny(latchkey *lk, const lk_token *token, lk_revocation *r);

int lk_revoke_confirm(latchkey *lk, lk_revocation *r, int64_t deadline_ms); /* as latchkey_revoke */

/* In place of the second half, if the time is over: PENDING, the link continues; UNAVAILABLE: too many are waiting. */
int lk_revoke_later(latchkey *lk, lk_revocation *r);

#endif
