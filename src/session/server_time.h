/* Redis' clock, as this process knows it from the beats of the link: absolute times are compared with it alone (guarantee H). It is
 * the clock of the server that owns the first partition. */
#ifndef LK_SESSION_SERVER_TIME_H
#define LK_SESSION_SERVER_TIME_H

#include "redis/resp.h"
#include "session/handle.h"

int64_t lk_server_now_ms(const latchkey *lk, int64_t now_us); /* Unix milliseconds; 0: not known yet */

/* Its time of now as it may stand in a sealed record, which no script can write: rather too early than too late. A script that
 * finds it too far from its own time answers CLOCK, the time that it should be, and its own: lk_session_clock
 * returns the first and stores the second, which is earlier where all sessions were ended by a clock that was ahead; else 0. */
int64_t lk_session_guess_ms(const latchkey *lk);
int64_t lk_session_clock(const lk_reply *reply, int64_t *now_ms);

#endif
