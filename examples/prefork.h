/* SPDX-License-Identifier: MIT
 *
 * Several processes that serve one port. The parent opens no handle: a handle does not survive a fork (guarantee J), and
 * each worker opens its own.
 */
#ifndef EXAMPLES_PREFORK_H
#define EXAMPLES_PREFORK_H

enum { PREFORK_MAX = 64 };

/* Makes a listening socket for each worker, all on one port of 127.0.0.1, not blocking; port 0 becomes one that is free.
 * The kernel deals connections out. Says why and exits where it cannot. */
void prefork_listen(const char *program, unsigned *port, unsigned workers, int *listening);

/* Forks: each worker runs `serve` with its socket of `listening` and exits with what that returns. `serve` writes a byte
 * to `ready` once it serves. When all do, `announce` is called. From then on the parent waits for SIGTERM or SIGINT, or for
 * a worker to end, and ends them all; it restarts none: that is for the program that started it.
 * SIGTERM, SIGINT and SIGCHLD must be blocked. Returns the exit status: 0 where it was a signal, and all ended with 0. */
int prefork(const char *program, unsigned workers, const int *listening,
            int (*serve)(void *context, int listening, int ready), void (*announce)(const void *context),
            void *context);

#endif
