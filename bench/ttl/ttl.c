/* SPDX-License-Identifier: MIT
 *
 * latchkey-bench-ttl: what l1_ttl_ms, and reading entries again before their time is up, bring. A replay in virtual time: the
 * real L1 (lk_l1_put and lk_l1_get take the time), the real rules for how long an entry lives and when a touch is due
 * (lk_session_times), and the article's arrivals; no Redis and no clock, so the figures are the same on every machine.
 *
 * Each session is asked for as often as in the article (1,000,000 sessions, 50,000 requests a second, 80 of them ended a
 * second, idle time 30 minutes); how many there are only scales it. A miss reads in the request's path; a hit in the window
 * before the entry's end has it read in the background, at once.
 */
#include "harness.h"
#include "session/lifetime.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { TTLS = 7, WINDOWS = 6, WARM_S = 190, COUNTED_S = 190, IDLE_MS = 1800000, OWN = -1 };
static const int64_t FAR_MS = INT64_C(1) << 40;
static const int64_t ttls_s[TTLS] = {5, 10, 30, 60, 120, 300, 900};
static const int windows[WINDOWS] = {0, 10, 25, 50, 75, OWN}; /* percent of the shortest life; the library's own */

static const char usage[] =
    "latchkey-bench-ttl [--short] [--commands] [--sessions N] [--seed N] [--json FILE]\n"
    "\n"
    "Hit rate, and reads of Redis per request in its path and in the background, against l1_ttl_ms and the window "
    "before\n"
    "an entry's end in which a hit has it read again. A table in Markdown on stdout.\n"
    "\n"
    "  --short        2,000 sessions: a few seconds\n"
    "  --commands     another table: what Redis is asked with latchkey's defaults, over half an hour\n"
    "  --sessions N   how many (50,000); their requests, and L1, are in proportion to the article's million\n"
    "  --seed N       of the arrivals (1)\n"
    "  --json FILE    write the figures there, too\n"
    "  --help         this\n";

typedef struct options {
    uint64_t sessions, seed;
    const char *json;
    bool commands;
} options;

typedef struct figures {
    double hits, path, background, touches, crossings; /* per request */
} figures;

typedef struct session {
    char token[LATCHKEY_TOKEN_SIZE];
    int64_t touched_ms;
} session;

typedef struct world {
    const options *o;
    bench_random random;
    bench_zipf zipf;
    session *of; /* by rank */
    uint64_t made;
    lk_l1 *l1;
    int64_t ttl_ms, window_ms, now_us;
    uint64_t requests, hits, path, background, touches, crossings;
} world;

static void name(world *w, session *s)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint64_t bits = 0, number = ++w->made;
    for (int i = 0; i < LATCHKEY_TOKEN_LENGTH; i++, bits >>= 6) {
        if (i % 10 == 0) bits = bench_mix(number * 8 + (uint64_t)i / 10);
        s->token[i] = digits[bits & 63];
    }
}

/* Between nine tenths and all of l1_ttl_ms, as in src/session/lifetime.c. */
static int64_t ttl_of(world *w)
{
    return w->ttl_ms - (int64_t)(bench_random_unit(&w->random) * (double)w->ttl_ms / 10);
}

/* And its answer renews the entry. */
static void touch(world *w, session *s)
{
    lk_judged j = {0};
    int64_t now_ms = w->now_us / 1000;
    w->crossings += s->touched_ms / (IDLE_MS / 2) != now_ms / (IDLE_MS / 2);
    s->touched_ms = now_ms;
    w->touches++;
    lk_session_times(FAR_MS, w->window_ms, IDLE_MS, IDLE_MS, FAR_MS, w->now_us, &j);
    lk_l1_renew(w->l1, lk_l1_ticket(w->l1, s->token), s->token, j.times, w->window_ms);
}

static void read_again(world *w, session *s)
{
    static const latchkey_entry entry;
    lk_judged j = {0};
    int64_t now_ms = w->now_us / 1000, left = s->touched_ms + IDLE_MS - now_ms;
    if (left <= 0) left = IDLE_MS, s->touched_ms = now_ms; /* it has idled out: its user comes back with a new one */
    lk_session_times(ttl_of(w), w->window_ms, IDLE_MS, left, FAR_MS, w->now_us, &j);
    lk_l1_put(w->l1, lk_l1_ticket(w->l1, s->token), s->token, s->token + LATCHKEY_SELECTOR_LENGTH, false, j.times,
              now_ms, &entry);
    if (j.touch_due) touch(w, s);
}

static void ask(world *w)
{
    session *s = &w->of[bench_zipf_next(&w->zipf, &w->random)];
    int64_t now_ms = w->now_us / 1000;
    lk_l1_found found;
    lk_l1_times times;
    latchkey_entry entry;
    bool held = lk_l1_get(w->l1, s->token, &found, &entry) && lk_l1_look(w->l1, s->token, &times, &entry);
    bool hit = held && now_ms < lk_l1_end(&times), due = hit && now_ms >= times.due_ms;
    bool touches = due && times.end_ms - now_ms > w->window_ms, again = due && !touches;
    w->requests++;
    w->hits += hit;
    w->path += !hit;
    w->background += again;
    if (touches) touch(w, s);
    if (!hit || again) read_again(w, s);
}

/* One session ends, and its user makes another: latchkey_create puts it into L1. */
static void replace(world *w)
{
    session *s = &w->of[bench_random_below(&w->random, w->o->sessions)];
    lk_l1_purge(w->l1, s->token);
    name(w, s);
    s->touched_ms = w->now_us / 1000;
    read_again(w, s);
}

static void run_for(world *w, int64_t seconds)
{
    double rate = (double)w->o->sessions / 20, until_us = (double)(w->now_us + seconds * 1000000);
    double next_us = (double)w->now_us;
    for (uint64_t i = 0; next_us < until_us; i++) {
        next_us += bench_random_exponential(&w->random, 1e6 / rate);
        w->now_us = (int64_t)next_us;
        if (i % 625 == 0) replace(w); /* 50,000 requests to 80 logouts */
        ask(w);
    }
}

static figures measure_for(const options *o, double skew, uint64_t capacity, int64_t ttl_ms, int window, int64_t warm_s,
                           int64_t counted_s)
{
    int64_t keep = IDLE_MS / LK_SESSION_TOUCH, life = ttl_ms * 9 / 10 < keep ? ttl_ms * 9 / 10 : keep;
    world w = {.o = o, .ttl_ms = ttl_ms, .now_us = INT64_C(1000000000000)};
    w.window_ms = window == OWN ? lk_session_window(ttl_ms) : life * window / 100;
    bench_random_seed(&w.random, o->seed);
    bench_zipf_init(&w.zipf, o->sessions, skew);
    w.l1 = lk_l1_open(capacity, o->seed);
    if (!w.l1) bench_die("no memory for an L1 of %" PRIu64 " entries", capacity);
    w.of = bench_take(o->sessions * sizeof *w.of);
    for (uint64_t i = 0; i < o->sessions; i++) {
        name(&w, &w.of[i]);
        w.of[i].touched_ms = w.now_us / 1000 - (int64_t)(bench_random_unit(&w.random) * (double)keep);
    }
    run_for(&w, warm_s);
    w.requests = w.hits = w.path = w.background = w.touches = w.crossings = 0;
    run_for(&w, counted_s);
    lk_l1_close(w.l1);
    free(w.of);
    double all = (double)w.requests;
    return (figures){(double)w.hits / all, (double)w.path / all, (double)w.background / all, (double)w.touches / all,
                     (double)w.crossings / all};
}

static figures measure(const options *o, double skew, uint64_t capacity, int64_t ttl_ms, int window)
{
    return measure_for(o, skew, capacity, ttl_ms, window, WARM_S, COUNTED_S);
}

/* ----------------------------------------------------------------------------------------------- output -- */

static void row(const figures f[WINDOWS], int64_t ttl_s)
{
    printf("| %" PRId64 " s ", ttl_s);
    for (int i = 0; i < WINDOWS; i++) printf(i ? "| %.2f%% / %.4f " : "| %.2f%% ", 100 * f[i].hits, f[i].background);
    printf("| %.4f |\n", f[WINDOWS - 1].touches);
}

static void head(const options *o, double skew, uint64_t capacity)
{
    printf("\n%s, L1 for %" PRIu64 " of %" PRIu64 " sessions:\n\n", skew > 0 ? "Zipf 0.99" : "Uniform", capacity,
           o->sessions);
    printf("| `l1_ttl_ms` | none | 10%% | 25%% | 50%% | 75%% | the library's | touches |\n"
           "|---|---:|---:|---:|---:|---:|---:|---:|\n");
}

/* What is sent for each: HGET and PTTL; the same; PEXPIRE, ZADD and PEXPIRE. GET and EXPIRE are two for each request. */
static void table_of_commands(const options *o)
{
    enum { EACH = 50000, HALF_HOUR_S = 1800, DEFAULT_TTL_MS = 300000 };
    figures f[2];
    for (int i = 0; i < 2; i++)
        f[i] = measure_for(o, 0.99, i ? o->sessions : o->sessions / 10, DEFAULT_TTL_MS, OWN, HALF_HOUR_S, HALF_HOUR_S);
#define ROW(text, format, value)                                                                                       \
    do {                                                                                                               \
        printf("| " text " ");                                                                                         \
        for (int i = 0; i < 2; i++) printf("| " format " ", value);                                                    \
        printf("|\n");                                                                                                 \
    } while (0)
#define COMMANDS (2 * f[i].path + 2 * f[i].background + 3 * f[i].touches)
    printf("| per 50,000 requests | L1 of a tenth | L1 of all |\n|---|---:|---:|\n");
    ROW("hits", "%.1f%%", 100 * f[i].hits);
    ROW("reads in a request's path, each `HGET` and `PTTL`", "%.0f", EACH * f[i].path);
    ROW("reads ahead, each the same", "%.0f", EACH * f[i].background);
    ROW("touches, each `PEXPIRE`, `ZADD` and `PEXPIRE`", "%.0f", EACH * f[i].touches);
    ROW("commands", "%.0f", EACH * COMMANDS);
    ROW("fewer than GET and EXPIRE", "%.1f times", 2 / COMMANDS);
    ROW("the same if the user's index were moved once in half an idle time", "%.1f times",
        2 / (COMMANDS - f[i].touches + f[i].crossings));
    ROW("the same if a touch were one command", "%.1f times", 2 / (COMMANDS - 2 * f[i].touches));
    ROW("the same if nothing were read ahead either, and a read were one command", "%.1f times",
        2 / (f[i].path + f[i].touches));
#undef COMMANDS
#undef ROW
}

static void write_figures(bench_json *json, const figures *f, int64_t ttl_s, int window)
{
    if (!json->file) return;
    bench_json_object(json, NULL);
    bench_json_number(json, "l1_ttl_ms", (double)ttl_s * 1000);
    if (window == OWN) bench_json_text(json, "window", "own");
    else bench_json_number(json, "window_percent", window);
    bench_json_number(json, "hit_rate", f->hits);
    bench_json_number(json, "path_reads_per_request", f->path);
    bench_json_number(json, "background_reads_per_request", f->background);
    bench_json_number(json, "touches_per_request", f->touches);
    bench_json_end(json, '}');
}

static void table(const options *o, bench_json *json, double skew, uint64_t capacity, int from)
{
    head(o, skew, capacity);
    if (json->file) {
        bench_json_object(json, NULL);
        bench_json_number(json, "zipf", skew);
        bench_json_number(json, "l1_capacity", (double)capacity);
        bench_json_array(json, "rows");
    }
    for (int t = 0; t < TTLS; t++) {
        figures f[WINDOWS];
        for (int i = 0; i < WINDOWS; i++) {
            bench_progress("replaying", from + t * WINDOWS + i, 4 * TTLS * WINDOWS);
            f[i] = measure(o, skew, capacity, ttls_s[t] * 1000, windows[i]);
            write_figures(json, &f[i], ttls_s[t], windows[i]);
        }
        row(f, ttls_s[t]);
    }
    if (!json->file) return;
    bench_json_end(json, ']');
    bench_json_end(json, '}');
}

static uint64_t number_of(const char *option, const char *text, uint64_t least, uint64_t most)
{
    char *end = NULL;
    uint64_t n = text ? strtoull(text, &end, 10) : 0;
    if (!text || *text < '0' || *text > '9' || *end || n < least || n > most)
        bench_die("latchkey-bench-ttl: %s wants a number from %" PRIu64 " to %" PRIu64, option, least, most);
    return n;
}

static options read_options(int argc, char **argv)
{
    options o = {.sessions = 50000, .seed = 1};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (!strcmp(argv[i], "--help")) {
            fputs(usage, stdout);
            exit(0);
        } else if (!strcmp(argv[i], "--short")) o.sessions = 2000;
        else if (!strcmp(argv[i], "--commands")) o.commands = true;
        else if (!strcmp(argv[i], "--sessions")) o.sessions = number_of(argv[i++], value, 1000, 10000000);
        else if (!strcmp(argv[i], "--seed")) o.seed = number_of(argv[i++], value, 0, UINT32_MAX);
        else if (!strcmp(argv[i], "--json") && value) o.json = argv[++i];
        else bench_die("latchkey-bench-ttl: '%s' is no option; see --help", argv[i]);
    }
    return o;
}

int main(int argc, char **argv)
{
    options o = read_options(argc, argv);
    if (o.commands) {
        table_of_commands(&o);
        return 0;
    }
    bench_json json = {.first = true};
    if (o.json && !(json.file = fopen(o.json, "w"))) bench_die("latchkey-bench-ttl: cannot write %s", o.json);
    if (json.file) {
        bench_json_object(&json, NULL);
        bench_json_number(&json, "sessions", (double)o.sessions);
        bench_json_number(&json, "seed", (double)o.seed);
        bench_json_array(&json, "tables");
    }
    printf(
        "Hits, and behind the stroke reads in the background, per request, by the window in which a hit has its entry "
        "read again: none, parts of the shortest life, and the library's own. What is no hit is a read in the "
        "request's path. Touches, with the library's window, per request.\n");
    for (int i = 0; i < 4; i++)
        table(&o, &json, i / 2 ? 0 : 0.99, i % 2 ? o.sessions : o.sessions / 10, i * TTLS * WINDOWS);
    bench_progress_end();
    if (!json.file) return 0;
    bench_json_end(&json, ']');
    bench_json_end(&json, '}');
    fputc('\n', json.file);
    if (fclose(json.file)) bench_die("latchkey-bench-ttl: cannot write %s", o.json);
    return 0;
}
