/* SPDX-License-Identifier: MIT
 *
 * What every benchmark here shares: a clock, seeded random numbers, Zipf, a latency histogram, a private Redis,
 * a description of the machine, a progress line, JSON.
 *
 *     harness.c   clock, random, Zipf, histogram
 *     server.c    a private redis-server and its INFO
 *     output.c    progress, machine, JSON
 *
 * A benchmark that cannot go on says why and ends by bench_die; the servers it started end with it, in every way
 * that a process can end (return, exit, SIGINT, SIGTERM, and SIGKILL through the kernel).
 */
#ifndef LATCHKEY_BENCH_HARNESS_H
#define LATCHKEY_BENCH_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

struct redisContext;

/* ------------------------------------------------------------------------------------------------ clock -- */

uint64_t bench_now_ns(void); /* CLOCK_MONOTONIC */
void bench_sleep_until_ns(uint64_t when_ns);

/* ----------------------------------------------------------------------------------------------- random -- */

/* xoshiro256** (Blackman and Vigna 2018), seeded through splitmix64. Not for secrets. */
typedef struct bench_random {
    uint64_t state[4];
} bench_random;

void bench_random_seed(bench_random *random, uint64_t seed);
uint64_t bench_random_next(bench_random *random);
uint64_t bench_random_below(bench_random *random, uint64_t bound); /* 0 to bound-1; bound below 2^32 */
double bench_random_unit(bench_random *random);                    /* [0, 1) */
double bench_random_exponential(bench_random *random, double mean);
void bench_random_shuffle(bench_random *random, uint32_t *numbers, size_t count);
uint64_t bench_mix(uint64_t value); /* a fixed one-to-one scrambling of 64 bits: splitmix64's finish */

/* ------------------------------------------------------------------------------------------------- zipf -- */

/* Ranks 0 to items-1, rank k with weight 1/(k+1)^exponent, by rejection-inversion (Hörmann and Derflinger,
 * "Rejection-inversion to generate variates from monotone discrete distributions", ACM TOMACS 6(3), 1996): exact,
 * without a table and without a sum over all items, which the method of Gray et al. (1994), known from YCSB, needs.
 * Exponent 0 is uniform; 0.99 is YCSB's default. */
typedef struct bench_zipf {
    uint64_t items;
    double exponent;
    double h_first, h_last, shortcut;
} bench_zipf;

void bench_zipf_init(bench_zipf *zipf, uint64_t items, double exponent);
uint64_t bench_zipf_next(const bench_zipf *zipf, bench_random *random);
/* The part of all draws that falls on the `top` lowest ranks: what a cache of that size holds at best. */
double bench_zipf_top_share(uint64_t items, double exponent, uint64_t top);

/* -------------------------------------------------------------------------------------------- histogram -- */

/* Log-linear: exact below 256 ns, then 128 buckets to each power of two, so a quantile is off by at most 0.4%
 * (half a bucket). One writer at a time; merge what several threads counted. Values above 2^42 ns (73 minutes)
 * count as that. */
#define BENCH_HISTOGRAM_BUCKETS ((42 - 7) * 128 + 128)

typedef struct bench_histogram {
    uint64_t count, sum_ns, min_ns, max_ns;
    uint64_t buckets[BENCH_HISTOGRAM_BUCKETS];
} bench_histogram;

void bench_histogram_clear(bench_histogram *histogram);
void bench_histogram_add(bench_histogram *histogram, uint64_t value_ns);
void bench_histogram_merge(bench_histogram *into, const bench_histogram *from);
double bench_histogram_quantile(const bench_histogram *histogram, double quantile); /* 0 where it is empty */
double bench_histogram_mean(const bench_histogram *histogram);

/* ----------------------------------------------------------------------------------------------- server -- */

/* A redis-server of our own, from PATH: in a new directory under TMPDIR, on a unix socket, and with `tcp` on a free
 * port of 127.0.0.1 as well, which then is what `url` and `connect` mean. Without persistence, or, `keeping`, with an
 * append-only file. Never returns NULL: without a server there is no benchmark. */
typedef struct bench_server bench_server;

bench_server *bench_server_start(bool tcp);
bench_server *bench_server_start_keeping(bool tcp);
void bench_server_stop(bench_server *server);
const char *bench_server_url(const bench_server *server); /* as latchkey_open takes it, without options */
const char *bench_server_unix_url(const bench_server *server);
pid_t bench_server_pid(const bench_server *server);
struct redisContext *bench_server_connect(const bench_server *server); /* blocking; never NULL */
struct redisContext *bench_server_connect_unix(const bench_server *server);

/* For one that is lost under load: SIGKILL; then, of the thread that started it (with which it would end), the same
 * again in the same place, without waiting. `waits`: it does not answer yet, and ends the benchmark when it is time. */
void bench_server_kill(bench_server *server);
void bench_server_launch(bench_server *server);
bool bench_server_waits(bench_server *server, uint64_t give_up_ns);

/* What INFO counts. Taken before and after, the difference is what a phase cost the server. */
typedef struct bench_info {
    double commands;     /* total_commands_processed: those that scripts ran count too */
    double output_bytes; /* total_net_output_bytes */
    double input_bytes;  /* total_net_input_bytes */
    double cpu_s;        /* used_cpu_user + used_cpu_sys */
    double main_cpu_s;   /* the same of its main thread alone */
    double memory_bytes; /* used_memory: now, not since */
    double own_bytes;    /* the size of this very reply */
    double loading;      /* 1: it reads its file, and counts what it finds there as commands */
    char version[32];
} bench_info;

void bench_info_read(struct redisContext *redis, bench_info *info);
bool bench_info_try(struct redisContext *redis, bench_info *info); /* false: the server did not answer */
/* Leaves out what reading the first one cost; memory_bytes is the growth. */
bench_info bench_info_since(const bench_info *before, const bench_info *after);

/* ----------------------------------------------------------------------------------------------- output -- */

_Noreturn void bench_die(const char *format, ...) __attribute__((format(printf, 1, 2)));
double bench_number(const char *name, const char *text, double least, double most); /* an option's value, or the end */

/* Options that take a number. True: arguments[*at] is one, its value is read, and *at stands on the value. */
typedef struct bench_option {
    const char *name;
    double *value;
    double least, most;
} bench_option;
bool bench_option_read(const bench_option *known, size_t count, char **arguments, int *at);
void *bench_take(size_t size); /* zeroed memory, 64-byte aligned, given back by free; never NULL */

/* One line on stderr, rewritten in place on a terminal; elsewhere a line every few seconds. `total` 0: no end known.
 * Call it as often as you like. */
void bench_progress(const char *what, double done, double total);
void bench_progress_end(void);

/* A JSON writer that keeps commas and indentation. `key` is NULL inside an array. */
typedef struct bench_json {
    FILE *file;
    int depth;
    bool first, flat;
} bench_json;

void bench_json_object(bench_json *json, const char *key);
void bench_json_array(bench_json *json, const char *key);
void bench_json_row(bench_json *json, const char *key); /* an array on one line, for many small numbers */
void bench_json_end(bench_json *json, char bracket);    /* '}' or ']' */
void bench_json_number(bench_json *json, const char *key, double value);
void bench_json_text(bench_json *json, const char *key, const char *value);
void bench_json_flag(bench_json *json, const char *key, bool value);
/* count, mean, min, max and the usual quantiles; with `curve` also rows of [quantile, ns] fine enough to draw. */
void bench_json_histogram(bench_json *json, const char *key, const bench_histogram *histogram, bool curve);
/* Processor, cores, memory, kernel, compiler, libraries, the server's version. */
void bench_json_machine(bench_json *json, const char *server_version);

#endif
