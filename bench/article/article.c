/* SPDX-License-Identifier: MIT
 *
 * The read/write table: sessions in Redis, read about 278 times for each time they are written, with and without
 * latchkey before it.
 *
 *     yardsticks
 *     plain GET        load strings, closed loop, paced
 *     GET and EXPIRE   the same, with idle time kept; then the server is emptied by starting another
 *     latchkey         make sessions one by one, then with
 *       no L1            closed loop, paced
 *       L1 of all        cold at the article's rate (hit rate over time, steady state), paced, closed loop; a hit alone
 *       L1 of a tenth    the same
 *     prewarming       its time; hit rate over time with it
 *     revocation       two instances
 *
 * A scale model. The article has 1M sessions, 50,000 requests a second, entries that live 30 s in L1, sessions that
 * idle out in 30 minutes. With fewer sessions at the same rate each is used more often, and an L1 looks better than
 * it is. So both times shrink with the sessions: within one l1_ttl_ms each session is asked for 1.5 times on average,
 * as there. --sessions 1000000 is the original.
 */
#include "article.h"

#include <getopt.h>
#include <hiredis/hiredis.h>
#include <malloc.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ------------------------------------------------------------------------------------------------- a phase -- */

static uint64_t wrong; /* over all phases */

static result *phase(bench_json *json, const char *name, const char *key, world *w, latchkey *lk,
                     const bench_server *server, const article_options *o, double rate, double skip_s, double seconds)
{
    result *r = clients_run(name, w, lk, server, o, rate, skip_s, seconds);
    double all = (double)(r->stats.l1_hits + r->stats.l1_misses);
    printf("%-44s %9.0f req/s  p50 %8.1f  p99 %8.1f  p99.9 %8.1f us", name, (double)r->counted.reads / r->seconds,
           bench_histogram_quantile(&r->validate, 0.5) / 1e3, bench_histogram_quantile(&r->validate, 0.99) / 1e3,
           bench_histogram_quantile(&r->validate, 0.999) / 1e3);
    if (r->stats.l1_capacity) printf("  hits %5.1f%%", all > 0 ? 100 * (double)r->stats.l1_hits / all : 0);
    printf("\n");
    fflush(stdout);
    snprintf(r->name, sizeof r->name, "%s", key);
    result_json(json, r);
    wrong += r->counted.wrong;
    return r;
}

/* ------------------------------------------------------------------------------------------------- columns -- */

static void memory_json(bench_json *json, const bench_server *server, const char *pattern, double growth, size_t count)
{
    bench_json_number(json, "redis_key_bytes", probe_key_bytes(server, pattern));
    bench_json_number(json, "redis_bytes_per_session", growth / (double)count);
}

static bench_info info_now(const bench_server *server)
{
    redisContext *redis = bench_server_connect(server);
    bench_info info;
    bench_info_read(redis, &info);
    redisFree(redis);
    return info;
}

/* A GET alone keeps no idle time. */
static void expires_column(bench_json *json, world *w, const bench_server *server, const article_options *o,
                           double rate)
{
    article_options with = *o;
    with.plain_expires = true;
    bench_json_object(json, "plain_expires");
    result_free(phase(json, "GET and EXPIRE, closed loop", "closed", w, NULL, server, &with, 0, o->warm_s, o->seconds));
    result_free(phase(json, "GET and EXPIRE, paced", "paced", w, NULL, server, &with, rate, o->warm_s, o->seconds));
    bench_json_end(json, '}');
}

/* Returns the rate at which every column is paced. */
static double plain_column(bench_json *json, const article_options *o)
{
    bench_server *server = bench_server_start(o->tcp);
    bench_json_object(json, "yardsticks");
    probe_yardsticks(json, server, o);
    bench_json_end(json, '}');
    double before = info_now(server).memory_bytes;
    world *w = world_make(o, NULL, server);
    bench_json_object(json, "plain");
    memory_json(json, server, "sess:*", info_now(server).memory_bytes - before, w->count);
    probe_harness(json, w, o);
    result *closed = phase(json, "plain GET, closed loop", "closed", w, NULL, server, o, 0, o->warm_s, o->seconds);
    /* A third: at half, the waiting that this generator and Redis cause each other on two shared cores was most of
     * what was measured. Two digits are enough. */
    double rate = o->rate, reached = (double)closed->counted.reads / closed->seconds / 3;
    double step = pow(10, floor(log10(fmax(reached, 10))) - 1);
    if (rate == 0) rate = fmax(floor(reached / step) * step, 10);
    result_free(closed);
    result_free(phase(json, "plain GET, paced", "paced", w, NULL, server, o, rate, o->warm_s, o->seconds));
    bench_json_end(json, '}');
    expires_column(json, w, server, o, rate);
    world_free(w);
    bench_server_stop(server);
    return rate;
}

static void no_l1_column(bench_json *json, world *w, const bench_server *server, const article_options *o, double rate)
{
    latchkey *lk = open_latchkey(server, o, 0);
    bench_json_object(json, "no_l1");
    result_free(phase(json, "latchkey, no L1, closed loop", "closed", w, lk, server, o, 0, o->warm_s, o->seconds));
    result_free(phase(json, "latchkey, no L1, paced", "paced", w, lk, server, o, rate, o->warm_s, o->seconds));
    bench_json_end(json, '}');
    latchkey_close(lk);
}

static void l1_column(bench_json *json, const char *key, const char *label, size_t capacity, world *w,
                      const bench_server *server, const article_options *o, double rate)
{
    char name[96];
    latchkey *lk = open_latchkey(server, o, capacity);
    bench_json_object(json, key);
    bench_json_number(json, "capacity", (double)capacity);
    snprintf(name, sizeof name, "latchkey, %s, article's rate", label);
    double measured_s = o->steady_s * 0.4;
    result *steady =
        phase(json, name, "steady", w, lk, server, o, o->article_rate, o->steady_s - measured_s, measured_s);
    probe_memory_read(json, (size_t)steady->stats.l1_bytes);
    result_free(steady);
    snprintf(name, sizeof name, "latchkey, %s, paced", label);
    result_free(phase(json, name, "paced", w, lk, server, o, rate, o->warm_s, o->seconds));
    snprintf(name, sizeof name, "latchkey, %s, closed loop", label);
    result_free(phase(json, name, "closed", w, lk, server, o, 0, o->warm_s, o->seconds));
    latchkey_close(lk);
    probe_hit(json, server, w, o, capacity);
    bench_json_end(json, '}');
}

static void prewarmed(bench_json *json, world *w, const bench_server *server, const article_options *o)
{
    probe_prewarm(json, server, o);
    latchkey *lk = open_latchkey(server, o, (size_t)o->l1_capacity);
    size_t loaded;
    int status = latchkey_prewarm(lk, (size_t)o->prewarm, &loaded);
    if (status != LATCHKEY_OK) fprintf(stderr, "prewarm: %s\n", latchkey_status_text(status));
    bench_json_object(json, "prewarmed");
    bench_json_number(json, "loaded", (double)loaded);
    result_free(
        phase(json, "latchkey, prewarmed, article's rate", "run", w, lk, server, o, o->article_rate, 0, o->curve_s));
    bench_json_end(json, '}');
    latchkey_close(lk);
}

/* What a process that kept whole records in memory would spend on one, without any table around it. */
static double in_process_bytes(const article_options *o)
{
    void *record = malloc(LATCHKEY_TOKEN_LENGTH + record_size(o));
    double bytes = (double)malloc_usable_size(record) + sizeof(size_t);
    free(record);
    return bytes;
}

static void run_once(bench_json *json, article_options *o)
{
    bench_json_object(json, NULL);
    double rate = o->rate = plain_column(json, o); /* kept, so that repetitions can be compared */
    bench_json_number(json, "rate", rate);

    bench_server *server = bench_server_start(o->tcp);
    latchkey *lk = open_latchkey(server, o, 0);
    double before = info_now(server).memory_bytes;
    world *w = world_make(o, lk, server);
    latchkey_close(lk);
    bench_json_object(json, "created");
    bench_json_number(json, "seconds", w->load_s);
    bench_json_histogram(json, "create", w->create_ns, false);
    memory_json(json, server, "lk:*:s:*", info_now(server).memory_bytes - before, w->count);
    bench_json_number(json, "in_process_bytes", in_process_bytes(o));
    bench_json_end(json, '}');

    probe_script_commands(json, server, o);
    no_l1_column(json, w, server, o, rate);
    /* L1 of all first: while it warms, the idle times of all sessions, made together, fall due together. */
    l1_column(json, "l1_all", "L1 of all", (size_t)o->l1_capacity, w, server, o, rate);
    l1_column(json, "l1_tenth", "L1 of a tenth", (size_t)(o->sessions / 10), w, server, o, rate);
    prewarmed(json, w, server, o);
    probe_revocation(json, server, o);
    bench_json_end(json, '}');
    world_free(w);
    bench_server_stop(server);
}

int main(int count, char **arguments)
{
    article_options o;
    options_read(count, arguments, &o);

    bench_json json = {.file = fopen(o.json_path, "w"), .first = true};
    if (json.file == NULL) bench_die("cannot write %s", o.json_path);
    bench_json_object(&json, NULL);
    bench_json_text(&json, "benchmark", "article");
    char command[1024] = "latchkey-bench-article";
    for (int i = 1; i < count; i++) {
        if (strcmp(arguments[i], "--json") == 0) i++;
        else snprintf(command + strlen(command), sizeof command - strlen(command), " %s", arguments[i]);
    }
    bench_json_text(&json, "command", command);

    bench_server *server = bench_server_start(o.tcp);
    bench_json_machine(&json, info_now(server).version);
    bench_server_stop(server);
    options_json(&json, &o);
    bench_json_number(&json, "top_tenth_share",
                      bench_zipf_top_share((uint64_t)o.sessions, o.skew, (uint64_t)(o.sessions / 10)));
    bench_json_number(&json, "article_top_share", bench_zipf_top_share(1000000, o.skew, 100000));
    bench_json_array(&json, "runs");
    for (int i = 0; i < o.repeat; i++) run_once(&json, &o);
    bench_json_end(&json, ']');
    bench_json_number(&json, "wrong", (double)wrong);
    bench_json_end(&json, '}');
    if (fclose(json.file) != 0) bench_die("cannot write %s", o.json_path);
    printf("%s: %s\n", o.json_path, wrong ? "WRONG ANSWERS, see above" : "every answer was the right one");
    return wrong ? 1 : 0;
}
