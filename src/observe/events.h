/* What happens to sessions, for an audit trail (the option `events`). Each event is one line of the log. It is logged
 * once, by the instance that did it, when Redis has confirmed it:
 *
 *     event: NAME selector=... key=value ...
 *
 * Values are numbers, selectors and words of the library, so nothing that others wrote can look like a line or a field.
 * Call these under no lock (log.h). They do nothing if `events` is 0, except lk_reuse_report. */
#ifndef LK_OBSERVE_EVENTS_H
#define LK_OBSERVE_EVENTS_H

#include "base/config.h"
#include "base/counters.h"
#include "redis/resp.h"

/* A script's reply may end in a piece that says which sessions it ended: behind the selectors that are over, " : ", the
 * user, and for each session the selector that it had last (`told` in common.lua). Returns the piece from " : " on, or
 * NULL. */
const char *lk_event_told(const char *reply);

void lk_event_created(const lk_config *config, const char *selector, uint64_t user_id, uint32_t device);
void lk_event_imported(const lk_config *config, const char *selector, uint64_t user_id, uint32_t device);
void lk_event_refused(const lk_config *config, uint64_t user_id, const char *why); /* `why`: generation or limit */
void lk_event_changed(const lk_config *config, const char *selector, const char *what);

void lk_event_everyone(const lk_config *config);

/* `text` is a script's reply, or any other text that ends with such a piece. */
void lk_event_rotated(const lk_config *config, const char *old_selector, const char *new_selector, const char *text,
                      int64_t grace_ms);
void lk_event_revoked(const lk_config *config, const char *text, const char *by);       /* one line for each session */
void lk_event_changed_all(const lk_config *config, const char *text, const char *what); /* one line for each session */
void lk_event_reused(const lk_config *config, const char *old_selector, const char *text);

/* For a script that says only the selectors: those sessions of this user had no room under the limits. */
void lk_event_evicted(const lk_config *config, const char *selectors, uint64_t user_id);

/* An old token was used after its grace (rotate.lua), and its session was ended. This is counted, and logged even if
 * events are off; many of them do not fill the log. May be called from any thread. */
enum { LK_REUSE_EVERY_MS = 10000 }; /* between two lines */

/* The selectors, one after another, that a script ended because of it. NULL: the reply says something else. */
const char *lk_reuse_ended(const lk_reply *reply);

/* `selector` is the old token's. */
void lk_reuse_report(lk_counters *counters, const char *selector, int64_t now_ms);

#endif
