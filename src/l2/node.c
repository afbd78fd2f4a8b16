/* See node.h. The shell round the link: one thread, two sockets, an eventfd to wake it. Lock: node.lock alone. */
#include "l2/node.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "observe/events.h"
#include "base/secure_memory.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

_Static_assert((int)LK_REFRESH_QUEUE_HANDS >= (int)LK_LINK_JOBS, "a place for each refresh in flight");

enum {
    TOUCHES_MAX = 4096,
    REUSED_MAX = 64,
    REFUSALS_SAID = 32,
    PENDING_RETRY_MS = 200,
    CONNECT_MOST_MS = 1000,
    SILENCE_MOST_MS = 1000
};

typedef struct touch {
    unsigned partition;
    char selector[LATCHKEY_SELECTOR_LENGTH];
} touch;

struct lk_node {
    const lk_config *config;
    lk_counters *counters;
    lk_node_host host;
    lk_lease *lease; /* a page of its own */
    lk_pool *pool;
    lk_pending *pending;
    lk_refresh_queue *refresh_queue;
    pthread_t thread;
    bool started;
    int wake_fd, stop_fd; /* eventfds: there is work; the end has come, also for a connection being made */
    _Atomic bool stop, connected, beat_wanted;
    _Atomic int lease_fd; /* to be raised when the lease is confirmed, or -1 */
    /* When the link's thread looks at its work next. Relaxed: whoever reads a stale one leaves it asleep, and a refresh
     * comes later, or wakes it in vain. */
    _Atomic int64_t sleeps_until_ms;
    _Atomic uint64_t met; /* the incarnation that the link met last, 0: none yet */

    /* the link's thread alone: */
    lk_link link;
    lk_socket socket[LK_LINK_CONNECTIONS];
    size_t pending_cursor;
    int64_t pending_retry_ms;

    pthread_mutex_t lock;
    pthread_cond_t changed; /* the lease, or `status` */
    /* guarded by lock: */
    touch touches[TOUCHES_MAX]; /* a ring */
    size_t first_touch, touch_count;
    lk_pending_item reused[REUSED_MAX]; /* a stack */
    size_t reused_count;
    bool leased; /* once */
    int status;  /* of the newest trouble, and what it was: */
    char trouble[160];
    /* What Redis refuses until somebody acts is said to the log, once each: by the link's thread, since a log function may not
     * run under the locks that callers hold. */
    char refusal[160]; /* "": none to be said */
    uint64_t refused[REFUSALS_SAID];
    size_t refused_count;
};

static void raise_event(lk_node *node, int event_fd)
{
    uint64_t one = 1;
    ssize_t wrote;
    do wrote = write(event_fd, &one, sizeof one);
    while (wrote < 0 && errno == EINTR);
    /* EAGAIN: the counter is full, so it is raised already. */
    if (wrote < 0 && errno != EAGAIN) lk_node_trouble(node, LATCHKEY_UNAVAILABLE, "an eventfd of the link failed");
}

static void want_beat(lk_node *node)
{
    if (!atomic_exchange(&node->beat_wanted, true)) raise_event(node, node->wake_fd);
}

/* ----------------------------------------------------------------------------- the link's other side -- */

static void on_purge(void *context, const char *selector)
{
    lk_node *node = context;
    node->host.purge(node->host.context, selector);
}

static void on_empty(void *context)
{
    lk_node *node = context;
    /* First: whoever takes a ticket after the emptying also sees that no server is the lease's, and fills nothing that
     * an older one answered, until the next lease names the server that it is of. */
    atomic_store_explicit(&node->lease->incarnation, 0, memory_order_relaxed);
    node->host.empty(node->host.context);
}

/* The server is the one that it was, and what is asked of it now, or was since the epochs are known, counts. */
static void on_everyone(void *context)
{
    lk_node *node = context;
    node->host.everyone(node->host.context);
}

/* A revocation that was retried is done with; `told` is what its last run said, if that ended it. */
static void tell(const lk_node *node, const lk_pending_item *was, const char *told)
{
    if (!was->silent) lk_event_revoked(node->config, *told ? told : was->told, "token");
}

static void settle(lk_node *node, int64_t sent_ms)
{
    lk_pending_item was;
    while (lk_pending_settle(node->pending, sent_ms, &was)) tell(node, &was, "");
}

static void say_refusal(lk_node *node)
{
    char text[sizeof node->refusal];
    pthread_mutex_lock(&node->lock);
    memcpy(text, node->refusal, sizeof text);
    node->refusal[0] = 0;
    pthread_mutex_unlock(&node->lock);
    if (*text) lk_log(LATCHKEY_LOG_ERROR, "redis: %s", text);
}

static void on_lease(void *context, int64_t sent_ms, uint64_t incarnation, int64_t server_ahead_us)
{
    lk_node *node = context;
    bool back = !atomic_exchange(&node->connected, true);
    atomic_store_explicit(&node->lease->server_ahead_us, server_ahead_us, memory_order_relaxed);
    if (atomic_load_explicit(&node->lease->incarnation, memory_order_relaxed) != incarnation || back)
        lk_pool_renew(node->pool);
    atomic_store_explicit(&node->lease->incarnation, incarnation, memory_order_relaxed);
    /* Release, with validate's acquire: who sees this lease sees every purge that was applied before it. */
    atomic_store_explicit(&node->lease->until_ms, sent_ms + node->config->staleness_ms, memory_order_release);
    int waiting_fd = atomic_exchange(&node->lease_fd, -1);
    if (waiting_fd >= 0) raise_event(node, waiting_fd);
    if (node->config->durability) settle(node, sent_ms);
    pthread_mutex_lock(&node->lock);
    node->leased = true;
    pthread_cond_broadcast(&node->changed);
    pthread_mutex_unlock(&node->lock);
    say_refusal(node);
}

static void on_trouble(void *context, int status, const char *text)
{
    lk_node *node = context;
    lk_node_trouble(node, status, text);
}

/* Before the link lists the recent revocations, under their lock: who adds one after that sees it. */
static void on_met(void *context, uint64_t incarnation)
{
    lk_node *node = context;
    atomic_store(&node->met, incarnation);
}

static bool pop_touch(lk_node *node, lk_job *job)
{
    pthread_mutex_lock(&node->lock);
    bool found = node->touch_count > 0;
    if (found) {
        const touch *t = &node->touches[node->first_touch];
        *job = (lk_job){.kind = LK_JOB_TOUCH, .of = {.partition = t->partition}};
        memcpy(job->of.selector, t->selector, sizeof t->selector);
        node->first_touch = (node->first_touch + 1) % TOUCHES_MAX;
        node->touch_count--;
    }
    pthread_mutex_unlock(&node->lock);
    return found;
}

static bool pop_refresh(lk_node *node, int64_t now_ms, lk_job *job)
{
    lk_refresh_item *item;
    uint64_t let_go;
    bool found = false;
    memset(job, 0, sizeof *job);
    do {
        item = lk_refresh_queue_take(node->refresh_queue, now_ms, &let_go);
        found = item && node->host.refresh(node->host.context, item, &job->of);
        if (item && !found) lk_refresh_queue_done(item);
        lk_count(node->counters, LK_REFRESHES_DROPPED, let_go + (item && !found));
    } while (item && !found);
    job->kind = found ? LK_JOB_REFRESH : LK_JOB_NONE;
    job->item = item;
    return found;
}

static bool pop_reused(lk_node *node, lk_job *job)
{
    pthread_mutex_lock(&node->lock);
    bool found = node->reused_count > 0;
    if (found) *job = (lk_job){.kind = LK_JOB_TOUCH, .proven = true, .of = node->reused[--node->reused_count]};
    pthread_mutex_unlock(&node->lock);
    return found;
}

/* Revocations first. They are gone through in rounds, a while apart. */
static bool on_next_job(void *context, int64_t now_ms, lk_job *job)
{
    lk_node *node = context;
    if (lk_pending_retries(node->pending) && now_ms >= node->pending_retry_ms) {
        memset(job, 0, sizeof *job);
        if (lk_pending_next(node->pending, &node->pending_cursor, &job->of)) {
            job->kind = LK_JOB_REVOKE;
            return true;
        }
        node->pending_cursor = 0;
        node->pending_retry_ms = now_ms + PENDING_RETRY_MS;
    }
    return pop_reused(node, job) || pop_touch(node, job) || pop_refresh(node, now_ms, job);
}

static void on_job_done(void *context, const lk_job *job, int status)
{
    lk_node *node = context;
    if (job->kind == LK_JOB_REVOKE && status == LATCHKEY_OK) {
        lk_pending_item was;
        if (node->config->durability) lk_pending_ran(node->pending, &job->of, lk_now_ms());
        else if (lk_pending_done(node->pending, &job->of, &was)) tell(node, &was, job->of.told);
    }
    /* A touch that failed is asked for again by the next use that finds it due. */
    if (job->kind == LK_JOB_TOUCH && status) lk_count(node->counters, LK_TOUCHES_DROPPED, 1);
    if (job->kind != LK_JOB_REFRESH) return;
    if (status) lk_count(node->counters, LK_REFRESHES_DROPPED, 1);
    lk_refresh_queue_done(job->item);
}

static void on_refreshed(void *context, const lk_job *job, const lk_reply *value, const lk_reply *pttl,
                         uint64_t incarnation)
{
    lk_node *node = context;
    node->host.refreshed(node->host.context, job->item, value, pttl, incarnation);
}

static void on_pulse(void *context, lk_beat_stats *pulse)
{
    lk_node *node = context;
    int64_t until_ms = atomic_load_explicit(&node->lease->until_ms, memory_order_relaxed); /* this thread's own */
    pulse->lease_age_ms = until_ms ? lk_now_ms() - (until_ms - node->config->staleness_ms) : -1;
    pulse->in_flight = lk_pool_callers(node->pool);
    pulse->pending = (int64_t)lk_pending_retries(node->pending);
    node->host.pulse(node->host.context, pulse);
}

static bool on_sample(void *context, uint64_t random, int64_t now_ms, lk_entry_sample *out)
{
    lk_node *node = context;
    return node->host.sample(node->host.context, random, now_ms, out);
}

static bool on_still(void *context, const lk_entry_sample *seen)
{
    lk_node *node = context;
    return node->host.still(node->host.context, seen);
}

/* ------------------------------------------------------------------------------------------------ thread -- */

static void close_sockets(lk_node *node)
{
    /* What the callers hold is connected to the same server: it may not be what it was. New lines ask it. */
    if (lk_net_is_open(&node->socket[LK_LINK_COMMANDS])) lk_pool_renew(node->pool);
    if (node->pending) lk_pending_unsettle(node->pending);
    for (int i = 0; i < LK_LINK_CONNECTIONS; i++) lk_net_close(&node->socket[i]);
    atomic_store(&node->connected, false);
}

/* Asked where the server's side of the handshake is late: before open has used up its deadline, so that it can say so. */
static bool speaks_plainly(lk_node *node, const lk_addresses *addresses)
{
    int64_t patience =
        node->config->deadline_ms / 3 < SILENCE_MOST_MS ? node->config->deadline_ms / 3 : SILENCE_MOST_MS;
    return !lk_net_wait(&node->socket[LK_LINK_COMMANDS], POLLIN, lk_now_ms() + patience, node->stop_fd) &&
           lk_net_speaks_plainly(addresses, lk_now_ms() + patience, node->stop_fd);
}

static void connect_sockets(lk_node *node)
{
    char error[160] = "";
    lk_addresses addresses;
    /* Where one tick found the link down and its retry due, as after a pause, the old ones are still open. */
    close_sockets(node);
    int64_t most = node->config->deadline_ms < CONNECT_MOST_MS ? CONNECT_MOST_MS : node->config->deadline_ms;
    bool good = lk_net_resolve(node->config, &addresses, error, sizeof error);
    if (good) lk_pool_addresses(node->pool, &addresses);
    for (int i = 0; i < LK_LINK_CONNECTIONS && good && !node->stop; i++)
        good = lk_net_connect(&addresses, lk_now_ms() + most, node->stop_fd, &node->socket[i], error, sizeof error);
    bool plain = good && addresses.tls && speaks_plainly(node, &addresses);
    if (plain)
        lk_link_lost(&node->link, lk_now_ms(), LATCHKEY_CONFIG,
                     "the server does not speak TLS: use redis://, or the port that is for TLS");
    else if (good) lk_link_connected(&node->link, lk_now_ms());
    else lk_link_lost(&node->link, lk_now_ms(), LATCHKEY_UNAVAILABLE, error);
}

/* What waiting cannot mend needs somebody to act. */
static void lost(lk_node *node, const lk_socket *s, const char *why)
{
    lk_link_lost(&node->link, lk_now_ms(), s->refused ? LATCHKEY_CONFIG : LATCHKEY_UNAVAILABLE, why);
}

/* Writes what the link has to say; then waits for something to happen. */
static void wait_for_events(lk_node *node, struct pollfd poll_fd[LK_LINK_CONNECTIONS + 1])
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
    poll_fd[LK_LINK_CONNECTIONS] = (struct pollfd){.fd = node->wake_fd, .events = POLLIN};
    int64_t wait = lk_link_wake_ms(&node->link) - lk_now_ms();
    if (wait > PENDING_RETRY_MS && lk_pending_retries(node->pending)) wait = PENDING_RETRY_MS;
    atomic_store_explicit(&node->sleeps_until_ms, lk_now_ms() + wait, memory_order_relaxed);
    if (poll(poll_fd, LK_LINK_CONNECTIONS + 1, wait > 0 ? (int)wait : 0) < 0) memset(poll_fd, 0, sizeof *poll_fd * 3);
    uint64_t times;
    if (poll_fd[LK_LINK_CONNECTIONS].revents && read(node->wake_fd, &times, sizeof times) < 0 && errno != EAGAIN &&
        errno != EINTR) /* the next poll finds it again */
        lk_node_trouble(node, LATCHKEY_UNAVAILABLE, "the link's eventfd failed");
}

static void read_sockets(lk_node *node, const struct pollfd poll_fd[LK_LINK_CONNECTIONS + 1])
{
    char error[160];
    for (int i = 0; i < LK_LINK_CONNECTIONS; i++) {
        if (!lk_net_is_open(&node->socket[i]) || !poll_fd[i].revents || node->link.state == LK_LINK_DOWN) continue;
        enum lk_net_io got = lk_net_fill(&node->socket[i], &node->link.conn[i], error, sizeof error);
        if (got == LK_NET_LOST) lost(node, &node->socket[i], error);
        else if (got == LK_NET_DONE) lk_link_fed(&node->link, i, lk_now_us());
    }
}

static void *run(void *context)
{
    lk_node *node = context;
    struct pollfd poll_fd[LK_LINK_CONNECTIONS + 1];
    while (!atomic_load(&node->stop)) {
        if (atomic_exchange(&node->beat_wanted, false)) lk_link_beat_now(&node->link, lk_now_ms());
        lk_link_tick(&node->link, lk_now_us());
        if (node->link.state == LK_LINK_DOWN) close_sockets(node);
        if (node->link.state == LK_LINK_CONNECTING) connect_sockets(node);
        memset(poll_fd, 0, sizeof poll_fd);
        wait_for_events(node, poll_fd);
        read_sockets(node, poll_fd);
    }
    return NULL;
}

/* The application's signals are its own: none is ever delivered to this thread. */
static bool start(lk_node *node)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    node->started = pthread_create(&node->thread, NULL, run, node) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (node->started) pthread_setname_np(node->thread, "latchkey");
    return node->started;
}

/* ---------------------------------------------------------------------------------------- open and close -- */

static void close_fd(int fd)
{
    if (fd >= 0) close(fd);
}

lk_node *lk_node_open(const lk_config *config, lk_counters *counters, const lk_node_host *host)
{
    lk_node *node = calloc(1, sizeof *node);
    if (!node) return NULL;
    node->config = config;
    node->counters = counters;
    node->host = *host;
    for (int i = 0; i < LK_LINK_CONNECTIONS; i++) node->socket[i] = LK_NO_SOCKET;
    pthread_mutex_init(&node->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&node->changed, &attr);
    pthread_condattr_destroy(&attr);
    lk_link_host link_host = {node,        on_purge,    on_empty,     on_everyone, on_lease,  on_trouble, on_met,
                              on_next_job, on_job_done, on_refreshed, on_pulse,    on_sample, on_still};
    uint64_t seed[2];
    lk_random(seed, sizeof seed);
    node->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    node->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    atomic_store(&node->lease_fd, -1);
    node->lease = lk_map(sizeof *node->lease, true);
    if (node->lease) atomic_store(&node->lease->alive, 1);
    node->pool = lk_pool_open(config, counters);
    node->pending = lk_pending_open();
    node->refresh_queue = lk_refresh_queue_open(seed[1]);
    bool good = node->wake_fd >= 0 && node->stop_fd >= 0 && node->lease && node->pool && node->pending &&
                node->refresh_queue && lk_link_open(&node->link, config, &link_host, counters, seed[0], lk_now_ms()) &&
                start(node);
    if (good) return node;
    lk_node_close(node);
    return NULL;
}

void lk_node_close(lk_node *node)
{
    if (!node) return;
    if (node->started) {
        atomic_store(&node->stop, true);
        raise_event(node, node->stop_fd);
        raise_event(node, node->wake_fd);
        pthread_join(node->thread, NULL);
    }
    close_sockets(node);
    close_fd(node->wake_fd);
    close_fd(node->stop_fd);
    lk_link_close(&node->link);
    lk_pool_close(node->pool);
    lk_pending_close(node->pending);
    lk_refresh_queue_close(node->refresh_queue);
    lk_unmap(node->lease, sizeof *node->lease);
    pthread_cond_destroy(&node->changed);
    pthread_mutex_destroy(&node->lock);
    free(node);
}

void lk_node_abandon(lk_node *node)
{
    for (int i = 0; i < LK_LINK_CONNECTIONS; i++) close_fd(node->socket[i].fd);
    close_fd(node->wake_fd);
    close_fd(node->stop_fd);
    lk_pool_abandon(node->pool);
}

int lk_node_wait(lk_node *node, int64_t deadline_ms, char *error, size_t error_size)
{
    struct timespec until = {.tv_sec = deadline_ms / 1000, .tv_nsec = deadline_ms % 1000 * 1000000};
    pthread_mutex_lock(&node->lock);
    int late = 0;
    while (!node->leased && node->status != LATCHKEY_CONFIG && !late)
        late = pthread_cond_timedwait(&node->changed, &node->lock, &until);
    int status = node->leased ? LATCHKEY_OK : node->status ? node->status : LATCHKEY_UNAVAILABLE;
    if (status)
        snprintf(error, error_size, "%s", node->trouble[0] ? node->trouble : "Redis did not answer within deadline_ms");
    pthread_mutex_unlock(&node->lock);
    return status;
}

/* OK, AGAIN, or UNAVAILABLE: not yet. `until` first: the incarnation read behind it is that lease's, or a later one's. */
int lk_node_lease_covers_now(const lk_node *node, uint64_t incarnation)
{
    int64_t until_ms = atomic_load_explicit(&node->lease->until_ms, memory_order_acquire);
    uint64_t leased = atomic_load_explicit(&node->lease->incarnation, memory_order_relaxed);
    if (lk_now_ms() >= until_ms || !leased) return LATCHKEY_UNAVAILABLE;
    return leased == incarnation ? LATCHKEY_OK : LATCHKEY_AGAIN;
}

uint64_t lk_node_lease_owner(lk_node *node)
{
    return atomic_load_explicit(&node->lease->incarnation, memory_order_acquire);
}

/* The same, of a beat that was sent after since_ms. */
static int vouched_since(const lk_node *node, uint64_t incarnation, int64_t since_ms)
{
    int64_t until_ms = atomic_load_explicit(&node->lease->until_ms, memory_order_acquire);
    bool later = until_ms - node->config->staleness_ms > since_ms;
    return later ? lk_node_lease_covers_now(node, incarnation) : LATCHKEY_UNAVAILABLE;
}

int lk_node_lease_covers(lk_node *node, uint64_t incarnation, int64_t deadline_ms)
{
    return lk_node_lease_covers_since(node, incarnation, INT64_MIN, deadline_ms);
}

int lk_node_lease_covers_since(lk_node *node, uint64_t incarnation, int64_t since_ms, int64_t deadline_ms)
{
    int status = vouched_since(node, incarnation, since_ms), late = 0;
    struct timespec until = {.tv_sec = deadline_ms / 1000, .tv_nsec = deadline_ms % 1000 * 1000000};
    while (status == LATCHKEY_UNAVAILABLE && !late) {
        want_beat(node);
        pthread_mutex_lock(&node->lock);
        /* Looked at again under the lock that the news is told under: it may have come meanwhile. */
        if (vouched_since(node, incarnation, since_ms) == LATCHKEY_UNAVAILABLE)
            late = pthread_cond_timedwait(&node->changed, &node->lock, &until);
        pthread_mutex_unlock(&node->lock);
        status = vouched_since(node, incarnation, since_ms);
    }
    if (status == LATCHKEY_AGAIN && incarnation)
        lk_pool_renew(node->pool); /* the next line is made now, and asks who is there */
    if (status == LATCHKEY_UNAVAILABLE && lk_node_connected(node))
        lk_node_trouble(node, status,
                        "an answer of Redis was not used: the lease has lapsed, and no beat came in time");
    return status;
}

void lk_node_await_lease(lk_node *node, int event_fd)
{
    atomic_store(&node->lease_fd, event_fd);
    want_beat(node);
}

/* ------------------------------------------------------------------------------------- from other threads -- */

lk_lease *lk_node_lease(lk_node *node) { return node->lease; }
lk_pool *lk_node_pool(lk_node *node) { return node->pool; }
lk_pending *lk_node_pending(lk_node *node) { return node->pending; }
lk_refresh_queue *lk_node_refresh_queue(lk_node *node) { return node->refresh_queue; }
const lk_cutoffs *lk_node_cutoffs(const lk_node *node) { return node->link.cutoffs; }
bool lk_node_connected(const lk_node *node) { return atomic_load(&node->connected); }

void lk_node_wake(lk_node *node) { raise_event(node, node->wake_fd); }

bool lk_node_remember(lk_node *node, unsigned partition, const char *selector, uint64_t incarnation)
{
    lk_recent_add(node->link.recent, partition, selector, lk_now_ms());
    uint64_t met = atomic_load(&node->met);
    return !met || met == incarnation;
}

void lk_node_touch(lk_node *node, unsigned partition, const char *selector)
{
    pthread_mutex_lock(&node->lock);
    bool room = node->touch_count < TOUCHES_MAX, first = !node->touch_count;
    if (room) {
        touch *t = &node->touches[(node->first_touch + node->touch_count++) % TOUCHES_MAX];
        t->partition = partition;
        memcpy(t->selector, selector, sizeof t->selector);
    }
    pthread_mutex_unlock(&node->lock);
    lk_count(node->counters, room ? LK_TOUCHES : LK_TOUCHES_DROPPED, 1);
    if (room && first) lk_node_wake(node); /* whoever came before has done it */
}

void lk_node_refresh(lk_node *node, const char *token, int64_t now_ms, int64_t patience_ms)
{
    if (!lk_node_connected(node)) return; /* whoever cannot read is not asked to read later */
    size_t waiting = lk_refresh_queue_put(node->refresh_queue, token, now_ms);
    lk_count(node->counters, waiting ? LK_REFRESHES : LK_REFRESHES_DROPPED, 1);
    int64_t until_ms = atomic_load_explicit(&node->sleeps_until_ms, memory_order_relaxed);
    bool late = until_ms > now_ms + patience_ms;
    /* The first who finds it asleep for too long wakes it. */
    late = late && atomic_exchange_explicit(&node->sleeps_until_ms, 0, memory_order_relaxed) == until_ms;
    if (late || waiting == LK_REFRESH_QUEUE_QUEUE / 4) lk_node_wake(node);
}

bool lk_node_reused(lk_node *node, const lk_token *token)
{
    pthread_mutex_lock(&node->lock);
    bool room = node->reused_count < REUSED_MAX;
    if (room) {
        lk_pending_item *item = &node->reused[node->reused_count++];
        *item = (lk_pending_item){.partition = token->partition};
        memcpy(item->selector, token->text, sizeof item->selector);
        lk_token_verifier_hash(token, item->verifier_hash);
    }
    pthread_mutex_unlock(&node->lock);
    if (room) lk_node_wake(node);
    return room;
}

static void note_refusal_locked(lk_node *node, const char *text)
{
    uint64_t hash = lk_hash(text, strlen(text), 0);
    for (size_t i = 0; i < node->refused_count; i++)
        if (node->refused[i] == hash) return;
    if (node->refusal[0] || node->refused_count == REFUSALS_SAID) return; /* the next time */
    node->refused[node->refused_count++] = hash;
    snprintf(node->refusal, sizeof node->refusal, "%s", text);
}

void lk_node_trouble(lk_node *node, int status, const char *text)
{
    pthread_mutex_lock(&node->lock);
    /* What keeps the link from being up it says itself (trouble.h). */
    if (status == LATCHKEY_CONFIG && lk_node_connected(node)) note_refusal_locked(node, text);
    node->status = status;
    snprintf(node->trouble, sizeof node->trouble, "%s", text);
    pthread_cond_broadcast(&node->changed);
    pthread_mutex_unlock(&node->lock);
}

void lk_node_last_trouble(lk_node *node, char *text, size_t size)
{
    pthread_mutex_lock(&node->lock);
    snprintf(text, size, "%s", node->trouble);
    pthread_mutex_unlock(&node->lock);
}
