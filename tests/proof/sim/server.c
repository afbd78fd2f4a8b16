/* SPDX-License-Identifier: MIT
 *
 * See server.h. A command runs when its bytes arrive, all at once, as in Redis. What may have written goes into the
 * server's log; replicas and the disk run the same commands later, each from its own place in the log.
 */
#include "server.h"

#include "base/hash.h"
#include "shards.h"
#include "truth.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DATABASES = 2, CHANNELS_MAX = 16, CHANNEL_ROOM = 64, WORDS_MAX = 64 };

typedef struct entry { /* one command in the log; words is NULL where it only moves the offset */
    int64_t when_us, clock_us;
    word *words;
    size_t count;
    int database;
    object *came; /* a key that was moved here; NULL: it is a command */
} entry;

typedef struct session { /* a connection, as the server sees it; its place is the wire's */
    bool open, blocked;
    int server, database;
    bool links; /* it is a link's connection for commands */
    buffer in;
    char channel[CHANNELS_MAX][CHANNEL_ROOM];
    bool sharded[CHANNELS_MAX];
    int channels;
    uint64_t
        position; /* of the log, behind what this connection wrote last: from Redis 7.2 on, WAIT asks for no more */
    uint64_t wait, wait_position;
    long wait_replicas;
    int64_t wait_until_us;
} session;

typedef struct server {
    bool up, primary;
    char run_id[41], replication_id[41];
    int64_t paused_until, loading_until, ahead_us, down_us;
    bool scripts[SCRIPTS_MAX]; /* those that it knows */
    store *data[DATABASES], *disk[DATABASES];
    entry *log; /* from position `first` on */
    size_t logged, log_room;
    uint64_t first, disk_at;
    /* of a replica */
    int master; /* -1: none, or not synchronized yet */
    uint64_t at;
    int64_t lag_us, cut_until;
} server;

static struct {
    server server[SERVERS_MAX];
    session session[CONNECTIONS_MAX];
    int count, acting[SHARDS]; /* where there is no cluster, one shard */
    bool keep_disk;
    int64_t disk_behind_us, spread_us, calm_us;
    struct {
        int64_t lose_us, hold_us; /* lose_us 0: not to be done */
        bool cuts;
    } behind;
} in;

static bool acts(const server *s) { return in.acting[shard_of_server((int)(s - in.server))] == s - in.server; }

static void disturbed(void) { in.calm_us = w.now_us; }
static int64_t clock_us(const server *s) { return w.now_us + s->ahead_us; }

static void new_id(char id[41])
{
    for (int i = 0; i < 40; i++) id[i] = "0123456789abcdef"[draw(16)];
    id[40] = 0;
}

/* ------------------------------------------------------------------------------------------------- the log -- */

static uint64_t log_end(const server *s) { return s->first + s->logged; }

/* All in one piece of memory. */
static void log_append(server *s, int database, const word *words, size_t count)
{
    if (s->logged == s->log_room) {
        s->log_room = s->log_room ? 2 * s->log_room : 256;
        s->log = realloc(s->log, s->log_room * sizeof *s->log);
        if (!s->log) abort();
    }
    entry e = {.when_us = w.now_us, .clock_us = clock_us(s), .count = count, .database = database};
    size_t size = count * sizeof *words;
    for (size_t i = 0; i < count; i++) size += words[i].size + 1;
    if (count && !(e.words = malloc(size))) abort();
    char *text = (char *)(e.words + count);
    for (size_t i = 0; i < count; i++) {
        memcpy(text, words[i].text, words[i].size + 1);
        e.words[i] = (word){text, words[i].size};
        text += words[i].size + 1;
    }
    s->log[s->logged++] = e;
}

/* Runs on `data`, which is at *position, what was logged up to when_us. */
static void log_replay(const server *s, store *const data[DATABASES], uint64_t *position, int64_t when_us)
{
    for (; *position < log_end(s) && s->log[*position - s->first].when_us <= when_us; ++*position) {
        const entry *e = &s->log[*position - s->first];
        if (e->came) store_put(data[e->database], store_copy_of(e->came));
        if (e->count) store_run_again(data[e->database], e->words, e->count, e->clock_us);
    }
}

static void catch_up(server *r)
{
    if (r->primary || !r->up || r->master < 0 || r->cut_until > w.now_us || !in.server[r->master].up) return;
    log_replay(&in.server[r->master], r->data, &r->at, w.now_us - r->lag_us);
}

static void entry_free(entry *e)
{
    free(e->words);
    if (e->came) store_free(e->came);
}

/* Forgets the writes that all replicas have. */
static void log_trim(server *s)
{
    uint64_t keep = log_end(s);
    if (s->disk[0]) {
        log_replay(s, s->disk, &s->disk_at, w.now_us - in.disk_behind_us);
        keep = s->disk_at;
    }
    for (int i = 0; i < in.count; i++) {
        server *r = &in.server[i];
        if (r->primary || r->master != (int)(s - in.server)) continue;
        catch_up(r);
        if (r->at < keep) keep = r->at;
    }
    size_t gone = (size_t)(keep - s->first);
    if (gone < 64 || gone * 2 < s->logged) return;
    for (size_t i = 0; i < gone; i++) entry_free(&s->log[i]);
    memmove(s->log, s->log + gone, (s->logged - gone) * sizeof *s->log);
    s->logged -= gone;
    s->first = keep;
}

/* What a replica or the disk does not run only moves the offset. Nodes of a cluster pass messages on by their bus. */
static void log_command(server *s, int database, const word *words, size_t count)
{
    bool message = !strcmp(words[0].text, "PUBLISH") || !strcmp(words[0].text, "SPUBLISH");
    if (message && shards_there()) return;
    bool followed = (s->disk[0] != NULL || in.count > 1) && !message;
    log_append(s, database, words, followed ? count : 0);
    if (s->logged >= 128) log_trim(s);
}

static void log_clear(server *s)
{
    s->first = log_end(s);
    for (size_t i = 0; i < s->logged; i++) entry_free(&s->log[i]);
    s->logged = 0;
}

static void close_data(store *data[DATABASES])
{
    for (int i = 0; i < DATABASES; i++) {
        store_close(data[i]);
        data[i] = NULL;
    }
}

static void copy_data(store *to[DATABASES], store *const from[DATABASES])
{
    close_data(to);
    for (int i = 0; i < DATABASES; i++) to[i] = store_copy(from[i]);
}

/* The disk holds what the memory holds, from now on. */
static void disk_begin(server *s)
{
    close_data(s->disk);
    if (in.keep_disk) copy_data(s->disk, s->data);
    s->disk_at = log_end(s);
}

/* ------------------------------------------------------------------------------------------- connections -- */

bool server_accepts(int which) { return in.server[which].up; }

static void session_close(session *c)
{
    buffer_free(&c->in);
    memset(c, 0, sizeof *c);
}

void server_accepted(wire *c)
{
    session *s = &in.session[c->index];
    session_close(s);
    s->open = true;
    s->server = c->server;
}

void server_lost(wire *c) { session_close(&in.session[c->index]); }

static unsigned publish(server *s, word channel, word text, bool sharded)
{
    unsigned heard = 0;
    buffer message = {0};
    if (!sharded && shards_there()) fail("a message to all nodes of a cluster: %s", channel.text);
    for (int i = 0; i < CONNECTIONS_MAX; i++) {
        session *c = &in.session[i];
        if (!c->open || c->server != (int)(s - in.server) || !c->channels) continue;
        for (int n = 0; n < c->channels; n++) {
            if (c->sharded[n] != sharded || strcmp(c->channel[n], channel.text)) continue;
            if (!message.size) {
                buffer_print(&message, sharded ? "*3\r\n$8\r\nsmessage\r\n" : "*3\r\n$7\r\nmessage\r\n");
                buffer_bulk(&message, channel.text, channel.size);
                buffer_bulk(&message, text.text, text.size);
            }
            wire_send(wire_of(i), message.bytes, message.size);
            heard++;
        }
    }
    buffer_free(&message);
    totals.twice += heard > 1 && strstr(channel.text, ":beat:");
    return heard;
}

/* The server and the database on which a command runs. */
typedef struct place {
    server *on;
    int database;
    bool announced; /* something, on a channel of revocations */
} place;

static unsigned publish_from(void *context, word channel, word text, bool sharded)
{
    place *p = context;
    p->announced |= channel.size > 4 && !strcmp(channel.text + channel.size - 4, ":rev");
    return publish(p->on, channel, text, sharded);
}
static const char *refuses(void *context, const word *words, size_t count)
{
    const place *p = context;
    return shards_refusal((int)(p->on - in.server), words, count);
}
static void effect(void *context, const word *words, size_t count)
{
    const place *p = context;
    log_command(p->on, p->database, words, count);
}

/* To the checks, a key of another database is one of another name: "1/lk:{0}:q". */
enum { KEY_TEXT = 200 };
static const char *full_key(const place *p, const char *key, char out[KEY_TEXT])
{
    snprintf(out, KEY_TEXT, "%s%s", p->database ? "1/" : "", key);
    return out;
}
static void wrote_key(void *context, const char *key, bool made)
{
    const place *p = context;
    char text[KEY_TEXT];
    truth_wrote((int)(p->on - in.server), full_key(p, key, text), made);
}
static void deleted_key(void *context, const char *key)
{
    const place *p = context;
    char text[KEY_TEXT];
    truth_deleted((int)(p->on - in.server), full_key(p, key, text));
}
static void renamed_key(void *context, const char *from, const char *to)
{
    const place *p = context;
    char old[KEY_TEXT], new[KEY_TEXT];
    truth_renamed((int)(p->on - in.server), full_key(p, from, old), full_key(p, to, new));
}

/* ---------------------------------------------------------------------------------------------- commands -- */

static bool is(word a, const char *text) { return !strcmp(a.text, text); }

static long replicas_at(server *s, uint64_t position)
{
    long count = 0;
    for (int i = 0; i < in.count; i++) {
        server *r = &in.server[i];
        if (r->primary || !r->up || r->master != (int)(s - in.server)) continue;
        catch_up(r);
        count += r->at >= position; /* one that is cut off counts with what it said last */
    }
    return count;
}

static void run_info(server *s, word section, buffer *out)
{
    char text[800];
    int size = 0;
    if (!is(section, "replication"))
        size = snprintf(text, sizeof text, "# Server\r\nredis_version:7.0.15\r\nredis_mode:%s\r\nrun_id:%s\r\n",
                        shards_there() ? "cluster" : "standalone", s->run_id);
    if (!is(section, "server"))
        size += snprintf(text + size, sizeof text - (size_t)size,
                         "# Replication\r\nrole:%s\r\nconnected_slaves:%ld\r\nmaster_replid:%s\r\n",
                         s->primary ? "master" : "slave", s->primary ? replicas_at(s, 0) : 0L, s->replication_id);
    buffer_bulk(out, text, (size_t)size);
}

/* What a session hears of: sharded channels are counted by themselves. */
static int count_channels(const session *c, bool sharded)
{
    int count = 0;
    for (int i = 0; i < c->channels; i++) count += c->sharded[i] == sharded;
    return count;
}

/* One that it has already stays one. */
static bool has_channel(const session *c, const char *name, bool sharded)
{
    int n = 0;
    while (n < c->channels && (c->sharded[n] != sharded || strcmp(c->channel[n], name))) n++;
    return n < c->channels;
}

static void run_subscribe(session *c, const word *words, size_t count, buffer *out)
{
    bool sharded = *words[0].text == 'S' && words[0].text[1] == 'S';
    for (size_t i = 1; i < count; i++) {
        if (c->channels == CHANNELS_MAX || words[i].size >= CHANNEL_ROOM) {
            fail("a subscription that the simulation has no room for");
            return;
        }
        if (!has_channel(c, words[i].text, sharded)) {
            c->sharded[c->channels] = sharded;
            strcpy(c->channel[c->channels++], words[i].text);
        }
        buffer_print(out, sharded ? "*3\r\n$10\r\nssubscribe\r\n" : "*3\r\n$9\r\nsubscribe\r\n");
        buffer_bulk(out, words[i].text, words[i].size);
        buffer_print(out, ":%d\r\n", count_channels(c, sharded));
    }
}

static void feed(session *c, int index);

static void look_at_wait(void *context, uint64_t wait)
{
    session *c = context;
    if (!c->open || !c->blocked || c->wait != wait) return;
    server *s = &in.server[c->server];
    long have = replicas_at(s, c->wait_position);
    if (have < c->wait_replicas && w.now_us < c->wait_until_us) {
        int64_t again = w.now_us + 500 + s->lag_us / 4;
        for (int i = 0; i < in.count; i++) /* not sooner than one more may have it */
            if (!in.server[i].primary && in.server[i].lag_us > 4 * MS) again = w.now_us + in.server[i].lag_us / 4;
        at(again < c->wait_until_us ? again : c->wait_until_us, look_at_wait, c, wait);
        return;
    }
    char text[24];
    c->blocked = false;
    wire_send(wire_of((int)(c - in.session)), text, (size_t)snprintf(text, sizeof text, ":%ld\r\n", have));
    feed(c, (int)(c - in.session));
}

/* The reply comes later, by look_at_wait, and what the client sent meanwhile waits for it. */
static void run_wait(session *c, const word *words)
{
    static uint64_t waits;
    c->blocked = true;
    c->wait = ++waits;
    c->wait_position = c->position;
    c->wait_replicas = atol(words[1].text);
    int64_t ms = atoll(words[2].text);
    c->wait_until_us = ms ? w.now_us + ms * MS : FOREVER;
    at(w.now_us, look_at_wait, c, c->wait);
}

static const char *refusal(const server *s, word name)
{
    if (s->loading_until > w.now_us && !is(name, "INFO")) return "LOADING Redis is loading the dataset in memory";
    if (!s->primary && is(name, "WAIT")) return "ERR WAIT cannot be used with replica instances.";
    return NULL;
}

/* Does the server know the script? EVAL teaches it. -1: it does not. */
static int script_of(server *s, const word *words)
{
    int script = is(words[0], "EVAL") ? store_compile(words[1]) : store_script(words[1]);
    if (script >= 0 && is(words[0], "EVAL")) s->scripts[script] = true;
    return script >= 0 && s->scripts[script] ? script : -1;
}

static void restore_now(void *context, uint64_t lose_us)
{
    int which = (int)((server *)context - in.server);
    for (int i = 0; in.behind.cuts && i < CONNECTIONS_MAX; i++)
        if (in.session[i].open && in.session[i].server == which && in.session[i].channels) wire_break(wire_of(i));
    server_restore(which, (int64_t)lose_us);
}

static void run_on_data(server *s, session *of, wire *c, const word *words, size_t count, buffer *out)
{
    place here = {s, of->database, false};
    const store_events events = {&here,
                                 publish_from,
                                 effect,
                                 wrote_key,
                                 deleted_key,
                                 renamed_key,
                                 .replica = !s->primary,
                                 .refuses = shards_there() ? refuses : NULL};
    int script = -1;
    if (is(words[0], "EVAL") || is(words[0], "EVALSHA")) {
        script = script_of(s, words);
        if (script < 0) {
            buffer_print(out, "-NOSCRIPT No matching script. Please use EVAL.\r\n");
            return;
        }
    }
    truth_command_begins(c->client, script < 0 ? NULL : store_script_sha(script));
    if (!store_run(s->data[of->database], words, count, clock_us(s), &events, out))
        fail("the library sends a command that the simulation does not know: %.40s", words[0].text);
    if (is(words[0], "HGET")) c->read_step = w.step;
    /* A touch's. */
    if (is(words[0], "ZADD") && out->size >= 4 && !memcmp(out->bytes + out->size - 4, ":1\r\n", 4))
        fail("D: a touch adds %s to %s", words[count - 1].text, words[1].text);
    of->links |= is(words[0], "MGET");
    truth_command_ends((int)(s - in.server));
    if (!in.behind.lose_us || !here.announced || of->links || !acts(s)) return;
    trace("the answer on wire %d is held back for %.3f s", c->index, (double)in.behind.hold_us / 1e6);
    wire_hole(c, 2, in.behind.hold_us, false);
    at(w.now_us, restore_now, s, (uint64_t)in.behind.lose_us);
    in.behind.lose_us = 0;
}

static void run_command(server *s, session *c, wire *on, const word *words, size_t count, buffer *out)
{
    const char *no = refusal(s, words[0]);
    uint64_t end = log_end(s);
    if (is(words[0], "ASKING")) fail("the library follows ASK");
    if (!no && shards_there()) no = shards_refusal((int)(s - in.server), words, count);
    if (no) buffer_print(out, "-%s\r\n", no);
    else if (is(words[0], "INFO") && count == 2) run_info(s, words[1], out);
    else if (is(words[0], "SUBSCRIBE") || is(words[0], "SSUBSCRIBE")) run_subscribe(c, words, count, out);
    else if (is(words[0], "CLUSTER") && is(words[1], "MYID")) shards_print_id((int)(s - in.server), out);
    else if (is(words[0], "CLUSTER") && shards_there()) shards_print_slots((int)(s - in.server), out);
    else if (is(words[0], "WAIT") && count == 3) run_wait(c, words);
    else if (is(words[0], "ROLE"))
        buffer_print(out, s->primary ? "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"
                                     : "*5\r\n$5\r\nslave\r\n$1\r\nh\r\n:6379\r\n$9\r\nconnected\r\n:0\r\n");
    else if (is(words[0], "SELECT") && count == 2) {
        c->database = atoi(words[1].text);
        buffer_print(out, "+OK\r\n");
    } else run_on_data(s, c, on, words, count, out);
    if (log_end(s) != end) c->position = log_end(s);
    if (!acts(s) && s->primary) on->client->astray_us = w.now_us;
}

/* One command at the front of what came: its words, NUL-terminated in place; the bytes it takes, or 0 if it is not
 * whole yet. */
static size_t parse(char *bytes, size_t size, word *words, size_t *count)
{
    char *at = bytes, *end = bytes + size;
    char *line = memchr(at, '\n', size);
    if (!line) return 0;
    *count = strtoull(at + 1, NULL, 10);
    if (*at != '*' || !*count) abort();
    at = line + 1;
    for (size_t i = 0; i < *count; i++) {
        line = memchr(at, '\n', (size_t)(end - at));
        if (!line) return 0;
        size_t length = strtoull(at + 1, NULL, 10);
        if ((size_t)(end - line - 1) < length + 2) return 0;
        words[i] = (word){line + 1, length};
        at = line + 1 + length + 2;
    }
    for (size_t i = 0; i < *count; i++) ((char *)(uintptr_t)words[i].text)[words[i].size] = 0;
    return (size_t)(at - bytes);
}

static void feed(session *c, int index)
{
    static word words[2048];
    server *s = &in.server[c->server];
    wire *on = wire_of(index);
    buffer out = {0};
    size_t used = 0, count, size;
    while (c->open && !c->blocked && s->paused_until <= w.now_us && used < c->in.size &&
           (size = parse(c->in.bytes + used, c->in.size - used, words, &count))) {
        run_command(s, c, on, words, count, &out);
        used += size;
    }
    if (used) {
        c->in.size -= used;
        memmove(c->in.bytes, c->in.bytes + used, c->in.size);
    }
    if (out.size) wire_send(on, out.bytes, out.size);
    buffer_free(&out);
}

void server_fed(wire *c, const char *bytes, size_t size)
{
    session *s = &in.session[c->index];
    buffer_add(&s->in, bytes, size);
    feed(s, c->index);
}

/* ------------------------------------------------------------------------------------------------ faults -- */

static void resume(void *context, uint64_t number)
{
    server *s = context;
    (void)number;
    if (s->paused_until > w.now_us) return;
    int first = (int)draw(CONNECTIONS_MAX); /* in any order */
    for (int i = 0; i < CONNECTIONS_MAX; i++) {
        session *c = &in.session[(first + i) % CONNECTIONS_MAX];
        if (c->open && c->server == (int)(s - in.server) && c->in.size) feed(c, (first + i) % CONNECTIONS_MAX);
    }
}

void server_pause(int which, int64_t us)
{
    server *s = &in.server[which];
    if (!s->up || s->paused_until > w.now_us) return;
    trace("r%d paused for %.3f s", which, (double)us / 1e6);
    s->paused_until = w.now_us + us;
    at(s->paused_until, resume, s, 0);
}

void server_kill_clients(int which, bool subscribers_only)
{
    for (int i = 0; i < CONNECTIONS_MAX; i++) {
        session *c = &in.session[i];
        if (!c->open || c->server != which || (subscribers_only && !c->channels)) continue;
        session_close(c);
        wire_close(wire_of(i), chance(500000));
    }
}

static void forget_clients(int which)
{
    for (int i = 0; i < CONNECTIONS_MAX; i++) {
        if (!in.session[i].open || in.session[i].server != which) continue;
        session_close(&in.session[i]);
        if (wire_of(i)) wire_of(i)->server_has = false;
    }
}

void server_forget_scripts(int which)
{
    trace("r%d forgets its scripts", which);
    memset(in.server[which].scripts, 0, sizeof in.server[which].scripts);
}

static void spread(void)
{
    for (int a = 0; a < in.count; a++)
        for (int b = 0; b < in.count; b++) {
            int64_t differ = in.server[a].ahead_us - in.server[b].ahead_us;
            if (differ > in.spread_us) in.spread_us = differ;
        }
}

void server_step_clock(int which, int64_t us)
{
    trace("r%d's clock is set by %+.3f s", which, (double)us / 1e6);
    if (server_is_acting(which)) truth_clock_set();
    in.server[which].ahead_us += us;
    if (server_is_acting(which)) truth_clock_set();
    in.spread_us += us < 0 ? -us : us;
    disturbed();
}

/* Full synchronization with the acting primary. */
static void synchronize(void *context, uint64_t number)
{
    server *r = context, *m = &in.server[in.acting[shard_of_server((int)((server *)context - in.server))]];
    (void)number;
    if (r->primary || !r->up || r->master >= 0 || !m->up) return;
    if (r->cut_until > w.now_us) {
        at(r->cut_until + SECOND, synchronize, r, 0);
        return;
    }
    trace("r%d synchronized with r%d", (int)(r - in.server), (int)(m - in.server));
    copy_data(r->data, m->data);
    r->master = (int)(m - in.server);
    r->at = log_end(m);
    strcpy(r->replication_id, m->replication_id);
}

static void desynchronize_replicas(int master)
{
    for (int i = 0; i < in.count; i++) {
        server *r = &in.server[i];
        if (r->primary || r->master != master) continue;
        r->master = -1;
        at(w.now_us + draw_scale(50 * MS, 3 * SECOND), synchronize, r, 0);
    }
}

static void come_up(void *context, uint64_t number)
{
    server *s = context;
    (void)number;
    if (s->up) return;
    s->up = true;
    trace("r%d is up again", (int)(s - in.server));
    new_id(s->run_id);
    memset(s->scripts, 0, sizeof s->scripts);
    if (chance(300000)) s->loading_until = w.now_us + draw_scale(MS, 2 * SECOND);
    if (!s->primary) at(w.now_us + draw_scale(10 * MS, SECOND), synchronize, s, 0);
    else {
        new_id(s->replication_id);
        for (int i = 0; i < in.count; i++)
            at(w.now_us + draw_scale(50 * MS, 3 * SECOND), synchronize, &in.server[i], 0);
    }
    disturbed();
}

/* As Redis does when it finds keys of a slot that has gone: their departure is lost, or was not heard of. */
static void drop_moved(server *s)
{
    char prefix[24];
    object *o;
    for (int p = 0; shards_there() && p < CLUSTER_PARTITIONS; p++) {
        snprintf(prefix, sizeof prefix, "lk:{%d}:", p);
        while (!shards_has((int)(s - in.server), p) && (o = store_take(s->data[0], prefix, 0))) store_free(o);
    }
}

/* What was written up to so long ago is what it holds. */
static void load_disk(server *s, int64_t lose_us)
{
    log_replay(s, s->disk, &s->disk_at, w.now_us - lose_us);
    copy_data(s->data, s->disk);
    drop_moved(s);
    log_clear(s);
    disk_begin(s);
}

void server_restore(int which, int64_t lose_us)
{
    server *s = &in.server[which];
    if (!s->up || !s->primary || !s->disk[0]) return;
    shards_settle();
    trace("r%d's data are replaced by those of %.3f s ago", which, (double)lose_us / 1e6);
    for (int i = 0; i < in.count; i++) catch_up(&in.server[i]);
    load_disk(s, lose_us);
    desynchronize_replicas(which);
    disturbed();
    if (server_is_acting(which)) truth_acting_changed(which, false, w.now_us - lose_us);
}

void server_restore_behind_a_script(int64_t lose_us, int64_t hold_us, bool cuts)
{
    in.behind.cuts = cuts;
    in.behind.lose_us = lose_us;
    in.behind.hold_us = hold_us;
}

void server_restart(int which, int64_t down_us, int64_t lose_us, bool silent)
{
    server *s = &in.server[which];
    if (!s->up) return;
    shards_settle();
    trace("r%d dies%s for %.3f s and loses the last %.3f s", which, silent ? " silently" : "", (double)down_us / 1e6,
          (double)lose_us / 1e6);
    for (int i = 0; i < in.count; i++) catch_up(&in.server[i]);
    if (s->primary && s->disk[0]) load_disk(s, lose_us);
    desynchronize_replicas(which);
    s->master = -1;
    s->up = false;
    s->down_us = w.now_us;
    s->paused_until = 0;
    if (silent) forget_clients(which);
    else server_kill_clients(which, false);
    disturbed();
    if (server_is_acting(which)) truth_acting_changed(which, false, FOREVER);
    at(w.now_us + down_us, come_up, s, 0);
}

bool server_fail_over(int shard)
{
    server *best = NULL;
    shards_settle();
    truth_clock_set(); /* the next one's clock is another */
    for (int i = 0; i < in.count; i++) {
        server *r = &in.server[i];
        catch_up(r);
        bool one = shard_of_server(i) == shard && i != in.acting[shard] && r->up && !r->primary && r->at;
        if (one && (!best || r->at > best->at)) best = r;
    }
    if (!best) return false;
    int promoted = (int)(best - in.server);
    trace("failover from r%d to r%d", in.acting[shard], promoted);
    desynchronize_replicas(in.acting[shard]);
    best->primary = true;
    best->master = -1;
    log_clear(best);
    new_id(best->replication_id);
    in.acting[shard] = promoted;
    drop_moved(best);
    disk_begin(best);
    shards_promoted(promoted);
    disturbed();
    truth_acting_changed(promoted, true, FOREVER);
    return true;
}

void server_demote(int which)
{
    server *s = &in.server[which];
    if (acts(s) || !s->primary) return;
    trace("r%d is demoted", which);
    s->primary = false;
    shards_demoted(which);
    s->master = -1;
    s->at = 0;
    log_clear(s);
    close_data(s->disk);
    at(w.now_us + draw_scale(10 * MS, 2 * SECOND), synchronize, s, 0);
    disturbed();
}

void server_lag(int which, int64_t us)
{
    catch_up(&in.server[which]);
    in.server[which].lag_us = us;
}

void server_cut_replica(int which, int64_t us)
{
    server *r = &in.server[which];
    if (r->primary) return;
    trace("r%d gets nothing for %.3f s", which, (double)us / 1e6);
    catch_up(r);
    r->cut_until = w.now_us + us;
}

/* As MIGRATE does it: in one step, and its replicas are told. */
bool server_move_key(int from, int to, const char *prefix)
{
    server *source = &in.server[from], *target = &in.server[to];
    object *o = store_take(source->data[0], prefix, draw(UINT64_MAX));
    if (!o) return false;
    const char *key = store_key_of(o);
    log_command(source, 0, (const word[]){{"DEL", 3}, {key, strlen(key)}}, 2);
    log_append(target, 0, NULL, 0);
    target->log[target->logged - 1].came = store_copy_of(o);
    store_put(target->data[0], o);
    return true;
}

bool server_subscribes(const wire *c) { return in.session[c->index].open && in.session[c->index].channels; }

void server_unsubscribe(int which, unsigned slot)
{
    for (int i = 0; i < CONNECTIONS_MAX; i++) {
        session *c = &in.session[i];
        for (int n = c->open && c->server == which ? c->channels - 1 : -1; n >= 0; n--) {
            word channel = {c->channel[n], strlen(c->channel[n])};
            if (!c->sharded[n] || shards_slot(channel) != slot) continue;
            buffer out = {0};
            buffer_print(&out, "*3\r\n$12\r\nsunsubscribe\r\n");
            buffer_bulk(&out, channel.text, channel.size);
            buffer_print(&out, ":%d\r\n", count_channels(c, true) - 1);
            wire_send(wire_of(i), out.bytes, out.size);
            buffer_free(&out);
            c->channels--;
            memmove(c->channel[n], c->channel[n + 1], sizeof c->channel[0] * (size_t)(c->channels - n));
            memmove(&c->sharded[n], &c->sharded[n + 1], sizeof c->sharded[0] * (size_t)(c->channels - n));
        }
    }
}

void servers_heal(void)
{
    in.behind.lose_us = 0;
    for (int i = 0; i < in.count; i++) {
        server *s = &in.server[i];
        s->cut_until = 0;
        if (s->paused_until > w.now_us) {
            s->paused_until = w.now_us;
            resume(s, 0);
        }
        s->loading_until = 0;
        come_up(s, 0);
        server_demote(i);
        if (!s->primary) at(w.now_us + draw_scale(10 * MS, 2 * SECOND), synchronize, s, 0);
    }
    shards_heal();
}

/* --------------------------------------------------------------------------------------- begin, end, truth -- */

void servers_begin(int count, int64_t lag_us, bool keep_disk, bool cluster)
{
    memset(&in, 0, sizeof in);
    in.count = count;
    in.acting[1] = cluster ? 1 : 0;
    in.keep_disk = keep_disk;
    in.disk_behind_us = 120 * SECOND;
    int64_t epoch_us = INT64_C(1700000000) * SECOND; /* where virtual time 0 lies on the servers' clocks */
    for (int i = 0; i < count; i++) {
        server *s = &in.server[i];
        bool primary = i == 0 || (cluster && i < SHARDS);
        *s = (server){.up = true,
                      .primary = primary,
                      .master = primary   ? -1
                                : cluster ? i % SHARDS
                                          : 0,
                      .ahead_us = epoch_us,
                      .first = 1};
        s->at = 1;
        s->lag_us = lag_us;
        for (int n = 0; n < DATABASES; n++) s->data[n] = store_open();
        new_id(s->run_id);
        new_id(s->replication_id);
        disk_begin(s);
    }
    spread();
}

void servers_end(void)
{
    for (int i = 0; i < in.count; i++) {
        log_clear(&in.server[i]);
        free(in.server[i].log);
        close_data(in.server[i].data);
        close_data(in.server[i].disk);
    }
    for (int i = 0; i < CONNECTIONS_MAX; i++) session_close(&in.session[i]);
}

int server_count(void) { return in.count; }
int server_acting(void) { return in.acting[0]; }
int server_acting_of(int shard) { return in.acting[shard]; }
bool server_is_acting(int which) { return acts(&in.server[which]); }
int64_t server_down_since_us(int which) { return in.server[which].up ? 0 : in.server[which].down_us; }
int server_replica_of(int which)
{
    return in.server[which].primary || !in.server[which].up ? -1 : in.server[which].master;
}
int server_place(const char *key) { return shards_there() ? shards_place(key) : in.acting[0]; }

bool server_answers(int which)
{
    const server *s = &in.server[which];
    return s->up && s->paused_until <= w.now_us && s->loading_until <= w.now_us;
}
bool server_up(int which) { return in.server[which].up; }
bool server_primary(int which) { return in.server[which].primary; }
int64_t server_clock_ms(int which) { return clock_us(&in.server[which]) / 1000; }
int64_t servers_clock_spread_us(void) { return in.spread_us; }
/* The keyspace of a full key, and the rest of it. */
static store *data_of(int which, const char **key)
{
    bool second = !strncmp(*key, "1/", 2);
    *key += second ? 2 : 0;
    return in.server[which].data[second];
}

bool server_holds(int which, const char *key)
{
    store *s = data_of(which, &key);
    return store_holds(s, key, server_clock_ms(which));
}

bool server_has_key(int which, const char *key)
{
    store *s = data_of(which, &key);
    return store_has(s, key);
}

int64_t server_expiry_ms(int which, const char *key)
{
    store *s = data_of(which, &key);
    return store_expiry_ms(s, key);
}

int64_t server_number(int which, const char *key)
{
    store *s = data_of(which, &key);
    return store_number(s, key, server_clock_ms(which));
}

word server_field(int which, const char *key, const char *field)
{
    bool there = server_holds(which, key);
    store *s = data_of(which, &key);
    return there ? store_field(s, key, field) : (word){NULL, 0};
}

const char *server_member(int which, const char *key, size_t i)
{
    store *s = data_of(which, &key);
    return store_member(s, key, i);
}

typedef struct seeing {
    place of;
    void (*see)(int server, const char *key);
} seeing;

static void see_key(void *context, const char *key)
{
    const seeing *s = context;
    char text[KEY_TEXT];
    s->see((int)(s->of.on - in.server), full_key(&s->of, key, text));
}

void server_see_keys(int which, void (*see)(int server, const char *key))
{
    for (int n = 0; n < DATABASES; n++) {
        seeing s = {{&in.server[which], n, false}, see};
        store_see_keys(in.server[which].data[n], server_clock_ms(which), see_key, &s);
    }
}

int64_t servers_calm_since_us(void)
{
    for (int i = 0; i < in.count; i++)
        if (!in.server[i].up || (!acts(&in.server[i]) && in.server[i].primary)) return w.now_us;
    return in.calm_us;
}
