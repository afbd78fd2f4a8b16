/* The state of the thread that has the map (cluster.h), for cluster.c, cluster_round.c and cluster_map.c only. */
#ifndef LK_L2_CLUSTER_PARTS_H
#define LK_L2_CLUSTER_PARTS_H

#include "l2/cluster.h"
#include "l2/cluster_ask.h"

enum { LK_CLUSTER_HOSTS_MAX = 2 * LK_NODES_MAX, LK_CLUSTER_STRANGERS = 8 };

struct lk_cluster {
    lk_topology *topology;
    const lk_config *config;
    pthread_t thread;
    bool started;
    _Atomic bool stop; /* release by close, acquire by the thread */
    int stop_fd;       /* an eventfd: the same, for what blocks */

    /* used by the thread only: */
    lk_cluster_ask ask;
    lk_sign sign; /* the newest one, while is_signed */
    bool is_signed;
    bool mapped;       /* every partition has had a server */
    bool answered;     /* a node answered the last question, with a map that was taken */
    int64_t asked_ms;  /* when the last question was over */
    int64_t next_ms;   /* when it is time without a sign */
    int64_t signed_ms; /* when the last sign came */
    unsigned vain;     /* how many questions in a row failed, or changed nothing; */
    unsigned misled;   /* and how many of those were asked because a node said that it knows better */
    unsigned failed;   /* how many in a row failed */
    uint64_t random;
    lk_host node[LK_CLUSTER_HOSTS_MAX]; /* as the last answer names them: the primaries, then the replicas */
    unsigned nodes;
    lk_slots slots;     /* of the answer that is looked at, */
    lk_members members; /* and who is in it */
    lk_members known;   /* who was in the answer that was taken last; empty: none was */
    lk_server_map map;
    lk_node_id stranger[LK_CLUSTER_STRANGERS]; /* nodes of other clusters that were logged, */
    unsigned strangers;                        /* and how many */
    char error[160], said[160];                /* why the last question failed; and the last such line in the log */
};

/* What a node answered. */
typedef struct lk_cluster_answer {
    lk_host from;
    lk_node_id self; /* what it calls itself */
    lk_reply *reply;
} lk_cluster_answer;

static inline bool lk_cluster_stopping(const lk_cluster *c)
{
    return atomic_load_explicit(&c->stop, memory_order_acquire);
}
uint64_t lk_cluster_chance(lk_cluster *c); /* a random number */

/* cluster_round.c: one question, asked of one node after the other until a map is taken. OK: every partition has a server.
 * CONFIG if a node said so, and no other one did better: a wrong password is wrong, whatever else is away. Else c->error
 * says why. */
int lk_cluster_round(lk_cluster *c);

/* cluster_map.c: c->slots and c->members are those of the answer. False: it is no map; c->error says why. */
bool lk_cluster_read(lk_cluster *c, const lk_cluster_answer *answer);
/* Is what was read a map of the cluster that is known? LK_CLUSTER_PERHAPS: a node that is known says so, and names hardly
 * any other one that is. */
enum lk_cluster_kin { LK_CLUSTER_OURS, LK_CLUSTER_PERHAPS, LK_CLUSTER_STRANGE };
enum lk_cluster_kin lk_cluster_judge(lk_cluster *c, const lk_cluster_answer *answer);
/* It is of another cluster: that is logged, once for each node. */
void lk_cluster_refuse(lk_cluster *c, const lk_cluster_answer *answer);
/* Takes what was read. OK: every partition has a server. */
int lk_cluster_take(lk_cluster *c, const lk_cluster_answer *answer);

#endif
