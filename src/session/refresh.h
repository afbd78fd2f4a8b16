/* Entries of L1 that are in use are renewed by a touch, or read again, before their time is up: outside of any request. */
#ifndef LK_SESSION_REFRESH_H
#define LK_SESSION_REFRESH_H

#include "redis/resp.h"
#include "session/handle.h"

/* After a hit of an entry about which something is to be asked: asks the link, unless it was asked recently. idle_ms is the session's
 * own, 0 if a use no longer prolongs it. */
void lk_session_refresh(latchkey *lk, const char *token, int64_t idle_ms, int64_t now_ms);

/* How long that may wait. After twice that it may be asked for again, whatever became of it. */
int64_t lk_session_patience(const latchkey *lk, int64_t idle_ms);

/* For the link's thread. False: there is nothing to ask; else the job is a touch or a read, and `of` names the session.
 * lk_refresh_end takes what Redis answered to a read. */
bool lk_refresh_begin(latchkey *lk, lk_refresh_item *item, lk_job *job);
void lk_refresh_end(latchkey *lk, const lk_refresh_item *item, const lk_reply *value, const lk_reply *pttl,
                    uint64_t incarnation);

#endif
