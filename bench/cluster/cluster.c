/* SPDX-License-Identifier: MIT
 *
 * latchkey-bench-cluster: a server alone and Redis Clusters, in one run: hits, misses, logins, revocations, and what an
 * instance costs each primary. run.py starts the servers.
 */
#include "setup.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "latchkey-bench-cluster [OPTIONS] --setup NAME PRIMARIES PORT,PORT,... [--setup ...]\n"
    "\n"
    "Measures servers on 127.0.0.1 that stand there already, the primaries' ports first. PRIMARIES 0: a server alone. "
    "The\n"
    "first setup is what the others are compared with. They are filled, and not emptied: run.py starts some for it.\n"
    "\n"
    "  --short      some seconds\n"
    "  --rounds N   of which the median counts (7)\n"
    "  --window N   seconds of each count of commands (8)\n"
    "  --json FILE  write the figures there\n"
    "  --help       this\n";

static void add_setup(plan *p, char **words)
{
    if (p->count == SETUPS_MAX) bench_die("latchkey-bench-cluster: at most %d setups", SETUPS_MAX);
    setup *s = &p->setups[p->count++];
    s->name = words[0];
    s->primaries = (int)bench_number("--setup", words[1], 0, NODES_MAX);
    setup_connect(s, words[2]);
}

static void read_options(plan *p, int argc, char **argv)
{
    const bench_option known[] = {{"--rounds", &p->rounds, 1, MOST_ROUNDS}, {"--window", &p->window_s, 1, 600}};
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--help")) {
            fputs(usage, stdout);
            exit(0);
        } else if (!strcmp(argv[i], "--short")) {
            p->sessions = 200, p->rounds = 2, p->window_s = 1, p->settle_s = 0;
            p->misses = 1600, p->logins = 400, p->revocations = 50;
        } else if (!strcmp(argv[i], "--json") && i + 1 < argc) p->json = argv[++i];
        else if (!strcmp(argv[i], "--setup") && i + 3 < argc) add_setup(p, argv + i + 1), i += 3;
        else if (!bench_option_read(known, 2, argv, &i))
            bench_die("latchkey-bench-cluster: '%s' is no option; see --help", argv[i]);
    }
    if (!p->count) bench_die("latchkey-bench-cluster: --setup is missing; see --help");
}

/* ------------------------------------------------------------------------------------------------------ output -- */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median, least and most. */
static void write_rounds(bench_json *json, const plan *p, const char *key, double *values)
{
    size_t count = (size_t)p->rounds;
    qsort(values, count, sizeof *values, by_size);
    bench_json_row(json, key);
    bench_json_number(json, NULL, values[count / 2]);
    bench_json_number(json, NULL, values[0]);
    bench_json_number(json, NULL, values[count - 1]);
    bench_json_end(json, ']');
}

static void write_setup(bench_json *json, const plan *p, setup *s)
{
    bench_json_object(json, NULL);
    bench_json_text(json, "name", s->name);
    bench_json_number(json, "primaries", s->primaries);
    bench_json_number(json, "nodes", s->nodes);
    write_rounds(json, p, "hit_ns", s->hit_ns);
    write_rounds(json, p, "hit_times", s->hit_times);
    write_rounds(json, p, "misses_per_s", s->misses_per_s);
    write_rounds(json, p, "miss_us", s->miss_us);
    write_rounds(json, p, "logins_per_s", s->logins_per_s);
    write_rounds(json, p, "login_us", s->login_us);
    write_rounds(json, p, "session_bytes", s->session_bytes);
    for (int at = 0; at < DEPTHS; at++) {
        char key[40];
        snprintf(key, sizeof key, "loop_%d_per_s", measure_depths[at]);
        write_rounds(json, p, key, s->loop_per_s[at]);
        snprintf(key, sizeof key, "loop_%d_wakes", measure_depths[at]);
        write_rounds(json, p, key, s->loop_wakes[at]);
    }
    bench_json_histogram(json, "revoke", &s->revoke, false);
    bench_json_histogram(json, "refusal", &s->refusal, false);
    const struct {
        const char *key;
        double value;
    } figures[] = {
        {"revoke_commands", s->revoke_commands},
        {"revoke_published", s->revoke_published},
        {"revoke_cpu_us", s->revoke_cpu_us},
        {"heard_us", s->heard_us},
        {"quiet_cpu_us", s->quiet_cpu_us},
        {"gossip", s->gossip},
        {"idle_commands", s->idle_commands},
        {"awake_commands", s->awake_commands},
        {"awake_cpu_us", s->awake_cpu_us},
        {"awake_published", s->awake_published},
        {"idle_cpu_us", s->idle_cpu_us},
        {"busy_commands", s->busy_commands},
        {"busy_cpu_us", s->busy_cpu_us},
        {"idle_connections", s->idle_connections},
        {"busy_connections", s->busy_connections},
        {"threads", s->threads},
        {"fds", s->fds},
    };
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
        bench_json_number(json, figures[i].key, figures[i].value);
    bench_json_end(json, '}');
}

static void write_json(plan *p)
{
    bench_json json = {.first = true, .file = fopen(p->json, "w")};
    bench_info info;
    double load;
    if (!json.file) bench_die("latchkey-bench-cluster: cannot write %s", p->json);
    bench_info_read(p->setups[0].node[0], &info);
    bench_json_object(&json, NULL);
    bench_json_text(&json, "benchmark", "cluster");
    bench_json_machine(&json, info.version);
    bench_json_number(&json, "load", getloadavg(&load, 1) == 1 ? load : 0);
    bench_json_number(&json, "rounds", p->rounds);
    bench_json_number(&json, "window_s", p->window_s);
    bench_json_number(&json, "callers", CALLERS);
    bench_json_number(&json, "crowd", CROWD);
    bench_json_number(&json, "revocations", p->revocations);
    bench_json_array(&json, "setups");
    for (int i = 0; i < p->count; i++) write_setup(&json, p, &p->setups[i]);
    bench_json_end(&json, ']');
    bench_json_end(&json, '}');
    fputc('\n', json.file);
    if (fclose(json.file)) bench_die("latchkey-bench-cluster: cannot write %s", p->json);
}

int main(int argc, char **argv)
{
    static plan p = {.sessions = 1000,
                     .rounds = 7,
                     .misses = 16000,
                     .logins = 4000,
                     .revocations = 1000,
                     .window_s = 8,
                     .settle_s = 11};
    read_options(&p, argc, argv);
    measure_all(&p);
    if (p.json) write_json(&p);
    for (int i = 0; i < p.count; i++)
        for (int node = 0; node < p.setups[i].nodes; node++) redisFree(p.setups[i].node[node]);
    return 0;
}
