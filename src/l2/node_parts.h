/* A node's own state, for node.c and lease.c only. */
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

enum { LK_NODE_REFUSALS_SAID = 32 };

struct lk_node {
    lk_topology *topology;
    const lk_config *config;
    lk_counters *counters;
    lk_l1_side l1;
    lk_book *book;
    lk_partitions partitions;
    lk_pool *pool;
    pthread_t thread;
    bool started;
    int stop_fd; /* an eventfd: the end has come, also for a connection that is being made */
    /* stop: release by close, acquire by the link's thread, which then sees what close wrote. connected: relaxed, a hint; the
     * lease decides whether an answer counts. beat_wanted and suspect: exchanged with acq_rel, so that the link sees what a
     * caller did before it asked, and no request is lost: the exchange that finds none raises the eventfd. */
    _Atomic bool stop, connected, beat_wanted;
    _Atomic uint64_t
        met; /* the incarnation that the link met last, 0: none yet. Relaxed: recent.lock orders it, see lease.h */
    /* the incarnation that its leases name; 0 from an emptying of L1 until the next one. Relaxed: a hint, the leases
     * decide whether an answer counts */
    _Atomic uint64_t holds;
    /* The server on which a script last ran. Relaxed: with a stale value the whole script is sent once more. */
    _Atomic uint64_t ran_on[LK_SCRIPT_COUNT];
    _Atomic uint64_t suspect; /* an answer came from this incarnation, 0: no news for the link */

    /* used by the link's thread only: */
    lk_link link;
    lk_socket socket[LK_LINK_CONNECTIONS];
    lk_addresses addresses;  /* the last known ones */
    lk_lookup *lookup;       /* a lookup of newer ones that is under way */
    lk_sentinels *sentinels; /* NULL: the server is at one address */
    int64_t named_by_ms;     /* no primary is named yet: from then on that is reported */
    unsigned hung_up;        /* how many connections, in a row, ended before their first answer */
    size_t pending_cursor;
    int64_t pending_retry_ms;

    lk_lock lock;
    pthread_cond_t changed; /* `leased` or `status` has */
    /* guarded by lock: */
    bool leased; /* there has been a lease */
    int status;  /* of the newest trouble, and its text: */
    char trouble[160];
    int64_t trouble_ms; /* when that was */
    char withheld[160]; /* why the newest beat that came back gave no lease; "": it gave one */
    /* What Redis refuses until a person changes something is logged once each. The link's thread does that, since a log
     * function must not run under the locks that callers hold. */
    char refusal[160]; /* "": there is none to be logged */
    uint64_t refused[LK_NODE_REFUSALS_SAID];
    size_t refused_count;
};

/* in lease.c; called by the link's thread only. */
void lk_lease_confirm(lk_node *node, lk_partitions partitions, int64_t sent_ms, uint64_t incarnation,
                      int64_t server_ahead_us);
void lk_lease_void(lk_node *node, lk_partitions partitions); /* L1 is about to be emptied of them */

#endif
