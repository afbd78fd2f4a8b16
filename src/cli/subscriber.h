/* A connection to Redis of the command's own, for what a handle does not offer: plain questions, and the beats of all
 * instances. It connects as an instance does: the same configuration, TLS and handshake. No handle is opened, so no
 * instance counts it as one of them, and nothing is written. */
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
    char error[200]; /* why the connection was lost */
} subscriber;

/* CLI_DONE; else the reason has been printed, and there is nothing to close. The struct is large: make it static or
 * allocate it. */
int subscriber_open(subscriber *w, const cli *c);
void subscriber_close(subscriber *w);

/* Runs one command, whose words end with NULL, and waits for its reply up to deadline_ms. The caller frees the reply;
 * it may be an error of Redis. NULL: no reply came, and w->error says why; the connection cannot be used any more. */
lk_reply *subscriber_ask(subscriber *w, const char *const *words);

/* The same in two steps, for many commands at once: send up to SUBSCRIBER_AT_ONCE, then take their replies one by one. */
enum { SUBSCRIBER_AT_ONCE = 1500 };
bool subscriber_send(subscriber *w, const char *const *words);
lk_reply *subscriber_take(subscriber *w);

/* Receives all beats from now on. CLI_DONE; else the reason has been printed. No command can be sent on it any more. */
int subscriber_listen(subscriber *w);

/* The next message. 1: the caller frees *reply. 0: there is none for now. -1: the connection is lost, and w->error says
 * why. */
int subscriber_next(subscriber *w, lk_reply **reply);

/* Waits until a message may be there, or until until_ms (monotonic). */
void subscriber_wait(subscriber *w, int64_t until_ms);

#endif
