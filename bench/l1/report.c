/* SPDX-License-Identifier: MIT
 *
 * The results as Markdown and as JSON. See l1bench.h.
 */
#include "l1bench.h"

#include <math.h>
#include <sys/utsname.h>

enum { RECORD_BYTES = 4493 }; /* the article's: a session with post-quantum key material */

static void number(FILE *file, double value)
{
    if (isfinite(value)) fprintf(file, value < 10 ? " %.1f |" : " %.0f |", value);
    else fputs(" - |", file);
}

static void spread(FILE *file, const cell *c)
{
    if (!c->count) fputs(" - |", file);
    else if (cell_median(c) < 10) fprintf(file, " %.1f (%.1f..%.1f) |", cell_median(c), cell_least(c), cell_most(c));
    else fprintf(file, " %.0f (%.0f..%.0f) |", cell_median(c), cell_least(c), cell_most(c));
}

static void modes_table(FILE *file, const options *o, const results *r, int size, int d)
{
    fprintf(file,
            "\n### %zu entries, %s\n\n| nanoseconds a lookup | latency | throughput | two readers, each | batch of %d "
            "| alone again | beside a writer of 1%% | beside a writer | bytes/entry |\n"
            "|---|---:|---:|---:|---:|---:|---:|---:|---:|\n",
            o->sizes[size], distribution_names[d], BATCH);
    for (int i = 0; i < peer_count; i++) {
        if (!r->ns[size][d][THROUGHPUT][i].count) continue;
        fprintf(file, "| %s |", peers[i]->name);
        for (int mode = 0; mode < MODES; mode++) spread(file, &r->ns[size][d][mode][i]);
        number(file, r->bytes[size][i]);
        fputc('\n', file);
    }
}

static void yardstick_table(FILE *file, const options *o, const results *r)
{
    fprintf(file, "\n### Yardsticks, nanoseconds\n\n| |");
    for (int size = 0; size < SIZES; size++) fprintf(file, " over %zu x 192 bytes |", o->sizes[size]);
    fputs("\n|---|---:|---:|---:|\n", file);
    for (int y = 0; y < YARDSTICKS; y++) {
        fprintf(file, "| %s |", yardstick_names[y]);
        for (int size = 0; size < SIZES; size++) spread(file, &r->yard[size][y]);
        fputc('\n', file);
    }
}

static void eviction_table(FILE *file, const results *r)
{
    fprintf(file, "\n### Eviction\n\nHit ratio at a capacity of %zu of %zu sessions, %zu requests.\n\n| trace |",
            r->evict_capacity, r->evict_sessions, r->evict_requests);
    for (int p = 0; p < POLICIES; p++) fprintf(file, " %s |", policy_names[p]);
    fputs("\n|---|---:|---:|---:|---:|\n", file);
    for (int kind = 0; kind < TRACES; kind++)
        for (int e = 0; e < EXPONENTS; e++) {
            fprintf(file, "| Zipf %.1f, %s |", exponents[e], trace_names[kind]);
            for (int p = 0; p < POLICIES; p++) fprintf(file, " %.2f%% |", 100 * r->hit_ratio[kind][e][p]);
            fputc('\n', file);
        }
}

static void memory_table(FILE *file, const results *r)
{
    fprintf(
        file,
        "\n### Memory\n\n| sessions | L1, all in | an entry | the full record in the process | in Redis, one string "
        "| in Redis, latchkey's hash | L1 is smaller |\n|---:|---:|---:|---:|---:|---:|---:|\n");
    for (int i = 0; i < MEMORY_ROWS; i++) {
        double sessions = (double)r->memory[i].sessions, l1 = r->memory[i].l1_bytes;
        fprintf(file, "| %.0f | %.2f MB | %.0f B | %.1f MB | %.1f MB | %.1f MB | %.1f times |\n", sessions, l1 / 1e6,
                l1 / sessions, sessions * RECORD_BYTES / 1e6, sessions * r->redis_string_bytes / 1e6,
                sessions * r->redis_latchkey_bytes / 1e6, sessions * RECORD_BYTES / l1);
    }
}

static void print_goal(FILE *file, const goal *g)
{
    fprintf(file, "%s %s: ", !g->known ? "----" : g->met ? "PASS" : "FAIL", g->text);
    if (g->known) fprintf(file, "%.2f", g->value);
    else fputs("not measured", file);
    fprintf(file, " (at %s %g)\n", g->at_most ? "most" : "least", g->limit);
}

static void goals_list(FILE *file, const options *o, const results *r)
{
    static goal goals[GOALS_MAX];
    int count = goals_judge(o, r, goals), met = 0, known = 0;
    fputs("\n### Goals\n\n```\n", file);
    for (int i = 0; i < count; i++) {
        print_goal(file, &goals[i]);
        met += goals[i].met;
        known += goals[i].known;
    }
    fprintf(file, "%d of %d met; %d not measured\n```\n", met, known, count - known);
}

void report_markdown(FILE *file, const options *o, const results *r)
{
    struct utsname kernel;
    uname(&kernel);
    fprintf(file,
            "Medians of %d interleaved repeats, (least..most). Linux %s, %s; the machine in full stands in the JSON.\n",
            o->repeats, kernel.release, kernel.machine);
    for (int i = 0; i < peer_count; i++) {
        if (peers[i]->missing)
            fprintf(file, "\nMissing: %s (%s): %s.\n", peers[i]->name, peers[i]->where, peers[i]->missing);
        else if (!o->chosen[i]) fprintf(file, "\nLeft out by --contenders: %s.\n", peers[i]->name);
    }
    for (int size = 0; size < SIZES; size++)
        for (int d = 0; d < DISTRIBUTIONS; d++) modes_table(file, o, r, size, d);
    yardstick_table(file, o, r);
    eviction_table(file, r);
    memory_table(file, r);
    fprintf(file,
            "\n### Hash flooding\n\n%zu sessions with user ids, roles and devices chosen at will: median %.0f ns, "
            "99.9%% %.0f ns, worst %.0f ns (with two readings of the fine clock in each).\n",
            r->flood.sessions, r->flood.median_ns, r->flood.p999_ns, r->flood.worst_ns);
    for (int size = 0; size < SIZES; size++) {
        int ours = peer_find("latchkey");
        fprintf(file,
                "\n%zu entries: latchkey, filled to its capacity, held %.2f%%; beside writers %.3f%% of the lookups "
                "missed.\n",
                o->sizes[size], 100 - 100 * r->refused[size], 100 * r->missed[size][ours]);
    }
    goals_list(file, o, r);
    fprintf(file, "\n%llu lookups checked, %.0f s%s%s\n", (unsigned long long)r->lookups, r->took_s,
            r->unsound[0] ? "; UNSOUND: " : "", r->unsound);
}

/* -------------------------------------------------------------------------------------------------- JSON -- */

static void json_cell(bench_json *json, const char *key, const cell *c)
{
    if (!c->count) return;
    bench_json_row(json, key);
    bench_json_number(json, NULL, cell_median(c));
    bench_json_number(json, NULL, cell_least(c));
    bench_json_number(json, NULL, cell_most(c));
    bench_json_end(json, ']');
}

static void json_contender(bench_json *json, const results *r, int i)
{
    const peer *p = peers[i];
    bench_json_object(json, NULL);
    bench_json_text(json, "name", p->name);
    bench_json_text(json, "where", p->where);
    if (p->missing) bench_json_text(json, "missing", p->missing);
    bench_json_array(json, "sizes");
    for (int size = 0; size < SIZES; size++) {
        bench_json_object(json, NULL);
        bench_json_number(json, "bytes_per_entry", r->bytes[size][i]);
        bench_json_number(json, "missed_beside_writers", r->missed[size][i]);
        for (int d = 0; d < DISTRIBUTIONS; d++) {
            bench_json_object(json, distribution_names[d]);
            for (int mode = 0; mode < MODES; mode++) json_cell(json, mode_names[mode], &r->ns[size][d][mode][i]);
            bench_json_end(json, '}');
        }
        bench_json_end(json, '}');
    }
    bench_json_end(json, ']');
    bench_json_end(json, '}');
}

static void json_goals(bench_json *json, const options *o, const results *r)
{
    static goal goals[GOALS_MAX];
    int count = goals_judge(o, r, goals);
    bench_json_array(json, "goals");
    for (int i = 0; i < count; i++) {
        bench_json_object(json, NULL);
        bench_json_text(json, "text", goals[i].text);
        bench_json_number(json, "value", goals[i].value);
        bench_json_number(json, goals[i].at_most ? "at_most" : "at_least", goals[i].limit);
        if (goals[i].known) bench_json_flag(json, "met", goals[i].met);
        bench_json_end(json, '}');
    }
    bench_json_end(json, ']');
}

static void json_rest(bench_json *json, const options *o, const results *r)
{
    bench_json_array(json, "yardsticks");
    for (int size = 0; size < SIZES; size++) {
        bench_json_object(json, NULL);
        bench_json_number(json, "entries", (double)o->sizes[size]);
        for (int y = 0; y < YARDSTICKS; y++) json_cell(json, yardstick_names[y], &r->yard[size][y]);
        bench_json_end(json, '}');
    }
    bench_json_end(json, ']');
    bench_json_array(json, "eviction");
    for (int kind = 0; kind < TRACES; kind++)
        for (int e = 0; e < EXPONENTS; e++) {
            bench_json_object(json, NULL);
            bench_json_text(json, "trace", trace_names[kind]);
            bench_json_number(json, "zipf", exponents[e]);
            for (int p = 0; p < POLICIES; p++) bench_json_number(json, policy_names[p], r->hit_ratio[kind][e][p]);
            bench_json_end(json, '}');
        }
    bench_json_end(json, ']');
    bench_json_array(json, "memory");
    for (int i = 0; i < MEMORY_ROWS; i++) {
        bench_json_object(json, NULL);
        bench_json_number(json, "sessions", (double)r->memory[i].sessions);
        bench_json_number(json, "l1_bytes", r->memory[i].l1_bytes);
        bench_json_number(json, "record_bytes", (double)r->memory[i].sessions * RECORD_BYTES);
        bench_json_number(json, "redis_string_bytes", (double)r->memory[i].sessions * r->redis_string_bytes);
        bench_json_number(json, "redis_latchkey_bytes", (double)r->memory[i].sessions * r->redis_latchkey_bytes);
        bench_json_end(json, '}');
    }
    bench_json_end(json, ']');
    bench_json_object(json, "hash_flooding");
    bench_json_number(json, "sessions", (double)r->flood.sessions);
    bench_json_number(json, "median_ns", r->flood.median_ns);
    bench_json_number(json, "p999_ns", r->flood.p999_ns);
    bench_json_number(json, "worst_ns", r->flood.worst_ns);
    bench_json_end(json, '}');
}

void report_json(FILE *file, const options *o, const results *r)
{
    bench_json json = {.file = file, .first = true};
    bench_json_object(&json, NULL);
    bench_json_text(&json, "benchmark", "l1");
    bench_json_machine(&json, r->redis_version);
    bench_json_number(&json, "repeats", o->repeats);
    bench_json_number(&json, "seconds_a_measurement", o->cell_s);
    bench_json_row(&json, "sizes");
    for (int size = 0; size < SIZES; size++) bench_json_number(&json, NULL, (double)o->sizes[size]);
    bench_json_end(&json, ']');
    bench_json_array(&json, "contenders");
    for (int i = 0; i < peer_count; i++) json_contender(&json, r, i);
    bench_json_end(&json, ']');
    json_rest(&json, o, r);
    json_goals(&json, o, r);
    bench_json_number(&json, "lookups", (double)r->lookups);
    bench_json_number(&json, "took_s", r->took_s);
    if (r->unsound[0]) bench_json_text(&json, "unsound", r->unsound);
    bench_json_end(&json, '}');
}
