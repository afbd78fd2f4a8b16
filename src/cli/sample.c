/* latchkey sample: who is logged in, by a sample. */
#include "analytics/sample.h"
#include "cli/cli.h"

#include <inttypes.h>
#include <string.h>

enum { LOOK_AT = 5000, BAR = 30 };

static bool all;
static uint64_t count;

static void tell_progress(void *context, size_t done, size_t of)
{
    (void)context;
    if (done != of) cli_progress("looked at %zu of %zu sessions", done, of);
}

/* -------------------------------------------------------------------------------------------------- people -- */

static void bar(const char *label, uint64_t value, uint64_t of)
{
    static const char full[] = "##############################";
    double share = of ? (double)value / (double)of : 0;
    if (share > 1) share = 1;
    cli_say(stdout, "  %-16s %12" PRIu64 "  %5.1f%%  %.*s\n", label, value, share * 100, (int)(share * BAR + 0.5),
            full);
}

static const char *span_text(char out[CLI_TIME_SIZE], int64_t ms)
{
    if (ms < 120000) snprintf(out, CLI_TIME_SIZE, "%.1f s", (double)ms / 1000);
    else if (ms < 7200000) snprintf(out, CLI_TIME_SIZE, "%.1f min", (double)ms / 60000);
    else snprintf(out, CLI_TIME_SIZE, "%.1f h", (double)ms / 3600000);
    return out;
}

static void print_spans(const char *title, const uint64_t spans[LATCHKEY_SPANS], uint64_t of)
{
    static const char *const labels[LATCHKEY_SPANS] = {"under 1 min",  "1 to 5 min", "5 to 15 min", "15 to 30 min",
                                                       "30 to 60 min", "1 to 4 h",   "4 to 12 h",   "more"};
    cli_say(stdout, "\n%s\n", title);
    for (int s = 0; s < LATCHKEY_SPANS; s++) bar(labels[s], spans[s], of);
}

static void print_span(const char *label, int64_t ms)
{
    char text[CLI_TIME_SIZE];
    cli_say(stdout, "  %-38s %s\n", label, span_text(text, ms));
}

static void print_sizes(const latchkey_population *p)
{
    char text[CLI_SIZE_SIZE], other[CLI_SIZE_SIZE];
    if (!p->sized) return;
    cli_say(stdout, "\nSizes, of %" PRIu64 " sessions                half of them, 99 of 100\n", p->sized);
    cli_say(stdout, "  %-38s %" PRIu64 ", %" PRIu64 "\n", "fields", p->fields_p50, p->fields_p99);
    cli_say(stdout, "  %-38s %s\n", "record, which a miss moves", cli_bytes(text, p->record_p50_bytes));
    if (p->session_p50_bytes)
        cli_say(stdout, "  %-38s %s, %s\n", "all of a session", cli_bytes(text, p->session_p50_bytes),
                cli_bytes(other, p->session_p99_bytes));
    if (p->redis_p50_bytes)
        cli_say(stdout, "  %-38s %s, %s; %s on average\n", "in Redis' memory", cli_bytes(text, p->redis_p50_bytes),
                cli_bytes(other, p->redis_p99_bytes), cli_bytes((char[CLI_SIZE_SIZE]){0}, p->redis_mean_bytes));
    if (!p->session_p50_bytes || !p->redis_p50_bytes)
        cli_say(stdout, "  (more with the rights +hkeys +hstrlen +memory|usage)\n");
}

static void print_keys(const latchkey_population *p)
{
    if (!p->scanned) {
        cli_say(stdout, "\nKeys: no right to SCAN, so sessions that the index does not know were not looked for.\n");
        return;
    }
    cli_say(stdout, "\nKeys, %" PRIu64 " of %" PRIu64 " looked at\n", p->scanned < p->keys ? p->scanned : p->keys,
            p->keys);
    cli_say(stdout, "  %-38s %" PRIu64 "\n", "sessions that the index does not know", p->unindexed);
    cli_say(stdout, "  %-38s %" PRIu64 "\n", "old tokens, of rotations", p->old_tokens);
    if (p->unindexed) cli_say(stdout, "  A session is in the index again once it is used.\n");
}

static void print_population(const latchkey_population *p)
{
    char text[CLI_TIME_SIZE];
    cli_say(stdout, "%" PRIu64 " live sessions", p->sessions);
    if (p->exact) cli_say(stdout, ", all of them looked at");
    else cli_say(stdout, ", give or take %" PRIu64 " (%" PRIu64 " looked at)", p->sessions_margin, p->looked_at);
    if (p->users || !p->living) cli_say(stdout, "; of %" PRIu64 " users\n", p->users);
    else cli_say(stdout, "; no right to ZCOUNT, so their users were not counted\n");
    cli_say(stdout, "At most %" PRIu64 " at once, %s\n", p->peak, cli_time(text, p->peak_at_ms, p->taken_at_ms));
    if (p->damaged) cli_say(stdout, "%" PRIu64 " of those looked at are damaged\n", p->damaged);
    cli_say(stdout, "\nTimes, on average\n");
    if (p->duration_mean_ms) print_span("from login to end, if logins are spread evenly", p->duration_mean_ms);
    print_span("since the login", p->age_mean_ms);
    print_span("from login to last use", p->used_mean_ms);
    print_span("since the last use", p->idle_mean_ms);
    print_spans("Since the last use", p->idle, p->sessions);
    print_spans("Since the login", p->age, p->sessions);
    cli_say(stdout, "\nDevices, %" PRIu64 " seen\n", p->devices);
    for (int d = 0; d < LATCHKEY_SAMPLE_DEVICES && p->device[d].sessions; d++) {
        snprintf(text, sizeof text, "%" PRIu32, p->device[d].device);
        bar(text, p->device[d].sessions, p->sessions);
    }
    print_sizes(p);
    print_keys(p);
}

/* ------------------------------------------------------------------------------------------------ machines -- */

static void json_spans(json *j, const char *name, const uint64_t spans[LATCHKEY_SPANS])
{
    static const int64_t edges[LATCHKEY_SPANS] = LATCHKEY_SPANS_MS;
    json_open(j, name, '[');
    for (int s = 0; s < LATCHKEY_SPANS; s++) {
        json_open(j, NULL, '{');
        if (s + 1 < LATCHKEY_SPANS) json_int(j, "below_ms", edges[s]);
        else json_text(j, "below_ms", NULL);
        json_uint(j, "sessions", spans[s]);
        json_close(j, '}');
    }
    json_close(j, ']');
}

static void json_devices(json *j, const latchkey_population *p)
{
    json_open(j, "device", '[');
    for (int d = 0; d < LATCHKEY_SAMPLE_DEVICES && p->device[d].sessions; d++) {
        json_open(j, NULL, '{');
        json_uint(j, "device", p->device[d].device);
        json_uint(j, "sessions", p->device[d].sessions);
        json_close(j, '}');
    }
    json_close(j, ']');
}

static void print_population_json(const latchkey_population *p)
{
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {{"sessions", p->sessions},
                {"sessions_margin", p->sessions_margin},
                {"users", p->users},
                {"indexed", p->indexed},
                {"looked_at", p->looked_at},
                {"living", p->living},
                {"damaged", p->damaged},
                {"peak", p->peak},
                {"peak_at_ms", (uint64_t)p->peak_at_ms},
                {"taken_at_ms", (uint64_t)p->taken_at_ms},
                {"age_mean_ms", (uint64_t)p->age_mean_ms},
                {"age_p50_ms", (uint64_t)p->age_p50_ms},
                {"age_p99_ms", (uint64_t)p->age_p99_ms},
                {"used_mean_ms", (uint64_t)p->used_mean_ms},
                {"idle_mean_ms", (uint64_t)p->idle_mean_ms},
                {"idle_p50_ms", (uint64_t)p->idle_p50_ms},
                {"idle_p99_ms", (uint64_t)p->idle_p99_ms},
                {"duration_mean_ms", (uint64_t)p->duration_mean_ms},
                {"devices", p->devices},
                {"sized", p->sized},
                {"fields_p50", p->fields_p50},
                {"fields_p99", p->fields_p99},
                {"record_p50_bytes", p->record_p50_bytes},
                {"session_p50_bytes", p->session_p50_bytes},
                {"session_p99_bytes", p->session_p99_bytes},
                {"redis_p50_bytes", p->redis_p50_bytes},
                {"redis_p99_bytes", p->redis_p99_bytes},
                {"redis_mean_bytes", p->redis_mean_bytes},
                {"keys", p->keys},
                {"scanned", p->scanned},
                {"unindexed", p->unindexed},
                {"old_tokens", p->old_tokens}};
    json j = {0};
    json_open(&j, NULL, '{');
    json_bool(&j, "exact", p->exact != 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) json_uint(&j, rows[i].name, rows[i].value);
    json_spans(&j, "idle", p->idle);
    json_spans(&j, "age", p->age);
    json_devices(&j, p);
    json_close(&j, '}');
}

static int run_sample(const cli *c)
{
    latchkey *lk;
    latchkey_population population;
    if (all && count) return cli_fail(c, CLI_USAGE, "only one of --all and --count");
    int exit = cli_open(c, &lk);
    if (exit) return exit;
    size_t most = all ? LATCHKEY_SAMPLE_MAX : count ? (size_t)count : LOOK_AT;
    int status = lk_sample(lk, most, &(lk_progress){.tell = tell_progress}, &population);
    cli_progress(NULL);
    if (status) exit = cli_status(c, lk, status, "sample");
    else if (c->json) print_population_json(&population);
    else print_population(&population);
    latchkey_close(lk);
    return exit;
}

static const cli_option options[] = {
    {.name = "count",
     .value = "N",
     .number = &count,
     .least = 1,
     .most = LATCHKEY_SAMPLE_MAX,
     .help = "looks at so many sessions (5,000)"},
    {.name = "all", .given = &all, .help = "looks at all of them, up to 1,000,000"},
    {0},
};

const cli_command cli_sample = {
    .name = "sample",
    .arguments = "sample [--count N | --all]",
    .summary = "who is logged in: how many, for how long, on which devices, how large",
    .help =
        "Looks at some of the sessions and estimates how many there are, how long they last, on what devices, and\n"
        "how large they are; see latchkey_sample in latchkey.h. With --all, and when there are few, the numbers are "
        "exact.\n"
        "It works in small steps, and rests after each for as long as the step took, so Redis stays free. Some "
        "numbers\n"
        "need rights that an instance does not have: +scan +memory|usage +hkeys +hstrlen +zcount.",
    .options = options,
    .run = run_sample,
};
