/* The instances that are heard: of each its newest numbers (beat_stats.h), and what they make in a second. No I/O. */
#ifndef LK_CLI_FLEET_H
#define LK_CLI_FLEET_H

#include "observe/beat_stats.h"
#include "redis/resp.h"

enum { HERD_MOST = 1000, HERD_NAME = 16 };

/* In a second; the rest as it is now, or of the last seconds. */
typedef struct herd_rates {
    double validates, hits, misses, refused, reads, writes, errors, purges;
} herd_rates;

typedef struct herd_instance {
    char name[HERD_NAME + 1];
    bool tells; /* numbers; an older library sends none */
    unsigned beats;
    int64_t heard_ms, silent_ms; /* when last; the longest time between two beats */
    lk_beat_stats now, base;     /* rates are from the one to the other */
    bool rated;
    herd_rates rates;
} herd_instance;

typedef struct herd {
    int64_t database; /* instances of another one are not looked at */
    char prefix[48];  /* of the channels: "lk:beat:" */
    herd_instance *instance;
    size_t count;
} herd;

bool herd_open(herd *h, const char *prefix, int64_t database); /* false: no memory */
void herd_close(herd *h);

/* A message that came to the subscription. True: a beat of somebody. */
bool herd_take(herd *h, const lk_reply *push, int64_t now_ms);

/* Whoever has been silent for so long is forgotten. */
void herd_forget(herd *h, int64_t now_ms, int64_t silent_ms);

/* All together: counts and rates added up, of times the worst, of ages the oldest (-1: somebody has no lease). */
void herd_total(const herd *h, herd_instance *total);

/* Of what tells; -1: nothing was asked of it. */
double herd_hit_share(const herd_rates *rates);

#endif
