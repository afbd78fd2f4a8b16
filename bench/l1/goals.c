/* SPDX-License-Identifier: MIT
 *
 * What L1 is to reach, as ratios within one run, and whether it did. Of the interleaved repeats the least counts, ours
 * and every contender's: what else the machine does can only add, and on a shared one it adds more than half to some.
 */
#include "l1bench.h"

#include <math.h>
#include <stdarg.h>

typedef struct judge {
    const results *r;
    goal *goals;
    int count, ours, leaseless, ideal, hashing, minding;
} judge;

static void say(judge *j, double value, bool at_most, double limit, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

static void say(judge *j, double value, bool at_most, double limit, const char *format, ...)
{
    if (j->count == GOALS_MAX) bench_die("too many goals");
    goal *g = &j->goals[j->count++];
    va_list arguments;
    *g = (goal){.value = value, .limit = limit, .at_most = at_most, .known = isfinite(value)};
    va_start(arguments, format);
    vsnprintf(g->text, sizeof g->text, format, arguments);
    va_end(arguments);
    g->met = g->known && (at_most ? value <= limit : value >= limit);
}

static double ns(const judge *j, int size, int d, int mode, int whose)
{
    return whose < 0 ? NAN : cell_least(&j->r->ns[size][d][mode][whose]);
}

/* The fastest of the contenders from Debian; -1 where none took part. */
static int best_peer(const judge *j, int size, int d, int mode)
{
    int best = -1;
    for (int i = 0; i < peer_count; i++) {
        double own = peers[i]->debian ? ns(j, size, d, mode, i) : NAN;
        if (isfinite(own) && (best < 0 || own < ns(j, size, d, mode, best))) best = i;
    }
    return best;
}

static void judge_place(judge *j, const options *o, int size, int d)
{
    static const enum mode beside_peers[] = {LATENCY, THROUGHPUT, TWO_READERS, BESIDE_CHURN, BESIDE_WRITER};
    const char *where = distribution_names[d];
    size_t entries = o->sizes[size];
    double latency = ns(j, size, d, LATENCY, j->ours), throughput = ns(j, size, d, THROUGHPUT, j->ours);
    say(j, latency / ns(j, size, d, LATENCY, j->ideal), true, 1.2,
        "%zu %s: latency over the ideal's (hashing: %.2f; and minding: %.2f)", entries, where,
        latency / ns(j, size, d, LATENCY, j->hashing), latency / ns(j, size, d, LATENCY, j->minding));
    say(j, throughput / ns(j, size, d, THROUGHPUT, j->ideal), true, 1.4,
        "%zu %s: throughput over the ideal's (hashing: %.2f; and minding: %.2f)", entries, where,
        throughput / ns(j, size, d, THROUGHPUT, j->hashing), throughput / ns(j, size, d, THROUGHPUT, j->minding));
    say(j, latency / ns(j, size, d, LATENCY, j->leaseless), true, 1.1, "%zu %s: latency with the lease over without",
        entries, where);
    for (size_t i = 0; i < sizeof beside_peers / sizeof *beside_peers; i++) {
        int mode = beside_peers[i], best = best_peer(j, size, d, mode);
        say(j, ns(j, size, d, mode, best) / ns(j, size, d, mode, j->ours), false, entries <= 1000 ? 1.25 : 1.7,
            "%zu %s: %s, the best peer (%s) over ours", entries, where, mode_names[mode],
            best < 0 ? "none" : peers[best]->name);
    }
    say(j, 2 * throughput / ns(j, size, d, TWO_READERS, j->ours), false, 1.9, "%zu %s: two readers over one", entries,
        where);
    say(j, ns(j, size, d, BESIDE_CHURN, j->ours) / ns(j, size, d, ALONE, j->ours), true, 1.1,
        "%zu %s: beside a writer of 1%% over alone", entries, where);
    if (size == SIZES - 1)
        say(j, throughput / ns(j, size, d, BATCHED, j->ours), false, 2, "%zu %s: a batch of %d over single calls",
            entries, where, BATCH);
}

static void judge_eviction(judge *j)
{
    for (int kind = 0; kind < TRACES; kind++)
        for (int e = 0; e < EXPONENTS; e++) {
            const double *ratio = j->r->hit_ratio[kind][e];
            int best = 0;
            for (int p = 1; p < POLICIES - 1; p++)
                if (ratio[p] > ratio[best]) best = p;
            say(j, 100 * (ratio[best] - ratio[POLICIES - 1]), true, 1,
                "eviction, Zipf %.1f with %s: points below the best (%s)", exponents[e], trace_names[kind],
                policy_names[best]);
        }
}

int goals_judge(const options *o, const results *r, goal goals[GOALS_MAX])
{
    judge j = {.r = r,
               .goals = goals,
               .ours = peer_find("latchkey"),
               .leaseless = peer_find("latchkey without its lease"),
               .ideal = peer_find("ideal"),
               .hashing = peer_find("ideal, hashing"),
               .minding = peer_find("ideal, hashing and minding")};
    for (int size = 0; size < SIZES; size++)
        for (int d = 0; d < DISTRIBUTIONS; d++) judge_place(&j, o, size, d);
    for (int size = 0; size < SIZES; size++) {
        double bytes = r->bytes[size][j.ours];
        say(&j, bytes > 0 ? bytes : NAN, true, 210, "%zu: bytes an entry", o->sizes[size]);
    }
    judge_eviction(&j);
    say(&j, r->flood.worst_ns / r->flood.median_ns, true, 4, "hash flooding: worst lookup over the median");
    return j.count;
}
