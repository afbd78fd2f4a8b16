/* SPDX-License-Identifier: MIT
 *
 * The sessions that exist, and making them all. See article.h.
 */
#include "article.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#define LOADERS 8 /* as many as latchkey has connections by default */
#define BATCH 100 /* plain records set in one go */

static void lock_slot(slot *it)
{
    for (unsigned turns = 0;; turns++) {
        unsigned free_value = 0;
        if (atomic_compare_exchange_weak_explicit(&it->busy, &free_value, 1, memory_order_acquire,
                                                  memory_order_relaxed))
            return;
        if (turns % 64 == 63) sched_yield(); /* its holder may have lost the core */
    }
}

static void unlock_slot(slot *it) { atomic_store_explicit(&it->busy, 0, memory_order_release); }

static uint32_t now_s(void) { return (uint32_t)(bench_now_ns() / 1000000000u); }

bool world_read(world *w, size_t index, session *out)
{
    slot *it = &w->slots[index];
    lock_slot(it);
    bool live = it->live;
    if (live) {
        *out = it->it;
        it->it.used_s = now_s();
    }
    unlock_slot(it);
    return live;
}

bool world_holds(world *w, size_t index, const session *held)
{
    slot *it = &w->slots[index];
    lock_slot(it);
    bool same = it->live && it->it.user_id == held->user_id; /* each session here has a user of its own */
    unlock_slot(it);
    return same;
}

bool world_take(world *w, size_t index, session *out)
{
    slot *it = &w->slots[index];
    lock_slot(it);
    bool live = it->live;
    if (live) *out = it->it;
    it->live = 0;
    unlock_slot(it);
    return live;
}

void world_put(world *w, size_t index, const session *put)
{
    slot *it = &w->slots[index];
    lock_slot(it);
    it->it = *put;
    it->it.used_s = now_s();
    it->live = 1;
    unlock_slot(it);
}

void world_leave(world *w, size_t index)
{
    pthread_mutex_lock(&w->lock);
    w->vacant[w->vacant_count++] = (uint32_t)index;
    pthread_mutex_unlock(&w->lock);
}

size_t world_vacancy(world *w, bench_random *random)
{
    size_t index = SIZE_MAX;
    session abandoned;
    pthread_mutex_lock(&w->lock);
    if (w->vacant_count) index = w->vacant[--w->vacant_count];
    pthread_mutex_unlock(&w->lock);
    while (index == SIZE_MAX) {
        size_t any = bench_random_below(random, w->count);
        if (world_take(w, any, &abandoned)) index = any;
    }
    return index;
}

/* ---------------------------------------------------------------------------------------------- loading -- */

typedef struct loader {
    pthread_t thread;
    store store;
    world *world;
    const uint32_t *order;
    atomic_size_t *next; /* relaxed: hands out numbers, publishes nothing */
    bench_histogram create;
} loader;

static void *load(void *argument)
{
    loader *l = argument;
    world *w = l->world;
    session made = {0};
    size_t i;
    while ((i = atomic_fetch_add_explicit(l->next, 1, memory_order_relaxed)) < w->count) {
        made.user_id = 1 + atomic_fetch_add_explicit(&w->users, 1, memory_order_relaxed);
        uint64_t before = bench_now_ns();
        int status = store_login(&l->store, made.user_id, made.token);
        if (status == LATCHKEY_UNAVAILABLE) status = store_login(&l->store, made.user_id, made.token);
        if (status != LATCHKEY_OK) bench_die("making session %zu: %s", i, latchkey_status_text(status));
        bench_histogram_add(&l->create, bench_now_ns() - before);
        world_put(w, l->order[i], &made);
    }
    return NULL;
}

static void load_latchkey(world *w, latchkey *lk, const article_options *options, const uint32_t *order)
{
    atomic_size_t next = 0;
    loader *loaders = bench_take(LOADERS * sizeof *loaders);
    for (int i = 0; i < LOADERS; i++) {
        loaders[i].world = w, loaders[i].order = order, loaders[i].next = &next;
        bench_histogram_clear(&loaders[i].create);
        store_open(&loaders[i].store, lk, NULL, options, (uint64_t)options->seed + 1000 + (uint64_t)i);
        pthread_create(&loaders[i].thread, NULL, load, &loaders[i]);
    }
    for (size_t done; (done = atomic_load_explicit(&next, memory_order_relaxed)) < w->count;) {
        bench_progress("sessions, each by its own latchkey_create", (double)done, (double)w->count);
        bench_sleep_until_ns(bench_now_ns() + 50000000u);
    }
    for (int i = 0; i < LOADERS; i++) {
        pthread_join(loaders[i].thread, NULL);
        bench_histogram_merge(w->create_ns, &loaders[i].create);
        store_close(&loaders[i].store);
    }
    free(loaders);
    bench_progress("sessions, each by its own latchkey_create", 1, 1);
}

static void load_plain(world *w, const bench_server *server, const article_options *options, const uint32_t *order)
{
    store s;
    store_open(&s, NULL, server, options, (uint64_t)options->seed + 1000);
    session *made = bench_take(BATCH * sizeof *made);
    for (size_t at = 0; at < w->count; at += BATCH) {
        size_t count = w->count - at < BATCH ? w->count - at : BATCH;
        for (size_t i = 0; i < count; i++) {
            made[i].user_id = ++w->users;
            store_login_append(&s, made[i].user_id, made[i].token);
        }
        store_loaded(&s, count);
        for (size_t i = 0; i < count; i++) world_put(w, order[at + i], &made[i]);
        bench_progress("plain records, pipelined", (double)at, (double)w->count);
    }
    bench_progress("plain records, pipelined", 1, 1);
    free(made);
    store_close(&s);
}

world *world_make(const article_options *options, latchkey *lk, const bench_server *server)
{
    world *w = bench_take(sizeof *w);
    w->count = (size_t)options->sessions;
    w->slots = bench_take(w->count * sizeof *w->slots);
    w->vacant = bench_take(w->count * sizeof *w->vacant);
    w->create_ns = bench_take(sizeof *w->create_ns);
    bench_histogram_clear(w->create_ns);
    pthread_mutex_init(&w->lock, NULL);

    /* Made in random order: what logged in last must not be what is busiest. */
    bench_random random;
    bench_random_seed(&random, (uint64_t)options->seed);
    uint32_t *order = bench_take(w->count * sizeof *order);
    for (size_t i = 0; i < w->count; i++) order[i] = (uint32_t)i;
    bench_random_shuffle(&random, order, w->count);

    uint64_t began = bench_now_ns();
    if (lk) load_latchkey(w, lk, options, order);
    else load_plain(w, server, options, order);
    w->load_s = (double)(bench_now_ns() - began) / 1e9;
    free(order);
    return w;
}

void world_free(world *w)
{
    pthread_mutex_destroy(&w->lock);
    free(w->create_ns);
    free(w->vacant);
    free(w->slots);
    free(w);
}
