/* A token that was exchanged, and is shown again after its grace: two parties hold it, so its session ends (rotate.lua). */
#ifndef LK_SESSION_TOKEN_REUSE_H
#define LK_SESSION_TOKEN_REUSE_H

#include "base/token.h"
#include "redis/resp.h"
#include "session/handle.h"

/* The token was exchanged, its grace is over by our clock, and it matched whole: whoever finds that must call this, or
 * lk_node_reused, or its session goes on. Asks Redis: OK, it has a moment left, until *until_us; NOT_FOUND: its session was
 * ended, purged here, counted and logged, or there was none any more; UNAVAILABLE ... */
int lk_session_reused(latchkey *lk, const lk_token *token, int64_t deadline_ms, int64_t *until_us);

/* Did a script answer that the token of this selector is one? Then that is dealt with, and the answer to the caller is NOT_FOUND. */
bool lk_session_take_reused(latchkey *lk, unsigned partition, const char *selector, const lk_reply *reply,
                            lk_source source);

#endif
