/* SPDX-License-Identifier: MIT
 *
 * The scripts of src/redis/lua as functions with the same effect, line for line where that can be. test_model.c runs both.
 */
#include "scripts.h"

#include "base/record.h"
#include "redis/script.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static void reply_names(const call *c, const char *before, const names *n)
{
    buffer text = {0};
    buffer_print(&text, "%s", before);
    names_join(n, 0, n->count, &text);
    reply_bulk(c->r, text.bytes, text.size);
    buffer_free(&text);
}

/* -------------------------------------------------------------------------------------------- create.lua -- */

static void write_session(const call *c, int64_t expires, int64_t expiry)
{
    char v[LK_RECORD_SIZE], x[80];
    memcpy(v, argv(c, 10).text, LK_RECORD_EXPIRES);
    put_time(v, LK_RECORD_EXPIRES, expires);
    memcpy(v + LK_RECORD_PERMISSIONS, argv(c, 11).text, LK_RECORD_CREATED - LK_RECORD_PERMISSIONS);
    put_time(v, LK_RECORD_CREATED, c->r->now_ms);
    put_time(v, LK_RECORD_CREATED + 8, c->r->now_ms);
    memcpy(v + LK_RECORD_DEVICE, argv(c, 12).text, LK_RECORD_SIZE - LK_RECORD_DEVICE);
    snprintf(x, sizeof x, "%" PRId64 " %" PRId64 " %.20s", number(c, 4), expires, argv(c, 3).text);
    object *o = keyspace_make(c->r, c->session, A_HASH);
    hash_set(o, (word){"v", 1}, (word){v, sizeof v});
    hash_set(o, (word){"x", 1}, (word){x, strlen(x)});
    for (size_t i = 13; i + 1 <= argc(c); i += 2) hash_set(o, argv(c, i), argv(c, i + 1));
    o->expires_ms = expiry;
}

static bool of_that_device(const call *c, const char *name)
{
    const item *v = hash_get(find_key(c, "s:", name), "v", 1);
    return is_record(v) && !memcmp(v->value + LK_RECORD_DEVICE, argv(c, 12).text, 4);
}

static bool among(const names *n, const char *name)
{
    size_t i = 0;
    while (i < n->count && strcmp(n->name[i], name)) i++;
    return i < n->count;
}

/* Whom the limits leave no room for, nearest their end first. */
static void find_excess(const call *c, names *going)
{
    int64_t most = number(c, 7), of_device = number(c, 9), same = 0, living = 0;
    const object *u = find_user(c, argv(c, 3));
    size_t count = u ? u->count : 0;
    for (size_t i = 0; i < count; i++) {
        living += u->item[i].score > c->r->now_ms;
        same += u->item[i].score > c->r->now_ms && of_that_device(c, u->item[i].name);
    }
    same = of_device > 0 ? least(same - of_device + 1, AT_ONCE) : 0;
    for (size_t i = 0; i < count && same > 0; i++) {
        if (u->item[i].score <= c->r->now_ms || !of_that_device(c, u->item[i].name)) continue;
        names_add(going, u->item[i].name);
        same--;
    }
    int64_t excess = most > 0 ? least(living - (int64_t)going->count - most + 1, AT_ONCE) : 0;
    for (size_t i = 0; i < count && excess > 0; i++) {
        if (u->item[i].score <= c->r->now_ms || among(going, u->item[i].name)) continue;
        names_add(going, u->item[i].name);
        excess--;
    }
}

static bool generation_moved(const call *c)
{
    char user[NAME_ROOM];
    snprintf(user, sizeof user, "%.20s", argv(c, 3).text);
    const object *g = find_key(c, "g:", user);
    return number(c, 6) && (g ? strtoll(g->item[0].value, NULL, 10) : 0) + 1 != number(c, 6);
}

static void script_create(call *c)
{
    char user[NAME_ROOM];
    names going = {0};
    snprintf(user, sizeof user, "%.20s", argv(c, 3).text);
    find_excess(c, &going);
    if (keyspace_find(c->r, c->session)) reply_status(c->r, "EXISTS");
    else if (generation_moved(c)) reply_status(c->r, "REFUSED");
    else if (going.count && is(argv(c, 8), "deny")) reply_status(c->r, "LIMIT");
    else {
        int64_t expires = c->r->now_ms + number(c, 5), expiry = least(c->r->now_ms + number(c, 4), expires);
        write_session(c, expires, expiry);
        finish(c, &going, user, NULL);
        index_session(c, user, expiry, c->r->now_ms);
        forget_dead(c);
        reply_integer(c->r, c->r->now_ms);
    }
    names_free(&going);
}

/* ---------------------------------------------------------------------------------------------- touch.lua -- */

static void script_touch(call *c)
{
    loaded l;
    if (!load(c, argv(c, 3), &l)) return;
    object *o = keyspace_find(c->r, c->session);
    int64_t expiry = least(c->r->now_ms + l.idle_ms, l.expires_ms);
    int64_t left = o->expires_ms ? o->expires_ms - c->r->now_ms : -1;
    if (l.expires_ms <= c->r->now_ms) reply_integer(c->r, -1);
    else if (left >= 0 && (left * 12 > l.idle_ms * 11 || c->r->now_ms + left >= l.expires_ms)) reply_integer(c->r, 1);
    else {
        c->r->wrote = true;
        o->expires_ms = expiry;
        index_session(c, l.user, expiry, created_of(l.v));
        reply_integer(c->r, 2);
    }
}

/* --------------------------------------------------------------------------------------------- revoke.lua -- */

/* An old token's session is that of its heir. */
static bool owner(const call *c, const object *o, loaded *l)
{
    char name[NAME_ROOM];
    if (is_rotated(hash_get(o, "v", 1)))
        return heir(c, hash_get(o, "f", 1), name) && parse(hash_get(find_key(c, "s:", name), "x", 1), l);
    return parse(hash_get(o, "x", 1), l);
}

static void script_revoke(call *c)
{
    loaded l = {0};
    object *o = keyspace_find(c->r, c->session);
    const item *v = hash_get(o, "v", 1);
    bool held = is(argv(c, 4), "1"), there = v, whole = is_record(v), has_user = owner(c, o, &l);
    names one = {0}, ended = {0};
    if (v && !whole && !held) {
        reply_error(c->r, "LKCORRUPT the record of a session is damaged");
        return;
    }
    if ((whole && !matches(v, argv(c, 3))) || (!v && !held) || (argc(c) >= 5 && !is(argv(c, 5), l.user))) {
        reply_integer(c->r, 0);
        return;
    }
    names_add(&one, c->selector);
    finish(c, &one, has_user ? l.user : NULL, &ended);
    if (ended.count > 1) reply_names(c, "", &ended);
    else reply_integer(c->r, there);
    names_free(&one);
    names_free(&ended);
}

/* ---------------------------------------------------------------------------------------- revoke_user.lua -- */

static void move_generation(const call *c, const char *user)
{
    char text[24];
    object *g = make_key(c, "g:", user, A_STRING);
    int64_t moved = (g->count ? strtoll(g->item[0].value, NULL, 10) : 0) + 1;
    snprintf(text, sizeof text, "%" PRId64, moved);
    string_set(g, text);
    g->expires_ms = c->r->now_ms + INT64_C(30) * 86400000;
}

static bool newer(const call *c, const char *name)
{
    const item *v = hash_get(find_key(c, "s:", name), "v", 1);
    return is_record(v) && time_in(v->value, LK_RECORD_CREATED) > number(c, 5);
}

/* Whom to keep; "": nobody. What `load` replies is not this script's. */
static void to_keep(const call *c, const char *user, char keep[NAME_ROOM])
{
    run quiet = *c->r;
    call other = *c;
    loaded l;
    keep[0] = 0;
    quiet.reply = NULL;
    other.r = &quiet;
    if (argv(c, 4).size && load(&other, argv(c, 4), &l) && !strcmp(l.user, user)) strcpy(keep, other.selector);
    c->r->wrote |= quiet.wrote;
}

static void script_revoke_user(call *c)
{
    char user[NAME_ROOM], keep[NAME_ROOM];
    int64_t before = number(c, 5), sessions = 0;
    size_t from = 0, count;
    buffer ended = {0};
    snprintf(user, sizeof user, "%.20s", argv(c, 3).text);
    object *u = find_key(c, "u:", user);
    if (u) sorted_trim(c->r, u, c->r->now_ms), c->r->wrote = true;
    if (!before) move_generation(c, user);
    to_keep(c, user, keep);
    do {
        names batch = {0}, over = {0};
        u = find_key(c, "u:", user);
        size_t end = u ? u->count : 0, at = from;
        count = end > from ? (size_t)least((int64_t)(end - from), AT_ONCE) : 0;
        for (size_t i = 0; i < count; i++) {
            const char *one = u->item[at + i].name;
            if (!strcmp(one, keep) || (before && newer(c, one))) from++;
            else names_add(&batch, one);
        }
        sessions += (int64_t)batch.count;
        finish(c, &batch, user, &over);
        if (ended.bytes) buffer_add(&ended, " ", 1);
        names_join(&over, 0, over.count, &ended);
        names_free(&batch);
        names_free(&over);
    } while (count == AT_ONCE && sessions < 1000);
    reply_array(c->r, 4);
    reply_integer(c->r, before ? before : c->r->now_ms);
    reply_integer(c->r, sessions);
    reply_integer(c->r, count == AT_ONCE);
    reply_bulk(c->r, ended.bytes, ended.size);
    buffer_free(&ended);
}

/* ------------------------------------------------------------------------------------------- sessions.lua -- */

static void reply_row(const call *c, const item *one, const item *v)
{
    const object *a = find_key(c, "a", "");
    int64_t active = c->r->now_ms;
    for (size_t i = 0; a && i < a->count; i++)
        if (!strcmp(a->item[i].name, one->name)) active = a->item[i].score;
    reply_bulk(c->r, one->name, one->name_size);
    reply_bulk(c->r, v->value, v->value_size);
    reply_integer(c->r, one->score);
    reply_integer(c->r, active);
}

static void script_sessions(call *c)
{
    const object *u = find_user(c, argv(c, 3)), *asks = keyspace_find(c->r, c->session);
    size_t count = u ? u->count : 0, most = (size_t)number(c, 4), total = 0, rows = 0;
    if (is_rotated(hash_get(asks, "v", 1))) heir(c, hash_get(asks, "f", 1), c->selector);
    for (size_t i = 0; i < count; i++) total += u->item[i].score > c->r->now_ms;
    if (most > total) most = total;
    for (size_t i = 0; i < most; i++) rows += hash_get(find_key(c, "s:", u->item[count - 1 - i].name), "v", 1) != NULL;
    reply_array(c->r, 2 + 4 * rows);
    reply_integer(c->r, (int64_t)(total - (most - rows)));
    reply_bulk(c->r, c->selector, strlen(c->selector));
    for (size_t i = 0; i < most; i++) {
        const item *one = &u->item[count - 1 - i], *v = hash_get(find_key(c, "s:", one->name), "v", 1);
        if (v) reply_row(c, one, v);
    }
}

/* --------------------------------------------------------------------------------------------- rotate.lua -- */

enum { OLD_ONES = 64 };

static void put_record(object *o, const char *v) { hash_set(o, (word){"v", 1}, (word){v, LK_RECORD_SIZE}); }

static void leave_behind(call *c, const char *key, const char *f, const char *new, const loaded *l)
{
    char v[LK_RECORD_SIZE];
    int64_t over = c->r->now_ms + least(number(c, 7), l->idle_ms);
    object *z = make_key(c, "f:", f, A_SORTED_SET);
    sorted_add(z, over, c->selector, strlen(c->selector));
    sorted_add(z, SORTED_LAST, new, strlen(new));
    live_until(c, z, l->expires_ms);
    hash_set(keyspace_find(c->r, c->session), (word){"f", 1}, (word){f, strlen(f)});
    keyspace_rename(c->r, c->session, key);
    memcpy(v, l->v, sizeof v);
    v[2] = LK_RECORD_ROTATED;
    put_time(v, 8, over);
    object *o = keyspace_make(c->r, c->session, A_HASH);
    put_record(o, v);
    hash_set(o, (word){"f", 1}, (word){f, strlen(f)});
    o->expires_ms = l->expires_ms;
}

static void end_all_before(call *c, const char *key, const char *f, names *ended)
{
    names of = {0};
    keyspace_rename(c->r, c->session, key);
    names_add(ended, c->selector);
    family(c, f, &of);
    for (size_t i = 0; i < of.count; i++) {
        delete_key(c, "s:", of.name[i]);
        if (strcmp(of.name[i], c->selector)) names_add(ended, of.name[i]);
    }
    delete_key(c, "f:", f);
    hash_delete(c->r, keyspace_find(c->r, key), (word){"f", 1});
    names_free(&of);
}

/* The session, which is under its new name now. */
static void renew(call *c, const char *key, const loaded *l, int64_t expiry)
{
    char v[LK_RECORD_SIZE];
    object *o = keyspace_find(c->r, key);
    memcpy(v, l->v, sizeof v);
    int64_t age_s = (c->r->now_ms - time_in(v, LK_RECORD_CREATED)) / 1000;
    for (int i = 0; i < 4; i++) v[LK_RECORD_AGE + i] = age_s > 0 ? (char)(age_s >> (8 * i)) : 0;
    memcpy(v + LK_RECORD_VERIFIER_HASH, argv(c, 5).text, LK_HASH_SIZE);
    memcpy(v + LK_RECORD_SELECTOR, argv(c, 6).text, LK_SELECTOR_RAW);
    put_record(o, v);
    o->expires_ms = expiry;
}

static void announce_rotation(call *c, const names *ended, bool grace)
{
    buffer text = {0};
    names_join(ended, 0, ended->count, &text);
    announce(c, grace ? c->selector : text.bytes, grace);
    buffer_free(&text);
}

static void exchange(call *c, const loaded *l, const char *new, const char *key)
{
    char f[NAME_ROOM];
    names ended = {0}, of = {0};
    const item *named = hash_get(keyspace_find(c->r, c->session), "f", 1);
    bool grace = number(c, 7) > 0;
    int64_t expiry = least(c->r->now_ms + l->idle_ms, l->expires_ms);
    snprintf(f, sizeof f, "%s", named ? named->value : c->selector);
    if (grace) leave_behind(c, key, f, new, l);
    else end_all_before(c, key, f, &ended);
    renew(c, key, l, expiry);
    announce_rotation(c, &ended, grace);
    sorted_remove(c->r, find_key(c, "u:", l->user), c->selector, strlen(c->selector));
    sorted_remove(c->r, find_key(c, "a", ""), c->selector, strlen(c->selector));
    snprintf(c->selector, sizeof c->selector, "%s", new);
    index_session(c, l->user, expiry, created_of(l->v));
    family(c, f, &of);
    if (grace && of.count > OLD_ONES + 1) drop(c, of.name[0], f);
    reply_names(c, "OK ", &ended);
    names_free(&ended);
    names_free(&of);
}

static void script_rotate(call *c)
{
    char asked[NAME_ROOM], new[NAME_ROOM], key[KEY_ROOM];
    loaded l;
    memcpy(asked, c->selector, sizeof asked);
    if (!load(c, argv(c, 3), &l)) return;
    snprintf(new, sizeof new, "%.20s", argv(c, 4).text);
    if (snprintf(key, sizeof key, "%ss:%s", argv(c, 1).text, new) >= KEY_ROOM) abort();
    if (strcmp(c->selector, asked)) reply_status(c->r, "REFUSED");
    else if (l.expires_ms <= c->r->now_ms) reply_integer(c->r, -1);
    else if (keyspace_find(c->r, key)) reply_status(c->r, "EXISTS");
    else exchange(c, &l, new, key);
}

/* --------------------------------------------------------------------- records.lua, set_fields.lua, reassert.lua -- */

static void good_tokens(const call *c, const object *o, names *out)
{
    const item *f = hash_get(o, "f", 1);
    const object *z = f ? find_key(c, "f:", f->value) : NULL;
    names_add(out, c->selector);
    for (size_t i = 0; z && i < z->count; i++) {
        if (z->item[i].score <= c->r->now_ms || z->item[i].score == SORTED_LAST) continue;
        if (is_rotated(hash_get(find_key(c, "s:", z->item[i].name), "v", 1))) names_add(out, z->item[i].name);
    }
}

static bool is_key(const item *i) { return i->name_size >= 3 && !memcmp(i->name, "pq.", 3); }

static void reply_records(const call *c, const object *o, const names *tokens)
{
    size_t keys = 0;
    for (size_t i = 0; i < o->count; i++) keys += is(argv(c, 4), "1") && is_key(&o->item[i]);
    reply_array(c->r, 2 + 2 * tokens->count + 2 * keys);
    reply_integer(c->r, c->r->now_ms);
    reply_integer(c->r, (int64_t)tokens->count);
    for (size_t i = 0; i < tokens->count; i++) {
        const item *v = hash_get(find_key(c, "s:", tokens->name[i]), "v", 1);
        reply_bulk(c->r, tokens->name[i], SELECTOR);
        reply_bulk(c->r, v->value, v->value_size);
    }
    for (size_t i = 0; i < o->count && keys; i++) {
        if (!is_key(&o->item[i])) continue;
        reply_bulk(c->r, o->item[i].name, o->item[i].name_size);
        reply_bulk(c->r, o->item[i].value, o->item[i].value_size);
    }
}

static void script_records(call *c)
{
    loaded l;
    names tokens = {0};
    if (!load(c, argv(c, 3), &l)) return;
    if (l.expires_ms <= c->r->now_ms) {
        reply_integer(c->r, -1);
        return;
    }
    const object *o = keyspace_find(c->r, c->session);
    good_tokens(c, o, &tokens);
    reply_records(c, o, &tokens);
    names_free(&tokens);
}

typedef struct swap {
    word was, is;
} swap;

static word counted(const char *at) { return (word){at + 2, (size_t)(uint8_t)at[0] | (size_t)(uint8_t)at[1] << 8}; }

/* The last one of that selector. */
static bool find_swap(word packed, const char *name, swap *out)
{
    bool found = false;
    for (const char *at = packed.text, *end = at + packed.size; at < end;) {
        word was = counted(at + SELECTOR), is = counted(was.text + was.size);
        if (!memcmp(at, name, SELECTOR)) {
            *out = (swap){was, is};
            found = true;
        }
        at = is.text + is.size;
    }
    return found;
}

static bool same(const item *v, word w) { return v->value_size == w.size && !memcmp(v->value, w.text, w.size); }

/* What is to be swapped; false: something else lies there. */
static bool find_swaps(const call *c, const names *tokens, names *out)
{
    for (size_t i = 0; i < tokens->count; i++) {
        const item *v = hash_get(find_key(c, "s:", tokens->name[i]), "v", 1);
        swap s;
        if (!find_swap(argv(c, 4), tokens->name[i], &s) || (!same(v, s.was) && !same(v, s.is))) return false;
        if (!same(v, s.is)) names_add(out, tokens->name[i]);
    }
    return true;
}

static void make_swaps(call *c, const names *changed)
{
    buffer text = {0};
    for (size_t i = 0; i < changed->count; i++) {
        swap s;
        find_swap(argv(c, 4), changed->name[i], &s);
        hash_set(find_key(c, "s:", changed->name[i]), (word){"v", 1}, s.is);
    }
    names_join(changed, 0, changed->count, &text);
    if (changed->count) announce(c, text.bytes, true);
    buffer_free(&text);
}

static bool too_many(const call *c, const object *o, size_t first_deleted)
{
    size_t added = 0, gone = 0;
    for (size_t i = 7; i < first_deleted; i += 2) added += !hash_get(o, argv(c, i).text, argv(c, i).size);
    for (size_t i = first_deleted; i <= argc(c); i++) gone += hash_get(o, argv(c, i).text, argv(c, i).size) != NULL;
    return o->count + added - gone > (hash_get(o, "f", 1) ? 3 : 2) + 256;
}

static void script_set_fields(call *c)
{
    loaded l;
    names tokens = {0}, changed = {0};
    if (!load(c, argv(c, 3), &l)) return;
    if (l.expires_ms <= c->r->now_ms) {
        reply_integer(c->r, -1);
        return;
    }
    if (argv(c, 6).size) abort(); /* versions: nobody in the simulation asks for one */
    object *o = keyspace_find(c->r, c->session);
    size_t first_deleted = 7 + 2 * (size_t)number(c, 5);
    if (argv(c, 4).size) good_tokens(c, o, &tokens);
    if (!find_swaps(c, &tokens, &changed)) reply_status(c->r, "CHANGED");
    else if (too_many(c, o, first_deleted)) reply_status(c->r, "MANY");
    else {
        c->r->wrote = true;
        for (size_t i = 7; i < first_deleted; i += 2) hash_set(o, argv(c, i), argv(c, i + 1));
        for (size_t i = first_deleted; i <= argc(c); i++) hash_delete(c->r, o, argv(c, i));
        make_swaps(c, &changed);
        reply_integer(c->r, 1);
    }
    names_free(&tokens);
    names_free(&changed);
}

static void reassert_one(const call *c, const char *name)
{
    loaded l = {0};
    names one = {0};
    bool has_user = owner(c, find_key(c, "s:", name), &l);
    names_add(&one, name);
    finish(c, &one, has_user ? l.user : NULL, NULL);
    names_free(&one);
}

static void script_reassert(call *c)
{
    int64_t ended = 0;
    for (size_t i = 2; i <= argc(c); i++) {
        char name[NAME_ROOM];
        snprintf(name, sizeof name, "%.20s", argv(c, i).text);
        if (!find_key(c, "s:", name)) continue;
        reassert_one(c, name);
        ended++;
    }
    reply_integer(c->r, ended);
}

void script_run(run *r, int script)
{
    call c = {.r = r};
    if (snprintf(c.session, sizeof c.session, "%s", r->words[3].text) >= KEY_ROOM) abort();
    snprintf(c.selector, sizeof c.selector, "%.20s", r->words[5].text);
    switch ((enum lk_script_id)script) {
    case LK_SCRIPT_CREATE: script_create(&c); break;
    case LK_SCRIPT_TOUCH: script_touch(&c); break;
    case LK_SCRIPT_REVOKE: script_revoke(&c); break;
    case LK_SCRIPT_SET_FIELDS: script_set_fields(&c); break;
    case LK_SCRIPT_REASSERT: script_reassert(&c); break;
    case LK_SCRIPT_REVOKE_USER: script_revoke_user(&c); break;
    case LK_SCRIPT_SESSIONS: script_sessions(&c); break;
    case LK_SCRIPT_ROTATE: script_rotate(&c); break;
    case LK_SCRIPT_RECORDS: script_records(&c); break;
    case LK_SCRIPT_SECTION_PUT:
    case LK_SCRIPT_SET_USER: /* nobody in the simulation calls for these */
    case LK_SCRIPT_IMPORT:
    case LK_SCRIPT_MAP:
    case LK_SCRIPT_REVOKE_EVERYONE:
    case LK_SCRIPT_COUNT: abort();
    }
}
