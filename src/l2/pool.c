/* See pool.h. Lock: pool.lock, and no other with it. Nothing blocks under it, and no socket is used under it. */
#include "l2/pool.h"

#include "base/backoff.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/lock.h"
#include "base/outcome.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINES_MAX = 64, BACKOFF_MIN_MS = 5, BACKOFF_MAX_MS = 250 };
enum {
    TRUST_MS = 1000,
    IDLE_MAX_MS = 30000
}; /* a connection that was silent for longer is first tried by one caller; one that is older still is made anew */
enum { BUDGET_MOST = 1000, RETRY_COST = 10 }; /* one repetition for ten successes, and a hundred saved up at most */

struct lk_pool {
    const lk_config *config;
    lk_counters *counters;
    _Atomic int64_t callers; /* relaxed: a count, which orders nothing */
    _Atomic int budget;      /* relaxed: the same. It may exceed its maximum by as many callers as add at once */
    lk_lock lock;
    pthread_cond_t changed; /* a connection was opened or given back, or could not be opened */
    /* all guarded by lock: */
    lk_addresses addresses;
    lk_mux *line[LINES_MAX];
    unsigned lines, opening; /* how many there are; how many are being made */
    uint64_t uses;           /* of connections: this numbers each use */
    unsigned alone_waiting;
    unsigned probing;             /* connections on which a caller finds out whether they still work */
    _Atomic int64_t suspected_ms; /* written under the lock. Relaxed: a stale value is noticed one call later */
    unsigned generation;
    unsigned failures;   /* to connect, in a row */
    uint64_t random;     /* for jitter */
    int64_t retry_at_ms; /* no attempt to connect before then */
    char failure[160];
    int fd[LINES_MAX]; /* of every connection, or -1: a forked child closes them */
};

lk_pool *lk_pool_open(const lk_config *config, lk_counters *counters)
{
    lk_pool *pool = calloc(1, sizeof *pool);
    if (!pool) return NULL;
    pool->config = config;
    pool->counters = counters;
    atomic_init(&pool->budget, BUDGET_MOST / 10);
    lk_random(&pool->random, sizeof pool->random);
    for (int i = 0; i < LINES_MAX; i++) pool->fd[i] = -1;
    lk_lock_open(&pool->lock, LK_RANK_POOL);
    lk_cond_init(&pool->changed);
    return pool;
}

void lk_pool_close(lk_pool *pool)
{
    if (!pool) return;
    while (pool->lines) lk_mux_close(pool->line[--pool->lines]);
    pthread_cond_destroy(&pool->changed);
    lk_lock_close(&pool->lock);
    free(pool);
}

void lk_pool_abandon(lk_pool *pool)
{
    for (int i = 0; i < LINES_MAX; i++)
        if (pool->fd[i] >= 0) close(pool->fd[i]);
}

void lk_pool_addresses(lk_pool *pool, const lk_addresses *addresses)
{
    lk_lock_take(&pool->lock);
    pool->addresses = *addresses;
    lk_lock_give(&pool->lock);
}

void lk_pool_where(lk_pool *pool, lk_addresses *addresses)
{
    lk_lock_take(&pool->lock);
    *addresses = pool->addresses;
    lk_lock_give(&pool->lock);
}

void lk_pool_prefer(lk_pool *pool, unsigned address)
{
    lk_lock_take(&pool->lock);
    if (pool->addresses.count) pool->addresses.first = address % pool->addresses.count;
    lk_lock_give(&pool->lock);
}

void lk_pool_renew(lk_pool *pool)
{
    lk_lock_take(&pool->lock);
    pool->generation++;
    pool->failures = 0;
    pool->retry_at_ms = 0;
    lk_lock_give(&pool->lock);
}

void lk_pool_cut(lk_pool *pool)
{
    lk_lock_take(&pool->lock);
    pool->generation++;
    pool->failures = 0;
    pool->retry_at_ms = 0;
    pool->addresses.count = pool->addresses.first = 0;
    atomic_store_explicit(&pool->suspected_ms, lk_now_ms(), memory_order_relaxed);
    /* Their users read the end of the connection, and close them. */
    for (int i = 0; i < LINES_MAX; i++)
        if (pool->fd[i] >= 0) shutdown(pool->fd[i], SHUT_RDWR);
    pthread_cond_broadcast(&pool->changed);
    lk_lock_give(&pool->lock);
}

/* --------------------------------------------------------------------------------------------- opening -- */

/* Called before the descriptor is closed: after that it may belong to another file. */
static void forget_locked(lk_pool *pool, const lk_mux *line)
{
    lk_lock_assert(&pool->lock);
    for (int i = 0; i < LINES_MAX; i++)
        if (pool->fd[i] == line->socket.fd) pool->fd[i] = -1;
    for (unsigned i = 0; i < pool->lines; i++)
        if (pool->line[i] == line) pool->line[i--] = pool->line[--pool->lines];
}

static void remember_locked(lk_pool *pool, lk_mux *line)
{
    lk_lock_assert(&pool->lock);
    int i = 0;
    while (i < LINES_MAX - 1 && pool->fd[i] >= 0) i++;
    pool->fd[i] = line->socket.fd;
    pool->line[pool->lines++] = line;
}

static void failed_locked(lk_pool *pool, const char *error)
{
    lk_lock_assert(&pool->lock);
    int64_t now_ms = lk_now_ms();
    pool->random = lk_hash(&now_ms, sizeof now_ms, pool->random);
    pool->retry_at_ms = now_ms + lk_backoff_ms(pool->failures++, BACKOFF_MIN_MS, BACKOFF_MAX_MS, pool->random);
    snprintf(pool->failure, sizeof pool->failure, "%s", error);
}

/* A place was taken (`opening`). The caller uses the connection that is made. Where there are others, it leaves a quarter of its time
 * for one of them: the server, or what lies before it, may admit no more and not say so. */
static int open_line(lk_pool *pool, const lk_ask *ask, lk_mux **line, char *error, size_t error_size)
{
    lk_lock_take(&pool->lock);
    lk_addresses addresses = pool->addresses;
    unsigned generation = pool->generation;
    int64_t spare_ms = pool->lines ? (ask->deadline_ms - lk_now_ms()) / 4 : 0;
    lk_lock_give(&pool->lock);
    snprintf(error, error_size, "no memory for a connection");
    int status = lk_mux_open(pool->config, &addresses, ask->deadline_ms - spare_ms, line, error, error_size);
    lk_lock_take(&pool->lock);
    pool->opening--;
    /* If it failed, an address may have accepted the connection and not have served. */
    if (addresses.count) pool->addresses.first = (addresses.first + (status != LATCHKEY_OK)) % addresses.count;
    if (pool->addresses.first >= pool->addresses.count) pool->addresses.first = 0;
    if (status) {
        failed_locked(pool, error);
    } else {
        (*line)->heard_ms = lk_now_ms();
        (*line)->generation = generation;
        (*line)->users = 1;
        (*line)->alone = ask->alone;
        (*line)->used = ++pool->uses;
        pool->failures = 0;
        remember_locked(pool, *line);
    }
    pthread_cond_broadcast(&pool->changed); /* those that wait share others, try for themselves, or learn the same */
    lk_lock_give(&pool->lock);
    return status;
}

/* -------------------------------------------------------------------------------------------- choosing -- */

static bool usable(const lk_pool *pool, const lk_mux *line)
{
    return !line->retired && line->generation == pool->generation;
}

static bool trusted(const lk_mux *line, int64_t now_ms) { return now_ms - line->heard_ms <= TRUST_MS; }

/* Called before a connection is used. If no caller is trying it now, it may be tried. If it is too old, or beside
 * another one that is being tried, it is dropped for a new one. */
static bool try_locked(lk_pool *pool, lk_mux *line, int64_t now_ms)
{
    lk_lock_assert(&pool->lock);
    if (line->users > 1 || trusted(line, now_ms)) return true;
    if (pool->probing || now_ms - line->heard_ms > IDLE_MAX_MS) return false;
    pool->probing++;
    line->probing = true;
    return true;
}

/* While a caller waits for a connection of its own, the first one is left to become idle: the others share the rest. */
static unsigned kept_locked(const lk_pool *pool, const lk_ask *ask) { return pool->alone_waiting && !ask->alone; }

/* The one that was used last is the warmest. */
static lk_mux *idle_locked(lk_pool *pool, const lk_ask *ask)
{
    lk_lock_assert(&pool->lock);
    lk_mux *best = NULL;
    for (unsigned i = kept_locked(pool, ask); i < pool->lines; i++)
        if (!pool->line[i]->users && (!best || pool->line[i]->used > best->used)) best = pool->line[i];
    return best;
}

static lk_mux *shared_locked(lk_pool *pool, const lk_ask *ask)
{
    lk_lock_assert(&pool->lock);
    lk_mux *best = NULL;
    for (unsigned i = kept_locked(pool, ask); i < pool->lines; i++) {
        lk_mux *line = pool->line[i];
        if (!usable(pool, line) || line->alone || line->users >= LK_MUX_SLOTS) continue;
        bool safer = best && best->probing && !line->probing, less_safe = best && !best->probing && line->probing;
        if (!best || safer || (!less_safe && line->users < best->users)) best = line;
    }
    return best;
}

static void wait_locked(lk_pool *pool, int64_t until_ms)
{
    lk_lock_assert(&pool->lock);
    lk_lock_wait_until(&pool->lock, &pool->changed, until_ms); /* whatever ended the wait, the caller looks again */
}

/* OK with a connection, which counts the caller as a user; or OK without one: then a place for a new one was taken. */
static int choose_locked(lk_pool *pool, const lk_ask *ask, lk_mux **line, char *error, size_t error_size)
{
    lk_lock_assert(&pool->lock);
    for (;;) {
        int64_t now_ms = lk_now_ms();
        bool place = pool->lines + pool->opening < (unsigned)pool->config->connections;
        bool hold_off = now_ms < pool->retry_at_ms;
        *line = idle_locked(pool, ask);
        if (!*line && place && !hold_off) {
            pool->opening++;
            return LATCHKEY_OK;
        }
        if (!*line && !ask->alone) *line = shared_locked(pool, ask);
        if (*line) {
            (*line)->users++;
            (*line)->alone = ask->alone;
            (*line)->used = ++pool->uses;
            return LATCHKEY_OK;
        }
        bool blip = pool->failures <= LK_POOL_BLIPS && pool->retry_at_ms < ask->deadline_ms;
        if (!pool->lines && !pool->opening && !blip) { /* connecting failed, and nothing can be given back */
            snprintf(error, error_size, "%s", pool->failure);
            return LATCHKEY_UNAVAILABLE;
        }
        if (now_ms >= ask->deadline_ms) {
            snprintf(error, error_size, "all connections (%u) were busy until deadline_ms", pool->lines);
            if (ask->alone) pthread_cond_broadcast(&pool->changed); /* what was kept for this caller is free for all */
            return LATCHKEY_UNAVAILABLE;
        }
        pool->alone_waiting += ask->alone;
        wait_locked(pool, place && pool->retry_at_ms < ask->deadline_ms ? pool->retry_at_ms : ask->deadline_ms);
        pool->alone_waiting -= ask->alone;
    }
}

/* heard_ms: when it answered; 0: it did not. */
static void give_back(lk_pool *pool, lk_mux *line, bool good, int64_t heard_ms)
{
    lk_lock_take(&pool->lock);
    line->heard_ms = lk_later(line->heard_ms, heard_ms);
    if (!good) line->retired = true;
    if (line->probing) pool->probing--;
    line->probing = false;
    bool last = --line->users == 0;
    bool was_alone = line->alone;
    line->alone = false;
    bool close = last && !usable(pool, line);
    if (close) forget_locked(pool, line);
    /* It may be shared again, by all that wait; or those that wait need different things of it. */
    if (was_alone || pool->alone_waiting) pthread_cond_broadcast(&pool->changed);
    else if (last) pthread_cond_signal(&pool->changed);
    lk_lock_give(&pool->lock);
    if (close) lk_mux_close(line);
}

/* *fresh: it was opened for this caller, so a fault on it is not a stale socket's. *probes: it was idle for so long
 * that this caller finds out whether it still works. */
static int take_connection(lk_pool *pool, const lk_ask *ask, lk_mux **line, bool *fresh, bool *probes, char *error,
                           size_t error_size)
{
    for (;;) {
        lk_lock_take(&pool->lock);
        int status = choose_locked(pool, ask, line, error, error_size);
        bool current = *line && usable(pool, *line) && try_locked(pool, *line, lk_now_ms());
        bool idle = *line && (*line)->users == 1;
        *probes = idle && (*line)->probing;
        lk_lock_give(&pool->lock);
        *fresh = !*line;
        if (status) return status;
        if (*fresh) {
            status = open_line(pool, ask, line, error, error_size);
            if (status != LATCHKEY_UNAVAILABLE) return status;
            lk_lock_take(&pool->lock);
            bool others = pool->lines > 0;
            lk_lock_give(&pool->lock);
            if (!others || lk_now_ms() >= ask->deadline_ms) return status;
            continue; /* the server may have no room for more; but there are some */
        }
        if (current && (!idle || lk_mux_good(*line))) return LATCHKEY_OK;
        give_back(pool, *line, false, 0); /* out of date, or closed by the server meanwhile, or not trusted */
    }
}

/* ---------------------------------------------------------------------------------------------- asking -- */

/* A reply after which this connection cannot be used: the server is not what it was. */
static bool says_goodbye(const lk_reply *reply)
{
    return reply->type == LK_REPLY_ERROR &&
           (strncmp(reply->text, "READONLY", 8) == 0 || strncmp(reply->text, "NOAUTH", 6) == 0);
}

/* Unused connections are closed. The users of the others find out, or get their answers, and the last of them closes
 * it. */
void lk_pool_suspect(lk_pool *pool, int64_t asked_ms)
{
    lk_mux *idle[LINES_MAX];
    unsigned count = 0;
    lk_lock_take(&pool->lock);
    atomic_store_explicit(&pool->suspected_ms, asked_ms, memory_order_relaxed);
    for (unsigned i = 0; i < pool->lines; i++) {
        if (pool->line[i]->heard_ms >= asked_ms) continue;
        pool->line[i]->retired = true;
        if (!pool->line[i]->users) idle[count++] = pool->line[i];
    }
    for (unsigned i = 0; i < count; i++) forget_locked(pool, idle[i]);
    pthread_cond_broadcast(&pool->changed); /* there are places again */
    lk_lock_give(&pool->lock);
    while (count) lk_mux_close(idle[--count]);
}

int64_t lk_pool_suspected_ms(lk_pool *pool) { return atomic_load_explicit(&pool->suspected_ms, memory_order_relaxed); }

int64_t lk_pool_callers(const lk_pool *pool) { return atomic_load_explicit(&pool->callers, memory_order_relaxed); }

bool lk_pool_may_repeat(lk_pool *pool)
{
    int budget = atomic_load_explicit(&pool->budget, memory_order_relaxed);
    while (budget >= RETRY_COST && !atomic_compare_exchange_weak_explicit(&pool->budget, &budget, budget - RETRY_COST,
                                                                          memory_order_relaxed, memory_order_relaxed))
        continue;
    if (budget < RETRY_COST) return false;
    lk_count(pool->counters, LK_RETRIES, 1);
    return true;
}

static int ask_lines(lk_pool *pool, const lk_ask *ask, lk_reply **replies, uint64_t *incarnation, char *error,
                     size_t error_size)
{
    lk_exchange x = {.calls = ask->calls, .count = ask->count, .replies = replies, .deadline_ms = ask->deadline_ms};
    bool again = ask->again, fresh, probes;
    for (;;) {
        lk_mux *line;
        int status = take_connection(pool, ask, &line, &fresh, &probes, error, error_size);
        if (status) return status;
        if (ask->bound && line->incarnation != ask->to) {
            if (incarnation) *incarnation = line->incarnation;
            give_back(pool, line, true, 0);
            return LK_OUTCOME_OTHER_SERVER;
        }
        int64_t asked_ms = lk_now_ms();
        /* If it is not known whether it still works, time is kept for a new one. */
        x.deadline_ms = probes && again ? (asked_ms + ask->deadline_ms) / 2 : ask->deadline_ms;
        enum lk_mux_end end = lk_mux_exchange(line, &x, error, error_size);
        if (end == LK_MUX_LATE && lk_now_ms() < ask->deadline_ms) end = LK_MUX_LOST;
        if (end == LK_MUX_DONE && incarnation) *incarnation = line->incarnation;
        bool silent = end == LK_MUX_LATE || end == LK_MUX_LOST;
        if (silent) lk_pool_suspect(pool, asked_ms);
        bool unasked = end == LK_MUX_FULL || end == LK_MUX_NO_MEMORY;
        if (ask->sent && !unasked && end != LK_MUX_GONE) *ask->sent = true;
        give_back(pool, line, unasked || (end == LK_MUX_DONE && !says_goodbye(replies[0])),
                  end == LK_MUX_DONE ? lk_now_ms() : 0);
        switch (end) {
        case LK_MUX_DONE: return LATCHKEY_OK;
        case LK_MUX_GONE: continue;
        case LK_MUX_FULL:
            snprintf(error, error_size, "a connection has no room: too many calls wait for its answers");
            return LATCHKEY_UNAVAILABLE;
        case LK_MUX_NO_MEMORY: snprintf(error, error_size, "no memory for a command"); return LATCHKEY_NO_MEMORY;
        case LK_MUX_LATE: return LATCHKEY_UNAVAILABLE;
        case LK_MUX_LOST:
            if (fresh || !again || !lk_pool_may_repeat(pool)) return LATCHKEY_UNAVAILABLE;
            again = false;
        }
    }
}

int lk_pool_ask(lk_pool *pool, const lk_ask *ask, lk_reply **replies, uint64_t *incarnation, char *error,
                size_t error_size)
{
    if (atomic_fetch_add_explicit(&pool->callers, 1, memory_order_relaxed) >= pool->config->in_flight) {
        atomic_fetch_sub_explicit(&pool->callers, 1, memory_order_relaxed);
        lk_count(pool->counters, LK_SHED, 1);
        snprintf(error, error_size, "in_flight=%lld calls wait for Redis already", (long long)pool->config->in_flight);
        return LATCHKEY_UNAVAILABLE;
    }
    int status = ask_lines(pool, ask, replies, incarnation, error, error_size);
    atomic_fetch_sub_explicit(&pool->callers, 1, memory_order_relaxed);
    if (!status && atomic_load_explicit(&pool->budget, memory_order_relaxed) < BUDGET_MOST)
        atomic_fetch_add_explicit(&pool->budget, 1, memory_order_relaxed);
    return status;
}
