/* A walk over some of the keys: which sessions does the index not know, and what did exchanges leave behind? */
#ifndef LK_ANALYTICS_SCAN_H
#define LK_ANALYTICS_SCAN_H

#include "analytics/sampling.h"

int lk_sampling_scan(lk_sampling *s, size_t most); /* so many keys, or a few more */

#endif
