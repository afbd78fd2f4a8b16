/* SPDX-License-Identifier: MIT
 *
 * The timed loops. The requests lie in the order in which they are made and are fetched ahead, as a token that has just
 * come in over the network is in the cache; a lookup's own memory is what is waited for. A figure is the median over
 * chunks of 512 lookups: what interrupts a thread for a while falls out; what every chunk meets (memory, locks,
 * writers) stays in. The answers are added up and compared with what was stored.
 */
#include "l1bench.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

int64_t peer_lease_until_ms = INT64_MAX / 2;

/* Zero; but the compiler must not know, so that what is combined with it is waited for. */
static volatile uint64_t zero;

typedef struct lane {
    _Alignas(64) const peer *peer;
    void *map;
    const stream *stream;
    enum mode mode;
    double seconds;
    int core;
    pthread_barrier_t *begin;
    size_t at; /* in the stream */
    uint64_t sum, expected, lookups, missed;
    bench_histogram *chunks;                /* how long they took */
    _Alignas(64) _Atomic uint64_t progress; /* lookups so far, for the writer that paces itself by them; relaxed */
} lane;

typedef struct writer {
    _Alignas(64) const peer *peer;
    void *map;
    const world *world;
    const lane *reader;
    bool paced;
    _Atomic bool stop; /* relaxed: seen a little later is good enough */
    uint64_t writes;
} writer;

void pin_to_core(int core)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    sched_setaffinity(0, sizeof set, &set); /* where it is refused, the scheduler decides */
}

/* ------------------------------------------------------------------------------------------------- reader -- */

enum { AHEAD = 8 };

static inline void fetch_ahead(const request *asked)
{
    __builtin_prefetch(asked + AHEAD);
    __builtin_prefetch(asked + AHEAD + 1); /* a request may lie on two lines */
}

static void missed(lane *l, size_t i)
{
    l->missed++;
    l->expected -= l->stream->sums[i + 1] - l->stream->sums[i];
}

static void chunk_back_to_back(lane *l)
{
    const request *asked = l->stream->asked;
    latchkey_entry entry;
    for (size_t i = l->at; i < l->at + CHUNK; i++) {
        fetch_ahead(&asked[i]);
        if (l->peer->get(l->map, &asked[i], &entry)) l->sum += fold(&entry);
        else missed(l, i);
    }
}

/* The same, but which request comes next is known only when the last byte of the answer before is. */
static void chunk_dependent(lane *l)
{
    const request *asked = l->stream->asked;
    uint64_t nothing = zero;
    latchkey_entry entry;
    for (size_t i = l->at; i < l->at + CHUNK; i++) {
        fetch_ahead(&asked[i]);
        if (l->peer->get(l->map, &asked[i + (l->sum & nothing)], &entry)) l->sum += fold(&entry);
        else missed(l, i);
    }
}

static void chunk_batched(lane *l)
{
    latchkey_entry entries[BATCH];
    for (size_t i = l->at; i < l->at + CHUNK; i += BATCH) {
        size_t found = l->peer->get_many(l->map, &l->stream->asked[i], BATCH, entries);
        if (found != BATCH) l->missed += BATCH - found;
        for (int k = 0; k < BATCH; k++) l->sum += fold(&entries[k]);
    }
}

static void chunk(lane *l)
{
    if (l->at + CHUNK > l->stream->count) l->at = 0;
    l->expected += l->stream->sums[l->at + CHUNK] - l->stream->sums[l->at];
    if (l->mode == LATENCY) chunk_dependent(l);
    else if (l->mode == BATCHED) chunk_batched(l);
    else chunk_back_to_back(l);
    l->at += CHUNK;
    l->lookups += CHUNK;
    atomic_store_explicit(&l->progress, l->lookups, memory_order_relaxed);
}

static void run_for(lane *l, double seconds)
{
    uint64_t now = bench_now_ns(), end = now + (uint64_t)(seconds * 1e9);
    while (now < end) {
        uint64_t began = now;
        chunk(l);
        now = bench_now_ns();
        bench_histogram_add(l->chunks, now - began);
    }
}

static void *run_lane(void *argument)
{
    lane *l = argument;
    pin_to_core(l->core);
    if (l->peer->enter) l->peer->enter(l->map);
    run_for(l, l->seconds / 4); /* warms the caches with this contender's memory */
    if (l->begin) pthread_barrier_wait(l->begin);
    bench_histogram_clear(l->chunks);
    run_for(l, l->seconds);
    if (l->peer->leave) l->peer->leave(l->map);
    return NULL;
}

/* ------------------------------------------------------------------------------------------------- writer -- */

/* One session ends, another begins: of those that no reader asks for, in turn. A record that is not held at the moment
 * stands half a round away from one that is. */
static void *run_writer(void *argument)
{
    writer *w = argument;
    size_t others = w->world->total - w->world->residents, half = others / 2, i = 0;
    const record *pool = w->world->records + w->world->residents;
    pin_to_core(1);
    if (w->peer->enter) w->peer->enter(w->map);
    while (!atomic_load_explicit(&w->stop, memory_order_relaxed)) {
        if (w->paced && atomic_load_explicit(&w->reader->progress, memory_order_relaxed) / 100 <= w->writes) continue;
        w->peer->drop(w->map, &pool[i]);
        w->peer->put(w->map, &pool[(i + half) % others]);
        i = (i + 1) % others;
        w->writes++;
    }
    /* As it was before: the first half is held. */
    for (size_t k = half; k < others; k++) w->peer->drop(w->map, &pool[k]);
    for (size_t k = 0; k < half; k++) {
        w->peer->drop(w->map, &pool[k]);
        w->peer->put(w->map, &pool[k]);
    }
    if (w->peer->leave) w->peer->leave(w->map);
    return NULL;
}

static pthread_t begin_thread(void *(*run)(void *), void *argument)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, run, argument)) bench_die("no thread could be made");
    return thread;
}

static measured result(const lane *l)
{
    double ns = bench_histogram_quantile(l->chunks, 0.5) / CHUNK;
    return (measured){ns, l->lookups, l->missed, 0, l->sum == l->expected};
}

static measured two_readers(lane *first)
{
    pthread_barrier_t begin;
    pthread_barrier_init(&begin, NULL, 2);
    first->begin = &begin;
    static bench_histogram chunks;
    lane second = *first;
    second.chunks = &chunks;
    bench_histogram_clear(&chunks);
    second.core = 1;
    second.at = first->stream->count / 2;
    pthread_t thread = begin_thread(run_lane, &second);
    run_lane(first);
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&begin);
    measured a = result(first), b = result(&second);
    return (measured){2 / (1 / a.ns + 1 / b.ns), a.lookups + b.lookups, a.missed + b.missed, 0, a.sound && b.sound};
}

measured measure(const peer *p, void *map, const world *w, const stream *s, enum mode mode, double seconds)
{
    static size_t next; /* each measurement takes another part of the stream */
    static bench_histogram chunks;
    bench_histogram_clear(&chunks);
    lane l = {
        .peer = p, .map = map, .stream = s, .mode = mode, .seconds = seconds, .at = next % s->count, .chunks = &chunks};
    next += 37 * CHUNK;
    if (mode == TWO_READERS) return two_readers(&l);
    if (mode != BESIDE_CHURN && mode != BESIDE_WRITER) {
        run_lane(&l);
        return result(&l);
    }
    writer other = {.peer = p, .map = map, .world = w, .reader = &l, .paced = mode == BESIDE_CHURN};
    pthread_t thread = begin_thread(run_writer, &other);
    run_lane(&l);
    atomic_store_explicit(&other.stop, true, memory_order_relaxed);
    pthread_join(thread, NULL);
    measured m = result(&l);
    m.writes = other.writes;
    return m;
}
