/* SPDX-License-Identifier: MIT
 *
 * A miss, beside what it replaces: a blocking hiredis connection for each thread. See parts.h.
 *
 *     bare        HGET of the 184 bytes out of the session's hash; nothing is judged or kept
 *     bare+pttl   HGET and PTTL in one round trip: what a miss of latchkey asks for
 *     latchkey    latchkey_validate, l1_capacity=0, so that every call is a miss; 8 connections for all threads
 *     submit      the same from one thread, 256 in flight (evented.c)
 *
 * Sessions are drawn uniformly, so that equal misses in flight, which would share a read, are rare. Contenders take
 * turns within each repetition: what slows the machine for a while slows all of them.
 */
#include "parts.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>

enum { CALLERS_MAX = 64 };
enum contender { BARE, BARE_PTTL, LATCHKEY, SUBMIT, CONTENDERS };
static const char *const contender_names[CONTENDERS] = {"bare", "bare+pttl", "latchkey", "submit"};
static const int callers[] = {1, 4, 16, CALLERS_MAX};
enum { CALLERS = sizeof callers / sizeof *callers };

static const char *url_of(const stage *st, bool tcp)
{
    return tcp ? bench_server_url(st->server) : bench_server_unix_url(st->server);
}

static cell threads_run(const stage *st, const way *ways, int threads, double seconds, uint64_t seed)
{
    redisContext *redis = bench_server_connect(st->server);
    drive *d = drive_start(&(drive_plan){.stage = st, .ways = ways, .threads = threads, .phases = 1, .seed = seed});
    bench_info before, after;
    bench_sleep_until_ns(bench_now_ns() + (uint64_t)(seconds * 0.2e9));
    bench_info_read(redis, &before);
    uint64_t began = bench_now_ns();
    drive_phase(d, 0);
    bench_sleep_until_ns(began + (uint64_t)(seconds * 1e9));
    drive_phase(d, -1);
    uint64_t ended = bench_now_ns();
    bench_info_read(redis, &after);
    redisFree(redis);
    return (cell){drive_end(d), bench_info_since(&before, &after), (double)(ended - began) / 1e9};
}

static cell bare_run(const stage *st, bool tcp, bool pttl, int threads, double seconds, uint64_t seed)
{
    way ways[CALLERS_MAX] = {0};
    for (int i = 0; i < threads; i++) {
        ways[i].redis = tcp ? bench_server_connect(st->server) : bench_server_connect_unix(st->server);
        ways[i].pttl = pttl;
    }
    cell c = threads_run(st, ways, threads, seconds, seed);
    for (int i = 0; i < threads; i++) redisFree(ways[i].redis);
    return c;
}

static cell latchkey_run(const stage *st, bool tcp, bool submit, int threads, double seconds, uint64_t seed)
{
    way ways[CALLERS_MAX] = {0};
    latchkey *lk = open_at(url_of(st, tcp), "l1_capacity=0");
    for (int i = 0; i < threads; i++) ways[i].lk = lk;
    cell c = submit ? evented_run(lk, st, seconds, seed) : threads_run(st, ways, threads, seconds, seed);
    latchkey_close(lk);
    return c;
}

static void cell_json(bench_json *json, const cell *c, enum contender who, bool tcp, int threads, int turn)
{
    bench_json_object(json, NULL);
    bench_json_text(json, "contender", contender_names[who]);
    bench_json_text(json, "transport", tcp ? "tcp" : "unix");
    bench_json_number(json, "callers", threads);
    bench_json_number(json, "turn", turn);
    bench_json_number(json, "answered", (double)account_of(c->account, LATCHKEY_OK));
    bench_json_number(json, "commands", c->redis.commands);
    bench_json_number(json, "cpu_s", c->redis.cpu_s);
    bench_json_number(json, "main_cpu_s", c->redis.main_cpu_s);
    account_json(json, "account", c->account, c->seconds);
    bench_json_end(json, '}');
}

static void measure(bench_json *json, const settings *s, const stage *st, enum contender who, bool tcp, int threads,
                    int turn)
{
    static int done;
    int all = 2 * (int)s->repeat * (CALLERS * (CONTENDERS - 1) + 1);
    uint64_t seed = (uint64_t)s->seed + (uint64_t)(turn * 1000 + threads);
    cell c = who >= LATCHKEY ? latchkey_run(st, tcp, who == SUBMIT, threads, s->cell_s, seed)
                             : bare_run(st, tcp, who == BARE_PTTL, threads, s->cell_s, seed);
    cell_json(json, &c, who, tcp, threads, turn);
    free(c.account);
    bench_progress("misses beside bare hiredis", ++done, all);
}

void miss_run(bench_json *json, const settings *s, const stage *st)
{
    bench_json_number(json, "in_flight", IN_FLIGHT);
    bench_json_array(json, "cells");
    for (int tcp = 1; tcp >= 0; tcp--)
        for (int turn = 0; turn < s->repeat; turn++) {
            for (int i = 0; i < CALLERS; i++)
                for (enum contender who = BARE; who <= LATCHKEY; who++)
                    measure(json, s, st, who, tcp, callers[i], turn);
            measure(json, s, st, SUBMIT, tcp, 1, turn);
        }
    bench_json_end(json, ']');
}
