/* Sockets: the thin layer below connections, with TLS in between if the configuration says so. Non-blocking, closed on
 * exec, no signals. A socket has one owner at a time: the thread that took its connection from the pool, or the link. */
#ifndef LK_REDIS_NET_H
#define LK_REDIS_NET_H

#include "base/config.h"
#include "redis/conn.h"
#include "redis/tls.h"

#include <sys/socket.h>

enum { LK_NET_ADDRESSES_MAX = 64 };

typedef struct lk_addresses {
    lk_tls_context *tls;   /* NULL: without TLS */
    char host[256];        /* the host that these addresses were found for: TLS verifies it */
    unsigned count, first; /* the address to begin with: it worked the last time */
    bool sentinel;         /* for error texts: this is a Sentinel, not Redis */
    struct {
        struct sockaddr_storage at;
        socklen_t size;
    } address[LK_NET_ADDRESSES_MAX];
} lk_addresses;

/* The addresses of a host that is a numeric address or a unix socket, so that nothing has to be looked up. False: it is a name
 * (lookup.h). `host`: another host than the configuration's; or NULL. */
bool lk_net_at_hand(const lk_config *config, const lk_host *host, lk_addresses *out);
void lk_net_name(const lk_config *config, const lk_host *host, lk_addresses *out); /* fills in `tls` and `host` */
/* The addresses alone, without those two. It may block as long as the system's resolver does: lookup.h is for callers that must not
 * wait. */
bool lk_net_look_up(const char *host, const char *port, bool number, lk_addresses *out, char *error, size_t error_size);
/* Replaces the known addresses with those that were found. The one that worked stays the first, if it is still there. */
void lk_net_renew(lk_addresses *known, const lk_addresses *found);

/* A socket; it has one owner at a time. */
typedef struct lk_socket {
    int fd;       /* -1: none */
    lk_tls *tls;  /* NULL: none */
    bool heard;   /* something was received */
    bool refused; /* it was lost because this server can never work as both sides are set up: CONFIG */
} lk_socket;

enum lk_net_io { LK_NET_DONE, LK_NET_LATER, LK_NET_LOST };

#define LK_NO_SOCKET ((lk_socket){.fd = -1})

static inline bool lk_net_is_open(const lk_socket *s) { return s->fd >= 0; }

/* A connected socket; false: there is none, and `error` says why. It begins with addresses->first. If an address fails,
 * or is silent for a while, the next one is tried beside it, and so on; the first that connects wins, and is
 * addresses->first from then on (RFC 8305). It gives up at once when cancel_fd (or -1) becomes readable. With TLS the
 * handshake has begun; flush and fill continue it. */
bool lk_net_connect(lk_addresses *addresses, int64_t deadline_ms, int cancel_fd, lk_socket *out, char *error,
                    size_t error_size);

/* The same for one address, without waiting. lk_net_begun says how it is: DONE, LATER, or LOST and why. */
bool lk_net_begin(const lk_addresses *addresses, unsigned which, lk_socket *out, char *error, size_t error_size);
enum lk_net_io lk_net_begun(lk_socket *socket, const lk_addresses *addresses, char *error, size_t error_size);
void lk_net_close(lk_socket *socket); /* also if it is not open */

/* Begins TLS, if the addresses say so, on a socket that is connected or about to be. False: no memory. lk_net_connect
 * does it itself. */
bool lk_net_secure(lk_socket *socket, const lk_addresses *addresses);

/* For a server that should speak TLS and has not sent anything: does it speak plain Redis? Redis takes the first bytes
 * of a TLS handshake for the beginning of a command and waits for the rest. So this asks PING on a connection of its
 * own. */
bool lk_net_speaks_plainly(const lk_addresses *addresses, int64_t deadline_ms, int cancel_fd);

/* True: the descriptor is readable or writable. False: the deadline passed, or cancel_fd (or -1) became readable. */
bool lk_net_wait_for(int fd, short events, int64_t deadline_ms, int cancel_fd);

/* `events` are poll's. False: the deadline passed, or cancel_fd (or -1) became readable. See lk_net_events for POLLOUT. */
bool lk_net_wait(const lk_socket *socket, short events, int64_t deadline_ms, int cancel_fd);

/* Writes what the connection has to send, as far as the socket takes it: DONE, LATER, or LOST with the reason. */
enum lk_net_io lk_net_flush(lk_socket *socket, lk_conn *conn, char *error, size_t error_size);

/* Reads what is there, at most one buffer or, with TLS, one record, and feeds it: DONE, LATER (there is nothing), or
 * LOST. The rest stays in the socket, so poll reports it. */
enum lk_net_io lk_net_fill(lk_socket *socket, lk_conn *conn, char *error, size_t error_size);

/* What to wait for after a flush that returned `sent`: POLLIN, and POLLOUT if the socket has to take something first.
 * With TLS the socket may have nothing to take although not all is sent, and the other way round. */
short lk_net_events(const lk_socket *socket, enum lk_net_io sent);

/* Is an idle socket still open, without unasked bytes to read? */
bool lk_net_idle_good(lk_socket *socket);

#endif
