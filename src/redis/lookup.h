/* A host's addresses, without waiting for longer than one wants: the system's resolver may block for half a minute, and cannot be
 * interrupted. So it runs in a thread of its own; who asked may give up, and that thread then ends by itself. Numbers and unix
 * sockets need no thread.
 *
 * One lookup at a time: while one is under way, asking again waits for that one. */
#ifndef LK_REDIS_LOOKUP_H
#define LK_REDIS_LOOKUP_H

#include "redis/net.h"

typedef struct lk_lookup lk_lookup; /* NULL: none is under way */

/* DONE, and the addresses; LATER: deadline_ms passed, or cancel_fd became readable, and it goes on; LOST: the host is not to be
 * found, or the thread could not be had, and why. */
enum lk_net_io lk_lookup_ask(lk_lookup **lookup, const lk_config *config, int64_t deadline_ms, int cancel_fd,
                             lk_addresses *out, char *error, size_t error_size);
void lk_lookup_leave(lk_lookup **lookup);

#endif
