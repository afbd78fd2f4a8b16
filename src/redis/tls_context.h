/* What the connections of a handle have in common (tls.h), for tls.c alone: the files' contents as OpenSSL has them, and the
 * sessions kept. Called between lk_tls_enter and lk_tls_leave unless it says otherwise. */
#ifndef LK_REDIS_TLS_CONTEXT_H
#define LK_REDIS_TLS_CONTEXT_H

#include "redis/tls.h"

#include <openssl/ssl.h>
#include <stdatomic.h>

enum { LK_TLS_NAME_SIZE = 256 };

/* What a certificate is asked for, of a host as people write it: without the dot at its end, the brackets and the zone of an
 * IPv6 address. False: it is no name. */
bool lk_tls_name(const char *host, char name[LK_TLS_NAME_SIZE], bool *address);

/* Reads the files anew where one of them has changed. What is wrong with them is told to the log, and the old ones stay.
 * Outside lk_tls_enter, which may wait for no disk. */
void lk_tls_context_look(lk_tls_context *context);

SSL_CTX *lk_tls_context_now(lk_tls_context *context); /* to be freed */
BIO_METHOD *lk_tls_context_wire(const lk_tls_context *context);
const char *lk_tls_context_server_name(const lk_tls_context *context); /* "": the host's */
void lk_tls_context_count_resumed(lk_tls_context *context);

/* Sessions, by the name that was verified. The first takes over the reference, if it says so. */
bool lk_tls_context_keep(lk_tls_context *context, const SSL *ssl, SSL_SESSION *session, const char *name);
SSL_SESSION *lk_tls_context_session(lk_tls_context *context, const char *name); /* to be freed; NULL: none */
void lk_tls_context_forget(lk_tls_context *context, const SSL_SESSION *session);

/* tls.c's part in a context. NULL, false: see OpenSSL's errors. */
BIO_METHOD *lk_tls_make_wire(void);
void lk_tls_equip(SSL_CTX *ssl); /* with its callbacks */

#endif
