/* Entries of L1 that are in use are renewed by a touch, or read again, before their time is up: off the requests' path. */
#ifndef LK_SESSION_REFRESH_H
#define LK_SESSION_REFRESH_H

#include "redis/resp.h"
#include "session/handle.h"

/* A hit of an entry that something is to be asked about: asks the link, unless it was asked lately. */
void lk_session_refresh(latchkey *lk, const char *token, int64_t now_ms);

/* For so long that may wait. It is asked for again after twice that, whatever became of it. */
int64_t lk_session_patience(const latchkey *lk);

/* For the link's thread. False: there is nothing to ask; else the job is a touch, or a read, and `of` names the session. And
 * what Redis answered to a read. */
bool lk_refresh_begin(latchkey *lk, lk_refresh_item *item, lk_job *job);
void lk_refresh_end(latchkey *lk, const lk_refresh_item *item, const lk_reply *value, const lk_reply *pttl,
                    uint64_t incarnation);

#endif
