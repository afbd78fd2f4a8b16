/* TLS, of rediss://. A context is what a handle's connections have in common: whom to trust, who we are, and the newest
 * sessions, with which later handshakes are short. A lk_tls is that of one connection, and belongs to the socket's owner.
 *
 * Nothing here blocks: reading and writing drive the handshake, and what cannot go on says 0, "later". No signal is raised
 * and nothing is left in the thread's queue of OpenSSL's errors, which the application may use itself. */
#ifndef LK_REDIS_TLS_H
#define LK_REDIS_TLS_H

#include "base/config.h"

#include <sys/types.h>

typedef struct lk_tls_context lk_tls_context;
typedef struct lk_tls lk_tls;

/* Reads the files that the configuration names, and checks them. OK; CONFIG, and which file is wrong and why; NO_MEMORY. */
int lk_tls_context_open(const lk_config *config, lk_tls_context **out, char *error, size_t error_size);
void lk_tls_context_close(lk_tls_context *context); /* after all of its connections; NULL is allowed */

/* Handshakes so far that went on with an earlier session. */
uint64_t lk_tls_resumed(const lk_tls_context *context);

/* Of a socket, connected or about to be, which stays the caller's. Verified is the option server_name, or else `host`. The
 * handshake begins. NULL: no memory. */
lk_tls *lk_tls_open(lk_tls_context *context, const char *host, int fd);
void lk_tls_close(lk_tls *tls); /* says so to the peer, if that can be done at once. NULL is allowed */

/* How many bytes; 0: later; -1: it is over, and why. */
ssize_t lk_tls_write(lk_tls *tls, const char *bytes, size_t size); /* after "later": the same bytes, or more of them */
ssize_t lk_tls_read(lk_tls *tls, char *bytes, size_t size);
bool lk_tls_buffered(const lk_tls *tls); /* bytes that were read from the socket already, whatever poll says */
bool lk_tls_quiet(lk_tls *tls);          /* open, and there is nothing to be read but what TLS says to itself */

/* Does it wait for the socket to take something? If not, it waits for something to read. */
bool lk_tls_waits_to_write(const lk_tls *tls);

/* After -1. Refused: as both sides are set up it will never work, so waiting does not mend it. */
const char *lk_tls_error(const lk_tls *tls);
bool lk_tls_refused(const lk_tls *tls);

#endif
