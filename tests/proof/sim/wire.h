/* SPDX-License-Identifier: MIT
 *
 * The network. A connection carries bytes both ways, in order, each direction with a latency of its own; connections do
 * not wait for each other. What can go wrong with one: it is slow for a while; it is cut, and both sides see it, or one
 * of them later than the other; it is half-open: bytes vanish in one direction or in both, and nobody sees anything until
 * a reset comes, or until the hole closes and what was held back arrives late.
 *
 * To the library these are sockets and descriptors (wire.c wraps the calls).
 */
#ifndef LATCHKEY_SIM_WIRE_H
#define LATCHKEY_SIM_WIRE_H

#include "world.h"

enum { TO_SERVER, TO_CLIENT, CONNECTIONS_MAX = 512 };

typedef struct wire {
    int index;
    uint64_t life; /* which of the connections that used this place it is */
    bool open;     /* as long as either side has it */
    machine *client;
    int server;
    bool client_has, server_has;             /* each side's own view */
    bool established, refused, ended, reset; /* what the client's socket says */
    int64_t latency_us[2], jitter_us, arrives_us[2];
    int64_t hole_until_us[2];                /* bytes sent before it do not arrive in time */
    bool hole_loses[2], lost[2], dropped[2]; /* lost: what is sent; dropped: also what is under way */
    char *in;                                /* arrived at the client, not read yet */
    size_t in_size, in_room;
    struct file *file;  /* the client's descriptor */
    uint64_t read_step; /* when the server ran the last read of a session on it, in steps */
} wire;

void wire_begin(void);
void wire_end(void);

/* ------------------------------------------------------------------------------------------- the server's -- */
void wire_send(wire *c, const char *bytes, size_t size); /* to the client */
void wire_close(wire *c, bool reset);                    /* by the server; reset: what is under way is lost */
wire *wire_of(int index);                                /* NULL: not open */

/* ----------------------------------------------------------------------------------------------- the faults -- */
void wire_cut(wire *c);                                               /* both sides learn of it, each in its time */
void wire_hole(wire *c, unsigned directions, int64_t us, bool loses); /* 1 to the server, 2 to the client, 3 both */
/* At once; what is under way is lost. The client learns of it a moment later. */
void wire_break(wire *c);
void wire_slow(wire *c, int64_t extra_us);
uint64_t wire_bit(int server);                            /* or sentinel */
void wire_wall(machine *m, uint64_t servers, int64_t us); /* between it and those everything is lost for so long */
void wire_hold_all(machine *m, int64_t us);               /* nothing comes or goes for so long, and nothing is lost */

/* ----------------------------------------------------------------------------------------- for the clients -- */
uint64_t wire_stirred(int fd); /* moves when something happens to a descriptor that this epoll watches */

#endif
