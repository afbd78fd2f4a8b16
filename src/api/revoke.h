/* A revocation in its two halves: denied here, at once; and confirmed by Redis. */
#ifndef LK_API_REVOKE_H
#define LK_API_REVOKE_H

#include "session/handle.h"

typedef struct lk_revocation {
    lk_pending_item item;
    char token[LATCHKEY_TOKEN_SIZE]; /* to be wiped by the caller */
    uint64_t ticket;                 /* of the negative cache, as of the denial */
    bool denied;                     /* false: there is no place for it in the list of those that are pending */
    uint64_t confirmed_by;           /* the server that did, and its replicas; 0: none */
} lk_revocation;

/* Once it returned, and r->denied, no validate on this handle that starts later admits the session. */
void lk_revoke_deny(latchkey *lk, const lk_token *token, lk_revocation *r);

int lk_revoke_confirm(latchkey *lk, lk_revocation *r, int64_t deadline_ms); /* as latchkey_revoke */

/* In place of the second half, where the time is over: PENDING, the link goes on with it; UNAVAILABLE: too many wait. */
int lk_revoke_later(latchkey *lk, lk_revocation *r);

#endif
