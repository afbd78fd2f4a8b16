/* SPDX-License-Identifier: MIT
 *
 * The client threads: each draws a session by Zipf and validates it; one request in 279 is a login or a logout.
 *
 *     closed loop   the next request starts when the one before has ended. Shows throughput and the time of one
 *                   call at full load. It cannot show queueing: while one call is slow, no request is sent
 *                   (coordinated omission).
 *     paced         requests are due at random times (exponential gaps) at a given rate, whether or not the one
 *                   before has ended, and a request's time counts from when it was due. The calls are really made
 *                   then, and timed; the waiting behind earlier calls of the same thread is computed from those
 *                   times (finish = later of due and the finish before, plus the call: Lindley 1952). Measured with
 *                   the clock instead, it would show the generator: a sleeping thread on an idle virtual core wakes
 *                   50 to 100 us late, hundreds of times what a hit takes. That lateness is reported as `overslept`.
 *
 * What is timed is the call alone; drawing the session and copying its token come before.
 */
#include "article.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#define READS_PER_WRITE 278
#define LOGINS 100 /* to 80 logouts; the rest end by idling */
#define LOGOUTS 80
#define TICK_NS 100000000u
#define DEAD_KEPT 512 /* logged-out tokens per thread that are tried again at the end */

typedef struct load load;

typedef struct client {
    load *load;
    pthread_t thread;
    store store;
    bench_random random;
    tally counted;
    bench_histogram validate, write, overslept, call;
    char dead[DEAD_KEPT][LATCHKEY_TOKEN_SIZE];
    size_t dead_count;
} client;

struct load {
    world *world;
    const article_options *options;
    bench_zipf zipf;
    double gap_ns;        /* mean, for one thread; 0: closed loop */
    atomic_int recording; /* relaxed: a request more or less at the edge of a phase does not matter */
    atomic_int stop;      /* relaxed: the join orders everything */
    client *clients;
};

typedef struct request {
    enum { READ, LOGIN, LOGOUT } what;
    size_t index;
    session it;
} request;

/* --------------------------------------------------------------------------------------------- one request -- */

static void complain(client *c, const char *what, int status)
{
    static atomic_int said;
    c->counted.wrong++;
    if (atomic_fetch_add(&said, 1) < 5) fprintf(stderr, "\nWRONG: %s (%s)\n", what, latchkey_status_text(status));
}

/* A session that was not used for nine tenths of its idle time may be gone; two seconds for the rounding of both. */
static bool may_have_idled(const client *c, const session *it)
{
    double unused_s = (double)(uint32_t)(bench_now_ns() / 1000000000u - it->used_s) + 2;
    return unused_s * 1000 >= 0.9 * c->load->options->idle_ms;
}

static void drop(client *c, size_t index)
{
    session gone;
    if (world_take(c->load->world, index, &gone)) world_leave(c->load->world, index);
}

/* A live session was refused: is there a reason? */
static void refused(client *c, const request *r, int status)
{
    if (status == LATCHKEY_UNAVAILABLE) {
        c->counted.unavailable++;
        return;
    }
    if (!world_holds(c->load->world, r->index, &r->it)) {
        c->counted.raced++;
        return;
    }
    if (may_have_idled(c, &r->it)) {
        c->counted.idled++;
        drop(c, r->index);
        return;
    }
    /* Another thread may have found it idled a moment ago, and be about to drop it. */
    bench_sleep_until_ns(bench_now_ns() + 20000000u);
    if (world_holds(c->load->world, r->index, &r->it)) complain(c, "a live session was refused", status);
    else c->counted.raced++;
}

static void prepare(client *c, request *r)
{
    world *w = c->load->world;
    if (bench_random_below(&c->random, READS_PER_WRITE + 1) > 0) {
        r->what = READ;
        do r->index = bench_zipf_next(&c->load->zipf, &c->random);
        while (!world_read(w, r->index, &r->it));
    } else if (bench_random_below(&c->random, LOGINS + LOGOUTS) < LOGOUTS) {
        r->what = LOGOUT;
        do r->index = bench_random_below(&c->random, w->count);
        while (!world_take(w, r->index, &r->it));
    } else {
        r->what = LOGIN;
        r->index = world_vacancy(w, &c->random);
        r->it.user_id = 1 + atomic_fetch_add_explicit(&w->users, 1, memory_order_relaxed);
    }
}

static int perform(client *c, request *r, bool *right)
{
    if (r->what == READ) return store_validate(&c->store, r->it.token, r->it.user_id, right, &c->counted.sum);
    if (r->what == LOGIN) return store_login(&c->store, r->it.user_id, r->it.token);
    return store_logout(&c->store, r->it.token);
}

/* What the request did to the world, and whether the answer was the right one. */
static void conclude(client *c, const request *r, int status, bool right)
{
    world *w = c->load->world;
    latchkey_entry entry;
    switch (r->what) {
    case READ:
        if (status != LATCHKEY_OK) refused(c, r, status);
        else if (!right) complain(c, "another user's answer", status);
        break;
    case LOGIN:
        if (status == LATCHKEY_OK) world_put(w, r->index, &r->it);
        else world_leave(w, r->index);
        if (status == LATCHKEY_UNAVAILABLE) c->counted.unavailable++;
        else if (status != LATCHKEY_OK) complain(c, "login", status);
        break;
    case LOGOUT:
        world_leave(w, r->index);
        if (status == LATCHKEY_UNAVAILABLE || status == LATCHKEY_PENDING) c->counted.unavailable++;
        else if (status == LATCHKEY_NOT_FOUND && may_have_idled(c, &r->it)) c->counted.idled++;
        else if (status != LATCHKEY_OK) complain(c, "logout", status);
        /* Guarantee B, at once, and without a command that the figures would count. */
        if (status != LATCHKEY_UNAVAILABLE && c->store.lk &&
            latchkey_try_validate(c->store.lk, r->it.token, LATCHKEY_TOKEN_LENGTH, &entry) == LATCHKEY_OK)
            complain(c, "admitted after its logout", LATCHKEY_OK);
        if (status == LATCHKEY_OK) memcpy(c->dead[c->dead_count++ % DEAD_KEPT], r->it.token, LATCHKEY_TOKEN_SIZE);
        break;
    }
}

static void *run(void *argument)
{
    client *c = argument;
    load *l = c->load;
    uint64_t due = bench_now_ns(), finish = due;
    while (!atomic_load_explicit(&l->stop, memory_order_relaxed)) {
        request r;
        prepare(c, &r);
        bool recording = atomic_load_explicit(&l->recording, memory_order_relaxed), right = false;
        if (l->gap_ns > 0) {
            due += (uint64_t)bench_random_exponential(&c->random, l->gap_ns);
            if (due > bench_now_ns()) {
                bench_sleep_until_ns(due);
                if (recording) bench_histogram_add(&c->overslept, bench_now_ns() - due);
            }
        }
        uint64_t start = bench_now_ns();
        int status = perform(c, &r, &right);
        uint64_t called = bench_now_ns() - start, took = called;
        conclude(c, &r, status, right);
        if (l->gap_ns > 0) {
            finish = (finish > due ? finish : due) + took;
            took = finish - due;
        }
        if (!recording) continue;
        bench_histogram_add(r.what == READ ? &c->validate : &c->write, took);
        if (r.what == READ) bench_histogram_add(&c->call, called);
        c->counted.reads += r.what == READ;
        c->counted.logins += r.what == LOGIN;
        c->counted.logouts += r.what == LOGOUT;
    }
    return NULL;
}

/* What was logged out stays out, also when Redis is asked. */
static void check_dead(client *c)
{
    size_t count = c->dead_count < DEAD_KEPT ? c->dead_count : DEAD_KEPT;
    for (size_t i = 0; i < count; i++) {
        bool right = false;
        int status = store_validate(&c->store, c->dead[i], 0, &right, &c->counted.sum);
        if (status == LATCHKEY_UNAVAILABLE) continue;
        if (status != LATCHKEY_NOT_FOUND) complain(c, "a logged-out session was not refused", status);
        c->counted.dead_checked++;
    }
}

/* ------------------------------------------------------------------------------------------------ a phase -- */

static void counters_since(latchkey_stats *stats, const latchkey_stats *before)
{
    /* The counters stand first, up to the first gauge. */
    for (size_t i = 0; i < offsetof(latchkey_stats, pending) / sizeof(uint64_t); i++)
        ((uint64_t *)stats)[i] -= ((const uint64_t *)before)[i];
    stats->refreshes -= before->refreshes;
    stats->refreshes_dropped -= before->refreshes_dropped;
}

static void read_stats(latchkey *lk, latchkey_stats *stats)
{
    memset(stats, 0, sizeof *stats);
    if (lk && latchkey_stats_read(lk, stats, sizeof *stats) != LATCHKEY_OK) bench_die("latchkey_stats_read failed");
}

static void tally_add(tally *into, const tally *from)
{
    for (size_t i = 0; i < sizeof *into / sizeof(uint64_t); i++) ((uint64_t *)into)[i] += ((const uint64_t *)from)[i];
}

static void start_clients(load *l, latchkey *lk, const bench_server *server)
{
    static uint64_t phase; /* so that no phase repeats another's draws */
    int threads = (int)l->options->threads;
    phase++;
    l->clients = bench_take((size_t)threads * sizeof *l->clients);
    for (int i = 0; i < threads; i++) {
        client *c = &l->clients[i];
        c->load = l;
        bench_random_seed(&c->random, (uint64_t)l->options->seed + phase * 64 + (uint64_t)i);
        store_open(&c->store, lk, server, l->options, (uint64_t)l->options->seed + phase * 64 + 32 + (uint64_t)i);
        bench_histogram_clear(&c->validate);
        bench_histogram_clear(&c->write);
        bench_histogram_clear(&c->overslept);
        bench_histogram_clear(&c->call);
        pthread_create(&c->thread, NULL, run, c);
    }
}

static void end_clients(load *l, result *r)
{
    for (int i = 0; i < l->options->threads; i++) pthread_join(l->clients[i].thread, NULL);
    for (int i = 0; i < l->options->threads; i++) {
        client *c = &l->clients[i];
        check_dead(c);
        tally_add(&r->counted, &c->counted);
        bench_histogram_merge(&r->validate, &c->validate);
        bench_histogram_merge(&r->write, &c->write);
        bench_histogram_merge(&r->overslept, &c->overslept);
        bench_histogram_merge(&r->call, &c->call);
        store_close(&c->store);
    }
    free(l->clients);
}

result *clients_run(const char *name, world *w, latchkey *lk, const bench_server *server,
                    const article_options *options, double rate, double skip_s, double seconds)
{
    load l = {.world = w, .options = options, .gap_ns = rate > 0 ? 1e9 * options->threads / rate : 0};
    redisContext *redis = bench_server_connect(server);
    bench_info info_before = {0}, info_after;
    latchkey_stats first, before = {0}, now;
    result *r = bench_take(sizeof *r);
    snprintf(r->name, sizeof r->name, "%s", name);
    r->asked_rate = rate;
    r->samples = bench_take(((size_t)((skip_s + seconds) * 1e9 / TICK_NS) + 16) * sizeof *r->samples);
    bench_histogram_clear(&r->validate);
    bench_histogram_clear(&r->write);
    bench_histogram_clear(&r->overslept);
    bench_histogram_clear(&r->call);
    bench_zipf_init(&l.zipf, w->count, options->skew);

    read_stats(lk, &first);
    uint64_t began = bench_now_ns(), record_at = began + (uint64_t)(skip_s * 1e9), recorded_from = 0, at = began;
    start_clients(&l, lk, server);
    for (bool recording = false; !recording || at < recorded_from + (uint64_t)(seconds * 1e9);) {
        if (!recording && at >= record_at) {
            bench_info_read(redis, &info_before);
            read_stats(lk, &before);
            recorded_from = bench_now_ns();
            atomic_store_explicit(&l.recording, 1, memory_order_relaxed);
            recording = true;
        }
        bench_sleep_until_ns(at += TICK_NS);
        read_stats(lk, &now);
        r->samples[r->sample_count++] = (sample){(double)(bench_now_ns() - began) / 1e9, now.l1_hits - first.l1_hits,
                                                 now.l1_misses - first.l1_misses};
        bench_progress(name, (double)(at - began), (skip_s + seconds) * 1e9);
    }
    atomic_store_explicit(&l.recording, 0, memory_order_relaxed);
    r->seconds = (double)(bench_now_ns() - recorded_from) / 1e9;
    read_stats(lk, &r->stats);
    counters_since(&r->stats, &before);
    bench_info_read(redis, &info_after);
    r->redis = bench_info_since(&info_before, &info_after);
    atomic_store_explicit(&l.stop, 1, memory_order_relaxed);
    end_clients(&l, r);
    redisFree(redis);
    bench_progress(name, 1, 1);
    return r;
}
