/* SPDX-License-Identifier: MIT */
#include "cluster.h"
#include "check.h"

#include <stdio.h>
#include <string.h>

/* ----------------------------------------------------------------------------------------------- what they say -- */

static int is_running(const cluster *c, int node) { return c->node[node]->pid > 0 && !c->frozen[node]; }

static int by_id(const cluster *c, const char *id)
{
    for (int i = 0; i < c->count; i++)
        if (strncmp(c->id[i], id, 40) == 0) return i;
    return -1;
}

/* Who owns each slot as this node sees it; 0 if it names an owner without a host yet. A node alone has no host. */
static int look(cluster *c, int node, signed char owner[CLUSTER_SLOTS])
{
    int whole = 1;
    memset(owner, -1, CLUSTER_SLOTS);
    redisReply *reply = redis_command(c->node[node], "CLUSTER SLOTS");
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++) {
        redisReply **range = reply->element[i]->element;
        redisReply **primary = range[2]->element;
        whole &= c->count == 1 || c->nameless || (primary[0]->str && *primary[0]->str);
        int who = by_id(c, primary[2]->str);
        for (long long slot = range[0]->integer; slot <= range[1]->integer; slot++) owner[slot] = (signed char)who;
    }
    freeReplyObject(reply);
    return whole;
}

static int says(redis *at, const char *line)
{
    redisReply *reply = redis_command(at, "CLUSTER INFO"); /* an error: it is loading */
    int found = strstr(reply->str, line) != NULL;
    freeReplyObject(reply);
    return found;
}

/* The epochs of the owners, as this node sees them. Who does not know that of an owner may still take an older word on who
 * owns a slot. */
static void look_at_epochs(cluster *c, int node, long long epoch[CLUSTER_NODES_MAX])
{
    memset(epoch, 0, CLUSTER_NODES_MAX * sizeof *epoch);
    redisReply *reply = redis_command(c->node[node], "CLUSTER NODES");
    for (char *rest = reply->str, *line; rest && (line = strsep(&rest, "\n"));) {
        char flags[64];
        int slots = 0, who = by_id(c, line);
        long long number;
        if (sscanf(line, "%*s %*s %63s %*s %*s %*s %lld %*s %n", flags, &number, &slots) != 2 || who < 0) continue;
        if (slots && line[slots] && !strstr(flags, "fail")) epoch[who] = number + 1;
    }
    freeReplyObject(reply);
}

int cluster_agrees(cluster *c)
{
    static signed char first[CLUSTER_SLOTS], other[CLUSTER_SLOTS];
    long long epoch[2][CLUSTER_NODES_MAX];
    int seen = 0;
    for (int i = 0; i < c->count; i++) {
        if (!is_running(c, i)) continue;
        if (!says(c->node[i], "cluster_state:ok") || !look(c, i, seen ? other : first)) return 0;
        look_at_epochs(c, i, epoch[seen]);
        if (seen && (memcmp(first, other, sizeof first) != 0 || memcmp(epoch[0], epoch[1], sizeof epoch[0]) != 0))
            return 0;
        seen = 1;
    }
    return seen;
}

void cluster_await(cluster *c) { wait_for(cluster_agrees(c)); }

int cluster_owner(cluster *c, int slot)
{
    static signed char owner[CLUSTER_SLOTS];
    for (int i = 0; i < c->count; i++)
        if (is_running(c, i)) return look(c, i, owner), owner[slot];
    return -1;
}

void cluster_await_owner(cluster *c, int slot, int node)
{
    wait_for(cluster_owner(c, slot) == node && cluster_agrees(c) && cluster_owner(c, slot) == node);
}

int cluster_slot(cluster *c, unsigned partition)
{
    for (int i = 0; i < c->count; i++)
        if (is_running(c, i)) return (int)redis_integer(c->node[i], "CLUSTER KEYSLOT {%u}", partition);
    fail_msg("no node is running");
    return -1;
}

int cluster_is_primary(cluster *c, int node)
{
    char text[4096];
    redis_text(c->node[node], text, sizeof text, "INFO replication");
    return strstr(text, "role:master") != NULL;
}

/* --------------------------------------------------------------------------------------------------- the start -- */

static int start_node(cluster *c, int ahead_s)
{
    char timeout[16];
    const char *arguments[REDIS_MAX_ARGUMENTS] = {"--cluster-enabled",
                                                  "yes",
                                                  "--cluster-node-timeout",
                                                  timeout,
                                                  "--cluster-require-full-coverage",
                                                  c->full_coverage ? "yes" : "no",
                                                  "--repl-diskless-sync",
                                                  "yes",
                                                  "--repl-diskless-sync-delay",
                                                  "0",
                                                  "--bind",
                                                  c->host};
    int n = 12, node = c->count;
    if (node == CLUSTER_NODES_MAX) fail_msg("too many nodes");
    snprintf(timeout, sizeof timeout, "%d", c->node_timeout_ms);
    for (int i = 0; c->arguments && c->arguments[i] && n < REDIS_MAX_ARGUMENTS - 1; i++)
        arguments[n++] = c->arguments[i];
    c->node[node] = redis_start_ahead(ahead_s, arguments);
    redis_text(c->node[node], c->id[node], sizeof c->id[node], "CLUSTER MYID");
    c->count++;
    return node;
}

static void meet(cluster *c, int node, int other)
{
    redis_do(c->node[node], "CLUSTER MEET %s %d", c->host, c->node[other]->port);
}

/* Handshakes are over, and each knows each. */
static int all_know(cluster *c)
{
    for (int i = 0; i < c->count; i++) {
        if (!is_running(c, i)) continue;
        redisReply *reply = redis_command(c->node[i], "CLUSTER NODES");
        int known = reply->str && !strstr(reply->str, "handshake") && !strstr(reply->str, "noaddr");
        for (int other = 0; known && other < c->count; other++)
            known = !is_running(c, other) || strstr(reply->str, c->id[other]);
        freeReplyObject(reply);
        if (!known) return 0;
    }
    return 1;
}

/* Do all see it as a replica of that node, and does it hold what that node holds? */
static int follows(cluster *c, int replica, int primary)
{
    char text[4096];
    for (int i = 0; i < c->count; i++) {
        if (!is_running(c, i)) continue;
        int listed = 0;
        redisReply *reply = redis_command(c->node[i], "CLUSTER REPLICAS %s", c->id[primary]);
        for (size_t k = 0; reply->type == REDIS_REPLY_ARRAY && k < reply->elements; k++)
            listed |= strncmp(reply->element[k]->str, c->id[replica], 40) == 0;
        freeReplyObject(reply);
        if (!listed) return 0;
    }
    redis_text(c->node[replica], text, sizeof text, "INFO replication");
    return strstr(text, "master_link_status:up") != NULL;
}

static void replicate(cluster *c, int replica, int primary)
{
    redis_do(c->node[replica], "CLUSTER REPLICATE %s", c->id[primary]);
}

static void give_slots(cluster *c, const cluster_plan *plan)
{
    int n = plan->primaries;
    for (int i = 0; i < n; i++) {
        int from = plan->first ? plan->first[i] : CLUSTER_SLOTS * i / n;
        int next = i + 1 == n ? CLUSTER_SLOTS : plan->first ? plan->first[i + 1] : CLUSTER_SLOTS * (i + 1) / n;
        redis_do(c->node[i], "CLUSTER SET-CONFIG-EPOCH %d", i + 1);
        redis_do(c->node[i], "CLUSTER ADDSLOTSRANGE %d %d", from, next - 1);
    }
}

cluster *cluster_start(const cluster_plan *plan)
{
    cluster *c = calloc(1, sizeof *c);
    assert_non_null(c);
    c->node_timeout_ms = plan->node_timeout_ms ? plan->node_timeout_ms : 60000;
    c->full_coverage = !plan->partial;
    c->nameless = plan->nameless;
    c->host = plan->host ? plan->host : "127.0.0.1";
    c->arguments = plan->arguments;
    int all = plan->primaries * (1 + plan->replicas);
    for (int i = 0; i < all; i++) start_node(c, plan->ahead_s ? plan->ahead_s[i] : 0);
    give_slots(c, plan);
    for (int i = 0; i < all; i++)
        for (int other = i + 1; other < all; other++) meet(c, i, other);
    wait_for(all_know(c));
    for (int i = plan->primaries; i < all; i++) replicate(c, i, (i - plan->primaries) / plan->replicas);
    for (int i = plan->primaries; i < all; i++) wait_for(follows(c, i, (i - plan->primaries) / plan->replicas));
    cluster_await(c);
    return c;
}

static int join(cluster *c)
{
    int node = start_node(c, 0);
    for (int i = 0; i < node; i++)
        if (is_running(c, i)) meet(c, node, i);
    wait_for(all_know(c));
    return node;
}

int cluster_add(cluster *c)
{
    int node = join(c);
    cluster_await(c);
    return node;
}

int cluster_add_replica(cluster *c, int primary)
{
    int node = join(c);
    replicate(c, node, primary);
    wait_for(follows(c, node, primary));
    cluster_await(c);
    return node;
}

void cluster_end(cluster *c)
{
    for (int i = 0; c && i < c->count; i++) redis_end(c->node[i]);
    free(c);
}

/* ------------------------------------------------------------------------------------------------- moving slots -- */

void cluster_move_begin(cluster *c, int slot, int from, int to)
{
    redis_do(c->node[to], "CLUSTER SETSLOT %d IMPORTING %s", slot, c->id[from]);
    redis_do(c->node[from], "CLUSTER SETSLOT %d MIGRATING %s", slot, c->id[to]);
}

void cluster_move_key(cluster *c, const char *key, int from, int to)
{
    const redis *target = c->node[to];
    if (target->password)
        redis_do(c->node[from], "MIGRATE %s %d %s 0 60000 AUTH %s", c->host, target->port, key, target->password);
    else redis_do(c->node[from], "MIGRATE %s %d %s 0 60000", c->host, target->port, key);
}

int cluster_move_keys(cluster *c, int slot, int from, int to, int count)
{
    int moved = 0;
    redisReply *keys = redis_command(c->node[from], "CLUSTER GETKEYSINSLOT %d %d", slot, count < 0 ? 1000000 : count);
    if (keys->type != REDIS_REPLY_ARRAY) fail_msg("GETKEYSINSLOT: %s", keys->str);
    for (; moved < (int)keys->elements; moved++) cluster_move_key(c, keys->element[moved]->str, from, to);
    freeReplyObject(keys);
    return moved;
}

/* The target first: it raises its epoch, and so wins. Then the source, which would otherwise learn of it by a message, and
 * the others. */
static void name_owner(cluster *c, int slot, int to)
{
    redis_do(c->node[to], "CLUSTER SETSLOT %d NODE %s", slot, c->id[to]);
    for (int i = 0; i < c->count; i++) {
        if (i == to || !is_running(c, i) || !cluster_is_primary(c, i)) continue;
        redis_do(c->node[i], "CLUSTER SETSLOT %d NODE %s", slot, c->id[to]);
    }
}

void cluster_move_finish(cluster *c, int slot, int from, int to)
{
    cluster_move_keys(c, slot, from, to, -1);
    name_owner(c, slot, to);
    cluster_await_owner(c, slot, to);
}

void cluster_move_give_up(cluster *c, int slot, int from, int to)
{
    /* In this order: a slot that is MIGRATING takes no key back, and one that is not IMPORTING lets none go. */
    redis_do(c->node[from], "CLUSTER SETSLOT %d STABLE", slot);
    cluster_move_keys(c, slot, to, from, -1);
    redis_do(c->node[to], "CLUSTER SETSLOT %d STABLE", slot);
    cluster_await_owner(c, slot, from);
}

void cluster_move_slot(cluster *c, int slot, int to)
{
    int from = cluster_owner(c, slot);
    if (from == to) return;
    cluster_move_begin(c, slot, from, to);
    cluster_move_finish(c, slot, from, to);
}

void cluster_move_all(cluster *c, int from, int to)
{
    static signed char owner[CLUSTER_SLOTS];
    int last = -1;
    look(c, from, owner);
    for (int slot = 0; slot < CLUSTER_SLOTS; slot++) {
        if (owner[slot] != from) continue;
        last = slot;
        cluster_move_begin(c, slot, from, to);
        cluster_move_keys(c, slot, from, to, -1);
        redis_do(c->node[to], "CLUSTER SETSLOT %d NODE %s", slot, c->id[to]);
        /* Once its last slot is gone it is a replica, which takes no SETSLOT. */
        freeReplyObject(redis_command(c->node[from], "CLUSTER SETSLOT %d NODE %s", slot, c->id[to]));
    }
    if (last >= 0) cluster_await_owner(c, last, to);
}

/* --------------------------------------------------------------------------------------------------------- ends -- */

void cluster_failover(cluster *c, int replica, const char *how)
{
    int asked = 0;
    for (int64_t until_ms = 0; !cluster_is_primary(c, replica); check_pause()) {
        /* An election that too few took part in is held again. */
        if (check_now_ms() < until_ms) continue;
        if (asked++ == 6) fail_msg("node %d does not become the primary", replica);
        if (*how) redis_do(c->node[replica], "CLUSTER FAILOVER %s", how);
        else redis_do(c->node[replica], "CLUSTER FAILOVER");
        until_ms = check_now_ms() + 10000;
    }
    cluster_await(c);
}

void cluster_kill(cluster *c, int node) { redis_kill(c->node[node]); }

void cluster_boot(cluster *c, int node)
{
    redis_boot(c->node[node]);
    cluster_await(c);
}

void cluster_freeze(cluster *c, int node)
{
    redis_freeze(c->node[node]);
    c->frozen[node] = 1;
}

void cluster_thaw(cluster *c, int node)
{
    redis_thaw(c->node[node]);
    c->frozen[node] = 0;
}

/* ------------------------------------------------------------------------------------------------------ handles -- */

void cluster_config(const cluster *c, const char *options, char *out, size_t out_size)
{
    size_t used = (size_t)snprintf(out, out_size, "%s", c->node[0]->tls ? "rediss+cluster://" : "redis+cluster://");
    int v6 = strchr(c->host, ':') != NULL;
    for (int i = 0; i < c->count && i < 3; i++)
        used += (size_t)snprintf(out + used, out_size - used, "%s%s%s%s:%d", i ? "," : "", v6 ? "[" : "", c->host,
                                 v6 ? "]" : "", c->node[i]->port);
    handle_config_options(options, out + used, out_size - used);
}

latchkey *cluster_open(const cluster *c, const char *options)
{
    char config[1024];
    cluster_config(c, options, config, sizeof config);
    return handle_open_config(config);
}
