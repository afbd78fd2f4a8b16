/* SPDX-License-Identifier: MIT
 *
 * latchkey-bench-stores: what a session check costs with what people use instead, and with latchkey. Every store holds the same
 * number of sessions and keeps the same 4,493 bytes for each (the cookie: 120). Callers ask for sessions drawn uniformly, each
 * asks again as soon as it was answered, and everybody's answers are looked at. run.py starts the servers that are not Redis.
 */
#include "stores.h"

#include <dirent.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "latchkey-bench-stores --memcached SOCKET --memcached-pid N --postgres CONNINFO --postgres-pid N\n"
    "                      [--short] [--sessions N] [--seconds N] [--revocations N] [--json FILE]\n"
    "\n"
    "What a session check costs with Memcached, PostgreSQL, a signed cookie, plain Redis, and latchkey. Run it by\n"
    "bench/stores/run.py, which starts private servers.\n"
    "\n"
    "  --short          a few seconds in all\n"
    "  --sessions N     in each store (20000)\n"
    "  --seconds N      of each measurement (3)\n"
    "  --revocations N  to see for how long a session that was ended is honoured (200)\n"
    "  --json FILE      write the figures there (bench/results/stores.json)\n"
    "  --help           this\n";

places place;

typedef struct options {
    double sessions, seconds, revocations;
    const char *json;
} options;

enum { CALLERS_MAX = 64 };

typedef struct session {
    char token[TOKEN_MAX];
    uint64_t user;
} session;

static session *sessions;
static size_t session_count;

/* ------------------------------------------------------------------------------------------ what stores share -- */

void token_make(char token[TOKEN_MAX])
{
    unsigned char raw[32];
    randombytes_buf(raw, sizeof raw);
    sodium_bin2base64(token, TOKEN_MAX, raw, sizeof raw, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

void record_write(unsigned char record[RECORD_SIZE], const char *token, uint64_t user)
{
    memset(record, (int)(user & 0xff), RECORD_SIZE);
    memcpy(record, &user, sizeof user);
    memcpy(record + 8, token, 43);
}

bool record_names(const void *record, size_t size, const char *token, uint64_t user)
{
    return size == RECORD_SIZE && !memcmp(record, &user, sizeof user) && !memcmp((const char *)record + 8, token, 43);
}

/* Fields 4, 14 and 15 of /proc/N/stat, behind the name: the parent, user and system ticks. */
static bool read_process(int pid, int *parent, double *cpu_s)
{
    char path[64], text[1024];
    unsigned long user, system;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file) return false;
    size_t size = fread(text, 1, sizeof text - 1, file);
    text[size] = 0;
    fclose(file);
    const char *at = strrchr(text, ')');
    if (!at || sscanf(at + 2, "%*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", parent, &user, &system) != 3)
        return false;
    *cpu_s = (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
    return true;
}

double process_cpu_s(int pid)
{
    int parent;
    double cpu_s = 0;
    if (!read_process(pid, &parent, &cpu_s)) bench_die("no process %d", pid);
    return cpu_s;
}

double family_cpu_s(int pid)
{
    double sum = process_cpu_s(pid), cpu_s;
    DIR *folder = opendir("/proc");
    int parent;
    if (!folder) bench_die("no /proc");
    for (const struct dirent *each; (each = readdir(folder));) {
        int other = atoi(each->d_name);
        if (other > 0 && read_process(other, &parent, &cpu_s) && parent == pid) sum += cpu_s;
    }
    closedir(folder);
    return sum;
}

/* ----------------------------------------------------------------------------------------------------- callers -- */

typedef struct caller {
    pthread_t thread;
    const store *of;
    bench_random random;
    atomic_bool *stop;
    uint64_t answered;
    bench_histogram took;
} caller;

static void *call(void *context)
{
    caller *c = context;
    void *way = c->of->open();
    while (!atomic_load_explicit(c->stop, memory_order_relaxed)) {
        const session *s = &sessions[bench_random_below(&c->random, session_count)];
        uint64_t began = bench_now_ns();
        if (!c->of->validate(way, s->token, s->user)) bench_die("%s: a live session was refused", c->of->name);
        bench_histogram_add(&c->took, bench_now_ns() - began);
        c->answered++;
    }
    c->of->close(way);
    return NULL;
}

typedef struct measured {
    double seconds, answered;
    spent spent;
    bench_histogram took;
} measured;

static void measure(const store *of, unsigned callers, double seconds, measured *m)
{
    static caller all[CALLERS_MAX];
    atomic_bool stop = false;
    spent before = of->spent();
    uint64_t began = bench_now_ns();
    memset(m, 0, sizeof *m);
    bench_histogram_clear(&m->took);
    for (unsigned i = 0; i < callers; i++) {
        all[i] = (caller){.of = of, .stop = &stop};
        bench_random_seed(&all[i].random, i + 1);
        bench_histogram_clear(&all[i].took);
        if (pthread_create(&all[i].thread, NULL, call, &all[i])) bench_die("no thread is left");
    }
    bench_sleep_until_ns(began + (uint64_t)(seconds * 1e9));
    atomic_store(&stop, true);
    for (unsigned i = 0; i < callers; i++) {
        pthread_join(all[i].thread, NULL);
        bench_histogram_merge(&m->took, &all[i].took);
        m->answered += (double)all[i].answered;
    }
    m->seconds = (double)(bench_now_ns() - began) / 1e9;
    spent after = of->spent();
    m->spent = (spent){after.cpu_s - before.cpu_s, after.bytes - before.bytes};
}

/* From when the call that ends it has returned until another process refuses it. */
static void honoured(const store *of, const options *o, bench_histogram *took)
{
    void *here = of->open(), *there = of->other();
    bench_histogram_clear(took);
    for (int i = 0; i < (int)o->revocations; i++) {
        session s = {.user = 1000000 + (uint64_t)i};
        of->login(here, s.user, s.token);
        if (!of->validate(here, s.token, s.user) || !of->validate(there, s.token, s.user))
            bench_die("%s: a live session was refused", of->name);
        of->revoke(here, s.token);
        uint64_t ended = bench_now_ns(), last = ended;
        while (of->validate(there, s.token, s.user)) last = bench_now_ns();
        bench_histogram_add(took, last - ended);
    }
    of->close(there);
    of->close(here);
}

/* ------------------------------------------------------------------------------------------------------- stores -- */

static void fill(const store *of)
{
    void *way = of->open();
    for (size_t i = 0; i < session_count; i++) {
        sessions[i].user = i + 1;
        of->login(way, sessions[i].user, sessions[i].token);
        if (i % 256 == 0) bench_progress(of->name, (double)i, (double)session_count);
    }
    of->close(way);
    bench_progress_end();
}

static void measure_store(const store *of, const options *o, bench_json *json)
{
    static measured alone, four, many;
    static bench_histogram ended;
    if (of->start) of->start();
    fill(of);
    measure(of, 4, o->seconds / 3, &four); /* warms it */
    measure(of, 1, o->seconds, &alone);
    measure(of, 4, o->seconds, &four);
    measure(of, 64, o->seconds, &many);
    if (!of->honoured) honoured(of, o, &ended);
    if (of->stop) of->stop();
    bench_json_object(json, NULL);
    bench_json_text(json, "key", of->key);
    bench_json_text(json, "name", of->name);
    bench_json_histogram(json, "validate", &alone.took, false);
    bench_json_number(json, "per_second_4", four.answered / four.seconds);
    bench_json_number(json, "per_second_64", many.answered / many.seconds);
    bench_json_number(json, "store_cpu_us", 1e6 * four.spent.cpu_s / four.answered);
    bench_json_number(json, "bytes", four.spent.bytes / four.answered);
    if (of->honoured) bench_json_text(json, "honoured_text", of->honoured);
    else bench_json_histogram(json, "honoured", &ended, false);
    bench_json_end(json, '}');
    printf("%-40s p50 %8.2f us  p99 %8.2f us  %9.0f/s at 4, %9.0f/s at 64  store %6.2f us, %6.0f bytes\n", of->name,
           bench_histogram_quantile(&alone.took, 0.5) / 1e3, bench_histogram_quantile(&alone.took, 0.99) / 1e3,
           four.answered / four.seconds, many.answered / many.seconds, 1e6 * four.spent.cpu_s / four.answered,
           four.spent.bytes / four.answered);
    fflush(stdout);
}

/* -------------------------------------------------------------------------------------------------------- main -- */

static void read_options(options *o, int argc, char **argv)
{
    const bench_option known[] = {{"--sessions", &o->sessions, 100, 200000},
                                  {"--seconds", &o->seconds, 0.1, 600},
                                  {"--revocations", &o->revocations, 1, 100000},
                                  {"--memcached-pid", &place.memcached_pid, 1, 1 << 30},
                                  {"--postgres-pid", &place.postgres_pid, 1, 1 << 30}};
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--help")) {
            fputs(usage, stdout);
            exit(0);
        } else if (!strcmp(argv[i], "--short")) o->sessions = 500, o->seconds = 0.3, o->revocations = 10;
        else if (!strcmp(argv[i], "--json") && i + 1 < argc) o->json = argv[++i];
        else if (!strcmp(argv[i], "--memcached") && i + 1 < argc) place.memcached = argv[++i];
        else if (!strcmp(argv[i], "--postgres") && i + 1 < argc) place.postgres = argv[++i];
        else if (!bench_option_read(known, sizeof known / sizeof *known, argv, &i))
            bench_die("latchkey-bench-stores: '%s' is no option; see --help", argv[i]);
    }
    if (!place.memcached || !place.postgres || place.memcached_pid == 0 || place.postgres_pid == 0)
        bench_die("latchkey-bench-stores: run it by bench/stores/run.py, which starts the servers");
}

int main(int argc, char **argv)
{
    static const store *const all[] = {&store_cookie, &store_postgres, &store_memcached, &store_redis, &store_latchkey};
    options o = {.sessions = 20000, .seconds = 3, .revocations = 200, .json = "bench/results/stores.json"};
    read_options(&o, argc, argv);
    if (sodium_init() < 0) bench_die("libsodium finds no source of randomness");
    session_count = (size_t)o.sessions;
    sessions = bench_take(session_count * sizeof *sessions);
    bench_json json = {.file = fopen(o.json, "w"), .first = true};
    if (!json.file) bench_die("cannot write %s", o.json);
    bench_json_object(&json, NULL);
    bench_json_text(&json, "benchmark", "stores");
    bench_json_machine(&json, "");
    bench_json_number(&json, "sessions", o.sessions);
    bench_json_number(&json, "seconds", o.seconds);
    bench_json_number(&json, "record_bytes", RECORD_SIZE);
    bench_json_array(&json, "stores");
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) measure_store(all[i], &o, &json);
    bench_json_end(&json, ']');
    bench_json_end(&json, '}');
    if (fclose(json.file)) bench_die("cannot write %s", o.json);
    free(sessions);
    return 0;
}
