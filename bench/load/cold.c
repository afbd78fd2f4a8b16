/* SPDX-License-Identifier: MIT
 *
 * Ten instances that are cold at the same time, as after a deployment, before one Redis. See parts.h. Handles in one
 * process, a thread each: what Redis sees is the same as of ten processes.
 */
#include "parts.h"

#include <stdlib.h>

enum { INSTANCES = 10, RATE = 1000 };

static void variant(bench_json *json, const settings *s, const stage *st, const char *key, size_t prewarm)
{
    latchkey *handles[INSTANCES];
    way ways[INSTANCES] = {0};
    char text[96];
    snprintf(text, sizeof text, "l1_capacity=%zu&idle_ms=%.0f", st->count, st->options.idle_ms);
    for (int i = 0; i < INSTANCES; i++) ways[i].lk = handles[i] = open_at(bench_server_url(st->server), text);
    series *at = series_start(key, st->server, handles, INSTANCES, s->cold_s);
    drive *d = drive_start(&(drive_plan){.stage = st,
                                         .ways = ways,
                                         .threads = INSTANCES,
                                         .rate = RATE * INSTANCES,
                                         .skew = 0.99,
                                         .phases = 1,
                                         .seed = (uint64_t)s->seed + 8000,
                                         .prewarm = prewarm});
    series_watch(at, d);
    drive_phase(d, 0);
    series_until(at, s->cold_s);
    drive_phase(d, -1);
    uint64_t loaded = drive_loaded(d);
    if (loaded < prewarm * INSTANCES / 2) bench_die("prewarming loaded less than half of what it was asked for");
    account *a = drive_end(d);
    bench_json_object(json, key);
    bench_json_number(json, "prewarm", (double)prewarm);
    bench_json_number(json, "loaded", (double)loaded);
    account_json(json, "account", a, s->cold_s);
    series_json(json, "series", at);
    bench_json_end(json, '}');
    free(a);
    series_free(at);
    for (int i = 0; i < INSTANCES; i++) latchkey_close(handles[i]);
}

void cold_run(bench_json *json, const settings *s, const stage *st)
{
    bench_json_number(json, "instances", INSTANCES);
    bench_json_number(json, "rate", RATE);
    variant(json, s, st, "cold", 0);
    variant(json, s, st, "prewarmed", (size_t)s->sessions / 10);
}
