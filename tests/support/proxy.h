/* SPDX-License-Identifier: MIT
 *
 * A wire between a handle and its Redis that can be cut, held and tampered with, while the test's own connection to
 * Redis stays as it is. One thread, loopback TCP on both sides.
 */
#ifndef LATCHKEY_TESTS_PROXY_H
#define LATCHKEY_TESTS_PROXY_H

#include <stddef.h>

typedef enum proxy_mode {
    PROXY_RELAY,        /* a wire */
    PROXY_HOLD,         /* nothing passes, nothing is lost: PROXY_RELAY later delivers it, late */
    PROXY_HOLD_DOWN,    /* requests pass, replies and messages do not: half open */
    PROXY_HOLD_ONE,     /* the first connection whose request contains the given bytes: as HOLD_DOWN; the rest: RELAY */
    PROXY_HOLD_REQUEST, /* the first connection whose request contains the bytes: that request does not pass */
    PROXY_HOLD_MESSAGES, /* on connections that have subscribed nothing comes down; the rest: RELAY */
    PROXY_ADMIT_NONE,    /* a wire for the connections that are open; new ones get no answer, as at HAProxy's maxconn */
    PROXY_DROP_ONE, /* the first piece of reply that contains the bytes, on a connection that has subscribed, is lost */
    PROXY_BLACKHOLE, /* all that comes is taken and thrown away, the connections stay open */
    PROXY_CUT,       /* open connections are closed and new ones are closed as they come */
    PROXY_FLIP,      /* of each piece of reply one bit is wrong: of the byte at `size`, or of its last one */
    PROXY_REPLACE,   /* instead of each piece of reply the given bytes are delivered */
    PROXY_TRUNCATE   /* of each piece of reply the first `size` bytes are delivered, then the connection is closed */
} proxy_mode;

typedef struct proxy proxy;

proxy *proxy_start(int redis_port);
int proxy_port(const proxy *p);

/* When it returns, the new mode holds for all that has not passed yet. `bytes` is for PROXY_REPLACE, PROXY_HOLD_ONE,
 * PROXY_HOLD_REQUEST and PROXY_DROP_ONE, `size` for those and PROXY_TRUNCATE; the bytes must live as long as the mode. */
void proxy_set(proxy *p, proxy_mode mode, const char *bytes, size_t size);

/* Has PROXY_HOLD_ONE found its connection, and passed the request on? Or PROXY_HOLD_REQUEST, and held it? Or has PROXY_DROP_ONE
 * dropped its piece? */
int proxy_holds_one(proxy *p);

/* Closes the open connections; new ones are relayed as the mode says. */
void proxy_drop_connections(proxy *p);

/* As a NAT or a load balancer forgets: connections on which nothing has passed for so long are swallowed from now on, in both
 * directions, and stay open; the others, and new ones, are as the mode says. */
void proxy_forget_idle(proxy *p, int idle_ms);

/* New connections go there; a failover, as a name or an address that moves. */
void proxy_aim(proxy *p, int redis_port);

void proxy_end(proxy *p);

#endif
