/* SPDX-License-Identifier: MIT
 *
 * A steady load on an L1 of all, with entries read again ahead of their end and without. See parts.h. Load, checks and
 * pacing are the read/write table's (article_clients.c): calls made when they are due, sessions that come and go.
 *
 *     article   Zipf over all sessions; many of them are asked for less than once per l1_ttl_ms, and are misses
 *     in_use    a tenth of them, uniformly: each is asked for some 15 times per l1_ttl_ms
 *     still     the same, with nothing to read again and nothing to touch: what a hit takes on this machine
 */
#include "parts.h"

#include "session/handle.h"

#include <stdlib.h>

enum { STILL_MS = 3600 * 1000 }; /* longer than any measurement */

static void variant(bench_json *json, const settings *s, const bench_server *server, world *w,
                    const article_options *options, const char *key, bool refreshed)
{
    char text[160];
    /* The fewer sessions take less to get there. */
    double whole_s = options->skew > 0 ? s->steady_s : s->steady_s * 0.6, measured_s = s->steady_s * 0.4;
    /* With room for those who log in while those who ended have yet to make it: else this measures evictions. */
    snprintf(text, sizeof text, "l1_capacity=%zu&l1_ttl_ms=%.0f&idle_ms=%.0f", w->count + w->count / 4,
             options->l1_ttl_ms, options->idle_ms);
    latchkey *lk = open_at(bench_server_url(server), text);
    if (!refreshed) lk->refresh_ms = 0; /* there is no option for that; no other thread uses the handle yet */
    snprintf(text, sizeof text, "steady, %s, %s", options->skew > 0 ? "article" : "in use", key);
    result *r = clients_run(text, w, lk, server, options, s->rate, whole_s - measured_s, measured_s);
    /* A touch is counted as a refresh too. Near the end of an entry it becomes a read: it would renew the entry too late. */
    if (!refreshed && r->stats.refreshes > r->stats.touches + r->stats.l1_hits / 100)
        bench_die("refreshes, although they are switched off");
    snprintf(r->name, sizeof r->name, "%s", key);
    result_json(json, r);
    if (r->counted.wrong) wrong_answer("in the steady state", LATCHKEY_OK);
    result_free(r);
    latchkey_close(lk);
}

static void load(bench_json *json, const settings *s, const bench_server *server, world *w,
                 const article_options *options, const char *key)
{
    bench_json_object(json, key);
    bench_json_number(json, "sessions", (double)w->count);
    bench_json_number(json, "skew", options->skew);
    variant(json, s, server, w, options, "refreshed", true);
    if (options->idle_ms < STILL_MS) variant(json, s, server, w, options, "plain", false);
    bench_json_end(json, '}');
}

static void few_in_use(bench_json *json, const settings *s, const stage *st, const char *key, bool still)
{
    char text[64];
    article_options options = st->options;
    options.sessions = s->sessions / 10;
    options.skew = 0;
    if (still) options.l1_ttl_ms = options.idle_ms = STILL_MS;
    snprintf(text, sizeof text, "l1_capacity=0&idle_ms=%.0f", options.idle_ms);
    latchkey *lk = open_at(bench_server_url(st->server), text);
    world *few = world_make(&options, lk, st->server);
    latchkey_close(lk);
    load(json, s, st->server, few, &options, key);
    world_free(few);
}

void steady_run(bench_json *json, const settings *s, stage *st)
{
    bench_json_object(json, "yardsticks");
    probe_yardsticks(json, st->server, &st->options);
    bench_json_end(json, '}');
    bench_json_number(json, "l1_ttl_ms", st->options.l1_ttl_ms);
    few_in_use(json, s, st, "still", true);
    few_in_use(json, s, st, "in_use", false);
    load(json, s, st->server, st->world, &st->options, "article");
}
