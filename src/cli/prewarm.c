/* latchkey prewarm: measures from here what latchkey_prewarm will cost when an instance starts. It fills only this
 * process' own L1. */
#include "cli/cli.h"

#include "base/clock.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>

typedef struct warming {
    latchkey *lk;
    size_t count, loaded;
    int status;
    int64_t took_us;
    atomic_bool done; /* sequentially consistent, the default: nothing here is fast */
} warming;

static void *warm(void *context)
{
    warming *w = context;
    int64_t began_us = lk_now_us();
    w->status = latchkey_prewarm(w->lk, w->count, &w->loaded);
    w->took_us = lk_now_us() - began_us;
    atomic_store(&w->done, true);
    return NULL;
}

/* It runs in a thread, so that this one can show the progress. */
static bool measure_prewarm(warming *w)
{
    pthread_t thread;
    latchkey_stats stats;
    if (pthread_create(&thread, NULL, warm, w)) return false;
    const struct timespec moment = {.tv_nsec = 20000000};
    for (int waits = 0; !atomic_load(&w->done); waits++) {
        nanosleep(&moment, NULL);
        latchkey_stats_read(w->lk, &stats, sizeof stats);
        if (waits > 15) cli_progress("%" PRIu64 " of %zu sessions are loaded", stats.fills, w->count);
    }
    pthread_join(thread, NULL);
    cli_progress(NULL);
    return true;
}

static void print_prewarm(const cli *c, const warming *w, const latchkey_stats *stats)
{
    double seconds = (double)w->took_us / 1e6;
    if (c->json) {
        json j = {0};
        json_open(&j, NULL, '{');
        json_uint(&j, "asked_for", w->count);
        json_uint(&j, "loaded", w->loaded);
        json_real(&j, "seconds", seconds);
        json_uint(&j, "records_read", stats->l2_reads);
        json_uint(&j, "l1_capacity", stats->l1_capacity);
        json_close(&j, '}');
        return;
    }
    cli_say(
        stdout,
        "latchkey_prewarm(lk, %zu, ...) at the start of an instance loads %zu sessions and takes %.3f s from here.\n",
        w->count, w->loaded, seconds);
    if (w->loaded) cli_say(stdout, "That is %.0f a second, in batches of 128.\n", (double)w->loaded / (seconds + 1e-6));
    if (w->loaded < w->count && w->count > stats->l1_capacity)
        cli_say(stdout, "L1 holds no more than l1_capacity: %" PRIu64 ".\n", stats->l1_capacity);
    else if (w->loaded < w->count)
        cli_say(stdout,
                "There are no more that are alive and can be read here, or that this L1 could take (some share a place "
                "when it is full).\n");
    cli_say(stdout, "No instance that runs is warmer now: each has an L1 of its own.\n");
}

static int run_prewarm(const cli *c)
{
    warming w = {0};
    uint64_t count;
    latchkey_stats stats;
    if (!cli_number(c->arguments[0], 1, 100000000, &count))
        return cli_fail(c, CLI_USAGE, "COUNT is a number from 1 to 100000000");
    w.count = (size_t)count;
    int exit = cli_open(c, &w.lk);
    if (exit) return exit;
    bool measured = measure_prewarm(&w);
    latchkey_stats_read(w.lk, &stats, sizeof stats);
    if (!measured) exit = cli_fail(c, CLI_FAILED, "no thread can be had");
    else if (w.status) exit = cli_status(c, w.lk, w.status, "prewarm");
    else print_prewarm(c, &w, &stats);
    latchkey_close(w.lk);
    return exit;
}

const cli_command cli_prewarm = {
    .name = "prewarm",
    .arguments = "prewarm COUNT",
    .summary = "how long prewarming an instance takes from here",
    .help =
        "Loads the COUNT most recently used sessions into an L1 of its own, as latchkey_prewarm does when an instance\n"
        "starts, says how many there were and how long it took, and forgets them. So it shows what COUNT will cost an\n"
        "instance, and Redis, before you choose it. It does not warm the L1 of any other process.",
    .least = 1,
    .most = 1,
    .run = run_prewarm,
};
