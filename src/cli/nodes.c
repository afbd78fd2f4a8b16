/* See nodes.h. */
#include "cli/nodes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One server: node 0. */
static int open_one(const char *url, nodes *n, char *error, size_t error_size)
{
    n->node[0] = calloc(1, sizeof *n->node[0]);
    if (!n->node[0]) return LATCHKEY_NO_MEMORY;
    n->count = n->named = 1;
    int status = query_open(url, QUERY_OF_THE_URL, n->node[0], error, error_size);
    snprintf(n->host[0].name, sizeof n->host[0].name, "%s", n->node[0]->config.host);
    snprintf(n->host[0].port, sizeof n->host[0].port, "%s", n->node[0]->config.port);
    return status;
}

/* The map of the first listed node that has one. */
static int ask_slots(const char *url, const lk_config *config, nodes *n, char *error, size_t error_size)
{
    query *p = calloc(1, sizeof *p);
    int status = p ? LATCHKEY_UNAVAILABLE : LATCHKEY_NO_MEMORY;
    for (unsigned i = 0; p && i < config->seeds && status; i++) {
        status = query_open_at(url, &config->seed[i], p, error, error_size);
        lk_reply *reply = status ? NULL : QUERY(p, "CLUSTER", "SLOTS");
        n->asked = config->seed[i];
        if (!status && !(reply && lk_slots_read(&n->slots, reply, &n->asked))) {
            status = reply && reply->type == LK_REPLY_ERROR ? LATCHKEY_CONFIG : LATCHKEY_UNAVAILABLE;
            snprintf(error, error_size, "%s:%s does not say which node has which slot: %.100s", n->asked.name,
                     n->asked.port, reply ? reply->text : "no answer");
            lk_reply_free(reply);
        } else n->answer = reply;
        query_close(p);
    }
    free(p);
    return status;
}

/* Which nodes have slots; in the order in which their partitions come. */
static unsigned primary_of(nodes *n, const lk_host *host)
{
    unsigned i = 0;
    while (i < n->count && !lk_host_same(&n->host[i], host)) i++;
    if (i == n->count && n->count < NODES_MOST) n->host[n->count++] = *host;
    return i;
}

static void read_map(nodes *n)
{
    lk_host host;
    for (unsigned p = 0; p < LK_PARTITIONS_MAX; p++) {
        unsigned at = lk_slots_primary(&n->slots, lk_slot_of_partition(p), &host) ? primary_of(n, &host) : NODES_MOST;
        n->owner[p] = (uint8_t)at;
    }
    for (unsigned slot = 0; slot < LK_SLOTS; slot++) {
        if (lk_slots_primary(&n->slots, slot, &host)) primary_of(n, &host);
        else n->uncovered++;
    }
    n->named = lk_slots_nodes(&n->slots, n->member, sizeof n->member / sizeof *n->member);
}

static int open_cluster(const char *url, const lk_config *config, nodes *n, char *error, size_t error_size)
{
    int status = ask_slots(url, config, n, error, error_size);
    if (status) return status;
    read_map(n);
    for (unsigned i = 0; i < n->count; i++) {
        query *p = calloc(1, sizeof *p);
        int one = p ? query_open_at(url, &n->host[i], p, n->why[i], sizeof n->why[i]) : LATCHKEY_NO_MEMORY;
        if (!one) n->node[i] = p;
        else {
            if (p) query_close(p);
            free(p);
            status = one;
            snprintf(error, error_size, "%s:%s: %s", n->host[i].name, n->host[i].port, n->why[i]);
        }
    }
    if (!status && n->uncovered) {
        status = LATCHKEY_UNAVAILABLE;
        snprintf(error, error_size, "%u of %d slots have no node", n->uncovered, LK_SLOTS);
    }
    return status;
}

int nodes_open(const char *url, nodes *n, char *error, size_t error_size)
{
    memset(n, 0, sizeof *n);
    lk_config *config = calloc(1, sizeof *config);
    if (!config) return LATCHKEY_NO_MEMORY;
    int status = lk_config_parse(url, config, error, error_size);
    if (!status)
        status =
            config->cluster ? open_cluster(url, config, n, error, error_size) : open_one(url, n, error, error_size);
    lk_wipe(config, sizeof *config);
    free(config);
    return status;
}

void nodes_close(nodes *n)
{
    for (unsigned i = 0; i < n->count; i++) {
        if (n->node[i]) query_close(n->node[i]);
        free(n->node[i]);
    }
    lk_reply_free(n->answer);
    memset(n, 0, sizeof *n);
}

query *nodes_of(const nodes *n, unsigned partition)
{
    return n->owner[partition] < n->count ? n->node[n->owner[partition]] : NULL;
}
