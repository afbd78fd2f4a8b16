/* Refresh ahead: entries of L1 that are in use are read again before their time is up, off the requests' path. */
#ifndef LK_SESSION_REFRESH_H
#define LK_SESSION_REFRESH_H

#include "redis/resp.h"
#include "session/handle.h"

/* A hit near the entry's end: asks the link to read it again, unless that was asked lately. */
void lk_session_refresh(latchkey *lk, const char *token, int64_t now_ms);

/* For the link's thread. False: do not ask; else *of is what to ask for. And what Redis answered. */
bool lk_refresh_begin(latchkey *lk, lk_refresh_item *item, lk_pending_item *of);
void lk_refresh_end(latchkey *lk, const lk_refresh_item *item, const lk_reply *value, const lk_reply *pttl,
                    uint64_t incarnation);

#endif
