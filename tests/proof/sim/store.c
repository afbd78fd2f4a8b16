/* SPDX-License-Identifier: MIT
 *
 * See store.h. Objects in a small table of lists; items in arrays, in the order in which Redis hands them out.
 */
#include "keyspace.h"

#include "base/hash.h"
#include "base/record.h"
#include "redis/script.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------------------------------------- buffers -- */

void buffer_add(buffer *b, const void *bytes, size_t size)
{
    if (b->size + size > b->room) {
        while (b->room < b->size + size) b->room = b->room ? 2 * b->room : 256;
        b->bytes = realloc(b->bytes, b->room);
        if (!b->bytes) abort();
    }
    if (size) memcpy(b->bytes + b->size, bytes, size);
    b->size += size;
}

void buffer_print(buffer *b, const char *format, ...)
{
    char text[512];
    va_list list;
    va_start(list, format);
    int size = vsnprintf(text, sizeof text, format, list);
    va_end(list);
    if (size < 0 || size >= (int)sizeof text) abort();
    buffer_add(b, text, (size_t)size);
}

void buffer_bulk(buffer *b, const char *text, size_t size)
{
    buffer_print(b, "$%zu\r\n", size);
    buffer_add(b, text, size);
    buffer_add(b, "\r\n", 2);
}

void buffer_free(buffer *b)
{
    free(b->bytes);
    *b = (buffer){0};
}

void reply_error(run *r, const char *text)
{
    if (r->reply) buffer_print(r->reply, "-%s\r\n", text);
}
void reply_status(run *r, const char *text)
{
    if (r->reply) buffer_print(r->reply, "+%s\r\n", text);
}
void reply_integer(run *r, int64_t value)
{
    if (r->reply) buffer_print(r->reply, ":%" PRId64 "\r\n", value);
}
void reply_bulk(run *r, const char *text, size_t size)
{
    if (r->reply) buffer_bulk(r->reply, text, size);
}
static void reply_nil(run *r)
{
    if (r->reply) buffer_print(r->reply, "$-1\r\n");
}
void reply_array(run *r, size_t count)
{
    if (r->reply) buffer_print(r->reply, "*%zu\r\n", count);
}
static void reply_number(run *r, int64_t value)
{
    char text[24];
    int size =
        value == SORTED_LAST ? snprintf(text, sizeof text, "inf") : snprintf(text, sizeof text, "%" PRId64, value);
    reply_bulk(r, text, (size_t)size);
}

/* ---------------------------------------------------------------------------------------------- objects -- */

static char *copy(const char *text, size_t size)
{
    char *to = malloc(size + 1);
    if (!to) abort();
    if (size) memcpy(to, text, size);
    to[size] = 0;
    return to;
}

void item_free(item *i)
{
    free(i->name);
    free(i->value);
}

static object **place_of(store *s, const char *key)
{
    uint64_t hash = lk_hash(key, strlen(key), 0);
    object **at = &s->bucket[hash % KEYSPACE_BUCKETS];
    while (*at && ((*at)->hash != hash || strcmp((*at)->key, key))) at = &(*at)->next;
    return at;
}

static void object_free(object *o)
{
    for (size_t i = 0; i < o->count; i++) item_free(&o->item[i]);
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

object *keyspace_find(run *r, const char *key)
{
    object **at = place_of(r->store, key);
    /* Left where it lies: a clock that is set back finds it alive again, as a replica's may. */
    return *at && !dead(*at, r->now_ms) ? *at : NULL;
}

/* Whoever comes clears away some of the long dead. */
static void bury(run *r, size_t bucket)
{
    for (object **at = &r->store->bucket[bucket]; *at;) {
        if (dead(*at, r->now_ms - 120000)) unlink_object(at);
        else at = &(*at)->next;
    }
}

object *keyspace_make(run *r, const char *key, enum object_type type)
{
    object **at = place_of(r->store, key);
    r->wrote = true;
    if (*at && !dead(*at, r->now_ms)) return *at;
    if (*at) unlink_object(at);
    bury(r, lk_hash(key, strlen(key), 1) % KEYSPACE_BUCKETS);
    object *o = calloc(1, sizeof *o);
    if (!o || strlen(key) >= sizeof o->key) abort();
    strcpy(o->key, key);
    o->hash = lk_hash(key, strlen(key), 0);
    o->type = type;
    at = place_of(r->store, key);
    o->next = *at;
    return *at = o;
}

void keyspace_delete(run *r, const char *key)
{
    object **at = place_of(r->store, key);
    r->wrote = true;
    if (!*at) return;
    unlink_object(at);
    if (r->events) r->events->deleted(r->events->context, key);
}

/* With its expiry, onto whatever lies there. */
void keyspace_rename(run *r, const char *from, const char *to)
{
    object **at = place_of(r->store, to);
    r->wrote = true;
    if (*at) unlink_object(at);
    at = place_of(r->store, from);
    object *o = *at;
    *at = o->next;
    strcpy(o->key, to);
    o->hash = lk_hash(to, strlen(to), 0);
    at = place_of(r->store, to);
    o->next = *at;
    *at = o;
}

static item *insert(object *o, size_t place)
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

static void remove_at(object *o, size_t place, size_t count)
{
    for (size_t i = 0; i < count; i++) item_free(&o->item[place + i]);
    o->count -= count;
    if (count) memmove(o->item + place, o->item + place + count, (o->count - place) * sizeof *o->item);
}

static size_t named(const object *o, const char *name, size_t name_size)
{
    size_t i = 0;
    while (i < o->count && (o->item[i].name_size != name_size || memcmp(o->item[i].name, name, name_size))) i++;
    return i;
}

const item *hash_get(const object *o, const char *name, size_t name_size)
{
    size_t i = o ? named(o, name, name_size) : 0;
    return o && i < o->count ? &o->item[i] : NULL;
}

void hash_set(object *o, word name, word value)
{
    size_t i = named(o, name.text, name.size);
    if (i == o->count) *insert(o, i) = (item){.name = copy(name.text, name.size), .name_size = name.size};
    free(o->item[i].value);
    o->item[i].value = copy(value.text, value.size);
    o->item[i].value_size = value.size;
}

static void delete_if_empty(run *r, object *o)
{
    if (!o->count) unlink_object(place_of(r->store, o->key));
}

void hash_delete(run *r, object *o, word name)
{
    size_t i = named(o, name.text, name.size);
    if (i == o->count) return;
    remove_at(o, i, 1);
    delete_if_empty(r, o);
}

void sorted_remove(run *r, object *o, const char *name, size_t name_size)
{
    size_t i = o ? named(o, name, name_size) : 0;
    if (!o || i == o->count) return;
    remove_at(o, i, 1);
    delete_if_empty(r, o);
}

void sorted_add(object *o, int64_t score, const char *name, size_t name_size)
{
    size_t i = named(o, name, name_size);
    if (i < o->count) remove_at(o, i, 1);
    for (i = 0; i < o->count; i++) {
        size_t least = name_size < o->item[i].name_size ? name_size : o->item[i].name_size;
        int order = memcmp(name, o->item[i].name, least);
        if (score < o->item[i].score || (score == o->item[i].score && order < 0)) break;
    }
    *insert(o, i) = (item){.score = score, .name = copy(name, name_size), .name_size = name_size};
}

void sorted_trim(run *r, object *o, int64_t most)
{
    size_t i = 0;
    while (i < o->count && o->item[i].score <= most) i++;
    remove_at(o, 0, i);
    delete_if_empty(r, o);
}

/* MAXLEN ~ 1000: Redis lets go of whole nodes of 100 entries. */
void stream_add(object *o, int64_t id, const char *text, size_t size, bool changed)
{
    *insert(o, o->count) = (item){.score = id, .value = copy(text, size), .value_size = size};
    if (changed) o->item[o->count - 1].name = copy("c", 1);
    o->last_id = id;
    if (o->count >= 1100) remove_at(o, 0, 100);
}

void string_set(object *o, const char *text)
{
    remove_at(o, 0, o->count);
    *insert(o, 0) = (item){.value = copy(text, strlen(text)), .value_size = strlen(text)};
}

/* --------------------------------------------------------------------------------------------- commands -- */

static void run_hsetnx(run *r)
{
    object *o = keyspace_find(r, r->words[1].text);
    bool there = hash_get(o, r->words[2].text, r->words[2].size);
    if (!there) hash_set(keyspace_make(r, r->words[1].text, A_HASH), r->words[2], r->words[3]);
    reply_integer(r, !there);
}

static void run_hget(run *r)
{
    const item *i = hash_get(keyspace_find(r, r->words[1].text), r->words[2].text, r->words[2].size);
    if (i) reply_bulk(r, i->value, i->value_size);
    else reply_nil(r);
}

static void run_hgetall(run *r)
{
    const object *o = keyspace_find(r, r->words[1].text);
    reply_array(r, o ? 2 * o->count : 0);
    for (size_t i = 0; o && i < o->count; i++) {
        reply_bulk(r, o->item[i].name, o->item[i].name_size);
        reply_bulk(r, o->item[i].value, o->item[i].value_size);
    }
}

static void run_get(run *r)
{
    const object *o = keyspace_find(r, r->words[1].text);
    if (o) reply_bulk(r, o->item[0].value, o->item[0].value_size);
    else reply_nil(r);
}

static void run_mget(run *r)
{
    reply_array(r, r->count - 1);
    for (size_t i = 1; i < r->count; i++) {
        const object *o = keyspace_find(r, r->words[i].text);
        if (o && o->type == A_STRING) reply_bulk(r, o->item[0].value, o->item[0].value_size);
        else reply_nil(r);
    }
}

static void run_exists(run *r)
{
    int64_t there = 0;
    for (size_t i = 1; i < r->count; i++) there += keyspace_find(r, r->words[i].text) != NULL;
    reply_integer(r, there);
}

static void run_time(run *r)
{
    char micros[8];
    int size = snprintf(micros, sizeof micros, "%d", (int)(r->now_us % 1000000));
    reply_array(r, 2);
    reply_number(r, r->now_us / 1000000);
    reply_bulk(r, micros, (size_t)size);
}

static void run_pttl(run *r)
{
    const object *o = keyspace_find(r, r->words[1].text);
    reply_integer(r, !o ? -2 : !o->expires_ms ? -1 : o->expires_ms - r->now_ms);
}

static void run_zrevrange(run *r) /* key from to WITHSCORES, neither below 0 */
{
    const object *o = keyspace_find(r, r->words[1].text);
    size_t from = strtoull(r->words[2].text, NULL, 10), to = strtoull(r->words[3].text, NULL, 10) + 1;
    size_t end = o ? (to < o->count ? to : o->count) : 0;
    reply_array(r, from < end ? 2 * (end - from) : 0);
    for (size_t i = from; i < end; i++) {
        const item *one = &o->item[o->count - 1 - i];
        reply_bulk(r, one->name, one->name_size);
        reply_number(r, one->score);
    }
}

static void run_zrange(run *r) /* key -1 -1: the last */
{
    const object *o = keyspace_find(r, r->words[1].text);
    if (strcmp(r->words[2].text, "-1") || strcmp(r->words[3].text, "-1")) abort();
    reply_array(r, o != NULL);
    if (o) reply_bulk(r, o->item[o->count - 1].name, o->item[o->count - 1].name_size);
}

static int64_t stream_id(const char *text)
{
    if (*text == '-') return 0;
    if (*text == '+') return INT64_MAX;
    return *text == '(' ? strtoll(text + 1, NULL, 10) + 1 : strtoll(text, NULL, 10);
}

static void run_xrange(run *r) /* key from to [COUNT n] */
{
    const object *o = keyspace_find(r, r->words[1].text);
    int64_t from = stream_id(r->words[2].text), to = stream_id(r->words[3].text);
    size_t most = r->count > 5 ? strtoull(r->words[5].text, NULL, 10) : SIZE_MAX, first = 0, count = 0;
    while (o && first < o->count && o->item[first].score < from) first++;
    while (o && first + count < o->count && o->item[first + count].score <= to && count < most) count++;
    reply_array(r, count);
    for (size_t i = first; i < first + count; i++) {
        char id[32];
        int size = snprintf(id, sizeof id, "%" PRId64 "-0", o->item[i].score);
        reply_array(r, 2);
        reply_bulk(r, id, (size_t)size);
        reply_array(r, o->item[i].name ? 4 : 2);
        reply_bulk(r, "s", 1);
        reply_bulk(r, o->item[i].value, o->item[i].value_size);
        if (!o->item[i].name) continue;
        reply_bulk(r, "c", 1);
        reply_bulk(r, "1", 1);
    }
}

static void run_script(run *r)
{
    bool whole = strcmp(r->words[0].text, "EVAL") == 0;
    for (int i = 0; i < LK_SCRIPT_COUNT; i++) {
        if (strcmp(r->words[1].text, whole ? lk_scripts[i].text : lk_scripts[i].sha)) continue;
        script_run(r, i);
        return;
    }
    reply_error(r, "NOSCRIPT No matching script. Please use EVAL.");
}

static const struct {
    const char *name;
    void (*run)(run *r);
    size_t least; /* words */
} commands[] = {{"EVALSHA", run_script, 6},  {"EVAL", run_script, 6},   {"HGET", run_hget, 3},
                {"PTTL", run_pttl, 2},       {"MGET", run_mget, 2},     {"TIME", run_time, 1},
                {"HGETALL", run_hgetall, 2}, {"HSETNX", run_hsetnx, 4}, {"ZREVRANGE", run_zrevrange, 5},
                {"XRANGE", run_xrange, 4},   {"GET", run_get, 2},       {"EXISTS", run_exists, 2},
                {"ZRANGE", run_zrange, 4}};

bool store_run(store *s, const word *words, size_t count, int64_t now_us, const store_events *events, buffer *reply,
               bool *wrote)
{
    run r = {s, words, count, now_us, now_us / 1000, events, reply, false};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(words[0].text, commands[i].name) || count < commands[i].least) continue;
        commands[i].run(&r);
        *wrote = r.wrote;
        return true;
    }
    return false;
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
        item *to = insert(o, i);
        *to = *one;
        if (one->name) to->name = copy(one->name, one->name_size);
        if (one->value) to->value = copy(one->value, one->value_size);
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

bool store_holds(store *s, const char *key, int64_t now_ms)
{
    object *o = *place_of(s, key);
    return o && !dead(o, now_ms);
}

int64_t store_expiry_ms(store *s, const char *key)
{
    object *o = *place_of(s, key);
    return o && o->expires_ms ? o->expires_ms : -1;
}

int64_t store_number(store *s, const char *key, int64_t now_ms)
{
    const object *o = *place_of(s, key);
    return o && !dead(o, now_ms) ? strtoll(o->item[0].value, NULL, 10) : 0;
}

bool store_rotated(store *s, const char *key)
{
    const item *v = hash_get(*place_of(s, key), "v", 1);
    return v && v->value_size == LK_RECORD_SIZE && v->value[2] == LK_RECORD_ROTATED;
}

static void sooner(int64_t *next, int64_t from_ms, int64_t ms)
{
    if (ms > from_ms && ms < *next) *next = ms;
}

/* A key's, or that of an old token's grace. */
int64_t store_next_end(const store *s, int64_t from_ms)
{
    int64_t next = INT64_MAX;
    for (int i = 0; i < KEYSPACE_BUCKETS; i++)
        for (const object *o = s->bucket[i]; o; o = o->next) {
            sooner(&next, from_ms, o->expires_ms);
            for (size_t n = 0; strstr(o->key, ":f:") && n < o->count; n++) sooner(&next, from_ms, o->item[n].score);
        }
    return next;
}
