/* Sockets: the thin shell round the connections, with TLS between where the configuration says so. Non-blocking, closed on
 * exec, no signals. A socket has one owner at a time: the thread that took its connection from the pool, or the link. */
#ifndef LK_REDIS_NET_H
#define LK_REDIS_NET_H

#include "base/config.h"
#include "redis/conn.h"
#include "redis/tls.h"

#include <sys/socket.h>

enum { LK_NET_ADDRESSES_MAX = 64 };

typedef struct lk_addresses {
    lk_tls_context *tls;   /* NULL: none */
    char host[256];        /* whose addresses they are: what TLS verifies */
    unsigned count, first; /* the one to begin with: it worked the last time */
    struct {
        struct sockaddr_storage at;
        socklen_t size;
    } address[LK_NET_ADDRESSES_MAX];
} lk_addresses;

/* Looks the host up; may block as long as the system's resolver does (not for numbers and unix sockets). See lookup.h for who
 * must not wait. */
bool lk_net_resolve(const lk_config *config, lk_addresses *out, char *error, size_t error_size);
/* A number or a unix socket: nothing has to be asked. False: a name. */
bool lk_net_at_hand(const lk_config *config, lk_addresses *out);
void lk_net_name(const lk_config *config, lk_addresses *out); /* `tls` and `host` */
/* Addresses alone, without those. */
bool lk_net_look_up(const char *host, const char *port, bool number, lk_addresses *out, char *error, size_t error_size);
/* The newly found ones in place of the old: the one that worked stays the first, where it is still among them. */
void lk_net_renew(lk_addresses *known, const lk_addresses *found);

/* A socket with one owner at a time. */
typedef struct lk_socket {
    int fd;       /* -1: none */
    lk_tls *tls;  /* NULL: none */
    bool heard;   /* something has come */
    bool refused; /* it was lost because what is at the other end will never do, as both are set up: CONFIG */
} lk_socket;

enum lk_net_io { LK_NET_DONE, LK_NET_LATER, LK_NET_LOST };

#define LK_NO_SOCKET ((lk_socket){.fd = -1})

static inline bool lk_net_is_open(const lk_socket *s) { return s->fd >= 0; }

/* A connected socket; false: none, and why. Begins with addresses->first. Where that fails, or is silent for a while, the next
 * is tried beside it, and so on; the first that connects wins, and is addresses->first from then on (RFC 8305). Gives up at once
 * when cancel_fd (or -1) becomes readable. With TLS the handshake has begun; flush and fill go on with it. */
bool lk_net_connect(lk_addresses *addresses, int64_t deadline_ms, int cancel_fd, lk_socket *out, char *error,
                    size_t error_size);

/* The same for one address, without waiting. lk_net_begun says how it goes: DONE, LATER, or LOST and why. */
bool lk_net_begin(const lk_addresses *addresses, unsigned which, lk_socket *out, char *error, size_t error_size);
enum lk_net_io lk_net_begun(lk_socket *socket, const lk_addresses *addresses, char *error, size_t error_size);
void lk_net_close(lk_socket *socket); /* also of none */

/* TLS, if the addresses want it, on a socket that is connected or about to be. False: no memory. lk_net_connect has done it. */
bool lk_net_secure(lk_socket *socket, const lk_addresses *addresses);

/* Does a server that should speak TLS, and has not said anything yet, answer without? Redis takes the first words of a
 * handshake for the beginning of a command, and waits for the rest of it. Asks it PING on a connection of its own. */
bool lk_net_speaks_plainly(const lk_addresses *addresses, int64_t deadline_ms, int cancel_fd);

/* A descriptor is readable or writable; false: the deadline passed, or cancel_fd (or -1) became readable. */
bool lk_net_wait_for(int fd, short events, int64_t deadline_ms, int cancel_fd);

/* poll's events; false: the deadline passed, or cancel_fd (or -1) became readable. POLLOUT counts as lk_net_events says. */
bool lk_net_wait(const lk_socket *socket, short events, int64_t deadline_ms, int cancel_fd);

/* Writes what the connection has to send, as far as the socket takes it: DONE, LATER, or LOST with the reason. */
enum lk_net_io lk_net_flush(lk_socket *socket, lk_conn *conn, char *error, size_t error_size);

/* Reads what is there, as much as one buffer or, with TLS, one record, and feeds it: DONE, LATER (nothing is there), or LOST.
 * What is left is in the socket, where poll sees it. */
enum lk_net_io lk_net_fill(lk_socket *socket, lk_conn *conn, char *error, size_t error_size);

/* What to wait for after a flush that said `sent`: POLLIN, and POLLOUT where the socket has to take something first. With TLS
 * there may be nothing for it to take although not all is sent, and the other way round. */
short lk_net_events(const lk_socket *socket, enum lk_net_io sent);

/* Is an idle socket still open, with nothing unasked to read? */
bool lk_net_idle_good(lk_socket *socket);

#endif
