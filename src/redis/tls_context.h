/* What the connections of a handle have in common (tls.h), for tls.c only: the files' contents as OpenSSL objects, and
 * the sessions that are kept. Call these between lk_tls_enter and lk_tls_leave unless it says otherwise. */
#ifndef LK_REDIS_TLS_CONTEXT_H
#define LK_REDIS_TLS_CONTEXT_H

#include "redis/tls.h"

#include <openssl/ssl.h>
#include <stdatomic.h>

enum { LK_TLS_NAME_SIZE = 256 };

/* The name that a certificate must hold, for a host as people write it: without a dot at its end, and without the
 * brackets and the zone of an IPv6 address. False: it is not a name. */
bool lk_tls_name(const char *host, char name[LK_TLS_NAME_SIZE], bool *address);

/* Reads the files again if one of them has changed. If they are wrong, that is logged and the old ones stay in use.
 * Call it outside lk_tls_enter, where nothing may wait for a disk. */
void lk_tls_context_look(lk_tls_context *context);

SSL_CTX *lk_tls_context_now(lk_tls_context *context); /* the caller frees it */
BIO_METHOD *lk_tls_context_wire(const lk_tls_context *context);
const char *lk_tls_context_server_name(const lk_tls_context *context); /* "": the host's name is used */
void lk_tls_context_count_resumed(lk_tls_context *context);

/* Sessions, by the name that was verified. True: lk_tls_context_keep has taken over the reference. */
bool lk_tls_context_keep(lk_tls_context *context, const SSL *ssl, SSL_SESSION *session, const char *name);
/* the caller frees it; NULL: there is none */
SSL_SESSION *lk_tls_context_session(lk_tls_context *context, const char *name);
void lk_tls_context_forget(lk_tls_context *context, const SSL_SESSION *session);

/* tls.c's part of a context. NULL or false: OpenSSL's errors say why. */
BIO_METHOD *lk_tls_make_wire(void);
void lk_tls_equip(SSL_CTX *ssl); /* sets its callbacks */

#endif
