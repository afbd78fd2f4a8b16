/* The cut-offs. A cut-off is a time by Redis' clock up to which all sessions of a partition were ended at once
 * (latchkey_revoke_everyone), as far as this handle knows. A session that was made at that time or before is over,
 * whatever Redis still holds of it. The sessions are not enumerated.
 *
 * Only links write, from messages and with each beat. A cut-off never goes back. If what Redis holds is not a
 * cut-off, it is not known which sessions were ended. The partition is then in doubt, and its sessions are CORRUPT
 * until Redis holds a cut-off again (guarantee A).
 *
 * A cut-off is compared at two times:
 *   before L1 is filled   The link stores a cut-off, then empties L1, which makes older tickets invalid. So a thread with a
 *                         newer ticket sees the cut-off (D).
 *   last, under the lease A lease is stored after everything that its beat brought (C). */
#ifndef LK_REVOCATION_CUTOFF_H
#define LK_REVOCATION_CUTOFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LK_CUTOFF_MAX INT64_C(9999999999999) /* 13 digits: see common.lua */

typedef struct lk_cutoffs lk_cutoffs;

lk_cutoffs *lk_cutoffs_open(size_t partitions); /* NULL: no memory. At first there are no cut-offs */
void lk_cutoffs_close(lk_cutoffs *cutoffs);

bool lk_cutoff_parse(const char *text, size_t size, int64_t *ms); /* false: it is not a cut-off */

int64_t lk_cutoffs_known(const lk_cutoffs *cutoffs,
                         unsigned partition); /* 0: there is none; in doubt, the last one that was known */

/* True: this changes something, and L1 has to be emptied. */
bool lk_cutoffs_set(lk_cutoffs *cutoffs, unsigned partition,
                    int64_t ms); /* ends a doubt; an older cut-off than the known one changes nothing else */
bool lk_cutoffs_doubt(lk_cutoffs *cutoffs, unsigned partition);

/* Judges a session that was made at that time: OK, NOT_FOUND or CORRUPT. May be called from any thread. */
int lk_cutoffs_judge(const lk_cutoffs *cutoffs, unsigned partition, int64_t created_at_ms);

#endif
