/* One question to one node of a cluster: which server has which slots? It blocks, within limits, and ends at once when
 * stop_fd becomes readable. */
#ifndef LK_L2_CLUSTER_ASK_H
#define LK_L2_CLUSTER_ASK_H

#include "redis/lookup.h"
#include "redis/slots.h"

enum { LK_CLUSTER_LOOKUPS = 8 };

typedef struct lk_cluster_ask {
    const lk_config *config;
    int stop_fd;
    lk_socket socket;
    /* lookups of hosts that are still under way: a name server that does not answer holds up no other host */
    struct {
        lk_host host;
        lk_lookup *lookup;
    } under_way[LK_CLUSTER_LOOKUPS];
} lk_cluster_ask;

void lk_cluster_ask_open(lk_cluster_ask *ask, const lk_config *config, int stop_fd);
void lk_cluster_ask_close(lk_cluster_ask *ask);

/* OK, and what the node answered to CLUSTER SLOTS, which the caller frees, and what it calls itself. CONFIG: that node will not do until a person
 * changes something. UNAVAILABLE, NO_MEMORY. `error` says why, and names the node. For connecting and for the answer
 * patience_ms each. */
int lk_cluster_slots(lk_cluster_ask *ask, const lk_host *host, int64_t patience_ms, lk_reply **reply, lk_node_id *self,
                     char *error, size_t error_size);

#endif
