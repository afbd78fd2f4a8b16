/* See net.h. */
#include "redis/net.h"

#include "base/clock.h"
#include "base/errno_text.h"
#include "base/fork.h"

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

/* Our own words: the texts of gai_strerror depend on the locale. */
static const char *lookup_error(int code)
{
    switch (code) {
    case EAI_NONAME: return "no such name";
    case EAI_AGAIN: return "the name server does not answer";
    case EAI_FAIL: return "the name server refuses to answer";
    case EAI_MEMORY: return "no memory";
    default: return "it cannot be looked up";
    }
}

/* A dot at the end says that the name is complete. Names in /etc/hosts have no such dot. */
static int look_up_whole(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **list)
{
    char bare[256];
    size_t length = strlen(host);
    int failed = getaddrinfo(host, port, hints, list);
    if (!failed || length < 2 || length > sizeof bare || host[length - 1] != '.') return failed;
    memcpy(bare, host, length - 1);
    bare[length - 1] = 0;
    return getaddrinfo(bare, port, hints, list);
}

bool lk_net_look_up(const char *host, const char *port, bool number, lk_addresses *out, char *error, size_t error_size)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | (number ? AI_NUMERICHOST : 0)};
    struct addrinfo *list = NULL;
    lk_fork_enter_slow();
    int failed = look_up_whole(host, port, &hints, &list);
    lk_fork_leave_slow();
    if (failed) {
        snprintf(error, error_size, "host '%.100s' is not known: %s", host, lookup_error(failed));
        return false;
    }
    for (struct addrinfo *a = list; a && out->count < LK_NET_ADDRESSES_MAX; a = a->ai_next) {
        memcpy(&out->address[out->count].at, a->ai_addr, a->ai_addrlen);
        out->address[out->count++].size = a->ai_addrlen;
    }
    freeaddrinfo(list);
    return true;
}

void lk_net_name(const lk_config *config, const lk_host *host, lk_addresses *out)
{
    out->tls = config->tls_context;
    memcpy(out->host, host ? host->name : config->host, sizeof out->host);
}

bool lk_net_at_hand(const lk_config *config, const lk_host *host, lk_addresses *out)
{
    char error[160];
    memset(out, 0, sizeof *out);
    lk_net_name(config, host, out);
    if (config->path[0]) return add_unix(config, out);
    return lk_net_look_up(out->host, host ? host->port : config->port, true, out, error, sizeof error);
}

void lk_net_renew(lk_addresses *known, const lk_addresses *found)
{
    lk_addresses was = *known;
    *known = *found;
    if (was.first >= was.count) return;
    for (unsigned i = 0; i < known->count; i++)
        if (known->address[i].size == was.address[was.first].size &&
            memcmp(&known->address[i].at, &was.address[was.first].at, known->address[i].size) == 0)
            known->first = i;
}

void lk_net_close(lk_socket *s)
{
    lk_tls_close(s->tls);
    if (s->fd >= 0) close(s->fd);
    *s = LK_NO_SOCKET;
}

bool lk_net_wait_for(int fd, short events, int64_t deadline_ms, int cancel_fd)
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

short lk_net_events(const lk_socket *s, enum lk_net_io sent)
{
    bool writes = s->tls ? lk_tls_waits_to_write(s->tls) : sent == LK_NET_LATER;
    return writes ? POLLIN | POLLOUT : POLLIN;
}

bool lk_net_wait(const lk_socket *s, short events, int64_t deadline_ms, int cancel_fd)
{
    short wanted = lk_net_events(s, events & POLLOUT ? LK_NET_LATER : LK_NET_DONE);
    return lk_net_wait_for(s->fd, wanted, deadline_ms, cancel_fd);
}

/* A firewall in between may forget a connection that is silent, and says nothing. So the kernel sends something before
 * that. */
static void keep_alive(int fd)
{
    enum { IDLE_S = 15, APART_S = 5, TIMES = 3 };
    int on = 1, idle = IDLE_S, apart = APART_S, times = TIMES;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &apart, sizeof apart);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &times, sizeof times);
}

static int new_socket(sa_family_t family)
{
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    if (fd < 0 || family == AF_UNIX) return fd;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    keep_alive(fd);
    return fd;
}

/* Names the server: the host and port of the URL, or the path. */
static void cannot_connect(const lk_addresses *addresses, char *error, size_t error_size, int failed)
{
    const void *at = &addresses->address[0].at;
    const struct sockaddr_un *un = at;
    const struct sockaddr_in *in = at; /* the port of an IPv6 address is at the same place */
    bool six = strchr(addresses->host, ':') != NULL;
    if (un->sun_family == AF_UNIX)
        snprintf(error, error_size, "cannot connect to Redis at %.107s: %s", un->sun_path, lk_errno_text(failed));
    else
        snprintf(error, error_size, "cannot connect to %s at %s%.90s%s:%u: %s",
                 addresses->sentinel ? "a sentinel" : "Redis", six ? "[" : "", addresses->host, six ? "]" : "",
                 ntohs(in->sin_port), lk_errno_text(failed));
}

bool lk_net_secure(lk_socket *s, const lk_addresses *addresses)
{
    if (addresses->tls) s->tls = lk_tls_open(addresses->tls, addresses->host, s->fd);
    return s->tls || !addresses->tls;
}

/* ------------------------------------------------------------------------------------------------ the race -- */

typedef struct race {
    const lk_addresses *addresses;
    /* by address; -1: not begun, or failed. The last one is cancel_fd */
    struct pollfd poll_fd[LK_NET_ADDRESSES_MAX + 1];
    unsigned begun, open;
    int failed; /* the errno of the last address that failed */
} race;

enum { STAGGER_MS = 20 };

static unsigned nth(const lk_addresses *a, unsigned n) { return (a->first + n) % a->count; }

static void fail_one(race *r, unsigned which, int failed)
{
    if (r->poll_fd[which].fd >= 0) close(r->poll_fd[which].fd);
    r->poll_fd[which].fd = -1;
    r->failed = failed;
    r->open--;
}

/* True: it is connected already, as a unix socket is. */
static bool begin_one(race *r, unsigned which)
{
    const struct sockaddr *at = (const void *)&r->addresses->address[which].at;
    int fd = new_socket(at->sa_family);
    r->poll_fd[which] = (struct pollfd){.fd = fd, .events = POLLOUT};
    r->open++;
    if (fd >= 0 && connect(fd, at, r->addresses->address[which].size) == 0) return true;
    /* A unix socket whose backlog is full says EAGAIN: that counts as any other outage. */
    if (fd < 0 || (errno != EINPROGRESS && errno != EINTR)) fail_one(r, which, errno);
    return false;
}

static bool look_at_one(race *r, unsigned which)
{
    int failed = 0;
    socklen_t size = sizeof failed;
    if (r->poll_fd[which].fd < 0 || !r->poll_fd[which].revents) return false;
    getsockopt(r->poll_fd[which].fd, SOL_SOCKET, SO_ERROR, &failed, &size);
    if (failed) fail_one(r, which, failed);
    return !failed;
}

/* The address that won. -1: none did. */
static int run_race(race *r, int64_t deadline_ms, int cancel_fd)
{
    const lk_addresses *a = r->addresses;
    int64_t now_ms = lk_now_ms(), next_ms = now_ms;
    int64_t apart =
        (deadline_ms - now_ms) / (2 * a->count) < STAGGER_MS ? (deadline_ms - now_ms) / (2 * a->count) : STAGGER_MS;
    r->poll_fd[a->count] = (struct pollfd){.fd = cancel_fd, .events = POLLIN};
    for (;;) {
        while (r->begun < a->count && (!r->open || now_ms >= next_ms)) {
            unsigned which = nth(a, r->begun++);
            if (begin_one(r, which)) return (int)which;
            next_ms = now_ms + apart;
        }
        if (!r->open) return -1;
        int64_t until_ms = r->begun < a->count ? lk_earlier(next_ms, deadline_ms) : deadline_ms;
        int ready = poll(r->poll_fd, a->count + 1, until_ms > now_ms ? (int)(until_ms - now_ms) : 0);
        if (ready < 0 && errno != EINTR && errno != EAGAIN) return -1;
        now_ms = lk_now_ms();
        if (ready > 0 && r->poll_fd[a->count].revents) break;
        for (unsigned i = 0; ready > 0 && i < r->begun; i++)
            if (look_at_one(r, nth(a, i))) return (int)nth(a, i);
        if (ready <= 0 && now_ms >= deadline_ms) break;
    }
    r->failed = ETIMEDOUT;
    return -1;
}

bool lk_net_connect(lk_addresses *addresses, int64_t deadline_ms, int cancel_fd, lk_socket *out, char *error,
                    size_t error_size)
{
    *out = LK_NO_SOCKET;
    if (!addresses->count) {
        snprintf(error, error_size, "not connected to Redis yet");
        return false;
    }
    race r = {.addresses = addresses};
    for (unsigned i = 0; i < addresses->count; i++) r.poll_fd[i].fd = -1;
    int winner = run_race(&r, deadline_ms, cancel_fd);
    for (unsigned i = 0; i < addresses->count; i++)
        if ((int)i != winner && r.poll_fd[i].fd >= 0) close(r.poll_fd[i].fd);
    if (winner < 0) {
        cannot_connect(addresses, error, error_size, r.failed);
        return false;
    }
    addresses->first = (unsigned)winner;
    out->fd = r.poll_fd[winner].fd;
    if (lk_net_secure(out, addresses)) return true;
    snprintf(error, error_size, "no memory for a connection with TLS");
    lk_net_close(out);
    return false;
}

bool lk_net_begin(const lk_addresses *addresses, unsigned which, lk_socket *out, char *error, size_t error_size)
{
    const struct sockaddr *at = (const void *)&addresses->address[which].at;
    *out = LK_NO_SOCKET;
    out->fd = new_socket(at->sa_family);
    /* An interrupted connect goes on in the background, too. */
    if (out->fd >= 0 &&
        (connect(out->fd, at, addresses->address[which].size) == 0 || errno == EINPROGRESS || errno == EINTR))
        return true;
    cannot_connect(addresses, error, error_size, errno);
    lk_net_close(out);
    return false;
}

enum lk_net_io lk_net_begun(lk_socket *s, const lk_addresses *addresses, char *error, size_t error_size)
{
    int failed = 0;
    socklen_t failed_size = sizeof failed;
    if (!lk_net_wait_for(s->fd, POLLOUT, 0, -1)) return LK_NET_LATER;
    getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &failed, &failed_size);
    /* Not earlier: TLS sends at once, and that would take away the socket's error. */
    if (!failed && !lk_net_secure(s, addresses)) failed = ENOMEM;
    if (!failed) return LK_NET_DONE;
    cannot_connect(addresses, error, error_size, failed);
    return LK_NET_LOST;
}

bool lk_net_speaks_plainly(const lk_addresses *addresses, int64_t deadline_ms, int cancel_fd)
{
    static const char ping[] = "PING\r\n";
    lk_addresses plain = *addresses;
    plain.tls = NULL;
    char error[160], first = 0;
    lk_socket s;
    if (!lk_net_connect(&plain, deadline_ms, cancel_fd, &s, error, sizeof error)) return false;
    bool heard = send(s.fd, ping, sizeof ping - 1, MSG_NOSIGNAL) > 0 &&
                 lk_net_wait(&s, POLLIN, deadline_ms, cancel_fd) && recv(s.fd, &first, 1, MSG_DONTWAIT) == 1;
    lk_net_close(&s);
    return heard && (first == '+' || first == '-'); /* PONG, or an error: NOAUTH, LOADING, ... */
}

/* ------------------------------------------------------------------------------------------ flush and fill -- */

static bool not_now(void) { return errno == EAGAIN || errno == EWOULDBLOCK; }

/* `why` is 0 if the peer closed it. */
static ssize_t broke(const lk_socket *s, int why, char *error, size_t error_size)
{
    snprintf(error, error_size, "the connection to Redis broke: %s%s",
             why ? lk_errno_text(why) : "closed by the server",
             s->heard ? "" : " before its first answer (is it a port for TLS, rediss://?)");
    return -1;
}

/* With or without TLS: how many bytes; 0: later; -1: the connection is lost, and `error` says why. */
static ssize_t send_bytes(lk_socket *s, const char *bytes, size_t size, char *error, size_t error_size)
{
    ssize_t wrote;
    if (s->tls) return lk_tls_write(s->tls, bytes, size);
    do wrote = send(s->fd, bytes, size, MSG_NOSIGNAL);
    while (wrote < 0 && errno == EINTR);
    if (wrote > 0 || (wrote < 0 && not_now())) return wrote > 0 ? wrote : 0;
    return broke(s, errno, error, error_size);
}

static ssize_t receive_bytes(lk_socket *s, char *bytes, size_t size, char *error, size_t error_size)
{
    ssize_t got;
    if (s->tls) return lk_tls_read(s->tls, bytes, size);
    do got = recv(s->fd, bytes, size, 0);
    while (got < 0 && errno == EINTR);
    if (got > 0 || (got < 0 && not_now())) return got > 0 ? got : 0;
    return broke(s, got ? errno : 0, error, error_size);
}

static enum lk_net_io lose_socket(lk_socket *s, char *error, size_t error_size)
{
    if (!s->tls) return LK_NET_LOST;
    s->refused = lk_tls_refused(s->tls);
    snprintf(error, error_size, "%s", lk_tls_error(s->tls));
    return LK_NET_LOST;
}

enum lk_net_io lk_net_flush(lk_socket *s, lk_conn *conn, char *error, size_t error_size)
{
    const char *bytes;
    size_t size;
    while ((size = lk_conn_unsent(conn, &bytes))) {
        ssize_t wrote = send_bytes(s, bytes, size, error, error_size);
        if (!wrote) return LK_NET_LATER;
        if (wrote < 0) return lose_socket(s, error, error_size);
        lk_conn_wrote(conn, (size_t)wrote);
    }
    return LK_NET_DONE;
}

/* A server that expects TLS and gets plain Redis may answer with a TLS alert. */
static bool is_alert(const lk_socket *s, const char *bytes, size_t size)
{
    return !s->tls && !s->heard && size >= 2 && bytes[0] == 0x15 && bytes[1] == 0x03;
}

enum lk_net_io lk_net_fill(lk_socket *s, lk_conn *conn, char *error, size_t error_size)
{
    char bytes[8192]; /* on the caller's stack, which may be small */
    do {
        ssize_t got = receive_bytes(s, bytes, sizeof bytes, error, error_size);
        if (!got) return LK_NET_LATER;
        if (got < 0) return lose_socket(s, error, error_size);
        if (is_alert(s, bytes, (size_t)got)) {
            s->refused = true;
            snprintf(error, error_size, "the server speaks TLS here: use rediss://, or the port that is without TLS");
            return LK_NET_LOST;
        }
        s->heard = true;
        bool fed = lk_conn_feed(conn, bytes, (size_t)got);
        lk_wipe(bytes, (size_t)got); /* it may hold key material */
        if (fed) continue;
        snprintf(error, error_size, "the server is not usable: %s", lk_resp_error(conn->resp));
        return LK_NET_LOST;
    } while (s->tls && lk_tls_buffered(s->tls));
    return LK_NET_DONE;
}

bool lk_net_idle_good(lk_socket *s)
{
    char byte;
    if (s->tls) return lk_tls_quiet(s->tls);
    return recv(s->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && not_now();
}
