/* See cluster_ask.h. */
#include "l2/cluster_ask.h"

#include "base/clock.h"
#include "l2/naming.h"
#include "redis/errors.h"
#include "redis/handshake.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

/* Each slot by itself, each with a primary and five replicas. */
enum { ELEMENTS_MAX = LK_SLOTS * (3 + 6 * 8), SLOTS_TAG = 1 };

void lk_cluster_ask_open(lk_cluster_ask *ask, const lk_config *config, int stop_fd)
{
    memset(ask, 0, sizeof *ask);
    ask->config = config;
    ask->stop_fd = stop_fd;
    ask->socket = LK_NO_SOCKET;
}

void lk_cluster_ask_close(lk_cluster_ask *ask)
{
    lk_net_close(&ask->socket);
    for (int i = 0; i < LK_CLUSTER_LOOKUPS; i++) lk_lookup_leave(&ask->under_way[i].lookup);
}

/* The lookup of this host that is under way, or a free place; NULL: there is none. */
static lk_lookup **lookup_of(lk_cluster_ask *ask, const lk_host *host)
{
    int at = -1;
    for (int i = 0; i < LK_CLUSTER_LOOKUPS; i++) {
        if (ask->under_way[i].lookup && lk_host_same(&ask->under_way[i].host, host)) return &ask->under_way[i].lookup;
        if (!ask->under_way[i].lookup) at = i;
    }
    if (at < 0) return NULL;
    ask->under_way[at].host = *host;
    return &ask->under_way[at].lookup;
}

static bool find_host(lk_cluster_ask *ask, const lk_host *host, int64_t deadline_ms, lk_addresses *out, char *error,
                      size_t error_size)
{
    if (lk_net_at_hand(ask->config, host, out)) return true;
    lk_lookup **lookup = lookup_of(ask, host);
    if (lookup)
        return lk_lookup_ask(lookup, ask->config, host, deadline_ms, ask->stop_fd, out, error, error_size) ==
               LK_NET_DONE;
    snprintf(error, error_size, "the name server does not answer");
    return false;
}

/* The node's answers, up to the one to CLUSTER SLOTS. */
typedef struct talk {
    lk_cluster_ask *ask;
    lk_conn conn;
    lk_handshake hello;
    lk_reply *reply; /* the answer; NULL: none yet */
} talk;

static bool send_all(talk *t)
{
    const lk_span slots[2] = {lk_word("CLUSTER"), lk_word("SLOTS")};
    if (!lk_conn_open(&t->conn) || !lk_handshake_send(&t->hello, t->ask->config, &t->conn)) return false;
    t->hello.any_role = true;
    lk_resp_allow(t->conn.resp, ELEMENTS_MAX);
    return lk_conn_send(&t->conn, SLOTS_TAG, slots, 2);
}

static int take_talk(talk *t, char *error, size_t error_size)
{
    lk_reply *reply;
    int got = 0;
    while (!t->reply && !t->hello.status && (got = lk_conn_next(&t->conn, &reply)) > 0) {
        if (reply->tag == SLOTS_TAG) {
            t->reply = reply;
            break;
        }
        lk_handshake_take(&t->hello, reply);
        lk_reply_free(reply);
    }
    if (t->hello.status) snprintf(error, error_size, "%s", t->hello.error);
    else if (got < 0) snprintf(error, error_size, "the server is not usable: %s", lk_resp_error(t->conn.resp));
    return t->hello.status ? t->hello.status : got < 0 ? LATCHKEY_UNAVAILABLE : LATCHKEY_OK;
}

static int hear_talk(talk *t, int64_t deadline_ms, char *error, size_t error_size)
{
    lk_socket *s = &t->ask->socket;
    int status = LATCHKEY_OK;
    while (!status && !t->reply) {
        enum lk_net_io sent = lk_net_flush(s, &t->conn, error, error_size), got = LK_NET_LATER;
        bool good = sent != LK_NET_LOST;
        if (good && !lk_net_wait(s, lk_net_events(s, sent), deadline_ms, t->ask->stop_fd)) {
            snprintf(error, error_size, "it takes the connection and does not answer");
            return LATCHKEY_UNAVAILABLE;
        }
        if (good) got = lk_net_fill(s, &t->conn, error, error_size);
        if (got != LK_NET_LOST && good) status = take_talk(t, error, error_size);
        else status = s->refused ? LATCHKEY_CONFIG : LATCHKEY_UNAVAILABLE;
    }
    return status;
}

static int talk_to(talk *t, int64_t deadline_ms, lk_reply **reply, char *error, size_t error_size)
{
    snprintf(error, error_size, "no memory");
    int status = send_all(t) ? hear_talk(t, deadline_ms, error, error_size) : LATCHKEY_NO_MEMORY;
    if (!status && t->reply->type == LK_REPLY_ERROR) status = lk_error_status(t->reply, error, error_size);
    if (status) lk_reply_free(t->reply);
    else *reply = t->reply;
    lk_conn_close(&t->conn);
    return status;
}

static int ask_node(lk_cluster_ask *ask, const lk_host *host, int64_t patience_ms, lk_reply **reply, lk_node_id *self,
                    char *error, size_t error_size)
{
    lk_addresses addresses;
    int64_t deadline_ms = lk_now_ms() + patience_ms;
    if (!find_host(ask, host, deadline_ms, &addresses, error, error_size) ||
        !lk_net_connect(&addresses, deadline_ms, ask->stop_fd, &ask->socket, error, error_size))
        return LATCHKEY_UNAVAILABLE;
    talk t = {.ask = ask};
    deadline_ms = lk_now_ms() + patience_ms;
    int status = talk_to(&t, deadline_ms, reply, error, error_size);
    *self = t.hello.node;
    if (status == LATCHKEY_UNAVAILABLE && addresses.tls && !ask->socket.heard && lk_now_ms() >= deadline_ms &&
        lk_net_speaks_plainly(&addresses, deadline_ms + patience_ms, ask->stop_fd)) {
        status = LATCHKEY_CONFIG;
        snprintf(error, error_size, "it does not speak TLS: use redis+cluster://, or the port that is for TLS");
    }
    lk_net_close(&ask->socket);
    return status;
}

int lk_cluster_slots(lk_cluster_ask *ask, const lk_host *host, int64_t patience_ms, lk_reply **reply, lk_node_id *self,
                     char *error, size_t error_size)
{
    char at[112], why[160];
    int status = ask_node(ask, host, patience_ms, reply, self, why, sizeof why);
    lk_host_text(host, at, sizeof at);
    if (status) snprintf(error, error_size, "node %.60s: %s", at, why);
    return status;
}
