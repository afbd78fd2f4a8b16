/* SPDX-License-Identifier: MIT
 *
 * Redis is killed under load and comes back with its data. See parts.h.
 *
 * Idle times are not moved here (sessions of half a day): what Redis is asked is misses, beats, and what recovery costs.
 */
#include "parts.h"

#include <stdlib.h>

enum { BEFORE, DOWN, FIRST, AFTER, PHASES };
static const char *const phase_names[PHASES] = {"before", "down", "first_second", "after"};

typedef struct moments {
    double phase_s[PHASES + 1]; /* when each phase began, and the end of the last */
    double launched_s;
    double first_answer_s; /* the first that Redis stood behind; below 0: none came */
} moments;

static void enter(drive *d, series *at, moments *m, int phase)
{
    drive_phase(d, phase);
    m->phase_s[phase] = series_now_s(at);
}

/* Loads its file; until then it answers LOADING. */
static void wait_for_server(bench_server *server, series *at)
{
    bench_server_launch(server);
    for (uint64_t began = bench_now_ns(); bench_server_waits(server, began + 60000000000u);) {
        series_step(at);
        bench_sleep_until_ns(bench_now_ns() + 2000000u);
    }
}

static moments run_through(const settings *s, stage *st, series *at, drive *d)
{
    moments m = {0};
    series_until(at, s->settle_s);
    enter(d, at, &m, BEFORE);
    series_until(at, m.phase_s[BEFORE] + s->before_s);
    enter(d, at, &m, DOWN);
    bench_server_kill(st->server);
    series_until(at, m.phase_s[DOWN] + s->down_s);
    drive_await(d);
    m.launched_s = series_now_s(at);
    uint64_t launched_ns = bench_now_ns();
    wait_for_server(st->server, at);
    enter(d, at, &m, FIRST);
    series_until(at, m.phase_s[FIRST] + 1);
    enter(d, at, &m, AFTER);
    series_until(at, m.phase_s[AFTER] + s->after_s);
    drive_phase(d, -1);
    m.phase_s[PHASES] = series_now_s(at);
    uint64_t came = drive_awaited_ns(d);
    m.first_answer_s = came ? m.launched_s + (double)(came - launched_ns) / 1e9 : -1;
    if (came == 0) wrong_answer("no session was validated after Redis was back", LATCHKEY_UNAVAILABLE);
    return m;
}

static void variant(bench_json *json, const settings *s, stage *st, int grace_ms)
{
    enum { THREADS_MAX = 256 };
    char text[160];
    way ways[THREADS_MAX] = {0};
    snprintf(text, sizeof text, "l1_capacity=%zu&l1_ttl_ms=%.0f&idle_ms=%d&grace_ms=%d%s", st->count,
             st->options.l1_ttl_ms, HALF_A_DAY_MS, grace_ms, s->short_run ? "&staleness_ms=1000" : "");
    latchkey *lk = open_at(bench_server_url(st->server), text);
    for (int i = 0; i < s->threads; i++) ways[i].lk = lk;
    double expected_s = s->settle_s + s->before_s + s->down_s + 1 + s->after_s;
    series *at = series_start(grace_ms ? "Redis killed and back, with grace" : "Redis killed and back", st->server, &lk,
                              1, expected_s);
    drive *d = drive_start(&(drive_plan){.stage = st,
                                         .ways = ways,
                                         .threads = (int)s->threads,
                                         .rate = s->outage_rate,
                                         .skew = 0.99,
                                         .phases = PHASES,
                                         .seed = (uint64_t)s->seed + 7000 + (uint64_t)grace_ms});
    series_watch(at, d);
    moments m = run_through(s, st, at, d);
    account *accounts = drive_end(d);

    bench_json_object(json, NULL);
    bench_json_number(json, "grace_ms", grace_ms);
    bench_json_number(json, "launched_s", m.launched_s);
    bench_json_number(json, "first_answer_s", m.first_answer_s);
    bench_json_object(json, "phases");
    for (int i = 0; i < PHASES; i++) account_json(json, phase_names[i], &accounts[i], m.phase_s[i + 1] - m.phase_s[i]);
    bench_json_end(json, '}');
    bench_json_row(json, "phase_s"); /* when they began, and the end */
    for (int i = 0; i <= PHASES; i++) bench_json_number(json, NULL, m.phase_s[i]);
    bench_json_end(json, ']');
    series_json(json, "series", at);
    bench_json_end(json, '}');
    free(accounts);
    series_free(at);
    latchkey_close(lk);
}

void outage_run(bench_json *json, const settings *s, stage *st)
{
    static const int graces_ms[] = {0, 60000};
    bench_json_number(json, "rate", s->outage_rate);
    bench_json_number(json, "down_s", s->down_s);
    bench_json_number(json, "l1_ttl_ms", st->options.l1_ttl_ms);
    bench_json_array(json, "variants");
    for (size_t i = 0; i < sizeof graces_ms / sizeof *graces_ms; i++) variant(json, s, st, graces_ms[i]);
    bench_json_end(json, ']');
}
