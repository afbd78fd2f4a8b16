/* SPDX-License-Identifier: MIT
 *
 * latchkey-bench-hygiene: do the indexes in Redis stay as small as the sessions are few? A million logins whose sessions idle
 * out within seconds, some of them ended or exchanged before, on a real Redis; and on the way: how many sessions live, how
 * many names each kind of index holds, and how much memory that takes.
 *
 * The sessions alive at one time are what is made within the idle time, so after that many logins all columns must stay as
 * they are: what grows is an orphan. In the end nothing but a few keys for each partition may be left.
 */
#include "harness.h"

#include <latchkey.h>

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { THREADS = 8, USERS = 20000, LOOKS = 10, PAGE = 5000, PARTITIONS = 64, LENGTH = LATCHKEY_TOKEN_LENGTH };

static const char usage[] =
    "latchkey-bench-hygiene [--short] [--creates N] [--idle-ms N] [--json FILE]\n"
    "\n"
    "Sessions, names in indexes and memory of Redis over many logins whose sessions idle out. A table in Markdown on "
    "stdout.\n"
    "\n"
    "  --short      20,000 logins: a few seconds\n"
    "  --creates N  how many (1,000,000)\n"
    "  --idle-ms N  after which a session ends (3000)\n"
    "  --json FILE  write the figures there, too\n"
    "  --help       this\n";

typedef struct options {
    double creates, idle_ms;
    const char *json;
} options;

typedef struct look {
    double creates, per_s, sessions, of_users, active, family, other, memory_bytes, keys;
} look;

typedef struct world {
    const options *o;
    bench_server *server;
    struct redisContext *redis;
    latchkey *lk;
    atomic_ullong made, target, failed;
    double per_s; /* logins, since the last look */
    look looks[LOOKS + 2];
    size_t count;
} world;

/* ----------------------------------------------------------------------------------------------------- logins -- */

/* One in eight is logged out, one in sixteen exchanged with a grace, one in sixteen without. */
static void log_in(world *w, bench_random *random)
{
    char token[LATCHKEY_TOKEN_SIZE], renewed[LATCHKEY_TOKEN_SIZE];
    latchkey_draft draft = {.size = sizeof draft, .user_id = bench_random_below(random, USERS)};
    uint64_t fate = bench_random_below(random, 16);
    if (latchkey_create(w->lk, &draft, token)) {
        atomic_fetch_add(&w->failed, 1);
        return;
    }
    if (fate < 2) latchkey_revoke(w->lk, token, LENGTH);
    else if (fate < 4) latchkey_rotate(w->lk, token, LENGTH, fate == 2 ? 1000 : 0, renewed);
}

static void *work(void *context)
{
    world *w = context;
    bench_random random;
    bench_random_seed(&random, (uint64_t)(uintptr_t)pthread_self());
    while (atomic_fetch_add(&w->made, 1) < atomic_load(&w->target)) log_in(w, &random);
    return NULL;
}

static void make_up_to(world *w, uint64_t target)
{
    pthread_t threads[THREADS];
    uint64_t start = bench_now_ns(), from = atomic_load(&w->made);
    atomic_store(&w->target, target);
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, work, w)) bench_die("no thread can be had");
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    w->per_s = (double)(target - from) / ((double)(bench_now_ns() - start) / 1e9);
    atomic_store(&w->made, target); /* each thread drew one too many */
    if (atomic_load(&w->failed)) bench_die("%llu logins failed", (unsigned long long)atomic_load(&w->failed));
}

/* ---------------------------------------------------------------------------------------------------- looking -- */

static redisReply *take(struct redisContext *redis)
{
    void *reply = NULL;
    if (redisGetReply(redis, &reply) != REDIS_OK) bench_die("Redis: %s", redis->errstr);
    redisReply *r = reply;
    if (r->type == REDIS_REPLY_ERROR) bench_die("Redis: %s", r->str);
    return r;
}

/* The kind of a key is the letter behind "lk:{17}:". */
static char kind_of(const char *key)
{
    const char *brace = strchr(key, '}');
    return brace && brace[1] == ':' ? brace[2] : '?';
}

static double *place_of(look *l, char kind)
{
    return kind == 's'   ? &l->sessions
           : kind == 'u' ? &l->of_users
           : kind == 'a' ? &l->active
           : kind == 'f' ? &l->family
                         : &l->other;
}

/* A key that has expired meanwhile has no members. */
static void count_page(world *w, const redisReply *keys, look *l)
{
    for (size_t i = 0; i < keys->elements; i++)
        redisAppendCommand(w->redis, strchr("uaf", kind_of(keys->element[i]->str)) ? "ZCARD %s" : "EXISTS %s",
                           keys->element[i]->str);
    for (size_t i = 0; i < keys->elements; i++) {
        redisReply *reply = take(w->redis);
        *place_of(l, kind_of(keys->element[i]->str)) += (double)reply->integer;
        freeReplyObject(reply);
    }
}

static void look_around(world *w)
{
    look *l = &w->looks[w->count++];
    bench_info info;
    char cursor[32] = "0";
    *l = (look){.creates = (double)atomic_load(&w->made), .per_s = w->per_s};
    do {
        redisAppendCommand(w->redis, "SCAN %s COUNT %d", cursor, PAGE);
        redisReply *page = take(w->redis);
        snprintf(cursor, sizeof cursor, "%s", page->element[0]->str);
        count_page(w, page->element[1], l);
        freeReplyObject(page);
    } while (strcmp(cursor, "0"));
    bench_info_read(w->redis, &info);
    l->memory_bytes = info.memory_bytes;
    redisAppendCommand(w->redis, "DBSIZE");
    redisReply *size = take(w->redis);
    l->keys = (double)size->integer;
    freeReplyObject(size);
}

/* ----------------------------------------------------------------------------------------------------- output -- */

static void write_json(const world *w)
{
    bench_json json = {.first = true, .file = fopen(w->o->json, "w")};
    bench_info info;
    if (!json.file) bench_die("latchkey-bench-hygiene: cannot write %s", w->o->json);
    bench_info_read(w->redis, &info);
    bench_json_object(&json, NULL);
    bench_json_text(&json, "benchmark", "hygiene");
    bench_json_machine(&json, info.version);
    bench_json_number(&json, "creates", w->o->creates);
    bench_json_number(&json, "idle_ms", w->o->idle_ms);
    bench_json_array(&json, "looks");
    for (size_t i = 0; i < w->count; i++) {
        const look *l = &w->looks[i];
        bench_json_object(&json, NULL);
        bench_json_number(&json, "creates", l->creates);
        bench_json_number(&json, "logins_per_s", l->per_s);
        bench_json_number(&json, "session_keys", l->sessions);
        bench_json_number(&json, "names_of_users", l->of_users);
        bench_json_number(&json, "names_by_activity", l->active);
        bench_json_number(&json, "names_of_families", l->family);
        bench_json_number(&json, "other_keys", l->other);
        bench_json_number(&json, "keys", l->keys);
        bench_json_number(&json, "memory_bytes", l->memory_bytes);
        bench_json_end(&json, '}');
    }
    bench_json_end(&json, ']');
    bench_json_end(&json, '}');
    fputc('\n', json.file);
    if (fclose(json.file)) bench_die("latchkey-bench-hygiene: cannot write %s", w->o->json);
}

static void print_table(const world *w)
{
    printf(
        "| logins so far | logins/s | keys of sessions | names in `u:` | names in `a` | names in `f:` | other keys | "
        "used memory |\n"
        "|---:|---:|---:|---:|---:|---:|---:|---:|\n");
    for (size_t i = 0; i < w->count; i++) {
        const look *l = &w->looks[i];
        bool last = i + 1 == w->count;
        printf("| %.0f%s | %.0f | %.0f | %.0f | %.0f | %.0f | %.0f | %.1f MB |\n", l->creates,
               last ? ", all idled out" : "", last ? 0 : l->per_s, l->sessions, l->of_users, l->active, l->family,
               l->other, l->memory_bytes / 1e6);
    }
}

/* ------------------------------------------------------------------------------------------------------- main -- */

static options read_options(int argc, char **argv)
{
    options o = {.creates = 1e6, .idle_ms = 3000};
    const bench_option known[] = {{"--creates", &o.creates, 1000, 1e8}, {"--idle-ms", &o.idle_ms, 100, 1e7}};
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--help")) {
            fputs(usage, stdout);
            exit(0);
        } else if (!strcmp(argv[i], "--short")) o.creates = 20000, o.idle_ms = 500;
        else if (!strcmp(argv[i], "--json") && i + 1 < argc) o.json = argv[++i];
        else if (!bench_option_read(known, 2, argv, &i))
            bench_die("latchkey-bench-hygiene: '%s' is no option; see --help", argv[i]);
    }
    return o;
}

/* The lifetime is twice the idle time: so what old tokens leave, which is kept so long, goes as well. */
static void open_world(world *w)
{
    char config[512], error[256];
    w->server = bench_server_start(false);
    w->redis = bench_server_connect(w->server);
    snprintf(config, sizeof config,
             "%s?idle_ms=%.0f&lifetime_ms=%.0f&deadline_ms=10000&staleness_ms=20000&partitions=%d",
             bench_server_unix_url(w->server), w->o->idle_ms, 2 * w->o->idle_ms, PARTITIONS);
    if (latchkey_open(config, &w->lk, error, sizeof error)) bench_die("latchkey_open: %s", error);
}

int main(int argc, char **argv)
{
    options o = read_options(argc, argv);
    static world w;
    w.o = &o;
    open_world(&w);
    look_around(&w);
    for (int i = 1; i <= LOOKS; i++) {
        make_up_to(&w, (uint64_t)(o.creates * i / LOOKS));
        look_around(&w);
        bench_progress("logins", i, LOOKS);
    }
    usleep((useconds_t)(2 * o.idle_ms + 1000) *
           1000); /* Redis looks for what has expired by itself, but lets some lie */
    look_around(&w);
    bench_progress_end();
    print_table(&w);
    if (o.json) write_json(&w);
    const look *end = &w.looks[w.count - 1];
    latchkey_close(w.lk);
    bench_server_stop(w.server);
    if (end->sessions + end->of_users + end->active + end->family > 0 || end->other > 4 * PARTITIONS)
        bench_die("latchkey-bench-hygiene: something is left of sessions that are over");
    return 0;
}
