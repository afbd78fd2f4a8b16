/* A user's sessions, for the command. */
#ifndef LK_LISTING_H
#define LK_LISTING_H

#include "latchkey.h"

enum { LK_LISTED_DAMAGED = 1 };

/* As latchkey_sessions, without a current session, and including those whose record is damaged. `reserved` of those is
 * LK_LISTED_DAMAGED; only their selector, last use and idle expiry are known. They cannot be used;
 * latchkey_revoke_selector ends them. */
int lk_list_sessions(latchkey *lk, uint64_t user_id, latchkey_session_info *sessions, size_t max, size_t *total);

#endif
