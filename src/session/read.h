/* The read of a miss: its two commands, what their replies mean, and what L1 takes of it. validate waits for the replies;
 * submit and the link (refresh.h) do not. */
#ifndef LK_SESSION_READ_H
#define LK_SESSION_READ_H

#include "redis/keys.h"
#include "session/judge.h"
#include "session/vouched_read.h"

/* The two calls that read a session's compact record; `key` must live as long as they do. */
typedef struct lk_session_read {
    lk_span hget[3], pttl[2];
} lk_session_read;
void lk_session_ask(lk_session_read *read, const char *key, lk_call calls[2]);

/* One question of validate, whichever thread drives the connection: asked, answered by its two replies, and L1 filled. */
enum { LK_QUESTION_CALLS = 2 };
typedef struct lk_question_words { /* they point into this: it must not move before they are sent */
    char key[LK_KEY_SIZE];
    lk_session_read read;
    lk_call calls[LK_QUESTION_CALLS];
} lk_question_words;

/* `vouch` is from before: see vouched_read.h. */
void lk_question_ask(latchkey *lk, const lk_token *token, const lk_vouch *vouch, lk_question_words *words);

/* Takes the replies, when the vouch knows who answered. OK, with the entry and until when it may be given; else as
 * lk_session_judge. */
int lk_question_answer(latchkey *lk, const lk_token *token, const lk_vouch *vouch, lk_reply *replies[LK_QUESTION_CALLS],
                       latchkey_entry *entry, int64_t *until_us);
/* The same where the caller can wait: it is told of a token that was used after its grace (lk_session_reused), and has to see
 * to it; the other function leaves that to the link. */
int lk_question_take(latchkey *lk, const lk_token *token, const lk_vouch *vouch, lk_reply *replies[LK_QUESTION_CALLS],
                     latchkey_entry *entry, int64_t *until_us, bool *reused);

static inline bool lk_count_fill(latchkey *lk, enum lk_l1_put result)
{
    if (result == LK_L1_STORED) lk_count(&lk->counters, LK_FILLS, 1);
    if (result == LK_L1_REFUSED) lk_count(&lk->counters, LK_FILLS_REFUSED, 1);
    return result == LK_L1_STORED;
}

/* Puts into L1 what was answered, if the server that answered has the lease and had it when it was asked, and nothing was purged
 * since the ticket was taken. */
void lk_session_fill(latchkey *lk, const lk_token *token, const lk_vouch *vouch, const lk_judged *judged);

#endif
