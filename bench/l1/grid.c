/* SPDX-License-Identifier: MIT
 *
 * Every contender in every mode at every size. All of them stand filled at the same time, and each repeat measures each
 * of them in turn, so that what the neighbours on this machine do hits all alike. See l1bench.h.
 */
#include "l1bench.h"

#include <malloc.h>
#include <math.h>
#include <stdlib.h>

static size_t malloced(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static void fill(const peer *p, void *map, const world *w)
{
    size_t half = (w->total - w->residents) / 2;
    if (p->fill) p->fill(map);
    else if (p->enter) p->enter(map);
    for (size_t i = 0; i < w->residents + half; i++) p->put(map, &w->records[i]);
    if (!p->fill && p->leave) p->leave(map);
}

typedef struct grid {
    const options *options;
    results *results;
    int size;
    world world;
    void *maps[PEERS_MAX];
    stream streams[DISTRIBUTIONS];
} grid;

static void open_all(grid *g)
{
    size_t entries = g->options->sizes[g->size];
    for (int i = 0; i < peer_count; i++) {
        const peer *p = peers[i];
        if (p->missing || !g->options->chosen[i]) continue;
        char what[96];
        snprintf(what, sizeof what, "%zu entries: filling", entries);
        bench_progress(what, i, peer_count);
        size_t before = malloced();
        g->maps[i] = p->open(entries);
        fill(p, g->maps[i], &g->world);
        size_t bytes = p->bytes ? p->bytes(g->maps[i]) : malloced() - before;
        g->results->bytes[g->size][i] = (double)bytes / (double)entries;
    }
}

static void fail(results *r, const char *name, const char *what, double count)
{
    if (!r->unsound[0]) snprintf(r->unsound, sizeof r->unsound, "%s: %s (%.0f)", name, what, count);
}

/* A cache may have dropped what it was given: readers ask for what it holds. A map must hold everything. */
static bool *usable_residents(grid *g)
{
    world *w = &g->world;
    bool *usable = bench_take(w->residents * sizeof *usable);
    memset(usable, 1, w->residents * sizeof *usable);
    for (int i = 0; i < peer_count; i++) {
        const peer *p = peers[i];
        if (!g->maps[i]) continue;
        double absent = 0;
        if (p->enter) p->enter(g->maps[i]);
        for (size_t k = 0; k < w->residents; k++) {
            request asked = {.index = w->records[k].index};
            latchkey_entry entry;
            memcpy(asked.text, w->records[k].text, sizeof asked.text);
            asked.index_hashed = asked.index ^ folded_hash(asked.text);
            if (p->get(g->maps[i], &asked, &entry) && !memcmp(&entry, &w->records[k].entry, sizeof entry)) continue;
            usable[k] = false;
            absent++;
        }
        if (p->leave) p->leave(g->maps[i]);
        if (p->evicts) g->results->refused[g->size] = absent / (double)w->residents;
        if (absent > (p->evicts ? 0.05 * (double)w->residents : 0)) fail(g->results, p->name, "lost entries", absent);
    }
    return usable;
}

/* What a cache dropped beside a writer comes back, as it would by a miss; else misses would add up over the repeats. */
static void restore(grid *g, int i)
{
    const world *w = &g->world;
    for (size_t k = 0; k < w->residents; k++) {
        request asked;
        latchkey_entry entry;
        memcpy(asked.text, w->records[k].text, sizeof asked.text);
        if (!peers[i]->get(g->maps[i], &asked, &entry)) peers[i]->put(g->maps[i], &w->records[k]);
    }
}

static void measure_one(grid *g, int i, enum distribution d, enum mode mode)
{
    results *r = g->results;
    const peer *p = peers[i];
    if (!g->maps[i] || (mode == BATCHED && !p->get_many)) return;
    measured m = measure(p, g->maps[i], &g->world, &g->streams[d], mode, g->options->cell_s);
    cell_add(&r->ns[g->size][d][mode][i], m.ns);
    r->lookups += m.lookups;
    double part = (double)m.missed / (double)m.lookups;
    if (part > r->missed[g->size][i]) r->missed[g->size][i] = part;
    if (!m.sound) fail(r, p->name, "the bytes answered are not those stored, lookups", (double)m.lookups);
    if (part > (p->evicts && mode >= WRITERS ? 0.05 : 0)) fail(r, p->name, "lookups missed", (double)m.missed);
    if (p->evicts && mode > WRITERS && part > 0.001) restore(g, i);
}

/* Readers alone first: beside writers a cache may drop what it held. */
static void measure_block(grid *g, enum mode from, enum mode to)
{
    const options *o = g->options;
    char what[96];
    snprintf(what, sizeof what, "%zu entries: %s", o->sizes[g->size], from < WRITERS ? "readers" : "beside writers");
    for (int repeat = 0; repeat < o->repeats; repeat++) {
        bench_progress(what, repeat, o->repeats);
        if (from < WRITERS) yardsticks_run(g->results, g->size, o->sizes[g->size], o->cell_s / 4);
        for (int d = 0; d < DISTRIBUTIONS; d++)
            for (int mode = from; mode < (int)to; mode++)
                for (int i = 0; i < peer_count; i++)
                    measure_one(g, (i + repeat) % peer_count, (enum distribution)d, (enum mode)mode);
    }
    bench_progress(what, o->repeats, o->repeats);
}

static void run_size(grid *g)
{
    size_t entries = g->options->sizes[g->size], count = 1 << 16;
    while (count < entries && count < 1 << 20) count *= 2;
    world_open(&g->world, entries, 1 + entries);
    open_all(g);
    bool *usable = usable_residents(g);
    for (int d = 0; d < DISTRIBUTIONS; d++)
        stream_open(&g->streams[d], &g->world, (enum distribution)d, count, usable, 7 + (uint64_t)d);
    free(usable);
    measure_block(g, 0, WRITERS);
    measure_block(g, WRITERS, MODES);
    for (int i = 0; i < peer_count; i++)
        if (g->maps[i]) peers[i]->close(g->maps[i]);
    for (int d = 0; d < DISTRIBUTIONS; d++) stream_close(&g->streams[d]);
    world_close(&g->world);
}

void grid_run(const options *o, results *r)
{
    for (int size = 0; size < SIZES; size++) {
        grid g = {.options = o, .results = r, .size = size};
        run_size(&g);
    }
}

/* -------------------------------------------------------------------------------------------------- cells -- */

void cell_add(cell *c, double value)
{
    if (c->count < REPEATS_MAX) c->value[c->count++] = value;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double cell_at(const cell *c, double part)
{
    cell sorted = *c;
    if (!c->count) return NAN;
    qsort(sorted.value, (size_t)sorted.count, sizeof *sorted.value, by_value);
    return sorted.value[(int)(part * (sorted.count - 1) + 0.5)];
}

double cell_median(const cell *c) { return cell_at(c, 0.5); }
double cell_least(const cell *c) { return cell_at(c, 0); }
double cell_most(const cell *c) { return cell_at(c, 1); }
