/* The lease: until when L1 may answer, and for which server. Each partition has its own. The node that owns the
 * partition confirms it (topology.h). If the owner changes, the lease has no server until the new owner has confirmed
 * it; entries of L1 are good for as long as the old lease holds. A call that waits for a lease goes on with the new owner.
 *
 *   the link confirms it, last of all that a beat does --release--> until_ms <--acquire-- validate reads it, first
 *   an answer of Redis, yes or no, and the OK of a script --> is it the server that has the lease? --> else it does not count
 *
 * Why an answer needs it too. Behind one address (a proxy, a Kubernetes Service, a failover of the address) connections
 * may lead to different servers. The link's connection may stay with a deposed primary while new connections lead to
 * the new one. An answer of the new server then says nothing about L1, and L1 says nothing about the new server. So an
 * answer counts only if its server has the lease, and a thread that gets an answer from another server makes the link
 * look at once.
 *
 * Locks: a lease is written under book.lock, so that an owner that was replaced writes nothing behind the new one; and
 * news are waited for under it. It is read without a lock. */
#ifndef LK_L2_LEASE_H
#define LK_L2_LEASE_H

#include "base/config.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct lk_book lk_book;

/* The lease of one partition: the node that owns it writes it, so an entry of L1 need not know which server it came
 * from. */
typedef struct lk_lease {
    /* L1 may answer until then: when the last good beat was sent, plus staleness_ms. The link stores it with release,
     * last of all that a beat does; validate loads it with acquire, first: so it sees every purge that was applied
     * before */
    _Atomic int64_t until_ms;
    /* the server that confirmed it; 0 from the emptying of L1, or a change of the owner, until the next one. Relaxed:
     * the stripe's epoch, which moves after it and is read before it, orders it */
    _Atomic uint64_t incarnation;
    /* Redis' clock less ours, 0: not known yet. Relaxed: a stale value is off by what the clocks drifted in one beat */
    _Atomic int64_t server_ahead_us;
    /* How many servers the links have begun to meet here, and how often the owner changed; a data set that was replaced
     * in place counts as another server. It is counted before the link lists what it tells that server. Relaxed:
     * recent.lock orders it. A revocation that is added after the list sees the new number; one that is added before is
     * in the list. */
    _Atomic uint64_t meetings;
} lk_lease;

/* All leases of a handle, in pages of their own that read as zeros in a forked child: there `alive` is 0 and no lease
 * holds (J). There is a place for each partition that a token can name, so the number in a token needs no check. Only
 * the places of existing partitions take memory. */
typedef struct lk_leases {
    lk_lease of[LK_PARTITIONS_MAX];
    _Atomic uint32_t alive;
} lk_leases;

lk_leases *lk_leases_open(void); /* NULL: no memory */
void lk_leases_close(lk_leases *leases);

static inline uint64_t lk_leases_meetings(const lk_leases *leases, unsigned partition)
{
    return atomic_load_explicit(&leases->of[partition].meetings, memory_order_acquire);
}

/* The incarnation that has the lease, even if it has lapsed; 0: L1 was emptied, and no server has it yet. */
uint64_t lk_lease_owner(const lk_book *book, unsigned partition);

/* An answer of L2, yes or no, may be given only under the lease of the server that gave it, as an answer of L1 may: a
 * deposed primary goes on answering. `incarnation`: that server, if it had the lease when it was asked; else 0, since
 * before it had the lease it may not have known of the revocations that it forgot. If the lease has lapsed, this asks
 * the owner's link for a beat and waits for it until deadline_ms at most; one beat serves all that wait. OK.
 * LK_OUTCOME_OTHER_SERVER: ask again, the server that has the lease. UNAVAILABLE. */
int lk_lease_covers(lk_book *book, unsigned partition, uint64_t incarnation, int64_t deadline_ms);

/* The same under a lease whose beat was sent after since_ms: then every revocation that any instance made before that
 * is applied to L1. */
int lk_lease_covers_since(lk_book *book, unsigned partition, uint64_t incarnation, int64_t since_ms,
                          int64_t deadline_ms);

/* Connections lead to that server, which has no lease. The link is told to look, and this waits until that server has
 * the lease, or another one than now, until deadline_ms at most. True: the lease moved. */
bool lk_lease_moves(lk_book *book, unsigned partition, uint64_t incarnation, int64_t deadline_ms);

/* lk_lease_covers without waiting: UNAVAILABLE means not yet. lk_lease_await is for that case: it asks for a beat, and
 * the eventfd is raised once when there is news (bells.h). */
int lk_lease_covers_now(const lk_book *book, unsigned partition, uint64_t incarnation);
int lk_lease_covers_since_now(const lk_book *book, unsigned partition, uint64_t incarnation, int64_t since_ms);
void lk_lease_await(lk_book *book, unsigned partition, int event_fd);

/* There is news that this handle has not heard: a beat brings it now. May be called from any thread. */
void lk_lease_renew(lk_book *book, unsigned partition);

/* An answer came from this server, which may not be the one that has the lease. If no link has met it, the owner's link
 * soon connects anew and says so, and older connections are not used again. May be called from any thread; cheap if
 * nothing is wrong. */
void lk_lease_suspect(lk_book *book, unsigned partition, uint64_t incarnation);

#endif
