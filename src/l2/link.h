/* The link, without I/O: bytes, ticks and events in; bytes, purges, leases and wake-ups out. node_thread.c wraps sockets and a
 * thread around it.
 *
 *   DOWN --retry_at--> CONNECTING --both sockets--> HANDSHAKE --> SETUP --> SUBSCRIBING --> REASSERTING --> UP
 *    ^                     |                            |          |             |               |  ^        |
 *    |                     |                            |          |             |               |  +-forgot-+
 *    +---------------------+------- anything wrong -----+----------+-------------+---------------+-----------+
 *
 * Words
 *   incarnation  one run of one server with one history of writes: its run id and its replication id
 *   beat         the questions that are asked every staleness_ms / 4 (/ 2 while this instance is idle); it confirms the lease
 *   lease        until when L1 may answer: when the last good beat was sent, plus staleness_ms
 *   nonce        a random number that a beat publishes on a channel of this instance alone
 *   number       Redis counts the revocations of each partition; each message and each entry of the log has its number
 *   cut-off      the time up to which all sessions of a partition were ended at once (cutoff.h)
 *
 * There are two connections to the same incarnation: one for commands, one for the subscription. The parts:
 *
 *   link_state.c      how a link begins, is lost, and ends        link_replay.c   messages and the log are applied to L1
 *   link_handshake.c  on the way up                               link_jobs.c     background work between the beats
 *   link_tell.c       what a server is told; another server       link_cluster.c  what a node of a cluster needs in place
 *   link_beat.c       the beat and the lease                      link_numbers.c  what a beat reads
 *   link.c            ticks, and which part a reply belongs to
 *
 * A beat reads every partition's number of the last revocation, asks whether the server is still a primary, and
 * publishes a nonce. Redis keeps messages in order. So when the nonce comes back through the subscription, every
 * revocation that was published before it has come too. The numbers are compared. What is missing is read from the log
 * and applied; if the log does not reach back that far, L1 is emptied. The lease is confirmed last, when no gap is
 * open, as of the time at which the beat was sent.
 *
 * Cut-offs are a state, not events: every beat reads them all, behind the numbers. So each cut-off that was made before
 * the beat was sent is known before its lease, whatever became of messages and log. A message, or an entry of the log,
 * only brings the news earlier. If a server has an older cut-off than this instance knows, it is told (reassert.lua),
 * and a new beat is sent.
 *
 * A new connection to the same incarnation is a gap like any other: L1 stays, and the first beat finds what was missed.
 * A server that was not met before has other numbers, and perhaps another past. L1 is emptied. The recent revocations
 * and changes (recent.h) that the server does not know are made again there. Once the first beat has read its numbers,
 * they are taken as they are, and L1 is emptied again.
 *
 * All of that is per partition: which server it was met on, its numbers, whether the server was told, and its lease. A
 * server alone has all partitions, and what happens to one happens to all. A node of a cluster has some of them, and
 * gets others while it runs (lk_link_change). What it keeps goes on: the connections, the numbers, the leases. What it did
 * not have is met as on a new server, also if the slot came with all of its keys.
 *
 * Why no read of L2 brings back what it should not (guarantee D). A fill's ticket is older than its read. What a replay
 * purges was deleted in Redis before the link read about it in the log. The purge makes every older ticket invalid, and
 * a read with a newer ticket begins after the deletion. So it does no harm that the log comes late, or that it
 * overtakes messages which are still under way: those purge once more. Emptying makes every ticket invalid, so the
 * numbers known at that moment may all be taken as applied, in every partition: a read with a newer ticket is later
 * than all of them. That is also why a new server's L1 is emptied *after* the numbers of the first beat came, not
 * before: they may count a revocation whose message was lost and which is later than a read that is under way.
 *
 * Owned by one thread; it takes no lock. It shares `cutoffs`, `recent` and `past` with other threads; those files say how. */
#ifndef LK_L2_LINK_H
#define LK_L2_LINK_H

#include "l2/link_state.h"

/* A caller needs a newer lease than there is: the next beat is due now, unless one is out. */
void lk_link_beat_now(lk_link *link, int64_t now_ms);

/* A connection to the same address reached this incarnation of a server. If the link is up with another one, it
 * connects anew at the next tick; but not more often than once in a while, since two servers may go on answering there. */
void lk_link_suspect(lk_link *link, uint64_t incarnation);

/* The server is at another address now: connects anew at once, without the wait that follows a loss. In a cluster that is
 * nothing to log, and no sign: the thread that has the map knows. */
void lk_link_moved(lk_link *link, int64_t now_ms, const char *text);

/* Nothing is under way that speaks of its partitions: it may be given others. It soon comes to rest, or is lost. */
bool lk_link_rests(const lk_link *link);
/* Only while it rests: from now on it serves `all`. Those that it has had without a break are in `kept` too. True: it is
 * UP, and goes on with them. False: it is DOWN, to be connected anew. */
bool lk_link_change(lk_link *link, lk_partitions kept, lk_partitions all, int64_t now_ms);

/* Something was received that may change what host.vouched answers. */
void lk_link_vouched(lk_link *link, int64_t now_ms);

void lk_link_tick(lk_link *link, int64_t now_us); /* monotonic, in microseconds */
int64_t lk_link_wake_ms(const lk_link *link);     /* call tick no later than this */

/* Call it in CONNECTING when both sockets are there. */
void lk_link_connected(lk_link *link, int64_t now_ms);
/* Call it after bytes were fed to conn[which]. */
void lk_link_fed(lk_link *link, int which, int64_t now_us);

#endif
