/* The numbers of one partition's revocations: which were applied, which were received, which are missing. Redis counts
 * revocations from 1, and its log names each by its number. No I/O, no L1: the link acts on what this finds.
 *
 *     1 ......... applied | ....... missing | ..... received
 *     applied to L1         missing: to be     came through the subscription, one after another, and were applied
 *                           read in the log    as they came
 *
 * There is a gap while `missing` is beyond `applied`. Within one subscription numbers only grow. So a number that is
 * not beyond `received` shows that the counter started anew. A number that is beyond `received` and not beyond
 * `applied` belongs to a message that the log brought first. */
#ifndef LK_REVOCATION_SEQUENCE_H
#define LK_REVOCATION_SEQUENCE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct lk_sequence {
    uint64_t applied;
    /* a hash of what number `applied` announced, 0: not known. It shows that a log was started anew */
    uint64_t mark;
    uint64_t missing;
    uint64_t received, received_mark;
    uint64_t counted, at_beat; /* the number that the last beat read; what was known when that beat was sent */
    uint64_t target;           /* the number that the replay must bring at least */
    /* VOID: the counter started anew, and the answer to come is from before that */
    enum { LK_REPLAY_NONE, LK_REPLAY_ASKED, LK_REPLAY_VOID } replay;
} lk_sequence;

static inline bool lk_sequence_gap(const lk_sequence *s) { return s->missing > s->applied; }

/* The highest number that is known to be given out. */
uint64_t lk_sequence_top(const lk_sequence *s);

/* A message came. False: the counter started anew; then `restart`. *missed: how many messages before it did not come. */
bool lk_sequence_message(lk_sequence *s, uint64_t number, uint64_t mark, uint64_t *missed);

/* A beat read Redis' own number. False: it went backwards; then `restart`. */
bool lk_sequence_count(lk_sequence *s, uint64_t number);

/* The beat came back, so everything that was published before it came too. What was counted and did not come is
 * missing: returns how many. */
uint64_t lk_sequence_settle(lk_sequence *s);

/* An entry of the log. False: entries in between are gone, or it is another log. */
bool lk_sequence_logged(lk_sequence *s, uint64_t number, uint64_t mark);
/* behind the last entry: what was received behind the gap counts as applied too */
void lk_sequence_join(lk_sequence *s);

/* L1 was emptied: it holds nothing from before `number`. An answer to an earlier question to the log is ignored. */
void lk_sequence_restart(lk_sequence *s, uint64_t number);
/* The same with the counter as it is. */
void lk_sequence_skip(lk_sequence *s);

/* There is a new subscription: messages may have been lost before it. */
void lk_sequence_resubscribe(lk_sequence *s);

#endif
