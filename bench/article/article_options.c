/* SPDX-License-Identifier: MIT
 *
 * The command line of the read/write benchmark. See article.h.
 */
#include "article.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: latchkey-bench-article [options]\n"
    "  --json FILE          where the figures go (default: article.json)\n"
    "  --sessions N         sessions that exist (100000)\n"
    "  --l1-capacity N      entries of the larger L1 (one for each session, at least 100000)\n"
    "  --record KIND        real: key material of real sizes; article: the article's 4,493 bytes (real)\n"
    "  --skew S             Zipf exponent of the access (0.99)\n"
    "  --threads N          client threads (twice the cores, 2 to 16)\n"
    "  --rate R             requests a second, paced, in every column (a third of what plain GETs reach)\n"
    "  --article-rate R     requests a second, paced, in the columns with an L1 (50000)\n"
    "  --seconds S          length of each measured phase (4)\n"
    "  --steady-seconds S   length of each run at the article's rate, cold start included (6 l1_ttl_ms)\n"
    "  --l1-ttl-ms N        (the article's 30 s, scaled with the sessions)\n"
    "  --idle-ms N          (the article's 30 minutes, scaled with the sessions, at least 3 minutes)\n"
    "  --prewarm N          sessions to prewarm (10000, at most a tenth of the sessions)\n"
    "  --revocations N      sessions revoked with a second instance watching (500)\n"
    "  --unix               Redis on a unix socket rather than on 127.0.0.1\n"
    "  --repeat N           everything N times (1)\n"
    "  --seed N             of all random choices (1)\n"
    "  --short              2,000 sessions and short phases: for continuous integration, not for figures\n"
    "  --help\n";

static void make_short(article_options *o)
{
    o->short_run = true;
    o->sessions = 2000;
    o->article_rate = 5000;
    o->warm_s = 0.1;
    o->seconds = 0.3;
    o->steady_s = 1;
    o->revocations = 50;
}

/* The times of the scale model; not below what a slow machine needs to get through before sessions idle out. */
static void finish(article_options *o)
{
    double scale = o->sessions / 1e6 * (50000 / o->article_rate);
    if (o->l1_ttl_ms == 0) o->l1_ttl_ms = floor(fmin(fmax(30000 * scale, 500), 3600000));
    if (o->idle_ms == 0) o->idle_ms = floor(fmin(fmax(1800000 * scale, 180000), 43200000));
    /* So many entries must have run out, and idle times been moved, that the second half is a steady state. */
    if (o->steady_s == 0) o->steady_s = 6 * o->l1_ttl_ms / 1000;
    o->curve_s = o->steady_s * 0.4;
    if (o->l1_capacity == 0) o->l1_capacity = fmax(o->sessions, 100000);
    if (o->prewarm > o->sessions / 10) o->prewarm = floor(o->sessions / 10);
}

void options_read(int count, char **arguments, article_options *o)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    *o = (article_options){.json_path = "article.json",
                           .sessions = 100000,
                           .prewarm = 10000,
                           .skew = 0.99,
                           .article_rate = 50000,
                           .warm_s = 0.5,
                           .seconds = 4,
                           /* More than cores, because most of them wait for Redis most of the time. */
                           .threads = cores < 1   ? 2
                                      : cores > 8 ? 16
                                                  : (double)cores * 2,
                           .repeat = 1,
                           .revocations = 500,
                           .seed = 1,
                           .tcp = true};
    const bench_option numbers[] = {{"--sessions", &o->sessions, 100, 50e6},
                                    {"--l1-capacity", &o->l1_capacity, 10, 100e6},
                                    {"--skew", &o->skew, 0, 3},
                                    {"--threads", &o->threads, 1, 256},
                                    {"--rate", &o->rate, 10, 1e7},
                                    {"--article-rate", &o->article_rate, 10, 1e7},
                                    {"--seconds", &o->seconds, 0.2, 3600},
                                    {"--steady-seconds", &o->steady_s, 0.4, 3600},
                                    {"--l1-ttl-ms", &o->l1_ttl_ms, 100, 3600000},
                                    {"--idle-ms", &o->idle_ms, 1000, 43200000},
                                    {"--prewarm", &o->prewarm, 1, 50e6},
                                    {"--revocations", &o->revocations, 1, 1e6},
                                    {"--repeat", &o->repeat, 1, 100},
                                    {"--seed", &o->seed, 0, 1e15}};
    for (int i = 1; i < count; i++) /* first, so that what else is given holds wherever it stands */
        if (strcmp(arguments[i], "--short") == 0) make_short(o);
    for (int i = 1; i < count; i++) {
        const char *name = arguments[i], *value = i + 1 < count ? arguments[i + 1] : NULL;
        if (bench_option_read(numbers, sizeof numbers / sizeof *numbers, arguments, &i)) continue;
        if (strcmp(name, "--json") == 0 && value) {
            o->json_path = value;
            i++;
        } else if (strcmp(name, "--record") == 0 && value && (!strcmp(value, "real") || !strcmp(value, "article"))) {
            o->article_record = *value == 'a';
            i++;
        } else if (strcmp(name, "--unix") == 0) {
            o->tcp = false;
        } else if (strcmp(name, "--short") == 0) {
            continue;
        } else if (strcmp(name, "--help") == 0) {
            fputs(usage, stdout);
            exit(0);
        } else {
            bench_die("what is '%s'?\n%s", name, usage);
        }
    }
    finish(o);
}

void options_json(bench_json *json, const article_options *o)
{
    bench_json_object(json, "options");
    bench_json_number(json, "sessions", o->sessions);
    bench_json_number(json, "l1_capacity", o->l1_capacity);
    bench_json_number(json, "small_capacity", floor(o->sessions / 10));
    bench_json_text(json, "record", o->article_record ? "article" : "real");
    bench_json_number(json, "record_bytes", (double)record_size(o));
    bench_json_number(json, "skew", o->skew);
    bench_json_number(json, "article_rate", o->article_rate);
    bench_json_number(json, "seconds", o->seconds);
    bench_json_number(json, "steady_s", o->steady_s);
    bench_json_number(json, "threads", o->threads);
    bench_json_number(json, "l1_ttl_ms", o->l1_ttl_ms);
    bench_json_number(json, "idle_ms", o->idle_ms);
    bench_json_number(json, "seed", o->seed);
    bench_json_text(json, "transport", o->tcp ? "loopback TCP" : "unix socket");
    bench_json_flag(json, "short", o->short_run);
    bench_json_end(json, '}');
}
