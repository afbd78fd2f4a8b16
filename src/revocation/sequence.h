/* The numbers of one partition's revocations: which were applied, which came, which are missing. Redis counts them from
 * 1; the log names each by its number. No I/O, no L1: the link acts on what this finds.
 *
 *     1 ......... applied | ....... missing | ..... received
 *     applied to L1         missing: to be     came through the subscription, one after another, and were applied
 *                           read in the log    as they came
 *
 * A gap is open while `missing` is beyond `applied`. Through one subscription numbers only grow, so one that is not
 * beyond `received` shows that the counter was started anew. One that is beyond `received` and not beyond `applied` is the
 * message of what the log brought already. */
#ifndef LK_REVOCATION_SEQUENCE_H
#define LK_REVOCATION_SEQUENCE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct lk_sequence {
    uint64_t applied;
    uint64_t mark; /* a hash of whom `applied` revoked, 0: not known. By it a log that was started anew shows */
    uint64_t missing;
    uint64_t received, received_mark;
    uint64_t counted, at_beat; /* the number in the last beat; what was known when that was sent */
    uint64_t target;           /* what the replay that was asked for must bring at least */
    enum { LK_REPLAY_NONE, LK_REPLAY_ASKED, LK_REPLAY_VOID } replay; /* VOID: its answer is of before a new start */
} lk_sequence;

static inline bool lk_sequence_gap(const lk_sequence *s) { return s->missing > s->applied; }

/* The highest number known to be given out. */
uint64_t lk_sequence_top(const lk_sequence *s);

/* A message came. False: the counter was started anew (then `restart`). *missed: how many did not come before it. */
bool lk_sequence_message(lk_sequence *s, uint64_t number, uint64_t mark, uint64_t *missed);

/* Redis' own number, read by a beat. False: it went backwards (then `restart`). */
bool lk_sequence_count(lk_sequence *s, uint64_t number);

/* Everything that was published before the beat came: so what was counted and did not come is missing. How many are. */
uint64_t lk_sequence_settle(lk_sequence *s);

/* An entry of the log. False: entries between are not there any more, or the log is another. */
bool lk_sequence_logged(lk_sequence *s, uint64_t number, uint64_t mark);
void lk_sequence_join(lk_sequence *s); /* behind the last entry: what was heard behind the gap counts too */

/* L1 was emptied: nothing from before `number` is in it. What was asked of the log before means nothing any more. */
void lk_sequence_restart(lk_sequence *s, uint64_t number);
/* The same where the counter is what it was. */
void lk_sequence_skip(lk_sequence *s);

/* A new subscription: messages may have been lost meanwhile. */
void lk_sequence_resubscribe(lk_sequence *s);

#endif
