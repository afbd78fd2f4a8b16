/* SPDX-License-Identifier: MIT
 *
 * The inside of the store, for the files that hold its commands: objects, and what may be done to them.
 */
#ifndef LATCHKEY_SIM_KEYSPACE_H
#define LATCHKEY_SIM_KEYSPACE_H

#include "store.h"

enum { KEYSPACE_BUCKETS = 4096, KEY_ROOM = 160 };

/* A hash's field and value; a sorted set's member and score; a stream's entry, the value being its fields as RESP; a
 * string is one of it. */
typedef struct item {
    double score;
    int64_t ms, seq; /* a stream's id */
    char *name, *value;
    size_t name_size, value_size;
} item;

struct object {
    struct object *next;
    uint64_t hash;
    char key[KEY_ROOM];
    enum object_type { A_STRING, A_HASH, A_SORTED_SET, A_STREAM } type;
    int64_t expires_ms; /* 0: never */
    int64_t last_ms, last_seq;
    uint64_t trimmed; /* how many entries a stream has lost at its beginning */
    item *item;
    size_t count, room;
};

struct store {
    object *bucket[KEYSPACE_BUCKETS];
};

/* One command under way. */
typedef struct run {
    store *store;
    const word *words;
    size_t count;
    int64_t now_us, now_ms;
    const store_events *events; /* or NULL: it is run again */
    buffer *reply;              /* or NULL */
    bool wrote;
} run;

void run_command(run *r); /* replies an error where there is no such command */

/* The live object of that name, or NULL. `get` also replies an error and returns false where it is of another type. */
object *find(run *r, word key);
bool get(run *r, word key, enum object_type type, object **out);
object *make(run *r, word key, enum object_type type); /* which is not there yet */
object *get_or_make(run *r, object *there, word key, enum object_type type);
void wrote(run *r, const object *o);
void delete_object(run *r, object *o);
void delete_if_empty(run *r, object *o); /* Redis has no empty hashes and the like */
void rename_object(run *r, object *o, word to);
void set_expiry(run *r, object *o, int64_t ms); /* 0: none; in the past: deletes it */

/* Items. */
char *copy_text(const char *text, size_t size);
item *insert_item(object *o, size_t place);
void remove_items(object *o, size_t place, size_t count);
size_t place_of_item(const object *o, word name); /* o->count: not there */
void set_value(item *i, word value);

void reply_error(run *r, const char *text);
void reply_status(run *r, const char *text);
void reply_integer(run *r, int64_t value);
void reply_bulk(run *r, const char *text, size_t size);
void reply_score(run *r, double value);
void reply_nil(run *r);
void reply_no_array(run *r);            /* "*-1" */
void reply_array(run *r, size_t count); /* its items follow */
void reply_raw(run *r, const char *bytes, size_t size);
void no_syntax(run *r);
void no_integer(run *r);

/* An argument that must be an integer or a score; false: an error was replied. */
bool take_integer(run *r, word w, int64_t *out);
bool take_score(run *r, word w, double *out);

/* A range of places as Redis counts them, from the end where it is negative. Returns the first; *count: how many. */
size_t take_range(int64_t from, int64_t to, size_t size, size_t *count);

/* The commands, by the files in which they stand. */
typedef struct command {
    const char *name;
    void (*run)(run *r);
    size_t least, most; /* words; 0: any number */
    bool writes;
} command;
extern const command key_commands[], string_commands[], hash_commands[], sorted_commands[], stream_commands[],
    script_commands[]; /* each ends with a name that is NULL */

#endif
