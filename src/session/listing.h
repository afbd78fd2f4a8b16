/* A user's sessions for whoever looks after them. */
#ifndef LK_LISTING_H
#define LK_LISTING_H

#include "latchkey.h"

enum { LK_LISTED_DAMAGED = 1 };

/* As latchkey_sessions, without a current session, and with those whose record is damaged among the others: `reserved` of these
 * is LK_LISTED_DAMAGED, and nothing is known of them but the selector, the last use and the idle expiry. Nobody can use them;
 * latchkey_revoke_selector ends them. */
int lk_list_sessions(latchkey *lk, uint64_t user_id, latchkey_session_info *sessions, size_t max, size_t *total);

#endif
