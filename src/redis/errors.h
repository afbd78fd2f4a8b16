/* What an error reply of Redis means: which status it is, and what to do about it. */
#ifndef LK_REDIS_ERRORS_H
#define LK_REDIS_ERRORS_H

#include "redis/resp.h"

#include "latchkey.h"

#include <stdbool.h>

/* UNAVAILABLE, CORRUPT or CONFIG; `text` says what to do about it. */
int lk_error_status(const lk_reply *reply, char *text, size_t text_size);

/* The same for an error that is known. For another one, 0 and no text: so it never shows what the server wrote. */
int lk_known_error(const lk_reply *reply, char *text, size_t text_size);

/* Does a node of a cluster say that another node has this, or may have it soon: MOVED, ASK, TRYAGAIN, CLUSTERDOWN, or
 * READONLY and MASTERDOWN of a node that is a replica now? It did nothing then, and the cluster is asked again. */
bool lk_error_is_elsewhere(const lk_reply *reply);

/* ASK alone: the node has the slot, which moves, and not this key: it has moved already, or there is none. */
bool lk_error_is_ask(const lk_reply *reply);

#endif
