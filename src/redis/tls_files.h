/* The files of TLS: whom to trust, and who we are. All that stands in one of them counts, or it is refused by its line and its
 * name: nothing is passed over in silence but text between the blocks. */
#ifndef LK_REDIS_TLS_FILES_H
#define LK_REDIS_TLS_FILES_H

#include "base/config.h"
#include "base/file.h"

#include <openssl/ssl.h>

enum lk_tls_file { LK_TLS_CA, LK_TLS_CERTIFICATE, LK_TLS_KEY, LK_TLS_FILES };

/* What stands in them, read at one time. */
typedef struct lk_tls_files {
    const char *path[LK_TLS_FILES]; /* the owner's; "": not given */
    char *bytes[LK_TLS_FILES];      /* NULL: not given */
    size_t size[LK_TLS_FILES];
} lk_tls_files;

/* OK; CONFIG, and which file cannot be read and why; NO_MEMORY. `again`: see lk_file_read. Close it in any case. */
int lk_tls_files_read(lk_tls_files *files, bool again, char *error, size_t error_size);
void lk_tls_files_close(lk_tls_files *files); /* wipes */

/* Into an empty context; without a file of CAs, the system's. OK; CONFIG and why; NO_MEMORY. What should be said of what was taken
 * is added to `notices` (expired certificates). No file is touched but the system's. */
int lk_tls_files_load(const lk_tls_files *files, SSL_CTX *ssl, lk_notices *notices, char *error, size_t error_size);

/* What OpenSSL has to say: NO_MEMORY where that is what it is, else CONFIG with `what` and OpenSSL's own reason. */
int lk_tls_says(const char *what, char *error, size_t error_size);

#endif
