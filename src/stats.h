/* What stats_read copies and metrics prints. */
#ifndef LK_STATS_H
#define LK_STATS_H

#include "handle.h"

void lk_stats_gather(latchkey *lk, latchkey_stats *stats);

#endif
