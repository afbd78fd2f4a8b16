/* What latchkey_stats_read copies and latchkey_metrics prints. */
#ifndef LK_API_STATS_H
#define LK_API_STATS_H

#include "session/handle.h"

void lk_stats_gather(latchkey *lk, latchkey_stats *stats);

/* Called by the link's thread, with each beat: no lock, no loop over L1. The node has filled in its own numbers before. */
void lk_stats_beat(latchkey *lk, lk_beat_stats *pulse);

#endif
