/* What every new connection says first: who we are, which database, and who is there? Without I/O.
 *
 *   AUTH [user] password     (where there is one)
 *   SELECT database          (where it is not 0)
 *   INFO server, INFO replication */
#ifndef LK_REDIS_HANDSHAKE_H
#define LK_REDIS_HANDSHAKE_H

#include "base/config.h"
#include "redis/conn.h"

typedef struct lk_handshake {
    uint64_t incarnation;      /* of the server: a hash of its run id and its replication id, never 0 once done */
    uint64_t run, replication; /* the hashes of each */
    unsigned answers;          /* still to come */
    int status;                /* OK; CONFIG or UNAVAILABLE, and then `error` */
    char error[160];
} lk_handshake;

enum { LK_HANDSHAKE_TAG = 0xfffffff0u }; /* tags from here on are hello's */

bool lk_handshake_send(lk_handshake *hello, const lk_config *config, lk_conn *conn); /* false: no memory */

/* Takes a reply with one of hello's tags. True once the last one was taken, or the status is not OK. */
bool lk_handshake_take(lk_handshake *hello, const lk_reply *reply);

#endif
