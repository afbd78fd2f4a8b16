/* The instances that send beats: for each, its newest numbers (beat_stats.h), and its rates. No I/O. */
#ifndef LK_CLI_FLEET_H
#define LK_CLI_FLEET_H

#include "cli/cli.h"
#include "observe/beat_stats.h"
#include "redis/resp.h"

enum { FLEET_MOST = 10000, FLEET_NAME = 16 };

/* Counts a second. Each is the rate of the number of that name in beats (beat_stats.h); `errors` also counts `shed`. */
#define FLEET_RATES(X) X(hits) X(misses) X(refused) X(reads) X(writes) X(errors) X(purges)
#define FLEET_FIELD(field) double field;
typedef struct fleet_rates {
    double validates; /* hits, misses and refused together */
    FLEET_RATES(FLEET_FIELD)
} fleet_rates;
#undef FLEET_FIELD

typedef struct fleet_instance {
    char name[FLEET_NAME + 1];
    bool tells; /* it sends numbers; an older library sends none */
    unsigned beats;
    int64_t heard_ms, silent_ms; /* when its last beat came; the longest time between two beats */
    lk_beat_stats now, base;     /* the rates are from `base` to `now` */
    bool rated;
    fleet_rates rates;
} fleet_instance;

typedef struct fleet {
    int64_t database; /* instances of another database are ignored */
    char prefix[48];  /* the beginning of the channels' names: "lk:beat:" */
    char pulse[48];   /* of a cluster, the one channel of all: "lk:{0}:pulse" */
    fleet_instance *instance;
    size_t count;
    bool full; /* there are more, which are left out */
} fleet;

bool fleet_open(fleet *h, const char *prefix, int64_t database); /* false: no memory */
void fleet_close(fleet *h);

/* Takes a message of the subscription. True: it was an instance's beat. */
bool fleet_take(fleet *h, const lk_reply *push, int64_t now_ms);

/* Forgets the instances that have been silent for that long. */
void fleet_forget(fleet *h, int64_t now_ms, int64_t silent_ms);

/* All instances together: counts and rates are added up; of times the worst is taken, of ages the oldest (-1: some
 * instance has no lease). */
void fleet_total(const fleet *h, fleet_instance *total);

/* Over the instances that send numbers. -1: nothing was asked of them. */
double fleet_hit_share(const fleet_rates *rates);

/* -1: none; so is one older than staleness_ms. */
int64_t fleet_lease_ms(int64_t age_ms, int64_t staleness_ms);

/* Three cells that say which instance it is: host, process, name. */
void fleet_cells(table *t, const fleet_instance *i);

#endif
