/* A session was used, and Redis is to hear of it soon: the link tells it. */
#ifndef LK_SESSION_TOUCH_H
#define LK_SESSION_TOUCH_H

#include "base/record.h"
#include "session/handle.h"

/* By the session's own record, whichever token it was found by. */
void lk_session_touch(latchkey *lk, unsigned partition, const lk_record *record);

/* The same where its record is not at hand. */
void lk_session_touch_name(latchkey *lk, unsigned partition, const char *selector);

#endif
