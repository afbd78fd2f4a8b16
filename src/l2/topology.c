/* See topology.h. */
#include "l2/topology.h"

#include "base/wake.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A node that owns all partitions. */
static int open_first(lk_topology *t, char *error, size_t error_size)
{
    lk_partitions all = {t->partitions, (size_t)t->config->partitions};
    int status = lk_node_open(t, all, &t->node[0], error, error_size);
    if (status) return status;
    for (unsigned p = 0; p < all.count; p++) atomic_store_explicit(&t->book.owner[p], t->node[0], memory_order_release);
    atomic_store_explicit(&t->nodes, 1, memory_order_release);
    return lk_node_start(t->node[0], error, error_size);
}

int lk_topology_open(lk_topology *t, const lk_config *config, lk_counters *counters, const lk_l1_side *l1, char *error,
                     size_t error_size)
{
    size_t count = (size_t)config->partitions;
    t->config = config;
    t->counters = counters;
    t->l1 = *l1;
    t->sign_fd = -1;
    t->partitions = calloc(count, sizeof *t->partitions);
    if (!t->partitions) return LATCHKEY_NO_MEMORY;
    for (unsigned p = 0; p < count; p++) t->partitions[p] = p;
    int status = lk_book_open(&t->book, config, counters, error, error_size);
    return status ? status : open_first(t, error, error_size);
}

void lk_topology_close(lk_topology *t)
{
    lk_node_close(t->node[0]);
    lk_book_close(&t->book);
    free(t->partitions);
    t->node[0] = NULL;
    atomic_store_explicit(&t->nodes, 0, memory_order_relaxed);
    t->partitions = NULL;
}

void lk_topology_abandon(lk_topology *t)
{
    lk_node_abandon(t->node[0]);
    lk_book_abandon(&t->book);
}

int lk_topology_wait(lk_topology *t, int64_t deadline_ms, char *error, size_t error_size)
{
    int status = LATCHKEY_OK;
    lk_node *node;
    for (unsigned i = 0; !status && (node = lk_topology_node(t, i)); i++)
        if (lk_node_owns(node)) status = lk_node_wait(node, deadline_ms, error, error_size);
    return status;
}

int lk_topology_apply(lk_topology *t, const lk_server_map *map, char *error, size_t error_size)
{
    (void)t, (void)map;
    snprintf(error, error_size, "there is no cluster");
    return LATCHKEY_UNAVAILABLE;
}

void lk_topology_sign(lk_topology *t, lk_node *from, const char *text)
{
    if (t->sign_fd < 0) return;
    lk_lock_take(&t->book.lock);
    t->is_signed = true;
    t->sign.from = from;
    snprintf(t->sign.text, sizeof t->sign.text, "%s", text);
    lk_lock_give(&t->book.lock);
    lk_raise(t->sign_fd);
}

bool lk_topology_signed(lk_topology *t, lk_sign *sign)
{
    lk_lock_take(&t->book.lock);
    bool news = t->is_signed;
    t->is_signed = false;
    if (news) *sign = t->sign;
    lk_lock_give(&t->book.lock);
    return news;
}

uint64_t lk_topology_version(lk_topology *t)
{
    lk_lock_take(&t->book.lock);
    uint64_t version = t->book.version;
    lk_lock_give(&t->book.lock);
    return version;
}

void lk_topology_await_change(lk_topology *t, uint64_t seen, int64_t deadline_ms)
{
    lk_lock_take(&t->book.lock);
    for (int late = 0; t->book.version == seen && !late;)
        late = lk_lock_wait_until(&t->book.lock, &t->book.changed, deadline_ms);
    lk_lock_give(&t->book.lock);
}
