/* SPDX-License-Identifier: MIT
 *
 * The store's commands on strings.
 */
#include "keyspace.h"

#include <stdlib.h>
#include <string.h>

static void put(run *r, object *o, word value)
{
    if (!o->count) insert_item(o, 0);
    set_value(&o->item[0], value);
    wrote(r, o);
}

static void reply_value(run *r, const object *o)
{
    if (o) reply_bulk(r, o->item[0].value, o->item[0].value_size);
    else reply_nil(r);
}

static void run_get(run *r)
{
    object *o;
    if (get(r, r->words[1], A_STRING, &o)) reply_value(r, o);
}

static void run_mget(run *r)
{
    reply_array(r, r->count - 1);
    for (size_t i = 1; i < r->count; i++) {
        const object *o = find(r, r->words[i]);
        reply_value(r, o && o->type == A_STRING ? o : NULL);
    }
}

static void run_strlen(run *r)
{
    object *o;
    if (get(r, r->words[1], A_STRING, &o)) reply_integer(r, o ? (int64_t)o->item[0].value_size : 0);
}

/* ------------------------------------------------------------------------------------------------- SET -- */

typedef struct set_options {
    bool nx, xx, get, keep;
    bool expires;
    int64_t expires_ms;
} set_options;

static bool take_expiry(run *r, word unit, word value, int64_t *ms)
{
    bool seconds = word_is(unit, "EX") || word_is(unit, "EXAT"), now = word_is(unit, "EX") || word_is(unit, "PX");
    if (!take_integer(r, value, ms)) return false;
    if (*ms <= 0) {
        reply_error(r, "ERR invalid expire time in 'set' command");
        return false;
    }
    *ms = *ms * (seconds ? 1000 : 1) + (now ? r->now_ms : 0);
    return true;
}

static bool take_set_options(run *r, set_options *o)
{
    for (size_t i = 3; i < r->count; i++) {
        word w = r->words[i];
        bool expiry = word_is(w, "EX") || word_is(w, "PX") || word_is(w, "EXAT") || word_is(w, "PXAT");
        o->nx |= word_is(w, "NX"), o->xx |= word_is(w, "XX"), o->get |= word_is(w, "GET");
        o->keep |= word_is(w, "KEEPTTL");
        bool flag = word_is(w, "NX") || word_is(w, "XX") || word_is(w, "GET") || word_is(w, "KEEPTTL");
        if ((!expiry && !flag) || (expiry && (o->expires || i + 1 == r->count))) {
            no_syntax(r);
            return false;
        }
        if (!expiry) continue;
        o->expires = true;
        if (!take_expiry(r, w, r->words[++i], &o->expires_ms)) return false;
    }
    if (!(o->nx && o->xx) && !(o->keep && o->expires)) return true;
    no_syntax(r);
    return false;
}

static void run_set(run *r)
{
    set_options options = {0};
    if (!take_set_options(r, &options)) return;
    object *o = find(r, r->words[1]);
    if (options.get && o && o->type != A_STRING) {
        get(r, r->words[1], A_STRING, &o); /* says so */
        return;
    }
    bool no = (options.nx && o) || (options.xx && !o);
    if (options.get) reply_value(r, o);
    else if (no) reply_nil(r);
    if (no) return;
    int64_t kept = o && options.keep ? o->expires_ms : 0;
    if (o && o->type != A_STRING) { /* whatever lies there */
        delete_object(r, o);
        o = NULL;
    }
    o = get_or_make(r, o, r->words[1], A_STRING);
    o->expires_ms = options.expires ? options.expires_ms : kept;
    put(r, o, r->words[2]);
    if (!options.get) reply_status(r, "OK");
}

static void run_setnx(run *r)
{
    bool there = find(r, r->words[1]);
    if (!there) put(r, make(r, r->words[1], A_STRING), r->words[2]);
    reply_integer(r, !there);
}

static void run_getdel(run *r)
{
    object *o;
    if (!get(r, r->words[1], A_STRING, &o)) return;
    reply_value(r, o);
    if (o) delete_object(r, o);
}

static void run_append(run *r)
{
    object *o;
    buffer text = {0};
    if (!get(r, r->words[1], A_STRING, &o)) return;
    if (o) buffer_add(&text, o->item[0].value, o->item[0].value_size);
    buffer_add(&text, r->words[2].text, r->words[2].size);
    put(r, get_or_make(r, o, r->words[1], A_STRING), (word){text.bytes, text.size});
    reply_integer(r, (int64_t)text.size);
    buffer_free(&text);
}

static void add(run *r, int64_t more)
{
    object *o;
    int64_t value = 0;
    char text[NUMBER_ROOM];
    if (!get(r, r->words[1], A_STRING, &o)) return;
    if (o && !take_integer(r, (word){o->item[0].value, o->item[0].value_size}, &value)) return;
    if (__builtin_add_overflow(value, more, &value)) {
        reply_error(r, "ERR increment or decrement would overflow");
        return;
    }
    size_t size = number_print(text, value);
    put(r, get_or_make(r, o, r->words[1], A_STRING), (word){text, size});
    reply_integer(r, value);
}
static void run_incr(run *r) { add(r, 1); }
static void run_decr(run *r) { add(r, -1); }
static void run_incrby(run *r)
{
    int64_t more;
    if (take_integer(r, r->words[2], &more)) add(r, more);
}

const command string_commands[] = {{"GET", run_get, 2, 2, false},
                                   {"MGET", run_mget, 2, 0, false},
                                   {"STRLEN", run_strlen, 2, 2, false},
                                   {"SET", run_set, 3, 0, true},
                                   {"SETNX", run_setnx, 3, 3, true},
                                   {"GETDEL", run_getdel, 2, 2, true},
                                   {"APPEND", run_append, 3, 3, true},
                                   {"INCR", run_incr, 2, 2, true},
                                   {"DECR", run_decr, 2, 2, true},
                                   {"INCRBY", run_incrby, 3, 3, true},
                                   {0}};
