/* Sessions that a script ended: they are purged from L1, and remembered for a server that does not know of it. */
#ifndef LK_SESSION_ENDED_H
#define LK_SESSION_ENDED_H

#include "session/handle.h"

/* A user's sessions all lie in one partition, the same in every version and on every machine. */
unsigned lk_partition_of_user(const latchkey *lk, uint64_t user_id);

/* Purges these sessions here (guarantee B). `selectors`: one after another, separated by spaces. */
void lk_session_purge(latchkey *lk, const char *selectors);

/* Does a reply name the sessions that a script ended? At least one, as they are spelled; else it is not that script's. */
bool lk_session_names(const lk_reply *reply);

/* A script ended these sessions, and this process learns of it now: purges and remembers them. False: another server
 * was met meanwhile, see lk_book_remember. */
bool lk_session_ended(latchkey *lk, unsigned partition, const char *selectors, lk_source source);

#endif
