/* SPDX-License-Identifier: MIT
 *
 * LMDB: a read transaction for each lookup, renewed rather than begun. No syncing; the file is in memory if TMPDIR is.
 */
#include "peer.h"

#if __has_include(<lmdb.h>)
#include <lmdb.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct table {
    MDB_env *env;
    MDB_dbi dbi;
    MDB_txn *filling; /* the first puts share a transaction, until a reader enters */
    char path[256];
} table;

static __thread MDB_txn *reading;

static void check(int status, const char *what)
{
    if (status == MDB_SUCCESS) return;
    fprintf(stderr, "LMDB: %s: %s\n", what, mdb_strerror(status));
    exit(1);
}

static void *lmdb_open(size_t capacity)
{
    const char *directory = getenv("TMPDIR");
    table *t = calloc(1, sizeof *t);
    snprintf(t->path, sizeof t->path, "%s/latchkey-bench-XXXXXX", directory ? directory : "/tmp");
    int file = mkstemp(t->path);
    if (file >= 0) close(file);
    check(mdb_env_create(&t->env), "create");
    /* Pages that a reader may still see are not used again, and a reader that the machine holds up may see many. The file is
     * sparse. */
    check(mdb_env_set_mapsize(t->env, capacity * 1024 + ((size_t)4 << 30)), "size");
    check(mdb_env_open(t->env, t->path, MDB_NOSUBDIR | MDB_NOSYNC | MDB_WRITEMAP | MDB_NORDAHEAD, 0600), "open");
    unlink(t->path);
    MDB_txn *txn;
    check(mdb_txn_begin(t->env, NULL, 0, &txn), "begin");
    check(mdb_dbi_open(txn, NULL, 0, &t->dbi), "table");
    check(mdb_txn_commit(txn), "commit");
    return t;
}

static void end_filling(table *t)
{
    if (t->filling) check(mdb_txn_commit(t->filling), "commit");
    t->filling = NULL;
}

static void lmdb_close(void *map)
{
    table *t = map;
    char lock[300];
    end_filling(t);
    mdb_env_close(t->env);
    snprintf(lock, sizeof lock, "%s-lock", t->path);
    unlink(lock);
    free(t);
}

static void lmdb_enter(void *map)
{
    table *t = map;
    end_filling(t);
    check(mdb_txn_begin(t->env, NULL, MDB_RDONLY, &reading), "begin reading");
    mdb_txn_reset(reading);
}

static void lmdb_leave(void *map)
{
    (void)map;
    mdb_txn_abort(reading);
    reading = NULL;
}

/* The key is the 43 characters, the value the deadline and the entry; it may lie at any address. */
enum { VALUE_SIZE = sizeof(int64_t) + LATCHKEY_ENTRY_SIZE };

static MDB_val key_of(const char *text)
{
    union {
        const char *text;
        void *data;
    } at = {text}; /* mdb_get does not write to it */
    return (MDB_val){LATCHKEY_TOKEN_LENGTH, at.data};
}

static bool lmdb_get(void *map, const request *asked, latchkey_entry *entry)
{
    table *t = map;
    MDB_val key = key_of(asked->text), value;
    int64_t deadline_ms = 0, lease = lease_until();
    if (mdb_txn_renew(reading)) return false;
    bool found = mdb_get(reading, t->dbi, &key, &value) == MDB_SUCCESS;
    if (found) {
        memcpy(&deadline_ms, value.mv_data, sizeof deadline_ms);
        memcpy(entry, (const char *)value.mv_data + sizeof deadline_ms, sizeof *entry);
    }
    mdb_txn_reset(reading);
    return found && in_time(lease, deadline_ms);
}

/* After the filling each write is a transaction. */
static MDB_txn *writing(table *t, bool *own)
{
    MDB_txn *txn = t->filling;
    *own = txn == NULL;
    if (*own) check(mdb_txn_begin(t->env, NULL, 0, &txn), "begin writing");
    return txn;
}

static void lmdb_fill(void *map)
{
    table *t = map;
    if (!t->filling) check(mdb_txn_begin(t->env, NULL, 0, &t->filling), "begin filling");
}

static void lmdb_put(void *map, const record *r)
{
    bool own;
    char bytes[VALUE_SIZE];
    memcpy(bytes, &r->deadline_ms, sizeof r->deadline_ms);
    memcpy(bytes + sizeof r->deadline_ms, &r->entry, sizeof r->entry);
    MDB_txn *txn = writing(map, &own);
    MDB_val key = key_of(r->text), value = {sizeof bytes, bytes};
    check(mdb_put(txn, ((table *)map)->dbi, &key, &value, 0), "put");
    if (own) check(mdb_txn_commit(txn), "commit");
}

static void lmdb_drop(void *map, const record *r)
{
    bool own;
    MDB_txn *txn = writing(map, &own);
    MDB_val key = key_of(r->text);
    mdb_del(txn, ((table *)map)->dbi, &key, NULL);
    if (own) check(mdb_txn_commit(txn), "commit");
}

static size_t lmdb_bytes(void *map)
{
    MDB_envinfo info;
    MDB_stat stat;
    end_filling(map);
    check(mdb_env_info(((table *)map)->env, &info), "info");
    check(mdb_env_stat(((table *)map)->env, &stat), "stat");
    return (info.me_last_pgno + 1) * stat.ms_psize;
}

const peer peer_lmdb = {.name = "LMDB",
                        .where = "Debian liblmdb-dev",
                        .debian = true,
                        .open = lmdb_open,
                        .close = lmdb_close,
                        .fill = lmdb_fill,
                        .enter = lmdb_enter,
                        .leave = lmdb_leave,
                        .get = lmdb_get,
                        .put = lmdb_put,
                        .drop = lmdb_drop,
                        .bytes = lmdb_bytes};
#else
const peer peer_lmdb = {.name = "LMDB", .where = "Debian liblmdb-dev", .debian = true, .missing = "no lmdb.h"};
#endif
