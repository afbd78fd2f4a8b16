/* How long to wait before the next attempt at something that failed: the wait doubles with each failure in a row up to
 * max_ms, and a random half of it is waited, so that instances that lost a server together do not come back together. */
#ifndef LK_BASE_BACKOFF_H
#define LK_BASE_BACKOFF_H

#include <stdint.h>

/* `failures` came before this one. Between half of the wait and all of it. */
int64_t lk_backoff_ms(unsigned failures, int64_t min_ms, int64_t max_ms, uint64_t random);

#endif
