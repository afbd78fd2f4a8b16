/* SPDX-License-Identifier: MIT
 *
 * latchkey-bench-scripts: what a script costs Redis, by Redis' own commandstats, and as a multiple of what an empty script
 * costs in the same round. On a private server: by one caller, or where the calls wait for beats by many, so that Redis
 * has them one behind the other.
 */
#include "harness.h"

#include <latchkey.h>

#include <hiredis/hiredis.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LENGTH = LATCHKEY_TOKEN_LENGTH, MOST_ROUNDS = 99, MOST_CALLS = 100000, CALLERS = 64 };

static const char usage[] =
    "latchkey-bench-scripts [--short] [--calls N] [--rounds N] [--json FILE]\n"
    "\n"
    "What each script costs Redis, by commandstats, as a multiple of an empty script. A table in Markdown on stdout.\n"
    "\n"
    "  --short     a second or two\n"
    "  --calls N   of each script in a round (2000)\n"
    "  --rounds N  of which the median counts (7)\n"
    "  --json FILE write the figures there, too\n"
    "  --help      this\n";

typedef struct world {
    double calls, rounds;
    const char *json;
    bench_server *server;
    struct redisContext *redis;
    latchkey *lk;
    char (*token)[LATCHKEY_TOKEN_SIZE];
    char empty[64];                                           /* runs a script that does nothing */
    char touch_alone[41], create_alone[41], rotate_alone[41]; /* SHA-1 of their commands alone */
    uint64_t user; /* of the first session of this step; each session has a user of its own */
} world;

/* ---------------------------------------------------------------------------------------------------- counting -- */

static redisReply *ask(struct redisContext *redis, const char *command)
{
    redisReply *reply = redisCommand(redis, command);
    if (!reply || reply->type == REDIS_REPLY_ERROR) bench_die("Redis: %s", reply ? reply->str : redis->errstr);
    return reply;
}

typedef struct spent {
    double calls, us;
} spent;

static void add(const char *stats, const char *name, spent *sum)
{
    double calls, us;
    const char *at = strstr(stats, name);
    if (!at || sscanf(at + strlen(name), "calls=%lf,usec=%lf", &calls, &us) != 2) return;
    sum->calls += calls;
    sum->us += us;
}

static spent of_scripts(world *w)
{
    spent sum = {0};
    redisReply *reply = ask(w->redis, "INFO commandstats");
    add(reply->str, "cmdstat_evalsha:", &sum);
    add(reply->str, "cmdstat_eval:", &sum);
    freeReplyObject(reply);
    return sum;
}

/* ------------------------------------------------------------------------------------------------------- steps -- */

static void must(const char *what, int status)
{
    if (status) bench_die("%s: %s", what, latchkey_status_text(status));
}

static void create_one(world *w, size_t i, const latchkey_field *fields, size_t count)
{
    latchkey_draft draft = {.size = sizeof draft, .user_id = w->user + i, .fields = fields, .field_count = count};
    must("create", latchkey_create(w->lk, &draft, w->token[i]));
}

static void create_plain(world *w, size_t i) { create_one(w, i, NULL, 0); }

/* As much key material as post-quantum keys have. */
static void create_large(world *w, size_t i)
{
    static uint8_t material[2400];
    const latchkey_field fields[] = {
        {"pq.mlkem768", material, 1184}, {"pq.mldsa44", material, sizeof material}, {"cart", material, 1400}};
    create_one(w, i, fields, 3);
}

/* So that a touch has something to move. */
static void age(world *w, size_t i)
{
    char command[128];
    snprintf(command, sizeof command, "PEXPIRE lk:{0}:s:%.20s 60000", w->token[i]);
    freeReplyObject(ask(w->redis, command));
}

static void touch(world *w, size_t i) { must("touch", latchkey_touch(w->lk, w->token[i], LENGTH)); }
static void revoke(world *w, size_t i) { must("revoke", latchkey_revoke(w->lk, w->token[i], LENGTH)); }

static void revoke_user(world *w, size_t i)
{
    must("revoke_user", latchkey_revoke_user(w->lk, w->user + i, NULL, 0, NULL));
}

static void rotate_by(world *w, size_t i, int64_t grace_ms)
{
    char made[LATCHKEY_TOKEN_SIZE];
    must("rotate", latchkey_rotate(w->lk, w->token[i], LENGTH, grace_ms, made));
}

static void rotate(world *w, size_t i) { rotate_by(w, i, 0); }
static void rotate_with_grace(world *w, size_t i) { rotate_by(w, i, 60000); }

static void set_field(world *w, size_t i)
{
    const latchkey_field field = {"cart", "17 apples", 9};
    must("set_fields", latchkey_set_fields(w->lk, w->token[i], LENGTH, &field, 1));
}

static void set_section(world *w, size_t i)
{
    must("section_put", latchkey_section_put(w->lk, w->token[i], LENGTH, "notes", "a text", 6));
}

static void set_access(world *w, size_t i)
{
    const latchkey_access access = {.size = sizeof access, .role = "admin"};
    must("set_access", latchkey_set_access(w->lk, w->token[i], LENGTH, &access));
}

static void empty(world *w, size_t i)
{
    (void)i;
    freeReplyObject(ask(w->redis, w->empty));
}

/* The least that a script in Lua can cost which does this: its commands, with arguments that are ready, and nothing else. */
#define ALONE                                                                                                          \
    "local c, k, b, s, till, now = redis.call, KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]\n"                          \
    "c('TIME') c('GET', b .. 'e')\n"
#define INDEXES                                                                                                        \
    "c('ZADD', b .. 'u:' .. ARGV[5], till, s) c('PEXPIREAT', b .. 'u:' .. ARGV[5], till)\n"                            \
    "c('ZADD', b .. 'a', now, s) c('PTTL', b .. 'a') return 1"
static const char touch_commands[] =
    ALONE "c('HMGET', k, 'v', 'x', 'f', 's') c('PTTL', k) c('PEXPIREAT', k, till)\n" INDEXES;
static const char create_commands[] =
    ALONE "c('EXISTS', k) c('GET', b .. 'g:' .. ARGV[5]) c('PTTL', b .. 'u:' .. ARGV[5]) c('ZCARD', b .. 'a')\n"
          "c('HSET', k, 'v', ARGV[6], 'x', ARGV[3], 'g', '0') c('PEXPIREAT', k, till)\n" INDEXES;
static const char rotate_commands[] = ALONE
    "c('HMGET', k, 'v', 'x', 'f', 's') c('EXISTS', k .. '2') c('ZCARD', b .. 'u:' .. ARGV[5]) c('ZCARD', b .. 'a')\n"
    "c('RENAME', k, k .. '2') c('HSET', k .. '2', 'v', ARGV[6]) c('PEXPIREAT', k .. '2', till) c('INCR', b .. 'q2')\n"
    "c('XADD', b .. 'r2', 'MAXLEN', '~', '1000', '*', 's', s) c('PUBLISH', b .. 'rev', s)\n"
    "c('ZREM', b .. 'u:' .. ARGV[5], s) c('ZREM', b .. 'a', s)\n" INDEXES;

static void alone(world *w, size_t i, const char *sha)
{
    static char record[185];
    char till[24], now[24], selector[24];
    memset(record, 'v', sizeof record - 1);
    snprintf(now, sizeof now, "%lld", (long long)time(NULL) * 1000);
    snprintf(till, sizeof till, "%lld", ((long long)time(NULL) + 1800) * 1000);
    snprintf(selector, sizeof selector, "%.20s", w->token[i]);
    redisReply *reply = redisCommand(w->redis, "EVALSHA %s 1 lk:{0}:s:%s lk:{0}: %s %s %s %llu %s", sha, selector,
                                     selector, till, now, (unsigned long long)(w->user + i), record);
    if (!reply || reply->type != REDIS_REPLY_INTEGER) bench_die("Redis: %s", reply ? reply->str : w->redis->errstr);
    freeReplyObject(reply);
}

static void touch_alone(world *w, size_t i) { alone(w, i, w->touch_alone); }
static void create_alone(world *w, size_t i)
{
    snprintf(w->token[i], sizeof w->token[i], "x%019llu", (unsigned long long)(w->user + i));
    alone(w, i, w->create_alone);
}
static void rotate_alone(world *w, size_t i) { alone(w, i, w->rotate_alone); }

static void load(world *w, const char *text, char sha[41])
{
    redisReply *reply = redisCommand(w->redis, "SCRIPT LOAD %s", text);
    if (!reply || reply->type != REDIS_REPLY_STRING) bench_die("Redis does not take a script");
    snprintf(sha, 41, "%s", reply->str);
    freeReplyObject(reply);
}

/* What is timed, and what has to be there before it. */
typedef struct step {
    const char *name;
    void (*make)(world *w, size_t i), (*prepare)(world *w, size_t i), (*run)(world *w, size_t i);
    double goal; /* 0: none */
    int callers; /* at once; 0: one. A call that waits for a beat would find Redis' processor asleep, and its caches cold */
    double us[MOST_ROUNDS], times[MOST_ROUNDS];
} step;

static step steps[] = {
    {.name = "an empty script", .run = empty},
    {.name = "touch", .make = create_plain, .prepare = age, .run = touch, .goal = 6},
    {.name = "create", .run = create_plain, .goal = 20},
    {.name = "create with 5 KB of fields", .run = create_large},
    {.name = "revoke", .make = create_plain, .run = revoke, .goal = 15},
    {.name = "revoke_user, one session", .make = create_plain, .run = revoke_user, .goal = 20, .callers = CALLERS},
    {.name = "rotate", .make = create_plain, .run = rotate, .goal = 25},
    {.name = "rotate with a grace", .make = create_plain, .run = rotate_with_grace, .goal = 25},
    {.name = "set_fields, one field", .make = create_plain, .run = set_field},
    {.name = "set_access (two scripts)", .make = create_plain, .run = set_access, .callers = CALLERS},
    {.name = "section_put", .make = create_plain, .run = set_section},
    {.name = "the 9 commands of a touch, nothing else", .make = create_plain, .prepare = age, .run = touch_alone},
    {.name = "the 12 of create", .run = create_alone},
    {.name = "the 18 of rotate", .make = create_plain, .run = rotate_alone},
};
enum { STEPS = sizeof steps / sizeof *steps };

typedef struct caller {
    pthread_t thread;
    world *w;
    const step *s;
    size_t from, to;
} caller;

static void *call_all(void *context)
{
    caller *c = context;
    for (size_t i = c->from; i < c->to; i++) c->s->run(c->w, i);
    return NULL;
}

static void call_together(world *w, const step *s, size_t calls)
{
    caller all[CALLERS];
    for (size_t i = 0; i < (size_t)s->callers; i++) {
        all[i] = (caller){.w = w, .s = s, .from = calls * i / CALLERS, .to = calls * (i + 1) / CALLERS};
        if (pthread_create(&all[i].thread, NULL, call_all, &all[i])) bench_die("no thread is left");
    }
    for (size_t i = 0; i < (size_t)s->callers; i++) pthread_join(all[i].thread, NULL);
}

static void run_step(world *w, step *s, int round)
{
    size_t calls = (size_t)w->calls;
    w->user += MOST_CALLS;
    for (size_t i = 0; s->make && i < calls; i++) s->make(w, i);
    for (size_t i = 0; s->prepare && i < calls; i++) s->prepare(w, i);
    spent before = of_scripts(w);
    if (s->callers) call_together(w, s, calls);
    for (size_t i = 0; !s->callers && i < calls; i++) s->run(w, i);
    spent after = of_scripts(w);
    s->us[round] = (after.us - before.us) / (double)calls;
    s->times[round] = s->us[round] / steps[0].us[round];
}

/* ------------------------------------------------------------------------------------------------------ output -- */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void sort(const world *w, step *s)
{
    qsort(s->us, (size_t)w->rounds, sizeof *s->us, by_size);
    qsort(s->times, (size_t)w->rounds, sizeof *s->times, by_size);
}

static void print_table(const world *w)
{
    size_t middle = (size_t)w->rounds / 2;
    printf(
        "| script | us of Redis a call, least | times an empty script, least by least | median of the rounds | goal |\n"
        "|---|---:|---:|---:|---:|\n");
    for (size_t i = 0; i < STEPS; i++) {
        const step *s = &steps[i];
        printf("| %s | %.2f | %.1f | %.1f | ", s->name, s->us[0], s->us[0] / steps[0].us[0], s->times[middle]);
        printf(s->goal > 0 ? "%.0f |\n" : "|\n", s->goal);
    }
}

static void write_json(world *w)
{
    bench_json json = {.first = true, .file = fopen(w->json, "w")};
    bench_info info;
    size_t middle = (size_t)w->rounds / 2;
    if (!json.file) bench_die("latchkey-bench-scripts: cannot write %s", w->json);
    bench_info_read(w->redis, &info);
    bench_json_object(&json, NULL);
    bench_json_text(&json, "benchmark", "scripts");
    bench_json_machine(&json, info.version);
    bench_json_number(&json, "calls", w->calls);
    bench_json_number(&json, "rounds", w->rounds);
    bench_json_array(&json, "scripts");
    for (size_t i = 0; i < STEPS; i++) {
        bench_json_object(&json, NULL);
        bench_json_text(&json, "name", steps[i].name);
        bench_json_number(&json, "us", steps[i].us[middle]);
        bench_json_number(&json, "us_least", steps[i].us[0]);
        bench_json_number(&json, "times_empty", steps[i].times[middle]);
        bench_json_number(&json, "times_empty_least", steps[i].us[0] / steps[0].us[0]);
        bench_json_number(&json, "goal", steps[i].goal);
        bench_json_end(&json, '}');
    }
    bench_json_end(&json, ']');
    bench_json_end(&json, '}');
    fputc('\n', json.file);
    if (fclose(json.file)) bench_die("latchkey-bench-scripts: cannot write %s", w->json);
}

/* -------------------------------------------------------------------------------------------------------- main -- */

static void read_options(world *w, int argc, char **argv)
{
    const bench_option known[] = {{"--calls", &w->calls, 100, MOST_CALLS}, {"--rounds", &w->rounds, 1, MOST_ROUNDS}};
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--help")) {
            fputs(usage, stdout);
            exit(0);
        } else if (!strcmp(argv[i], "--short")) w->calls = 200, w->rounds = 3;
        else if (!strcmp(argv[i], "--json") && i + 1 < argc) w->json = argv[++i];
        else if (!bench_option_read(known, 2, argv, &i))
            bench_die("latchkey-bench-scripts: '%s' is no option; see --help", argv[i]);
    }
}

int main(int argc, char **argv)
{
    world w = {.calls = 2000, .rounds = 7, .user = 1};
    char config[512], error[256];
    read_options(&w, argc, argv);
    w.token = bench_take(MOST_CALLS * sizeof *w.token);
    w.server = bench_server_start(false);
    w.redis = bench_server_connect(w.server);
    snprintf(config, sizeof config, "%s?partitions=1&deadline_ms=10000&connections=16",
             bench_server_unix_url(w.server));
    if (latchkey_open(config, &w.lk, error, sizeof error)) bench_die("latchkey_open: %s", error);
    char sha[41];
    load(&w, "return 1", sha);
    snprintf(w.empty, sizeof w.empty, "EVALSHA %s 0", sha);
    load(&w, touch_commands, w.touch_alone);
    load(&w, create_commands, w.create_alone);
    load(&w, rotate_commands, w.rotate_alone);
    for (int round = 0; round < (int)w.rounds; round++)
        for (size_t i = 0; i < STEPS; i++) {
            run_step(&w, &steps[i], round);
            bench_progress("scripts", round * (double)STEPS + (double)i + 1, w.rounds * (double)STEPS);
        }
    bench_progress_end();
    for (size_t i = 0; i < STEPS; i++) sort(&w, &steps[i]);
    print_table(&w);
    if (w.json) write_json(&w);
    latchkey_close(w.lk);
    bench_server_stop(w.server);
    free(w.token);
    return 0;
}
