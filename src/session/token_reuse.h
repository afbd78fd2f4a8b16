/* A token that was exchanged and is used again after its grace: two clients hold it, so its session ends (rotate.lua). */
#ifndef LK_SESSION_TOKEN_REUSE_H
#define LK_SESSION_TOKEN_REUSE_H

#include "base/token.h"
#include "redis/resp.h"
#include "session/handle.h"

/* Call this, or lk_node_reused, for a token that was exchanged, whose grace is over by our clock, and that matched as a
 * whole: otherwise its session goes on. It asks Redis. OK: the token is good for a moment, until *until_us. NOT_FOUND:
 * its session was ended, purged here, counted and logged; or there was none any more. UNAVAILABLE ... */
int lk_session_reused(latchkey *lk, const lk_token *token, int64_t deadline_ms, int64_t *until_us);

/* Did a script answer that the token of this selector is such a one? Then its session's end is dealt with, and the
 * caller answers NOT_FOUND. */
bool lk_session_take_reused(latchkey *lk, unsigned partition, const char *selector, const lk_reply *reply,
                            lk_source source);

#endif
