/* A node: one Redis server that owns partitions, with its link (and the thread that drives it), its pool and its inbox.
 * What is not a node's (the leases, the pending revocations, and which node owns a partition) is in the handle's book
 * (book.h). The topology changes which partitions a node owns (topology.h).
 *
 *   node.c         begins and ends a node; what other threads ask of it
 *   node_thread.c  the thread: connects, polls, reads
 *   node_side.c    what the link tells its node, and asks of it
 *
 *   callers' threads --pool: a connection for a call--------------------------> Redis
 *        |    \--inbox: touches, refreshes, reused tokens--\                    ^
 *        |     \--pending: revocations to be retried-------> the link's thread -/
 *        \<----lease: until when L1 may answer--------------/
 *
 * Threads: the link's thread owns the link, its sockets and its state machine. A caller's thread owns the connection
 * that it took from the pool. They share the leases (lease.h), the inbox, the pending revocations and the pool, each
 * with a lock of its own. node.lock guards the newest trouble and where the server is, and the first lease is waited for
 * under it; no other lock is taken under it. */
#ifndef LK_L2_NODE_H
#define LK_L2_NODE_H

#include "l2/book.h"
#include "l2/link.h"
#include "l2/pool.h"
#include "redis/script.h"

typedef struct lk_topology lk_topology;

/* A node that owns nothing yet, and whose thread does not run yet. `host`: where its server is, in a cluster; else NULL,
 * and the configuration or the sentinels say it. A node without one in a cluster stays asleep: it owns what no server is
 * known to have. The topology must live longer than the node. OK; NO_MEMORY; UNAVAILABLE: the process has no more
 * descriptors, and `error` says so. */
int lk_node_open(lk_topology *topology, const lk_host *host, lk_node **out, char *error, size_t error_size);
/* Starts the link's thread. OK; UNAVAILABLE: the process has no more threads, and `error` says so. */
int lk_node_start(lk_node *node, char *error, size_t error_size);
void lk_node_stop(lk_node *node); /* waits for the thread; before any node is closed, all are stopped */
void lk_node_close(lk_node *node);
void lk_node_abandon(
    lk_node *node); /* in a forked child: closes its copies of the descriptors, and does nothing else */

/* Waits for the first lease, or until it owns nothing any more, until deadline_ms at most. OK; or the status and the text of what stands in the way. If
 * waiting cannot help (CONFIG), it returns at once. */
int lk_node_wait(lk_node *node, int64_t deadline_ms, char *error, size_t error_size);

lk_pool *lk_node_pool(lk_node *node);

/* An answer came from that incarnation, over this node's pool or its link. If it is not the one that the link has met,
 * the link soon connects anew and says so, and older connections are not used again. May be called from any thread;
 * cheap if nothing is wrong. */
void lk_node_suspect(lk_node *node, uint64_t incarnation);

void lk_node_touch(lk_node *node, const lk_touch *touch); /* queued; dropped if the queue is full */
/* Asks for a refresh, within patience_ms if the queue has room. The link is woken only if it would sleep for longer, or
 * if many have come together. */
void lk_node_refresh(lk_node *node, const char *token, int64_t now_ms, int64_t patience_ms);
/* An old token was used after its grace, and matched as a whole: the link ends its session. False: too many are
 * waiting. */
bool lk_node_reused(lk_node *node, const lk_token *token);
void lk_node_wake(lk_node *node); /* there is something pending */
/* Remembers it as the newest trouble; in a cluster, `what` need not name the node. */
void lk_node_trouble(lk_node *node, int status, const char *what);
/* In a cluster: the same text, which says of which node it is. */
void lk_node_name(lk_node *node, const char *text, char *out, size_t size);
int64_t lk_node_last_trouble(lk_node *node, char *text, size_t size); /* and when that was; "": there was none */
bool lk_node_connected(const lk_node *node);
/* Which incarnation ran this script last here: it has the script's text. 0: none yet. */
uint64_t lk_node_ran_on(const lk_node *node, enum lk_script_id script);
void lk_node_note_ran(lk_node *node, enum lk_script_id script, uint64_t incarnation);
uint64_t lk_node_met(const lk_node *node); /* the incarnation that its link met last; 0: none yet */
bool lk_node_owns(const lk_node *node);    /* it owns a partition now */
/* Where its server is, in a cluster. False: the configuration or the sentinels say it, or it is not known. */
bool lk_node_host(lk_node *node, lk_host *host);

/* For topology.c. The partitions that the book says it owns are others than before: its thread looks. */
void lk_node_remap(lk_node *node);
/* What its server calls itself, as the others say. True: that is another server than before. Its link refuses any other. */
bool lk_node_expect(lk_node *node, const lk_node_id *id);
void lk_node_rename(lk_node *node, const lk_host *host); /* of one that owns nothing, before it is given something */

#endif
