/* SPDX-License-Identifier: MIT
 *
 * Each store has a zone of shared memory with a slot for each worker. Once a second a worker writes there what
 * latchkey_metrics says, and its own counters in the same form. A worker that is asked copies all slots, and reads them side by
 * side (ngx_http_latchkey_lines.c).
 *
 * A worker that finds no free slot looks for one each second. When a worker ends, its counters are added to those of the
 * workers before it, so that no total goes backwards at a reload.
 * All of the zone is read and written under its mutex, which nginx's master frees if a worker dies with it.
 */

#include "ngx_http_latchkey_status.h"


#define NGX_HTTP_LATCHKEY_SLOTS     1024
#define NGX_HTTP_LATCHKEY_PUBLISH   1000    /* ms */


typedef struct {
    ngx_http_latchkey_slot_t    gone;       /* the sum of the workers that have ended */
    ngx_http_latchkey_slot_t    slots[NGX_HTTP_LATCHKEY_SLOTS];
} ngx_http_latchkey_shared_t;


static ngx_int_t ngx_http_latchkey_init_zone(ngx_shm_zone_t *zone, void *data);
static void ngx_http_latchkey_take(ngx_http_latchkey_store_t *store);
static void ngx_http_latchkey_publish_handler(ngx_event_t *ev);
static size_t ngx_http_latchkey_metrics(ngx_http_latchkey_store_t *store,
    u_char *text);
static void ngx_http_latchkey_leave(ngx_http_latchkey_shared_t *shared,
    ngx_http_latchkey_slot_t *slot);
static void ngx_http_latchkey_write(ngx_http_latchkey_slot_t *slot,
    u_char *text, size_t len);


static const char  *ngx_http_latchkey_counters[][2] = {
    { "admitted", "Requests that passed with a session." },
    { "anonymous", "Requests that passed without one." },
    { "unauthorized", "Requests refused with 401." },
    { "forbidden", "Requests refused with 403." },
    { "unavailable", "Requests refused with 503, because there was no answer." },
    { "renewed", "Tokens that were exchanged, and sent as a cookie." },
    { "logouts", "Logouts that ended." }
};


ngx_int_t
ngx_http_latchkey_add_zone(ngx_conf_t *cf, ngx_http_latchkey_store_t *store)
{
    size_t     size;
    ngx_str_t  name;

    name.len = sizeof("latchkey:") - 1 + store->name.len;
    name.data = ngx_pnalloc(cf->pool, name.len);
    if (name.data == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(name.data, "latchkey:%V", &store->name);

    /* what is not written takes no memory */
    size = ngx_align(sizeof(ngx_http_latchkey_shared_t), ngx_pagesize)
           + 64 * ngx_pagesize;

    store->zone = ngx_shared_memory_add(cf, &name, size,
                                        &ngx_http_latchkey_module);
    if (store->zone == NULL) {
        return NGX_ERROR;
    }

    store->zone->init = ngx_http_latchkey_init_zone;

    return NGX_OK;
}


static ngx_int_t
ngx_http_latchkey_init_zone(ngx_shm_zone_t *zone, void *data)
{
    ngx_slab_pool_t  *shpool;

    if (data) {
        zone->data = data;
        return NGX_OK;
    }

    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    if (zone->shm.exists) {
        zone->data = shpool->data;
        return NGX_OK;
    }

    /* new shared memory is zeros: every slot is free */

    shpool->data = ngx_slab_alloc(shpool, sizeof(ngx_http_latchkey_shared_t));
    if (shpool->data == NULL) {
        return NGX_ERROR;
    }

    zone->data = shpool->data;

    return NGX_OK;
}


/* This worker begins. */

void
ngx_http_latchkey_enter(ngx_http_latchkey_store_t *store)
{
    static ngx_connection_t  dumb = { .fd = (ngx_socket_t) -1 };

    ngx_memzero(&store->publish, sizeof(ngx_event_t));

    store->publish.data = &dumb; /* nginx's debug log asks for its descriptor */
    store->publish.handler = ngx_http_latchkey_publish_handler;
    store->publish.log = ngx_cycle->log;
    store->publish.cancelable = 1;

    ngx_http_latchkey_publish(store);

    if (store->slot == NULL) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "latchkey_store \"%V\": latchkey_status shows %d workers "
                      "and not yet this one", &store->name,
                      NGX_HTTP_LATCHKEY_SLOTS);
    }

    ngx_add_timer(&store->publish, NGX_HTTP_LATCHKEY_PUBLISH);
}


/* A slot for this worker, if one is free. */

static void
ngx_http_latchkey_take(ngx_http_latchkey_store_t *store)
{
    ngx_uint_t                   i;
    ngx_slab_pool_t             *shpool;
    ngx_http_latchkey_slot_t    *slot;
    ngx_http_latchkey_shared_t  *shared;

    shared = store->zone->data;
    shpool = (ngx_slab_pool_t *) store->zone->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    for (i = 0; i < NGX_HTTP_LATCHKEY_SLOTS; i++) {
        slot = &shared->slots[i];

        if (slot->pid && slot->pid != ngx_pid && kill(slot->pid, 0) == -1
            && ngx_errno == NGX_ESRCH)
        {
            ngx_http_latchkey_leave(shared, slot); /* it was killed */
        }

        if (slot->pid == 0 || slot->pid == ngx_pid) {
            slot->pid = ngx_pid;
            slot->worker = ngx_worker;
            slot->error[0] = '\0';
            slot->len = 0;
            store->slot = slot;
            break;
        }
    }

    ngx_shmtx_unlock(&shpool->mutex);
}


static void
ngx_http_latchkey_publish_handler(ngx_event_t *ev)
{
    ngx_http_latchkey_store_t  *store;

    store = (ngx_http_latchkey_store_t *)
                ((u_char *) ev - offsetof(ngx_http_latchkey_store_t, publish));

    ngx_http_latchkey_publish(store);

    ngx_add_timer(ev, NGX_HTTP_LATCHKEY_PUBLISH);
}


void
ngx_http_latchkey_publish(ngx_http_latchkey_store_t *store)
{
    size_t                     len;
    latchkey_stats             stats;
    ngx_slab_pool_t           *shpool;
    ngx_http_latchkey_slot_t  *slot;

    static u_char              text[NGX_HTTP_LATCHKEY_TEXT];

    if (store->slot == NULL) {
        ngx_http_latchkey_take(store);
    }

    slot = store->slot;

    if (slot == NULL) {
        return;
    }

    ngx_memzero(&stats, sizeof(latchkey_stats));

    if (store->handle) {
        (void) latchkey_stats_read(store->handle, &stats,
                                   sizeof(latchkey_stats));
    } else {
        ngx_cpystrn((u_char *) stats.last_error, store->error,
                    sizeof(stats.last_error));
    }

    len = ngx_http_latchkey_metrics(store, text);

    shpool = (ngx_slab_pool_t *) store->zone->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    slot->updated = ngx_current_msec;
    ngx_http_latchkey_write(slot, text, len);
    ngx_cpystrn(slot->error, (u_char *) stats.last_error, sizeof(slot->error));

    ngx_shmtx_unlock(&shpool->mutex);
}


/* 0: there is nothing to say, since the store could not be opened. */

static size_t
ngx_http_latchkey_metrics(ngx_http_latchkey_store_t *store, u_char *text)
{
    size_t                     needed;
    ngx_uint_t                 i;
    ngx_queue_t               *q;
    ngx_http_latchkey_text_t   out;

    text[0] = '\0';

    if (store->handle == NULL
        || latchkey_metrics(store->handle, (char *) text,
                            NGX_HTTP_LATCHKEY_TEXT, &needed)
           != LATCHKEY_OK)
    {
        return 0;
    }

    out.pos = text;
    out.last = text + needed - 1;
    out.end = text + NGX_HTTP_LATCHKEY_TEXT;

    for (i = 0; i < NGX_HTTP_LATCHKEY_COUNTERS; i++) {
        ngx_http_latchkey_print(&out,
                                "# HELP latchkey_nginx_%s_total %s\n"
                                "# TYPE latchkey_nginx_%s_total counter\n"
                                "latchkey_nginx_%s_total %lu\n",
                                ngx_http_latchkey_counters[i][0],
                                ngx_http_latchkey_counters[i][1],
                                ngx_http_latchkey_counters[i][0],
                                ngx_http_latchkey_counters[i][0],
                                store->counts[i]);
    }

    i = 0;

    for (q = ngx_queue_head(&store->waits);
         q != ngx_queue_sentinel(&store->waits);
         q = ngx_queue_next(q))
    {
        i++;
    }

    ngx_http_latchkey_print(&out,
                            "# HELP latchkey_nginx_waiting Requests that wait "
                            "for Redis.\n"
                            "# TYPE latchkey_nginx_waiting gauge\n"
                            "latchkey_nginx_waiting %lu\n", i);

    if (out.last == out.end) {
        text[0] = '\0';
        return 0;
    }

    return out.last - out.pos;
}


/* This worker ends. */

void
ngx_http_latchkey_exit(ngx_http_latchkey_store_t *store)
{
    ngx_slab_pool_t  *shpool;

    if (!store->publish.timer_set) {
        return; /* it has not begun */
    }

    ngx_del_timer(&store->publish);

    ngx_http_latchkey_publish(store);

    if (store->slot == NULL) {
        return;
    }

    shpool = (ngx_slab_pool_t *) store->zone->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);
    ngx_http_latchkey_leave(store->zone->data, store->slot);
    ngx_shmtx_unlock(&shpool->mutex);

    store->slot = NULL;
}


/* Adds a slot to the workers that have ended, and frees it. The mutex is held. */

static void
ngx_http_latchkey_leave(ngx_http_latchkey_shared_t *shared,
    ngx_http_latchkey_slot_t *slot)
{
    double                      total, values[2];
    u_char                     *next[2];
    ngx_http_latchkey_text_t    out;
    ngx_http_latchkey_lines_t   lines;

    static u_char                     text[NGX_HTTP_LATCHKEY_TEXT];
    static ngx_http_latchkey_slot_t   both[2];

    slot->pid = 0;

    if (slot->len == 0) {
        return;
    }

    ngx_memzero(&lines, sizeof(ngx_http_latchkey_lines_t));

    lines.slots = both;
    lines.nslots = shared->gone.len ? 2 : 1;
    lines.live = lines.nslots;
    lines.next = next;
    lines.values = values;

    ngx_memcpy(&both[0], slot, sizeof(ngx_http_latchkey_slot_t));
    ngx_memcpy(&both[1], &shared->gone, sizeof(ngx_http_latchkey_slot_t));

    out.pos = text;
    out.last = text;
    out.end = text + NGX_HTTP_LATCHKEY_TEXT;

    ngx_http_latchkey_rewind(&lines);

    while (ngx_http_latchkey_next(&lines)) {

        total = 0;
        (void) ngx_http_latchkey_total(&lines, &total);

        ngx_http_latchkey_print(&out, "%.*s%.*s%s%.*s%s %.15g\n",
                                (int) lines.head.len, lines.head.data,
                                (int) lines.name.len, lines.name.data,
                                lines.labels.len ? "{" : "",
                                (int) lines.labels.len, lines.labels.data,
                                lines.labels.len ? "}" : "", total);
    }

    if (out.last < out.end) {
        ngx_http_latchkey_write(&shared->gone, text, out.last - out.pos);
    }
}


/* A worker may be killed in the middle of this, and nobody can read half a text. The mutex is held. */

static void
ngx_http_latchkey_write(ngx_http_latchkey_slot_t *slot, u_char *text,
    size_t len)
{
    slot->len = 0;
    ngx_memory_barrier();

    ngx_memcpy(slot->text, text, len + 1);
    ngx_memory_barrier();

    slot->len = len;
}


/* Copies what the workers of a store have written. Those that were killed join those that have ended. */

ngx_int_t
ngx_http_latchkey_read(ngx_http_request_t *r, ngx_http_latchkey_store_t *store,
    ngx_http_latchkey_lines_t *lines)
{
    ngx_uint_t                   i, n;
    ngx_slab_pool_t             *shpool;
    ngx_http_latchkey_slot_t    *slot;
    ngx_http_latchkey_shared_t  *shared;

    shared = store->zone->data;
    shpool = (ngx_slab_pool_t *) store->zone->shm.addr;

    lines->store = store->name;

    ngx_shmtx_lock(&shpool->mutex);

    n = 1;

    for (i = 0; i < NGX_HTTP_LATCHKEY_SLOTS; i++) {
        slot = &shared->slots[i];

        if (slot->pid && kill(slot->pid, 0) == -1 && ngx_errno == NGX_ESRCH) {
            ngx_http_latchkey_leave(shared, slot);
        }

        n += slot->pid != 0;
    }

    lines->slots = ngx_palloc(r->pool, n * sizeof(ngx_http_latchkey_slot_t));

    if (lines->slots) {

        for (i = 0; i < NGX_HTTP_LATCHKEY_SLOTS; i++) {
            slot = &shared->slots[i];

            if (slot->pid) {
                ngx_memcpy(&lines->slots[lines->live++], slot,
                           sizeof(ngx_http_latchkey_slot_t));
            }
        }

        lines->nslots = lines->live;

        if (shared->gone.len) {
            ngx_memcpy(&lines->slots[lines->nslots++], &shared->gone,
                       sizeof(ngx_http_latchkey_slot_t));
        }
    }

    ngx_shmtx_unlock(&shpool->mutex);

    lines->next = ngx_palloc(r->pool, n * sizeof(u_char *));
    lines->values = ngx_palloc(r->pool, n * sizeof(double));

    if (lines->slots == NULL || lines->next == NULL || lines->values == NULL) {
        return NGX_ERROR;
    }

    return NGX_OK;
}
