/* Sessions that a script ended: they are purged from L1 and remembered for a server that does not know of it. */
#ifndef LK_SESSION_ENDED_H
#define LK_SESSION_ENDED_H

#include "session/handle.h"

/* All sessions of a user lie in one partition, in every version and on every machine. */
unsigned lk_partition_of_user(const latchkey *lk, uint64_t user_id);

/* `selectors`: one after another, with spaces between. They are purged here (guarantee B). */
void lk_session_purge(latchkey *lk, const char *selectors);

/* These were ended, as a script's answer says, and this process learns of it now: they are purged and remembered.
 * False: another server was met meanwhile, see lk_node_remember. */
bool lk_session_ended(latchkey *lk, unsigned partition, const char *selectors, lk_source source);

#endif
