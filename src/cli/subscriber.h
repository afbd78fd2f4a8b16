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
    const char *url;
    lk_config config;
    lk_conn conn;
    lk_socket socket;
    bool any_role;   /* a replica will do */
    char error[256]; /* why it failed, or why the connection was lost */
} subscriber;

/* At `host`; NULL: at the server of the URL, or the one that the sentinels name, or the node that has partition 0. CLI_DONE;
 * else another exit status, w->error says why, and there is nothing to close. The struct is large: make it static or allocate
 * it. */
int subscriber_open(subscriber *w, const char *url, const lk_host *host);
int subscriber_open_replica(subscriber *w, const char *url,
                            const lk_host *host); /* the same, at a server of any role */
void subscriber_close(subscriber *w);

/* Runs one command, whose words end with NULL, and waits for its reply up to deadline_ms. The caller frees the reply;
 * it may be an error of Redis. NULL: no reply came, and w->error says why; the connection cannot be used any more. */
lk_reply *subscriber_ask(subscriber *w, const char *const *words);

/* The next reply to what was asked, when more than one comes: messages come in between. */
lk_reply *subscriber_take(subscriber *w);

/* Receives all beats from now on. CLI_DONE; else another exit status, and w->error says why. No command can be sent on it any
 * more. */
int subscriber_listen(subscriber *w);

/* The next message. 1: the caller frees *reply. 0: there is none for now. -1: the connection is lost, and w->error says
 * why. */
int subscriber_next(subscriber *w, lk_reply **reply);

/* Waits until a message may be there, or until until_ms (monotonic). */
void subscriber_wait(subscriber *w, int64_t until_ms);

#endif
