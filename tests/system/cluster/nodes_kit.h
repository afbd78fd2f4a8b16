/* SPDX-License-Identifier: MIT
 *
 * What tests of the verbs on several nodes share: which user's sessions are on which node.
 */
#ifndef LATCHKEY_TESTS_NODES_KIT_H
#define LATCHKEY_TESTS_NODES_KIT_H

#include "cluster.h"

static inline int node_of(cluster *c, const char *token)
{
    return cluster_owner(c, cluster_slot(c, token_partition(token)));
}

static inline unsigned partition_of_user(latchkey *lk, uint64_t user_id)
{
    char token[LATCHKEY_TOKEN_SIZE];
    assert_status(lk, LATCHKEY_OK, latchkey_token_new(lk, user_id, token));
    return token_partition(token);
}

/* The first user from `from` on whose sessions this node has. */
static inline uint64_t user_on(cluster *c, latchkey *lk, int node, uint64_t from)
{
    while (cluster_owner(c, cluster_slot(c, partition_of_user(lk, from))) != node) from++;
    return from;
}

static inline void flush_nodes(cluster *c)
{
    for (int i = 0; i < c->count; i++)
        if (c->node[i]->pid > 0 && !c->frozen[i] && cluster_is_primary(c, i)) redis_do(c->node[i], "FLUSHALL");
}

#endif
