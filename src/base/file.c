/* See file.h. It does not use stdio, whose buffer would keep a copy of a secret. */
#include "base/file.h"

#include "base/clock.h"
#include "base/errno_text.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIPE_S = 5 }; /* for so long a pipe's writer is waited for */

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

/* Waits until there is something to read. False: there is nothing in time, and errno is ETIMEDOUT. */
static bool await(int fd, int64_t until_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int64_t left_ms = until_ms - lk_now_ms();
    int ready = left_ms > 0 ? poll(&p, 1, (int)left_ms) : 0;
    if (!ready) errno = ETIMEDOUT;
    return ready > 0 || (ready < 0 && errno == EINTR);
}

/* Reads until the end of the file, or until `size` bytes are there. It was opened with O_NONBLOCK. -1: errno says why. */
static ssize_t read_in_time(int fd, char *bytes, size_t size)
{
    const int64_t until_ms = lk_now_ms() + PIPE_S * 1000;
    size_t used = 0;
    while (used < size) {
        ssize_t got = read(fd, bytes + used, size - used);
        if (got == 0) break;
        if (got > 0) used += (size_t)got;
        else if (errno != EINTR && (errno != EAGAIN || !await(fd, until_ms))) return -1;
    }
    return (ssize_t)used;
}

ssize_t lk_file_read(const char *option, const char *path, bool again, char *bytes, size_t size, char *error,
                     size_t error_size)
{
    struct stat s;
    int fd;
    do fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        snprintf(error, error_size, "%s: cannot open '%.100s': %s", option, path, lk_errno_text(errno));
        return -1;
    }
    bool known = !fstat(fd, &s), pipe = known && S_ISFIFO(s.st_mode);
    const char *fault = again && !(known && S_ISREG(s.st_mode)) ? "it is not a regular file any more" : NULL;
    ssize_t got = fault ? -1 : read_in_time(fd, bytes, size);
    if (!got && pipe) fault = "it is a pipe to which nothing is written: name a regular file";
    else if (!fault && got < 0 && errno == ETIMEDOUT) fault = "it was not written to its end within 5 s";
    else if (!fault && got < 0) fault = lk_errno_text(errno);
    if (fault) snprintf(error, error_size, "%s: cannot read '%.100s': %s", option, path, fault);
    else if ((size_t)got == size) {
        snprintf(error, error_size, "%s: '%.100s' is larger than %zu bytes", option, path, size - 1);
        got = -1;
    }
    close(fd);
    return fault ? -1 : got;
}
