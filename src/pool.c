/* See pool.h. Lock: pool.lock alone; nothing blocks under it, and no socket is used under it. */
#include "pool.h"

#include "clock.h"
#include "hash.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINES_MAX = 64, BACKOFF_LEAST_MS = 5, BACKOFF_MOST_MS = 250 };

struct lk_pool {
    const lk_config *config;
    pthread_mutex_t lock;
    pthread_cond_t returned;
    /* all guarded by lock: */
    lk_addresses addresses;
    lk_line *idle[LINES_MAX]; /* a stack: the line used last is the warmest */
    unsigned idles, lines;    /* idle ones; all there are, those being opened included */
    unsigned generation;
    unsigned failures;   /* to connect, in a row */
    uint64_t random;     /* for jitter */
    int64_t retry_at_ms; /* before it, connecting is not tried again */
    char failure[160];
    int fd[LINES_MAX]; /* of every line, or -1: what a forked child closes */
};

lk_pool *lk_pool_open(const lk_config *config)
{
    lk_pool *pool = calloc(1, sizeof *pool);
    if (!pool) return NULL;
    pool->config = config;
    lk_random(&pool->random, sizeof pool->random);
    for (int i = 0; i < LINES_MAX; i++) pool->fd[i] = -1;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->returned, &attr);
    pthread_condattr_destroy(&attr);
    return pool;
}

static void line_close(lk_line *line)
{
    lk_net_close(&line->socket);
    lk_conn_close(&line->conn);
    free(line);
}

/* Under pool.lock, before the line's descriptor is closed: then it may be somebody else's. */
static void forget_locked(lk_pool *pool, const lk_line *line)
{
    for (int i = 0; i < LINES_MAX; i++)
        if (pool->fd[i] == line->socket.fd) pool->fd[i] = -1;
    pool->lines--;
}

static void remember_locked(lk_pool *pool, const lk_line *line)
{
    int i = 0;
    while (i < LINES_MAX - 1 && pool->fd[i] >= 0) i++;
    pool->fd[i] = line->socket.fd;
}

void lk_pool_close(lk_pool *pool)
{
    if (!pool) return;
    while (pool->idles) line_close(pool->idle[--pool->idles]);
    pthread_cond_destroy(&pool->returned);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

void lk_pool_abandon(lk_pool *pool)
{
    for (int i = 0; i < LINES_MAX; i++)
        if (pool->fd[i] >= 0) close(pool->fd[i]);
}

void lk_pool_addresses(lk_pool *pool, const lk_addresses *addresses)
{
    pthread_mutex_lock(&pool->lock);
    pool->addresses = *addresses;
    pthread_mutex_unlock(&pool->lock);
}

void lk_pool_renew(lk_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->generation++;
    pool->failures = 0;
    pool->retry_at_ms = 0;
    pthread_mutex_unlock(&pool->lock);
}

/* ---------------------------------------------------------------------------------------------- exchange -- */

static bool collect(lk_line *line, lk_reply **reply, size_t count, size_t *got, char *error, size_t error_size)
{
    int more = 0;
    while (*got < count && (more = lk_conn_next(&line->conn, &reply[*got])) > 0) ++*got;
    if (more >= 0) return true;
    snprintf(error, error_size, "the server is not usable: %s", lk_resp_error(line->conn.resp));
    return false;
}

/* Writes and reads as the socket allows: a large batch must not stop because both sides wait to be read. */
static bool drive(lk_line *line, lk_reply **reply, size_t count, size_t *got, int64_t deadline_ms, char *error,
                  size_t error_size)
{
    while (*got < count) {
        enum lk_net_io sent = lk_net_flush(&line->socket, &line->conn, error, error_size);
        if (sent == LK_NET_LOST) return false;
        if (!lk_net_wait(&line->socket, POLLIN | (sent == LK_NET_LATER ? POLLOUT : 0), deadline_ms, -1)) {
            snprintf(error, error_size, "Redis did not answer within deadline_ms");
            return false;
        }
        if (lk_net_fill(&line->socket, &line->conn, error, error_size) == LK_NET_LOST) return false;
        if (!collect(line, reply, count, got, error, error_size)) return false;
    }
    return true;
}

bool lk_line_exchange(lk_line *line, lk_reply **reply, size_t count, int64_t deadline_ms, char *error,
                      size_t error_size)
{
    size_t got = 0;
    if (drive(line, reply, count, &got, deadline_ms, error, error_size)) return true;
    while (got) lk_reply_free(reply[--got]);
    return false;
}

/* ----------------------------------------------------------------------------------------- take and give -- */

static int greet(const lk_config *config, lk_line *line, int64_t deadline_ms, char *error, size_t error_size)
{
    lk_hello hello;
    if (!lk_conn_open(&line->conn) || !lk_hello_send(&hello, config, &line->conn)) return LATCHKEY_NO_MEMORY;
    lk_reply *reply[4];
    size_t count = hello.answers;
    if (!lk_line_exchange(line, reply, count, deadline_ms, error, error_size)) return LATCHKEY_UNAVAILABLE;
    for (size_t i = 0; i < count; i++) {
        lk_hello_take(&hello, reply[i]);
        lk_reply_free(reply[i]);
    }
    if (hello.status) snprintf(error, error_size, "%s", hello.error);
    line->incarnation = hello.incarnation;
    return hello.status;
}

static int line_open(const lk_config *config, const lk_addresses *addresses, int64_t deadline_ms, lk_line **out,
                     char *error, size_t error_size)
{
    lk_line *line = calloc(1, sizeof *line);
    if (!line) return LATCHKEY_NO_MEMORY;
    line->fresh = true;
    bool connected = lk_net_connect(addresses, deadline_ms, -1, &line->socket, error, error_size);
    int status = connected ? greet(config, line, deadline_ms, error, error_size) : LATCHKEY_UNAVAILABLE;
    if (status) line_close(line);
    else *out = line;
    return status;
}

static void opened_locked(lk_pool *pool, const lk_line *line, int status, const char *error)
{
    if (status == LATCHKEY_OK) {
        pool->failures = 0;
        remember_locked(pool, line);
        return;
    }
    pool->lines--;
    pthread_cond_broadcast(&pool->returned); /* those waiting may try for themselves, or learn the same */
    int64_t now_ms = lk_now_ms(), wait = BACKOFF_LEAST_MS << (pool->failures < 6 ? pool->failures : 6);
    if (wait > BACKOFF_MOST_MS) wait = BACKOFF_MOST_MS;
    pool->random = lk_hash(&now_ms, sizeof now_ms, pool->random);
    wait = wait / 2 + (int64_t)(pool->random % (uint64_t)(wait / 2 + 1));
    pool->failures++;
    pool->retry_at_ms = now_ms + wait;
    snprintf(pool->failure, sizeof pool->failure, "%s", error);
}

static void wait_locked(lk_pool *pool, int64_t until_ms)
{
    struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};
    pthread_cond_timedwait(&pool->returned, &pool->lock,
                           &until); /* early, late or for nothing: who waits looks again */
}

/* OK with a line, or without one: then a place for a new one was taken. */
static int wait_for_place_locked(lk_pool *pool, int64_t deadline_ms, lk_line **line, char *error, size_t error_size)
{
    for (;;) {
        int64_t now_ms = lk_now_ms();
        bool place = pool->lines < (unsigned)pool->config->connections, hold_off = now_ms < pool->retry_at_ms;
        *line = pool->idles ? pool->idle[--pool->idles] : NULL;
        if (*line) return LATCHKEY_OK;
        if (place && !hold_off) {
            pool->lines++;
            return LATCHKEY_OK;
        }
        if (!pool->lines) { /* connecting just failed, and there is no line that could be given back */
            snprintf(error, error_size, "%s", pool->failure);
            return LATCHKEY_UNAVAILABLE;
        }
        if (now_ms >= deadline_ms) {
            snprintf(error, error_size, "all connections (%u) were busy until deadline_ms", pool->lines);
            return LATCHKEY_UNAVAILABLE;
        }
        wait_locked(pool, place && pool->retry_at_ms < deadline_ms ? pool->retry_at_ms : deadline_ms);
    }
}

static int open_place(lk_pool *pool, int64_t deadline_ms, lk_line **line, char *error, size_t error_size)
{
    pthread_mutex_lock(&pool->lock);
    lk_addresses addresses = pool->addresses;
    unsigned generation = pool->generation;
    pthread_mutex_unlock(&pool->lock);
    snprintf(error, error_size, "no memory for a connection");
    int status = line_open(pool->config, &addresses, deadline_ms, line, error, error_size);
    if (!status) (*line)->generation = generation;
    pthread_mutex_lock(&pool->lock);
    opened_locked(pool, *line, status, error);
    pthread_mutex_unlock(&pool->lock);
    return status;
}

static bool has_lines(lk_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    bool has = pool->lines > 0;
    pthread_mutex_unlock(&pool->lock);
    return has;
}

int lk_pool_take(lk_pool *pool, int64_t deadline_ms, lk_line **line, char *error, size_t error_size)
{
    for (;;) {
        pthread_mutex_lock(&pool->lock);
        int status = wait_for_place_locked(pool, deadline_ms, line, error, error_size);
        bool current = *line && (*line)->generation == pool->generation;
        pthread_mutex_unlock(&pool->lock);
        if (status) return status;
        if (!*line) {
            status = open_place(pool, deadline_ms, line, error, error_size);
            if (status != LATCHKEY_UNAVAILABLE || !has_lines(pool)) return status;
            continue; /* the server takes no more, perhaps; those there are will be given back */
        }
        (*line)->fresh = false;
        if (current && lk_net_idle_good(&(*line)->socket)) return LATCHKEY_OK;
        lk_pool_give(pool, *line, false); /* of yesterday, or closed by the server meanwhile */
    }
}

void lk_pool_give(lk_pool *pool, lk_line *line, bool good)
{
    good = good && lk_conn_quiet(&line->conn);
    pthread_mutex_lock(&pool->lock);
    if (good && line->generation == pool->generation) pool->idle[pool->idles++] = line;
    else {
        good = false;
        forget_locked(pool, line);
    }
    pthread_cond_signal(&pool->returned);
    pthread_mutex_unlock(&pool->lock);
    if (!good) line_close(line);
}
