/* What latchkey_sample has found so far.
 *
 *   sample.c    the verb: survey, draw, look, add up
 *   probe.c     what is under a session's key
 *   sizes.c     what some of the sessions take
 *   scan.c      a walk over some of the keys
 *   batch.c     questions, one round trip of them, and the rest after it
 *   estimate.c  what a sample says about all sessions */
#ifndef LK_ANALYTICS_SAMPLING_H
#define LK_ANALYTICS_SAMPLING_H

#include "analytics/batch.h"
#include "analytics/estimate.h"
#include "base/record.h"

enum { LK_SAMPLE_BATCH = 64, LK_SAMPLE_WEIGHED = 256 };

typedef struct lk_sampled_partition {
    size_t names, draw, drawn;
    int64_t peak, peak_at_ms, cutoff_ms; /* sessions that were made at cutoff_ms or before are over */
    int64_t now_ms;                      /* by its server's clock, when it was surveyed */
} lk_sampled_partition;

typedef struct lk_sampled_node {
    lk_node *node;
    uint64_t keys; /* in its database */
} lk_sampled_node;

typedef struct lk_sampling {
    lk_batch q;
    lk_sampled_node nodes[LK_NODES_MAX]; /* those that own a partition */
    size_t node_count;
    latchkey_population *population;
    lk_sampled_partition *partitions;
    /* how many to look at; how many were looked at; the partition that names are drawn from */
    size_t count, looked_at, at;
    lk_sight *sights;
    size_t living;
    lk_member members[LK_SAMPLE_BATCH];
    size_t member_count;
    lk_member chosen[LK_SAMPLE_WEIGHED]; /* whose sizes are measured */
    size_t chosen_count, choose_every;
    lk_weight weights[LK_SAMPLE_WEIGHED];
    size_t weighed;
} lk_sampling;

#endif
