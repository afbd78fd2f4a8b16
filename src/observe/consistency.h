/* The auditor: is the promise of guarantee C being kept? Off unless audit_per_s is set.
 *
 *   L1 --a random entry--> HGET --the same?--> nothing
 *                                  |no: a suspicion
 *                                  +-- a bound later: L1 still holds that very fill? --> a disagreement
 *
 * A suspicion alone says nothing: the revocation's message may be on its way. A disagreement says something. The lease
 * that holds at the second look was confirmed by a beat that was sent after Redis answered the first, so all that was
 * announced before that answer was applied by then: what is left was announced to nobody (a key deleted or changed by
 * hand, evicted by Redis, expired early because Redis' clock was set), or latchkey broke its promise.
 * What expires in Redis in its time is never left: L1's deadline is counted from PTTL, and comes first (judge.c).
 *
 * Without I/O, without a clock, without a thread: the link drives it, and owns it. */
#ifndef LK_OBSERVE_CONSISTENCY_H
#define LK_OBSERVE_CONSISTENCY_H

#include "base/config.h"
#include "base/counters.h"
#include "redis/resp.h"
#include "base/entry_sample.h"

enum { LK_AUDIT_SUSPICIONS = 64 }; /* at a time; what does not fit in is let go: it is a sample anyway */

typedef struct lk_suspicion {
    lk_entry_sample seen;
    const char *why; /* NULL: a free place */
    int64_t since_ms;
    bool counted; /* as a disagreement; the place is kept while L1 may hold it, so that it is counted once */
} lk_suspicion;

typedef struct lk_consistency {
    const lk_config *config;
    lk_counters *counters;
    int64_t next_us, leased_until_ms;
    lk_suspicion suspicion[LK_AUDIT_SUSPICIONS];
    uint64_t unsaid;   /* disagreements since the last line of the log, */
    lk_suspicion last; /* the newest of them, */
    int64_t say_ms;    /* and when the next line may be said */
} lk_consistency;

void lk_consistency_open(lk_consistency *audit, const lk_config *config, lk_counters *counters);

/* 0: it is lost, with the connection. At the next look without one what was suspected is forgotten: it was of a time in
 * which the promise was kept by answering nothing from L1. */
void lk_consistency_leased(lk_consistency *audit, int64_t until_ms);

/* True: a comparison is due, and has now been taken. At the end of each tick lk_consistency_rest gives up those that are left
 * over, for which there was no room: so none is ever overdue when lk_consistency_wake_ms is asked. */
bool lk_consistency_due(lk_consistency *audit, int64_t now_us);
void lk_consistency_rest(lk_consistency *audit, int64_t now_us);
int64_t lk_consistency_wake_ms(const lk_consistency *audit); /* INT64_MAX where it is off */

/* What Redis answered to HGET <session> v. */
void lk_consistency_judge(lk_consistency *audit, const lk_entry_sample *seen, const lk_reply *reply, int64_t now_ms);

/* Looks again at what was suspected a bound ago. `held`: does L1 hold that very fill? */
void lk_consistency_recheck(lk_consistency *audit, int64_t now_ms,
                            bool (*held)(void *context, const lk_entry_sample *seen), void *context);

#endif
