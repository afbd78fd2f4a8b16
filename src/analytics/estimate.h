/* What was seen of the sessions, added up: from single sights to quantiles, spans and the commonest devices. No Redis here. */
#ifndef LK_ANALYTICS_ESTIMATE_H
#define LK_ANALYTICS_ESTIMATE_H

#include "latchkey.h"

/* A live session as it was found. */
typedef struct lk_sight {
    int64_t age_ms;  /* since it was made */
    int64_t used_ms; /* from then to its last use */
    int64_t idle_ms; /* since its last use */
    double of_user;  /* 1 / live sessions of its user: added up over all sessions, that is how many users there are */
    uint32_t device;
} lk_sight;

/* What some of them take; a number that is not known is 0. */
typedef struct lk_weight {
    uint64_t fields;        /* of the application */
    uint64_t record_bytes;  /* the compact record */
    uint64_t session_bytes; /* names and values of all fields, the record among them */
    uint64_t redis_bytes;   /* what Redis says that it takes in its memory */
} lk_weight;

/* Each sight stands for `scale` sessions. Sorts them. */
void lk_estimate_sights(lk_sight *sights, size_t count, double scale, latchkey_population *population);
void lk_estimate_weights(const lk_weight *weights, size_t count, latchkey_population *population);

/* Of `looked_at` members drawn from `indexed`, `living` lived: how many do, and how wrong that may be, 95 times of 100. */
void lk_estimate_live(uint64_t indexed, uint64_t looked_at, uint64_t living, latchkey_population *population);

/* How long sessions last, on average, where logins come evenly: as many end as begin, so it is the number of those who live
 * over the rate at which they come (Little 1961). The rate is counted in the youngest, of less than window_ms; so there must be
 * enough of those, and older ones. 0: not known. */
int64_t lk_estimate_duration(const lk_sight *sights, size_t count, int64_t window_ms);

#endif
