/* SPDX-License-Identifier: MIT
 *
 * What the truth learns from the servers: not from the words of a script, but from what became of keys when a command ran.
 * A session's key that appears is a new session; one that is renamed is a token that was exchanged; one that is deleted has
 * ended; a generation that is written has moved.
 */
#include "truth_inside.h"

#include "base/record.h"
#include "redis/script.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define in truth_in

enum { KEYS_MAX = 4096 };
#define LATE_US (60 * SECOND) /* for longer nothing is held back */

/* The command under way, and what it wrote: sessions and generations. */
static struct {
    int caller;
    const char *script; /* its name; "": a plain command */
    struct {
        char key[KEY_SIZE];
        bool made; /* it was not there before */
    } wrote[KEYS_MAX];
    size_t count;
    char renamed[2][KEY_SIZE]; /* the last one: from, to */
} command;

/* What stands behind "lk:{7}:s:" in the key, where `kind` is s; NULL: it is another kind. */
static const char *name_in(const char *key, char kind)
{
    const char *at = strstr(key, "}:");
    return at && at[2] == kind && at[3] == ':' ? at + 4 : NULL;
}

static const char *selector_in(const char *key)
{
    const char *name = name_in(key, 's');
    return name && strlen(name) == LATCHKEY_SELECTOR_LENGTH ? name : NULL; /* longer: a section */
}

/* "lk:{7}:e", the cut-off. */
static bool is_cutoff(const char *key)
{
    const char *at = strstr(key, "}:");
    return at && !strcmp(at + 2, "e");
}

/* "lk:{7}:a" and "lk:{7}:u:...": the indexes. */
static bool is_index(const char *key)
{
    const char *at = strstr(key, "}:");
    return name_in(key, 'u') || (at && !strcmp(at + 2, "a"));
}

static int64_t time_at(const char *record, size_t offset)
{
    int64_t ms;
    memcpy(&ms, record + offset, sizeof ms);
    return ms;
}

/* A time on that server's clock as one of the world's. */
static int64_t world_us(int server, int64_t server_ms) { return w.now_us + (server_ms - server_clock_ms(server)) * MS; }

bool truth_is_rotated(int server, const char *key)
{
    word v = server_field(server, key, "v");
    char format = v.text && v.size >= LK_RECORD_SIZE ? v.text[2] : 0;
    return format == LK_RECORD_ROTATED || format == LK_RECORD_ROTATED + LK_RECORD_SEALED;
}

bool truth_is_over(int server, const char *key)
{
    char cutoff[KEY_SIZE];
    word v = server_field(server, key, "v");
    const char *kind = strstr(key, "}:");
    if (!v.text || v.size < LK_RECORD_SIZE || !kind) return false;
    snprintf(cutoff, sizeof cutoff, "%.*s}:e", (int)(kind - key), key);
    int at = server_is_acting(server) ? server_place(cutoff) : server; /* where a slot moves, key by key */
    return time_at(v.text, LK_RECORD_CREATED) <= server_number(at, cutoff);
}

/* --------------------------------------------------------------------------------- what became of a key -- */

static size_t find_written(const char *key)
{
    size_t i = 0;
    while (i < command.count && strcmp(command.wrote[i].key, key)) i++;
    return i;
}

static void written(const char *key, bool made)
{
    size_t i = find_written(key);
    if (i < command.count) return;
    if (command.count == KEYS_MAX || strlen(key) >= KEY_SIZE) abort();
    strcpy(command.wrote[i].key, key);
    command.wrote[i].made = made;
    command.count++;
}

void truth_wrote(int server, const char *key, bool made)
{
    (void)server;
    if (made && !*command.script && is_index(key)) fail("D: a plain command made the index %s", key);
    if (selector_in(key) || name_in(key, 'g') || is_cutoff(key)) written(key, made);
}

void truth_renamed(int server, const char *from, const char *to)
{
    (void)server;
    if (!selector_in(from)) return;
    written(from, false);
    written(to, false);
    strcpy(command.renamed[0], from);
    strcpy(command.renamed[1], to);
}

static imported *find_imported(const char *selector)
{
    for (imported *i = in.imported; i < in.imported + IMPORTED_MAX; i++)
        if (i->life && !memcmp(i->selector, selector, sizeof i->selector)) return i;
    return NULL;
}

/* A session moved in. It does so again only if it has no name yet and idled out, or if the server lost it: an import's script that was
 * sent before does not bring back what has ended, however late it arrives. True: the server lost it. */
static bool moved_in(const char *selector)
{
    imported *i = find_imported(selector);
    bool again = i && i->once_us;
    bool idled = i && !i->ended &&
                 servers_clock_spread_us(); /* when, is not known by a clock that was set since the script was sent */
    if (i && i->once_us && !idled && (!in.lost_us || in.lost_us < i->once_us - LATE_US))
        fail("D: import made the session %.20s once more, %.3f s after it had its name or was ended", selector,
             (double)(w.now_us - i->once_us) / 1e6);
    if (!i) i = &in.imported[in.imports++ % IMPORTED_MAX];
    *i = (imported){.life = ++in.lives};
    memcpy(i->selector, selector, sizeof i->selector);
    return again;
}

void keys_not_again(const known *s, bool ended)
{
    imported *moved = s->imported ? find_imported(s->selector) : NULL;
    if (!moved) return;
    moved->once_us = w.now_us;
    moved->ended |= ended;
}

static void deleted(known *s)
{
    trace("%.8s deleted", s->selector);
    keys_not_again(s, true);
    /* A session that had come back by a loss is dead again: every instance gets the bound anew. */
    if (s->lost_us) s->ended_us = s->deleted_us = w.now_us;
    if (!s->deleted_us) {
        s->deleted_us = w.now_us;
        s->deleted_by = command.caller;
        s->deleted_by_sweep = !strcmp(command.script, "revoke_user");
    }
    s->lost_us = NEVER;
}

void truth_deleted(int server, const char *key)
{
    if (!selector_in(key)) return;
    if (server_is_acting(server)) left_gone(selector_in(key));
    written(key, false);
    FOR_SESSIONS(s)
    if (s->life && server_is_acting(server) && !strcmp(s->key, key)) {
        reason_judge(s, command.script, command.caller);
        deleted(s);
    }
}

/* ------------------------------------------------------------------------------------------- new sessions -- */

static known *make(int server, const char *key)
{
    word v = server_field(server, key, "v"), x = server_field(server, key, "x");
    int64_t idle_ms = 0, expires_ms = 0;
    uint64_t user = 0;
    if (!v.text || v.size < LK_RECORD_SIZE || !x.text ||
        sscanf(x.text, "%" SCNd64 " %" SCNd64 " %" SCNu64, &idle_ms, &expires_ms, &user) != 3) {
        fail("D: %s made the key %s, which is no session", command.script, key);
        return NULL;
    }
    if (user >= TRUTH_CROWDS && draw(80)) return NULL;
    known *s = truth_place(NULL);
    in.lives++;
    *s = (known){.life = in.lives, .family = in.lives, .born_us = w.now_us, .created_us = w.now_us, .user = user};
    memcpy(s->selector, selector_in(key), LATCHKEY_SELECTOR_LENGTH);
    snprintf(s->key, sizeof s->key, "%s", key);
    s->idle_us = idle_ms * MS;
    s->absolute_us = world_us(server, expires_ms);
    memcpy(&s->device, v.text + LK_RECORD_DEVICE, sizeof s->device);
    return s;
}

/* A limit holds at every moment, by the server's own clock. */
static void judge_limits(const known *made)
{
    int all = 0, same = 0, acting = server_place(made->key);
    if (servers_clock_spread_us()) return;
    FOR_SESSIONS(s)
    {
        if (!s->life || s->user != made->user || !truth_acting_holds(s) || truth_is_rotated(acting, s->key)) continue;
        all++;
        same += s->device == made->device;
    }
    if (in.promise.max_sessions && all > in.promise.max_sessions)
        fail("limit: user %" PRIu64 " has %d sessions; max_sessions is %d", made->user, all, in.promise.max_sessions);
    if (in.promise.max_per_device && same > in.promise.max_per_device)
        fail("limit: user %" PRIu64 " has %d sessions on a device; max_per_device is %d", made->user, same,
             in.promise.max_per_device);
}

static void made(int server, const char *key)
{
    bool import = !strcmp(command.script, "import");
    known *before = import ? truth_find(selector_in(key)) : NULL;
    bool again = import && server_is_acting(server) && moved_in(selector_in(key));
    int64_t until_us = before ? before->until_us : 0, absolute_us = before ? before->absolute_us : 0;
    if (before) *before = (known){0}; /* the server lost the session, and that it moved in: it begins anew */
    if (!import && strcmp(command.script, "create")) {
        fail("D: %s made the session %s", *command.script ? command.script : "a plain command", key);
        return;
    }
    if (server_is_acting(server)) left_ran(selector_in(key), false, import);
    known *s = make(server, key);
    if (s) s->imported = import, s->again = again;
    /* Another server may have it still, as it was, until then. */
    if (s && until_us > s->until_us) s->until_us = until_us;
    if (s && absolute_us > s->absolute_us) s->absolute_us = absolute_us;
    if (s && import && in.lost_us) s->set_back = true; /* a session of that name may have been lost */
    if (s && server_is_acting(server) && !import) judge_limits(s);
}

/* ---------------------------------------------------------------------------------------------- exchanges -- */

/* The new token is one of the same session: with its end, if that came back from the dead. */
static known *make_heir(const known *old, const char *key)
{
    known *s = truth_place(old);
    *s = *old;
    s->life = ++in.lives;
    s->created_us = w.now_us;
    if (in.lost_us && w.now_us <= in.lost_us + truth_bound_us()) s->heir_us = w.now_us;
    s->token[0] = 0;
    memcpy(s->selector, selector_in(key), LATCHKEY_SELECTOR_LENGTH);
    snprintf(s->key, sizeof s->key, "%s", key);
    s->exchanged_us = s->over_us = s->reused_us = s->deleted_us = NEVER;
    s->exchange_told = s->imported = s->again = false;
    for (int i = 0; i < MACHINES_MAX; i++) {
        s->on[i].purge_begun = s->on[i].purge_done = 0;
        s->on[i].exchanged_us = NEVER;
        if (!s->ended_us) memset(&s->on[i], 0, sizeof s->on[i]); /* a revocation that is pending denies one token */
    }
    return s;
}

/* Exchanged without a grace: what came before is forgotten. */
static void no_old_ones(known *renamed)
{
    deleted(renamed);
    FOR_SESSIONS(s)
    if (s->life && s->family == renamed->family) s->reused_us = NEVER;
}

static void exchanged(int server, const char *from, const char *to)
{
    known *old = truth_find(selector_in(from));
    word v = server_field(server, from, "v");
    if (strcmp(command.script, "rotate")) fail("D: %s renamed the session %s", command.script, from);
    if (server_is_acting(server)) left_ran(selector_in(to), v.text, false);
    if (server_is_acting(server) && !v.text) left_gone(selector_in(from));
    if (!old || truth_find(selector_in(to))) return;
    make_heir(old, to); /* of what it was before */
    if (!server_is_acting(server)) return;
    old->exchanged_us = w.now_us;
    old->over_us = v.text ? world_us(server, time_at(v.text, 8)) : w.now_us;
    if (!v.text) no_old_ones(old);
    /* Redis may say in the last moment that it has one left: then that is a second. */
    else if (old->until_us < old->over_us + SECOND) old->until_us = old->over_us + SECOND;
}

/* ---------------------------------------------------------------------------------------------- a command -- */

void truth_command_begins(const machine *caller, const char *script_sha)
{
    command.caller = caller->index;
    command.script = "";
    command.count = 0;
    command.renamed[0][0] = 0;
    for (int i = 0; script_sha && i < LK_SCRIPT_COUNT; i++)
        if (!strcmp(script_sha, lk_scripts[i].sha)) command.script = lk_scripts[i].name;
}

/* How long would this server let it live? Of an old token that is not the question. */
static void look_at_expiry(int server, const char *key)
{
    known *s = truth_find(selector_in(key));
    int64_t expiry_ms = server_expiry_ms(server, key);
    if (expiry_ms < 0) fail("D: %s left the session %s without an expiry", command.script, key);
    if (!s || s->exchanged_us) return;
    int64_t until_us = world_us(server, expiry_ms) + MS;
    if (until_us > s->until_us) s->until_us = until_us;
}

/* All that were made up to then are over, whatever their keys say. */
static void cut_off(int server, const char *key)
{
    size_t base = (size_t)(strstr(key, "}:") - key);
    int64_t *tried_us = &in.everyone_tried_us[!strncmp(key, "1/", 2)];
    bool told_again = strcmp(command.script, "revoke_everyone");
    if (told_again && (!*tried_us || !in.lost_us))
        fail("A: %s ends all sessions in %s, and no call asked for that", command.script, key);
    *tried_us = w.now_us;
    FOR_SESSIONS(s)
    if (server_is_acting(server) && s->life && !strncmp(s->key, key, base + 2) && server_holds(server, s->key) &&
        truth_is_over(server, s->key))
        deleted(s);
}

void truth_command_ends(int server)
{
    if (command.renamed[0][0]) exchanged(server, command.renamed[0], command.renamed[1]);
    for (size_t i = 0; i < command.count; i++) {
        const char *key = command.wrote[i].key, *user = name_in(key, 'g');
        if (user) life_moved(strtoull(user, NULL, 10), key, server);
        if (is_cutoff(key)) cut_off(server, key);
        if (user || is_cutoff(key)) continue;
        if (command.wrote[i].made && server_holds(server, key)) made(server, key);
        reason_wrote(server, key);
        if (!server_holds(server, key)) continue;
        look_at_expiry(server, key);
    }
    command.count = 0;
}
