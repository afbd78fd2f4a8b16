/* TLS, for rediss://. A context holds what the connections of a handle have in common: the trusted certificates, our
 * own certificate, and the newest sessions, which make later handshakes short. An lk_tls is one connection's, and
 * belongs to the owner of its socket.
 *
 * Nothing here blocks. Reading and writing also drive the handshake; what cannot go on yet returns 0, "later". No
 * signal is raised, and nothing is left in the thread's queue of OpenSSL errors, which the application may use itself. */
#ifndef LK_REDIS_TLS_H
#define LK_REDIS_TLS_H

#include "base/config.h"

#include <sys/types.h>

typedef struct lk_tls_context lk_tls_context;
typedef struct lk_tls lk_tls;

/* Reads and checks the files that the configuration names. OK; CONFIG, and `error` says which file is wrong and why;
 * NO_MEMORY. */
int lk_tls_context_open(const lk_config *config, lk_tls_context **out, char *error, size_t error_size);
void lk_tls_context_close(lk_tls_context *context); /* call it after all its connections are closed; NULL is allowed */

/* How many handshakes so far continued an earlier session. */
uint64_t lk_tls_resumed(const lk_tls_context *context);

/* TLS on a socket that is connected or about to be. The socket stays the caller's. The certificate is verified for the
 * option server_name, or else for `host`. The handshake begins. NULL: no memory. */
lk_tls *lk_tls_open(lk_tls_context *context, const char *host, int fd);
void lk_tls_close(lk_tls *tls); /* tells the peer, if that can be done at once. NULL is allowed */

/* How many bytes; 0: later; -1: the connection is over, and lk_tls_error says why. */
/* after "later": call it with the same bytes, or more of them */
ssize_t lk_tls_write(lk_tls *tls, const char *bytes, size_t size);
ssize_t lk_tls_read(lk_tls *tls, char *bytes, size_t size);
/* has it bytes that were read from the socket already? poll does not see those */
bool lk_tls_buffered(const lk_tls *tls);
bool lk_tls_quiet(lk_tls *tls); /* is it open, with nothing to read but messages of TLS itself? */

/* Does it wait for the socket to take something? If not, it waits for something to read. */
bool lk_tls_waits_to_write(const lk_tls *tls);

/* After -1. Refused: it can never work as both sides are set up, so waiting does not help. */
const char *lk_tls_error(const lk_tls *tls);
bool lk_tls_refused(const lk_tls *tls);

#endif
