/* SPDX-License-Identifier: MIT
 *
 * GLib: GHashTable under a GRWLock. The record is key and value at once, in an allocation of its own.
 */
#include "peer.h"

#if __has_include(<glib.h>)
#include <glib.h>
#include <stdlib.h>

typedef struct table {
    GHashTable *table;
    GRWLock lock;
} table;

static guint hash(gconstpointer r) { return (guint)text_hash(((const record *)r)->text); }
static gboolean equal(gconstpointer a, gconstpointer b)
{
    return text_equal(((const record *)a)->text, ((const record *)b)->text);
}

static void *glib_open(size_t capacity)
{
    (void)capacity; /* it cannot be told */
    table *t = calloc(1, sizeof *t);
    t->table = g_hash_table_new_full(hash, equal, NULL, free);
    g_rw_lock_init(&t->lock);
    return t;
}

static void glib_close(void *map)
{
    table *t = map;
    g_hash_table_destroy(t->table);
    g_rw_lock_clear(&t->lock);
    free(t);
}

static bool glib_get(void *map, const request *asked, latchkey_entry *entry)
{
    table *t = map;
    record key;
    int64_t deadline_ms = 0, lease = lease_until();
    memcpy(key.text, asked->text, sizeof key.text);
    g_rw_lock_reader_lock(&t->lock);
    const record *r = g_hash_table_lookup(t->table, &key);
    if (r) {
        *entry = r->entry;
        deadline_ms = r->deadline_ms;
    }
    g_rw_lock_reader_unlock(&t->lock);
    return r && in_time(lease, deadline_ms);
}

static void glib_put(void *map, const record *r)
{
    table *t = map;
    record *copy = malloc(sizeof *copy);
    *copy = *r;
    g_rw_lock_writer_lock(&t->lock);
    g_hash_table_add(t->table, copy);
    g_rw_lock_writer_unlock(&t->lock);
}

static void glib_drop(void *map, const record *r)
{
    table *t = map;
    g_rw_lock_writer_lock(&t->lock);
    g_hash_table_remove(t->table, r);
    g_rw_lock_writer_unlock(&t->lock);
}

const peer peer_glib = {.name = "GLib + GRWLock",
                        .where = "Debian libglib2.0-dev",
                        .debian = true,
                        .open = glib_open,
                        .close = glib_close,
                        .get = glib_get,
                        .put = glib_put,
                        .drop = glib_drop};
#else
const peer peer_glib = {
    .name = "GLib + GRWLock", .where = "Debian libglib2.0-dev", .debian = true, .missing = "no glib.h"};
#endif
