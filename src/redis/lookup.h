/* A host's addresses, within a time limit. The system's resolver may block for half a minute and cannot be interrupted.
 * So it runs in a thread of its own. The caller may give up, and the thread then ends by itself. Numeric addresses and
 * unix sockets need no thread.
 *
 * There is one lookup at a time: asking again while one is under way waits for that one. */
#ifndef LK_REDIS_LOOKUP_H
#define LK_REDIS_LOOKUP_H

#include "redis/net.h"

typedef struct lk_lookup lk_lookup; /* NULL: no lookup is under way */

/* DONE, and the addresses. LATER: deadline_ms passed, or cancel_fd became readable; the lookup goes on. LOST: the host
 * was not found, or there was no thread for it; `error` says why. `host`: another host than the configuration's, and
 * the same one until the lookup has ended or was left; or NULL. */
enum lk_net_io lk_lookup_ask(lk_lookup **lookup, const lk_config *config, const lk_host *host, int64_t deadline_ms,
                             int cancel_fd, lk_addresses *out, char *error, size_t error_size);
/* The same for a caller that asks once: what is not known by deadline_ms is not waited for. */
bool lk_lookup_now(const lk_config *config, const lk_host *host, int64_t deadline_ms, lk_addresses *out, char *error,
                   size_t error_size);
void lk_lookup_leave(lk_lookup **lookup);

#endif
