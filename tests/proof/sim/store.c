/* SPDX-License-Identifier: MIT
 *
 * See store.h. Objects in a small table of lists; items in arrays, in the order in which Redis hands them out. The commands
 * stand in store_keys.c, store_strings.c, store_hashes.c, store_sorted.c, store_streams.c; scripts in store_lua.c.
 */
#include "keyspace.h"

#include "base/hash.h"

#include <stdlib.h>
#include <string.h>

enum { LINGER_MS = 120000 }; /* the longest that an expired key stays when it is not asked for */
enum { EXPIRE_BUCKETS = 8 }; /* that are looked through whenever a key is made */

/* ---------------------------------------------------------------------------------------------- replies -- */

void reply_error(run *r, const char *text)
{
    if (!r->reply) return;
    buffer_add(r->reply, "-", 1);
    buffer_add(r->reply, text, strlen(text));
    buffer_add(r->reply, "\r\n", 2);
}
void reply_status(run *r, const char *text)
{
    if (r->reply) buffer_print(r->reply, "+%s\r\n", text);
}
void reply_integer(run *r, int64_t value)
{
    if (r->reply) buffer_header(r->reply, ':', value);
}
void reply_bulk(run *r, const char *text, size_t size)
{
    if (r->reply) buffer_bulk(r->reply, text, size);
}
void reply_score(run *r, double value)
{
    char text[NUMBER_ROOM];
    reply_bulk(r, text, score_print(text, value));
}
void reply_nil(run *r)
{
    if (r->reply) buffer_header(r->reply, '$', -1);
}
void reply_no_array(run *r)
{
    if (r->reply) buffer_header(r->reply, '*', -1);
}
void reply_array(run *r, size_t count)
{
    if (r->reply) buffer_header(r->reply, '*', (int64_t)count);
}
void reply_raw(run *r, const char *bytes, size_t size)
{
    if (r->reply) buffer_add(r->reply, bytes, size);
}
void no_syntax(run *r) { reply_error(r, "ERR syntax error"); }
void no_integer(run *r) { reply_error(r, "ERR value is not an integer or out of range"); }

bool take_integer(run *r, word w, int64_t *out)
{
    bool good = word_integer(w, out);
    if (!good) no_integer(r);
    return good;
}

bool take_score(run *r, word w, double *out)
{
    bool good = word_score(w, out, NULL);
    if (!good) reply_error(r, "ERR value is not a valid float");
    return good;
}

size_t take_range(int64_t from, int64_t to, size_t size, size_t *count)
{
    int64_t all = (int64_t)size;
    if (from < 0) from = from + all < 0 ? 0 : from + all;
    if (to < 0) to += all;
    if (to >= all) to = all - 1;
    *count = from > to ? 0 : (size_t)(to - from + 1);
    return *count ? (size_t)from : 0;
}

/* ---------------------------------------------------------------------------------------------- objects -- */

char *copy_text(const char *text, size_t size)
{
    char *to = malloc(size + 1);
    if (!to) abort();
    if (size) memcpy(to, text, size);
    to[size] = 0;
    return to;
}

static object **place_of(store *s, const char *key, size_t size)
{
    uint64_t hash = lk_hash(key, size, 0);
    object **at = &s->bucket[hash % KEYSPACE_BUCKETS];
    while (*at && ((*at)->hash != hash || strcmp((*at)->key, key))) at = &(*at)->next;
    return at;
}

static object *peek(const store *s, const char *key) { return *place_of((store *)(uintptr_t)s, key, strlen(key)); }

static void object_free(object *o)
{
    for (size_t i = 0; i < o->count; i++) {
        free(o->item[i].name);
        free(o->item[i].value);
    }
    free(o->item);
    free(o);
}

static void unlink_object(object **at)
{
    object *o = *at;
    *at = o->next;
    object_free(o);
}

static bool dead(const object *o, int64_t now_ms) { return o->expires_ms && o->expires_ms <= now_ms; }

/* A primary deletes what has expired, and tells its replicas; where the command is run again it is told. */
static bool deletes_expired(const run *r) { return r->events && !r->events->replica; }

static void expire(run *r, object **at)
{
    const word words[] = {{"DEL", 3}, {(*at)->key, strlen((*at)->key)}};
    r->events->effect(r->events->context, words, 2);
    unlink_object(at);
}

/* Redis looks for expired keys all the time, and finds most of them soon: so some go as others are made. */
static void expire_some(run *r, uint64_t random)
{
    for (size_t i = 0; i < EXPIRE_BUCKETS; i++)
        for (object **at = &r->store->bucket[(random + i) % KEYSPACE_BUCKETS]; *at;) {
            int64_t lingers_ms = (*at)->hash >> 32 & 1 ? (int64_t)((*at)->hash >> 33) % LINGER_MS : 0;
            if (dead(*at, r->now_ms - lingers_ms)) expire(r, at);
            else at = &(*at)->next;
        }
}

object *find(run *r, word key)
{
    object **at = place_of(r->store, key.text, key.size);
    if (!*at || !dead(*at, r->now_ms)) return *at;
    if (deletes_expired(r)) expire(r, at);
    return NULL;
}

bool get(run *r, word key, enum object_type type, object **out)
{
    *out = find(r, key);
    if (!*out || (*out)->type == type) return true;
    reply_error(r, "WRONGTYPE Operation against a key holding the wrong kind of value");
    return false;
}

void wrote(run *r, const object *o)
{
    r->wrote = true;
    if (r->events) r->events->wrote(r->events->context, o->key, false);
}

object *make(run *r, word key, enum object_type type)
{
    object **at = place_of(r->store, key.text, key.size), *o = calloc(1, sizeof *o);
    if (!o || key.size >= sizeof o->key) abort();
    if (*at) unlink_object(at); /* where it is run again: expired */
    if (deletes_expired(r)) expire_some(r, lk_hash(key.text, key.size, 1));
    memcpy(o->key, key.text, key.size);
    o->hash = lk_hash(key.text, key.size, 0);
    o->type = type;
    at = &r->store->bucket[o->hash % KEYSPACE_BUCKETS];
    o->next = *at;
    *at = o;
    r->wrote = true;
    if (r->events) r->events->wrote(r->events->context, o->key, true);
    return o;
}

object *get_or_make(run *r, object *there, word key, enum object_type type)
{
    return there ? there : make(r, key, type);
}

void delete_object(run *r, object *o)
{
    char key[KEY_ROOM];
    memcpy(key, o->key, sizeof key);
    unlink_object(place_of(r->store, o->key, strlen(o->key)));
    r->wrote = true;
    if (r->events) r->events->deleted(r->events->context, key);
}

void delete_if_empty(run *r, object *o)
{
    if (!o->count) delete_object(r, o);
}

/* With its expiry, onto whatever lies there. */
void rename_object(run *r, object *o, word to)
{
    char from[KEY_ROOM];
    memcpy(from, o->key, sizeof from);
    object **at = place_of(r->store, to.text, to.size);
    r->wrote = true;
    if (*at == o) return;
    if (*at) unlink_object(at);
    at = place_of(r->store, from, strlen(from));
    *at = o->next;
    if (to.size >= sizeof o->key) abort();
    memcpy(o->key, to.text, to.size + 1);
    o->hash = lk_hash(to.text, to.size, 0);
    at = &r->store->bucket[o->hash % KEYSPACE_BUCKETS];
    o->next = *at;
    *at = o;
    if (r->events) r->events->renamed(r->events->context, from, o->key);
}

void set_expiry(run *r, object *o, int64_t ms)
{
    if (ms && ms <= r->now_ms && deletes_expired(r)) {
        delete_object(r, o);
        return;
    }
    o->expires_ms = ms;
    wrote(r, o);
}

/* ------------------------------------------------------------------------------------------------ items -- */

item *insert_item(object *o, size_t place)
{
    if (o->count == o->room) {
        o->room = o->room ? 2 * o->room : 4;
        o->item = realloc(o->item, o->room * sizeof *o->item);
        if (!o->item) abort();
    }
    memmove(o->item + place + 1, o->item + place, (o->count - place) * sizeof *o->item);
    o->count++;
    o->item[place] = (item){0};
    return &o->item[place];
}

void remove_items(object *o, size_t place, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(o->item[place + i].name);
        free(o->item[place + i].value);
    }
    o->count -= count;
    if (count) memmove(o->item + place, o->item + place + count, (o->count - place) * sizeof *o->item);
}

size_t place_of_item(const object *o, word name)
{
    size_t i = 0;
    while (i < o->count && (o->item[i].name_size != name.size || memcmp(o->item[i].name, name.text, name.size))) i++;
    return i;
}

void set_value(item *i, word value)
{
    char *old = i->value;
    i->value = copy_text(value.text, value.size);
    i->value_size = value.size;
    free(old); /* the new one may be made of it */
}

/* --------------------------------------------------------------------------------------------- commands -- */

/* By name, in a table that is filled once. */
enum { COMMAND_PLACES = 256 };
static const command *commands[COMMAND_PLACES];

static size_t place_of_command(const char *name)
{
    size_t hash = 0;
    for (const char *at = name; *at; at++) hash = hash * 31 + (unsigned char)(*at & ~32);
    hash %= COMMAND_PLACES;
    while (commands[hash] && !word_is((word){name, 0}, commands[hash]->name)) hash = (hash + 1) % COMMAND_PLACES;
    return hash;
}

static const command *command_of(word name)
{
    static const command *const all[] = {key_commands,    string_commands, hash_commands,
                                         sorted_commands, stream_commands, script_commands};
    static bool filled;
    for (size_t i = 0; !filled && i < sizeof all / sizeof *all; i++)
        for (const command *c = all[i]; c->name; c++) commands[place_of_command(c->name)] = c;
    filled = true;
    return commands[place_of_command(name.text)];
}

bool store_writes(word name)
{
    const command *c = command_of(name);
    return c && c->writes;
}

static void run_as(run *r, const command *c)
{
    char text[128] = "ERR wrong number of arguments for '";
    if (!c) {
        reply_error(r, "ERR unknown command");
    } else if (r->count < c->least || (c->most && r->count > c->most)) {
        strncat(text, c->name, 32);
        reply_error(r, strcat(text, "' command"));
    } else if (c->writes && r->events && r->events->replica) {
        reply_error(r, "READONLY You can't write against a read only replica.");
    } else {
        c->run(r);
        if (c->writes && r->wrote && r->events) r->events->effect(r->events->context, r->words, r->count);
    }
}

void run_command(run *r) { run_as(r, command_of(r->words[0])); }

bool store_run(store *s, const word *words, size_t count, int64_t now_us, const store_events *events, buffer *reply)
{
    const command *c = command_of(words[0]);
    run r = {s, words, count, now_us, now_us / 1000, events, reply, false};
    if (c) run_as(&r, c);
    return c;
}

void store_run_again(store *s, const word *words, size_t count, int64_t now_us)
{
    run r = {s, words, count, now_us, now_us / 1000, NULL, NULL, false};
    run_command(&r);
}

/* ------------------------------------------------------------------------------------------------ whole -- */

store *store_open(void)
{
    store *s = calloc(1, sizeof *s);
    if (!s) abort();
    return s;
}

void store_close(store *s)
{
    for (int i = 0; s && i < KEYSPACE_BUCKETS; i++)
        while (s->bucket[i]) unlink_object(&s->bucket[i]);
    free(s);
}

static object *copy_object(const object *from)
{
    object *o = calloc(1, sizeof *o);
    if (!o) abort();
    *o = *from;
    o->next = NULL;
    o->item = NULL;
    o->count = o->room = 0;
    for (size_t i = 0; i < from->count; i++) {
        const item *one = &from->item[i];
        item *to = insert_item(o, i);
        *to = *one;
        if (one->name) to->name = copy_text(one->name, one->name_size);
        if (one->value) to->value = copy_text(one->value, one->value_size);
    }
    return o;
}

store *store_copy(const store *from)
{
    store *s = store_open();
    for (int i = 0; i < KEYSPACE_BUCKETS; i++) {
        object **end = &s->bucket[i];
        for (const object *o = from->bucket[i]; o; o = o->next) {
            *end = copy_object(o);
            end = &(*end)->next;
        }
    }
    return s;
}

object *store_take(store *s, const char *prefix, uint64_t random)
{
    for (uint64_t i = 0; i < KEYSPACE_BUCKETS; i++)
        for (object **at = &s->bucket[(random + i) % KEYSPACE_BUCKETS]; *at; at = &(*at)->next) {
            object *o = *at;
            if (strncmp(o->key, prefix, strlen(prefix))) continue;
            *at = o->next;
            o->next = NULL;
            return o;
        }
    return NULL;
}

void store_put(store *s, object *o)
{
    object **at = place_of(s, o->key, strlen(o->key));
    if (*at) unlink_object(at);
    at = &s->bucket[o->hash % KEYSPACE_BUCKETS];
    o->next = *at;
    *at = o;
}

object *store_copy_of(const object *o) { return copy_object(o); }
void store_free(object *o) { object_free(o); }
const char *store_key_of(const object *o) { return o->key; }

bool store_has(store *s, const char *key) { return peek(s, key); }

bool store_holds(store *s, const char *key, int64_t now_ms)
{
    const object *o = peek(s, key);
    return o && !dead(o, now_ms);
}

int64_t store_expiry_ms(store *s, const char *key)
{
    const object *o = peek(s, key);
    return o && o->expires_ms ? o->expires_ms : -1;
}

int64_t store_number(store *s, const char *key, int64_t now_ms)
{
    const object *o = peek(s, key);
    return o && o->type == A_STRING && !dead(o, now_ms) ? strtoll(o->item[0].value, NULL, 10) : 0;
}

word store_field(store *s, const char *key, const char *field)
{
    const object *o = peek(s, key);
    size_t i = o && o->type == A_HASH ? place_of_item(o, (word){field, strlen(field)}) : 0;
    return o && o->type == A_HASH && i < o->count ? (word){o->item[i].value, o->item[i].value_size} : (word){NULL, 0};
}

const char *store_member(store *s, const char *key, size_t i)
{
    const object *o = peek(s, key);
    return o && o->type == A_SORTED_SET && i < o->count ? o->item[i].name : NULL;
}

void store_see_keys(const store *s, int64_t now_ms, void (*see)(void *context, const char *key), void *context)
{
    for (int i = 0; i < KEYSPACE_BUCKETS; i++)
        for (const object *o = s->bucket[i]; o; o = o->next)
            if (!dead(o, now_ms)) see(context, o->key);
}

int64_t store_next_end(const store *s, int64_t from_ms)
{
    int64_t next = INT64_MAX;
    for (int i = 0; i < KEYSPACE_BUCKETS; i++)
        for (const object *o = s->bucket[i]; o; o = o->next)
            if (o->expires_ms > from_ms && o->expires_ms < next) next = o->expires_ms;
    return next;
}
