/* latchkey_sample, and the same with a function that is told about the progress. */
#ifndef LK_ANALYTICS_SAMPLE_H
#define LK_ANALYTICS_SAMPLE_H

#include "session/handle.h"

typedef struct lk_progress {
    void *context;
    void (*tell)(void *context, size_t done, size_t all);
} lk_progress;

/* `population` is all zeros where the status is not OK. */
int lk_sample(latchkey *lk, size_t count, const lk_progress *progress, latchkey_population *population);

#endif
