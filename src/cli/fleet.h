/* The instances that are heard: of each its newest numbers (beat_stats.h), and what they make in a second. No I/O. */
#ifndef LK_CLI_FLEET_H
#define LK_CLI_FLEET_H

#include "observe/beat_stats.h"
#include "redis/resp.h"

enum { FLEET_MOST = 1000, FLEET_NAME = 16 };

/* In a second; the rest as it is now, or of the last seconds. */
typedef struct fleet_rates {
    double validates, hits, misses, refused, reads, writes, errors, purges;
} fleet_rates;

typedef struct fleet_instance {
    char name[FLEET_NAME + 1];
    bool tells; /* numbers; an older library sends none */
    unsigned beats;
    int64_t heard_ms, silent_ms; /* when last; the longest time between two beats */
    lk_beat_stats now, base;     /* rates are from the one to the other */
    bool rated;
    fleet_rates rates;
} fleet_instance;

typedef struct fleet {
    int64_t database; /* instances of another one are not looked at */
    char prefix[48];  /* of the channels: "lk:beat:" */
    fleet_instance *instance;
    size_t count;
} fleet;

bool fleet_open(fleet *h, const char *prefix, int64_t database); /* false: no memory */
void fleet_close(fleet *h);

/* A message that came to the subscription. True: a beat of somebody. */
bool fleet_take(fleet *h, const lk_reply *push, int64_t now_ms);

/* Whoever has been silent for so long is forgotten. */
void fleet_forget(fleet *h, int64_t now_ms, int64_t silent_ms);

/* All together: counts and rates added up, of times the worst, of ages the oldest (-1: somebody has no lease). */
void fleet_total(const fleet *h, fleet_instance *total);

/* Of what tells; -1: nothing was asked of it. */
double fleet_hit_share(const fleet_rates *rates);

#endif
