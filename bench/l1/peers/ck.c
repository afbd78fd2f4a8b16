/* SPDX-License-Identifier: MIT
 *
 * Concurrency Kit: ck_hs and ck_ht, one writer and many readers. Neither reclaims memory; a user has to add ck_epoch.
 * Here a dropped record's allocation is kept for when the same record is put again, so readers need no protection: that
 * flatters them.
 */
#include "peer.h"

#if __has_include(<ck_hs.h>) && __has_include(<ck_ht.h>)
#include <ck_hs.h>
#include <ck_ht.h>
#include <stdlib.h>

typedef struct table {
    ck_hs_t hs;
    ck_ht_t ht;
    record **records; /* by number, made at the first put */
    size_t count;
} table;

static void *take(size_t size) { return malloc(size); }
static void *retake(void *memory, size_t before, size_t after, bool defer)
{
    (void)before, (void)defer;
    return realloc(memory, after);
}
/* Deferred: an array that readers may still hold. The tables are opened large enough, so there are few. */
static void give_back(void *memory, size_t size, bool defer)
{
    (void)size;
    if (!defer) free(memory);
}
static struct ck_malloc memory = {.malloc = take, .realloc = retake, .free = give_back};

static table *open_table(size_t capacity)
{
    table *t = calloc(1, sizeof *t);
    t->count = capacity + capacity / 10 + 64;
    t->records = take_huge(t->count * sizeof *t->records);
    return t;
}

static record *kept(table *t, const record *r)
{
    record **at = &t->records[r->index];
    if (!*at) {
        *at = malloc(sizeof **at);
        **at = *r;
    }
    return *at;
}

static void close_table(table *t)
{
    for (size_t i = 0; i < t->count; i++) free(t->records[i]);
    release_huge(t->records, t->count * sizeof *t->records);
    free(t);
}

static bool serve(const record *r, int64_t lease_until_ms, latchkey_entry *entry)
{
    if (!r) return false;
    *entry = r->entry;
    return in_time(lease_until_ms, r->deadline_ms);
}

/* -------------------------------------------------------------------------------------------------- ck_hs -- */

static unsigned long hs_hash(const void *text, unsigned long seed)
{
    (void)seed;
    return text_hash(text);
}
static bool hs_equal(const void *a, const void *b) { return text_equal(a, b); }
static const record *of_text(const char *text)
{
    return text ? (const record *)(const void *)(text - offsetof(record, text)) : NULL;
}

static void *hs_open(size_t capacity)
{
    table *t = open_table(capacity);
    ck_hs_init(&t->hs, CK_HS_MODE_SPMC | CK_HS_MODE_OBJECT | CK_HS_MODE_DELETE, hs_hash, hs_equal, &memory,
               capacity * 2, 0);
    return t;
}
static void hs_close(void *map)
{
    ck_hs_destroy(&((table *)map)->hs);
    close_table(map);
}
static bool hs_get(void *map, const request *asked, latchkey_entry *entry)
{
    int64_t lease = lease_until();
    return serve(of_text(ck_hs_get(&((table *)map)->hs, text_hash(asked->text), asked->text)), lease, entry);
}
static void hs_put(void *map, const record *r)
{
    ck_hs_put(&((table *)map)->hs, text_hash(r->text), kept(map, r)->text);
}
static void hs_drop(void *map, const record *r) { ck_hs_remove(&((table *)map)->hs, text_hash(r->text), r->text); }

const peer peer_ck_hs = {.name = "Concurrency Kit ck_hs",
                         .where = "Debian libck-dev",
                         .debian = true,
                         .open = hs_open,
                         .close = hs_close,
                         .get = hs_get,
                         .put = hs_put,
                         .drop = hs_drop};

/* -------------------------------------------------------------------------------------------------- ck_ht -- */

static void ht_hash(ck_ht_hash_t *hash, const void *text, size_t length, uint64_t seed)
{
    (void)length, (void)seed;
    hash->value = text_hash(text);
}

static void *ht_open(size_t capacity)
{
    table *t = open_table(capacity);
    ck_ht_init(&t->ht, CK_HT_MODE_BYTESTRING | CK_HT_WORKLOAD_DELETE, ht_hash, &memory, capacity * 2, 0);
    return t;
}
static void ht_close(void *map)
{
    ck_ht_destroy(&((table *)map)->ht);
    close_table(map);
}
static bool ht_get(void *map, const request *asked, latchkey_entry *entry)
{
    int64_t lease = lease_until();
    ck_ht_hash_t hash = {text_hash(asked->text)};
    ck_ht_entry_t found;
    ck_ht_entry_key_set(&found, asked->text, LATCHKEY_TOKEN_LENGTH);
    bool there = ck_ht_get_spmc(&((table *)map)->ht, hash, &found);
    return serve(there ? ck_ht_entry_value(&found) : NULL, lease, entry);
}
static void ht_put(void *map, const record *r)
{
    record *stored = kept(map, r);
    ck_ht_hash_t hash = {text_hash(stored->text)};
    ck_ht_entry_t entry;
    ck_ht_entry_set(&entry, hash, stored->text, LATCHKEY_TOKEN_LENGTH, stored);
    ck_ht_put_spmc(&((table *)map)->ht, hash, &entry);
}
static void ht_drop(void *map, const record *r)
{
    ck_ht_hash_t hash = {text_hash(r->text)};
    ck_ht_entry_t entry;
    ck_ht_entry_key_set(&entry, r->text, LATCHKEY_TOKEN_LENGTH);
    ck_ht_remove_spmc(&((table *)map)->ht, hash, &entry);
}

const peer peer_ck_ht = {.name = "Concurrency Kit ck_ht",
                         .where = "Debian libck-dev",
                         .debian = true,
                         .open = ht_open,
                         .close = ht_close,
                         .get = ht_get,
                         .put = ht_put,
                         .drop = ht_drop};
#else
const peer peer_ck_hs = {
    .name = "Concurrency Kit ck_hs", .where = "Debian libck-dev", .debian = true, .missing = "no ck_hs.h"};
const peer peer_ck_ht = {
    .name = "Concurrency Kit ck_ht", .where = "Debian libck-dev", .debian = true, .missing = "no ck_ht.h"};
#endif
