/* Redis' clock, as this process knows it from the link's beats. Absolute times are compared with it alone (guarantee
 * H). Each partition has the clock of the server that owns it: another server is another clock. */
#ifndef LK_SESSION_SERVER_TIME_H
#define LK_SESSION_SERVER_TIME_H

#include "redis/resp.h"
#include "session/handle.h"

/* Unix milliseconds; 0: not known yet */
int64_t lk_server_now_ms(const latchkey *lk, unsigned partition, int64_t now_us);
/* The same of any server whose clock is known, for what belongs to no partition: a node of a cluster may be away. */
int64_t lk_server_any_now_ms(const latchkey *lk, int64_t now_us);
bool lk_session_is_time(int64_t ms); /* whether a server's number can be one: it is before 5138 */

/* Redis' time as it may be written into a sealed record, which a script cannot write: rather too early than too late. A
 * script that finds it too far from its own time answers CLOCK, the time that it should be, and its own time.
 * lk_session_clock returns the first and stores the second, which is earlier if all sessions were ended by a clock that
 * was ahead; else it returns 0. */
int64_t lk_session_guess_ms(const latchkey *lk, unsigned partition);
int64_t lk_session_clock(const lk_reply *reply, int64_t *now_ms);

#endif
