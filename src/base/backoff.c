/* See backoff.h. */
#include "base/backoff.h"

enum { DOUBLINGS = 16 };

int64_t lk_backoff_ms(unsigned failures, int64_t min_ms, int64_t max_ms, uint64_t random)
{
    int64_t wait = min_ms << (failures < DOUBLINGS ? failures : DOUBLINGS);
    if (wait > max_ms) wait = max_ms;
    return wait / 2 + (int64_t)(random % (uint64_t)(wait / 2 + 1));
}
