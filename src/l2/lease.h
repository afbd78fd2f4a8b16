/* The lease: until when L1 may answer, and of which server. Each partition has its own. A node confirms those of the partitions
 * that it owns together, so what is asked of a node's lease is asked of the first of them.
 *
 *   the link confirms it, last of all that a beat does --release--> until_ms <--acquire-- validate reads it, first
 *   an answer of Redis, yes or no, and the OK of a script --> is it the server that has the lease? --> else it does not count
 *
 * Why the second rule. Behind one address (a proxy, a Kubernetes Service, a failover of the address) connections may lead
 * to different servers. The link's may stay with a server that is not the primary any more while new ones lead to the new
 * one. What the new one answers says nothing of what L1 holds, and what L1 holds says nothing of the new one. So an answer
 * counts only where its server has the lease, and whoever learns of another server makes the link look, at once.
 *
 * Locks: `confirmed` is waited for under node.lock; all else is atomic. */
#ifndef LK_L2_LEASE_H
#define LK_L2_LEASE_H

#include "base/config.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct lk_node lk_node;

/* Of one partition: whoever owns it writes it, so an entry of L1 need not know which server it came from. */
typedef struct lk_lease {
    _Atomic int64_t until_ms;        /* L1 may answer until then: sent time of the last good beat plus staleness_ms.
                                        Release by the link, last of all that a beat does; acquire by validate, first */
    _Atomic uint64_t incarnation;    /* of the server that confirmed it, 0 from the emptying of L1 until the next one.
                                        Relaxed: the stripe's epoch, moved after it and read before it, orders it */
    _Atomic int64_t server_ahead_us; /* Redis' clock less ours, 0: not known yet. Relaxed: a stale one
                                        is off by what the clocks drifted in one beat */
    _Atomic uint64_t meetings; /* how many servers the link has begun to meet; a data set that was replaced in place
                                        counts as another server. Before it lists what it tells that one */
} lk_lease;

/* All of a handle's, in pages of their own that read as zeros in a forked child: there `alive` is 0 and no lease ever holds (J).
 * There is a place for each partition that a token can name, so what a token says needs no check; only the places of partitions
 * that there are take memory. */
typedef struct lk_leases {
    lk_lease of[LK_PARTITIONS_MAX];
    _Atomic uint32_t alive;
} lk_leases;

lk_leases *lk_leases_open(void); /* NULL: no memory */
void lk_leases_close(lk_leases *leases);

static inline uint64_t lk_leases_meetings(const lk_leases *leases, unsigned partition)
{
    return atomic_load(&leases->of[partition].meetings);
}

/* The incarnation that has the lease, lapsed or not; 0: L1 was emptied, and no server has it yet. */
uint64_t lk_node_lease_owner(lk_node *node);

/* An answer of L2, yes or no, may be given only under the lease of the server that gave it, as an answer of L1 may: a
 * server that is not the primary any more goes on answering. `incarnation` is that server, if it had the lease when it was
 * asked, else 0: before, it may not have known of the revocations that it forgot. Where the lease has lapsed, asks the
 * link for a beat and waits for it, at most until deadline_ms; one beat serves all who wait.
 * OK; LK_OUTCOME_OTHER_SERVER: ask once more, the server that has the lease; UNAVAILABLE. */
int lk_node_lease_covers(lk_node *node, uint64_t incarnation, int64_t deadline_ms);

/* The same under a lease whose beat was sent after since_ms: then every revocation that was made before that is applied
 * to L1, whoever made it. */
int lk_node_lease_covers_since(lk_node *node, uint64_t incarnation, int64_t since_ms, int64_t deadline_ms);

/* Connections lead to that server, which has no lease: the link is told to look, and the lease is waited for until that server
 * has it, or another one than now, at most until deadline_ms. True: it moved. */
bool lk_node_lease_moves(lk_node *node, uint64_t incarnation, int64_t deadline_ms);

/* lk_node_lease_covers without waiting: the same, UNAVAILABLE: not yet. And, for then: a beat is asked for, and the
 * eventfd is raised once when it is there (bells.h). */
int lk_node_lease_covers_now(const lk_node *node, uint64_t incarnation);
void lk_node_await_lease(lk_node *node, int event_fd);

/* An answer came from this server, which may not be the one that has the lease. If it is not, the link connects anew, soon, and
 * says so; and connections of before are not used again. From any thread; cheap where nothing is wrong. */
void lk_node_suspect(lk_node *node, uint64_t incarnation);

#endif
