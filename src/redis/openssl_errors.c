/* See openssl_errors.h. */
#include "redis/openssl_errors.h"

#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST = 16 }; /* as many as OpenSSL keeps (ERR_NUM_ERRORS) */

typedef struct one {
    unsigned long code;
    int line;
    char file[96], function[64], data[256];
} one;

struct lk_openssl_errors {
    size_t count;
    one error[MOST];
};

static void copy_text(char *to, size_t size, const char *from) { snprintf(to, size, "%s", from ? from : ""); }

lk_openssl_errors *lk_openssl_errors_set_aside(void)
{
    if (!ERR_peek_error()) return NULL;
    lk_openssl_errors *errors = calloc(1, sizeof *errors);
    while (errors && errors->count < MOST) {
        const char *file, *function, *data;
        one *e = &errors->error[errors->count];
        int flags;
        e->code = ERR_get_error_all(&file, &e->line, &function, &data, &flags);
        if (!e->code) break;
        copy_text(e->file, sizeof e->file, file);
        copy_text(e->function, sizeof e->function, function);
        copy_text(e->data, sizeof e->data, flags & ERR_TXT_STRING ? data : NULL);
        errors->count++;
    }
    ERR_clear_error();
    return errors;
}

void lk_openssl_errors_put_back(lk_openssl_errors *errors)
{
    ERR_clear_error();
    if (!errors) return;
    for (size_t i = 0; i < errors->count; i++) {
        const one *e = &errors->error[i];
        ERR_new();
        ERR_set_debug(e->file, e->line, e->function);
        if (e->data[0]) ERR_set_error(ERR_GET_LIB(e->code), ERR_GET_REASON(e->code), "%s", e->data);
        else ERR_set_error(ERR_GET_LIB(e->code), ERR_GET_REASON(e->code), NULL);
    }
    free(errors);
}
