/* SPDX-License-Identifier: MIT
 *
 * What goes wrong, and when: drawn from the seed. Trouble comes in episodes of one kind, with calls close together, and
 * between them it is quiet; so a fault is a single one, as the guarantees have it. In a storm the kinds that lose nothing
 * come together.
 */
#ifndef LATCHKEY_SIM_CHAOS_H
#define LATCHKEY_SIM_CHAOS_H

#include "wire.h"

typedef struct climate {
    bool lossy;    /* servers may lose what they acknowledged last */
    bool clocks;   /* servers' clocks are set */
    bool restores; /* their data are replaced in place by older ones */
    bool splits;   /* failovers behind one address: old connections stay with the old primary */
    bool storm;
    bool late; /* scripts arrive long after the call that sent them has given up */
    bool calm; /* nothing goes wrong at all */
    /* One episode follows the other, and what goes wrong comes together: what was promoted lacks the last writes; messages are lost
     * when a slot begins to move; data are replaced while a machine stands still; a clock jumps over sessions' ends */
    bool dense;
    int64_t staleness_us;
    int64_t quiet_most_us; /* between episodes */
} climate;

extern uint64_t chaos_episodes[32];
const char *chaos_name(int kind); /* NULL: there are no more */

void chaos_begin(const climate *c);
void chaos_end(void); /* heals everything */

/* A change of rights is OK now. True: it is about to be lost. */
bool chaos_changed(void);
/* That session's end is OK now, on that machine. Something may be waiting for one, to strike right behind it. */
void chaos_ended(const machine *m, const char *key);
bool chaos_awaits_end(void);
void chaos_all_ended(void); /* the end of all sessions is OK now */
/* That is sent to a server in a moment: it may arrive late, or the answer may. */
void chaos_sends(wire *c, const char *bytes, size_t size);

#endif
