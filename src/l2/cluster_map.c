/* What an answer to CLUSTER SLOTS is worth, and what the topology is told of it.
 *
 * An address may lead to a node of another cluster by now: the host was replaced, and its address was given away. That
 * node's map would take over every partition, and all sessions would be gone. So it is kept which nodes are in the
 * cluster, by the ids that they have for themselves and for each other. They stay through restarts and failovers. A map
 * is taken if it names most of the primaries that are known, or if most of its primaries are known: nodes are replaced a
 * few at a time, and the map is asked for every few seconds. What a node is known by is what the last map says: one that
 * has left the cluster (CLUSTER RESET, CLUSTER FORGET) may be in another one later, with the id that it had. */
#include "l2/cluster_parts.h"

#include "base/log.h"
#include "l2/naming.h"

#include <stdio.h>
#include <string.h>

bool lk_cluster_read(lk_cluster *c, const lk_cluster_answer *answer)
{
    char at[112];
    lk_host_text(&answer->from, at, sizeof at);
    bool read = lk_slots_read(&c->slots, answer->reply, &answer->from);
    if (read) lk_slots_members(&c->slots, &c->members);
    if (!read) snprintf(c->error, sizeof c->error, "node %.60s: its answer to CLUSTER SLOTS is not one of Redis", at);
    else if (!c->members.count)
        snprintf(c->error, sizeof c->error, "node %.60s: it knows no node that has slots: it is in no cluster", at);
    return read && c->members.count;
}

enum lk_cluster_kin lk_cluster_judge(lk_cluster *c, const lk_cluster_answer *answer)
{
    if (!c->known.count || lk_members_agree(&c->known, &c->members)) return LK_CLUSTER_OURS;
    return lk_members_have(&c->known, &answer->self) ? LK_CLUSTER_PERHAPS : LK_CLUSTER_STRANGE;
}

void lk_cluster_refuse(lk_cluster *c, const lk_cluster_answer *answer)
{
    char at[112];
    lk_host_text(&answer->from, at, sizeof at);
    snprintf(c->error, sizeof c->error, "node %.60s is of another cluster: its map is not taken", at);
    for (unsigned i = 0; i < c->strangers && i < LK_CLUSTER_STRANGERS; i++)
        if (lk_node_id_same(&c->stranger[i], &answer->self)) return;
    c->stranger[c->strangers++ % LK_CLUSTER_STRANGERS] = answer->self;
    lk_log(
        LATCHKEY_LOG_WARNING,
        "cluster: node %s is of another cluster (it is node %s, and names hardly any node that is known): its map is "
        "not taken. Was the address of a node given away? If all nodes were replaced, open the handle anew",
        at, answer->self.text);
}

/* -------------------------------------------------------------------------------------------------- the map -- */

/* The server's place in the map; LK_NO_SERVER: there is none left. */
static uint8_t place_of(lk_server_map *map, const lk_server *server)
{
    for (unsigned i = 0; i < map->servers; i++)
        if (lk_host_same(&map->server[i].at, &server->at)) return (uint8_t)i;
    if (map->servers == LK_NODES_MAX) return LK_NO_SERVER;
    map->server[map->servers] = *server;
    return (uint8_t)map->servers++;
}

/* How many partitions have no server; c->error says of the first one which and why. */
static unsigned make_map(lk_cluster *c)
{
    unsigned without = 0;
    c->map.servers = 0;
    for (unsigned p = 0; p < (unsigned)c->config->partitions; p++) {
        lk_server server;
        unsigned slot = lk_slot_of_partition(p);
        bool found = lk_slots_primary(&c->slots, slot, &server.at);
        server.id = lk_slots_primary_id(&c->slots, slot);
        c->map.of[p] = found ? place_of(&c->map, &server) : LK_NO_SERVER;
        if (c->map.of[p] != LK_NO_SERVER || without++) continue;
        if (found) snprintf(c->error, sizeof c->error, "more than %d primaries have partitions", LK_NODES_MAX);
        else snprintf(c->error, sizeof c->error, "no node of the cluster has slot %u, of partition %u", slot, p);
    }
    return without;
}

static void say_map(const lk_cluster *c, const lk_host *asked, unsigned without)
{
    char at[112], all[48] = "all of them";
    unsigned partitions = (unsigned)c->config->partitions;
    lk_host_text(asked, at, sizeof at);
    if (without) snprintf(all, sizeof all, "%u of %u", partitions - without, partitions);
    lk_log(LATCHKEY_LOG_NOTICE, "cluster: partitions have other servers, as node %s says: %u primaries have %s", at,
           c->map.servers, all);
}

int lk_cluster_take(lk_cluster *c, const lk_cluster_answer *answer)
{
    uint64_t before = lk_topology_version(c->topology);
    unsigned without = make_map(c);
    if (!c->map.servers) return LATCHKEY_UNAVAILABLE; /* another node may know more */
    int status = lk_topology_apply(c->topology, &c->map, c->error, sizeof c->error);
    c->answered = true;
    c->known = c->members;
    c->nodes = lk_slots_nodes(&c->slots, c->node, LK_CLUSTER_HOSTS_MAX);
    if (lk_topology_version(c->topology) != before) {
        c->vain = c->misled = 0;
        say_map(c, &answer->from, without);
    }
    return status ? status : without ? LATCHKEY_UNAVAILABLE : LATCHKEY_OK;
}
