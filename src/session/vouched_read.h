/* A read under the lease: the only way in which an answer of Redis, yes or no, comes to count (guarantees B, C and D).
 *
 *   note: tickets, then denials, then which server has the lease, then the clock --> ask --> compare --> does the lease cover it?
 *
 *   1. The tickets are taken first, and pending revocations are looked at after them. A revocation first denies, then purges, and a
 *      purge makes tickets invalid. So a read that saw no denial has a ticket from before the purge, and does not fill L1 after it
 *      (B, D).
 *   2. The server that answers must have had the lease when it was asked: earlier, it may not have known of the revocations that it
 *      forgot. If it is another server, the link is told to look (lk_lease_suspect).
 *   3. It must still have the lease, and the lease must hold. If the lease has lapsed, a beat is asked for and waited for (C).
 *   4. If another server has the lease, that one is asked, once; in a cluster, until deadline_ms. */
#ifndef LK_SESSION_VOUCHED_READ_H
#define LK_SESSION_VOUCHED_READ_H

#include "base/outcome.h"
#include "base/token.h"
#include "base/vouch.h"
#include "session/handle.h"

/* For a session, by its token. False: it is denied here, so NOT_FOUND, whatever Redis would say. */
bool lk_vouch_session(latchkey *lk, const lk_token *token, lk_vouch *vouch);
/* The same by its name alone. */
bool lk_vouch_named(latchkey *lk, unsigned partition, const char *selector, lk_vouch *vouch);
/* For something that is not a session: no tickets. */
lk_vouch lk_vouch_partition(latchkey *lk, unsigned partition);

/* An answer came from that server. */
void lk_vouch_answered(latchkey *lk, unsigned partition, lk_vouch *vouch, uint64_t incarnation);

/* Asks in the calling thread: as lk_l2_pipeline, all of them firm, and the vouch then knows which server answered. If one
 * vouch is used for several questions, all answers must come from that server, or none counts. */
int lk_vouch_ask(latchkey *lk, unsigned partition, lk_vouch *vouch, const lk_call *calls, size_t count,
                 int64_t deadline_ms, lk_reply **replies);

/* UNAVAILABLE, with the reason: no lease covers what Redis answered. */
int lk_unleased(latchkey *lk, unsigned partition);

typedef struct lk_vouched_read {
    unsigned partition;
    const lk_token *token; /* of the session that is asked for, */
    const char *selector;  /* or its name, or neither */
    /* Asks, by lk_vouch_ask or lk_vouch_answered. Returns what Redis said, as a status; below 0 it ends the read with
     * that status. */
    int (*ask)(latchkey *lk, void *context, lk_vouch *vouch, int64_t deadline_ms);
    /* The answer counts: remembers what is to be remembered, looks a last time, and returns the status. NULL: what was
     * said. */
    int (*keep)(latchkey *lk, void *context, const lk_vouch *vouch, int said);
    /* The answer was OK, and it does not count or is not given: frees what `ask` has got. NULL: there is nothing to
     * free. */
    void (*drop)(void *context);
    void *context;
} lk_vouched_read;

/* A public status: the answer, under the lease; or UNAVAILABLE. */
int lk_read_vouched(latchkey *lk, const lk_vouched_read *read, int64_t deadline_ms);

#endif
