/* What some of the sessions take. It asks for names and lengths: no value leaves Redis. */
#ifndef LK_ANALYTICS_SIZES_H
#define LK_ANALYTICS_SIZES_H

#include "analytics/sampling.h"

int lk_sampling_sizes(lk_sampling *s); /* of the chosen sessions */

#endif
