/* Asks what is under a session's key, and judges the answer. */
#ifndef LK_ANALYTICS_PROBE_H
#define LK_ANALYTICS_PROBE_H

#include "analytics/sampling.h"

/* Judges the replies to what lk_sampling_ask_session asked. */
enum { LK_SAMPLE_CALLS = 2 };
typedef struct lk_found {
    bool lives, rotated, damaged;
    lk_record_header record;
    uint64_t user_id;
} lk_found;
void lk_sampling_ask_session(lk_sampling *s, const lk_member *m);
lk_found lk_sampling_judge(const lk_sampling *s, const lk_member *m, lk_reply *const replies[LK_SAMPLE_CALLS]);

#endif
