/* SPDX-License-Identifier: MIT
 *
 * One handle of the library for each store and worker. It never makes the worker wait: it is opened with lazy=1, and what L1 cannot
 * answer is submitted, and reaped when the handle's descriptor is readable.
 *
 * A wait lives from submit to its answer, which comes once. A request that ends before that leaves its wait behind, without a
 * request. So no answer is ever given to another request, and none to a request that has gone.
 *
 * A worker that is to end gracefully does so once no timer is left. Requests that wait here have none of their own, nor have revocations
 * that Redis has not confirmed, which would be lost with the worker. So the store has one for them.
 */

#include "ngx_http_latchkey_module.h"


#define NGX_HTTP_LATCHKEY_REAP      64
#define NGX_HTTP_LATCHKEY_HOLD      1000    /* ms */


static ngx_int_t ngx_http_latchkey_watch(ngx_http_latchkey_store_t *store,
    ngx_log_t *log);
static void ngx_http_latchkey_hold_handler(ngx_event_t *ev);
static uint64_t ngx_http_latchkey_pending(ngx_http_latchkey_store_t *store);
static void ngx_http_latchkey_readable(ngx_event_t *ev);
static void ngx_http_latchkey_log(ngx_http_latchkey_store_t *store);
static void ngx_http_latchkey_store_close(ngx_http_latchkey_store_t *store);
static void ngx_http_latchkey_log_close(void *data, int level,
    const char *text);


/* Of all configurations: without a master, this process has those before a reload as well. */

static ngx_http_latchkey_store_t  *ngx_http_latchkey_stores;


ngx_int_t
ngx_http_latchkey_store_open(ngx_http_latchkey_store_t *store, ngx_log_t *log)
{
    int     status;
    char    error[512];

    if (store->handle) {
        return NGX_OK;
    }

    if (!store->tried) {
        store->tried = 1;
        store->next = ngx_http_latchkey_stores;
        ngx_http_latchkey_stores = store;

    } else if (ngx_current_msec - store->opened < NGX_HTTP_LATCHKEY_RETRY) {
        return NGX_DECLINED;
    }

    store->opened = ngx_current_msec;

    status = latchkey_open((char *) store->config, &store->handle, error,
                           sizeof(error));

    if (status != LATCHKEY_OK) {
        ngx_log_error(NGX_LOG_EMERG, log, 0,
                      "latchkey_store \"%V\": %s; its locations answer 503; "
                      "the next attempt is in %d s", &store->name, error,
                      NGX_HTTP_LATCHKEY_RETRY / 1000);
        ngx_cpystrn(store->error, (u_char *) error, sizeof(store->error));
        return NGX_DECLINED;
    }

    if (ngx_http_latchkey_watch(store, log) != NGX_OK) {
        latchkey_close(store->handle);
        store->handle = NULL;
        return NGX_DECLINED;
    }

    ngx_http_latchkey_log(store); /* from now on its lines make the descriptor readable */

    return NGX_OK;
}


static ngx_int_t
ngx_http_latchkey_watch(ngx_http_latchkey_store_t *store, ngx_log_t *log)
{
    int                fd;
    ngx_connection_t  *c;

    store->queue = latchkey_queue_own(store->handle);
    fd = latchkey_queue_fd(store->queue);

    if (fd < 0) {
        ngx_log_error(NGX_LOG_EMERG, log, 0,
                      "latchkey_store \"%V\": no descriptor: %s", &store->name,
                      latchkey_status_text(fd));
        return NGX_ERROR;
    }

    c = ngx_get_connection(fd, log);

    if (c == NULL) {
        return NGX_ERROR;
    }

    c->data = store;
    c->log = ngx_cycle->log; /* not that of a request which found the store closed */
    c->read->log = c->log;
    c->write->log = c->log;
    c->read->handler = ngx_http_latchkey_readable;

    /* as a channel's: it neither holds up a graceful end nor is reported as left open */
    c->read->channel = 1;
    c->write->channel = 1;

    /* the descriptor is readable while something waits: level-triggered */
    if (ngx_add_event(c->read, NGX_READ_EVENT, 0) != NGX_OK) {
        ngx_free_connection(c);
        c->fd = (ngx_socket_t) -1;
        return NGX_ERROR;
    }

    store->connection = c;

    ngx_memzero(&store->hold, sizeof(ngx_event_t));

    store->hold.data = c;
    store->hold.handler = ngx_http_latchkey_hold_handler;
    store->hold.log = c->log;

    return NGX_OK;
}


static void
ngx_http_latchkey_hold_handler(ngx_event_t *ev)
{
    ngx_connection_t           *c;
    ngx_http_latchkey_store_t  *store;

    c = ev->data;
    store = c->data;

    store->pending = store->pending && ngx_http_latchkey_pending(store) != 0;

    if (store->pending || !ngx_queue_empty(&store->waits)) {
        ngx_add_timer(ev, NGX_HTTP_LATCHKEY_HOLD);
    }
}


/* Revocations that Redis has not confirmed yet. */

static uint64_t
ngx_http_latchkey_pending(ngx_http_latchkey_store_t *store)
{
    latchkey_stats  stats;

    ngx_memzero(&stats, sizeof(latchkey_stats));

    (void) latchkey_stats_read(store->handle, &stats, sizeof(latchkey_stats));

    return stats.pending;
}


/*
 * They no longer say what they count, since their zones may be freed behind
 * this. A store without a handle may be freed itself: nginx keeps a former
 * configuration for as long as it has a descriptor.
 */

void
ngx_http_latchkey_stores_leave(void)
{
    ngx_http_latchkey_store_t  *store, **next;

    next = &ngx_http_latchkey_stores;

    while ((store = *next) != NULL) {
        ngx_http_latchkey_exit(store);

        if (store->handle) {
            next = &store->next;
            continue;
        }

        store->tried = 0;
        *next = store->next;
    }
}


void
ngx_http_latchkey_stores_close(void)
{
    ngx_http_latchkey_store_t  *store;

    for (store = ngx_http_latchkey_stores; store; store = store->next) {
        ngx_http_latchkey_store_close(store);
    }
}


static void
ngx_http_latchkey_store_close(ngx_http_latchkey_store_t *store)
{
    ngx_queue_t               *q;
    ngx_connection_t          *c;
    ngx_http_latchkey_wait_t  *wait;

    if (store->handle == NULL) {
        return;
    }

    if (store->hold.timer_set) {
        ngx_del_timer(&store->hold);
    }

    c = store->connection;

    ngx_del_event(c->read, NGX_READ_EVENT, 0);
    ngx_free_connection(c);
    c->fd = (ngx_socket_t) -1; /* the handle closes it */

    ngx_http_latchkey_log(store);

    latchkey_set_log(ngx_http_latchkey_log_close, store);
    latchkey_close(store->handle);
    latchkey_set_log(NULL, NULL);

    store->handle = NULL;

    while (!ngx_queue_empty(&store->waits)) {
        q = ngx_queue_head(&store->waits);
        wait = ngx_queue_data(q, ngx_http_latchkey_wait_t, queue);

        if (wait->ctx) {
            wait->ctx->wait = NULL;
        }

        ngx_queue_remove(q);
        ngx_free(wait);
    }
}


/* The status of the ctx's current token; LATCHKEY_AGAIN: the answer will come. */

int
ngx_http_latchkey_validate(ngx_http_latchkey_ctx_t *ctx)
{
    int                         status;
    ngx_str_t                  *token;
    ngx_http_latchkey_store_t  *store;

    store = ctx->store;
    token = &ctx->tokens[ctx->current];

    ctx->source = NGX_HTTP_LATCHKEY_FROM_L1;

    if (ngx_http_latchkey_store_open(store, ctx->request->connection->log)
        != NGX_OK)
    {
        return LATCHKEY_UNAVAILABLE;
    }

    status = latchkey_try_validate(store->handle, (char *) token->data,
                                   token->len, &ctx->entry);

    if (status != LATCHKEY_AGAIN) {
        return status;
    }

    ctx->source = NGX_HTTP_LATCHKEY_FROM_REDIS;

    status = ngx_http_latchkey_submit(ctx, LATCHKEY_VALIDATE, 0);

    return status == LATCHKEY_OK ? LATCHKEY_AGAIN : status;
}


/* Asks for something about the ctx's current token. LATCHKEY_OK: the answer will come, once; else none does. */

int
ngx_http_latchkey_submit(ngx_http_latchkey_ctx_t *ctx, int kind, int64_t grace)
{
    int                         status;
    ngx_str_t                  *token;
    ngx_log_t                  *log;
    latchkey_request            request;
    ngx_http_latchkey_wait_t   *wait;
    ngx_http_latchkey_store_t  *store;

    store = ctx->store;
    token = &ctx->tokens[ctx->current];
    log = ctx->request->connection->log;

    if (ngx_http_latchkey_store_open(store, log) != NGX_OK) {
        return LATCHKEY_UNAVAILABLE;
    }

    wait = ngx_alloc(sizeof(ngx_http_latchkey_wait_t), log);

    if (wait == NULL) {
        return LATCHKEY_NO_MEMORY;
    }

    ngx_memzero(&request, sizeof(latchkey_request));

    request.size = sizeof(latchkey_request);
    request.kind = kind;
    request.tag = (uint64_t) (uintptr_t) wait;
    request.token = (char *) token->data;
    request.token_len = token->len;
    request.grace_ms = grace;

    status = latchkey_queue_submit(store->queue, &request);

    if (status != LATCHKEY_OK) {
        ngx_free(wait);
        return status;
    }

    wait->ctx = ctx;
    ctx->wait = wait;
    ngx_queue_insert_tail(&store->waits, &wait->queue);

    if (!store->hold.timer_set) {
        ngx_add_timer(&store->hold, NGX_HTTP_LATCHKEY_HOLD);
    }

    return LATCHKEY_OK;
}


static void
ngx_http_latchkey_readable(ngx_event_t *ev)
{
    size_t                      i, n;
    latchkey_result             results[NGX_HTTP_LATCHKEY_REAP];
    ngx_connection_t           *c;
    ngx_http_latchkey_ctx_t    *ctx;
    ngx_http_latchkey_wait_t   *wait;
    ngx_http_latchkey_store_t  *store;

    c = ev->data;
    store = c->data;

    do {
        n = latchkey_queue_reap(store->queue, results, sizeof(latchkey_result),
                                NGX_HTTP_LATCHKEY_REAP);

        for (i = 0; i < n; i++) {
            wait = (ngx_http_latchkey_wait_t *) (uintptr_t) results[i].tag;
            ctx = wait->ctx;

            ngx_queue_remove(&wait->queue);
            ngx_free(wait);

            store->pending |= (results[i].status == LATCHKEY_PENDING);

            if (ctx) {
                ctx->wait = NULL;
                ngx_http_latchkey_answered(ctx, &results[i]);
            }
        }

        ngx_explicit_memzero(results, n * sizeof(latchkey_result));

        if (ngx_queue_empty(&store->waits) && !store->pending
            && store->hold.timer_set)
        {
            ngx_del_timer(&store->hold);
        }

    } while (n == NGX_HTTP_LATCHKEY_REAP);

    ngx_http_latchkey_log(store);
}


/* The library's lines go to nginx's log. Both count levels as syslog does, nginx from one higher. */

static void
ngx_http_latchkey_log(ngx_http_latchkey_store_t *store)
{
    int   level;
    char  text[640];

    while (latchkey_log_read(store->handle, &level, text, sizeof(text))
           == LATCHKEY_OK)
    {
        ngx_log_error((ngx_uint_t) level + 1, ngx_cycle->log, 0,
                      "latchkey_store \"%V\": %s", &store->name, text);
    }
}


/* What the handle says as it is closed can no longer be read. Threads of other stores call this as well. */

static void
ngx_http_latchkey_log_close(void *data, int level, const char *text)
{
    ngx_http_latchkey_store_t *store = data;

    if (ngx_strncmp(text, "close: ", 7) == 0) {
        ngx_log_error((ngx_uint_t) level + 1, ngx_cycle->log, 0,
                      "latchkey_store \"%V\": %s; \"nginx -s quit\" waits "
                      "for Redis", &store->name, text);
    }
}
