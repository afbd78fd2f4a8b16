/* SPDX-License-Identifier: MIT
 *
 * What the library does to its L1 and what it remembers, seen by the truth (ld --wrap on l1.h, recent.h, refresh.c and touch.c).
 */
#ifndef LATCHKEY_SIM_HOOKS_H
#define LATCHKEY_SIM_HOOKS_H

#include "latchkey.h"
#include "world.h"

void truth_remembered(const machine *m, const char *selector);
void truth_purged(const machine *m, const char *selector, uint64_t begun);
void truth_emptied(const machine *m, uint64_t begun);
void truth_filled(const machine *m, const char *selector, uint64_t asked, uint64_t begun);
/* vouched: by the server that had the lease when it was asked, and has it. */
void truth_renewed(const machine *m, const char *selector, uint64_t asked, uint64_t begun, bool vouched);

/* For clients.c: the partition of that user's sessions. */
/* From now on handles are opened with memories of so many places; 0: as the library has them. */
typedef struct memories {
    unsigned recent, pending, negative;
} memories;
void hooks_memories(const memories *m);
unsigned hooks_partition(const latchkey *lk, uint64_t user);

#endif
