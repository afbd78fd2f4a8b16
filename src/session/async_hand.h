/* Threads ask for what was submitted, in place of the queue's connection: with a cluster, where each node would need a
 * connection of its own.
 *
 *   QUEUED --does a thread ask its node?--no--> hands.ask: one is told to (api/writes.c)
 *     ^                                           |
 *     |          that thread takes what is QUEUED for this node, up to 32 questions --> ASKED
 *     |                                           | one round trip, without async.lock
 *     +--the partition is moving: in 10 ms--------+--> ANSWERED, and the bell rings
 *
 * One thread asks one node, so a node that does not answer holds up only its own questions. The thread returns by the
 * earliest deadline of what it asked. What it was not asked for by then is answered by the timer, as ever. */
#ifndef LK_SESSION_ASYNC_HAND_H
#define LK_SESSION_ASYNC_HAND_H

#include "session/async.h"

void lk_async_hand(latchkey *lk, lk_async *async); /* async.lock is held */

/* Called by a thread of the handle: one round trip. True: there is more to ask; call it again, soon. False: it is over,
 * and the queue may be gone. `stop`: nothing more is asked. */
bool lk_async_ask(latchkey *lk, lk_async *async, lk_node *node, bool stop);

#endif
