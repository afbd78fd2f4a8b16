/* SPDX-License-Identifier: MIT
 *
 * Redis, L1 and the answers given, over time. See parts.h. Rows hold totals; who reads them takes differences. Redis'
 * commands begin anew where it was restarted, and are unknown while it is away.
 */
#include "parts.h"

#include <hiredis/hiredis.h>
#include <math.h>
#include <stdlib.h>

enum { COLUMNS = 7 };
static const char *const columns[COLUMNS] = {"at_s", "answered", "refused", "commands", "hits", "misses", "stale"};

enum { SPARE_S = 120 }; /* it may take longer than expected; beyond that nothing is written down */

struct series {
    const char *what;
    double expected_s;
    const bench_server *server;
    redisContext *redis;
    latchkey *const *handles;
    drive *drive;
    int handle_count;
    uint64_t began_ns, due_ns, own; /* own: INFOs asked so far of this start of the server */
    double (*rows)[COLUMNS];
    size_t count, room;
};

series *series_start(const char *what, const bench_server *server, latchkey *const *handles, int handle_count,
                     double expected_s)
{
    series *s = bench_take(sizeof *s);
    s->server = server;
    s->redis = bench_server_connect(server);
    s->handles = handles;
    s->handle_count = handle_count;
    s->began_ns = s->due_ns = bench_now_ns();
    s->what = what;
    s->expected_s = expected_s;
    s->room = (size_t)((expected_s + SPARE_S) * 1000 / TICK_MS);
    s->rows = bench_take(s->room * sizeof *s->rows);
    return s;
}

void series_watch(series *s, drive *d) { s->drive = d; }
double series_now_s(const series *s) { return (double)(bench_now_ns() - s->began_ns) / 1e9; }

static double commands_now(series *s)
{
    bench_info info;
    if (s->redis->err && redisReconnect(s->redis) != REDIS_OK) return NAN;
    if (!bench_info_try(s->redis, &info)) {
        s->own = 0;
        return NAN;
    }
    double commands = info.commands - (double)s->own++;
    return info.loading ? NAN : commands;
}

void series_step(series *s)
{
    uint64_t now = bench_now_ns(), answered = 0, refused = 0;
    latchkey_stats sum = {0}, stats;
    if (now < s->due_ns || s->count == s->room) return;
    s->due_ns += TICK_MS * 1000000u;
    if (s->due_ns < now) s->due_ns = now; /* late: no rows in a rush */
    if (s->drive) drive_totals(s->drive, &answered, &refused);
    for (int i = 0; i < s->handle_count; i++) {
        if (latchkey_stats_read(s->handles[i], &stats, sizeof stats) != LATCHKEY_OK) bench_die("no statistics");
        sum.l1_hits += stats.l1_hits, sum.l1_misses += stats.l1_misses, sum.stale += stats.stale;
    }
    const double row[COLUMNS] = {(double)(now - s->began_ns) / 1e9,
                                 (double)answered,
                                 (double)refused,
                                 commands_now(s),
                                 (double)sum.l1_hits,
                                 (double)sum.l1_misses,
                                 (double)sum.stale};
    for (int i = 0; i < COLUMNS; i++) s->rows[s->count][i] = row[i];
    s->count++;
}

void series_until(series *s, double at_s)
{
    while (series_now_s(s) < at_s) {
        uint64_t end = s->began_ns + (uint64_t)(at_s * 1e9);
        bench_sleep_until_ns(end < s->due_ns ? end : s->due_ns);
        series_step(s);
        bench_progress(s->what, series_now_s(s), s->expected_s);
    }
}

void series_json(bench_json *json, const char *key, const series *s)
{
    bench_json_object(json, key);
    bench_json_row(json, "columns");
    for (int i = 0; i < COLUMNS; i++) bench_json_text(json, NULL, columns[i]);
    bench_json_end(json, ']');
    bench_json_array(json, "rows");
    for (size_t row = 0; row < s->count; row++) {
        bench_json_row(json, NULL);
        for (int i = 0; i < COLUMNS; i++) bench_json_number(json, NULL, s->rows[row][i]);
        bench_json_end(json, ']');
    }
    bench_json_end(json, ']');
    bench_json_end(json, '}');
}

void series_free(series *s)
{
    redisFree(s->redis);
    free(s->rows);
    free(s);
}
