/* Judges what Redis answered about a session: is this the record of the session that was asked for (guarantees E and
 * I), and how long is it good for (lifetime.h)? All verbs that read use this. */
#ifndef LK_SESSION_JUDGE_H
#define LK_SESSION_JUDGE_H

#include "base/token.h"
#include "redis/resp.h"
#include "session/lifetime.h"

/* `value` is what is in the field v, or the reply to HGET v. OK: it is the record of this session. Else NOT_FOUND;
 * CORRUPT; UNAVAILABLE. */
int lk_session_record(latchkey *lk, lk_node *node, const char *selector, const lk_reply *value, lk_record *record);

/* `value` and `pttl` are the replies to HGET v (or the contents of v) and PTTL, asked for at asked_us. With `token`
 * NULL only the selector is compared, and the answer must admit no request. A token that was exchanged has a record
 * with a grace: without `token` it is OK after the grace too. OK; NOT_FOUND; EXPIRED; CORRUPT; UNAVAILABLE. */
int lk_session_judge(latchkey *lk, lk_node *node, unsigned partition, const char *selector, const lk_token *token,
                     const lk_reply *value, const lk_reply *pttl, int64_t asked_us, lk_judged *judged);

/* `cutoff` is the reply to GET of the partition's cut-off; *ms is 0 if there is none. OK; CORRUPT; UNAVAILABLE. */
int lk_session_cutoff(latchkey *lk, lk_node *node, const lk_reply *cutoff, int64_t *ms);

/* The last check before an answer of Redis is given, after the lease was read. OK; or what has become true meanwhile,
 * because the process was paused or the answer was slow (guarantee H): EXPIRED; UNAVAILABLE, since the session may have
 * been used meanwhile; NOT_FOUND or CORRUPT, by the cut-off that the lease's beat brought (cutoff.h). */
int lk_session_late(const latchkey *lk, unsigned partition, const latchkey_entry *entry, int64_t until_us);

#endif
