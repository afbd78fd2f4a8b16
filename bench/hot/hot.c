/* SPDX-License-Identifier: MIT
 *
 * latchkey-bench-hot: does a user with very many sessions keep others waiting? One thread lists that user's sessions, logs the
 * user in at a limit, or ends all of them, one call after the other. Meanwhile another thread validates another user's session,
 * without L1, at the same partition of the same Redis: a miss waits for the script that runs.
 */
#include "harness.h"

#include <latchkey.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { MAKERS = 8, HOT = 7, OTHER = 8, LISTED = 100, LENGTH = LATCHKEY_TOKEN_LENGTH };

static const char usage[] =
    "latchkey-bench-hot [--short] [--seconds N] [--json FILE]\n"
    "\n"
    "Misses of one user while another has 1, 1,000 and 100,000 sessions. A table in Markdown on stdout.\n"
    "\n"
    "  --short      1 and 2,000 sessions, half a second for each row\n"
    "  --seconds N  for each row (5)\n"
    "  --json FILE  write the figures there, too\n"
    "  --help       this\n";

enum activity { NOTHING, LIST, LOGIN, REVOKE, ACTIVITIES };
static const char *const names[ACTIVITIES] = {"nothing", "`latchkey_sessions`", "a login at `max_sessions`",
                                              "`latchkey_revoke_user`"};

typedef struct row {
    size_t sessions;
    enum activity activity;
    bench_histogram misses, calls;
    uint64_t unanswered, failed;
} row;

typedef struct world {
    bench_server *server;
    latchkey *maker, *limited, *other;
    char token[LATCHKEY_TOKEN_SIZE]; /* of the other user */
    enum activity activity;
    bench_histogram *calls;
    atomic_size_t to_make;
    atomic_bool over;
    uint64_t unanswered;  /* misses */
    atomic_size_t failed; /* calls for the hot user */
} world;

static latchkey *open_handle(const world *w, const char *options)
{
    char config[512], error[256];
    latchkey *lk;
    snprintf(config, sizeof config, "%s?partitions=1&deadline_ms=60000&staleness_ms=60000&%s",
             bench_server_unix_url(w->server), options);
    if (latchkey_open(config, &lk, error, sizeof error)) bench_die("latchkey_open: %s", error);
    return lk;
}

static int log_in(latchkey *lk, uint64_t user, char token[LATCHKEY_TOKEN_SIZE])
{
    latchkey_draft draft = {.size = sizeof draft, .user_id = user};
    return latchkey_create(lk, &draft, token);
}

/* ------------------------------------------------------------------------------------------------- the hot user -- */

static void *make_some(void *context)
{
    world *w = context;
    char token[LATCHKEY_TOKEN_SIZE];
    for (size_t left = atomic_load(&w->to_make); left;)
        if (atomic_compare_exchange_weak(&w->to_make, &left, left - 1) && log_in(w->maker, HOT, token))
            bench_die("a login failed");
    return NULL;
}

static void make_sessions(world *w, size_t count)
{
    pthread_t threads[MAKERS];
    size_t there;
    if (latchkey_sessions(w->maker, HOT, NULL, 0, NULL, 0, &there)) bench_die("the sessions cannot be counted");
    atomic_store(&w->to_make, count > there ? count - there : 0);
    for (int i = 0; i < MAKERS; i++)
        if (pthread_create(&threads[i], NULL, make_some, w)) bench_die("no thread can be had");
    for (int i = 0; i < MAKERS; i++) pthread_join(threads[i], NULL);
}

static void call_once(world *w)
{
    latchkey_session_info infos[LISTED];
    char token[LATCHKEY_TOKEN_SIZE];
    size_t total;
    uint64_t start = bench_now_ns();
    int status = LATCHKEY_OK;
    if (w->activity == LIST) status = latchkey_sessions(w->maker, HOT, NULL, 0, infos, LISTED, &total);
    if (w->activity == LOGIN) status = log_in(w->limited, HOT, token);
    if (w->activity == REVOKE) status = latchkey_revoke_user(w->maker, HOT, NULL, 0, &total);
    if (status) atomic_fetch_add(&w->failed, 1);
    bench_histogram_add(w->calls, bench_now_ns() - start);
}

static void *be_hot(void *context)
{
    world *w = context;
    do call_once(w);
    while (w->activity != REVOKE && !atomic_load(&w->over));
    atomic_store(&w->over, true); /* of a user without sessions there is nothing more to end */
    return NULL;
}

/* ---------------------------------------------------------------------------------------------- the other user -- */

/* While a script runs for more than five seconds, Redis answers BUSY to all clients. */
static void miss_until(world *w, uint64_t until_ns, bench_histogram *misses)
{
    latchkey_entry entry;
    for (uint64_t start = bench_now_ns(); start < until_ns && !atomic_load(&w->over); start = bench_now_ns()) {
        int status = latchkey_validate(w->other, w->token, LENGTH, &entry);
        if (status) w->unanswered++;
        bench_histogram_add(misses, bench_now_ns() - start);
        bench_sleep_until_ns(bench_now_ns() + 1000000);
    }
}

static void measure(world *w, row *r, double seconds)
{
    char options[64];
    make_sessions(w, r->sessions);
    snprintf(options, sizeof options, "max_sessions=%zu", r->sessions);
    w->limited = open_handle(w, options);
    w->activity = r->activity;
    w->calls = &r->calls;
    w->unanswered = 0;
    atomic_store(&w->failed, 0);
    uint64_t end = bench_now_ns() + (uint64_t)(seconds * 1e9);
    do {
        pthread_t thread;
        if (r->activity == REVOKE) make_sessions(w, r->sessions);
        atomic_store(&w->over, false);
        if (r->activity != NOTHING && pthread_create(&thread, NULL, be_hot, w)) bench_die("no thread can be had");
        miss_until(w, r->activity == REVOKE ? UINT64_MAX : end, &r->misses);
        atomic_store(&w->over, true);
        if (r->activity != NOTHING) pthread_join(thread, NULL);
    } while (bench_now_ns() < end);
    latchkey_close(w->limited);
    r->unanswered = w->unanswered;
    r->failed = atomic_load(&w->failed);
}

/* ------------------------------------------------------------------------------------------------------ output -- */

static void print_table(const row *rows, size_t count)
{
    printf("| sessions of the hot user | call, in a loop | a call, mean | failed | another user's miss: p50 | "
           "p99 | longest | unanswered |\n"
           "|---:|---|---:|---:|---:|---:|---:|---:|\n");
    for (size_t i = 0; i < count; i++) {
        const row *r = &rows[i];
        char call[32] = "";
        if (r->calls.count) snprintf(call, sizeof call, "%.2f ms", bench_histogram_mean(&r->calls) / 1e6);
        printf("| %zu | %s | %s | %.0f%% | %.2f ms | %.2f ms | %.1f ms | %.1f%% |\n", r->sessions, names[r->activity],
               call, r->calls.count ? 100.0 * (double)r->failed / (double)r->calls.count : 0,
               bench_histogram_quantile(&r->misses, 0.5) / 1e6, bench_histogram_quantile(&r->misses, 0.99) / 1e6,
               (double)r->misses.max_ns / 1e6, 100.0 * (double)r->unanswered / (double)r->misses.count);
    }
}

static void write_json(const world *w, const char *path, const row *rows, size_t count)
{
    bench_json json = {.first = true, .file = fopen(path, "w")};
    bench_info info;
    if (!json.file) bench_die("latchkey-bench-hot: cannot write %s", path);
    bench_info_read(bench_server_connect(w->server), &info);
    bench_json_object(&json, NULL);
    bench_json_text(&json, "benchmark", "hot");
    bench_json_machine(&json, info.version);
    bench_json_array(&json, "rows");
    for (size_t i = 0; i < count; i++) {
        bench_json_object(&json, NULL);
        bench_json_number(&json, "sessions", (double)rows[i].sessions);
        bench_json_text(&json, "called", names[rows[i].activity]);
        bench_json_histogram(&json, "calls", &rows[i].calls, false);
        bench_json_histogram(&json, "misses", &rows[i].misses, false);
        bench_json_end(&json, '}');
    }
    bench_json_end(&json, ']');
    bench_json_end(&json, '}');
    fputc('\n', json.file);
    if (fclose(json.file)) bench_die("latchkey-bench-hot: cannot write %s", path);
}

int main(int argc, char **argv)
{
    double seconds = 5;
    const char *json = NULL;
    bool brief = false;
    const bench_option known[] = {{"--seconds", &seconds, 0.1, 3600}};
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--help")) {
            fputs(usage, stdout);
            return 0;
        } else if (!strcmp(argv[i], "--short")) brief = true, seconds = 0.5;
        else if (!strcmp(argv[i], "--json") && i + 1 < argc) json = argv[++i];
        else if (!bench_option_read(known, 1, argv, &i))
            bench_die("latchkey-bench-hot: '%s' is no option; see --help", argv[i]);
    }
    const size_t sizes[] = {1, brief ? 2000 : 1000, 100000};
    size_t count = 0, steps = brief ? 2 : 3;
    row *rows = bench_take(3 * ACTIVITIES * sizeof *rows);
    world w = {.server = bench_server_start(false)};
    w.maker = open_handle(&w, "");
    w.other = open_handle(&w, "l1_capacity=0");
    if (log_in(w.other, OTHER, w.token)) bench_die("a login failed");
    for (size_t s = 0; s < steps; s++)
        for (enum activity a = s ? LIST : NOTHING; a < ACTIVITIES; a++) {
            rows[count] = (row){.sessions = sizes[s], .activity = a};
            bench_histogram_clear(&rows[count].misses);
            bench_histogram_clear(&rows[count].calls);
            measure(&w, &rows[count++], seconds);
            bench_progress("rows", (double)count, (double)(steps * (ACTIVITIES - 1) + 1));
        }
    bench_progress_end();
    print_table(rows, count);
    if (json) write_json(&w, json, rows, count);
    latchkey_close(w.other);
    latchkey_close(w.maker);
    bench_server_stop(w.server);
    free(rows);
    return 0;
}
