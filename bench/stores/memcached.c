/* SPDX-License-Identifier: MIT
 *
 * Memcached over a unix socket, by libmemcached: a connection for each caller. See stores.h.
 */
#include "stores.h"

#include <libmemcached/memcached.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void *open_way(void)
{
    memcached_st *m = memcached_create(NULL);
    if (!m || memcached_server_add_unix_socket(m, place.memcached) != MEMCACHED_SUCCESS)
        bench_die("no connection to memcached");
    return m;
}

static void close_way(void *way) { memcached_free(way); }

static void login(void *way, uint64_t user, char token[TOKEN_MAX])
{
    unsigned char record[RECORD_SIZE];
    token_make(token);
    record_write(record, token, user);
    if (memcached_set(way, token, strlen(token), (const char *)record, sizeof record, IDLE_S, 0) != MEMCACHED_SUCCESS)
        bench_die("memcached: %s", memcached_last_error_message(way));
}

static bool validate(void *way, const char *token, uint64_t user)
{
    size_t size;
    uint32_t flags;
    memcached_return_t status;
    char *record = memcached_get(way, token, strlen(token), &size, &flags, &status);
    if (!record && status == MEMCACHED_NOTFOUND) return false;
    if (!record || !record_names(record, size, token, user))
        bench_die("memcached: %s", memcached_last_error_message(way));
    free(record);
    status = memcached_touch(way, token, strlen(token), IDLE_S);
    if (status != MEMCACHED_SUCCESS && status != MEMCACHED_NOTFOUND) bench_die("memcached does not touch");
    return true;
}

static void end_session(void *way, const char *token) { memcached_delete(way, token, strlen(token), 0); }

static double number_in(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    return at ? atof(at + strlen(name)) : 0;
}

static spent spent_by(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char text[8192];
    size_t size = 0;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", place.memcached);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) || write(fd, "stats\r\n", 7) != 7)
        bench_die("memcached does not take a connection");
    for (ssize_t got = 1; got > 0 && size + 1 < sizeof text; size += (size_t)got) {
        text[size] = 0;
        if (strstr(text, "END\r\n")) break;
        got = read(fd, text + size, sizeof text - size - 1);
        if (got < 0) bench_die("memcached does not answer");
    }
    text[size] = 0;
    close(fd);
    return (spent){process_cpu_s((int)place.memcached_pid),
                   number_in(text, "STAT bytes_read ") + number_in(text, "STAT bytes_written ")};
}

const store store_memcached = {.key = "memcached",
                               .name = "Memcached, get and touch",
                               .open = open_way,
                               .other = open_way,
                               .close = close_way,
                               .login = login,
                               .validate = validate,
                               .revoke = end_session,
                               .spent = spent_by};
