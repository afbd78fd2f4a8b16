/* What latchkey_sample works with: a round trip of questions at a time, and what was found so far.
 *
 *   sample.c    the verb: survey, draw, look, tally
 *   sizes.c     what some of the sessions take
 *   scan.c      a walk over some of the keys
 *   batch.c   questions, one round trip of them, and the rest after it */
#ifndef LK_ANALYTICS_SAMPLING_H
#define LK_ANALYTICS_SAMPLING_H

#include "session/handle.h"
#include "redis/keys.h"
#include "base/record.h"
#include "analytics/estimate.h"

enum { LK_BATCH_CALLS = 320, LK_BATCH_WORDS = 6, LK_BATCH_TEXT = 96 };

typedef struct lk_batch {
    latchkey *lk;
    lk_node *node;
    unsigned tries; /* round trips that may still come too late */
    size_t asked;
    lk_call calls[LK_BATCH_CALLS];
    lk_span words[LK_BATCH_CALLS][LK_BATCH_WORDS];
    char text[LK_BATCH_CALLS][2][LK_BATCH_TEXT]; /* words that the caller does not keep */
    lk_reply *replies[LK_BATCH_CALLS];
} lk_batch;

/* One more question; its words end with NULL and are kept by the caller, or by lk_batch_text. */
#define LK_ASK(q, ...) lk_batch_ask(q, (const char *const[]){__VA_ARGS__, NULL})
void lk_batch_ask(lk_batch *q, const char *const *words);
static inline char *lk_batch_text(lk_batch *q, int which) { return q->text[q->asked][which]; }

/* All of them, in one round trip; then it rests for as long as that took. OK, and lk_batch_end has to follow; else nothing
 * is left of it. */
int lk_batch_go(lk_batch *q);
void lk_batch_end(lk_batch *q);

/* What was asked for, or 0. */
static inline long long lk_integer(const lk_reply *reply)
{
    return reply->type == LK_REPLY_INTEGER ? reply->integer : 0;
}
int64_t lk_decimal(const lk_reply *reply);

typedef struct lk_member { /* of an index */
    unsigned partition;
    char selector[LATCHKEY_SELECTOR_LENGTH + 1];
    int64_t used_at_ms;
    size_t record_size;
} lk_member;

/* Names for the next question. */
char *lk_batch_partition_key(lk_batch *q, unsigned partition, const char *which);
char *lk_batch_session_key(lk_batch *q, const lk_member *m);

enum { LK_SAMPLE_BATCH = 64, LK_SAMPLE_WEIGHED = 256 };

typedef struct lk_sampled_partition {
    size_t names, draw, drawn;
    int64_t peak, peak_at_ms, epoch_ms; /* what was made up to the epoch is over */
} lk_sampled_partition;

typedef struct lk_sampling {
    lk_batch q;
    latchkey_population *population;
    int64_t now_ms; /* by Redis' clock, at the beginning */
    lk_sampled_partition *partitions;
    size_t count, looked_at, at; /* to look at; so far; the partition that is being drawn from */
    lk_sight *sights;
    size_t living;
    lk_member members[LK_SAMPLE_BATCH];
    size_t member_count;
    lk_member chosen[LK_SAMPLE_WEIGHED]; /* to be weighed */
    size_t chosen_count, choose_every;
    lk_weight weights[LK_SAMPLE_WEIGHED];
    size_t weighed;
} lk_sampling;

/* What lies under a session's key? By the replies to what lk_sampling_ask_session asked. */
enum { LK_SAMPLE_CALLS = 2 };
typedef struct lk_found {
    bool lives, rotated, damaged;
    lk_record_header record;
    uint64_t user_id;
} lk_found;
void lk_sampling_ask_session(lk_sampling *s, const lk_member *m);
lk_found lk_sampling_judge(const lk_sampling *s, const lk_member *m, lk_reply *const replies[LK_SAMPLE_CALLS]);

int lk_sampling_sizes(lk_sampling *s);             /* the chosen */
int lk_sampling_scan(lk_sampling *s, size_t most); /* so many keys, or a few more */

#endif
