/* SPDX-License-Identifier: MIT
 *
 * Yardsticks, without which a figure from a shared machine means little: what the clock, memory and a bare Redis
 * round trip cost in this very run. And the single measurements: memory, prewarming, revocation.
 */
#include "article.h"

#include <hiredis/hiredis.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

latchkey *open_at(const char *url, const char *options)
{
    char config[512], error[256];
    latchkey *lk = NULL;
    snprintf(config, sizeof config, "%s?%s", url, options);
    int status = latchkey_open(config, &lk, error, sizeof error);
    if (status != LATCHKEY_OK) bench_die("latchkey_open: %s: %s", latchkey_status_text(status), error);
    return lk;
}

static latchkey *open_with(const bench_server *server, const article_options *options, size_t capacity, double ttl_ms)
{
    char text[128];
    snprintf(text, sizeof text, "l1_capacity=%zu&l1_ttl_ms=%.0f&idle_ms=%.0f", capacity, ttl_ms, options->idle_ms);
    return open_at(bench_server_url(server), text);
}

latchkey *open_latchkey(const bench_server *server, const article_options *options, size_t capacity)
{
    return open_with(server, options, capacity, options->l1_ttl_ms);
}

/* ------------------------------------------------------------------------------------------- memory, clocks -- */

static double clock_cost_ns(clockid_t clock)
{
    struct timespec now;
    uint64_t turns = 2000000, began = bench_now_ns();
    volatile long sink = 0;
    for (uint64_t i = 0; i < turns; i++) {
        clock_gettime(clock, &now);
        sink = now.tv_nsec;
    }
    (void)sink;
    return (double)(bench_now_ns() - began) / (double)turns;
}

/* One random cycle through all lines of a buffer; each read waits for the one before, as a lookup's first read does.
 * Huge pages where they are given: L1 asks for them as well. */
void probe_memory_read(bench_json *json, size_t bytes)
{
    size_t lines = bytes / 64 < 64 ? 64 : bytes / 64, size = (lines * 64 + 0x1fffff) / 0x200000 * 0x200000;
    uint64_t *buffer = aligned_alloc(0x200000, size);
    uint32_t *order = bench_take(lines * sizeof *order);
    bench_random random;
    if (buffer == NULL) bench_die("no memory for %zu bytes", size);
    madvise(buffer, size, MADV_HUGEPAGE);
    bench_random_seed(&random, lines);
    for (size_t i = 0; i < lines; i++) order[i] = (uint32_t)i;
    bench_random_shuffle(&random, order, lines);
    for (size_t i = 0; i < lines; i++) buffer[(size_t)order[i] * 8] = order[(i + 1) % lines];
    free(order);

    uint64_t turns = 3000000, at = 0, began = bench_now_ns();
    for (uint64_t i = 0; i < turns; i++) at = buffer[at * 8];
    double each_ns = (double)(bench_now_ns() - began) / (double)turns;
    bench_json_object(json, "memory_read");
    bench_json_number(json, "buffer_bytes", (double)(lines * 64));
    bench_json_number(json, "ns", each_ns);
    bench_json_number(json, "ended_at", (double)at); /* so that the reads happen */
    bench_json_end(json, '}');
    free(buffer);
}

/* ------------------------------------------------------------------------------------------- bare round trips -- */

static void round_trips(bench_json *json, const char *key, redisContext *redis, int count, const char *command)
{
    bench_histogram *histogram = bench_take(sizeof *histogram);
    bench_histogram_clear(histogram);
    for (int i = 0; i < count + count / 10; i++) {
        uint64_t began = bench_now_ns();
        redisReply *reply = redisCommand(redis, command);
        uint64_t took = bench_now_ns() - began;
        if (reply == NULL || reply->type == REDIS_REPLY_ERROR || reply->type == REDIS_REPLY_NIL)
            bench_die("%s: %s", command, reply ? "no such value" : redis->errstr);
        freeReplyObject(reply);
        if (i >= count / 10) bench_histogram_add(histogram, took);
    }
    bench_json_histogram(json, key, histogram, false);
    free(histogram);
}

/* What Redis needs for a string of so many bytes. */
static void string_memory(bench_json *json, const char *key, redisContext *redis, size_t size)
{
    unsigned char *bytes = bench_take(size);
    freeReplyObject(redisCommand(redis, "SET bench:string %b", bytes, size));
    redisReply *reply = redisCommand(redis, "MEMORY USAGE bench:string");
    if (reply == NULL || reply->type != REDIS_REPLY_INTEGER) bench_die("MEMORY USAGE failed");
    bench_json_number(json, key, (double)reply->integer);
    freeReplyObject(reply);
    freeReplyObject(redisCommand(redis, "DEL bench:string"));
    free(bytes);
}

void probe_yardsticks(bench_json *json, const bench_server *server, const article_options *options)
{
    int count = options->short_run ? 300 : 4000;
    unsigned char *bytes = bench_take(record_size(options));
    redisContext *redis = bench_server_connect(server);
    freeReplyObject(redisCommand(redis, "HSET bench:hash v %b pq.all %b", bytes, (size_t)176, bytes,
                                 record_size(options) - RECORD_CLASSICAL));
    freeReplyObject(redisCommand(redis, "SET bench:record %b", bytes, record_size(options)));
    bench_json_number(json, "clock_monotonic_ns", clock_cost_ns(CLOCK_MONOTONIC));
    bench_json_number(json, "clock_coarse_ns", clock_cost_ns(CLOCK_MONOTONIC_COARSE));
    round_trips(json, "ping", redis, count, "PING");
    round_trips(json, "hget_176", redis, count, "HGET bench:hash v");
    round_trips(json, "get_record", redis, count, "GET bench:record");
    freeReplyObject(redisCommand(redis, "DEL bench:hash bench:record"));
    string_memory(json, "redis_string_96_bytes", redis, 96);
    string_memory(json, "redis_string_4493_bytes", redis, 4493);
    redisFree(redis);
    free(bytes);
}

/* What a client thread does around the call that is timed: in closed loop it is part of each request's cost. */
void probe_harness(bench_json *json, world *w, const article_options *options)
{
    bench_zipf zipf;
    bench_random random;
    session it;
    uint64_t turns = 400000, sum = 0, began;
    bench_zipf_init(&zipf, w->count, options->skew);
    bench_random_seed(&random, (uint64_t)options->seed);
    began = bench_now_ns();
    for (uint64_t i = 0; i < turns; i++)
        if (world_read(w, bench_zipf_next(&zipf, &random), &it)) sum += bench_now_ns() - it.user_id;
    bench_json_number(json, "harness_ns", (double)(bench_now_ns() - began) / (double)turns);
    bench_json_number(json, "harness_sum", (double)(sum & 0xff));
}

/* Hits alone: one thread, every session that a full L1 holds in turn (in an order that has nothing to do with where
 * they lie), each lookup waiting for the answer of the one before, as the memory reads above do. A handle of its own,
 * filled by prewarming, whose entries do not run out meanwhile. */
void probe_hit(bench_json *json, const bench_server *server, world *w, const article_options *options, size_t capacity)
{
    latchkey *lk = open_with(server, options, capacity, 600000);
    char(*tokens)[LATCHKEY_TOKEN_SIZE] = bench_take(w->count * sizeof *tokens);
    session it;
    latchkey_entry entry;
    size_t loaded, held = 0, at = 0, turns = options->short_run ? 50000 : 1000000, hits = 0;
    uint64_t sum = 0, began;
    if (latchkey_prewarm(lk, capacity, &loaded) != LATCHKEY_OK) fprintf(stderr, "prewarming for hits fell short\n");
    for (size_t i = 0; i < w->count; i++) {
        if (!world_read(w, i, &it)) continue;
        if (latchkey_try_validate(lk, it.token, LATCHKEY_TOKEN_LENGTH, &entry) != LATCHKEY_OK) continue;
        memcpy(tokens[held++], it.token, LATCHKEY_TOKEN_SIZE);
    }
    began = bench_now_ns();
    for (size_t i = 0; held && i < turns; i++) {
        int status = latchkey_try_validate(lk, tokens[at], LATCHKEY_TOKEN_LENGTH, &entry);
        at += 1 + (size_t)(entry.created_at_ms < 0); /* always 1, but only the answer tells */
        if (at >= held) at = 0;
        sum += entry.user_id;
        hits += status == LATCHKEY_OK;
    }
    double spent = (double)(bench_now_ns() - began);
    bench_json_object(json, "hit_alone");
    bench_json_number(json, "loaded", (double)loaded);
    bench_json_number(json, "sessions", (double)held);
    bench_json_number(json, "asked", held ? (double)turns : 0);
    bench_json_number(json, "hits", (double)hits);
    bench_json_number(json, "ns", hits ? spent / (double)turns : 0);
    bench_json_number(json, "sum", (double)(sum & 0xff));
    bench_json_end(json, '}');
    free(tokens);
    latchkey_close(lk);
}

/* ------------------------------------------------------------------------------------------ memory in Redis -- */

double probe_key_bytes(const bench_server *server, const char *pattern)
{
    redisContext *redis = bench_server_connect(server);
    char cursor[32] = "0";
    double total = 0;
    int keys = 0;
    do {
        redisReply *page = redisCommand(redis, "SCAN %s MATCH %s COUNT 500", cursor, pattern);
        if (page == NULL || page->type != REDIS_REPLY_ARRAY || page->elements != 2) bench_die("SCAN failed");
        snprintf(cursor, sizeof cursor, "%s", page->element[0]->str);
        for (size_t i = 0; i < page->element[1]->elements && keys < 500; i++) {
            redisReply *usage = redisCommand(redis, "MEMORY USAGE %s SAMPLES 0", page->element[1]->element[i]->str);
            if (usage && usage->type == REDIS_REPLY_INTEGER) {
                total += (double)usage->integer;
                keys++;
            }
            freeReplyObject(usage);
        }
        freeReplyObject(page);
    } while (strcmp(cursor, "0") != 0 && keys < 500);
    redisFree(redis);
    return keys ? total / keys : 0;
}

/* ---------------------------------------------------------------------------------------------- prewarming -- */

static double commands_now(redisContext *redis)
{
    bench_info info;
    bench_info_read(redis, &info);
    return info.commands;
}

void probe_script_commands(bench_json *json, const bench_server *server, const article_options *options)
{
    enum { CALLS = 200 };
    static char tokens[CALLS][LATCHKEY_TOKEN_SIZE];
    redisContext *redis = bench_server_connect(server);
    latchkey *lk = open_latchkey(server, options, 0);
    store s;
    store_open(&s, lk, server, options, 1);
    double start = commands_now(redis);
    for (int i = 0; i < CALLS; i++)
        if (store_login(&s, UINT64_C(1) << 50 | (uint64_t)i, tokens[i])) bench_die("a login failed");
    double made = commands_now(redis);
    for (int i = 0; i < CALLS; i++)
        if (store_logout(&s, tokens[i])) bench_die("a logout failed");
    double ended = commands_now(redis);
    bench_json_number(json, "commands_per_login", (made - start) / CALLS);
    bench_json_number(json, "commands_per_logout", (ended - made) / CALLS);
    store_close(&s);
    latchkey_close(lk);
    redisFree(redis);
}

void probe_prewarm(bench_json *json, const bench_server *server, const article_options *options)
{
    bench_json_object(json, "prewarm");
    bench_json_number(json, "count", options->prewarm);
    bench_json_array(json, "tries"); /* milliseconds, and how many were loaded; an empty handle each */
    for (int i = 0; i < 3; i++) {
        latchkey *lk = open_latchkey(server, options, (size_t)options->l1_capacity);
        size_t loaded;
        uint64_t began = bench_now_ns();
        int status = latchkey_prewarm(lk, (size_t)options->prewarm, &loaded);
        double took_ms = (double)(bench_now_ns() - began) / 1e6;
        if (status != LATCHKEY_OK) fprintf(stderr, "prewarm: %s\n", latchkey_status_text(status));
        bench_json_row(json, NULL);
        bench_json_number(json, NULL, took_ms);
        bench_json_number(json, NULL, (double)loaded);
        bench_json_end(json, ']');
        latchkey_close(lk);
    }
    bench_json_end(json, ']');
    bench_json_end(json, '}');
}

/* ---------------------------------------------------------------------------------------------- revocation -- */

/* A session that both instances hold; revoked through one, and the other asked again and again, from L1 alone, until
 * it refuses. Everything on one thread, so where the purge comes before revoke returns, the return is what is seen:
 * an upper bound. */
static uint64_t revoke_once(latchkey *here, latchkey *there, store *s, uint64_t user_id, uint64_t *after_return_ns)
{
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey_entry entry;
    if (store_login(s, user_id, token) != LATCHKEY_OK) bench_die("revocation: login failed");
    if (latchkey_validate(there, token, LATCHKEY_TOKEN_LENGTH, &entry) != LATCHKEY_OK ||
        latchkey_try_validate(there, token, LATCHKEY_TOKEN_LENGTH, &entry) != LATCHKEY_OK)
        bench_die("revocation: the other instance does not hold the session");
    bench_sleep_until_ns(bench_now_ns() + 1000000u);
    uint64_t began = bench_now_ns();
    int status = latchkey_revoke(here, token, LATCHKEY_TOKEN_LENGTH);
    uint64_t returned = bench_now_ns(), now = returned;
    if (status != LATCHKEY_OK) bench_die("revocation: %s", latchkey_status_text(status));
    while (latchkey_try_validate(there, token, LATCHKEY_TOKEN_LENGTH, &entry) == LATCHKEY_OK) {
        sched_yield(); /* the other instance's link may need this core to do its work */
        now = bench_now_ns();
        if (now - began > 10000000000u) bench_die("revoked 10 s ago, and another instance still admits it");
    }
    now = bench_now_ns();
    *after_return_ns = now - returned;
    return now - began;
}

void probe_revocation(bench_json *json, const bench_server *server, const article_options *options)
{
    latchkey *here = open_latchkey(server, options, 1000), *there = open_latchkey(server, options, 1000);
    bench_histogram *all = bench_take(2 * sizeof *all), *after = all + 1;
    store s;
    latchkey_stats stats;
    bench_histogram_clear(all);
    bench_histogram_clear(after);
    store_open(&s, here, NULL, options, (uint64_t)options->seed + 1);
    for (int i = 0; i < options->revocations; i++) {
        uint64_t after_return_ns;
        bench_progress("revocations", i, options->revocations);
        bench_histogram_add(all, revoke_once(here, there, &s, 1000000000u + (uint64_t)i, &after_return_ns));
        bench_histogram_add(after, after_return_ns);
    }
    bench_progress("revocations", 1, 1);
    if (latchkey_stats_read(there, &stats, sizeof stats) != LATCHKEY_OK) bench_die("latchkey_stats_read failed");
    bench_json_object(json, "revocation");
    bench_json_histogram(json, "call_to_refusal", all, false);
    bench_json_histogram(json, "return_to_refusal", after, false);
    bench_json_number(json, "heard", (double)stats.revocations_heard);
    bench_json_number(json, "publish_to_purge_p50_ms", stats.revocation_p50_ms);
    bench_json_number(json, "publish_to_purge_p99_ms", stats.revocation_p99_ms);
    bench_json_end(json, '}');
    store_close(&s);
    free(all);
    latchkey_close(there);
    latchkey_close(here);
}
