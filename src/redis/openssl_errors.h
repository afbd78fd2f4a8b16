/* OpenSSL's queue of errors belongs to the thread, and so to the application: what stands in it when we are called stands in it
 * when we return. A mark (ERR_set_mark) is not enough: a handshake empties the whole queue, and SSL_get_error takes what
 * stands in it for the connection's. */
#ifndef LK_REDIS_OPENSSL_ERRORS_H
#define LK_REDIS_OPENSSL_ERRORS_H

typedef struct lk_openssl_errors lk_openssl_errors;

/* Takes them off; NULL, as nearly always: there were none (or no memory for them). The queue is empty then. */
lk_openssl_errors *lk_openssl_errors_set_aside(void);

/* Drops our own, and puts those back. */
void lk_openssl_errors_put_back(lk_openssl_errors *errors);

#endif
