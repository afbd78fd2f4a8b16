/* A node's own state, for node.c, node_side.c, node_thread.c, lease.c and topology.c only. */
#ifndef LK_L2_NODE_PARTS_H
#define LK_L2_NODE_PARTS_H

#include "l2/inbox.h"
#include "l2/node.h"
#include "l2/sentinels.h"
#include "l2/topology.h"
#include "redis/lookup.h"
#include "redis/script.h"
#include "base/wake.h"
#include "base/lock.h"

#include <pthread.h>

enum {
    LK_NODE_REFUSALS_SAID = 32,
    LK_NODE_PENDING_RETRY_MS = 200,
    LK_NODE_OWED_APART_MS = 1000,
    LK_NODE_OWED_NAP_MS = 5
};

struct lk_node {
    lk_topology *topology;
    const lk_config *config;
    lk_counters *counters;
    lk_l1_side l1;
    lk_book *book;
    lk_pool *pool;
    lk_inbox *inbox;
    int wake_fd; /* an eventfd: there is work for the thread */
    pthread_t thread;
    bool started;
    int stop_fd; /* an eventfd: the end has come, also for a connection that is being made */
    /* stop: release by close, acquire by the link's thread, which then sees what close wrote. connected: relaxed, a hint; the
     * lease decides whether an answer counts. beat_wanted and suspect: exchanged with acq_rel, so that the link sees what a
     * caller did before it asked, and no request is lost: the exchange that finds none raises the eventfd. */
    _Atomic bool stop, connected, beat_wanted;
    _Atomic bool remapped; /* the partitions that it owns are others: release where it is set, acquire in its thread */
    /* how many partitions it owns. Written under book.lock. Relaxed: what is read is old at once */
    _Atomic unsigned owned;
    /* the incarnation that the link met last, 0: none yet. Relaxed: recent.lock orders it, see lease.h */
    _Atomic uint64_t met;
    /* the incarnation that its leases name; 0 from an emptying of L1 until the next one. Relaxed: a hint, the leases
     * decide whether an answer counts */
    _Atomic uint64_t holds;
    /* The server on which a script last ran. Relaxed: with a stale value the whole script is sent once more. */
    _Atomic uint64_t ran_on[LK_SCRIPT_COUNT];
    _Atomic uint64_t suspect; /* an answer came from this incarnation, 0: no news for the link */

    /* used by the thread that applies maps only, see topology.c: */
    bool mapped;       /* it is in the map that is applied now, */
    bool moved;        /* which gave it something, or took something from it, */
    bool keeps;        /* and leaves it something that it had */
    uint64_t slept_in; /* the version of the book in which something was taken from it last */

    /* used by the link's thread only: */
    lk_link link;
    lk_partitions partitions; /* that its link serves */
    unsigned *own;            /* two places for them and for those that it kept, used in turn: */
    bool second;              /* in which of them they are */
    uint64_t looked;          /* the version of the book in which it owned them */
    int64_t remapped_ms;      /* when it last took others */
    lk_host at;               /* where it connects to, in a cluster */
    lk_socket socket[LK_LINK_CONNECTIONS];
    lk_addresses addresses;  /* the last known ones */
    lk_lookup *lookup;       /* a lookup of newer ones that is under way */
    lk_sentinels *sentinels; /* NULL: the server is at one address */
    int64_t named_by_ms;     /* no primary is named yet: from then on that is reported */
    unsigned hung_up;        /* how many connections, in a row, ended before their first answer */
    size_t pending_cursor;
    int64_t pending_retry_ms;
    /* Touches that were dropped, of which L1 knows: how many had been by the time that L1 was last looked through; when it
     * was last known that there are no others; and where it is looked at, while it is */
    uint64_t dropped;
    int64_t none_dropped_ms, owed_at_ms;
    size_t owed_at;
    bool collects;

    lk_lock lock;
    pthread_cond_t changed; /* `leased` or `status` has */
    /* guarded by lock: */
    lk_host host;  /* where its server is, in a cluster; changed only while it owns nothing */
    lk_node_id id; /* what its server calls itself, in a cluster */
    bool leased;   /* there has been a lease */
    int status;    /* of the newest trouble, and its text: */
    char trouble[160];
    int64_t trouble_ms; /* when that was */
    char withheld[160]; /* why the newest beat that came back gave no lease; "": it gave one */
    /* What Redis refuses until a person changes something is logged once each. The link's thread does that, since a log
     * function must not run under the locks that callers hold. */
    char refusal[160]; /* "": there is none to be logged */
    uint64_t refused[LK_NODE_REFUSALS_SAID];
    size_t refused_count;
};

/* in node_side.c */
lk_link_host lk_node_side(lk_node *node);
void lk_node_clear_inbox(lk_node *node); /* what it holds for other nodes' partitions is passed on, or dropped */

/* in node_thread.c; called by the link's thread, or once it has ended. */
void lk_node_close_sockets(lk_node *node);

/* in lease.c; called by the link's thread only. */
void lk_lease_confirm(lk_node *node, lk_partitions partitions, int64_t sent_ms, uint64_t incarnation,
                      int64_t server_ahead_us);
void lk_lease_void(lk_node *node, lk_partitions partitions); /* L1 is about to be emptied of them */

#endif
