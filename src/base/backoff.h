/* How long to wait before something that failed is tried again. The wait doubles with each failure in a row, up to
 * max_ms. A random half of it is waited, so that instances that lost a server together do not all come back together. */
#ifndef LK_BASE_BACKOFF_H
#define LK_BASE_BACKOFF_H

#include <stdint.h>

/* `failures`: how many came before this attempt. Returns between half of the wait and all of it. */
int64_t lk_backoff_ms(unsigned failures, int64_t min_ms, int64_t max_ms, uint64_t random);

#endif
