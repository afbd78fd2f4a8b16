/* A node: one Redis server that owns partitions, with its lease, its link (and the thread that drives it) and its pool.
 * Today a handle has one; which node owns a partition is asked in one place, lk_l2_owner.
 *
 * Threads: the link's thread owns the link's sockets and state machine. Callers' threads own the lines they take from
 * the pool. Between them: the lease (atomics), the queue of touches (node.lock), the pending revocations, the pool. */
#ifndef LK_L2_NODE_H
#define LK_L2_NODE_H

#include "l2/link.h"
#include "l2/pool.h"
#include "l2/refresh_queue.h"

#include <stdatomic.h>

/* In a page of its own that reads as zeros in a forked child: there `alive` is 0 and no lease ever holds (J). */
typedef struct lk_lease {
    _Atomic int64_t until_ms;        /* L1 may answer until then: sent time of the last good beat plus staleness_ms.
                                        Release by the link, last of all that a beat does; acquire by validate, first */
    _Atomic uint64_t incarnation;    /* of the server that confirmed it, 0 from the emptying of L1 until the next one.
                                        Relaxed: the stripe's epoch, moved after it and read before it, orders it */
    _Atomic int64_t server_ahead_us; /* Redis' clock less ours, 0: not known yet. Relaxed: a stale one
                                        is off by what the clocks drifted in one beat */
    _Atomic uint32_t alive;
} lk_lease;

/* What happens in L1 when the link says so; called in the link's thread. */
typedef struct lk_node_host {
    void *context;
    void (*purge)(void *context, const char *selector);
    void (*empty)(void *context);
    void (*everyone)(void *context); /* everybody's sessions were ended: L1 alone is to be emptied */
    void (*pulse)(void *context,
                  lk_beat_stats *pulse); /* what this instance says of itself, but for what a node knows */
    bool (*sample)(void *context, uint64_t random, int64_t now_ms,
                   lk_entry_sample *out); /* for the auditor: see l1.h */
    bool (*still)(void *context, const lk_entry_sample *seen);
    /* For refreshes (refresh.c): begins one, and says whom to ask for (false: nobody); takes what Redis answered. */
    bool (*refresh)(void *context, lk_refresh_item *item, lk_pending_item *of);
    void (*refreshed)(void *context, const lk_refresh_item *item, const lk_reply *value, const lk_reply *pttl,
                      uint64_t incarnation);
} lk_node_host;

typedef struct lk_node lk_node;

/* Starts the link's thread. `config` and `counters` must outlive the node. NULL: no memory, no thread. */
lk_node *lk_node_open(const lk_config *config, lk_counters *counters, const lk_node_host *host);
void lk_node_close(lk_node *node);
void lk_node_abandon(lk_node *node); /* in a forked child: closes its copies of the descriptors, and no more */

/* Waits for the first lease, at most until deadline_ms. OK; or what stands in the way, and its text. A refusal that
 * waiting cannot mend (CONFIG) is answered at once. */
int lk_node_wait(lk_node *node, int64_t deadline_ms, char *error, size_t error_size);

/* The incarnation that has the lease, lapsed or not; 0: L1 was emptied, and nobody has it yet. */
uint64_t lk_node_lease_owner(lk_node *node);

/* An answer of L2, yes or no, may be given only under the lease of the server that gave it, as an answer of L1 may: a
 * server that is not the primary any more goes on answering. `incarnation` is that server, if it had the lease when it was
 * asked, else 0: before, it may not have known of the revocations that it forgot. Where the lease has lapsed, asks the
 * link for a beat and waits for it, at most until deadline_ms; one beat serves all who wait.
 * OK; AGAIN: ask once more, whoever has the lease; UNAVAILABLE. */
int lk_node_lease_covers(lk_node *node, uint64_t incarnation, int64_t deadline_ms);

/* The same under a lease whose beat was sent after since_ms: then every revocation that was made before that is applied
 * to L1, whoever made it. */
int lk_node_lease_covers_since(lk_node *node, uint64_t incarnation, int64_t since_ms, int64_t deadline_ms);

/* lk_node_lease_covers without waiting: OK, AGAIN, or UNAVAILABLE: not yet. And, for then: a beat is asked for, and the eventfd is
 * raised once when it is there. One at a time. */
int lk_node_lease_covers_now(const lk_node *node, uint64_t incarnation);
void lk_node_await_lease(lk_node *node, int event_fd);

lk_lease *lk_node_lease(lk_node *node);
lk_pool *lk_node_pool(lk_node *node);
lk_pending *lk_node_pending(lk_node *node);
lk_refresh_queue *lk_node_refresh_queue(lk_node *node);
const lk_cutoffs *lk_node_cutoffs(const lk_node *node);

/* Remembers that this session was ended, as that incarnation of the server confirmed it. False: the link has met another
 * one meanwhile, which may not know of it, and was told of those remembered before: it has to be done once more. */
bool lk_node_remember(lk_node *node, unsigned partition, const char *selector, uint64_t incarnation);

void lk_node_touch(lk_node *node, unsigned partition, const char *selector); /* queued; shed when the queue is full */
/* Asks for a refresh, within patience_ms if the queue has room: the link is woken only where it would sleep for longer, or
 * much has come together. */
void lk_node_refresh(lk_node *node, const char *token, int64_t now_ms, int64_t patience_ms);
/* The same for an old token that was used after its grace, and matched whole: the link ends its session. False: too many
 * wait. */
bool lk_node_reused(lk_node *node, const lk_token *token);
void lk_node_wake(lk_node *node);                                  /* there is something pending */
void lk_node_trouble(lk_node *node, int status, const char *text); /* remembered as the newest trouble */
void lk_node_last_trouble(lk_node *node, char *text, size_t size);
bool lk_node_connected(const lk_node *node);

#endif
