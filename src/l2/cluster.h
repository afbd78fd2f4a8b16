/* The thread that has the map of a Redis Cluster. It asks nodes which server has which slots, and tells the topology.
 *
 *   a link, a caller --sign: the map may be old--> this thread --CLUSTER SLOTS--> a node
 *                                                      \--lk_topology_apply--> who owns each partition
 *
 * It asks when it is opened, at every sign, and otherwise every ten seconds or so. Questions are at least 100 ms apart, or
 * 10 ms if a node is likely to know: the one that MOVED names, or one that a slot has left. That node is asked first. A node
 * whose link was lost is asked last. After an answer that changed nothing, and after a failure, it asks again, at growing
 * intervals. Callers never wait for this thread: they read the owner of a partition without a lock. */
#ifndef LK_L2_CLUSTER_H
#define LK_L2_CLUSTER_H

#include "l2/topology.h"

typedef struct lk_cluster lk_cluster;

/* Starts the thread. The topology lives longer. OK; NO_MEMORY; UNAVAILABLE: the process has no more threads or
 * descriptors, and `error` says which. */
int lk_cluster_open(lk_topology *topology, lk_cluster **out, char *error, size_t error_size);
void lk_cluster_close(lk_cluster *cluster);   /* NULL is allowed. Waits for the thread, which stops at once */
void lk_cluster_abandon(lk_cluster *cluster); /* in a forked child: closes its copies of the descriptors, and no more */

#endif
