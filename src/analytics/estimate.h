/* Adds up what was seen of the sessions: from single sightings to quantiles, spans and the commonest devices. Redis is
 * not asked here. */
#ifndef LK_ANALYTICS_ESTIMATE_H
#define LK_ANALYTICS_ESTIMATE_H

#include "latchkey.h"

/* A live session, as it was seen. */
typedef struct lk_sight {
    int64_t age_ms;  /* since it was made */
    int64_t used_ms; /* from then to its last use */
    int64_t idle_ms; /* since its last use */
    double of_user;  /* 1 / the number of its user's live sessions: the sum over all sessions is the number of users */
    uint32_t device;
} lk_sight;

/* What some of the sessions take. 0: not known. */
typedef struct lk_weight {
    uint64_t fields;        /* the application's fields */
    uint64_t record_bytes;  /* the compact record */
    uint64_t session_bytes; /* names and values of all fields, the record among them */
    uint64_t redis_bytes;   /* what it takes of Redis' memory, as Redis says */
} lk_weight;

/* Each sighting stands for `scale` sessions. This sorts `sights`. */
void lk_estimate_sights(lk_sight *sights, size_t count, double scale, latchkey_population *population);
void lk_estimate_weights(const lk_weight *weights, size_t count, latchkey_population *population);

/* Of `looked_at` names drawn from `indexed`, `living` were alive: estimates how many of all are, and the error that 95
 * of 100 samples stay within. */
void lk_estimate_live(uint64_t indexed, uint64_t looked_at, uint64_t living, latchkey_population *population);

/* The mean duration of a session, if logins come evenly. Then as many sessions end as begin, so it is the number of
 * living sessions divided by the rate of logins (Little 1961). The rate is counted from the sessions that are younger
 * than window_ms. So there must be enough of those, and older ones too. 0: not known. */
int64_t lk_estimate_duration(const lk_sight *sights, size_t count, int64_t window_ms);

#endif
