/* What L2 answered about a session, judged: is this the record of the session asked for, and how long is it good for?
 * Shared by the verbs that read. */
#ifndef LK_SESSION_JUDGE_H
#define LK_SESSION_JUDGE_H

#include "session/handle.h"
#include "redis/keys.h"
#include "base/record.h"

typedef struct lk_judged {
    lk_record record;
    int64_t until_us;    /* when the session ends if nobody uses it, on the monotonic clock */
    bool final;          /* the absolute expiry is what ends it */
    bool touch_due;      /* a twelfth of idle_ms has passed since Redis last heard of its use */
    int64_t l1_until_ms; /* how long L1 may keep it, on the coarse monotonic clock */
    int64_t again_ms;    /* before then it need not be read again: nothing would be gained */
    bool renew;          /* the token is old: LATCHKEY_FLAG_RENEW */
    bool reused;         /* beside NOT_FOUND: an old token, exchanged, and its grace is over. See lk_session_reused */
} lk_judged;

/* Idle time, touches and L1. Redis is told of a session's use (a touch) once a twelfth of idle_ms has gone since it was told
 * last: LK_SESSION_TOUCH, and the same in touch.lua. L1 answers without anybody looking at that, so it keeps an entry for no
 * longer than until a tenth has gone, LK_SESSION_KEEP: so a session ends between nine tenths of idle_ms and all of it after its
 * last use. In the gap between the two, a sixtieth of idle_ms, a refresh finds the touch due, asks for it, and the entry
 * lives on. */
enum { LK_SESSION_TOUCH = 12, LK_SESSION_KEEP = 10 };

/* What follows from durations as Redis counts them, asked for at asked_us: until_us, final, touch_due, l1_until_ms, again_ms.
 * ttl_ms is how long L1 may keep it anyway, left_ms until its key expires, absolute_ms until its absolute expiry. */
void lk_session_times(int64_t ttl_ms, int64_t idle_ms, int64_t left_ms, int64_t absolute_ms, int64_t asked_us,
                      lk_judged *judged);

/* Renewal on a set age: LATCHKEY_FLAG_RENEW, which is never stored in Redis, from when the token, age_ms old when it was asked
 * for, is renew_ms old (0: never). It is set LK_SESSION_EARLY_MS before, and an answer that comes earlier still is kept no
 * longer than until then plus that: so the refresh in between brings the flag, and no request misses. */
enum { LK_SESSION_EARLY_MS = 1000 };
void lk_session_renewal(int64_t renew_ms, int64_t age_ms, int64_t asked_us, lk_judged *judged);
latchkey_entry lk_session_entry(const lk_judged *judged); /* the record's, and that flag: what is answered */

/* How long before its end in L1 an entry that is hit is read again: 45 of 100 parts of l1_ttl_ms, that is half of the shortest
 * time that an entry is given; and no more than that gap, since before it a read could not make the entry live longer. 0
 * where that is less than the clock can tell. (Measured: bench/README.md, "How long an entry lives".) */
int64_t lk_session_window(int64_t l1_ttl_ms, int64_t idle_ms);

/* The two calls that read a session's compact record; `key` must live as long as they do. */
typedef struct lk_session_read {
    lk_span hget[3], pttl[2];
} lk_session_read;
void lk_session_ask(lk_session_read *read, const char *key, lk_call calls[2]);

/* `value` is what stands in v, or the reply to HGET v: the record of this session, or NOT_FOUND; CORRUPT; UNAVAILABLE. */
int lk_session_record(latchkey *lk, lk_node *node, const char *selector, const lk_reply *value, lk_record *record);

/* `value` and `pttl` are the replies to HGET v (or what stood in v) and PTTL, asked for at asked_us. `token` may be
 * NULL: then the selector decides alone, and the caller must not admit anybody on the answer. A token that was exchanged has
 * a record with a grace: without `token` it is OK after the grace too. OK; NOT_FOUND; EXPIRED; CORRUPT; UNAVAILABLE. */
int lk_session_judge(latchkey *lk, lk_node *node, unsigned partition, const char *selector, const lk_token *token,
                     const lk_reply *value, const lk_reply *pttl, int64_t asked_us, lk_judged *judged);

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
/* The same where the caller can wait: of a token that was used after its grace (lk_session_reused) it is told, and has to
 * see to it; the other one leaves that to the link. */
int lk_question_take(latchkey *lk, const lk_token *token, const lk_question *question,
                     lk_reply *replies[LK_QUESTION_CALLS], uint64_t *incarnation, latchkey_entry *entry,
                     int64_t *until_us, bool *reused);

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

/* For how long L1 may keep it by l1_ttl_ms. */
int64_t lk_session_ttl(const latchkey *lk, const char *selector, int64_t asked_us);

/* Puts into L1 what `incarnation` answered; 0 where that did not have the lease when it was asked. The ticket is from before
 * that. */
void lk_session_fill(latchkey *lk, const lk_token *token, uint64_t ticket, const lk_judged *judged,
                     uint64_t incarnation);

/* A hit near the entry's end: asks the link to read it again, unless somebody did lately. */
void lk_session_refresh(latchkey *lk, const char *token, int64_t now_ms);

/* refresh.c, for the link's thread: false: do not ask; else whom to ask for. And what Redis answered. */
bool lk_refresh_begin(latchkey *lk, lk_refresh_item *item, lk_pending_item *of);
void lk_refresh_end(latchkey *lk, const lk_refresh_item *item, const lk_reply *value, const lk_reply *pttl,
                    uint64_t incarnation);

/* A script's "no" counts only under the lease of the server that gave it (lk_node_lease_covers): one that is not the primary any
 * more does not know what was made since. The status, or UNAVAILABLE. */
int lk_session_no(latchkey *lk, unsigned partition, uint64_t incarnation, int status, int64_t deadline_ms);

/* A user's sessions lie in one partition, in every version and on every machine. */
unsigned lk_partition_of_user(const latchkey *lk, uint64_t user_id);

/* Selectors ("one another ..."): purged here. */
void lk_session_purge(latchkey *lk, const char *selectors);

/* These were ended by that incarnation of the server, behind our back so far: purged here,
 * and remembered. False: another server was met meanwhile, see lk_node_remember. */
bool lk_session_ended(latchkey *lk, unsigned partition, const char *selectors, uint64_t incarnation);

/* The token was exchanged, its grace is over by our clock, and it matched whole: whoever finds that has to call this, or
 * lk_node_reused, or its session goes on. Asks Redis: OK, it has a moment left, until then; NOT_FOUND: its session was
 * ended, purged here, counted and said; or there was none any more; UNAVAILABLE ... */
int lk_session_reused(latchkey *lk, const lk_token *token, int64_t deadline_ms, int64_t *until_us);

/* Did a script answer that this was such a token? Then it is dealt with, and the answer to the caller is NOT_FOUND. */
bool lk_session_take_reused(latchkey *lk, const lk_token *token, const lk_reply *reply, uint64_t incarnation);

/* The last look before an answer of L2 is given, behind the lease: OK, or, where the process was paused or the answer was
 * slow, so that what was true when Redis said it is not any more (guarantee H), EXPIRED; or UNAVAILABLE, since somebody may
 * have used the session meanwhile; or NOT_FOUND or CORRUPT, by what the lease's beat brought (cutoff.h). */
int lk_session_late(const latchkey *lk, unsigned partition, const latchkey_entry *entry, int64_t until_us);

/* NOT_FOUND or EXPIRED where that is known of this very token (negative_cache.h), under the lease that L1 answers under; else
 * AGAIN. */
int lk_session_dead(latchkey *lk, const char *token);

/* Redis' clock, Unix milliseconds; 0 where it was never heard. */
int64_t lk_server_now_ms(const latchkey *lk, int64_t now_us);

/* Its time of now as it may stand in a sealed record, which no script can write: rather too early than too late. And a script
 * that finds it too far from its own says so: CLOCK, and its time, which is returned; else 0. */
int64_t lk_session_guess_ms(const latchkey *lk);
int64_t lk_session_clock(const lk_reply *reply);

#endif
