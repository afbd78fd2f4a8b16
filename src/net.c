/* See net.h. */
#include "net.h"

#include "clock.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

static bool add_unix(const lk_config *config, lk_addresses *out)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    _Static_assert(sizeof un.sun_path >= sizeof config->path, "a path that was parsed fits");
    strcpy(un.sun_path, config->path);
    memcpy(&out->address[0].at, &un, sizeof un);
    out->address[0].size = sizeof un;
    out->count = 1;
    return true;
}

bool lk_net_resolve(const lk_config *config, lk_addresses *out, char *error, size_t error_size)
{
    memset(out, 0, sizeof *out);
    if (config->path[0]) return add_unix(config, out);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *list = NULL;
    int failed = getaddrinfo(config->host, config->port, &hints, &list);
    if (failed) {
        snprintf(error, error_size, "host '%.100s' is not known: %s", config->host, gai_strerror(failed));
        return false;
    }
    for (struct addrinfo *a = list; a && out->count < LK_NET_ADDRESSES_MAX; a = a->ai_next) {
        memcpy(&out->address[out->count].at, a->ai_addr, a->ai_addrlen);
        out->address[out->count++].size = a->ai_addrlen;
    }
    freeaddrinfo(list);
    return true;
}

void lk_net_close(lk_socket *s)
{
    if (s->fd >= 0) close(s->fd);
    *s = LK_NO_SOCKET;
}

static bool wait_for(int fd, short events, int64_t deadline_ms, int cancel_fd)
{
    struct pollfd p[2] = {{.fd = fd, .events = events}, {.fd = cancel_fd, .events = POLLIN}};
    for (;;) {
        int64_t left = deadline_ms - lk_now_ms();
        int ready = poll(p, 2, left > 0 ? (int)left : 0);
        if (ready > 0) return !p[1].revents;
        if (ready == 0 && left <= 0) return false;
        if (ready < 0 && errno != EINTR && errno != EAGAIN) return false;
    }
}

bool lk_net_wait(const lk_socket *s, short events, int64_t deadline_ms, int cancel_fd)
{
    return wait_for(s->fd, events, deadline_ms, cancel_fd);
}

static int new_socket(sa_family_t family)
{
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    if (fd >= 0 && family != AF_UNIX) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static int connect_one(const struct sockaddr *at, socklen_t size, int64_t deadline_ms, int cancel_fd)
{
    int fd = new_socket(at->sa_family), failed = 0;
    socklen_t failed_size = sizeof failed;
    if (fd < 0) return -1;
    if (connect(fd, at, size) == 0) return fd;
    failed = errno;
    if (failed == EINPROGRESS || failed == EINTR) {
        failed = ETIMEDOUT;
        if (wait_for(fd, POLLOUT, deadline_ms, cancel_fd)) getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &failed_size);
        if (!failed) return fd;
    }
    /* A unix socket whose backlog is full says EAGAIN: an outage like any other. */
    close(fd);
    errno = failed;
    return -1;
}

static void cannot_connect(char *error, size_t error_size, int failed)
{
    snprintf(error, error_size, "cannot connect to Redis: %s", strerror(failed));
}

bool lk_net_connect(const lk_addresses *addresses, int64_t deadline_ms, int cancel_fd, lk_socket *out, char *error,
                    size_t error_size)
{
    *out = LK_NO_SOCKET;
    if (!addresses->count) {
        snprintf(error, error_size, "not connected to Redis yet");
        return false;
    }
    int failed = 0;
    for (unsigned i = 0; i < addresses->count; i++) {
        const void *at = &addresses->address[i].at;
        int64_t now_ms = lk_now_ms(), share = (deadline_ms - now_ms) / (addresses->count - i);
        out->fd = connect_one(at, addresses->address[i].size, now_ms + share, cancel_fd);
        if (out->fd >= 0) return true;
        failed = errno;
    }
    cannot_connect(error, error_size, failed);
    return false;
}

bool lk_net_begin(const lk_addresses *addresses, unsigned which, lk_socket *out, char *error, size_t error_size)
{
    const struct sockaddr *at = (const void *)&addresses->address[which].at;
    *out = LK_NO_SOCKET;
    out->fd = new_socket(at->sa_family);
    if (out->fd >= 0 && (connect(out->fd, at, addresses->address[which].size) == 0 || errno == EINPROGRESS))
        return true;
    cannot_connect(error, error_size, errno);
    lk_net_close(out);
    return false;
}

enum lk_net_io lk_net_begun(lk_socket *s, char *error, size_t error_size)
{
    int failed = 0;
    socklen_t failed_size = sizeof failed;
    if (!wait_for(s->fd, POLLOUT, 0, -1)) return LK_NET_LATER;
    getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &failed, &failed_size);
    if (!failed) return LK_NET_DONE;
    cannot_connect(error, error_size, failed);
    return LK_NET_LOST;
}

enum lk_net_io lk_net_flush(lk_socket *s, lk_conn *conn, char *error, size_t error_size)
{
    const char *bytes;
    size_t size;
    while ((size = lk_conn_unsent(conn, &bytes))) {
        ssize_t wrote = send(s->fd, bytes, size, MSG_NOSIGNAL);
        if (wrote > 0) lk_conn_wrote(conn, (size_t)wrote);
        else if (wrote < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return LK_NET_LATER;
        else if (errno != EINTR) {
            snprintf(error, error_size, "the connection to Redis broke: %s", strerror(errno));
            return LK_NET_LOST;
        }
    }
    return LK_NET_DONE;
}

enum lk_net_io lk_net_fill(lk_socket *s, lk_conn *conn, char *error, size_t error_size)
{
    char bytes[8192]; /* of the caller's stack, which may be small */
    ssize_t got;
    do got = recv(s->fd, bytes, sizeof bytes, 0);
    while (got < 0 && errno == EINTR);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return LK_NET_LATER;
    if (got <= 0) {
        snprintf(error, error_size, "the connection to Redis broke: %s",
                 got ? strerror(errno) : "closed by the server");
        return LK_NET_LOST;
    }
    if (lk_conn_feed(conn, bytes, (size_t)got)) return LK_NET_DONE;
    snprintf(error, error_size, "the server is not usable: %s", lk_resp_error(conn->resp));
    return LK_NET_LOST;
}

bool lk_net_idle_good(lk_socket *s)
{
    char byte;
    ssize_t got = recv(s->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}
