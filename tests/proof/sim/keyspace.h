/* SPDX-License-Identifier: MIT
 *
 * The inside of store.c, for scripts.c: objects and what may be done to them.
 */
#ifndef LATCHKEY_SIM_KEYSPACE_H
#define LATCHKEY_SIM_KEYSPACE_H

#include "store.h"

enum { KEYSPACE_BUCKETS = 256, KEY_ROOM = 128 };
#define SORTED_LAST INT64_MAX /* the score +inf */

/* A hash's field and value, a sorted set's member and score, a stream's entry; a string is one of it. */
typedef struct item {
    int64_t score; /* or the stream's id, of which the second half is always 0 */
    char *name, *value;
    size_t name_size, value_size;
} item;

typedef struct object {
    struct object *next;
    uint64_t hash;
    char key[KEY_ROOM];
    enum object_type { A_STRING, A_HASH, A_SORTED_SET, A_STREAM } type;
    int64_t expires_ms; /* 0: never */
    int64_t last_id;
    item *item;
    size_t count, room;
} object;

struct store {
    object *bucket[KEYSPACE_BUCKETS];
};

/* One command under way. */
typedef struct run {
    store *store;
    const word *words;
    size_t count;
    int64_t now_us, now_ms;
    const store_events *events; /* or NULL */
    buffer *reply;              /* or NULL */
    bool wrote;
} run;

object *keyspace_find(run *r, const char *key);                        /* NULL also where it expired */
object *keyspace_make(run *r, const char *key, enum object_type type); /* finds or makes */
void keyspace_delete(run *r, const char *key);
void keyspace_rename(run *r, const char *from, const char *to);
const item *hash_get(const object *o, const char *name, size_t name_size);
void hash_set(object *o, word name, word value);
void hash_delete(run *r, object *o, word name);
void sorted_add(object *o, int64_t score, const char *name, size_t name_size);
void sorted_remove(run *r, object *o, const char *name, size_t name_size);
void sorted_trim(run *r, object *o, int64_t most); /* scores up to `most` go */
void stream_add(object *o, int64_t id, const char *text, size_t size, bool changed);
void string_set(object *o, const char *text);
void item_free(item *i);

void reply_error(run *r, const char *text);
void reply_status(run *r, const char *text);
void reply_integer(run *r, int64_t value);
void reply_bulk(run *r, const char *text, size_t size);
void reply_array(run *r, size_t count); /* its items follow */

void script_run(run *r, int script); /* enum lk_script_id */

#endif
