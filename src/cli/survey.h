/* What each primary behind a URL says about itself, and about its replicas: one server, the one that sentinels name, or all
 * primaries of a cluster. All are asked at once. A node that does not answer costs no more time than its patience (query.h).
 * Its part is then missing, and the others are shown all the same. Nothing is written. */
#ifndef LK_CLI_SURVEY_H
#define LK_CLI_SURVEY_H

#include "cli/cli.h"
#include "cli/nodes.h"

enum { SURVEY_REPLICAS = 8 };

typedef struct survey_replica {
    lk_host host;
    char at[112], state[20];
    int64_t behind, lag_s; /* bytes that it has not acknowledged; seconds since it last did. -1: not known */
} survey_replica;

typedef struct survey_node {
    char at[112];
    bool answers;
    char why[160];  /* it does not answer */
    double away_ms; /* a round trip */
    char version[32], memory[32], limit[32], aof[8], uptime[24];
    unsigned replicas, listed; /* replicas that are connected; how many of them replica[] has */
    survey_replica replica[SURVEY_REPLICAS];
    unsigned partitions;                  /* how many it has */
    uint64_t sessions, peak, revocations; /* in those */
    int64_t commands, taken_ms;           /* how many it has run since it started, and when it said so */
    double commands_per_s;                /* since the round before; NAN: not known */
    size_t errors, warnings, notices;     /* findings about its settings */
    char refused[200];                    /* a right is missing, which; or "" */
} survey_node;

typedef struct survey {
    const char *url;
    lk_config config;
    int64_t patience_ms; /* 0: query_patience */
    nodes *nodes;        /* the connections. What was learnt is in the rest, of which a copy may be made */
    survey_node node[NODES_MOST];
    lk_host host[NODES_MOST];
    uint8_t owner[LK_PARTITIONS_MAX]; /* of a partition, in a cluster */
    unsigned count, silent;           /* primaries; those of them that do not answer */
    unsigned named, uncovered;        /* nodes of a cluster with replicas; slots that no node has */
    uint64_t partitions;              /* as recorded, or as configured if the node that knows is away; 0: no handle was
                                         opened yet */
    unsigned agreeing;                /* sentinels that name the primary */
    int status;                       /* OK: at least one node answers; */
    char error[200];                  /* else why none does */
    int64_t found_ms;                 /* when the nodes were looked for last */
} survey;

/* OK; or CONFIG: the URL is wrong, and `error` says why. Nothing is asked yet. */
int survey_open(survey *s, const char *url);
void survey_close(survey *s);

/* One round: asks all of them. `sessions`: also what their partitions hold. Connections are kept from one round to the next.
 * Where the nodes are is asked anew every few seconds, and if one did not answer. */
void survey_ask(survey *s, bool sessions);

/* Does the answer to a question about a key say that the node does not serve (-LOADING, -CLUSTERDOWN)? A slot that is on its
 * way to another node is none of that. */
bool survey_is_outage(const lk_reply *reply, char *why, size_t size);
/* Does the node that has the partition refuse what a login does (-OOM, -MISCONF, -NOREPLICAS)? It may answer all that is read. A member of
 * a key that never exists would be changed, so nothing is. */
bool survey_refuses_writes(query *p, const char *prefix, unsigned partition, char *why, size_t size);

/* Which node has the partition; NODES_MOST: none. */
unsigned survey_owner(const survey *s, int64_t partition);
void survey_json_replicas(json *j, const survey_node *n); /* the member `replica_list` */
bool survey_covered(const survey *s);                     /* every slot has a node */

#endif
