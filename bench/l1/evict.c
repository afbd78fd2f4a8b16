/* SPDX-License-Identifier: MIT
 *
 * Does L1 keep what is in use? Hit ratios at a capacity of a tenth of the sessions, on the same trace for each policy.
 */
#include "l1bench.h"
#include "policy.h"

#include <stdlib.h>

const char *const policy_names[POLICIES] = {"LRU", "SIEVE", "S3-FIFO", "latchkey"};
const char *const trace_names[TRACES] = {"churn", "churn and a scan"};
const double exponents[EXPONENTS] = {0.9, 1.0, 1.1};

/* A trace: sessions of Zipf popularity; with each hundredth request one of them ends and another takes its place in the
 * ranking; through the middle half of a trace with a scan, every fourth request walks
 * through all sessions in turn, once. */
enum { CHURN_EVERY = 100, SCAN_EVERY = 4 };

typedef struct trace {
    size_t count, numbers;
    uint32_t *asked;
} trace;

static trace make_trace(size_t sessions, size_t count, double exponent, bool scan)
{
    trace t = {.count = count, .numbers = sessions, .asked = bench_take(count * sizeof *t.asked)};
    uint32_t *of_rank = bench_take(sessions * sizeof *of_rank);
    bench_random random;
    bench_zipf zipf;
    size_t walked = 0;
    bench_random_seed(&random, 11);
    bench_zipf_init(&zipf, sessions, exponent);
    for (size_t i = 0; i < sessions; i++) of_rank[i] = (uint32_t)i;
    bench_random_shuffle(&random, of_rank, sessions);
    for (size_t i = 0; i < count; i++) {
        if (i % CHURN_EVERY == 0) of_rank[bench_random_below(&random, sessions)] = (uint32_t)t.numbers++;
        bool scanning = scan && i > count / 4 && i < count / 4 * 3 && i % SCAN_EVERY == 1 && walked < sessions;
        t.asked[i] = scanning ? (uint32_t)walked++ : of_rank[bench_zipf_next(&zipf, &random)];
    }
    free(of_rank);
    return t;
}

/* The first fifth fills it and does not count. */
static double hit_ratio(const trace *t, enum policy_kind kind, size_t capacity)
{
    policy *p = policy_open(kind, capacity, t->numbers);
    size_t hits = 0, from = t->count / 5;
    for (size_t i = 0; i < t->count; i++) hits += policy_ask(p, t->asked[i]) && i >= from;
    policy_close(p);
    return (double)hits / (double)(t->count - from);
}

void evict_run(const options *o, results *r)
{
    r->evict_sessions = o->brief ? 10000 : 100000;
    r->evict_capacity = r->evict_sessions / 10;
    r->evict_requests = r->evict_sessions * 20;
    for (int kind = 0; kind < TRACES; kind++)
        for (int e = 0; e < EXPONENTS; e++) {
            bench_progress("eviction", kind * EXPONENTS + e, TRACES * EXPONENTS);
            trace t = make_trace(r->evict_sessions, r->evict_requests, exponents[e], kind == 1);
            for (int p = 0; p < POLICIES; p++)
                r->hit_ratio[kind][e][p] = hit_ratio(&t, (enum policy_kind)p, r->evict_capacity);
            free(t.asked);
        }
    bench_progress("eviction", 1, 1);
}
