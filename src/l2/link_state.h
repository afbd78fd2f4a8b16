/* The state of a link (link.h), its host, and its jobs. */
#ifndef LK_L2_LINK_STATE_H
#define LK_L2_LINK_STATE_H

#include "base/counters.h"
#include "base/partitions.h"
#include "base/vouch.h"
#include "observe/beat_stats.h"
#include "observe/consistency.h"
#include "observe/link_log.h"
#include "redis/conn.h"
#include "l2/inbox.h"
#include "l2/past.h"
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
/* The most that are under way: a burst of touches, at 10 us each, must not keep Redis from misses for long. It is
 * enough for refreshes, too: with half a millisecond a round trip, 32,000 a second. */
enum { LK_LINK_JOBS = 16, LK_LINK_PROLONGED = 64 };

/* What the link does for others in the background. */
typedef struct lk_job {
    enum { LK_JOB_NONE, LK_JOB_TOUCH, LK_JOB_REVOKE, LK_JOB_REFRESH, LK_JOB_AUDIT } kind;
    lk_pending_item of;   /* of any job but a revocation: only partition and selector */
    lk_entry_sample seen; /* of an audit, which the link begins by itself when there is nothing else to do */
    bool proven;          /* of a touch: `of` also holds the hash of the verifier, of a token that matched as a whole */
    lk_touch touch;       /* of a touch */
    bool by_script;       /* of a touch: plain commands cannot do it; set by the link */
    bool indexed;      /* of a touch in a cluster: the user's index lives longer now, and the session's key is next */
    bool looks;        /* and they were tried: something is not as it should be */
    bool whole_script; /* Redis did not know the script by its SHA-1; set by the link */
    uint64_t meetings; /* the link's number when a revocation was sent */
    lk_vouch vouch;    /* of a touch: what was noted before it was sent */
    void *item;        /* of a refresh: the host's own pointer */
    lk_reply *value;   /* of a refresh and a touch: the first reply, while the last one is awaited */
} lk_job;

/* What happens in L1, and what L1 is asked. The handle sets it (open.c); it is called in the link's thread. */
typedef struct lk_l1_side {
    void *context;
    void (*purge)(void *context, const char *selector);
    void (*made)(void *context, const char *selector);      /* its token may have been taken for dead until now */
    void (*empty)(void *context, lk_partitions partitions); /* of what belongs to these partitions */
    void (*everyone)(void *context); /* all sessions of some partitions were ended: only L1 is emptied */
    void (*stats)(void *context,
                  lk_beat_stats *stats); /* what this instance says about itself, without what a node knows */
    /* For the consistency check, only if audit_per_s is set: see l1.h. */
    bool (*sample)(void *context, uint64_t random, int64_t now_ms, lk_entry_sample *out);
    bool (*still)(void *context, const lk_entry_sample *seen);
    /* For refreshes (refresh.c). `refresh` begins one, as a touch or as a read (false: there is nothing to ask).
     * `refreshed` takes what Redis answered to HGET <session> v and to PTTL, and the incarnation that answered. */
    bool (*refresh)(void *context, lk_refresh_item *item, lk_job *job);
    void (*refreshed)(void *context, const lk_refresh_item *item, const lk_reply *value, const lk_reply *pttl,
                      uint64_t incarnation);
    /* For touches (touch.c): `touching`: one is about to be sent; `touched`: that incarnation of Redis moved the
     * session's expiry. */
    void (*touching)(void *context, lk_job *job);
    void (*touched)(void *context, const lk_job *job, uint64_t incarnation);
    /* Entries that remember a touch which was lost (l1.h): looks at some of L1, from *at on; 0 again: that was the last
     * part. True: a touch is to be made, of a use that is up to age_ms ago. NULL: there is no L1. */
    bool (*owed)(void *context, size_t *at, int64_t age_ms, lk_job *job);
} lk_l1_side;

/* The node's side: called by the link's functions, in the thread that calls those. */
typedef struct lk_link_host {
    void *context;
    /* L1 is about to be emptied of these partitions: from now on no server has their lease */
    void (*emptying)(void *context, lk_partitions partitions);
    /* The leases of these partitions are confirmed as of sent_ms, on the monotonic clock, by that incarnation of the
     * server. */
    void (*lease)(void *context, lk_partitions partitions, int64_t sent_ms, uint64_t incarnation,
                  int64_t server_ahead_us);
    void (*trouble)(void *context, int status, const char *text);
    void (*withheld)(void *context, const char *text); /* a beat came back, but it gives no lease: why */
    /* Another server than the last one, or the first: from now on its answers count. */
    void (*met)(void *context, uint64_t incarnation, lk_partitions partitions);
    bool (*next_job)(void *context, int64_t now_ms, lk_job *job);
    void (*job_done)(void *context, const lk_job *job, int status); /* OK: Redis has it; else why not */
    void (*stats)(void *context, lk_beat_stats *stats);             /* adds what the node knows to a beat's numbers */
    /* Is it known, from that time or later, that this server is the one to use? If it is not, `why` says why, unless it
     * is NULL. NULL: it need not be known. */
    bool (*vouched)(void *context, int64_t since_ms, char *why, size_t why_size);
    /* It may be known elsewhere that another server has a partition now; `text`: what was said (lk_topology_sign). */
    void (*sign)(void *context, const char *text);
} lk_link_host;

/* What is said if that is all that is known. */
#define LK_LINK_SLOT_LEFT "a slot has left its node (sunsubscribe)"

/* What is known of revocations, whichever server told it: it belongs to the handle (book.h). */
typedef struct lk_link_known {
    lk_cutoffs *cutoffs;
    lk_recent *recent;
    lk_past *past;
} lk_link_known;

/* What a link knows of one of its partitions. */
typedef struct lk_link_part {
    lk_sequence sequence;
    uint64_t met; /* the incarnation of the server that its numbers belong to; 0: none */
    /* no lease for a beat from before then: other instances have yet to tell the server what they know */
    int64_t serve_ms;
    bool fresh;  /* its first beat has not brought the numbers yet */
    bool untold; /* the server has yet to be told what is remembered of it */
    bool listed; /* link->assertion has all that is remembered of it */
    /* In a cluster: an answer said that another node has its slot, or that the slot moves. The beat that is out, or the
     * next one, gives it no lease. */
    bool unsure;
    bool deaf;   /* in a cluster: its channel is not subscribed to */
    bool behind; /* the beat read an older cut-off than is known */
    /* The server's cut-off is known as of any number below this one: it was read behind a number, and what was counted
     * since then was received without a gap. 0: it is not known */
    uint64_t cutoff_below;
} lk_link_part;

typedef struct lk_beat {
    bool out, received; /* the beat was sent; its nonce came back through the subscription */
    bool idle;          /* nothing was asked of this instance for a while */
    bool wanted;        /* a caller wanted one while it was out */
    bool moves;         /* it moves the count of lk_link_send_witness, and does not only read it */
    unsigned answers;   /* how many are still to come on the command connection */
    /* in a cluster: how many partitions' numbers were asked for, and how many answers to that are still to come; a number
     * went backwards; the nonce could not be published */
    size_t asked, numbers;
    bool backwards, mute, cut_off;
    int64_t sent_ms, sent_us;
    uint64_t nonce;
} lk_beat;

typedef struct lk_link {
    const lk_config *config;
    lk_partitions partitions; /* that it serves: the server of its node owns them (topology.h) */
    lk_link_host host;
    lk_l1_side l1;
    lk_counters *counters;
    enum lk_link_state state;
    lk_conn conn[LK_LINK_CONNECTIONS];
    lk_handshake handshake[LK_LINK_CONNECTIONS];
    lk_node_id expected;                /* in a cluster: what its server calls itself; "": that is not known */
    unsigned handshakes, subscriptions; /* how many are still to come */
    bool records; /* in a cluster: the number of partitions was looked for everywhere, and is being recorded */
    /* in a cluster: how many of its partitions were given that number since it connected; SIZE_MAX: all */
    size_t recorded;
    int setup_status; /* of recording the number of partitions, and why: */
    char setup_error[160];
    int64_t since_ms; /* when this state began */
    int64_t retry_at_ms, next_beat_ms;
    unsigned failures;             /* in a row */
    uint64_t suspect;              /* an answer came from this incarnation; 0: from no other */
    unsigned looks;                /* how often the link connected anew for that recently, */
    int64_t looked_ms, look_at_ms; /* when it last did; and the earliest time to do it again */
    lk_link_log link_log;
    lk_consistency consistency;
    uint64_t settings_of, settings_said; /* the incarnation whose settings were checked, and what was found */
    bool was_up;
    uint64_t random;           /* for jitter and nonces */
    char heartbeat[64];        /* this instance's channel, */
    unsigned own;              /* in a cluster: the partition whose slot it is in, */
    bool own_heard;            /* and it is subscribed to; */
    unsigned before_own;       /* so many other subscriptions are answered before that */
    lk_link_part *part;        /* by partition */
    unsigned *some;            /* a set of partitions: see lk_link_those */
    size_t fresh;              /* how many partitions are fresh */
    unsigned replays;          /* how many replays are under way */
    uint64_t meetings;         /* how many servers it has begun to meet */
    bool unheard;              /* messages of the data set before may still come, */
    bool heard;                /* and some brought news after the recent revocations were listed for this server */
    int64_t agree_at_ms;       /* in a cluster, before it is known how many partitions there are: when to look again */
    lk_past *past;             /* shared with the handle's other links */
    lk_cutoffs *cutoffs;       /* shared with the threads that judge sessions; */
    bool everyone, doubtful;   /* a cut-off is new, and L1 has not been emptied yet; a cut-off is in doubt */
    long long cutoff_keys;     /* how many keys are cut-offs, or are in a cut-off's place; 0 if that was not asked */
    lk_recent *recent;         /* shared with the threads that revoke */
    lk_recent_item *assertion; /* what has to be made again, while REASSERTING: [asserted..assertions) is left */
    size_t asserted, assertions;
    int64_t listed_ms;       /* when they were listed; 0: they are cut-offs */
    unsigned assertions_out; /* calls that were not answered yet */
    bool assert_by_text;     /* in a cluster: the server may not know the script */
    /* The count under w as it was read last: of which incarnation (0: none) and under which partition; how many fills of
     * L1 and writes there were when this instance moved it; and whether it went back, which others have yet to be told. */
    uint64_t witness, witness_of, witnessed;
    unsigned witness_in;
    bool lost;
    lk_beat beat;
    uint64_t used;                           /* how much callers had asked of this instance by the last beat, */
    unsigned quiet;                          /* and for how many beats they have asked for nothing */
    unsigned vain;                           /* so many beats in a row left a partition unserved (link_beat.c) */
    int64_t confirmed_ms;                    /* when the last good beat was sent; 0: there was none */
    bool scripts_alone;                      /* this server does not know GT (Redis before 7.0): a script touches */
    int64_t prolonged_ms[LK_LINK_PROLONGED]; /* link_jobs.c: until when the index of partition % that certainly lives */
    int64_t server_ahead_us;                 /* Redis' TIME less our monotonic clock, */
    int64_t best_round_us;                   /* by the shortest of the recent beats */
    lk_job job[LK_LINK_JOBS];
} lk_link;

/* `known` must live longer than the link. False: no memory. */
bool lk_link_open(lk_link *link, const lk_config *config, lk_partitions partitions, lk_link_known known,
                  const lk_link_host *host, const lk_l1_side *l1, lk_counters *counters, uint64_t seed, int64_t now_ms);
void lk_link_close(lk_link *link);

/* From now on it serves these partitions, which must live until it is told of others. A partition that is not among them
 * is forgotten: if it comes back, it is met as on a new server. Only while the link is DOWN; else see lk_link_change. */
void lk_link_serve(lk_link *link, lk_partitions partitions);

/* Called from anywhere: a socket broke, or there was none. The link also calls it when the peer misbehaves. The state
 * is then DOWN, and the node closes both sockets. */
void lk_link_lost(lk_link *link, int64_t now_ms, int status, const char *text);

#endif
