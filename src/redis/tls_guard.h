/* Each use of OpenSSL stands between lk_tls_enter and lk_tls_leave. A fork does not come in between (fork.h). And the thread's
 * queue of OpenSSL's errors, which is the application's, is empty in between and afterwards what it was before. */
#ifndef LK_REDIS_TLS_GUARD_H
#define LK_REDIS_TLS_GUARD_H

typedef struct lk_tls_errors lk_tls_errors;

lk_tls_errors *lk_tls_enter(void); /* the application's errors; NULL: none */
void lk_tls_leave(lk_tls_errors *theirs);

/* The last thing that a thread of the library does, where it may have used OpenSSL. OpenSSL takes a lock when such a thread ends.
 * It does so here, where no fork comes in between: a child that got the lock taken would hang in its first use of OpenSSL. */
void lk_tls_end_thread(void);

#endif
