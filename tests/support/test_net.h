/* SPDX-License-Identifier: MIT
 *
 * The few lines of sockets that the fake server, the proxy and redis.c share.
 */
#ifndef LATCHKEY_TESTS_NET_H
#define LATCHKEY_TESTS_NET_H

int net_listen(int *port); /* listens on a free loopback port; fails the test when it cannot */
int net_connect(int port); /* connects to one; -1 when it is refused */
int net_refusing(void);    /* a loopback port on which no process listens, nor will while this one lives */

#endif
