/* See file.h. It does not use stdio, whose buffer would keep a copy of a secret. */
#include "base/file.h"

#include "base/errno_text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int64_t nanoseconds(const struct timespec *time) { return time->tv_sec * INT64_C(1000000000) + time->tv_nsec; }

lk_file_id lk_file_identify(const char *path)
{
    struct stat s;
    lk_file_id id;
    memset(&id, 0, sizeof id); /* the padding too: they are compared with memcmp */
    if (stat(path, &s) || !S_ISREG(s.st_mode)) return id;
    id.device = s.st_dev;
    id.inode = s.st_ino;
    id.size = s.st_size;
    id.modified_ns = nanoseconds(&s.st_mtim);
    id.changed_ns = nanoseconds(&s.st_ctim);
    return id;
}

ssize_t lk_read_all(int fd, char *bytes, size_t size)
{
    size_t used = 0;
    while (used < size) {
        ssize_t got = read(fd, bytes + used, size - used);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return -1;
        if (got == 0) break;
        used += (size_t)got;
    }
    return (ssize_t)used;
}

ssize_t lk_file_read(const char *option, const char *path, bool again, char *bytes, size_t size, char *error,
                     size_t error_size)
{
    struct stat s;
    int fd;
    do fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | (again ? O_NONBLOCK : 0));
    while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        snprintf(error, error_size, "%s: cannot open '%.100s': %s", option, path, lk_errno_text(errno));
        return -1;
    }
    ssize_t got = -1;
    if (again && (fstat(fd, &s) || !S_ISREG(s.st_mode)))
        snprintf(error, error_size, "%s: '%.100s' is not a regular file any more", option, path);
    else if ((got = lk_read_all(fd, bytes, size)) < 0)
        snprintf(error, error_size, "%s: cannot read '%.100s': %s", option, path, lk_errno_text(errno));
    else if ((size_t)got == size) {
        snprintf(error, error_size, "%s: '%.100s' is larger than %zu bytes", option, path, size - 1);
        got = -1;
    }
    close(fd);
    return got;
}
