/* Files that the configuration names. Their paths are no secrets, what stands in them is. */
#ifndef LK_BASE_FILE_H
#define LK_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Of a regular file: another one has another identity, and so has the same one once it was written to. Of anything else, also
 * of nothing, it is zero. */
typedef struct lk_file_id {
    uint64_t device, inode;
    int64_t size, modified_ns, changed_ns;
} lk_file_id;

lk_file_id lk_file_identify(const char *path);

/* Reads it whole. -1: it cannot be read, or holds `size` bytes or more, and `error` says so of `option` and the path.
 * `again`: it was read before. Then only a regular file will do, so that nothing is waited for (a pipe is read once). */
ssize_t lk_file_read(const char *option, const char *path, bool again, char *bytes, size_t size, char *error,
                     size_t error_size);

#endif
