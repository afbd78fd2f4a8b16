/* What every new connection sends first: the user and password, the database, and the question which server this is.
 * Without I/O.
 *
 *   AUTH [user] password     (if there is a password)
 *   SELECT database          (if it is not 0)
 *   INFO server, INFO replication
 *   CLUSTER MYID             (in a cluster)
 *   CLIENT SETNAME name      (if there is one; a refusal is not an error) */
#ifndef LK_REDIS_HANDSHAKE_H
#define LK_REDIS_HANDSHAKE_H

#include "base/config.h"
#include "redis/conn.h"
#include "redis/slots.h"

typedef struct lk_handshake {
    /* of the server: a hash of its run id and its replication id; never 0 once the handshake is done */
    uint64_t incarnation;
    uint64_t run, replication; /* the hashes of each */
    lk_node_id node;           /* in a cluster: what the server calls itself */
    unsigned answers;          /* how many are still to come */
    bool named;                /* sentinels named the server: they may name a replica for a while */
    bool cluster;              /* it has to be a node of a cluster; any other server may not be one */
    bool any_role;             /* a replica will do: it is asked where the primaries are, and nothing else */
    int status;                /* OK; or CONFIG or UNAVAILABLE, and then `error` says why */
    char error[160];
} lk_handshake;

enum { LK_HANDSHAKE_TAG = 0xfffffff0u }; /* tags from here on belong to the handshake */

bool lk_handshake_send(lk_handshake *handshake, const lk_config *config, lk_conn *conn); /* false: no memory */

/* Takes a reply with one of those tags. True: it was the last one, or the status is not OK. */
bool lk_handshake_take(lk_handshake *handshake, const lk_reply *reply);

#endif
