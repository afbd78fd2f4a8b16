/* SPDX-License-Identifier: MIT
 *
 * The phases. Setups take turns within each round, so what slows the machine for a while slows all of them. What is
 * counted while nothing else happens is counted in one window for all of them.
 */
#include "setup.h"

#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>

/* An instance that beats four times in the longest staleness, so that beats do not count among what is counted. */
#define RARE_BEATS "staleness_ms=60000&"

enum { HITS = 20000, TURNS = 25 };

static void must(const char *what, int status)
{
    if (status) bench_die("%s: %s", what, latchkey_status_text(status));
}

/* A session of 4.5 KB. */
static void log_in(latchkey *lk, uint64_t user, char token[LATCHKEY_TOKEN_SIZE])
{
    static const uint8_t material[4400];
    const latchkey_field field = {"pq.keys", material, sizeof material};
    latchkey_draft draft = {.size = sizeof draft, .user_id = user, .fields = &field, .field_count = 1};
    must("create", latchkey_create(lk, &draft, token));
}

static void warm(latchkey *lk, const char *token)
{
    latchkey_entry entry;
    do must("validate", latchkey_validate(lk, token, LENGTH, &entry));
    while (latchkey_try_validate(lk, token, LENGTH, &entry));
}

/* ----------------------------------------------------------------------------------------------------- callers -- */

typedef struct caller {
    pthread_t thread;
    setup *s;
    const plan *p;
    void (*call)(struct caller *c);
    size_t calls;
    uint64_t user; /* the next one's */
    bench_random random;
} caller;

static void miss(caller *c)
{
    latchkey_entry entry;
    const char *token = c->s->token[bench_random_below(&c->random, (uint64_t)c->p->sessions)];
    must("validate", latchkey_validate(c->s->bare, token, LENGTH, &entry));
}

static void login(caller *c)
{
    char token[LATCHKEY_TOKEN_SIZE];
    log_in(c->s->bare, c->user++, token);
}

static void *call_all(void *context)
{
    caller *c = context;
    for (size_t i = 0; i < c->calls; i++) c->call(c);
    return NULL;
}

/* How long all calls took, in seconds. */
static double call_together(const plan *p, setup *s, void (*call)(caller *c), double calls)
{
    caller all[CALLERS];
    size_t each = (size_t)calls / CALLERS;
    uint64_t start = bench_now_ns();
    for (size_t i = 0; i < CALLERS; i++, s->users += each) {
        all[i] = (caller){.s = s, .p = p, .call = call, .calls = each, .user = s->users};
        bench_random_seed(&all[i].random, s->users + i);
        if (pthread_create(&all[i].thread, NULL, call_all, &all[i])) bench_die("no thread is left");
    }
    for (size_t i = 0; i < CALLERS; i++) pthread_join(all[i].thread, NULL);
    return (double)(bench_now_ns() - start) / 1e9;
}

const int measure_depths[DEPTHS] = {1, 16, 64};

/* One event loop, which has so many misses under way all the time. */
static void loop(const plan *p, setup *s, int at, int round)
{
    size_t depth = (size_t)measure_depths[at], calls = (size_t)p->misses / 4, begun = 0, done = 0, wakes = 0;
    struct pollfd fd = {.fd = latchkey_fd(s->bare), .events = POLLIN};
    latchkey_answer answers[64];
    bench_random random;
    bench_random_seed(&random, s->users + (uint64_t)at);
    uint64_t start = bench_now_ns();
    while (done < calls) {
        for (; begun < calls && begun - done < depth; begun++) {
            const char *token = s->token[bench_random_below(&random, (uint64_t)p->sessions)];
            must("submit", latchkey_submit(s->bare, token, LENGTH, begun));
        }
        if (poll(&fd, 1, 10000) != 1) bench_die("the event loop waited in vain");
        wakes++;
        size_t got = latchkey_reap(s->bare, answers, 64);
        for (size_t i = 0; i < got; i++) must("a submitted miss", answers[i].status);
        done += got;
    }
    s->loop_per_s[at][round] = (double)calls / ((double)(bench_now_ns() - start) / 1e9);
    s->loop_wakes[at][round] = (double)wakes / (double)calls;
}

/* Short enough that nothing else runs meanwhile, most times. */
static double hit_ns(const plan *p, const setup *s)
{
    latchkey_entry entry;
    size_t at = 0;
    uint64_t start = bench_now_ns();
    for (size_t i = 0; i < HITS; i++) {
        must("a hit", latchkey_try_validate(s->other, s->token[at], LENGTH, &entry));
        if (++at == (size_t)p->sessions) at = 0;
    }
    return (double)(bench_now_ns() - start) / HITS;
}

/* The least of many, in turns. */
static void hit_in_turns(plan *p, int round)
{
    for (int turn = 0; turn < TURNS; turn++)
        for (int i = 0; i < p->count; i++) {
            double ns = hit_ns(p, &p->setups[i]), *least = &p->setups[i].hit_ns[round];
            if (turn == 0 || ns < *least) *least = ns;
        }
    for (int i = 0; i < p->count; i++)
        p->setups[i].hit_times[round] = p->setups[i].hit_ns[round] / p->setups[0].hit_ns[round];
}

static void run_round(plan *p, int round)
{
    hit_in_turns(p, round);
    for (int i = 0; i < p->count; i++) {
        setup *s = &p->setups[i];
        counted before = setup_count(s);
        s->misses_per_s[round] = p->misses / call_together(p, s, miss, p->misses);
        s->miss_us[round] = setup_since(s, &before).cpu_us / p->misses;
        for (int at = 0; at < DEPTHS; at++) loop(p, s, at, round);
        before = setup_count(s);
        s->logins_per_s[round] = p->logins / call_together(p, s, login, p->logins);
        counted spent = setup_since(s, &before);
        s->login_us[round] = spent.cpu_us / p->logins;
        s->session_bytes[round] = spent.memory_bytes / p->logins;
    }
}

/* ------------------------------------------------------------------------------------------------- revocations -- */

/* Ends sessions in one handle until another refuses them. Returns what that cost. */
static counted revoke_many(const plan *p, setup *s, bench_histogram *call, bench_histogram *refusal)
{
    size_t count = (size_t)p->revocations;
    char(*token)[LATCHKEY_TOKEN_SIZE] = bench_take(count * sizeof *token);
    latchkey_entry entry;
    for (size_t i = 0; i < count; i++) {
        log_in(s->maker, s->users++, token[i]);
        warm(s->other, token[i]);
    }
    counted before = setup_count(s);
    for (size_t i = 0; i < count; i++) {
        uint64_t start = bench_now_ns();
        must("revoke", latchkey_revoke(s->maker, token[i], LENGTH));
        uint64_t done = bench_now_ns();
        while (latchkey_try_validate(s->other, token[i], LENGTH, &entry) == LATCHKEY_OK) continue;
        if (refusal) bench_histogram_add(refusal, bench_now_ns() - start);
        if (call) bench_histogram_add(call, done - start);
    }
    counted spent = setup_since(s, &before);
    free(token);
    return spent;
}

static void revoke_alone(const plan *p, setup *s)
{
    bench_histogram_clear(&s->revoke);
    bench_histogram_clear(&s->refusal);
    counted spent = revoke_many(p, s, &s->revoke, &s->refusal);
    s->revoke_commands = spent.commands / p->revocations;
    s->revoke_published = spent.published / p->revocations;
    s->revoke_cpu_us = spent.cpu_us / p->revocations;
}

static void revoke_in_crowd(const plan *p, setup *s)
{
    uint64_t start = bench_now_ns();
    counted spent = revoke_many(p, s, NULL, NULL);
    double took_s = (double)(bench_now_ns() - start) / 1e9;
    double beats = s->idle_cpu_us * CROWD * setup_primaries(s) * took_s;
    s->heard_us = ((spent.cpu_us - beats) / p->revocations - s->revoke_cpu_us) / CROWD;
}

/* ----------------------------------------------------------------------------------------------------- windows -- */

static void open_window(plan *p)
{
    for (int i = 0; i < p->count; i++) p->setups[i].before = setup_count(&p->setups[i]);
}

static void rest(const plan *p) { bench_sleep_until_ns(bench_now_ns() + (uint64_t)(p->window_s * 1e9)); }

static void watch_quiet(plan *p)
{
    open_window(p);
    rest(p);
    for (int i = 0; i < p->count; i++) {
        setup *s = &p->setups[i];
        counted spent = setup_since(s, &s->before);
        s->quiet_cpu_us = spent.cpu_us / p->window_s / setup_primaries(s);
        s->gossip = (spent.bus - spent.published) / p->window_s / s->nodes;
    }
}

/* Of instances without a request. */
static void watch_crowd(plan *p, bool idle)
{
    open_window(p);
    rest(p);
    for (int i = 0; i < p->count; i++) {
        setup *s = &p->setups[i];
        counted spent = setup_since(s, &s->before);
        double beside = p->window_s * setup_primaries(s);
        *(idle ? &s->idle_commands : &s->awake_commands) = spent.commands / beside / CROWD;
        if (!idle) s->awake_published = spent.published / beside / CROWD;
        *(idle ? &s->idle_cpu_us : &s->awake_cpu_us) = (spent.cpu_us / beside - s->quiet_cpu_us) / CROWD;
    }
}

/* A thousand requests a second. One of 278 is a login, or the logout of the last one. */
static void *be_busy(void *context)
{
    caller *c = context;
    char last[LATCHKEY_TOKEN_SIZE];
    latchkey_entry entry;
    uint64_t start = bench_now_ns();
    for (size_t i = 0, writes = 0; i < c->calls; i++) {
        bench_sleep_until_ns(start + i * 1000000);
        if (i % 278 != 277)
            must("validate",
                 latchkey_validate(c->s->crowd[0], c->s->token[i % (size_t)c->p->sessions], LENGTH, &entry));
        else if (writes++ % 2 == 0) log_in(c->s->crowd[0], c->user++, last);
        else must("revoke", latchkey_revoke(c->s->crowd[0], last, LENGTH));
    }
    return NULL;
}

static void watch_busy(plan *p)
{
    caller all[SETUPS_MAX];
    open_window(p);
    for (int i = 0; i < p->count; i++) {
        setup *s = &p->setups[i];
        all[i] = (caller){.s = s, .p = p, .calls = (size_t)(p->window_s * 1000), .user = s->users};
        if (pthread_create(&all[i].thread, NULL, be_busy, &all[i])) bench_die("no thread is left");
    }
    for (int i = 0; i < p->count; i++) pthread_join(all[i].thread, NULL);
    for (int i = 0; i < p->count; i++) {
        setup *s = &p->setups[i];
        counted spent = setup_since(s, &s->before);
        double beside = p->window_s * setup_primaries(s);
        s->busy_commands = spent.commands / beside;
        s->busy_cpu_us = spent.cpu_us / beside - s->quiet_cpu_us;
    }
}

/* --------------------------------------------------------------------------------------------------- instances -- */

/* What this directory of /proc holds: threads, or descriptors. */
static double entries(const char *path)
{
    double count = 0;
    DIR *directory = opendir(path);
    if (!directory) bench_die("cannot read %s", path);
    for (const struct dirent *one; (one = readdir(directory));) count += one->d_name[0] != '.';
    closedir(directory);
    return count;
}

static void crowd_comes(setup *s)
{
    double threads = entries("/proc/self/task"), fds = entries("/proc/self/fd");
    counted before = setup_count(s);
    for (int i = 0; i < CROWD; i++) s->crowd[i] = setup_open(s, "l1_capacity=5000");
    s->idle_connections = setup_since(s, &before).clients / CROWD;
    s->threads = (entries("/proc/self/task") - threads) / CROWD;
    s->fds = (entries("/proc/self/fd") - fds) / CROWD;
}

/* All but the first, which is busy then. */
static void crowd_goes(const plan *p, setup *s)
{
    for (int i = 1; i < CROWD; i++) latchkey_close(s->crowd[i]);
    for (size_t i = 0; i < (size_t)p->sessions; i++) warm(s->crowd[0], s->token[i]);
}

static void begin(const plan *p, setup *s)
{
    s->maker = setup_open(s, RARE_BEATS);
    s->other = setup_open(s, RARE_BEATS);
    s->token = bench_take((size_t)p->sessions * sizeof *s->token);
    for (size_t i = 0; i < (size_t)p->sessions; i++) {
        log_in(s->maker, s->users++, s->token[i]);
        warm(s->other, s->token[i]);
    }
    counted before = setup_count(s);
    s->bare = setup_open(s, RARE_BEATS "l1_capacity=0");
    call_together(p, s, miss, p->misses);
    s->busy_connections = setup_since(s, &before).clients;
}

static void end(setup *s)
{
    latchkey_close(s->crowd[0]);
    latchkey_close(s->bare);
    latchkey_close(s->other);
    latchkey_close(s->maker);
    free(s->token);
}

void measure_all(plan *p)
{
    int steps = (int)p->rounds + 8, done = 0;
    for (int i = 0; i < p->count; i++) begin(p, &p->setups[i]);
    bench_progress("cluster", ++done, steps);
    for (int round = 0; round < (int)p->rounds; round++) {
        run_round(p, round);
        bench_progress("cluster", ++done, steps);
    }
    for (int i = 0; i < p->count; i++) revoke_alone(p, &p->setups[i]);
    bench_progress("cluster", ++done, steps);
    watch_quiet(p);
    bench_progress("cluster", ++done, steps);
    for (int i = 0; i < p->count; i++) crowd_comes(&p->setups[i]);
    watch_crowd(p, false);
    bench_progress("cluster", ++done, steps);
    bench_sleep_until_ns(bench_now_ns() + (uint64_t)(p->settle_s * 1e9));
    watch_crowd(p, true);
    bench_progress("cluster", ++done, steps);
    for (int i = 0; i < p->count; i++) revoke_in_crowd(p, &p->setups[i]);
    bench_progress("cluster", ++done, steps);
    for (int i = 0; i < p->count; i++) crowd_goes(p, &p->setups[i]);
    bench_progress("cluster", ++done, steps);
    watch_busy(p);
    bench_progress("cluster", ++done, steps);
    bench_progress_end();
    for (int i = 0; i < p->count; i++) end(&p->setups[i]);
}
