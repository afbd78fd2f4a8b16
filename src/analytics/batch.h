/* Asks Redis many questions in one round trip to each node, and then rests for as long as that took. */
#ifndef LK_ANALYTICS_BATCH_H
#define LK_ANALYTICS_BATCH_H

#include "redis/keys.h"
#include "session/handle.h"

enum { LK_BATCH_CALLS = 320, LK_BATCH_WORDS = 6, LK_BATCH_TEXT = 128 };

typedef struct lk_batch {
    latchkey *lk;
    lk_node *node;  /* where the next questions are asked; NULL: at the owners of their partitions */
    unsigned tries; /* how many round trips may still come too late */
    size_t asked;
    unsigned partitions[LK_BATCH_CALLS];
    lk_call calls[LK_BATCH_CALLS];
    lk_span words[LK_BATCH_CALLS][LK_BATCH_WORDS];
    char text[LK_BATCH_CALLS][2][LK_BATCH_TEXT]; /* words that the caller does not keep */
    lk_reply *replies[LK_BATCH_CALLS];
} lk_batch;

/* Adds a question, of the partition whose key was made for it. Its words end with NULL; the caller keeps them, or lk_batch_text does. */
#define LK_ASK(q, ...) lk_batch_ask(q, (const char *const[]){__VA_ARGS__, NULL})
void lk_batch_ask(lk_batch *q, const char *const *words);
static inline char *lk_batch_text(lk_batch *q, int which) { return q->text[q->asked][which]; }

/* Sends all questions in one round trip to each node, then rests for as long as that took. OK: call lk_batch_end afterwards. Any
 * other status: nothing is left to end. */
int lk_batch_go(lk_batch *q);
void lk_batch_end(lk_batch *q);

/* The integer that the reply holds, or 0. */
static inline long long lk_integer(const lk_reply *reply)
{
    return reply->type == LK_REPLY_INTEGER ? reply->integer : 0;
}
int64_t lk_decimal(const lk_reply *reply);

typedef struct lk_member { /* a name in an index */
    unsigned partition;
    char selector[LATCHKEY_SELECTOR_LENGTH + 1];
    int64_t used_at_ms;
    size_t record_size;
} lk_member;

/* Names of keys, for the next question. */
char *lk_batch_partition_key(lk_batch *q, unsigned partition, const char *which);
char *lk_batch_session_key(lk_batch *q, const lk_member *m);
char *lk_batch_user_key(lk_batch *q, unsigned partition, uint64_t user_id, int64_t cutoff_ms);

#endif
