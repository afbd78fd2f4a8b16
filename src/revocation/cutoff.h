/* The epochs: until when all sessions of a partition were ended at once (latchkey_revoke_everyone), by Redis' clock, as this
 * handle knows it. A session that was made up to then is over, whatever Redis still holds of it; nobody goes through them.
 *
 * The link alone writes, from messages and with each beat; an epoch never goes back. Where Redis holds something that is
 * no epoch, nobody knows who was ended: then the partition is in doubt, and its sessions are CORRUPT until an epoch is
 * there again (guarantee A).
 *
 * Judging reads them at two times. Before L1 is filled: the link stores an epoch, then empties L1, which voids the tickets
 * of before, so whoever has a newer ticket finds the epoch (D). And once more behind the lease, as the last thing: a lease
 * is stored behind all that its beat brought (C). */
#ifndef LK_REVOCATION_CUTOFF_H
#define LK_REVOCATION_CUTOFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LK_CUTOFF_MAX INT64_C(9999999999999) /* 13 digits: see common.lua */

typedef struct lk_cutoffs lk_cutoffs;

lk_cutoffs *lk_cutoffs_open(size_t partitions); /* NULL: no memory. None was ever ended */
void lk_cutoffs_close(lk_cutoffs *epochs);

bool lk_cutoff_parse(const char *text, size_t size, int64_t *ms); /* false: it is none */

int64_t lk_cutoffs_known(const lk_cutoffs *epochs,
                         unsigned partition); /* 0: none, also in doubt the last that was known */

/* True: that is news, and L1 has to be emptied. */
bool lk_cutoffs_set(lk_cutoffs *epochs, unsigned partition,
                    int64_t ms); /* ends a doubt; less than is known changes nothing else */
bool lk_cutoffs_doubt(lk_cutoffs *epochs, unsigned partition);

/* Of a session made at that time: OK, NOT_FOUND or CORRUPT. From any thread. */
int lk_cutoffs_judge(const lk_cutoffs *epochs, unsigned partition, int64_t created_at_ms);

#endif
