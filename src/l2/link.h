/* The link, without I/O: bytes, ticks and events in; bytes, purges, leases and wake-ups out. node.c is the thin shell
 * of sockets and a thread round it.
 *
 *   DOWN --retry_at--> CONNECTING --both sockets--> HELLO --> SETUP --> SUBSCRIBING --> REASSERTING --> UP
 *    ^                     |                          |         |           |               |          |
 *    +---------------------+------- anything wrong ---+---------+-----------+---------------+----------+
 *
 * Two connections to one and the same incarnation of the server: one for commands, one for the subscription.
 *
 * A beat, every staleness_ms / 4: read every partition's number of the last revocation, ask whether the server is still
 * a primary, and publish a nonce to a channel of this instance alone. When the nonce comes back through the
 * subscription, every revocation published before it came too, because Redis keeps the order. The numbers are compared.
 * What is missing is read in the log (XRANGE) and applied; where the log does not reach back to it, L1 is emptied. Then,
 * with no gap open, and last of all, the lease is confirmed, as of the time at which the beat was sent.
 *
 * The epochs (cutoff.h) are a state, not events: every beat reads them all, behind the numbers, so whoever ended everybody
 * before it was sent is known before its lease, whatever became of messages and log. A message, or an entry of the log, only
 * brings the news earlier. Where the server knows less than we do it is told (reassert.lua), and a new beat is sent; so no
 * server that forgot, whichever way, gets a lease from us.
 *
 * A reconnect to the same incarnation is a gap like any other: L1 stays, and the first beat finds what was missed. One
 * to another incarnation has other numbers, and perhaps another past: L1 is emptied, the revocations of the last minutes
 * (recent.h) are made once more where the server does not know of them, and the numbers are taken as they are once the
 * first beat has read them; then L1 is emptied again.
 *
 * Why no read of L2 brings back what it should not (guarantee D). A fill's ticket is older than its read. What a replay
 * purges was deleted in Redis before we read of it in the log; the purge voids every ticket from before it, and a read
 * with a later ticket begins after the deletion. So it does not matter that the log comes late, nor that it overtakes
 * messages which are still under way: those purge once more. Emptying voids every ticket, so the numbers known when it
 * was done may all be taken as applied, in every partition: whoever reads with a later ticket reads after all of them.
 * That is also why a new incarnation's L1 is emptied *after* the numbers of the first beat came, not before: a
 * revocation that was counted in them and whose message was lost may be later than a read that is under way. */
#ifndef LK_L2_LINK_H
#define LK_L2_LINK_H

#include "observe/consistency.h"
#include "redis/conn.h"
#include "base/counters.h"
#include "revocation/cutoff.h"
#include "redis/handshake.h"
#include "revocation/pending.h"
#include "observe/beat_stats.h"
#include "revocation/recent.h"
#include "revocation/sequence.h"
#include "observe/link_log.h"

enum lk_link_state {
    LK_LINK_DOWN,
    LK_LINK_CONNECTING,
    LK_LINK_HANDSHAKE,
    LK_LINK_SETUP,
    LK_LINK_SUBSCRIBING,
    LK_LINK_REASSERTING,
    LK_LINK_UP
};
enum { LK_LINK_COMMANDS, LK_LINK_SUBSCRIPTION, LK_LINK_CONNECTIONS };
/* In flight at most: a burst of touches, at 10 us each, must not keep Redis from misses for long. It is enough for refreshes,
 * too: with half a millisecond to Redis and back, 32,000 a second. */
enum { LK_LINK_JOBS = 16 };

/* What the link does for others in the background. */
typedef struct lk_job {
    enum { LK_JOB_NONE, LK_JOB_TOUCH, LK_JOB_REVOKE, LK_JOB_REFRESH, LK_JOB_AUDIT } kind;
    lk_pending_item of;   /* of all but a revocation: partition and selector alone */
    lk_entry_sample seen; /* of an audit, which the link gives itself when there is nothing else to do */
    bool proven;          /* of a touch: `of` holds the hash of the verifier too, of a token that matched whole */
    bool whole_script;    /* Redis did not know it by its SHA-1: the link's own note */
    void *item;           /* of a refresh: the host's own note */
    lk_reply *value;      /* and the first of its two replies, while the second is awaited */
} lk_job;

/* The other side: called from the link's functions, in the thread that calls those. */
typedef struct lk_link_host {
    void *context;
    void (*purge)(void *context, const char *selector);
    void (*empty)(void *context);
    void (*everyone)(void *context); /* all of some partitions were ended: L1 goes, and nothing else is in question */
    /* Confirmed as of sent_ms, on the monotonic clock, by that incarnation of the server. */
    void (*lease)(void *context, int64_t sent_ms, uint64_t incarnation, int64_t server_ahead_us);
    void (*trouble)(void *context, int status, const char *text);
    /* Another server than the last one, or the first: from now on what others say is what counts. */
    void (*met)(void *context, uint64_t incarnation);
    bool (*next_job)(void *context, int64_t now_ms, lk_job *job);
    void (*job_done)(void *context, const lk_job *job, int status); /* OK: Redis has it; else why not */
    /* Before that, of a refresh: what Redis answered to HGET <session> v and to PTTL, and which incarnation of it. */
    void (*refreshed)(void *context, const lk_job *job, const lk_reply *value, const lk_reply *pttl,
                      uint64_t incarnation);
    void (*pulse)(void *context, lk_beat_stats *pulse); /* what this instance says of itself with a beat */
    /* For the auditor, and only where audit_per_s is set: see l1.h. */
    bool (*sample)(void *context, uint64_t random, int64_t now_ms, lk_entry_sample *out);
    bool (*still)(void *context, const lk_entry_sample *seen);
} lk_link_host;

typedef struct lk_beat {
    bool out, heard;  /* sent; the nonce came through the subscription */
    unsigned answers; /* still to come on the command connection */
    int64_t sent_ms, sent_us;
    uint64_t nonce;
} lk_beat;

typedef struct lk_link {
    const lk_config *config;
    lk_link_host host;
    lk_counters *counters;
    enum lk_link_state state;
    lk_conn conn[LK_LINK_CONNECTIONS];
    lk_handshake handshake[LK_LINK_CONNECTIONS];
    unsigned handshakes, subscriptions; /* still to come */
    int setup_status;                   /* of recording the number of partitions, and why: */
    char setup_error[160];
    int64_t since_ms; /* of the state */
    int64_t retry_at_ms, next_beat_ms;
    unsigned failures; /* in a row */
    lk_link_log link_log;
    lk_consistency consistency;
    uint64_t settings_of, settings_said; /* the incarnation whose settings were looked at; and what was found */
    bool was_up;
    uint64_t random;           /* for jitter and nonces */
    char heartbeat[64];        /* this instance's channel */
    lk_sequence *series;       /* by partition */
    unsigned replays;          /* under way */
    uint64_t met;              /* the incarnation whose numbers those are, */
    bool baseline;             /* and its first beat has yet to bring them */
    lk_cutoffs *cutoffs;       /* shared with those who judge; */
    bool everyone, doubtful;   /* one of them is news, and L1 has yet to be emptied; one of them is in doubt */
    long long epoch_keys;      /* so many keys are epochs, or lie where they should: 0 where it was not asked */
    lk_recent *recent;         /* shared with those who revoke */
    lk_recent_item *assertion; /* what has to be made once more, while REASSERTING: [asserted..assertions) has yet to */
    size_t asserted, assertions;
    unsigned assertions_out; /* calls without an answer yet */
    lk_beat beat;
    int64_t server_ahead_us; /* Redis' TIME less our monotonic clock, */
    int64_t best_round_us;   /* as the shortest of the recent beats found it */
    lk_job job[LK_LINK_JOBS];
} lk_link;

bool lk_link_open(lk_link *link, const lk_config *config, const lk_link_host *host, lk_counters *counters,
                  uint64_t seed, int64_t now_ms); /* false: no memory */
void lk_link_close(lk_link *link);

/* Somebody needs a lease that is newer than the one there is: the next beat is due, unless one is out. */
void lk_link_beat_now(lk_link *link, int64_t now_ms);

void lk_link_tick(lk_link *link, int64_t now_us); /* monotonic, microseconds */
int64_t lk_link_wake_ms(const lk_link *link);     /* call tick no later than this */

/* In CONNECTING: both sockets are there. */
void lk_link_connected(lk_link *link, int64_t now_ms);
/* Anywhere: a socket broke, or none could be had. Also what the link calls itself when the peer misbehaves: then the
 * state is DOWN, and the shell closes both sockets. */
void lk_link_lost(lk_link *link, int64_t now_ms, int status, const char *text);
/* After bytes were fed to conn[which]. */
void lk_link_fed(lk_link *link, int which, int64_t now_us);

#endif
