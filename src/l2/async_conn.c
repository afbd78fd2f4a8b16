/* See async_conn.h. */
#include "l2/async_conn.h"

#include "base/backoff.h"
#include "base/clock.h"
#include "base/hash.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    BACKOFF_MIN_MS = 5,
    BACKOFF_MAX_MS = 250,
    CONNECT_MOST_MS = 1000,
    WAIT_FOR_ADDRESS_MS = 20,
    IDLE_MAX_MS = 10000
};

static void close_socket(lk_async_conn *c)
{
    lk_async_desk_end(c->desk, c->socket.fd);
    lk_net_close(&c->socket);
}

void lk_async_conn_open(lk_async_conn *c, lk_async_desk *desk, const lk_config *config, lk_pool *pool)
{
    memset(c, 0, sizeof *c);
    c->desk = desk;
    c->config = config;
    c->pool = pool;
    c->socket = LK_NO_SOCKET;
    lk_random(&c->random, sizeof c->random);
}

void lk_async_conn_close(lk_async_conn *c)
{
    close_socket(c);
    lk_conn_close(&c->conn);
}

void lk_async_conn_abandon(lk_async_conn *c)
{
    if (c->socket.fd >= 0) close(c->socket.fd);
}

/* ------------------------------------------------------------------------------------------- connecting -- */

void lk_async_conn_lose(lk_async_conn *c, int64_t now_ms, const char *why)
{
    /* A connection that worked is made again at once. If it owed answers, other connections may be broken too. */
    int64_t wait = 0;
    if (c->state == LK_ASYNC_CONN_UP && lk_conn_waiting(&c->conn))
        lk_pool_suspect(c->pool, now_ms - c->config->deadline_ms);
    if (c->state != LK_ASYNC_CONN_UP) {
        if (c->state == LK_ASYNC_CONN_HANDSHAKE)
            lk_pool_prefer(c->pool, c->address + 1); /* the server accepted the connection and nothing more */
        c->random = lk_hash(&now_ms, sizeof now_ms, c->random);
        wait = lk_backoff_ms(c->failures++, BACKOFF_MIN_MS, BACKOFF_MAX_MS, c->random);
    }
    if (why != c->error) snprintf(c->error, sizeof c->error, "%s", why);
    c->retry_at_ms = now_ms + wait;
    c->state = LK_ASYNC_CONN_DOWN;
    c->writes = false;
    close_socket(c);
    lk_conn_close(&c->conn);
}

static bool begin_channel(lk_async_conn *c, int64_t now_ms)
{
    bool good = lk_net_begin(&c->addresses, c->address, &c->socket, c->error, sizeof c->error) &&
                lk_async_desk_begin(c->desk, c->socket.fd, EPOLLIN | EPOLLOUT);
    if (!good) {
        lk_async_conn_lose(c, now_ms, c->error);
        return false;
    }
    int64_t most = c->config->deadline_ms < CONNECT_MOST_MS ? CONNECT_MOST_MS : c->config->deadline_ms;
    c->writes = true;
    c->state = LK_ASYNC_CONN_CONNECTING;
    c->until_ms = now_ms + most / c->addresses.count;
    lk_async_desk_wake_at(c->desk, c->until_ms);
    return true;
}

bool lk_async_conn_wanted(lk_async_conn *c, int64_t now_ms)
{
    /* It was idle for so long that a firewall in between may have forgotten it; or another connection got no answer
     * since this one answered last. */
    bool idle = c->state == LK_ASYNC_CONN_UP && !lk_conn_waiting(&c->conn);
    if (idle && (now_ms - c->heard_ms > IDLE_MAX_MS || lk_pool_suspected_ms(c->pool) > c->heard_ms))
        lk_async_conn_lose(c, now_ms, "it was idle");
    if (c->state != LK_ASYNC_CONN_DOWN) return true;
    if (now_ms < c->retry_at_ms) {
        lk_async_desk_wake_at(c->desk, c->retry_at_ms);
        return c->failures <= LK_POOL_BLIPS;
    }
    lk_pool_where(c->pool, &c->addresses);
    c->address = c->addresses.first;
    c->tried = 0;
    if (c->addresses.count) return begin_channel(c, now_ms);
    snprintf(c->error, sizeof c->error, "not connected to Redis yet");
    c->retry_at_ms = now_ms + WAIT_FOR_ADDRESS_MS;
    return false;
}

static bool greet_channel(lk_async_conn *c, int64_t now_ms)
{
    if (!lk_conn_open(&c->conn) || !lk_handshake_send(&c->hello, c->config, &c->conn)) {
        lk_async_conn_lose(c, now_ms, "no memory for a connection");
        return false;
    }
    c->state = LK_ASYNC_CONN_HANDSHAKE;
    return lk_async_conn_send(c, now_ms);
}

/* Is it connected, or not? If not, the next address is tried, if there is one. */
static bool look(lk_async_conn *c, int64_t now_ms)
{
    enum lk_net_io io = lk_net_begun(&c->socket, &c->addresses, c->error, sizeof c->error);
    if (io == LK_NET_DONE) return greet_channel(c, now_ms);
    if (io == LK_NET_LATER && now_ms < c->until_ms) return true;
    if (++c->tried < c->addresses.count) {
        c->address = (c->address + 1) % c->addresses.count;
        close_socket(c);
        return begin_channel(c, now_ms);
    }
    lk_async_conn_lose(c, now_ms, io == LK_NET_LATER ? "cannot connect to Redis: it does not answer" : c->error);
    return false;
}

static bool take_hello(lk_async_conn *c, int64_t now_ms, const lk_reply *reply)
{
    if (!lk_handshake_take(&c->hello, reply)) return true;
    if (c->hello.status) {
        lk_async_conn_lose(c, now_ms, c->hello.error);
        return false;
    }
    c->state = LK_ASYNC_CONN_UP;
    c->failures = 0;
    c->up_ms = c->heard_ms = now_ms;
    lk_pool_prefer(c->pool, c->address);
    return true;
}

/* --------------------------------------------------------------------------------------------- driving -- */

bool lk_async_conn_send(lk_async_conn *c, int64_t now_ms)
{
    enum lk_net_io sent = lk_net_flush(&c->socket, &c->conn, c->error, sizeof c->error);
    if (sent == LK_NET_LOST) {
        lk_async_conn_lose(c, now_ms, c->error);
        return false;
    }
    bool writes = lk_net_events(&c->socket, sent) & POLLOUT;
    if (writes != c->writes) lk_async_desk_change(c->desk, c->socket.fd, EPOLLIN | (writes ? EPOLLOUT : 0));
    c->writes = writes;
    return true;
}

static bool receive(lk_async_conn *c, int64_t now_ms)
{
    enum lk_net_io got = lk_net_fill(&c->socket, &c->conn, c->error, sizeof c->error);
    c->more = got == LK_NET_DONE;
    if (c->more) c->heard_ms = now_ms;
    if (got != LK_NET_LOST) return true;
    lk_async_conn_lose(c, now_ms, c->error);
    return false;
}

bool lk_async_conn_drive(lk_async_conn *c, int64_t now_ms)
{
    if (c->state == LK_ASYNC_CONN_CONNECTING && !look(c, now_ms)) return false;
    bool begun = c->state == LK_ASYNC_CONN_CONNECTING || c->state == LK_ASYNC_CONN_HANDSHAKE;
    if (begun && c->until_ms > now_ms) lk_async_desk_wake_at(c->desk, c->until_ms);
    if (c->state < LK_ASYNC_CONN_HANDSHAKE) return true;
    if (!lk_async_conn_send(c, now_ms) || !receive(c, now_ms)) return false;
    lk_reply *reply;
    while (c->state == LK_ASYNC_CONN_HANDSHAKE) {
        int got = lk_async_conn_next(c, now_ms, &reply);
        if (got <= 0) break;
        bool good = take_hello(c, now_ms, reply);
        lk_reply_free(reply);
        if (!good) return false;
    }
    if (c->state == LK_ASYNC_CONN_HANDSHAKE && now_ms >= c->until_ms)
        lk_async_conn_lose(c, now_ms, "Redis accepts the connection but does not answer");
    return c->state != LK_ASYNC_CONN_DOWN;
}

int lk_async_conn_next(lk_async_conn *c, int64_t now_ms, lk_reply **reply)
{
    int got = lk_conn_next(&c->conn, reply);
    if (got >= 0) return got;
    char error[160];
    const char *why = lk_resp_error(c->conn.resp);
    snprintf(error, sizeof error, "the server is not usable: %s",
             *why ? why : "it sends answers that were not asked for");
    lk_async_conn_lose(c, now_ms, error);
    return -1;
}
