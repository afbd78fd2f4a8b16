/* An old token was used after its grace (rotate.lua): its session was ended. Counted, and said to the log, which a flood of
 * them does not fill. Any thread. */
#ifndef LK_OBSERVE_REUSE_H
#define LK_OBSERVE_REUSE_H

#include "base/counters.h"
#include "redis/resp.h"

enum { LK_REUSE_EVERY_MS = 10000 }; /* between two lines */

/* The selectors that a script ended because of it, one after another, or NULL: it answers something else. */
const char *lk_reuse_ended(const lk_reply *reply);

/* `selector` is the old token's. */
void lk_reuse_report(lk_counters *counters, const char *selector, int64_t now_ms);

#endif
