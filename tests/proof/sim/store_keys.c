/* SPDX-License-Identifier: MIT
 *
 * The store's commands on keys of any type.
 */
#include "keyspace.h"

#include <string.h>

static void run_del(run *r)
{
    int64_t gone = 0;
    for (size_t i = 1; i < r->count; i++) {
        object *o = find(r, r->words[i]);
        if (!o) continue;
        delete_object(r, o);
        gone++;
    }
    reply_integer(r, gone);
}

static void run_exists(run *r)
{
    int64_t there = 0;
    for (size_t i = 1; i < r->count; i++) there += find(r, r->words[i]) != NULL;
    reply_integer(r, there);
}

static void run_type(run *r)
{
    static const char *const names[] = {"string", "hash", "zset", "stream"};
    const object *o = find(r, r->words[1]);
    reply_status(r, o ? names[o->type] : "none");
}

/* ----------------------------------------------------------------------------------------------- expiry -- */

/* In what unit, and from when, the command counts: PEXPIREAT key ms [NX | XX] [GT | LT]. */
static void run_expire_as(run *r, int64_t unit_ms, bool from_now)
{
    bool nx = false, xx = false, gt = false, lt = false;
    int64_t ms;
    if (!take_integer(r, r->words[2], &ms)) return;
    for (size_t i = 3; i < r->count; i++) {
        word w = r->words[i];
        bool known = word_is(w, "NX") || word_is(w, "XX") || word_is(w, "GT") || word_is(w, "LT");
        nx |= word_is(w, "NX"), xx |= word_is(w, "XX"), gt |= word_is(w, "GT"), lt |= word_is(w, "LT");
        if (!known) {
            reply_error(r, "ERR Unsupported option");
            return;
        }
    }
    if ((nx && (xx || gt || lt)) || (gt && lt)) {
        reply_error(r, "ERR NX and XX, GT or LT options at the same time are not compatible");
        return;
    }
    ms = ms * unit_ms + (from_now ? r->now_ms : 0);
    object *o = find(r, r->words[1]);
    bool no = !o || (nx && o->expires_ms) || (xx && !o->expires_ms) || /* no expiry counts as the latest one */
              (gt && (!o->expires_ms || ms <= o->expires_ms)) || (lt && o->expires_ms && ms >= o->expires_ms);
    if (!no) set_expiry(r, o, ms > 0 ? ms : 1);
    reply_integer(r, !no);
}
static void run_expire(run *r) { run_expire_as(r, 1000, true); }
static void run_pexpire(run *r) { run_expire_as(r, 1, true); }
static void run_expireat(run *r) { run_expire_as(r, 1000, false); }
static void run_pexpireat(run *r) { run_expire_as(r, 1, false); }

static void run_persist(run *r)
{
    object *o = find(r, r->words[1]);
    bool had = o && o->expires_ms;
    if (had) set_expiry(r, o, 0);
    reply_integer(r, had);
}

static void reply_expiry(run *r, int64_t unit_ms, bool from_now)
{
    const object *o = find(r, r->words[1]);
    int64_t ms = o ? o->expires_ms - (from_now ? r->now_ms : 0) : 0;
    reply_integer(r, !o ? -2 : !o->expires_ms ? -1 : (ms + unit_ms / 2) / unit_ms);
}
static void run_ttl(run *r) { reply_expiry(r, 1000, true); }
static void run_pttl(run *r) { reply_expiry(r, 1, true); }
static void run_expiretime(run *r) { reply_expiry(r, 1000, false); }
static void run_pexpiretime(run *r) { reply_expiry(r, 1, false); }

/* ------------------------------------------------------------------------------------------------- others -- */

static void rename_as(run *r, bool only_if_free)
{
    object *o = find(r, r->words[1]);
    if (!o) {
        reply_error(r, "ERR no such key");
        return;
    }
    bool taken = only_if_free && find(r, r->words[2]);
    if (!taken) rename_object(r, o, r->words[2]);
    if (only_if_free) reply_integer(r, !taken);
    else reply_status(r, "OK");
}
static void run_rename(run *r) { rename_as(r, false); }
static void run_renamenx(run *r) { rename_as(r, true); }

static void run_time(run *r)
{
    char text[NUMBER_ROOM];
    reply_array(r, 2);
    reply_bulk(r, text, number_print(text, r->now_us / 1000000));
    reply_bulk(r, text, number_print(text, r->now_us % 1000000));
}

static void publish(run *r, bool sharded)
{
    if (!r->events) return;
    reply_integer(r, r->events->publish(r->events->context, r->words[1], r->words[2], sharded));
    if (!r->events->replica) r->events->effect(r->events->context, r->words, r->count); /* replicas hear it too */
}

static void run_publish(run *r) { publish(r, false); }
static void run_spublish(run *r) { publish(r, true); }

const command key_commands[] = {{"DEL", run_del, 2, 0, true},
                                {"UNLINK", run_del, 2, 0, true},
                                {"EXISTS", run_exists, 2, 0, false},
                                {"TOUCH", run_exists, 2, 0, false},
                                {"TYPE", run_type, 2, 2, false},
                                {"EXPIRE", run_expire, 3, 0, true},
                                {"PEXPIRE", run_pexpire, 3, 0, true},
                                {"EXPIREAT", run_expireat, 3, 0, true},
                                {"PEXPIREAT", run_pexpireat, 3, 0, true},
                                {"PERSIST", run_persist, 2, 2, true},
                                {"TTL", run_ttl, 2, 2, false},
                                {"PTTL", run_pttl, 2, 2, false},
                                {"EXPIRETIME", run_expiretime, 2, 2, false},
                                {"PEXPIRETIME", run_pexpiretime, 2, 2, false},
                                {"RENAME", run_rename, 3, 3, true},
                                {"RENAMENX", run_renamenx, 3, 3, true},
                                {"TIME", run_time, 1, 1, false},
                                {"PUBLISH", run_publish, 3, 3, false},
                                {"SPUBLISH", run_spublish, 3, 3, false},
                                {0}};
