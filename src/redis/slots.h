/* Slots of a Redis Cluster: the slot of a partition, the answer to CLUSTER SLOTS, and MOVED. Without I/O. A
 * host or a port that is not valid, and a slot that is named twice, are not accepted. */
#ifndef LK_REDIS_SLOTS_H
#define LK_REDIS_SLOTS_H

#include "base/config.h"
#include "redis/reply.h"

#include <stdbool.h>

enum { LK_SLOTS = 16384 };

/* What a node of a cluster calls itself, and what all others call it, as long as it has its nodes.conf. "": not known. */
typedef struct lk_node_id {
    char text[41];
} lk_node_id;

/* False: it cannot be an id; then *id is "". */
bool lk_node_id_read(lk_node_id *id, const lk_reply *reply);
bool lk_node_id_same(const lk_node_id *a, const lk_node_id *b);

/* The slot of every key with this hash tag: CRC16, of the kind that is called XMODEM. */
unsigned lk_slot_of(const char *tag, size_t size);
unsigned lk_slot_of_partition(unsigned partition); /* of the keys with {partition} */

/* What a node answered to CLUSTER SLOTS: ranges of slots, and for each its primary and that one's replicas. */
typedef struct lk_slots {
    const lk_reply *reply;    /* it must live as long as this */
    const lk_host *asked;     /* who answered, and lives as long: stands for a node that is named without a host */
    uint16_t range[LK_SLOTS]; /* 1 + the place of the slot's range in the reply; 0: no node has the slot */
} lk_slots;

/* False: it is no such answer. */
bool lk_slots_read(lk_slots *slots, const lk_reply *reply, const lk_host *asked);
/* False: no node has the slot, or none that can be connected to. */
bool lk_slots_primary(const lk_slots *slots, unsigned slot, lk_host *primary);
/* All nodes that are named, each once, the primaries first. Returns how many, at most `max`. */
unsigned lk_slots_nodes(const lk_slots *slots, lk_host *node, unsigned max);

/* Who is in the cluster, whatever the addresses are. */
enum { LK_MEMBERS_MAX = 256 };
typedef struct lk_members {
    unsigned count, primaries; /* the primaries come first */
    lk_node_id id[LK_MEMBERS_MAX];
} lk_members;

/* All ids that are named, each once. The primaries are those that have slots. */
void lk_slots_members(const lk_slots *slots, lk_members *members);
/* The id of the slot's primary; "": it is not known. */
lk_node_id lk_slots_primary_id(const lk_slots *slots, unsigned slot);
bool lk_members_have(const lk_members *members, const lk_node_id *id);
/* Is it one and the same cluster, seen at two times? More than half of the primaries of one of the two are named by the
 * other. So nodes may be added, removed, replaced and promoted in between. Of two clusters it is true only where most
 * primaries of one have moved to the other. */
bool lk_members_agree(const lk_members *a, const lk_members *b);

/* The node that an error names: "MOVED slot host:port", also where a script's error holds it. False: it names none. */
bool lk_moved_to(const char *error, const lk_host *asked, lk_host *to);

#endif
