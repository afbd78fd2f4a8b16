/* The primaries behind a URL, each asked on connections of its own: one server, or all primaries of a cluster. */
#ifndef LK_CLI_NODES_H
#define LK_CLI_NODES_H

#include "cli/query.h"
#include "redis/slots.h"

enum { NODES_MOST = 64 };

typedef struct nodes {
    lk_slots slots; /* of a cluster */
    lk_reply *answer;
    lk_host asked,
        host[NODES_MOST];    /* where the primaries are; without a cluster, of one node: empty for a unix socket */
    query *node[NODES_MOST]; /* NULL: it does not answer, and why[] says why */
    char why[NODES_MOST][160];
    unsigned count, named;            /* primaries; and how many nodes there are with replicas */
    unsigned uncovered;               /* slots that no node has */
    uint8_t owner[LK_PARTITIONS_MAX]; /* of a partition; NODES_MOST: no node has it */
    lk_host member[4 * NODES_MOST];   /* all nodes of a cluster, the primaries first */
} nodes;

/* Connects to all primaries at once. OK: all answer. Another status: `error` says why; of those that answer, node[] is
 * set. patience_ms: for each answer (query.h). Call nodes_close in any case. It is large: allocate it. */
int nodes_open(const char *url, int64_t patience_ms, nodes *n, char *error, size_t error_size);
/* Only learns where they are: node[] stays NULL. */
int nodes_find(const char *url, int64_t patience_ms, nodes *n, char *error, size_t error_size);
void nodes_close(nodes *n);

/* Runs `each` for every primary at once, each in a thread of its own, so that one that hangs delays no other. */
void nodes_each(nodes *n, void (*each)(void *context, unsigned i), void *context);

/* The node that has a partition. NULL: none. */
query *nodes_of(const nodes *n, unsigned partition);

#endif
