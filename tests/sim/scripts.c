/* SPDX-License-Identifier: MIT
 *
 * The scripts of src/lua as functions with the same effect, line for line where that can be. test_model.c runs both.
 */
#include "keyspace.h"

#include "hash.h"
#include "record.h"
#include "script.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* KEYS[1] and ARGV[n], counted from 1 as in Lua. */
static word session_of(const run *r) { return r->words[3]; }
static word argv(const run *r, size_t n)
{
    static const char nothing[LK_RECORD_SIZE];
    return 3 + n < r->count ? r->words[3 + n] : (word){nothing, 0};
}
static size_t argc(const run *r) { return r->count - 4; }
static int64_t number(const run *r, size_t n) { return strtoll(argv(r, n).text, NULL, 10); }
static bool is(word a, const char *text) { return a.size == strlen(text) && !memcmp(a.text, text, a.size); }

static const char *name_of(const run *r, const char *which, char out[KEY_ROOM])
{
    if ((size_t)snprintf(out, KEY_ROOM, "%s%s", argv(r, 1).text, which) >= KEY_ROOM) abort();
    return out;
}

static const char *user_key(const run *r, int64_t user, char out[KEY_ROOM])
{
    char which[32];
    snprintf(which, sizeof which, "u:%" PRId64, user);
    return name_of(r, which, out);
}

static const char *session_key(const run *r, const char *selector, char out[KEY_ROOM])
{
    char which[32];
    snprintf(which, sizeof which, "s:%.20s", selector);
    return name_of(r, which, out);
}

/* -------------------------------------------------------------------------------------------- common.lua -- */

typedef struct loaded {
    const item *v;
    int64_t idle_ms, expires_ms, user;
} loaded;

static bool matches(const item *v, word hash)
{
    return !hash.size || !memcmp(v->value + LK_RECORD_VERIFIER_HASH, hash.text, LK_HASH_SIZE);
}

static bool parse(const item *x, loaded *l)
{
    return x && sscanf(x->value, "%" SCNd64 " %" SCNd64 " %" SCNd64, &l->idle_ms, &l->expires_ms, &l->user) == 3;
}

/* 1: there; 0: not; -1: an error was replied. */
static int load(run *r, word hash, loaded *l)
{
    object *o = keyspace_find(r, session_of(r).text);
    const item *v = hash_get(o, "v", 1), *x = hash_get(o, "x", 1);
    if (!v && !x) return 0;
    if (!v || v->value_size != LK_RECORD_SIZE || !parse(x, l)) {
        reply_error(r, "LKCORRUPT the record of a session is damaged");
        return -1;
    }
    l->v = v;
    return matches(v, hash);
}

static void live_until(run *r, object *o, int64_t ms)
{
    int64_t left = o->expires_ms ? o->expires_ms - r->now_ms : -1;
    if (left < ms - r->now_ms) o->expires_ms = ms;
}

static void index_session(run *r, int64_t user, int64_t expiry)
{
    char key[KEY_ROOM];
    const char *selector = argv(r, 2).text;
    size_t size = argv(r, 2).size;
    object *u = keyspace_make(r, user_key(r, user, key), A_SORTED_SET);
    sorted_add(u, expiry, selector, size);
    live_until(r, u, expiry);
    sorted_trim(r, u, r->now_ms);
    object *a = keyspace_make(r, name_of(r, "a", key), A_SORTED_SET);
    sorted_add(a, r->now_ms, selector, size);
    live_until(r, a, expiry);
}

static void forget_dead(run *r)
{
    char key[KEY_ROOM], name[4][32];
    object *a = keyspace_find(r, name_of(r, "a", key));
    size_t count = a ? a->count : 0, place[4] = {0, 1}, names = 0;
    uint64_t random = lk_hash(&r->now_us, sizeof r->now_us, count);
    place[2] = count ? random % count : 0;
    place[3] = count > 1 ? (place[2] + 1 + random / count % (count - 1)) % count : 0;
    for (int i = 0; i < 4; i++)
        if (place[i] < count) snprintf(name[names++], sizeof name[0], "%s", a->item[place[i]].name);
    for (size_t i = 0; i < names; i++) {
        char session[KEY_ROOM];
        if (keyspace_find(r, session_key(r, name[i], session))) continue;
        sorted_remove(r, keyspace_find(r, key), name[i], strlen(name[i]));
    }
}

static void announce(run *r, const char *what, bool changed)
{
    char key[KEY_ROOM], text[100 * (LATCHKEY_SELECTOR_LENGTH + 1) + 96];
    object *q = keyspace_make(r, name_of(r, "q", key), A_STRING);
    int64_t count = (q->count ? strtoll(q->item[0].value, NULL, 10) : 0) + 1;
    snprintf(text, sizeof text, "%" PRId64, count);
    string_set(q, text);
    object *log = keyspace_make(r, name_of(r, "r", key), A_STREAM);
    if (count <= log->last_id) {
        keyspace_delete(r, key);
        log = keyspace_make(r, key, A_STREAM);
    }
    stream_add(log, count, what, strlen(what), changed);
    if (!r->events) return;
    int size = snprintf(text, sizeof text, "%" PRId64 " %s @%" PRId64 "%06" PRId64 "%s", count, what,
                        r->now_us / 1000000, r->now_us % 1000000, changed ? " changed" : "");
    name_of(r, "rev", key);
    r->events->publish(r->events->context, (word){key, strlen(key)}, (word){text, (size_t)size});
}

/* At most a hundred: one announcement. */
static void finish_all(run *r, char name[][32], size_t count, bool has_user, int64_t user)
{
    char key[KEY_ROOM], all[100 * (LATCHKEY_SELECTOR_LENGTH + 1) + 1] = "";
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        keyspace_delete(r, session_key(r, name[i], key));
        used += (size_t)snprintf(all + used, sizeof all - used, "%s%.20s", i ? " " : "", name[i]);
    }
    if (count) announce(r, all, false);
    for (size_t i = 0; i < count; i++) {
        if (has_user) sorted_remove(r, keyspace_find(r, user_key(r, user, key)), name[i], 20);
        sorted_remove(r, keyspace_find(r, name_of(r, "a", key)), name[i], 20);
    }
}

static void finish(run *r, const char *what, bool has_user, int64_t user)
{
    char name[1][32];
    snprintf(name[0], sizeof name[0], "%.20s", what);
    finish_all(r, name, 1, has_user, user);
}

/* -------------------------------------------------------------------------------------------- create.lua -- */

static void put(uint8_t *at, int64_t value)
{
    for (int i = 0; i < 8; i++) at[i] = (uint8_t)((uint64_t)value >> (8 * i));
}

static void write_session(run *r, int64_t expires, int64_t expiry)
{
    uint8_t v[LK_RECORD_SIZE];
    char x[80];
    memcpy(v, argv(r, 10).text, LK_RECORD_EXPIRES);
    put(v + LK_RECORD_EXPIRES, expires);
    memcpy(v + LK_RECORD_PERMISSIONS, argv(r, 11).text, LK_RECORD_CREATED - LK_RECORD_PERMISSIONS);
    put(v + LK_RECORD_CREATED, r->now_ms);
    put(v + LK_RECORD_CREATED + 8, r->now_ms);
    memcpy(v + LK_RECORD_DEVICE, argv(r, 12).text, LK_RECORD_SIZE - LK_RECORD_DEVICE);
    snprintf(x, sizeof x, "%" PRId64 " %" PRId64 " %.20s", number(r, 4), expires, argv(r, 3).text);
    object *o = keyspace_make(r, session_of(r).text, A_HASH);
    hash_set(o, (word){"v", 1}, (word){(const char *)v, sizeof v});
    hash_set(o, (word){"x", 1}, (word){x, strlen(x)});
    for (size_t i = 13; i + 1 <= argc(r); i += 2) hash_set(o, argv(r, i), argv(r, i + 1));
    o->expires_ms = expiry;
}

/* The names of the user's sessions nearest their end, at most `most`; returns how many live in all. */
static size_t living(run *r, int64_t user, char name[][32], size_t most)
{
    char key[KEY_ROOM];
    object *u = keyspace_find(r, user_key(r, user, key));
    size_t alive = 0;
    for (size_t i = 0; u && i < u->count; i++) {
        if (u->item[i].score <= r->now_ms) continue;
        if (alive < most) snprintf(name[alive], sizeof name[0], "%s", u->item[i].name);
        alive++;
    }
    return alive;
}

static void script_create(run *r)
{
    char oldest[100][32], key[KEY_ROOM];
    int64_t user = number(r, 3), idle = number(r, 4), most = number(r, 7);
    if (keyspace_find(r, session_of(r).text)) {
        reply_status(r, "EXISTS");
        return;
    }
    if (number(r, 6)) {
        char which[40];
        snprintf(which, sizeof which, "g:%.20s", argv(r, 3).text);
        object *g = keyspace_find(r, name_of(r, which, key));
        if ((g ? strtoll(g->item[0].value, NULL, 10) : 0) + 1 != number(r, 6)) {
            reply_status(r, "REFUSED");
            return;
        }
    }
    int64_t excess = (int64_t)living(r, user, oldest, 100) - most + 1;
    if (most > 0 && excess > 0 && is(argv(r, 8), "deny")) {
        reply_status(r, "LIMIT");
        return;
    }
    int64_t expires = r->now_ms + number(r, 5), expiry = r->now_ms + idle < expires ? r->now_ms + idle : expires;
    write_session(r, expires, expiry);
    if (most > 0 && excess > 0) finish_all(r, oldest, (size_t)(excess < 100 ? excess : 100), true, user);
    index_session(r, user, expiry);
    forget_dead(r);
    reply_integer(r, r->now_ms);
}

/* ------------------------------------------------------------------------- touch, revoke, set_fields.lua -- */

static void script_touch(run *r)
{
    loaded l;
    int there = load(r, argv(r, 3), &l);
    if (there <= 0) {
        if (!there) reply_integer(r, 0);
        return;
    }
    object *o = keyspace_find(r, session_of(r).text);
    int64_t expiry = r->now_ms + l.idle_ms < l.expires_ms ? r->now_ms + l.idle_ms : l.expires_ms;
    int64_t left = o->expires_ms ? o->expires_ms - r->now_ms : -1;
    if (l.expires_ms <= r->now_ms) reply_integer(r, -1);
    else if (left >= 0 && (left * 12 > l.idle_ms * 11 || r->now_ms + left >= l.expires_ms)) reply_integer(r, 1);
    else {
        o->expires_ms = expiry;
        index_session(r, l.user, expiry);
        reply_integer(r, 2);
    }
}

static void script_revoke(run *r)
{
    loaded l = {0};
    object *o = keyspace_find(r, session_of(r).text);
    const item *v = hash_get(o, "v", 1);
    bool held = is(argv(r, 4), "1"), has_user = parse(hash_get(o, "x", 1), &l), there = v;
    if (v && v->value_size != LK_RECORD_SIZE && !held) {
        reply_error(r, "LKCORRUPT the record of a session is damaged");
        return;
    }
    if ((v && v->value_size == LK_RECORD_SIZE && !matches(v, argv(r, 3))) || (!v && !held)) {
        reply_integer(r, 0);
        return;
    }
    finish(r, argv(r, 2).text, has_user, l.user);
    reply_integer(r, there);
}

static void change_key_hash(object *o, word hash)
{
    char v[LK_RECORD_SIZE];
    memcpy(v, hash_get(o, "v", 1)->value, sizeof v);
    memcpy(v + LK_RECORD_KEY_HASH, hash.text, LK_HASH_SIZE);
    hash_set(o, (word){"v", 1}, (word){v, sizeof v});
}

static void script_set_fields(run *r)
{
    loaded l;
    int there = load(r, argv(r, 3), &l);
    if (there <= 0) {
        if (!there) reply_integer(r, 0);
        return;
    }
    if (l.expires_ms <= r->now_ms) {
        reply_integer(r, -1);
        return;
    }
    object *o = keyspace_find(r, session_of(r).text);
    size_t first_deleted = 7 + 2 * (size_t)number(r, 6), added = 0, gone = 0;
    if (argv(r, 4).size && memcmp(l.v->value + LK_RECORD_KEY_HASH, argv(r, 4).text, LK_HASH_SIZE)) {
        reply_status(r, "CHANGED");
        return;
    }
    for (size_t i = 7; i < first_deleted; i += 2) added += !hash_get(o, argv(r, i).text, argv(r, i).size);
    for (size_t i = first_deleted; i <= argc(r); i++) gone += hash_get(o, argv(r, i).text, argv(r, i).size) != NULL;
    if (o->count + added - gone > 2 + 256) {
        reply_status(r, "MANY");
        return;
    }
    r->wrote = true;
    for (size_t i = 7; i < first_deleted; i += 2) hash_set(o, argv(r, i), argv(r, i + 1));
    if (argv(r, 5).size) change_key_hash(o, argv(r, 5));
    for (size_t i = first_deleted; i <= argc(r); i++) hash_delete(r, o, argv(r, i));
    if (argv(r, 5).size) announce(r, argv(r, 2).text, true);
    reply_integer(r, 1);
}

static void script_reassert(run *r)
{
    int64_t ended = 0;
    for (size_t i = 2; i <= argc(r); i++) {
        char key[KEY_ROOM];
        loaded l = {0};
        object *o = keyspace_find(r, session_key(r, argv(r, i).text, key));
        if (!o) continue;
        bool has_user = parse(hash_get(o, "x", 1), &l);
        finish(r, argv(r, i).text, has_user, l.user);
        ended++;
    }
    reply_integer(r, ended);
}

void script_run(run *r, int script)
{
    switch ((enum lk_script_id)script) {
    case LK_SCRIPT_CREATE: script_create(r); break;
    case LK_SCRIPT_TOUCH: script_touch(r); break;
    case LK_SCRIPT_REVOKE: script_revoke(r); break;
    case LK_SCRIPT_SET_FIELDS: script_set_fields(r); break;
    case LK_SCRIPT_REASSERT: script_reassert(r); break;
    case LK_SCRIPT_REVOKE_USER: /* nobody in the simulation calls for these */
    case LK_SCRIPT_SESSIONS:
    case LK_SCRIPT_ROTATE:
    case LK_SCRIPT_COUNT: abort();
    }
}
