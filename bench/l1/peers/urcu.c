/* SPDX-License-Identifier: MIT
 *
 * liburcu: cds_lfht. Built once for each flavour: URCU_QSBR or URCU_MEMB.
 */
#include "peer.h"

#ifdef URCU_QSBR
#define SELF peer_urcu_qsbr
#define NAME "liburcu lfht, qsbr"
#else
#define SELF peer_urcu_memb
#define NAME "liburcu lfht, memb"
#endif

#if __has_include(<urcu/rculfhash.h>)
#define _LGPL_SOURCE /* inlined read sides, as fast as it gets */
#define URCU_API_MAP
#ifdef URCU_QSBR
#include <urcu/urcu-qsbr.h>
#else
#include <urcu/urcu-memb.h>
#endif
#include <stddef.h>
#include <stdlib.h>
#include <urcu/rculfhash.h>

typedef struct node {
    struct cds_lfht_node link;
    struct node *next; /* in the bin */
    record record;
} node;

enum { BIN = 256 };

typedef struct table {
    struct cds_lfht *table;
    node *bin; /* dropped, perhaps still looked at */
    int in_bin;
} table;

/* Readers in qsbr say now and then that they hold nothing; once in 64 requests is generous to it. */
static __thread unsigned since_quiet;

static void *urcu_open(size_t capacity)
{
    size_t buckets = 64;
    while (buckets < capacity) buckets *= 2;
    table *t = calloc(1, sizeof *t);
    rcu_register_thread();
    t->table = cds_lfht_new(buckets, buckets, 0, 0, NULL);
    rcu_unregister_thread();
    return t;
}

/* Not liburcu's macro, which casts a const away. */
static node *of_link(struct cds_lfht_node *link) { return (node *)(void *)((char *)link - offsetof(node, link)); }

static int match(struct cds_lfht_node *link, const void *text) { return text_equal(of_link(link)->record.text, text); }

static node *find(table *t, const char *text, struct cds_lfht_iter *iter)
{
    cds_lfht_lookup(t->table, text_hash(text), match, text, iter);
    struct cds_lfht_node *link = cds_lfht_iter_get_node(iter);
    return link ? of_link(link) : NULL;
}

static bool urcu_get(void *map, const request *asked, latchkey_entry *entry)
{
    struct cds_lfht_iter iter;
    int64_t deadline_ms = 0, lease = lease_until();
    rcu_read_lock();
    const node *n = find(map, asked->text, &iter);
    if (n) {
        *entry = n->record.entry;
        deadline_ms = n->record.deadline_ms;
    }
    rcu_read_unlock();
    if (++since_quiet % 64 == 0) rcu_quiescent_state();
    return n && in_time(lease, deadline_ms);
}

static void urcu_put(void *map, const record *r)
{
    table *t = map;
    node *n = malloc(sizeof *n);
    cds_lfht_node_init(&n->link);
    n->record = *r;
    rcu_read_lock();
    cds_lfht_add(t->table, text_hash(r->text), &n->link);
    rcu_read_unlock();
    if (++since_quiet % 64 == 0) rcu_quiescent_state();
}

static void empty_bin(table *t)
{
    synchronize_rcu();
    for (node *next; t->bin; t->bin = next) {
        next = t->bin->next;
        free(t->bin);
    }
    t->in_bin = 0;
}

static void urcu_drop(void *map, const record *r)
{
    table *t = map;
    struct cds_lfht_iter iter;
    rcu_read_lock();
    node *n = find(t, r->text, &iter);
    if (n) {
        cds_lfht_del(t->table, &n->link);
        n->next = t->bin;
        t->bin = n;
    }
    rcu_read_unlock();
    if (n && ++t->in_bin == BIN) empty_bin(t);
}

static void urcu_close(void *map)
{
    table *t = map;
    struct cds_lfht_iter iter;
    struct cds_lfht_node *link;
    rcu_register_thread();
    rcu_read_lock();
    cds_lfht_for_each(t->table, &iter, link)
    {
        node *n = of_link(link);
        cds_lfht_del(t->table, link);
        n->next = t->bin;
        t->bin = n;
    }
    rcu_read_unlock();
    empty_bin(t);
    rcu_unregister_thread();
    cds_lfht_destroy(t->table, NULL);
    free(t);
}

static void urcu_enter(void *map)
{
    (void)map;
    rcu_register_thread();
}

static void urcu_leave(void *map)
{
    (void)map;
    rcu_unregister_thread();
}

const peer SELF = {.name = NAME,
                   .where = "Debian liburcu-dev",
                   .debian = true,
                   .open = urcu_open,
                   .close = urcu_close,
                   .enter = urcu_enter,
                   .leave = urcu_leave,
                   .get = urcu_get,
                   .put = urcu_put,
                   .drop = urcu_drop};
#else
const peer SELF = {.name = NAME, .where = "Debian liburcu-dev", .debian = true, .missing = "no urcu/rculfhash.h"};
#endif
