/* A connection to Redis of the command's own, for what no handle gives: plain questions, and the beats of all instances. It
 * is made as an instance makes its connections: the same configuration, TLS, greeting. No handle is opened, so nobody takes
 * it for an instance, and nothing is written. */
#ifndef LK_CLI_SUBSCRIBER_H
#define LK_CLI_SUBSCRIBER_H

#include "cli/cli.h"

#include "base/config.h"
#include "redis/conn.h"
#include "redis/net.h"

typedef struct wire {
    const cli *c;
    lk_config config;
    lk_conn conn;
    lk_socket socket;
    char error[200]; /* why it was lost */
} wire;

/* CLI_DONE; else what was wrong is said, and nothing is left of it. It is large: have it static or allocated. */
int wire_open(wire *w, const cli *c);
void wire_close(wire *w);

/* One command, its words end with NULL, and its reply within deadline_ms, the caller's, an error of Redis too. NULL: none
 * came, see w->error; the wire is of no use then. */
lk_reply *wire_ask(wire *w, const char *const *words);

/* The same in two, for many at once: up to WIRE_AT_ONCE are sent, then their replies are taken in turn. */
enum { WIRE_AT_ONCE = 1500 };
bool wire_send(wire *w, const char *const *words);
lk_reply *wire_take(wire *w);

/* Hears all beats from now on. CLI_DONE; else said. Nothing can be asked on it any more. */
int wire_listen(wire *w);

/* What came, until nothing is there: 1, and *reply is the caller's; 0: no more for now; -1: lost, see w->error. */
int wire_next(wire *w, lk_reply **reply);

/* Waits until there may be something, or until_ms (monotonic). */
void wire_wait(wire *w, int64_t until_ms);

#endif
