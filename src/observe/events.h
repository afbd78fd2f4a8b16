/* Lifecycle events, for an audit trail: the option events. One line of the log each, once, by the instance that did it, when
 * Redis has confirmed it:
 *
 *     event: NAME selector=... key=value ...
 *
 * Values are numbers, selectors and words of our own, so nothing that somebody else wrote can look like a line or a field.
 * Called under no lock (log.h). All of it does nothing where events is 0. */
#ifndef LK_OBSERVE_EVENTS_H
#define LK_OBSERVE_EVENTS_H

#include "base/config.h"
#include "base/counters.h"
#include "redis/resp.h"

/* Scripts say of whom they ended, behind the selectors that are over, " : ", the user and of each session the selector that
 * it had last (`told` in common.lua). The piece from " : " on, or NULL. */
const char *lk_event_told(const char *reply);

void lk_event_created(const lk_config *config, const char *selector, uint64_t user_id, uint32_t device);
void lk_event_imported(const lk_config *config, const char *selector, uint64_t user_id, uint32_t device);
void lk_event_refused(const lk_config *config, uint64_t user_id, const char *why); /* generation, limit */
void lk_event_changed(const lk_config *config, const char *selector, const char *what);

void lk_event_everyone(const lk_config *config);

/* `text` is a script's reply, or any text that ends with such a piece. */
void lk_event_rotated(const lk_config *config, const char *old_selector, const char *new_selector, const char *text,
                      int64_t grace_ms);
void lk_event_revoked(const lk_config *config, const char *text, const char *by);       /* a line for each session */
void lk_event_changed_all(const lk_config *config, const char *text, const char *what); /* the same */
void lk_event_reused(const lk_config *config, const char *old_selector, const char *text);

/* Where the script says no more than the selectors: those of this user, whom the limits left no room. */
void lk_event_evicted(const lk_config *config, const char *selectors, uint64_t user_id);

/* An old token was used after its grace (rotate.lua): its session was ended. Counted, and said to the log whether events are on
 * or not; a flood of them does not fill the log. Any thread. */
enum { LK_REUSE_EVERY_MS = 10000 }; /* between two lines */

/* The selectors that a script ended because of it, one after another, or NULL: it answers something else. */
const char *lk_reuse_ended(const lk_reply *reply);

/* `selector` is the old token's. */
void lk_reuse_report(lk_counters *counters, const char *selector, int64_t now_ms);

#endif
