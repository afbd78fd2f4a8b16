/* Slots of a Redis Cluster: the slot of a partition, the answer to CLUSTER SLOTS, and MOVED. Without I/O. What a node says
 * is read with care: a host that cannot be one, a port that cannot be one and a slot that is named twice are not taken. */
#ifndef LK_REDIS_SLOTS_H
#define LK_REDIS_SLOTS_H

#include "base/config.h"
#include "redis/reply.h"

enum { LK_SLOTS = 16384 };

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

/* The node that an error names: "MOVED slot host:port", also where a script's error holds it. False: it names none. */
bool lk_moved_to(const char *error, const lk_host *asked, lk_host *to);

#endif
