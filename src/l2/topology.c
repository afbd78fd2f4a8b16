/* See topology.h. Constant once it is open, so it needs no lock. */
#include "l2/topology.h"

#include <stdlib.h>

int lk_topology_open(lk_topology *topology, const lk_config *config, lk_counters *counters, const lk_l1_side *l1,
                     char *error, size_t error_size)
{
    size_t count = (size_t)config->partitions;
    topology->partitions = calloc(count, sizeof *topology->partitions);
    if (!topology->partitions) return LATCHKEY_NO_MEMORY;
    for (unsigned p = 0; p < count; p++) topology->partitions[p] = p;
    lk_partitions all = {topology->partitions, count};
    int status = lk_book_open(&topology->book, config, counters, error, error_size);
    if (status) return status;
    return lk_node_open(config, counters, all, &topology->book, l1, &topology->node, error, error_size);
}

void lk_topology_close(lk_topology *topology)
{
    lk_node_close(topology->node);
    lk_book_close(&topology->book);
    free(topology->partitions);
    topology->node = NULL;
    topology->partitions = NULL;
}

void lk_topology_abandon(lk_topology *topology)
{
    lk_node_abandon(topology->node);
    lk_book_abandon(&topology->book);
}
