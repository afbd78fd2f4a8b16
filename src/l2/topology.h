/* Which server owns a partition: asked here and nowhere else. Today there is one server, at a fixed address, which owns
 * all partitions. With several, each node has its own link, lease and pool, for the partitions that it owns. */
#ifndef LK_L2_TOPOLOGY_H
#define LK_L2_TOPOLOGY_H

#include "l2/book.h"
#include "l2/node.h"

typedef struct lk_topology {
    lk_book book;
    lk_node *node;
    unsigned *partitions; /* from 0 up: all belong to the one node */
} lk_topology;

/* Opens the nodes, which begin to connect. `config` and `counters` must live longer than the topology. Statuses as
 * lk_node_open. */
int lk_topology_open(lk_topology *topology, const lk_config *config, lk_counters *counters, const lk_l1_side *l1,
                     char *error, size_t error_size);
void lk_topology_close(lk_topology *topology); /* also after a failed open, or without one if it is zeros */
void lk_topology_abandon(
    lk_topology *topology); /* in a forked child: closes its copies of the descriptors, and does nothing else */

static inline lk_node *lk_topology_owner(const lk_topology *topology, unsigned partition)
{
    (void)partition;
    return topology->node;
}

/* The nodes, one after the other; NULL behind the last. */
static inline lk_node *lk_topology_node(const lk_topology *topology, unsigned i) { return i ? NULL : topology->node; }

#endif
