/* A session was used: the link tells Redis soon (link_jobs.c). The answer renews the entry in L1: it says that the
 * session lives, and for how long. The rest of the entry is coherent under the lease, so no read is needed. */
#ifndef LK_SESSION_TOUCH_H
#define LK_SESSION_TOUCH_H

#include "base/record.h"
#include "session/handle.h"

/* Takes the session's own record, whichever token it was found by. */
void lk_session_touch(latchkey *lk, unsigned partition, const lk_record *record);

/* The same if the record is not at hand. */
void lk_session_touch_name(latchkey *lk, const char *selector);

/* What the link must know for it. */
lk_touch lk_touch_of(latchkey *lk, unsigned partition, const char *selector, const latchkey_entry *entry,
                     int64_t idle_ms);

/* A touch that was lost: see lk_l1_side in link_state.h. */
bool lk_touch_owed(latchkey *lk, size_t *at, int64_t age_ms, lk_job *job);

/* For the link's thread. lk_touch_begin: a touch is about to be sent. lk_touch_end: Redis has moved the session's
 * expiry. */
void lk_touch_begin(latchkey *lk, lk_job *job);
void lk_touch_end(latchkey *lk, const lk_job *job, uint64_t incarnation);

#endif
