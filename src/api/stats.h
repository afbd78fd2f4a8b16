/* What stats_read copies and metrics prints. */
#ifndef LK_API_STATS_H
#define LK_API_STATS_H

#include "session/handle.h"

void lk_stats_gather(latchkey *lk, latchkey_stats *stats);

/* For the link's thread alone, with each beat: no lock, no loop over L1. What the node knows stands there already. */
void lk_stats_beat(latchkey *lk, lk_beat_stats *pulse);

#endif
