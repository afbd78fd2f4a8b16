/* What some of the sessions take. Names and lengths are asked for: no value leaves Redis. */
#ifndef LK_ANALYTICS_SIZES_H
#define LK_ANALYTICS_SIZES_H

#include "analytics/sampling.h"

int lk_sampling_sizes(lk_sampling *s); /* of those that were chosen */

#endif
