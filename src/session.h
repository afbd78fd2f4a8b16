/* What L2 answered about a session, judged: is this the record of the session asked for, and how long is it good for?
 * Shared by the verbs that read. */
#ifndef LK_SESSION_H
#define LK_SESSION_H

#include "handle.h"
#include "keys.h"
#include "record.h"

typedef struct lk_judged {
    lk_record record;
    int64_t until_us;    /* when the session ends if nobody uses it, on the monotonic clock */
    bool final;          /* the absolute expiry is what ends it */
    bool touch_due;      /* a tenth of idle_ms has passed since Redis last heard of its use */
    int64_t l1_until_ms; /* how long L1 may keep it, on the coarse monotonic clock */
} lk_judged;

/* The two calls that read a session's compact record; `key` must live as long as they do. */
typedef struct lk_session_read {
    lk_span hget[3], pttl[2];
} lk_session_read;
void lk_session_ask(lk_session_read *read, const char *key, lk_call calls[2]);

/* `value` and `pttl` are the replies to HGET v (or what stood in v) and PTTL, asked for at asked_us. `token` may be
 * NULL: then the selector decides alone, and the caller must not admit anybody on the answer. OK; NOT_FOUND; EXPIRED;
 * CORRUPT; UNAVAILABLE. */
int lk_session_judge(latchkey *lk, lk_node *node, const char *selector, const lk_token *token, const lk_reply *value,
                     const lk_reply *pttl, int64_t asked_us, lk_judged *judged);

/* One question of validate, whoever drives the connection: asked, answered by its two replies, and L1 filled. */
enum { LK_QUESTION_CALLS = 2 };
typedef struct lk_question {
    uint64_t ticket, leased; /* L1's, and who had the lease, when it was asked */
    int64_t asked_us;
} lk_question;
typedef struct lk_question_words { /* they point into this: it must not move before they are sent */
    char key[LK_KEY_SIZE];
    lk_session_read read;
    lk_call calls[LK_QUESTION_CALLS];
} lk_question_words;

/* The ticket was taken, and pending revocations looked at, before: see validate.c. */
void lk_question_ask(latchkey *lk, const lk_token *token, uint64_t ticket, lk_question *question,
                     lk_question_words *words);

/* Takes the replies. *incarnation is the server that gave them; 0 afterwards where the answer does not count, since it had
 * no lease when it was asked. OK, with the entry and until when it may be given; else as lk_session_judge. */
int lk_question_answer(latchkey *lk, const lk_token *token, const lk_question *question,
                       lk_reply *replies[LK_QUESTION_CALLS], uint64_t *incarnation, latchkey_entry *entry,
                       int64_t *until_us);

/* What validate can say without Redis: OK, with the entry and until when it may be given; a "no"; UNAVAILABLE: Redis is
 * known to be lost, and lk_validate_stale is all there is; or AGAIN. */
int lk_validate_local(latchkey *lk, const lk_token *token, latchkey_entry *entry, int64_t *until_us);
/* With Redis lost L1 may answer for grace_ms more, and says so. */
bool lk_validate_stale(latchkey *lk, const lk_token *token, latchkey_entry *entry);

static inline bool lk_count_fill(latchkey *lk, enum lk_l1_put result)
{
    if (result == LK_L1_STORED) lk_count(&lk->counters, LK_FILLS, 1);
    if (result == LK_L1_REFUSED) lk_count(&lk->counters, LK_FILLS_REFUSED, 1);
    return result == LK_L1_STORED;
}

/* A script's "no" counts only under the lease of the server that gave it (lk_node_vouch): one that is not the primary any
 * more does not know what was made since. The status, or UNAVAILABLE. */
int lk_session_no(latchkey *lk, unsigned partition, uint64_t incarnation, int status, int64_t deadline_ms);

/* The last look before an answer of L2 is given: OK, or, where the process was paused or the answer was slow, so that
 * what was true when Redis said it is not any more (guarantee H), EXPIRED; or UNAVAILABLE, since somebody may have used
 * the session meanwhile. */
int lk_session_late(const latchkey *lk, const latchkey_entry *entry, int64_t until_us);

/* NOT_FOUND or EXPIRED where that is known of this very token (refused.h), under the lease that L1 answers under; else
 * AGAIN. */
int lk_session_dead(latchkey *lk, const char *token);

/* Redis' clock, Unix milliseconds; 0 where it was never heard. */
int64_t lk_server_now_ms(const latchkey *lk, int64_t now_us);

#endif
