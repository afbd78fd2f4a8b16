/* See writes.h. */
#include "api/writes.h"

#include "base/errno_text.h"
#include "base/reason.h"
#include "base/secure_memory.h"
#include "redis/tls_guard.h"
#include "session/begin.h"
#include "session/draft.h"
#include "session/visit.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 32, IDLE_MS = 3600000 };

/* Writes hold tokens: pages of their own, outside core dumps, zeros in a child (J). */
typedef struct chunk {
    struct chunk *next;
    lk_write write[CHUNK];
} chunk;

struct lk_writes {
    latchkey *lk;
    lk_lock lock;
    pthread_cond_t work; /* there is a write to do, or the end has come */
    /* guarded by lock: */
    lk_write *first, **last; /* those that wait, the oldest first, */
    unsigned waiting;        /* and how many they are */
    lk_write *free;
    chunk *chunks;
    lk_write *running[LK_WRITES_WORKERS_MAX];
    pthread_t thread[LK_WRITES_WORKERS_MAX];
    unsigned started, idle;
    bool stop;
};

static void append(lk_write **first, lk_write ***last, lk_write *write)
{
    write->next = NULL;
    if (!*first) *last = first;
    **last = write;
    *last = &write->next;
}

/* ----------------------------------------------------------------------------------------------- threads -- */

static void set_free_locked(lk_writes *w, lk_write *write)
{
    lk_lock_assert(&w->lock);
    latchkey_record_free(write->result.record);
    lk_wipe(&write->result, sizeof write->result);
    write->next = w->free;
    w->free = write;
}

/* Its queue was closed, so its result is not given to the application. A session that it made would live on, and count as one
 * of its user's: the link ends it. */
static void end_made(latchkey *lk, lk_write *write)
{
    lk_token token;
    if (!write->sole || !lk_parse(lk, write->result.token, LATCHKEY_TOKEN_LENGTH, &token)) return;
    lk_disown(lk, &token, true);
    lk_wipe(&token, sizeof token);
}

/* It is done: its queue is told, if it is still open. */
static void finish_locked(lk_writes *w, lk_write *write)
{
    latchkey_queue *q = write->queue;
    lk_lock_assert(&w->lock);
    if (!q) {
        set_free_locked(w, write);
        return;
    }
    append(&q->done, &q->done_last, write);
    lk_async_ring(q->async);
}

/* With several nodes: as many threads as may wait for this one do so already. */
static bool is_busy_locked(const lk_writes *w, const lk_node *node)
{
    unsigned of_node = 0;
    lk_lock_assert(&w->lock);
    if (!w->lk->config.cluster) return false;
    for (size_t i = 0; i < LK_WRITES_WORKERS_MAX; i++) of_node += w->running[i] && w->running[i]->node == node;
    return of_node >= LK_WRITES_OF_NODE_MAX;
}

/* The oldest one that may run now. */
static lk_write *next_locked(lk_writes *w)
{
    lk_lock_assert(&w->lock);
    for (lk_write **at = &w->first; *at; at = &(*at)->next) {
        lk_write *write = *at;
        write->node = lk_l2_owner(&w->lk->l2, write->partition);
        if (is_busy_locked(w, write->node)) continue;
        *at = write->next;
        if (!*at) w->last = at;
        w->waiting--;
        return write;
    }
    return NULL;
}

static void put_last_locked(lk_writes *w, lk_write *write)
{
    lk_lock_assert(&w->lock);
    append(&w->first, &w->last, write);
    w->waiting++;
}

static void run_write(lk_writes *w, lk_write *write)
{
    lk_visit_at(write->deadline_ms);
    lk_write_run(w->lk, write);
    lk_write_wipe(write);
}

static void *run_worker(void *context)
{
    lk_writes *w = context;
    lk_log_to(w->lk->journal); /* a revocation that was denied by submit is confirmed outside of any verb */
    lk_lock_take(&w->lock);
    unsigned place = 0; /* only threads that run a write have a place */
    while (!w->stop || w->first) {
        lk_write *write = next_locked(w);
        if (!write) {
            w->idle++;
            lk_lock_wait_until(&w->lock, &w->work, lk_now_ms() + IDLE_MS);
            w->idle--;
            continue;
        }
        for (place = 0; w->running[place];) place++;
        w->running[place] = write;
        lk_lock_give(&w->lock);
        run_write(w, write);
        lk_lock_take(&w->lock);
        w->running[place] = NULL;
        if (!write->queue) { /* which does not change any more */
            lk_lock_give(&w->lock);
            end_made(w->lk, write);
            lk_lock_take(&w->lock);
        }
        finish_locked(w, write);
        if (w->stop) pthread_cond_broadcast(&w->work); /* those that had to wait for its node, or for its end */
        atomic_fetch_sub_explicit(&w->lk->visits, 1, memory_order_seq_cst);
    }
    lk_lock_give(&w->lock);
    if (w->lk->config.tls) lk_tls_end_thread();
    return NULL;
}

/* The application's signals are its own: none is ever delivered to these threads. Returns 0, or an errno. */
static int start_worker_locked(lk_writes *w)
{
    sigset_t all, before;
    lk_lock_assert(&w->lock);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&w->thread[w->started], NULL, run_worker, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) return failed;
    pthread_setname_np(w->thread[w->started++], "latchkey-write");
    return 0;
}

/* Finds a thread for one more write: an idle one, or a new one, or, if there are as many as allowed, the next one that
 * is free. */
static int wake_worker_locked(lk_writes *w)
{
    const lk_config *config = &w->lk->config;
    int64_t most = config->cluster ? LK_WRITES_WORKERS_MAX : lk_earlier(config->connections, LK_WRITES_WORKERS);
    lk_lock_assert(&w->lock);
    pthread_cond_signal(&w->work);
    int failed = w->waiting >= w->idle && w->started < most ? start_worker_locked(w) : 0;
    if (!failed || w->started) return LATCHKEY_OK;
    return lk_reason(LATCHKEY_UNAVAILABLE, "no thread is left for requests of a queue: %s (see ulimit -u)",
                     lk_errno_text(failed));
}

/* ---------------------------------------------------------------------------------------- open and close -- */

static void destroy_writes(lk_writes *w)
{
    for (chunk *c = w->chunks, *next; c; c = next) {
        next = c->next;
        lk_unmap(c, sizeof *c);
    }
    pthread_cond_destroy(&w->work);
    lk_lock_close(&w->lock);
    free(w);
}

/* Made when it is first needed. NULL: no memory. */
static lk_writes *writes_of(latchkey *lk)
{
    lk_writes *none = NULL, *w = atomic_load_explicit(&lk->writes, memory_order_acquire);
    if (w || !(w = calloc(1, sizeof *w))) return w;
    w->lk = lk;
    lk_lock_open(&w->lock, LK_RANK_WRITES);
    lk_cond_init(&w->work);
    if (atomic_compare_exchange_strong_explicit(&lk->writes, &none, w, memory_order_acq_rel, memory_order_acquire))
        return w;
    destroy_writes(w);
    return none;
}

void lk_writes_finish(latchkey *lk)
{
    lk_writes *w = atomic_load_explicit(&lk->writes, memory_order_acquire);
    if (!w) return;
    lk_lock_take(&w->lock);
    w->stop = true;
    pthread_cond_broadcast(&w->work);
    lk_lock_give(&w->lock);
    for (unsigned i = 0; i < w->started; i++) pthread_join(w->thread[i], NULL);
}

void lk_writes_close(latchkey *lk)
{
    lk_writes *w = atomic_load_explicit(&lk->writes, memory_order_acquire);
    if (w) destroy_writes(w);
}

void lk_writes_leave(latchkey_queue *q, bool end)
{
    lk_writes *w = atomic_load_explicit(&q->lk->writes, memory_order_acquire);
    if (!w) return;
    lk_lock_take(&w->lock);
    for (lk_write *write = w->first; write; write = write->next)
        if (write->queue == q) write->queue = NULL;
    for (size_t i = 0; i < LK_WRITES_WORKERS_MAX; i++)
        if (w->running[i] && w->running[i]->queue == q) w->running[i]->queue = NULL;
    lk_write *done = q->done;
    q->done = NULL;
    lk_lock_give(&w->lock);
    for (lk_write *write = done; end && write; write = write->next) end_made(q->lk, write);
    lk_lock_take(&w->lock);
    for (lk_write *next; done; done = next) {
        next = done->next;
        set_free_locked(w, done);
    }
    lk_lock_give(&w->lock);
}

/* ------------------------------------------------------------------------------------------------ submit -- */

/* A free write, counted as one of the queue's. NULL: in_flight of them are outstanding, or there is no memory. */
static lk_write *take_place(lk_writes *w, latchkey_queue *q, int *status)
{
    chunk *more = NULL;
    lk_write *write = NULL;
    for (;;) {
        lk_lock_take(&w->lock);
        if (more) {
            more->next = w->chunks;
            w->chunks = more;
            for (size_t i = 0; i < CHUNK; i++) set_free_locked(w, &more->write[i]);
        }
        bool room = atomic_load_explicit(&q->writes, memory_order_acquire) < q->lk->config.in_flight;
        if (room && (write = w->free)) {
            w->free = write->next;
            write->queue = q;
            atomic_fetch_add_explicit(&q->writes, 1, memory_order_release);
        }
        lk_lock_give(&w->lock);
        if (!room) {
            lk_count(&q->lk->counters, LK_SHED, 1);
            *status = lk_reason(LATCHKEY_UNAVAILABLE, "in_flight requests of this queue are outstanding already");
        }
        if (write || !room) return write;
        if (!(more = lk_map(sizeof *more, true))) {
            *status = lk_reason(LATCHKEY_NO_MEMORY, "no memory");
            return NULL;
        }
    }
}

static void give_place_back(lk_writes *w, lk_write *write)
{
    latchkey_queue *q = write->queue;
    lk_write_wipe(write);
    lk_lock_take(&w->lock);
    atomic_fetch_sub_explicit(&q->writes, 1, memory_order_release);
    set_free_locked(w, write);
    lk_lock_give(&w->lock);
}

static int enqueue(lk_writes *w, lk_write *write)
{
    lk_lock_take(&w->lock);
    int status = wake_worker_locked(w);
    if (!status) atomic_fetch_add_explicit(&w->lk->visits, 1, memory_order_seq_cst);
    if (!status) put_last_locked(w, write);
    lk_lock_give(&w->lock);
    return status;
}

static int accept_write(lk_writes *w, latchkey_queue *q, const latchkey_request *request)
{
    int status = LATCHKEY_OK;
    lk_write *write = take_place(w, q, &status);
    if (!write) return status;
    write->deadline_ms = lk_now_ms() + q->lk->config.deadline_ms;
    status = lk_write_take(q->lk, request, write);
    if (!status) status = enqueue(w, write);
    /* Nothing was promised: its denial is withdrawn. */
    if (status && write->denied) lk_pending_withdraw(q->lk->pending, &write->revocation.item);
    if (status) give_place_back(w, write);
    return status;
}

int lk_writes_submit(latchkey_queue *q, const latchkey_request *request)
{
    LK_VISIT(visit);
    int status = lk_visit_begin(q->lk, &visit);
    if (status) return status;
    lk_writes *w = writes_of(q->lk);
    return w ? accept_write(w, q, request) : lk_reason(LATCHKEY_NO_MEMORY, "no memory");
}

/* -------------------------------------------------------------------------------------------------- reap -- */

static lk_write *take_done(lk_writes *w, latchkey_queue *q)
{
    lk_lock_take(&w->lock);
    lk_write *write = q->done;
    if (write) q->done = write->next;
    lk_lock_give(&w->lock);
    return write;
}

size_t lk_writes_reap(latchkey_queue *q, void (*give)(void *context, const latchkey_result *result), void *context,
                      size_t max)
{
    size_t given = 0;
    lk_write *write;
    lk_writes *w = atomic_load_explicit(&q->lk->writes, memory_order_acquire);
    while (given < max && (write = take_done(w, q))) {
        give(context, &write->result);
        given++;
        write->result.record = NULL; /* it belongs to the caller */
        give_place_back(w, write);
    }
    return given;
}

void lk_writes_ring(latchkey_queue *q)
{
    lk_writes *w = atomic_load_explicit(&q->lk->writes, memory_order_acquire);
    lk_lock_take(&w->lock);
    if (q->done) lk_async_ring(q->async);
    lk_lock_give(&w->lock);
}
