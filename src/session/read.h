/* The read of a miss: its commands, what their replies mean, and what goes into L1. validate waits for the replies;
 * submit and the link (refresh.h) do not. */
#ifndef LK_SESSION_READ_H
#define LK_SESSION_READ_H

#include "redis/keys.h"
#include "session/judge.h"
#include "session/vouched_read.h"

/* The two calls that read a session's compact record. `key` must live as long as they do. */
typedef struct lk_session_read {
    lk_span hget[3], pttl[2];
} lk_session_read;
void lk_session_ask(lk_session_read *read, const char *key, lk_call calls[2]);

/* One question of validate, whichever thread drives the connection: asks, takes the replies, and fills L1.
 *
 * A fresh question (latchkey_validate_fresh) also reads the partition's cut-off. Other revocations show in the session's
 * own key; a cut-off that is not heard yet shows there alone. If a slot moves, it may not be there to be read: then a
 * beat has to tell (link_cluster.c), and the vouch says since when. */
enum { LK_QUESTION_FIRM = 2, LK_QUESTION_CUTOFF = 2, LK_QUESTION_CALLS = 3 };
typedef struct lk_question_words { /* the calls point into this, so it must not move before they are sent */
    char key[LK_KEY_SIZE], cutoff_key[LK_KEY_SIZE];
    lk_session_read read;
    lk_span cutoff[2];
    lk_call calls[LK_QUESTION_CALLS];
} lk_question_words;

static inline unsigned lk_question_calls(bool fresh) { return fresh ? LK_QUESTION_CALLS : LK_QUESTION_FIRM; }
/* With an age of staleness_ms or more, the lease says enough. */
static inline bool lk_question_fresh(const latchkey *lk, int64_t max_age_ms)
{
    return max_age_ms < lk->config.staleness_ms;
}

/* `vouch` was taken before: see vouched_read.h. */
void lk_question_ask(latchkey *lk, const lk_token *token, const lk_vouch *vouch, bool fresh, lk_question_words *words);

/* Takes the replies (NULL: it was not asked for); the vouch knows by now which server answered. OK, with the entry and
 * until when it may be given; else as lk_session_judge. A request that began at begun_us with an old token, in its grace,
 * is UNAVAILABLE after the grace: that is no reuse. */
int lk_question_answer(latchkey *lk, const lk_token *token, lk_vouch *vouch, lk_reply *replies[LK_QUESTION_CALLS],
                       int64_t begun_us, latchkey_entry *entry, int64_t *until_us);
/* The same for a caller that can wait. *over_ms is not 0: the token was used after its grace, which ended then
 * (lk_session_reused), and the caller must deal with that; the other function leaves it to the link. */
int lk_question_take(latchkey *lk, const lk_token *token, lk_vouch *vouch, lk_reply *replies[LK_QUESTION_CALLS],
                     latchkey_entry *entry, int64_t *until_us, int64_t *over_ms);

static inline bool lk_count_fill(latchkey *lk, enum lk_l1_put result)
{
    if (result == LK_L1_STORED) lk_count(&lk->counters, LK_FILLS, 1);
    if (result == LK_L1_REFUSED) lk_count(&lk->counters, LK_FILLS_REFUSED, 1);
    return result == LK_L1_STORED;
}

/* Puts the answer into L1, if the server that gave it has the lease and had it when it was asked, and nothing was
 * purged since the ticket was taken. */
void lk_session_fill(latchkey *lk, const lk_token *token, const lk_vouch *vouch, const lk_judged *judged);

#endif
