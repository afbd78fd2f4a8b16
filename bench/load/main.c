/* SPDX-License-Identifier: MIT
 *
 * latchkey-bench-server: options, and which part runs when. See parts.h.
 */
#include "parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const part_names[PARTS] = {"miss", "steady", "outage", "cold", "flood"};

static const char usage[] =
    "usage: latchkey-bench-server [PART...] [options]\n"
    "\n"
    "What a server sees of latchkey, on a Redis of its own. Without a PART all of them, some seven minutes:\n"
    "  miss                  latchkey_validate without L1, and submit and reap, beside bare hiredis\n"
    "  steady                the article's load on an L1 of all\n"
    "  outage                Redis killed under load, and back with its data\n"
    "  cold                  ten instances cold at once\n"
    "  flood                 tokens without a session\n"
    "\n"
    "  --json FILE           where the figures go (server.json); report.py makes tables and plots of it\n"
    "  --sessions N          sessions that exist (100000)\n"
    "  --threads N           client threads where nothing else is said (twice the cores, 2 to 16)\n"
    "  --repeat N            how often each miss is measured (3)\n"
    "  --cell-seconds S      each time so long (1)\n"
    "  --rate R              requests a second in the steady state (50000)\n"
    "  --steady-seconds S    its length, warming included (6 l1_ttl_ms)\n"
    "  --l1-ttl-ms N         in the steady state (the article's 30 s, scaled with the sessions: 3000)\n"
    "  --outage-rate R       requests a second while Redis is killed (20000)\n"
    "  --down-seconds S      how long it is away (20)\n"
    "  --after-seconds S     how long it is watched when it is back (35)\n"
    "  --cold-seconds S      each of the two cold starts (12)\n"
    "  --tokens N            in each flood (1000000)\n"
    "  --seed N              of all random choices (1)\n"
    "  --short               2,000 sessions, short phases: for continuous integration, not for figures\n"
    "  --help\n"
    "\n"
    "Exit status 1: an answer was wrong, or a promise was broken; standard error says which.\n";

static void make_short(settings *s)
{
    s->short_run = true;
    s->sessions = 2000;
    s->repeat = 1;
    s->cell_s = 0.1;
    s->rate = 5000;
    s->steady_s = 1;
    s->outage_rate = 2000;
    s->settle_s = 1;
    s->before_s = 0.5;
    s->down_s = 2;
    s->after_s = 2;
    s->cold_s = 1;
    s->tokens = 20000;
    s->beside_s = 0.3;
}

static bool name_part(settings *s, const char *name)
{
    for (int i = 0; i < PARTS; i++)
        if (strcmp(name, part_names[i]) == 0) return s->parts[i] = true;
    return false;
}

static void settings_read(int count, char **arguments, settings *s)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    bool named = false;
    *s = (settings){.json_path = "server.json",
                    .sessions = 100000,
                    .threads = fmin(fmax((double)cores * 2, 2), 16),
                    .repeat = 3,
                    .seed = 1,
                    .cell_s = 1,
                    .rate = 50000,
                    .outage_rate = 20000,
                    .settle_s = 30,
                    .before_s = 5,
                    .down_s = 20,
                    .after_s = 35,
                    .cold_s = 12,
                    .tokens = 1000000,
                    .flood_s = 40,
                    .beside_s = 2};
    const bench_option numbers[] = {{"--sessions", &s->sessions, 100, 50e6},
                                    {"--threads", &s->threads, 1, 64},
                                    {"--repeat", &s->repeat, 1, 25},
                                    {"--cell-seconds", &s->cell_s, 0.05, 600},
                                    {"--rate", &s->rate, 10, 1e7},
                                    {"--steady-seconds", &s->steady_s, 0.5, 3600},
                                    {"--outage-rate", &s->outage_rate, 10, 1e7},
                                    {"--down-seconds", &s->down_s, 0.1, 3600},
                                    {"--after-seconds", &s->after_s, 1, 3600},
                                    {"--cold-seconds", &s->cold_s, 0.5, 3600},
                                    {"--l1-ttl-ms", &s->l1_ttl_ms, 100, 3600000},
                                    {"--tokens", &s->tokens, 100, 100e6},
                                    {"--seed", &s->seed, 0, 1e15}};
    for (int i = 1; i < count; i++) /* first, so that what else is given holds wherever it stands */
        if (strcmp(arguments[i], "--short") == 0) make_short(s);
    for (int i = 1; i < count; i++) {
        if (bench_option_read(numbers, sizeof numbers / sizeof *numbers, arguments, &i)) continue;
        if (strcmp(arguments[i], "--help") == 0) fputs(usage, stdout), exit(0);
        if (strcmp(arguments[i], "--short") == 0) continue;
        if (strcmp(arguments[i], "--json") == 0 && i + 1 < count) s->json_path = arguments[++i];
        else if (name_part(s, arguments[i])) named = true;
        else bench_die("what is '%s'?\n%s", arguments[i], usage);
    }
    for (int i = 0; i < PARTS && !named; i++) s->parts[i] = true;
    /* The scale model of the read/write table. */
    double scale = s->sessions / 1e6 * (50000 / s->rate);
    if (s->l1_ttl_ms == 0) s->l1_ttl_ms = floor(fmax(30000 * scale, 500));
    if (s->steady_s == 0) s->steady_s = 6 * s->l1_ttl_ms / 1000;
    s->idle_ms = floor(fmax(1800000 * scale, 180000));
}

static void settings_json(bench_json *json, const settings *s)
{
    bench_json_object(json, "options");
    bench_json_number(json, "sessions", s->sessions);
    bench_json_number(json, "threads", s->threads);
    bench_json_number(json, "repeat", s->repeat);
    bench_json_number(json, "cell_s", s->cell_s);
    bench_json_number(json, "rate", s->rate);
    bench_json_number(json, "seed", s->seed);
    bench_json_text(json, "transport", "loopback TCP");
    bench_json_flag(json, "short", s->short_run);
    bench_json_end(json, '}');
}

/* -------------------------------------------------------------------------------------------------- parts -- */

static void part(bench_json *json, const settings *s, enum part which, stage *st)
{
    if (!s->parts[which]) return;
    bench_json_object(json, part_names[which]);
    switch (which) {
    case MISS: miss_run(json, s, st); break;
    case STEADY: steady_run(json, s, st); break;
    case OUTAGE: outage_run(json, s, st); break;
    case COLD: cold_run(json, s, st); break;
    case FLOOD: flood_run(json, s, st); break;
    case PARTS: break;
    }
    bench_json_end(json, '}');
}

/* Two parts on sessions made once. The article's TTL and idle time shrink with the sessions, as in the read/write
 * table; elsewhere nothing is to run out or be moved. */
static void parts(bench_json *json, const settings *s, enum part one_part, enum part other, double ttl_ms,
                  double idle_ms)
{
    if (!s->parts[one_part] && !s->parts[other]) return;
    stage *st = stage_make(s, one_part == OUTAGE, ttl_ms, idle_ms);
    part(json, s, one_part, st);
    if (other != one_part) {
        stage_list(st); /* the first may have logged in and out */
        part(json, s, other, st);
    }
    stage_free(st);
}

int main(int count, char **arguments)
{
    settings s;
    settings_read(count, arguments, &s);
    bench_json json = {.file = fopen(s.json_path, "w"), .first = true};
    if (json.file == NULL) bench_die("cannot write %s", s.json_path);
    uint64_t began = bench_now_ns();

    bench_json_object(&json, NULL);
    bench_json_text(&json, "benchmark", "server");
    bench_server *server = bench_server_start(true);
    bench_json_machine(&json, info_of(server).version);
    bench_server_stop(server);
    settings_json(&json, &s);
    parts(&json, &s, MISS, FLOOD, 30000, HALF_A_DAY_MS);
    parts(&json, &s, STEADY, COLD, s.l1_ttl_ms, s.idle_ms);
    parts(&json, &s, OUTAGE, OUTAGE, 30000, HALF_A_DAY_MS);
    double took_s = (double)(bench_now_ns() - began) / 1e9;
    bench_json_number(&json, "took_s", took_s);
    bench_json_number(&json, "wrong", (double)wrong_answers());
    bench_json_end(&json, '}');
    if (fclose(json.file) != 0) bench_die("cannot write %s", s.json_path);
    printf("%s: %s, in %.0f s\n", s.json_path,
           wrong_answers() ? "WRONG ANSWERS, see above" : "every answer was the right one", took_s);
    return wrong_answers() ? 1 : 0;
}
