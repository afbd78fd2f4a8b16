/* SPDX-License-Identifier: MIT
 *
 * What a phase measured, as JSON. See article.h.
 */
#include "article.h"

#include <stdlib.h>

void result_free(result *r)
{
    free(r->samples);
    free(r);
}

void result_json(bench_json *json, const result *r)
{
    const tally *t = &r->counted;
    const latchkey_stats *s = &r->stats;
    const struct {
        const char *name;
        double value;
    } numbers[] = {
        {"asked_rate", r->asked_rate},
        {"seconds", r->seconds},
        {"reads", (double)t->reads},
        {"logins", (double)t->logins},
        {"logouts", (double)t->logouts},
        {"raced", (double)t->raced},
        {"idled", (double)t->idled},
        {"unavailable", (double)t->unavailable},
        {"wrong", (double)t->wrong},
        {"dead_checked", (double)t->dead_checked},
        {"redis_commands", r->redis.commands},
        {"redis_output_bytes", r->redis.output_bytes},
        {"redis_input_bytes", r->redis.input_bytes},
        {"redis_cpu_s", r->redis.cpu_s},
        {"l1_hits", (double)s->l1_hits},
        {"l1_misses", (double)s->l1_misses},
        {"l2_reads", (double)s->l2_reads},
        {"l2_writes", (double)s->l2_writes},
        {"l2_errors", (double)s->l2_errors},
        {"joined", (double)s->joined},
        {"fills_refused", (double)s->fills_refused},
        {"evictions", (double)s->evictions},
        {"purges", (double)s->purges},
        {"empties", (double)s->empties},
        {"touches", (double)s->touches},
        {"touches_dropped", (double)s->touches_dropped},
        {"lapses", (double)s->lapses},
        {"refreshes", (double)s->refreshes},
        {"refreshes_dropped", (double)s->refreshes_dropped},
        {"l1_entries", (double)s->l1_entries},
        {"l1_capacity", (double)s->l1_capacity},
        {"l1_bytes", (double)s->l1_bytes},
        {"revocations_heard", (double)s->revocations_heard},
        {"revocation_p50_ms", s->revocation_p50_ms},
        {"revocation_p99_ms", s->revocation_p99_ms},
    };
    char sum[24];
    snprintf(sum, sizeof sum, "%016llx", (unsigned long long)t->sum);
    bench_json_object(json, r->name);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        bench_json_number(json, numbers[i].name, numbers[i].value);
    bench_json_text(json, "checksum", sum);
    bench_json_histogram(json, "validate", &r->validate, true);
    bench_json_histogram(json, "call", &r->call, false);
    bench_json_histogram(json, "write", &r->write, false);
    bench_json_histogram(json, "overslept", &r->overslept, false);
    bench_json_array(json, "samples"); /* seconds, hits and misses so far */
    for (size_t i = 0; s->l1_capacity && i < r->sample_count; i++) {
        bench_json_row(json, NULL);
        bench_json_number(json, NULL, r->samples[i].at_s);
        bench_json_number(json, NULL, (double)r->samples[i].hits);
        bench_json_number(json, NULL, (double)r->samples[i].misses);
        bench_json_end(json, ']');
    }
    bench_json_end(json, ']');
    bench_json_end(json, '}');
}
