/* The nodes, as `status` and `top` show them: what each says of itself, and what the instances say of it. One that fails comes
 * first, and says why. */
#ifndef LK_CLI_NODE_ROWS_H
#define LK_CLI_NODE_ROWS_H

#include "cli/cli.h"
#include "cli/fleet.h"
#include "cli/survey.h"

/* What the instances that tell numbers say of one node. */
typedef struct node_leases {
    size_t instances, without; /* how many say something; how many of them have no lease there */
    int64_t oldest_ms;         /* of the others; -1: there are none */
} node_leases;
node_leases node_leases_of(const survey *s, const fleet *h, unsigned node);

bool node_rows_print(const survey *s, const fleet *h, size_t most); /* at most so many rows. False: no memory */
void node_rows_json(json *j, const survey *s, const fleet *h); /* the member `nodes`, and how many slots have none */
/* In a cluster, of one instance: the member `leases`. */
void node_rows_json_of(json *j, const survey *s, const fleet_instance *one);

#endif
