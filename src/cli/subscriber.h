/* A connection to Redis of the command's own, for what no handle gives: plain questions, and the beats of all instances. It
 * is made as an instance makes its connections: the same configuration, TLS, greeting. No handle is opened, so nobody takes
 * it for an instance, and nothing is written. */
#ifndef LK_CLI_SUBSCRIBER_H
#define LK_CLI_SUBSCRIBER_H

#include "cli/cli.h"

#include "base/config.h"
#include "redis/conn.h"
#include "redis/net.h"

typedef struct subscriber {
    const cli *c;
    lk_config config;
    lk_conn conn;
    lk_socket socket;
    char error[200]; /* why it was lost */
} subscriber;

/* CLI_DONE; else what was wrong is said, and nothing is left of it. It is large: have it static or allocated. */
int subscriber_open(subscriber *w, const cli *c);
void subscriber_close(subscriber *w);

/* One command, its words end with NULL, and its reply within deadline_ms, the caller's, an error of Redis too. NULL: none
 * came, see w->error; the connection is of no use then. */
lk_reply *subscriber_ask(subscriber *w, const char *const *words);

/* The same in two, for many at once: up to SUBSCRIBER_AT_ONCE are sent, then their replies are taken in turn. */
enum { SUBSCRIBER_AT_ONCE = 1500 };
bool subscriber_send(subscriber *w, const char *const *words);
lk_reply *subscriber_take(subscriber *w);

/* Hears all beats from now on. CLI_DONE; else said. Nothing can be asked on it any more. */
int subscriber_listen(subscriber *w);

/* What came, until nothing is there: 1, and *reply is the caller's; 0: no more for now; -1: lost, see w->error. */
int subscriber_next(subscriber *w, lk_reply **reply);

/* Waits until there may be something, or until_ms (monotonic). */
void subscriber_wait(subscriber *w, int64_t until_ms);

#endif
