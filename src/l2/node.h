/* A node: one Redis server that owns partitions, with its link (and the thread that drives it) and its pool. What
 * outlives it (the leases, the inbox, the pending revocations) is in the handle's book (book.h). The topology
 * (topology.h) knows which node owns a partition.
 *
 *   callers' threads --pool: a connection for a call--------------------------> Redis
 *        |    \--inbox: touches, refreshes, reused tokens--\                    ^
 *        |     \--pending: revocations to be retried-------> the link's thread -/
 *        \<----lease: until when L1 may answer--------------/
 *
 * Threads: the link's thread owns the link, its sockets and its state machine. A caller's thread owns the connection
 * that it took from the pool. They share the lease (atomics, lease.h), the inbox, the pending revocations and the pool,
 * each with a lock of its own. node.lock guards the newest trouble, and a lease is waited for under it; no other lock
 * is taken under it. */
#ifndef LK_L2_NODE_H
#define LK_L2_NODE_H

#include "l2/book.h"
#include "l2/link.h"
#include "l2/pool.h"

/* Starts the link's thread, for these partitions. `config`, `counters`, the book and the partitions must live longer
 * than the node. OK; NO_MEMORY; UNAVAILABLE: the process has no more threads or descriptors, and `error` says which. */
int lk_node_open(const lk_config *config, lk_counters *counters, lk_partitions partitions, lk_book *book,
                 const lk_l1_side *l1, lk_node **out, char *error, size_t error_size);
void lk_node_close(lk_node *node);
void lk_node_abandon(
    lk_node *node); /* in a forked child: closes its copies of the descriptors, and does nothing else */

/* Waits for the first lease, until deadline_ms at most. OK; or the status and the text of what stands in the way. If
 * waiting cannot help (CONFIG), it returns at once. */
int lk_node_wait(lk_node *node, int64_t deadline_ms, char *error, size_t error_size);

lk_pool *lk_node_pool(lk_node *node);

/* Where a script's answer came from. `meetings`: the partition's number (lease.h) before the script was sent. */
typedef struct lk_source {
    uint64_t incarnation, meetings;
} lk_source;

/* Remembers that this session was ended, as the script's answer says. False: the link has begun to meet a server since
 * the script was sent. That server may not know of it, and was told only what was remembered before: the revocation
 * must be made again. */
bool lk_node_remember(lk_node *node, unsigned partition, const char *selector, lk_source source);

/* For a revocation that the server confirmed and that does not count yet; it is pending now, to be retried. If the link
 * is just meeting that very server, this takes one beat: it waits for that, until deadline_ms at most. True: the link
 * has made it again, and that server has the lease. */
bool lk_node_await_retry(lk_node *node, const lk_pending_item *item, uint64_t incarnation, int64_t deadline_ms);

void lk_node_touch(lk_node *node, const lk_touch *touch); /* queued; dropped if the queue is full */
/* Asks for a refresh, within patience_ms if the queue has room. The link is woken only if it would sleep for longer, or
 * if many have come together. */
void lk_node_refresh(lk_node *node, const char *token, int64_t now_ms, int64_t patience_ms);
/* An old token was used after its grace, and matched as a whole: the link ends its session. False: too many are
 * waiting. */
bool lk_node_reused(lk_node *node, const lk_token *token);
void lk_node_wake(lk_node *node);                                  /* there is something pending */
void lk_node_trouble(lk_node *node, int status, const char *text); /* remembers it as the newest trouble */
void lk_node_last_trouble(lk_node *node, char *text, size_t size);
bool lk_node_connected(const lk_node *node);

#endif
