/* Every use of OpenSSL is between lk_tls_enter and lk_tls_leave. A fork waits until no thread is in between (fork.h).
 * The thread's queue of OpenSSL errors belongs to the application: it is empty in between, and afterwards what it was
 * before. */
#ifndef LK_REDIS_TLS_GUARD_H
#define LK_REDIS_TLS_GUARD_H

typedef struct lk_tls_errors lk_tls_errors;

lk_tls_errors *lk_tls_enter(void); /* the application's errors; NULL: there are none */
void lk_tls_leave(lk_tls_errors *theirs);

/* Call this last in a thread of the library that may have used OpenSSL. OpenSSL takes a lock when such a thread ends.
 * Here it takes it while no fork can come in between: otherwise a child could get a copy of that lock taken, and hang
 * in its first use of OpenSSL. */
void lk_tls_end_thread(void);

#endif
