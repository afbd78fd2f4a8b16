/* Files that the configuration names. Their paths are no secrets; their contents are. */
#ifndef LK_BASE_FILE_H
#define LK_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

/* Tells whether a regular file was replaced or written to: then its identity differs. It is zeros for anything else,
 * also for a file that is not there. */
typedef struct lk_file_id {
    uint64_t device, inode;
    int64_t size, modified_ns, changed_ns;
} lk_file_id;

lk_file_id lk_file_identify(const char *path);

/* Reads the whole file. -1: it cannot be read, or it holds `size` bytes or more; `error` names `option` and the path. It
 * does not wait, but for a pipe that has a writer, or a terminal: five seconds at most.
 * `again`: the file was read before. Then only a regular file is accepted (a pipe can be read once only). */
ssize_t lk_file_read(const char *option, const char *path, bool again, char *bytes, size_t size, char *error,
                     size_t error_size);

/* Where the text begins: behind a byte order mark, which editors of other systems put before it. */
static inline char *lk_file_text(char *text) { return strncmp(text, "\xef\xbb\xbf", 3) ? text : text + 3; }

#endif
