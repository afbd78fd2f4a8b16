/* See node.h. The shell around the link: one thread, two sockets, and an eventfd to wake it. */
#include "l2/node.h"

#include "base/clock.h"
#include "base/errno_text.h"
#include "base/hash.h"
#include "base/log.h"
#include "l2/node_parts.h"
#include "observe/events.h"
#include "redis/tls_guard.h"
#include "base/lock.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert((int)LK_REFRESH_QUEUE_HANDS >= (int)LK_LINK_JOBS, "a place for each refresh in flight");

enum {
    PENDING_RETRY_MS = 200,
    CONNECT_MOST_MS = 1000,
    CONNECT_NAMED_MS = 250,
    SILENCE_MOST_MS = 1000,
    LOOKUP_MS = 100
};

static void raise_event(lk_node *node, int event_fd)
{
    if (!lk_raise(event_fd)) lk_node_trouble(node, LATCHKEY_UNAVAILABLE, "an eventfd of the link failed");
}

/* ----------------------------------------------------------------------------- the link's other side -- */

static void on_emptying(void *context, lk_partitions partitions) { lk_lease_void(context, partitions); }

/* A revocation that was retried is done. `told` is what its last run said, if that run ended the session. */
static void tell(lk_node *node, const lk_pending_item *was, const char *told)
{
    lk_book *book = node->book;
    lk_lock_take(&book->lock);
    book->retried++;
    pthread_cond_broadcast(&book->changed);
    lk_lock_give(&book->lock);
    if (!was->silent) lk_event_revoked(node->config, *told ? told : was->told, "token");
}

static void settle(lk_node *node, int64_t sent_ms)
{
    lk_pending_item was;
    while (lk_pending_settle(node->book->pending, sent_ms, node, &was)) tell(node, &was, "");
}

static void say_refusal(lk_node *node)
{
    char text[sizeof node->refusal];
    lk_lock_take(&node->lock);
    memcpy(text, node->refusal, sizeof text);
    node->refusal[0] = 0;
    lk_lock_give(&node->lock);
    if (*text) lk_log(LATCHKEY_LOG_ERROR, "redis: %s", text);
}

static void on_lease(void *context, lk_partitions partitions, int64_t sent_ms, uint64_t incarnation,
                     int64_t server_ahead_us)
{
    lk_node *node = context;
    bool back = !atomic_exchange_explicit(&node->connected, true, memory_order_relaxed);
    if (atomic_load_explicit(&node->holds, memory_order_relaxed) != incarnation || back) lk_pool_renew(node->pool);
    if (node->config->durability) settle(node, sent_ms);
    lk_lease_confirm(node, partitions, sent_ms, incarnation, server_ahead_us);
    lk_lock_take(&node->lock);
    node->leased = true;
    node->withheld[0] = 0;
    pthread_cond_broadcast(&node->changed);
    lk_lock_give(&node->lock);
    say_refusal(node);
}

static void on_trouble(void *context, int status, const char *text)
{
    lk_node *node = context;
    lk_node_trouble(node, status, text);
}

static void on_withheld(void *context, const char *text)
{
    lk_node *node = context;
    lk_lock_take(&node->lock);
    snprintf(node->withheld, sizeof node->withheld, "%s", text);
    lk_lock_give(&node->lock);
    lk_node_trouble(node, LATCHKEY_UNAVAILABLE, text);
}

/* Called before the link lists the recent revocations, under their lock: a revocation that is added after that sees
 * this. */
static void on_met(void *context, uint64_t incarnation, lk_partitions partitions)
{
    lk_node *node = context;
    atomic_store_explicit(&node->met, incarnation, memory_order_relaxed);
    for (size_t i = 0; i < partitions.count; i++)
        atomic_fetch_add_explicit(&node->book->leases->of[partitions.at[i]].meetings, 1, memory_order_release);
}

static bool next_refresh(lk_node *node, int64_t now_ms, lk_job *job)
{
    lk_refresh_item *item;
    memset(job, 0, sizeof *job);
    while ((item = lk_inbox_take_refresh(node->book->inbox, now_ms)) &&
           !node->l1.refresh(node->l1.context, item, job)) {
        lk_refresh_queue_done(item);
        lk_count(node->counters, LK_REFRESHES_DROPPED, 1);
    }
    if (!item) {
        job->kind = LK_JOB_NONE;
        return false;
    }
    if (job->kind == LK_JOB_REFRESH) job->item = item;
    else {
        lk_refresh_queue_done(item);
        lk_count(node->counters, LK_TOUCHES, 1);
    }
    return true;
}

static bool next_of_inbox(lk_node *node, int64_t now_ms, lk_job *job)
{
    lk_pending_item of;
    lk_touch touch;
    bool proven;
    if (!lk_inbox_take(node->book->inbox, &of, &touch, &proven)) return next_refresh(node, now_ms, job);
    *job = (lk_job){.kind = LK_JOB_TOUCH, .proven = proven, .of = of, .touch = touch};
    if (!proven) node->l1.touching(node->l1.context, job);
    return true;
}

/* Revocations first. They are taken in rounds, some time apart. */
static bool on_next_job(void *context, int64_t now_ms, lk_job *job)
{
    lk_node *node = context;
    if (lk_pending_retries(node->book->pending) && now_ms >= node->pending_retry_ms) {
        memset(job, 0, sizeof *job);
        if (lk_pending_next(node->book->pending, &node->pending_cursor, &job->of)) {
            job->kind = LK_JOB_REVOKE;
            return true;
        }
        node->pending_cursor = 0;
        node->pending_retry_ms = now_ms + PENDING_RETRY_MS;
    }
    return next_of_inbox(node, now_ms, job);
}

static void on_job_done(void *context, const lk_job *job, int status)
{
    lk_node *node = context;
    if (job->kind == LK_JOB_REVOKE && status == LATCHKEY_OK) {
        lk_pending_item was;
        if (node->config->durability) lk_pending_ran(node->book->pending, &job->of, lk_now_ms(), node);
        else if (lk_pending_done(node->book->pending, &job->of, &was)) tell(node, &was, job->of.told);
    }
    /* A touch that failed is asked for again by the next use that finds it due. */
    if (job->kind == LK_JOB_TOUCH && status) lk_count(node->counters, LK_TOUCHES_DROPPED, 1);
    if (job->kind != LK_JOB_REFRESH) return;
    if (status) lk_count(node->counters, LK_REFRESHES_DROPPED, 1);
    lk_refresh_queue_done(job->item);
}

static void on_node_stats(void *context, lk_beat_stats *stats)
{
    lk_node *node = context;
    const lk_lease *lease = &node->book->leases->of[node->partitions.at[0]];
    int64_t until_ms = atomic_load_explicit(&lease->until_ms, memory_order_relaxed); /* written by this thread */
    stats->lease_age_ms = until_ms ? lk_now_ms() - (until_ms - node->config->staleness_ms) : -1;
    stats->in_flight = lk_pool_callers(node->pool);
    stats->pending = (int64_t)lk_pending_retries(node->book->pending);
}

/* Without durability, more than half of the sentinels must name this primary, asked with the beat. With durability, the
 * replicas that hold what was written show the same, and the sentinels may be away. */
static bool on_vouched(void *context, int64_t since_ms)
{
    lk_node *node = context;
    return node->config->durability || lk_naming_vouched(lk_sentinels_naming(node->sentinels), since_ms);
}

static void on_sign(void *context, const char *text)
{
    lk_node *node = context;
    lk_topology_sign(node->topology, node, text);
}

/* ------------------------------------------------------------------------------------------------ thread -- */

static void close_sockets(lk_node *node)
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

/* The server that the sentinels name; NULL: the configuration's address is used. */
static const lk_host *where(const lk_node *node)
{
    return node->sentinels ? &lk_sentinels_naming(node->sentinels)->primary : NULL;
}

/* The host's addresses; if they cannot be found now, the last known ones. */
static bool find_addresses(lk_node *node, char *error, size_t error_size)
{
    lk_addresses found;
    int64_t patience = node->addresses.count ? LOOKUP_MS : CONNECT_MOST_MS;
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

static void connect_sockets(lk_node *node)
{
    if (awaits_name(node)) return;
    char error[160] = "";
    /* If one tick found the link down and its retry due, as after a pause, the old sockets are still open. */
    close_sockets(node);
    int64_t most = lk_later(node->config->deadline_ms, node->sentinels ? CONNECT_NAMED_MS : CONNECT_MOST_MS);
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
    int64_t wait = wake_ms - now_ms;
    if (wait > PENDING_RETRY_MS && lk_pending_retries(node->book->pending)) wait = PENDING_RETRY_MS;
    return lk_inbox_nap(node->book->inbox, now_ms, wait);
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
    poll_fd[WAKE] = (struct pollfd){.fd = node->book->wake_fd, .events = POLLIN};
    nfds_t count = SENTINELS;
    if (node->sentinels) count += lk_sentinels_poll(node->sentinels, poll_fd + SENTINELS, lk_now_ms());
    int64_t wait = nap_ms(node, lk_now_ms());
    if (poll(poll_fd, count, wait > 0 ? (int)wait : 0) < 0) memset(poll_fd, 0, sizeof *poll_fd * POLLED);
    uint64_t times;
    if (poll_fd[WAKE].revents && read(node->book->wake_fd, &times, sizeof times) < 0 && errno != EAGAIN &&
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
        if (atomic_exchange_explicit(&node->beat_wanted, false, memory_order_acq_rel))
            lk_link_beat_now(&node->link, lk_now_ms());
        uint64_t suspect = atomic_exchange_explicit(&node->suspect, 0, memory_order_acq_rel);
        if (suspect) lk_link_suspect(&node->link, suspect);
        lk_link_tick(&node->link, lk_now_us());
        lk_notices_say(node->config->notices);
        if (node->link.state == LK_LINK_DOWN) close_sockets(node);
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

/* ---------------------------------------------------------------------------------------- open and close -- */

static void close_fd(int fd)
{
    if (fd >= 0) close(fd);
}

static bool build_node(lk_node *node)
{
    lk_link_host host = {node,   on_emptying, on_lease,    on_trouble,    on_withheld,
                         on_met, on_next_job, on_job_done, on_node_stats, node->config->sentinels ? on_vouched : NULL,
                         on_sign};
    lk_link_known known = {node->book->cutoffs, node->book->recent};
    uint64_t seed;
    lk_random(&seed, sizeof seed);
    node->pool = lk_pool_open(node->config, node->counters);
    if (node->config->sentinels && !(node->sentinels = lk_sentinels_open(node->config, lk_now_ms()))) return false;
    node->named_by_ms = lk_now_ms() + node->config->deadline_ms / 2;
    return node->pool && lk_link_open(&node->link, node->config, node->partitions, known, &host, &node->l1,
                                      node->counters, seed, lk_now_ms());
}

int lk_node_open(lk_topology *topology, lk_partitions partitions, lk_node **out, char *error, size_t error_size)
{
    lk_node *node = calloc(1, sizeof *node);
    if (!node) return LATCHKEY_NO_MEMORY;
    node->topology = topology;
    node->config = topology->config;
    node->counters = topology->counters;
    node->book = &topology->book;
    node->partitions = partitions;
    node->l1 = topology->l1;
    for (int i = 0; i < LK_LINK_CONNECTIONS; i++) node->socket[i] = LK_NO_SOCKET;
    lk_lock_open(&node->lock, LK_RANK_NODE);
    lk_cond_init(&node->changed);
    node->stop_fd = -1;
    int status = lk_book_descriptor(&node->stop_fd, error, error_size);
    if (!status && !build_node(node)) status = LATCHKEY_NO_MEMORY;
    if (status) lk_node_close(node);
    else *out = node;
    return status;
}

/* A process that stops has to know, and can wait before it does: latchkey_stats says how many are pending. */
static void say_given_up(const lk_node *node)
{
    size_t given_up = lk_pending_retries(node->book->pending);
    if (given_up)
        lk_log(LATCHKEY_LOG_ERROR,
               "close: %zu revocations that Redis has not confirmed are given up: these sessions may live on. Before a "
               "stop, "
               "wait until `pending` (latchkey_stats_read) is 0",
               given_up);
}

void lk_node_close(lk_node *node)
{
    if (!node) return;
    if (node->started) {
        atomic_store_explicit(&node->stop, true, memory_order_release);
        raise_event(node, node->stop_fd);
        raise_event(node, node->book->wake_fd);
        pthread_join(node->thread, NULL);
    }
    say_given_up(node);
    close_sockets(node);
    lk_lookup_leave(&node->lookup);
    lk_sentinels_close(node->sentinels);
    close_fd(node->stop_fd);
    lk_pool_close(node->pool);
    lk_link_close(&node->link);
    pthread_cond_destroy(&node->changed);
    lk_lock_close(&node->lock);
    free(node);
}

void lk_node_abandon(lk_node *node)
{
    for (int i = 0; i < LK_LINK_CONNECTIONS; i++) close_fd(node->socket[i].fd);
    lk_sentinels_abandon(node->sentinels);
    close_fd(node->stop_fd);
    lk_pool_abandon(node->pool);
}

int lk_node_wait(lk_node *node, int64_t deadline_ms, char *error, size_t error_size)
{
    lk_lock_take(&node->lock);
    int late = 0;
    while (!node->leased && node->status != LATCHKEY_CONFIG && !late)
        late = lk_lock_wait_until(&node->lock, &node->changed, deadline_ms);
    int status = node->leased ? LATCHKEY_OK : node->status ? node->status : LATCHKEY_UNAVAILABLE;
    if (status)
        snprintf(error, error_size, "%s", node->trouble[0] ? node->trouble : "Redis did not answer within deadline_ms");
    lk_lock_give(&node->lock);
    return status;
}

/* ------------------------------------------------------------------------------------- from other threads -- */

lk_pool *lk_node_pool(lk_node *node) { return node->pool; }
const lk_host *lk_node_host(const lk_node *node)
{
    (void)node;
    return NULL;
}
bool lk_node_connected(const lk_node *node) { return atomic_load_explicit(&node->connected, memory_order_relaxed); }
bool lk_node_owns(const lk_node *node) { return node->partitions.count > 0; }
uint64_t lk_node_met(const lk_node *node) { return atomic_load_explicit(&node->met, memory_order_relaxed); }

void lk_node_wake(lk_node *node) { raise_event(node, node->book->wake_fd); }

void lk_node_touch(lk_node *node, const lk_touch *touch) { lk_inbox_touch(node->book->inbox, touch); }

void lk_node_refresh(lk_node *node, const char *token, int64_t now_ms, int64_t patience_ms)
{
    /* A session that cannot be read now is not asked for later. */
    if (lk_node_connected(node)) lk_inbox_refresh(node->book->inbox, token, now_ms, patience_ms);
}

bool lk_node_reused(lk_node *node, const lk_token *token) { return lk_inbox_reused(node->book->inbox, token); }

static void note_refusal_locked(lk_node *node, const char *text)
{
    lk_lock_assert(&node->lock);
    uint64_t hash = lk_hash(text, strlen(text), 0);
    for (size_t i = 0; i < node->refused_count; i++)
        if (node->refused[i] == hash) return;
    if (node->refusal[0] || node->refused_count == LK_NODE_REFUSALS_SAID) return; /* at the next time */
    node->refused[node->refused_count++] = hash;
    snprintf(node->refusal, sizeof node->refusal, "%s", text);
}

void lk_node_trouble(lk_node *node, int status, const char *text)
{
    lk_lock_take(&node->lock);
    /* The link itself logs what keeps it from being up (link_log.h). */
    if (status == LATCHKEY_CONFIG && lk_node_connected(node)) note_refusal_locked(node, text);
    node->status = status;
    node->trouble_ms = lk_now_ms();
    snprintf(node->trouble, sizeof node->trouble, "%s", text);
    pthread_cond_broadcast(&node->changed);
    lk_lock_give(&node->lock);
}

int64_t lk_node_last_trouble(lk_node *node, char *text, size_t size)
{
    lk_lock_take(&node->lock);
    snprintf(text, size, "%s", node->trouble);
    int64_t at_ms = node->trouble_ms;
    lk_lock_give(&node->lock);
    return at_ms;
}

uint64_t lk_node_ran_on(const lk_node *node, enum lk_script_id script)
{
    return atomic_load_explicit(&node->ran_on[script], memory_order_relaxed);
}

void lk_node_note_ran(lk_node *node, enum lk_script_id script, uint64_t incarnation)
{
    atomic_store_explicit(&node->ran_on[script], incarnation, memory_order_relaxed);
}
