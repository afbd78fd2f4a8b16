/* Requests of queues that are not validations: a few threads of the handle do them, with the code of the blocking
 * verbs.
 *
 *   submit: copied, (a revocation: denied) --> waits --> a thread runs it --> done, the queue's bell rings --> reap
 *                                               |  in the order of submit        (its queue was closed: it is not told)
 *                                               '--- its time is over: answered without being run
 *
 * Why threads. A write is a sequence: read, seal, script, wait for the lease or for a beat, retry. As a state machine,
 * each verb would have to be written a second time, and proven a second time. A write costs Redis more than it costs a
 * thread, and there are few writes beside validations, which need no thread.
 *
 * Bounded (G): at most WORKERS threads, and no more than `connections`; at most in_flight writes of each queue,
 * from submit until reap. Deadlines count from submit, so they are in the order in which writes wait. A thread is free
 * again at its own write's deadline at the latest. So each write is begun, or given up, by its own deadline.
 *
 * With a cluster there are WORKERS_MAX threads, and at most OF_NODE_MAX of them wait for one node. So a node that does not
 * answer holds up its own requests, and requests to other nodes overtake them.
 *
 * Lock: writes.lock guards all of it; no other lock is taken under it. Under it bells are rung, and threads are started:
 * system calls that do not wait. */
#ifndef LK_API_WRITES_H
#define LK_API_WRITES_H

#include "api/queue.h"
#include "api/revoke.h"
#include "base/lock.h"
#include "session/async.h"

#include <pthread.h>

enum { LK_WRITES_WORKERS = 4, LK_WRITES_WORKERS_MAX = 8, LK_WRITES_OF_NODE_MAX = 2, LK_WRITE_TOKEN_MAX = 256 };

typedef struct lk_write {
    struct lk_write *next; /* in the list of those that wait, of the queue's that are done, or of the free ones */
    latchkey_queue *queue; /* NULL: it was closed meanwhile */
    unsigned partition;    /* the one that is asked first */
    lk_node *node;         /* its owner, once it runs */
    int64_t deadline_ms;
    latchkey_request request; /* its pointers lead into `copy`; its token is: */
    char token[LK_WRITE_TOKEN_MAX];
    latchkey_draft draft;
    latchkey_access access;
    void *copy; /* or NULL */
    size_t copy_size;
    bool sole;   /* it made a session whose token stands in the result alone */
    bool denied; /* it is a revocation, denied by: */
    lk_revocation revocation;
    latchkey_result result;
} lk_write;

/* request.c: what is asked for. */

/* Takes a good request into the write, with all that it points to. OK; BAD_ARGUMENT; MALFORMED; NO_MEMORY. */
int lk_write_take(latchkey *lk, const latchkey_request *request, lk_write *write);
void lk_write_run(latchkey *lk, lk_write *write); /* blocks; afterwards there is a result */
void lk_write_wipe(lk_write *write);              /* wipes all but the result */

/* writes.c: */

/* OK; UNAVAILABLE; NO_MEMORY; or as lk_write_take. */
int lk_writes_submit(latchkey_queue *q, const latchkey_request *request);

/* Passes results of this queue to `give`. Returns how many. */
size_t lk_writes_reap(latchkey_queue *q, void (*give)(void *context, const latchkey_result *result), void *context,
                      size_t max);
void lk_writes_ring(latchkey_queue *q); /* if there is more to reap */

/* The queue is about to go: what it has asked for is done all the same, and not answered. Sessions whose tokens are lost by
 * that are ended, if `end`. */
void lk_writes_leave(latchkey_queue *q, bool end);

/* Call it before the link ends: what was accepted is done, and the threads end. */
void lk_writes_finish(latchkey *lk);
void lk_writes_close(latchkey *lk); /* frees all; the queues must be closed */

#endif
