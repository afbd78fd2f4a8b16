/* What Redis answered about a session, judged: is this the record of the session that was asked for (guarantees E and I), and
 * how long is it good for (lifetime.h)? Shared by all verbs that read. */
#ifndef LK_SESSION_JUDGE_H
#define LK_SESSION_JUDGE_H

#include "base/token.h"
#include "redis/resp.h"
#include "session/lifetime.h"

/* `value` is what stands in v, or the reply to HGET v: the record of this session, or NOT_FOUND; CORRUPT; UNAVAILABLE. */
int lk_session_record(latchkey *lk, lk_node *node, const char *selector, const lk_reply *value, lk_record *record);

/* `value` and `pttl` are the replies to HGET v (or what stood in v) and PTTL, asked for at asked_us. `token` may be NULL: then
 * the selector decides alone, and the caller must not admit anybody on the answer. A token that was exchanged has a record with
 * a grace: without `token` it is OK after the grace too. OK; NOT_FOUND; EXPIRED; CORRUPT; UNAVAILABLE. */
int lk_session_judge(latchkey *lk, lk_node *node, unsigned partition, const char *selector, const lk_token *token,
                     const lk_reply *value, const lk_reply *pttl, int64_t asked_us, lk_judged *judged);

/* The last look before an answer of Redis is given, behind the lease: OK; or, where the process was paused or the answer was
 * slow, so that what was true when Redis said it is not true any more (guarantee H): EXPIRED; or UNAVAILABLE, since the session
 * may have been used meanwhile; or NOT_FOUND or CORRUPT, by what the lease's beat brought (cutoff.h). */
int lk_session_late(const latchkey *lk, unsigned partition, const latchkey_entry *entry, int64_t until_us);

#endif
