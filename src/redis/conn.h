/* A connection to Redis, without I/O. Commands are appended to `out`; bytes that came are fed in; replies come out in
 * the order of the commands, each with the tag of its command. Guarantee I: nothing but that order ties a reply to a
 * command. So a connection on which anything went wrong is closed and never used again. */
#ifndef LK_REDIS_CONN_H
#define LK_REDIS_CONN_H

#include "redis/resp.h"

#include <stdint.h>

enum { LK_CONN_WAITING_MAX = 2048 };

typedef struct lk_conn {
    lk_resp *resp;
    char *out; /* out[sent..used) is to be written */
    size_t sent, used, size;
    uint32_t *tag; /* of the replies that are awaited: a ring */
    unsigned first, waiting;
    bool pushes; /* it is a subscription: replies come unasked, and have tag 0 */
} lk_conn;

bool lk_conn_open(lk_conn *conn);  /* false: no memory */
void lk_conn_close(lk_conn *conn); /* also after a failed open, or without one if it is zeros */

/* False: no memory, or LK_CONN_WAITING_MAX replies are awaited. Then nothing was appended. */
bool lk_conn_send(lk_conn *conn, uint32_t tag, const lk_span *words, size_t count);

static inline size_t lk_conn_unsent(const lk_conn *conn, const char **bytes)
{
    *bytes = conn->out ? conn->out + conn->sent : NULL;
    return conn->used - conn->sent;
}
void lk_conn_wrote(lk_conn *conn, size_t size);

bool lk_conn_feed(lk_conn *conn, const char *bytes, size_t size);

/* How many more replies may be awaited; how many are; and the tag of the i-th of those, in the order in which they
 * come. */
static inline unsigned lk_conn_room(const lk_conn *conn) { return LK_CONN_WAITING_MAX - conn->waiting; }
static inline unsigned lk_conn_waiting(const lk_conn *conn) { return conn->waiting; }
static inline uint32_t lk_conn_tag(const lk_conn *conn, unsigned i)
{
    return conn->tag[(conn->first + i) % LK_CONN_WAITING_MAX];
}

/* No reply is awaited, and nothing came unasked: another thread may use the connection. */
static inline bool lk_conn_quiet(const lk_conn *conn) { return !conn->waiting && lk_resp_empty(conn->resp); }

/* 1: a reply with its tag, which the caller frees. 0: none yet. -1: the peer broke the protocol, or sent a reply
 * unasked. */
int lk_conn_next(lk_conn *conn, lk_reply **reply);

#endif
