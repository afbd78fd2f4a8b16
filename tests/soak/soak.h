/* SPDX-License-Identifier: MIT
 *
 * latchkey-soak: everything at once, for long, and nothing may grow.
 *
 *     soak.c    options, the server and its restarts, the verdict
 *     work.c    threads that make, use and end sessions; each owns its sessions, so that it knows what they are
 *     gauge.c   memory, descriptors and threads of this process over time
 */
#ifndef LATCHKEY_SOAK_H
#define LATCHKEY_SOAK_H

#include "test_handle.h"
#include "threads.h"

#include <stdatomic.h>
#include <stdbool.h>

/* ------------------------------------------------------------------------------------------------- work -- */

enum { HANDLES = 2, WORKERS = 4, SESSIONS = 600, FIXED = 500, EVENTED_IN_FLIGHT = 64 };

enum doing { CREATE, VALIDATE, TRY_MANY, TOUCH, REVOKE, LOAD, SET_FIELDS, PREWARM, STATS, METRICS, SUBMIT, DOINGS };
extern const char *const doing_names[DOINGS];

/* What all threads share. */
typedef struct soak {
    latchkey *handles[HANDLES];
    char fixed[FIXED][LATCHKEY_TOKEN_SIZE];
    unsigned seed;
    /* Relaxed: totals, read at the end, after the join. */
    _Atomic uint64_t done[DOINGS], unanswered[DOINGS], wrong;
} soak;

uint64_t fixed_user(size_t index);
void work(crew_member *self);    /* of the crew of WORKERS */
void evented(crew_member *self); /* a crew of one */

/* ------------------------------------------------------------------------------------------------ gauge -- */

typedef struct gauge {
    double at_s;
    double resident_kb;
    int descriptors, threads;
} gauge;

gauge gauge_read(double at_s);

/* Compares the last third with the third before it; the first is warm-up. Prints both; false: something grew. */
bool gauges_judge(const gauge *gauges, size_t count, double slack_kb);

#endif
