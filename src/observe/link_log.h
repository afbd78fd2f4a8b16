/* What the link logs about itself: changes, not repetitions. That the link is down is logged once, however often it
 * then fails in the same way. That it is up again is logged once. It is never much: a few lines at once, then one in
 * LK_LINK_LOG_EVERY_MS. What had no room is logged with the next line, so the last line always says how things are.
 * Owned by the link's thread; no lock. */
#ifndef LK_OBSERVE_LINK_LOG_H
#define LK_OBSERVE_LINK_LOG_H

#include "latchkey.h"

#include <stdbool.h>
#include <stdint.h>

enum { LK_LINK_LOG_AT_ONCE = 10, LK_LINK_LOG_EVERY_MS = 10000 };

typedef struct lk_link_log {
    bool down, said_down;     /* down: the link was lost, or the lease ran out and is withheld */
    char why[160];            /* the newest reason */
    int64_t down_ms, away_ms; /* since when the link is down; and, once it is up, how long it was down */
    unsigned losses;          /* since the log last said that the link is up */
    /* when the last beat was sent, 0: the link is down; the longest lapse of the lease that is not logged yet */
    int64_t lease_ms, lapse_ms;
    char where[120]; /* " host:port" in a cluster, where there are several links; else "" */
    /* of this link, since the last line: revocations whose message was lost, and how often L1 was emptied; */
    uint64_t missed, empties;
    /* how many of those have another cause: another server was met, or */
    uint64_t expected;
    uint64_t corrupt;           /* the counter as of the last line */
    bool everyone;              /* all sessions were ended; or */
    int64_t forward_ms;         /* Redis' clock was set forward by that much */
    int64_t lines, refilled_ms; /* how many lines may be logged now; when that was computed */
} lk_link_log;

void lk_link_log_open(lk_link_log *log, int64_t now_ms);

/* The link was lost, or could not be made. CONFIG: a person has to change something; any other status may pass by
 * itself. */
void lk_link_log_lost(lk_link_log *log, int64_t now_ms, int status, const char *why);

/* The link is up and a beat came back, but it gives no lease. Nothing is said while the last lease still holds. */
void lk_link_log_withheld(lk_link_log *log, int64_t now_ms, int64_t staleness_ms, const char *why);

/* The link connects anew, or sleeps, because its server has other partitions now: nothing is wrong. */
void lk_link_log_moved(lk_link_log *log);

/* There is a lease as of this time. corrupt: how many answers were CORRUPT since open. */
void lk_link_log_lease(lk_link_log *log, int64_t sent_ms, int64_t staleness_ms, uint64_t corrupt);

#endif
