/* See tls_guard.h. OpenSSL's handshake clears the queue, and OpenSSL judges a connection by the oldest error in it. So
 * the application's errors are taken out and put back. Most often there are none. */
#include "redis/tls_guard.h"

#include "base/fork.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>

enum { ERRORS_MAX = 16 }; /* as many as OpenSSL keeps (ERR_NUM_ERRORS) */

typedef struct one_error {
    unsigned long code;
    int line;
    char file[120], function[80], data[256];
} one_error;

struct lk_tls_errors {
    unsigned count;
    one_error error[ERRORS_MAX];
};

static lk_tls_errors *take_errors(void)
{
    if (!ERR_peek_error()) return NULL;
    lk_tls_errors *theirs = calloc(1, sizeof *theirs);
    while (theirs && theirs->count < ERRORS_MAX) {
        const char *file, *function, *data;
        int flags;
        one_error *e = &theirs->error[theirs->count];
        e->code = ERR_get_error_all(&file, &e->line, &function, &data, &flags);
        if (!e->code) break;
        snprintf(e->file, sizeof e->file, "%s", file ? file : "");
        snprintf(e->function, sizeof e->function, "%s", function ? function : "");
        snprintf(e->data, sizeof e->data, "%s", flags & ERR_TXT_STRING ? data : "");
        theirs->count++;
    }
    ERR_clear_error();
    return theirs;
}

lk_tls_errors *lk_tls_enter(void)
{
    lk_fork_enter();
    /* Without OpenSSL's clean-up at exit: an application may exit without closing its handles, while threads are using
     * OpenSSL. OpenSSL's first use decides, and looking at its errors is one. */
    OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL);
    return take_errors();
}

void lk_tls_leave(lk_tls_errors *theirs)
{
    ERR_clear_error();
    for (unsigned i = 0; theirs && i < theirs->count; i++) {
        const one_error *e = &theirs->error[i];
        ERR_new();
        ERR_set_debug(e->file, e->line, e->function);
        if (e->data[0]) ERR_set_error(ERR_GET_LIB(e->code), ERR_GET_REASON(e->code), "%s", e->data);
        else ERR_set_error(ERR_GET_LIB(e->code), ERR_GET_REASON(e->code), NULL);
    }
    free(theirs);
    lk_fork_leave();
}

void lk_tls_end_thread(void)
{
    lk_fork_enter();
    OPENSSL_thread_stop();
    lk_fork_leave();
}
