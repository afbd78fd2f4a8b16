/* See subscriber.h. */
#include "cli/subscriber.h"

#include "cli/nodes.h"

#include "base/clock.h"
#include "l2/sentinels.h"
#include "redis/errors.h"
#include "redis/handshake.h"
#include "redis/lookup.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

static bool lose_subscription(subscriber *w, const char *why)
{
    if (!w->error[0]) snprintf(w->error, sizeof w->error, "%s", why);
    return false;
}

static int set_error(subscriber *w, int exit, const char *format, ...) __attribute__((format(printf, 3, 4)));
static int set_error(subscriber *w, int exit, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(w->error, sizeof w->error, format, list);
    va_end(list);
    return exit;
}

static bool flush(subscriber *w, int64_t deadline_ms)
{
    enum lk_net_io sent;
    while ((sent = lk_net_flush(&w->socket, &w->conn, w->error, sizeof w->error)) == LK_NET_LATER)
        if (!lk_net_wait(&w->socket, lk_net_events(&w->socket, sent), deadline_ms, -1))
            return lose_subscription(w, "Redis did not take a command within deadline_ms");
    return sent == LK_NET_DONE;
}

int subscriber_next(subscriber *w, lk_reply **reply)
{
    for (;;) {
        int got = lk_conn_next(&w->conn, reply);
        if (got > 0 && w->conn.pushes && lk_reply_is(lk_reply_at(*reply, 0), "sunsubscribe")) {
            lk_reply_free(*reply);
            lose_subscription(w, "the slot of partition 0 went to another node");
            return -1;
        }
        if (got > 0) return 1;
        if (got < 0) lose_subscription(w, "the server does not speak as Redis does");
        enum lk_net_io filled = got ? LK_NET_LOST : lk_net_fill(&w->socket, &w->conn, w->error, sizeof w->error);
        if (filled == LK_NET_LATER) return 0;
        if (filled == LK_NET_LOST) return -1;
    }
}

void subscriber_wait(subscriber *w, int64_t until_ms) { lk_net_wait(&w->socket, POLLIN, until_ms, -1); }

static lk_reply *receive_some(subscriber *w, int64_t deadline_ms)
{
    lk_reply *reply;
    int got;
    while (!(got = subscriber_next(w, &reply)))
        if (lk_now_ms() >= deadline_ms || !lk_net_wait(&w->socket, POLLIN, deadline_ms, -1)) {
            lose_subscription(w, "Redis did not answer within deadline_ms");
            return NULL;
        }
    return got > 0 ? reply : NULL;
}

static bool send_words(subscriber *w, const char *const *words)
{
    lk_span span[8];
    size_t count = 0;
    for (; words[count] && count < sizeof span / sizeof *span; count++) span[count] = lk_word(words[count]);
    return lk_conn_send(&w->conn, 1, span, count) || lose_subscription(w, "no memory");
}

lk_reply *subscriber_take(subscriber *w)
{
    int64_t deadline_ms = lk_now_ms() + w->config.deadline_ms;
    return flush(w, deadline_ms) ? receive_some(w, deadline_ms) : NULL;
}

lk_reply *subscriber_ask(subscriber *w, const char *const *words)
{
    return send_words(w, words) ? subscriber_take(w) : NULL;
}

/* CLI_DONE: Redis answered. *refusal: OK; or the status of its error, and w->error says which. */
static int ask_to_listen(subscriber *w, const char *command, const char *channel, int *refusal)
{
    char text[200];
    lk_reply *reply = subscriber_ask(w, (const char *const[]){command, channel, NULL});
    if (!reply) return CLI_AWAY;
    *refusal = reply->type == LK_REPLY_ERROR ? lk_error_status(reply, text, sizeof text) : LATCHKEY_OK;
    if (*refusal) set_error(w, 0, "the beats of the instances cannot be listened to: %s", text);
    else w->conn.pushes = true;
    lk_reply_free(reply);
    return CLI_DONE;
}

/* Sharded channels have no pattern, so all instances use one (link_cluster.c). It may be on another node by now. */
static int listen_to_pulses(subscriber *w)
{
    char pulse[80];
    int refusal;
    snprintf(pulse, sizeof pulse, "%s:{0}:pulse", w->config.prefix);
    int exit = ask_to_listen(w, "SSUBSCRIBE", pulse, &refusal);
    return exit || !refusal ? exit : refusal == LATCHKEY_CONFIG ? CLI_CONFIG : CLI_AWAY;
}

/* Redis lets a user subscribe to a pattern only if the ACL has that very pattern; an instance's has the shorter one. */
int subscriber_listen(subscriber *w)
{
    char beats[80], all[80];
    int refusal = LATCHKEY_OK;
    if (w->config.cluster) return listen_to_pulses(w);
    snprintf(beats, sizeof beats, "%s:beat:*", w->config.prefix);
    snprintf(all, sizeof all, "%s:*", w->config.prefix);
    int exit = ask_to_listen(w, "PSUBSCRIBE", beats, &refusal);
    if (!exit && refusal) exit = ask_to_listen(w, "PSUBSCRIBE", all, &refusal);
    if (!exit && refusal && refusal != LATCHKEY_CONFIG) return CLI_AWAY;
    if (!exit && refusal)
        return set_error(
            w, CLI_CONFIG,
            "the Redis user may not listen to the beats of the instances (+psubscribe is missing): use the user "
            "`operator` of src/redis/acl.txt, or give this one +psubscribe");
    if (!exit) w->error[0] = 0;
    return exit;
}

/* ------------------------------------------------------------------------------------------ open and close -- */

static int greet_server(subscriber *w, int64_t deadline_ms)
{
    lk_handshake hello;
    if (!lk_conn_open(&w->conn) || !lk_handshake_send(&hello, &w->config, &w->conn))
        return set_error(w, CLI_FAILED, "no memory");
    hello.any_role = w->any_role;
    if (!flush(w, deadline_ms)) return CLI_AWAY;
    while (hello.answers && !hello.status) {
        lk_reply *reply = receive_some(w, deadline_ms);
        if (!reply) return w->socket.refused ? CLI_CONFIG : CLI_AWAY;
        lk_handshake_take(&hello, reply);
        lk_reply_free(reply);
    }
    if (!hello.status) return CLI_DONE;
    return set_error(w, hello.status == LATCHKEY_CONFIG ? CLI_CONFIG : CLI_AWAY, "%s", hello.error);
}

static void set_host(subscriber *w, const lk_host *host)
{
    snprintf(w->config.host, sizeof w->config.host, "%s", host->name);
    snprintf(w->config.port, sizeof w->config.port, "%s", host->port);
}

/* In a cluster: the node that has partition 0, whose channel is that of the beats. */
static int find_owner(subscriber *w)
{
    nodes *n = calloc(1, sizeof *n);
    if (!n) return set_error(w, CLI_FAILED, "no memory");
    int status = nodes_find(w->url, 0, n, w->error, sizeof w->error), exit = CLI_DONE;
    if (status) exit = status == LATCHKEY_CONFIG ? CLI_CONFIG : CLI_AWAY;
    else if (n->owner[0] >= n->count)
        exit = set_error(w, CLI_AWAY, "no node of the cluster has partition 0, whose channel carries the beats");
    else set_host(w, &n->host[n->owner[0]]);
    nodes_close(n);
    free(n);
    return exit;
}

static int connect_and_greet(subscriber *w, const lk_host *host)
{
    lk_addresses addresses;
    int64_t deadline_ms = lk_now_ms() + (w->config.deadline_ms > 1000 ? w->config.deadline_ms : 1000);
    if (w->config.tls && lk_tls_context_open(&w->config, &w->config.tls_context, w->error, sizeof w->error))
        return CLI_CONFIG;
    int exit = host || !w->config.cluster ? CLI_DONE : find_owner(w);
    if (exit) return exit;
    if (host && *host->name) set_host(w, host);
    if (!host && !lk_sentinels_find(&w->config, deadline_ms, w->error, sizeof w->error)) return CLI_AWAY;
    if (!lk_lookup_now(&w->config, NULL, deadline_ms, &addresses, w->error, sizeof w->error) ||
        !lk_net_connect(&addresses, deadline_ms, -1, &w->socket, w->error, sizeof w->error))
        return CLI_AWAY;
    w->error[0] = 0; /* of an address that failed before another did not */
    return greet_server(w, deadline_ms);
}

static int open_as(subscriber *w, const char *url, const lk_host *host, bool any_role)
{
    memset(w, 0, sizeof *w);
    w->url = url;
    w->any_role = any_role;
    w->socket = LK_NO_SOCKET;
    if (!lk_crypto_init()) return set_error(w, CLI_FAILED, "libsodium finds no source of randomness");
    int exit = lk_config_parse(url, &w->config, w->error, sizeof w->error) ? CLI_CONFIG : connect_and_greet(w, host);
    if (!exit) w->error[0] = 0;
    else subscriber_close(w);
    return exit;
}

int subscriber_open(subscriber *w, const char *url, const lk_host *host) { return open_as(w, url, host, false); }

int subscriber_open_replica(subscriber *w, const char *url, const lk_host *host) { return open_as(w, url, host, true); }

void subscriber_close(subscriber *w)
{
    lk_net_close(&w->socket);
    lk_conn_close(&w->conn);
    lk_tls_context_close(w->config.tls_context);
    lk_wipe(&w->config, sizeof w->config); /* it holds the password */
    memset(&w->conn, 0, sizeof w->conn);
    w->socket = LK_NO_SOCKET;
}
