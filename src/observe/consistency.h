/* The comparison of L1 with Redis: is guarantee C being kept? Off unless audit_per_s is set.
 *
 *   L1 --a random entry--> HGET --the same?--> nothing
 *                                  |no: a suspicion
 *                                  +-- a bound later: L1 still holds that very fill? --> a disagreement
 *
 * A suspicion alone means nothing: the revocation's message may be on its way. A disagreement does mean something. The
 * lease that holds at the second look was confirmed by a beat that was sent after Redis answered the first look. So
 * everything that was announced before that answer has been applied by now. What still differs was never announced (a
 * key was deleted or changed by hand, evicted by Redis, or expired early because Redis' clock was set), or latchkey
 * broke its promise.
 *
 * A session that expires in Redis in its time is never a disagreement: L1's deadline counts from PTTL, and comes first
 * (judge.c).
 *
 * No I/O, no clock, no thread, no lock: the link drives it, and owns it. */
#ifndef LK_OBSERVE_CONSISTENCY_H
#define LK_OBSERVE_CONSISTENCY_H

#include "base/config.h"
#include "base/counters.h"
#include "redis/resp.h"
#include "base/entry_sample.h"

enum { LK_AUDIT_SUSPICIONS = 64 }; /* at a time; a further suspicion is dropped: this is a sample anyway */

typedef struct lk_suspicion {
    lk_entry_sample seen;
    const char *why; /* NULL: the place is free */
    int64_t since_ms;
    bool counted; /* as a disagreement. The place stays taken while L1 may hold the entry, so that it is counted once */
} lk_suspicion;

typedef struct lk_consistency {
    const lk_config *config;
    lk_counters *counters;
    int64_t next_us, leased_until_ms;
    lk_suspicion suspicion[LK_AUDIT_SUSPICIONS];
    uint64_t unsaid;   /* disagreements since the last line of the log */
    lk_suspicion last; /* the newest of them */
    int64_t say_ms;    /* when the next line may be logged */
} lk_consistency;

void lk_consistency_open(lk_consistency *audit, const lk_config *config, lk_counters *counters);

/* Says until when there is a lease. 0: it is lost, with the connection. If there is no lease at the next look, all
 * suspicions are dropped: L1 answered nothing in that time, so the promise was kept. */
void lk_consistency_leased(lk_consistency *audit, int64_t until_ms);

/* True: a comparison is due; it counts as done now. At the end of each tick, lk_consistency_rest drops the comparisons
 * that are due and had no room. So none is overdue when lk_consistency_wake_ms is asked. */
bool lk_consistency_due(lk_consistency *audit, int64_t now_us);
void lk_consistency_rest(lk_consistency *audit, int64_t now_us);
int64_t lk_consistency_wake_ms(const lk_consistency *audit); /* INT64_MAX if it is off */

/* Takes Redis' answer to HGET <session> v. */
void lk_consistency_judge(lk_consistency *audit, const lk_entry_sample *seen, const lk_reply *reply, int64_t now_ms);

/* Looks again at what was suspected a bound ago. `held`: does L1 still hold that very fill? */
void lk_consistency_recheck(lk_consistency *audit, int64_t now_ms,
                            bool (*held)(void *context, const lk_entry_sample *seen), void *context);

#endif
