/* A walk over some of the keys: sessions that the index does not have, and tokens that exchanges left behind. */
#ifndef LK_ANALYTICS_SCAN_H
#define LK_ANALYTICS_SCAN_H

#include "analytics/sampling.h"

int lk_sampling_scan(lk_sampling *s, size_t most); /* this many keys, or a few more */

#endif
