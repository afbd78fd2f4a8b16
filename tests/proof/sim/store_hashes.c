/* SPDX-License-Identifier: MIT
 *
 * The store's commands on hashes. Fields stand in the order in which they were first set, as in a small hash of Redis.
 */
#include "keyspace.h"

#include <string.h>

static const item *field(const object *o, word name)
{
    size_t i = o ? place_of_item(o, name) : 0;
    return o && i < o->count ? &o->item[i] : NULL;
}

static bool put(object *o, word name, word value)
{
    size_t i = place_of_item(o, name);
    bool added = i == o->count;
    if (added) *insert_item(o, i) = (item){.name = copy_text(name.text, name.size), .name_size = name.size};
    set_value(&o->item[i], value);
    return added;
}

static void reply_field(run *r, const item *i)
{
    if (i) reply_bulk(r, i->value, i->value_size);
    else reply_nil(r);
}

static void set_all(run *r, bool counts)
{
    object *o;
    int64_t added = 0;
    if (r->count % 2) {
        reply_error(r, "ERR wrong number of arguments for 'hset' command");
        return;
    }
    if (!get(r, r->words[1], A_HASH, &o)) return;
    o = get_or_make(r, o, r->words[1], A_HASH);
    for (size_t i = 2; i < r->count; i += 2) added += put(o, r->words[i], r->words[i + 1]);
    wrote(r, o);
    if (counts) reply_integer(r, added);
    else reply_status(r, "OK");
}
static void run_hset(run *r) { set_all(r, true); }
static void run_hmset(run *r) { set_all(r, false); }

static void run_hsetnx(run *r)
{
    object *o;
    if (!get(r, r->words[1], A_HASH, &o)) return;
    bool there = field(o, r->words[2]);
    if (!there) {
        o = get_or_make(r, o, r->words[1], A_HASH);
        put(o, r->words[2], r->words[3]);
        wrote(r, o);
    }
    reply_integer(r, !there);
}

static void run_hget(run *r)
{
    object *o;
    if (get(r, r->words[1], A_HASH, &o)) reply_field(r, field(o, r->words[2]));
}

static void run_hmget(run *r)
{
    object *o;
    if (!get(r, r->words[1], A_HASH, &o)) return;
    reply_array(r, r->count - 2);
    for (size_t i = 2; i < r->count; i++) reply_field(r, field(o, r->words[i]));
}

static void reply_all(run *r, bool names, bool values)
{
    object *o;
    if (!get(r, r->words[1], A_HASH, &o)) return;
    size_t count = o ? o->count : 0;
    reply_array(r, count * ((size_t)names + values));
    for (size_t i = 0; i < count; i++) {
        if (names) reply_bulk(r, o->item[i].name, o->item[i].name_size);
        if (values) reply_bulk(r, o->item[i].value, o->item[i].value_size);
    }
}
static void run_hgetall(run *r) { reply_all(r, true, true); }
static void run_hkeys(run *r) { reply_all(r, true, false); }
static void run_hvals(run *r) { reply_all(r, false, true); }

static void run_hdel(run *r)
{
    object *o;
    int64_t gone = 0;
    if (!get(r, r->words[1], A_HASH, &o)) return;
    for (size_t i = 2; o && i < r->count; i++) {
        size_t place = place_of_item(o, r->words[i]);
        if (place == o->count) continue;
        remove_items(o, place, 1);
        gone++;
    }
    if (gone) {
        wrote(r, o);
        delete_if_empty(r, o);
    }
    reply_integer(r, gone);
}

static void run_hexists(run *r)
{
    object *o;
    if (get(r, r->words[1], A_HASH, &o)) reply_integer(r, field(o, r->words[2]) != NULL);
}

static void run_hlen(run *r)
{
    object *o;
    if (get(r, r->words[1], A_HASH, &o)) reply_integer(r, o ? (int64_t)o->count : 0);
}

static void run_hstrlen(run *r)
{
    object *o;
    if (!get(r, r->words[1], A_HASH, &o)) return;
    const item *i = field(o, r->words[2]);
    reply_integer(r, i ? (int64_t)i->value_size : 0);
}

static void run_hincrby(run *r)
{
    object *o;
    int64_t more, value = 0;
    char text[NUMBER_ROOM];
    if (!take_integer(r, r->words[3], &more) || !get(r, r->words[1], A_HASH, &o)) return;
    const item *i = field(o, r->words[2]);
    if (i && !word_integer((word){i->value, i->value_size}, &value)) {
        reply_error(r, "ERR hash value is not an integer");
        return;
    }
    if (__builtin_add_overflow(value, more, &value)) {
        reply_error(r, "ERR increment or decrement would overflow");
        return;
    }
    o = get_or_make(r, o, r->words[1], A_HASH);
    put(o, r->words[2], (word){text, number_print(text, value)});
    wrote(r, o);
    reply_integer(r, value);
}

const command hash_commands[] = {{"HSET", run_hset, 4, 0, true},       {"HMSET", run_hmset, 4, 0, true},
                                 {"HSETNX", run_hsetnx, 4, 4, true},   {"HGET", run_hget, 3, 3, false},
                                 {"HMGET", run_hmget, 3, 0, false},    {"HGETALL", run_hgetall, 2, 2, false},
                                 {"HKEYS", run_hkeys, 2, 2, false},    {"HVALS", run_hvals, 2, 2, false},
                                 {"HDEL", run_hdel, 3, 0, true},       {"HEXISTS", run_hexists, 3, 3, false},
                                 {"HLEN", run_hlen, 2, 2, false},      {"HSTRLEN", run_hstrlen, 3, 3, false},
                                 {"HINCRBY", run_hincrby, 4, 4, true}, {0}};
