/* The state of a link (link.h), its host, and its jobs. */
#ifndef LK_L2_LINK_STATE_H
#define LK_L2_LINK_STATE_H

#include "base/counters.h"
#include "base/vouch.h"
#include "observe/beat_stats.h"
#include "observe/consistency.h"
#include "observe/link_log.h"
#include "redis/conn.h"
#include "l2/inbox.h"
#include "l2/refresh_queue.h"
#include "redis/handshake.h"
#include "revocation/cutoff.h"
#include "revocation/pending.h"
#include "revocation/recent.h"
#include "revocation/sequence.h"

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
enum { LK_LINK_JOBS = 16, LK_LINK_PROLONGED = 64 };

/* What the link does for others in the background. */
typedef struct lk_job {
    enum { LK_JOB_NONE, LK_JOB_TOUCH, LK_JOB_REVOKE, LK_JOB_REFRESH, LK_JOB_AUDIT } kind;
    lk_pending_item of;   /* of all but a revocation: partition and selector alone */
    lk_entry_sample seen; /* of an audit, which the link gives itself when there is nothing else to do */
    bool proven;          /* of a touch: `of` holds the hash of the verifier too, of a token that matched whole */
    lk_touch touch;       /* of a touch */
    bool by_script;       /* of a touch: plain commands do not do; the link's own note */
    bool looks;           /* and they were tried: something is not as it should be */
    bool whole_script;    /* Redis did not know it by its SHA-1: the link's own note */
    uint64_t meetings;    /* the link's, when a revocation was sent */
    lk_vouch vouch;       /* of a touch: what was noted before it was sent */
    void *item;           /* of a refresh: the host's own note */
    lk_reply *value;      /* and of a touch: the first reply, while the last is awaited */
} lk_job;

/* What happens in L1, and what is asked of it. Given by the handle (open.c); called in the link's thread. */
typedef struct lk_l1_side {
    void *context;
    void (*purge)(void *context, const char *selector);
    void (*empty)(void *context);
    void (*everyone)(void *context); /* all of some partitions were ended: L1 goes, and nothing else is in question */
    void (*stats)(void *context,
                  lk_beat_stats *stats); /* what this instance says of itself, but for what a node knows */
    /* For the consistency check, and only where audit_per_s is set: see l1.h. */
    bool (*sample)(void *context, uint64_t random, int64_t now_ms, lk_entry_sample *out);
    bool (*still)(void *context, const lk_entry_sample *seen);
    /* For refreshes (refresh.c): begins one, as a touch or as a read (false: there is nothing to ask). Takes what Redis
     * answered to HGET <session> v and to PTTL, and which incarnation of it. */
    bool (*refresh)(void *context, lk_refresh_item *item, lk_job *job);
    void (*refreshed)(void *context, const lk_refresh_item *item, const lk_reply *value, const lk_reply *pttl,
                      uint64_t incarnation);
    /* For touches (touch.c): one is about to be sent; and that incarnation of Redis moved the session's expiry. */
    void (*touching)(void *context, lk_job *job);
    void (*touched)(void *context, const lk_job *job, uint64_t incarnation);
} lk_l1_side;

/* The node's side: called from the link's functions, in the thread that calls those. */
typedef struct lk_link_host {
    void *context;
    void (*emptying)(void *context); /* L1 is about to be emptied: no server has the lease from now on */
    /* Confirmed as of sent_ms, on the monotonic clock, by that incarnation of the server. */
    void (*lease)(void *context, int64_t sent_ms, uint64_t incarnation, int64_t server_ahead_us);
    void (*trouble)(void *context, int status, const char *text);
    /* Another server than the last one, or the first: from now on what others say is what counts. */
    void (*met)(void *context, uint64_t incarnation);
    bool (*next_job)(void *context, int64_t now_ms, lk_job *job);
    void (*job_done)(void *context, const lk_job *job, int status); /* OK: Redis has it; else why not */
    void (*stats)(void *context, lk_beat_stats *stats);             /* what the node knows of a beat's statistics */
    /* Is it known, of that time or later, that this server is the one to be served from? NULL: it need not be. */
    bool (*vouched)(void *context, int64_t since_ms);
} lk_link_host;

/* The partitions that a link is for: the server of its node owns them (topology.h). */
typedef struct lk_partitions {
    const unsigned *at; /* in ascending order; must outlive the link */
    size_t count;
} lk_partitions;

/* What is known of revocations, whichever server they were heard of from: the handle's (book.h). */
typedef struct lk_link_known {
    lk_cutoffs *cutoffs;
    lk_recent *recent;
} lk_link_known;

typedef struct lk_beat {
    bool out, received; /* sent; the nonce came through the subscription */
    unsigned answers;   /* still to come on the command connection */
    int64_t sent_ms, sent_us;
    uint64_t nonce;
} lk_beat;

typedef struct lk_link {
    const lk_config *config;
    lk_partitions partitions;
    lk_link_host host;
    lk_l1_side l1;
    lk_counters *counters;
    enum lk_link_state state;
    lk_conn conn[LK_LINK_CONNECTIONS];
    lk_handshake handshake[LK_LINK_CONNECTIONS];
    unsigned handshakes, subscriptions; /* still to come */
    int setup_status;                   /* of recording the number of partitions, and why: */
    char setup_error[160];
    int64_t since_ms; /* of the state */
    int64_t retry_at_ms, next_beat_ms;
    unsigned failures;             /* in a row */
    uint64_t suspect;              /* an answer came from this incarnation, 0: from no other */
    unsigned looks;                /* the link connected anew for that so many times lately, */
    int64_t looked_ms, look_at_ms; /* the last time then; and not before then again */
    lk_link_log link_log;
    lk_consistency consistency;
    uint64_t settings_of, settings_said; /* the incarnation whose settings were looked at; and what was found */
    bool was_up;
    uint64_t random;           /* for jitter and nonces */
    char heartbeat[64];        /* this instance's channel */
    lk_sequence *sequence;     /* by partition */
    unsigned replays;          /* under way */
    uint64_t met;              /* the incarnation whose numbers those are, */
    bool baseline;             /* and its first beat has yet to bring them */
    uint64_t meetings;         /* how many it has begun to meet */
    bool unheard;              /* messages of the data set that it had before may still come, */
    bool heard;                /* and some told news since the recent revocations were listed for it */
    int64_t serve_ms;          /* no lease of an earlier beat: others have yet to tell it what they know */
    lk_cutoffs *cutoffs;       /* shared with those who judge; */
    bool everyone, doubtful;   /* one of them is news, and L1 has yet to be emptied; one of them is in doubt */
    long long cutoff_keys;     /* so many keys are cut-offs, or lie where they should: 0 where it was not asked */
    lk_recent *recent;         /* shared with those who revoke */
    lk_recent_item *assertion; /* what has to be made once more, while REASSERTING: [asserted..assertions) is left */
    size_t asserted, assertions;
    int64_t listed_ms;       /* when those were listed; 0: they are cut-offs */
    unsigned assertions_out; /* calls without an answer yet */
    lk_beat beat;
    uint64_t used;                           /* what callers had asked of this instance at the last beat, */
    unsigned quiet;                          /* and how many beats they have asked for nothing */
    int64_t confirmed_ms;                    /* when the last good beat was sent, 0: none was */
    bool scripts_alone;                      /* this server does not know GT (Redis before 7.0): a script touches */
    int64_t prolonged_ms[LK_LINK_PROLONGED]; /* link_jobs.c: up to when partition % that is sure to have its index */
    int64_t server_ahead_us;                 /* Redis' TIME less our monotonic clock, */
    int64_t best_round_us;                   /* as the shortest of the recent beats found it */
    lk_job job[LK_LINK_JOBS];
} lk_link;

/* `known` must outlive the link. False: no memory. */
bool lk_link_open(lk_link *link, const lk_config *config, lk_partitions partitions, lk_link_known known,
                  const lk_link_host *host, const lk_l1_side *l1, lk_counters *counters, uint64_t seed, int64_t now_ms);
void lk_link_close(lk_link *link);

/* Anywhere: a socket broke, or none could be had. Also what the link calls itself when the peer misbehaves: then the
 * state is DOWN, and the shell closes both sockets. */
void lk_link_lost(lk_link *link, int64_t now_ms, int status, const char *text);

#endif
