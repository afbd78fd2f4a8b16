/* See nodes.h. */
#include "cli/nodes.h"

#include "l2/naming.h"
#include "redis/errors.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static query *connect_host(const char *url, const lk_host *host, int64_t patience_ms, int *status, char *error,
                           size_t error_size)
{
    query *p = calloc(1, sizeof *p);
    *status = p ? host ? query_open_at(url, host, patience_ms, p, error, error_size)
                       : query_open(url, QUERY_OF_THE_URL, patience_ms, p, error, error_size)
                : LATCHKEY_NO_MEMORY;
    if (!*status) return p;
    if (p) query_close(p);
    free(p);
    return NULL;
}

/* One server: node 0. Behind sentinels, the one that they name. */
static int open_one(const char *url, int64_t patience_ms, nodes *n, char *error, size_t error_size)
{
    int status;
    n->count = n->named = 1;
    n->node[0] = connect_host(url, NULL, patience_ms, &status, n->why[0], sizeof n->why[0]);
    if (!n->node[0]) {
        snprintf(error, error_size, "%s", n->why[0]);
        return status;
    }
    snprintf(n->host[0].name, sizeof n->host[0].name, "%s", n->node[0]->config.host);
    snprintf(n->host[0].port, sizeof n->host[0].port, "%s", n->node[0]->config.port);
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

/* ----------------------------------------------------------------------------------------------- at once -- */

typedef struct visit {
    void (*each)(void *context, unsigned i);
    void *context;
    unsigned i;
} visit;

static void *run_visit(void *of)
{
    const visit *v = of;
    v->each(v->context, v->i);
    return NULL;
}

static void at_once(unsigned count, void (*each)(void *context, unsigned i), void *context)
{
    visit one[NODES_MOST];
    pthread_t thread[NODES_MOST];
    bool runs[NODES_MOST];
    for (unsigned i = 0; i < count; i++) {
        one[i] = (visit){each, context, i};
        runs[i] = count > 1 && pthread_create(&thread[i], NULL, run_visit, &one[i]) == 0;
        if (!runs[i]) run_visit(&one[i]);
    }
    for (unsigned i = 0; i < count; i++)
        if (runs[i]) pthread_join(thread[i], NULL);
}

void nodes_each(nodes *n, void (*each)(void *context, unsigned i), void *context) { at_once(n->count, each, context); }

/* -------------------------------------------------------------------------------------------- of a cluster -- */

enum { IMPATIENT_MS = 250 };

typedef struct seeds {
    const char *url;
    int64_t patience_ms;
    const lk_config *config;
    struct {
        int status;
        lk_reply *map;
        char error[400];
    } of[LK_SEEDS_MAX];
} seeds;

static void ask_seed(void *context, unsigned i)
{
    seeds *s = context;
    const lk_host *at = &s->config->seed[i];
    char where[112], text[160] = "";
    query *p = connect_host(s->url, at, s->patience_ms, &s->of[i].status, text, sizeof text);
    lk_reply_free(s->of[i].map);
    s->of[i].map = NULL;
    lk_reply *reply = p ? QUERY(p, "CLUSTER", "SLOTS") : NULL;
    lk_host_text(at, where, sizeof where);
    if (p && reply && reply->type == LK_REPLY_ERROR) s->of[i].status = lk_error_status(reply, text, sizeof text);
    else if (p && !reply) s->of[i].status = LATCHKEY_UNAVAILABLE;
    if (s->of[i].status) {
        snprintf(s->of[i].error, sizeof s->of[i].error, "%s: %.80s%.150s", where,
                 p ? "it does not say which node has which slot: " : "", p && !reply ? "no answer" : text);
        lk_reply_free(reply);
    } else s->of[i].map = reply;
    if (p) query_close(p);
    free(p);
}

static bool take_map(nodes *n, seeds *s, unsigned i)
{
    n->asked = s->config->seed[i];
    if (!s->of[i].map || !lk_slots_read(&n->slots, s->of[i].map, &n->asked)) return false;
    n->answer = s->of[i].map;
    s->of[i].map = NULL;
    return true;
}

/* The map of the first listed node that has one: one after the other, with little patience, so that one that hangs costs
 * little; and if none is as quick, all at once. */
static int ask_slots(const char *url, int64_t patience_ms, const lk_config *config, nodes *n, char *error,
                     size_t error_size)
{
    bool known = false;
    seeds *s = calloc(1, sizeof *s);
    if (!s) return LATCHKEY_NO_MEMORY;
    *s = (seeds){.url = url, .patience_ms = IMPATIENT_MS, .config = config};
    for (unsigned i = 0; i < config->seeds && !known; i++) {
        ask_seed(s, i);
        known = take_map(n, s, i);
    }
    s->patience_ms = patience_ms;
    if (!known) at_once(config->seeds, ask_seed, s);
    for (unsigned i = 0; i < config->seeds && !known; i++) known = take_map(n, s, i);
    int status = known ? LATCHKEY_OK : s->of[0].status ? s->of[0].status : LATCHKEY_UNAVAILABLE;
    if (!known) snprintf(error, error_size, "%s", *s->of[0].error ? s->of[0].error : "CLUSTER SLOTS is not understood");
    for (unsigned i = 0; i < config->seeds; i++) lk_reply_free(s->of[i].map);
    free(s);
    return status;
}

typedef struct connecting {
    const char *url;
    int64_t patience_ms;
    nodes *n;
    int status[NODES_MOST];
} connecting;

static void connect_one(void *context, unsigned i)
{
    connecting *all = context;
    nodes *n = all->n;
    n->node[i] = connect_host(all->url, &n->host[i], all->patience_ms, &all->status[i], n->why[i], sizeof n->why[i]);
}

static int open_cluster(const char *url, int64_t patience_ms, nodes *n, char *error, size_t error_size)
{
    int status = LATCHKEY_OK;
    connecting all = {.url = url, .patience_ms = patience_ms, .n = n};
    nodes_each(n, connect_one, &all);
    for (unsigned i = 0; i < n->count; i++) {
        if (!all.status[i]) continue;
        status = all.status[i];
        snprintf(error, error_size, "%s:%s: %s", n->host[i].name, n->host[i].port, n->why[i]);
    }
    if (!status && n->uncovered) {
        status = LATCHKEY_UNAVAILABLE;
        snprintf(error, error_size, "%u of %d slots have no node", n->uncovered, LK_SLOTS);
    }
    return status;
}

static int find_primaries(const char *url, int64_t patience_ms, nodes *n, bool connect, char *error, size_t error_size)
{
    memset(n, 0, sizeof *n);
    lk_config *config = calloc(1, sizeof *config);
    if (!config) return LATCHKEY_NO_MEMORY;
    int status = lk_config_parse(url, config, error, error_size);
    if (!status && config->cluster) {
        status = ask_slots(url, patience_ms, config, n, error, error_size);
        if (!status) read_map(n);
        if (!status && connect) status = open_cluster(url, patience_ms, n, error, error_size);
    } else if (!status && connect) status = open_one(url, patience_ms, n, error, error_size);
    lk_wipe(config, sizeof *config);
    free(config);
    return status;
}

int nodes_open(const char *url, int64_t patience_ms, nodes *n, char *error, size_t error_size)
{
    return find_primaries(url, patience_ms, n, true, error, error_size);
}

int nodes_find(const char *url, int64_t patience_ms, nodes *n, char *error, size_t error_size)
{
    return find_primaries(url, patience_ms, n, false, error, error_size);
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
