/* Which entry makes room for another one, for l1.c alone. */
#ifndef LK_L1_L1_EVICT_H
#define LK_L1_L1_EVICT_H

#include "l1/l1_table.h"

/* Evicts one. False: the stripe is empty. */
bool lk_l1_evict_locked(lk_l1 *l1, lk_stripe *st, int64_t now_ms);
/* Evicts that one. It counts as evicted unless it is dead at now_ms. */
void lk_l1_evict_slot_locked(lk_l1 *l1, lk_stripe *st, lk_l1_slot *s, int64_t now_ms);

/* Was it evicted a short time ago, at the end of its trial? Then its content's queue is the main part; else it is on trial.
 * Once it is in its slot, lk_l1_begin_locked is told the same. */
bool lk_l1_known_locked(const lk_l1 *l1, const lk_stripe *st, uint64_t hash);
void lk_l1_begin_locked(lk_l1 *l1, lk_stripe *st, uint64_t hash, bool known);

#endif
