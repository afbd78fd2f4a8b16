/* What the link says to the log of its own ups and downs. Transitions, not repetitions: that the link is down is said
 * once, however often it then fails in the same way, and once that it is up. And never much: a few lines at once, then
 * one in LK_LINK_LOG_EVERY_MS. What there was no room for is said with the next line, so the last line always tells how
 * things are. Owned by the link's thread. */
#ifndef LK_OBSERVE_LINK_LOG_H
#define LK_OBSERVE_LINK_LOG_H

#include "base/counters.h"

#include <stdbool.h>

enum { LK_LINK_LOG_AT_ONCE = 10, LK_LINK_LOG_EVERY_MS = 10000 };

typedef struct lk_link_log {
    bool down, said_down;
    char why[160];                     /* the newest reason */
    int64_t down_ms, away_ms;          /* since when; and, once it is up, for how long it was */
    unsigned losses;                   /* since it was last said to be up */
    int64_t lease_ms, lapse_ms;        /* when the last beat was sent, 0: down; the longest lapse not yet said */
    uint64_t missed, empties, corrupt; /* counted, when it was last said */
    uint64_t expected;                 /* of the empties since: another server was met, or */
    bool everyone;                     /* all sessions were ended */
    int64_t lines, refilled_ms;        /* to be had at once; as of then */
} lk_link_log;

void lk_link_log_open(lk_link_log *trouble, int64_t now_ms);

/* The link was lost, or could not be had: CONFIG needs somebody to act, anything else may pass by itself. */
void lk_link_log_lost(lk_link_log *trouble, int64_t now_ms, int status, const char *why);

/* A lease is confirmed as of this time. `counters` tell what happened since the last one. */
void lk_link_log_lease(lk_link_log *trouble, int64_t sent_ms, int64_t staleness_ms, const lk_counters *counters);

#endif
