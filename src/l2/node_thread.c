/* The thread of a node: it drives the link, its two sockets and, if there are any, the sentinels; an eventfd wakes it.
 *
 *   other partitions? --> wants of callers --> tick --> connect --> poll --> read
 *
 * A node of a cluster that owns nothing, or whose server is not known, sleeps: its link stays DOWN, and the thread waits
 * for its eventfd. */
#include "l2/node_parts.h"

#include "base/clock.h"
#include "base/errno_text.h"
#include "base/log.h"
#include "redis/tls_guard.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum {
    CONNECT_MOST_MS = 1000,
    CONNECT_NAMED_MS = 250,
    SILENCE_MOST_MS = 1000,
    LOOKUP_MS = 100,
    REMAP_APART_MS = 100, /* the shortest time between two connections that only new partitions are the reason for */
    NAP_MOST_MS = 3600000
};

void lk_node_close_sockets(lk_node *node)
{
    /* The server accepted the connection, and never served: another address may be better. */
    if (lk_net_is_open(&node->socket[LK_LINK_COMMANDS]) &&
        !atomic_load_explicit(&node->connected, memory_order_relaxed) && node->addresses.count)
        node->addresses.first = (node->addresses.first + 1) % node->addresses.count;
    /* The connections of callers lead to the same server, which may have changed. New connections find out. */
    if (lk_net_is_open(&node->socket[LK_LINK_COMMANDS])) lk_pool_renew(node->pool);
    lk_pending_unsettle(node->book->pending, node);
    for (int i = 0; i < LK_LINK_CONNECTIONS; i++) lk_net_close(&node->socket[i]);
    atomic_store_explicit(&node->connected, false, memory_order_relaxed);
}

/* Asked if the server's side of the handshake is late, before open has used up its deadline, so that open can say it. */
static bool speaks_plainly(lk_node *node, lk_addresses *addresses)
{
    int64_t patience =
        node->config->deadline_ms / 3 < SILENCE_MOST_MS ? node->config->deadline_ms / 3 : SILENCE_MOST_MS;
    return !lk_net_wait(&node->socket[LK_LINK_COMMANDS], POLLIN, lk_now_ms() + patience, node->stop_fd) &&
           lk_net_speaks_plainly(addresses, lk_now_ms() + patience, node->stop_fd);
}

/* The server that the map or the sentinels name; NULL: the configuration's address is used. */
static const lk_host *where(const lk_node *node)
{
    if (node->config->cluster) return &node->at;
    return node->sentinels ? &lk_sentinels_naming(node->sentinels)->primary : NULL;
}

/* The host's addresses; if they cannot be found now, the last known ones. */
static bool find_addresses(lk_node *node, char *error, size_t error_size)
{
    lk_addresses found;
    /* Before open has used up its deadline, so that open can say what it waited for. */
    int64_t first_ms = lk_earlier(node->config->deadline_ms * 3 / 4, CONNECT_MOST_MS);
    int64_t patience = node->addresses.count ? LOOKUP_MS : first_ms;
    enum lk_net_io how = lk_lookup_ask(&node->lookup, node->config, where(node), lk_now_ms() + patience, node->stop_fd,
                                       &found, error, error_size);
    if (how == LK_NET_DONE) lk_net_renew(&node->addresses, &found);
    return node->addresses.count > 0;
}

/* No server is connected to before more than half of the sentinels have named it. If they do not, that is reported once
 * they have had the time to answer. */
static bool awaits_name(lk_node *node)
{
    char text[160];
    int64_t now_ms = lk_now_ms();
    if (!node->sentinels || lk_sentinels_naming(node->sentinels)->known) return false;
    if (now_ms < node->named_by_ms && !lk_sentinels_heard_all(node->sentinels)) return true;
    int status = lk_naming_trouble(lk_sentinels_naming(node->sentinels), node->config, text, sizeof text);
    lk_link_lost(&node->link, now_ms, status, text);
    return true;
}

/* The old link and the old pool are dropped at once, not when they break: a deposed primary may live on for long. */
static void move_to(lk_node *node, const lk_host *primary)
{
    char at[112], text[160];
    lk_host_text(primary, at, sizeof at);
    snprintf(text, sizeof text, "the sentinels name another primary: %s", at);
    node->addresses.count = node->addresses.first = 0;
    lk_lookup_leave(&node->lookup);
    if (node->link.state == LK_LINK_CONNECTING) return; /* a name is waited for */
    lk_pool_cut(node->pool);
    lk_link_moved(&node->link, lk_now_ms(), text);
}

static bool sleeps(const lk_node *node)
{
    return !node->partitions.count || (node->config->cluster && !node->at.name[0]);
}

/* Which partitions it owns now: all of them, and first those that it has owned without a break since it last looked. */
static void look_up_partitions(lk_node *node, lk_partitions *kept, lk_partitions *all)
{
    lk_book *book = node->book;
    size_t most = (size_t)node->config->partitions;
    node->second = !node->second; /* the link still has those before */
    unsigned *keep = node->own + (node->second ? 2 * most : 0), *own = keep + most;
    *kept = (lk_partitions){keep, 0};
    *all = (lk_partitions){own, 0};
    lk_lock_take(&book->lock);
    for (unsigned p = 0; p < (unsigned)node->config->partitions; p++) {
        if (lk_book_owner(book, p) != node) continue;
        own[all->count++] = p;
        if (book->since[p] <= node->looked) keep[kept->count++] = p;
    }
    node->looked = book->version;
    lk_lock_give(&book->lock);
}

/* True: its server is another one than before. */
static bool look_up_host(lk_node *node)
{
    lk_host before = node->at;
    lk_node_id id = node->link.expected;
    lk_lock_take(&node->lock);
    node->at = node->host;
    node->link.expected = node->id;
    lk_lock_give(&node->lock);
    if (node->config->cluster && node->at.name[0]) {
        char at[112];
        lk_host_text(&node->at, at, sizeof at);
        snprintf(node->link.link_log.where, sizeof node->link.link_log.where, " %s", at);
    }
    return !lk_host_same(&before, &node->at) || (id.text[0] && !lk_node_id_same(&id, &node->link.expected));
}

/* Its partitions are others now. A link that is up goes on; else it connects anew at once. What ran in a slot that has gone
 * is not settled by what this node's replicas hold. */
static void take_others(lk_node *node)
{
    lk_partitions kept, all;
    int64_t now_ms = lk_now_ms(), soonest_ms = node->remapped_ms + REMAP_APART_MS;
    bool slept = sleeps(node), elsewhere = look_up_host(node);
    look_up_partitions(node, &kept, &all);
    node->partitions = all;
    if (elsewhere) lk_link_moved(&node->link, now_ms, "the server is another one now: connecting again");
    if (lk_link_change(&node->link, kept, all, now_ms)) {
        lk_pending_unsettle(node->book->pending, node);
        return;
    }
    lk_node_close_sockets(node);
    node->remapped_ms = now_ms;
    node->link.retry_at_ms = sleeps(node) ? INT64_MAX : slept ? now_ms : lk_later(now_ms, soonest_ms);
    if (!sleeps(node) && !elsewhere) return;
    node->addresses.count = node->addresses.first = 0;
    lk_lookup_leave(&node->lookup);
    lk_pool_cut(node->pool);
}

static void connect_sockets(lk_node *node)
{
    if (awaits_name(node)) return;
    char error[160] = "";
    /* If one tick found the link down and its retry due, as after a pause, the old sockets are still open. */
    lk_node_close_sockets(node);
    int64_t most = lk_later(node->config->deadline_ms, where(node) ? CONNECT_NAMED_MS : CONNECT_MOST_MS);
    bool good = find_addresses(node, error, sizeof error);
    for (int i = 0; i < LK_LINK_CONNECTIONS && good && !atomic_load_explicit(&node->stop, memory_order_acquire); i++)
        good =
            lk_net_connect(&node->addresses, lk_now_ms() + most, node->stop_fd, &node->socket[i], error, sizeof error);
    if (node->addresses.count) lk_pool_addresses(node->pool, &node->addresses);
    bool plain = good && node->addresses.tls && speaks_plainly(node, &node->addresses);
    if (plain)
        lk_link_lost(&node->link, lk_now_ms(), LATCHKEY_CONFIG,
                     "the server does not speak TLS: use redis://, or the port that is for TLS");
    else if (good) lk_link_connected(&node->link, lk_now_ms());
    else lk_link_lost(&node->link, lk_now_ms(), LATCHKEY_UNAVAILABLE, error);
}

/* CONFIG: waiting does not help, a person has to change something. */
static void lost(lk_node *node, const lk_socket *s, const char *why)
{
    lk_link_lost(&node->link, lk_now_ms(), s->refused ? LATCHKEY_CONFIG : LATCHKEY_UNAVAILABLE, why);
}

/* In poll's array: the link's sockets, the eventfd, the sentinels. */
enum { WAKE = LK_LINK_CONNECTIONS, SENTINELS, POLLED = SENTINELS + LK_SENTINELS_MAX };

static int64_t nap_ms(lk_node *node, int64_t now_ms)
{
    int64_t wake_ms = lk_link_wake_ms(&node->link);
    /* the link waits for a name */
    if (node->sentinels && node->link.state == LK_LINK_CONNECTING) wake_ms = node->named_by_ms;
    if (node->sentinels) wake_ms = lk_earlier(wake_ms, lk_sentinels_wake_ms(node->sentinels));
    int64_t wait = lk_earlier(wake_ms - now_ms, NAP_MOST_MS);
    if (sleeps(node)) return wait;
    if (wait > LK_NODE_PENDING_RETRY_MS && lk_pending_retries(node->book->pending)) wait = LK_NODE_PENDING_RETRY_MS;
    if (wait > LK_NODE_OWED_NAP_MS && node->collects) wait = LK_NODE_OWED_NAP_MS;
    return lk_inbox_nap(node->inbox, now_ms, wait);
}

/* Writes what the link has to send; then waits until something happens. */
static void wait_for_events(lk_node *node, struct pollfd poll_fd[POLLED])
{
    char error[160];
    for (int i = 0; i < LK_LINK_CONNECTIONS; i++) {
        poll_fd[i] = (struct pollfd){.fd = node->socket[i].fd, .events = POLLIN};
        if (!lk_net_is_open(&node->socket[i])) continue;
        enum lk_net_io sent = lk_net_flush(&node->socket[i], &node->link.conn[i], error, sizeof error);
        poll_fd[i].events = lk_net_events(&node->socket[i], sent);
        if (sent != LK_NET_LOST) continue;
        lost(node, &node->socket[i], error);
        return;
    }
    poll_fd[WAKE] = (struct pollfd){.fd = node->wake_fd, .events = POLLIN};
    nfds_t count = SENTINELS;
    if (node->sentinels) count += lk_sentinels_poll(node->sentinels, poll_fd + SENTINELS, lk_now_ms());
    if (!lk_poll(poll_fd, count, nap_ms(node, lk_now_ms()))) {
        snprintf(error, sizeof error, "the link cannot wait for its connections (poll: %s)", lk_errno_text(errno));
        lk_node_trouble(node, LATCHKEY_UNAVAILABLE, error);
    }
    uint64_t times;
    if (poll_fd[WAKE].revents && read(node->wake_fd, &times, sizeof times) < 0 && errno != EAGAIN &&
        errno != EINTR) /* the next poll reports it again */
        lk_node_trouble(node, LATCHKEY_UNAVAILABLE, "the link's eventfd failed");
}

/* A new name is followed at once. Other answers may be what the beat that is out waits for. */
static void hear_sentinels(lk_node *node, const struct pollfd poll_fd[POLLED])
{
    if (!node->sentinels) return;
    if (lk_sentinels_fed(node->sentinels, poll_fd + SENTINELS, lk_now_ms()))
        move_to(node, &lk_sentinels_naming(node->sentinels)->primary);
    lk_link_vouched(&node->link, lk_now_ms());
}

/* A proxy that does not know INFO (twemproxy) answers PING, and ends the connection without a word. A Redis that is
 * about to stop, or a connection that breaks, may do so now and then. */
static bool is_a_proxy(lk_node *node, const lk_socket *s)
{
    enum { IN_A_ROW = 4 };
    node->hung_up = s->heard || s->tls || node->link.state != LK_LINK_HANDSHAKE ? 0 : node->hung_up + 1;
    if (node->hung_up < IN_A_ROW) return false;
    return lk_net_speaks_plainly(&node->addresses, lk_now_ms() + SILENCE_MOST_MS, node->stop_fd);
}

static void read_sockets(lk_node *node, const struct pollfd poll_fd[POLLED])
{
    char error[160];
    for (int i = 0; i < LK_LINK_CONNECTIONS; i++) {
        if (!lk_net_is_open(&node->socket[i]) || !poll_fd[i].revents || node->link.state == LK_LINK_DOWN) continue;
        enum lk_net_io got = lk_net_fill(&node->socket[i], &node->link.conn[i], error, sizeof error);
        if (got == LK_NET_LOST && is_a_proxy(node, &node->socket[i]))
            lk_link_lost(&node->link, lk_now_ms(), LATCHKEY_CONFIG,
                         "the server answers PING and closes the connection on INFO: it is a proxy; name Redis itself");
        else if (got == LK_NET_LOST) lost(node, &node->socket[i], error);
        else if (got == LK_NET_DONE) lk_link_fed(&node->link, i, lk_now_us());
    }
}

static int64_t beat_sent_ms(const lk_node *node) { return node->link.beat.out ? node->link.beat.sent_ms : 0; }

static void *run_link(void *context)
{
    lk_node *node = context;
    lk_log_to(node->config->journal);
    struct pollfd poll_fd[POLLED];
    while (!atomic_load_explicit(&node->stop, memory_order_acquire)) {
        if (lk_link_rests(&node->link) && atomic_exchange_explicit(&node->remapped, false, memory_order_acq_rel))
            take_others(node);
        if (sleeps(node)) lk_node_clear_inbox(node);
        if (atomic_exchange_explicit(&node->beat_wanted, false, memory_order_acq_rel))
            lk_link_beat_now(&node->link, lk_now_ms());
        uint64_t suspect = atomic_exchange_explicit(&node->suspect, 0, memory_order_acq_rel);
        if (suspect) lk_link_suspect(&node->link, suspect);
        lk_link_tick(&node->link, lk_now_us());
        lk_notices_say(node->config->notices);
        if (node->link.state == LK_LINK_DOWN) lk_node_close_sockets(node);
        if (node->link.state == LK_LINK_CONNECTING) connect_sockets(node);
        if (node->sentinels) lk_sentinels_tick(node->sentinels, beat_sent_ms(node), lk_now_ms());
        memset(poll_fd, 0, sizeof poll_fd);
        wait_for_events(node, poll_fd);
        read_sockets(node, poll_fd);
        hear_sentinels(node, poll_fd);
    }
    if (node->config->tls) lk_tls_end_thread();
    return NULL;
}

/* The application's signals are its own: none is ever delivered to this thread. */
int lk_node_start(lk_node *node, char *error, size_t error_size)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&node->thread, NULL, run_link, node);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    node->started = !failed;
    if (node->started) pthread_setname_np(node->thread, "latchkey");
    else snprintf(error, error_size, "no thread is left for the link: %s (see ulimit -u)", lk_errno_text(failed));
    return failed ? LATCHKEY_UNAVAILABLE : LATCHKEY_OK;
}
