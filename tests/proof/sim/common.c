/* SPDX-License-Identifier: MIT
 *
 * src/redis/lua/common.lua as functions with the same effect, line for line where that can be.
 */
#include "scripts.h"

#include "base/hash.h"
#include "base/record.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------------------------------------- words, names -- */

word argv(const call *c, size_t n)
{
    static const char nothing[LK_RECORD_SIZE];
    return 3 + n < c->r->count ? c->r->words[3 + n] : (word){nothing, 0};
}
size_t argc(const call *c) { return c->r->count - 4; }
int64_t number(const call *c, size_t n) { return strtoll(argv(c, n).text, NULL, 10); }
bool is(word a, const char *text) { return a.size == strlen(text) && !memcmp(a.text, text, a.size); }

void names_add(names *n, const char *name)
{
    if (n->count == n->room) {
        n->room = n->room ? 2 * n->room : 4;
        n->name = realloc(n->name, n->room * sizeof *n->name);
        if (!n->name) abort();
    }
    snprintf(n->name[n->count++], NAME_ROOM, "%.*s", NAME_ROOM - 1, name);
}

void names_free(names *n)
{
    free(n->name);
    *n = (names){0};
}

void names_join(const names *n, size_t from, size_t to, buffer *out)
{
    for (size_t i = from; i < to && i < n->count; i++) buffer_print(out, "%s%s", i > from ? " " : "", n->name[i]);
    buffer_add(out, "", 1);
    out->size--;
}

static const char *key_of(const call *c, const char *kind, const char *name, char out[KEY_ROOM])
{
    if (snprintf(out, KEY_ROOM, "%s%s%s", argv(c, 1).text, kind, name) >= KEY_ROOM) abort();
    return out;
}

object *find_key(const call *c, const char *kind, const char *name)
{
    char key[KEY_ROOM];
    return keyspace_find(c->r, key_of(c, kind, name, key));
}

object *make_key(const call *c, const char *kind, const char *name, enum object_type type)
{
    char key[KEY_ROOM];
    return keyspace_make(c->r, key_of(c, kind, name, key), type);
}

void delete_key(const call *c, const char *kind, const char *name)
{
    char key[KEY_ROOM];
    keyspace_delete(c->r, key_of(c, kind, name, key));
}

object *find_user(const call *c, word user)
{
    char name[NAME_ROOM];
    snprintf(name, sizeof name, "%.*s", (int)user.size, user.text);
    return find_key(c, "u:", name);
}

/* ------------------------------------------------------------------------------------------------- the record -- */

bool is_record(const item *v) { return v && v->value_size == LK_RECORD_SIZE; }

bool matches(const item *v, word hash)
{
    return !hash.size || !memcmp(v->value + LK_RECORD_VERIFIER_HASH, hash.text, LK_HASH_SIZE);
}

bool parse(const item *x, loaded *l)
{
    l->user[0] = 0;
    return x && sscanf(x->value, "%" SCNd64 " %" SCNd64 " %23[0-9]", &l->idle_ms, &l->expires_ms, l->user) == 3;
}

int64_t time_in(const char *v, size_t offset)
{
    uint64_t ms = 0;
    for (int i = 8; i-- > 0;) ms = ms << 8 | (uint8_t)v[offset + (size_t)i];
    return (int64_t)ms;
}

void put_time(char *v, size_t offset, int64_t ms)
{
    for (size_t i = 0; i < 8; i++) v[offset + i] = (char)((uint64_t)ms >> (8 * i));
}

bool is_rotated(const item *v) { return is_record(v) && v->value[2] == LK_RECORD_ROTATED; }

void family(const call *c, const char *f, names *out)
{
    const object *z = find_key(c, "f:", f);
    for (size_t i = 0; z && i < z->count; i++) names_add(out, z->item[i].name);
}

bool heir(const call *c, const item *f, char name[NAME_ROOM])
{
    const object *z = f ? find_key(c, "f:", f->value) : NULL;
    if (!z) return false;
    snprintf(name, NAME_ROOM, "%s", z->item[z->count - 1].name);
    return true;
}

/* Replies whom it ended, or 0 where the session is over anyway. */
static void reused(const call *c, const item *f)
{
    char name[NAME_ROOM];
    loaded l = {0};
    names one = {0}, ended = {0};
    const item *x = heir(c, f, name) ? hash_get(find_key(c, "s:", name), "x", 1) : NULL;
    bool there = x != NULL, has_user = parse(x, &l);
    names_add(&one, c->selector);
    finish(c, &one, has_user ? l.user : NULL, &ended);
    if (there) {
        buffer text = {0};
        buffer_print(&text, "REUSED ");
        names_join(&ended, 0, ended.count, &text);
        reply_bulk(c->r, text.bytes, text.size);
        buffer_free(&text);
    } else reply_integer(c->r, 0);
    names_free(&one);
    names_free(&ended);
}

/* An old token in its grace stands for its session. */
static bool follow(call *c, const object *o)
{
    char name[NAME_ROOM];
    if (heir(c, hash_get(o, "f", 1), name)) memcpy(c->selector, name, sizeof name);
    if (snprintf(c->session, sizeof c->session, "%ss:%s", argv(c, 1).text, c->selector) >= KEY_ROOM) abort();
    if (!is_rotated(hash_get(keyspace_find(c->r, c->session), "v", 1))) return true;
    reply_integer(c->r, 0); /* its family is gone */
    return false;
}

bool load(call *c, word hash, loaded *l)
{
    object *o = keyspace_find(c->r, c->session);
    const item *v = hash_get(o, "v", 1);
    if (is_rotated(v)) {
        if (!matches(v, hash) || (c->r->now_ms >= time_in(v->value, 8) && !hash.size)) {
            reply_integer(c->r, 0);
            return false;
        }
        if (c->r->now_ms >= time_in(v->value, 8)) {
            reused(c, hash_get(o, "f", 1));
            return false;
        }
        if (!follow(c, o)) return false;
        hash.size = 0;
        o = keyspace_find(c->r, c->session);
        v = hash_get(o, "v", 1);
    }
    const item *x = hash_get(o, "x", 1);
    bool there = v || x, good = is_record(v) && parse(x, l);
    if (there && !good) reply_error(c->r, "LKCORRUPT the record of a session is damaged");
    else if (!there || !matches(v, hash)) reply_integer(c->r, 0);
    else {
        memcpy(l->v, v->value, sizeof l->v);
        return true;
    }
    return false;
}

/* ---------------------------------------------------------------------------------------------------- indexes -- */

void live_until(const call *c, object *o, int64_t ms)
{
    int64_t left = o->expires_ms ? o->expires_ms - c->r->now_ms : -1;
    if (left < ms - c->r->now_ms) o->expires_ms = ms;
}

int64_t created_of(const char *v)
{
    int64_t created;
    memcpy(&created, v + LK_RECORD_CREATED, sizeof created);
    return created;
}

void index_session(const call *c, const char *user, int64_t expiry, int64_t created)
{
    object *u = make_key(c, "u:", user, A_SORTED_SET);
    sorted_add(u, expiry, c->selector, strlen(c->selector));
    live_until(c, u, expiry);
    sorted_trim(c->r, u, c->r->now_ms);
    object *a = make_key(c, "a", "", A_SORTED_SET);
    sorted_add(a, created > c->r->now_ms ? created : c->r->now_ms, c->selector, strlen(c->selector));
    live_until(c, a, expiry);
}

void forget_dead(const call *c)
{
    object *a = find_key(c, "a", "");
    names some = {0};
    size_t count = a ? a->count : 0, place[4] = {0, 1};
    uint64_t random = lk_hash(&c->r->now_us, sizeof c->r->now_us, count);
    place[2] = count ? random % count : 0;
    place[3] = count > 1 ? (place[2] + 1 + random / count % (count - 1)) % count : 0;
    for (int i = 0; i < 4; i++)
        if (place[i] < count) names_add(&some, a->item[place[i]].name);
    for (size_t i = 0; i < some.count; i++)
        if (!find_key(c, "s:", some.name[i]))
            sorted_remove(c->r, find_key(c, "a", ""), some.name[i], strlen(some.name[i]));
    names_free(&some);
}

/* ----------------------------------------------------------------------------------------------------- ending -- */

static void publish(const call *c, int64_t count, const char *what, bool changed)
{
    char key[KEY_ROOM];
    buffer text = {0};
    if (!c->r->events) return;
    buffer_print(&text, "%" PRId64 " ", count);
    buffer_add(&text, what, strlen(what));
    buffer_print(&text, " @%" PRId64 "%06" PRId64 "%s", c->r->now_us / 1000000, c->r->now_us % 1000000,
                 changed ? " changed" : "");
    buffer_add(&text, "", 1);
    key_of(c, "rev", "", key);
    c->r->events->publish(c->r->events->context, (word){key, strlen(key)}, (word){text.bytes, text.size - 1});
    buffer_free(&text);
}

void announce(const call *c, const char *what, bool changed)
{
    char text[24];
    object *q = make_key(c, "q", "", A_STRING);
    int64_t count = (q->count ? strtoll(q->item[0].value, NULL, 10) : 0) + 1;
    snprintf(text, sizeof text, "%" PRId64, count);
    string_set(q, text);
    object *log = make_key(c, "r", "", A_STREAM);
    if (count <= log->last_id) {
        delete_key(c, "r", "");
        log = make_key(c, "r", "", A_STREAM);
    }
    stream_add(log, count, what, strlen(what), changed);
    publish(c, count, what, changed);
}

static void finish_one(const call *c, const char *one, names *all)
{
    names of = {0};
    char f[NAME_ROOM] = "";
    const item *named = hash_get(find_key(c, "s:", one), "f", 1);
    if (named) snprintf(f, sizeof f, "%s", named->value);
    delete_key(c, "s:", one);
    names_add(all, one);
    if (!*f) return;
    family(c, f, &of);
    for (size_t i = 0; i < of.count; i++) {
        delete_key(c, "s:", of.name[i]);
        if (strcmp(of.name[i], one)) names_add(all, of.name[i]);
    }
    delete_key(c, "f:", f);
    names_free(&of);
}

void finish(const call *c, const names *selectors, const char *user, names *ended)
{
    names all = {0};
    for (size_t i = 0; i < selectors->count; i++) finish_one(c, selectors->name[i], &all);
    for (size_t i = 0; i < all.count; i += AT_ONCE) {
        buffer text = {0};
        names_join(&all, i, i + AT_ONCE, &text);
        announce(c, text.bytes, false);
        buffer_free(&text);
    }
    for (size_t i = 0; i < all.count; i++) {
        if (user) sorted_remove(c->r, find_key(c, "u:", user), all.name[i], SELECTOR);
        sorted_remove(c->r, find_key(c, "a", ""), all.name[i], SELECTOR);
        if (ended) names_add(ended, all.name[i]);
    }
    names_free(&all);
}

void drop(const call *c, const char *one, const char *f)
{
    delete_key(c, "s:", one);
    if (f) sorted_remove(c->r, find_key(c, "f:", f), one, strlen(one));
    announce(c, one, true);
}
