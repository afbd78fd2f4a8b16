/* The files of TLS: the trusted certificates, our own certificate, and its key. Each block in a file is used, or the
 * file is refused with the line and the file's name. Only text between the blocks is skipped. */
#ifndef LK_REDIS_TLS_FILES_H
#define LK_REDIS_TLS_FILES_H

#include "base/config.h"
#include "base/file.h"

#include <openssl/ssl.h>

enum lk_tls_file { LK_TLS_CA, LK_TLS_CERTIFICATE, LK_TLS_KEY, LK_TLS_FILES };

/* The contents of the files, all read at one time. */
typedef struct lk_tls_files {
    const char *path[LK_TLS_FILES]; /* belongs to the caller; "": not given */
    char *bytes[LK_TLS_FILES];      /* NULL: not given */
    size_t size[LK_TLS_FILES];
} lk_tls_files;

/* OK; CONFIG, and `error` says which file cannot be read and why; NO_MEMORY. `again`: see lk_file_read. Call
 * lk_tls_files_close in any case. */
int lk_tls_files_read(lk_tls_files *files, bool again, char *error, size_t error_size);
void lk_tls_files_close(lk_tls_files *files); /* wipes */

/* Loads them into an empty context; without a file of CAs, the system's. OK; CONFIG, and `error` says why; NO_MEMORY.
 * Warnings about what was loaded (expired certificates) are added to `notices`. It opens no file but the system's. */
int lk_tls_files_load(const lk_tls_files *files, SSL_CTX *ssl, lk_notices *notices, char *error, size_t error_size);

/* Reports OpenSSL's newest error: NO_MEMORY if it is that, else CONFIG with `what` and OpenSSL's reason. */
int lk_tls_says(const char *what, char *error, size_t error_size);

#endif
