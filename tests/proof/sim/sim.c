/* SPDX-License-Identifier: MIT
 *
 * The program: worlds from seeds, one after the other.
 */
#include "chaos.h"
#include "clients.h"
#include "shards.h"
#include "base/config.h"
#include "base/crypto.h"
#include "base/hash.h"
#include "hooks.h"
#include "sentinels.h"
#include "server.h"
#include "truth.h"
#include "wire.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char usage[] =
    "sim [--seed N] [--runs N] [--hours H] [--steps N] [--seconds S] [--trace]\n"
    "\n"
    "Runs worlds of machines, servers and a network in virtual time, each wholly made from its seed: instances of the\n"
    "real library, a model of Redis with replicas, and faults. Every answer is judged by what the world knows. Ends "
    "at\n"
    "the first broken guarantee with status 1 and the command that replays it.\n"
    "\n"
    "  --seed N      the first world's seed (1); the others count on from it. `time`: another one every time\n"
    "  --runs N      how many worlds (20); 0: until --seconds are over\n"
    "  --hours H     virtual hours in each (0: drawn from the seed, 0.5 to 24)\n"
    "  --steps N     end the faults of each after N events: the same on every machine (0: no limit)\n"
    "  --seconds S   begin no world after so many real seconds, and end the one that runs (0: no limit)\n"
    "  --with NAME   an ingredient in every world that can have it, or --without NAME in none: databases, restores,\n"
    "                splits, crowds, floods, old-keeps, sentinels, twins, cluster, logins, clocks,\n"
    "                dense, shortlogs, latescripts, smallmemories\n"
    "  --trace       print what happens, one event a line\n"
    "  --quiet       one line at the end\n"
    "  --help        this\n";

typedef struct options {
    uint64_t seed, runs, steps, seconds;
    double hours;
    bool trace, quiet;
} options;

static double real_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* -------------------------------------------------------------------------------------------- one world -- */

static int64_t one_of(const int64_t *from, size_t count) { return from[draw(count)]; }
#define ONE_OF(...) one_of((const int64_t[]){__VA_ARGS__}, sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

/* Slow beats mostly: a world in which they are slow sees the same, stretched, for less of the machine's time. */
static int64_t draw_staleness_ms(void)
{
    return chance(150000) ? ONE_OF(500, 1000, 2000) : ONE_OF(5000, 10000, 20000, 30000, 60000);
}

/* One draw a statement: compilers differ in the order in which they evaluate what stands in one. */
static void make_machines(void)
{
    w.machine_count = (int)draw_between(2, 3);
    for (int i = 0; i < w.machine_count; i++) {
        machine *m = &w.machines[i];
        m->index = i;
        m->clock_us = draw_scale(SECOND, 30 * 86400 * SECOND);
        m->tick_us = ONE_OF(1 * MS, 4 * MS, 10 * MS);
    }
    w.delay_ppm = (unsigned)ONE_OF(500, 5000, 30000);
    if (chance(300000)) w.pause_ppm = (unsigned)ONE_OF(2, 20);
}

/* What is new in the worlds, by name. Off: a fault that is known, and not mended yet, would be found. None is. */
static struct ingredient {
    const char *name;
    enum { OFF, SOMETIMES, ALWAYS } when;
} ingredients[] = {{"databases", SOMETIMES}, {"restores", SOMETIMES},    {"splits", SOMETIMES},
                   {"crowds", SOMETIMES},    {"floods", SOMETIMES},      {"old-keeps", SOMETIMES},
                   {"sentinels", SOMETIMES}, {"cluster", SOMETIMES},     {"logins", SOMETIMES},
                   {"clocks", SOMETIMES},    {"dense", SOMETIMES},       {"twins", SOMETIMES},
                   {"shortlogs", SOMETIMES}, {"latescripts", SOMETIMES}, {"smallmemories", SOMETIMES}};
static char switched[200]; /* as it was said, for the command that replays */
enum { INGREDIENTS = sizeof ingredients / sizeof *ingredients };

/* Drawn whether it is on or not, so that the rest of the world stays the same. */
static bool ingredient(const char *name, unsigned parts_of_a_million)
{
    bool drawn = chance(parts_of_a_million);
    for (int i = 0; i < INGREDIENTS; i++)
        if (!strcmp(ingredients[i].name, name))
            return ingredients[i].when == ALWAYS || (drawn && ingredients[i].when == SOMETIMES);
    abort();
}

/* Not drawn, so that all other worlds stay as they were before there was such a thing: one of so many, by bits of its own. */
static bool seed_has(const char *name, unsigned bits, uint64_t one_of)
{
    bool drawn = (lk_hash(&w.seed, sizeof w.seed, 1) >> bits) % one_of == 1;
    for (int i = 0; i < INGREDIENTS; i++)
        if (!strcmp(ingredients[i].name, name))
            return ingredients[i].when == ALWAYS || (drawn && ingredients[i].when == SOMETIMES);
    abort();
}

/* Is it in every world? Then a world is made so that it can have it. */
static bool always(const char *name)
{
    for (int i = 0; i < INGREDIENTS; i++)
        if (!strcmp(ingredients[i].name, name)) return ingredients[i].when == ALWAYS;
    abort();
}

static void make_climate(climate *c, const promise *p)
{
    c->staleness_us = p->staleness_us;
    c->calm = chance(50000);
    c->storm = chance(300000);
    c->clocks = ingredient("clocks", 150000);
    c->lossy = chance(300000);
    c->restores = ingredient("restores", 500000);
    c->lossy |= c->restores; /* there is a disk */
    c->splits = ingredient("splits", 500000);
    c->quiet_most_us = p->staleness_us < 5 * SECOND ? 300 * SECOND : 3 * 3600 * SECOND;
    c->dense = seed_has("dense", 5, 4);
    if (!c->dense) return;
    c->calm = false;
    c->quiet_most_us = 20 * SECOND + 3 * p->staleness_us;
}

/* Does this version of the library know the option? */
static bool knows_durability(void)
{
    lk_config config;
    char error[160];
    return lk_config_parse("unix:///sim?durability=1", &config, error, sizeof error) == LATCHKEY_OK;
}

static void make_workload(workload *load, promise *p)
{
    char durability[40] = "";
    int partitions = (int)draw_between(1, 4), connections, capacity, ttl_ms;
    load->clients = (int)draw_between(1, 4);
    load->loops = (int)draw_between(0, 2);
    bool crowd = chance(300000); /* more callers than connections */
    load->idle_ms = p->staleness_us / MS * ONE_OF(10, 60, 200, 200);
    load->lifetime_ms = load->idle_ms * draw_between(2, 10);
    load->busy_rest_us = p->staleness_us / 8;
    connections = (int)draw_between(1, 4);
    if (crowd) load->clients = (int)draw_between(5, 12), connections = (int)draw_between(1, 2);
    capacity = (int)ONE_OF(0, 5, 50, 50, 50);
    ttl_ms = (int)ONE_OF(1000, 30000, 600000, 600000);
    if (load->dense) capacity = 50, ttl_ms = 600000;
    load->l1 = capacity > 0;
    load->partitions = (unsigned)partitions;
    int in_flight = (int)ONE_OF(3, 16, 256, 256);
    p->max_sessions = (int)ONE_OF(0, 0, 3);
    p->max_per_device = (int)ONE_OF(0, 0, 2);
    if (load->logins) p->max_sessions = p->max_per_device = 0;
    const char *limit = chance(300000) ? "deny" : "evict";
    if (in_flight < load->clients) in_flight = load->clients; /* so that a call is not refused for want of a place */
    load->in_flight = in_flight;
    load->everyone_ppm = chance(300000) ? (unsigned)ONE_OF(20000, 300000) : 0;
    load->foreign = chance(250000) || load->late;
    load->second_database =
        ingredient("databases", 250000) && !sentinels_there() && !shards_there(); /* not named so there */
    load->crowds = ingredient("crowds", 250000) && !p->max_sessions && !p->max_per_device && !shards_there();
    if (load->crowds && chance(500000)) p->max_sessions = 1020;
    snprintf(load->config, sizeof load->config,
             "%s?lazy=1&staleness_ms=%d&deadline_ms=%d&partitions=%d&connections=%d&l1_capacity=%d&"
             "l1_ttl_ms=%d&idle_ms=%d&lifetime_ms=%d&max_sessions=%d&max_per_device=%d&limit=%s&in_flight=%d",
             shards_there()      ? "redis+cluster://127.0.0.1:6380,127.0.0.1:6381,127.0.0.1:6382,127.0.0.1:6383"
             : sentinels_there() ? sentinels_config()
                                 : "unix:///sim",
             (int)(p->staleness_us / MS), (int)(p->deadline_us / MS), partitions, connections, capacity, ttl_ms,
             (int)load->idle_ms, (int)load->lifetime_ms, p->max_sessions, p->max_per_device, limit, in_flight);
    load->floods = ingredient("floods", 100000) && !load->small; /* it says which places are kept */
    load->old_keeps = ingredient("old-keeps", 1000000);
    if (load->foreign) strcat(load->config, "&foreign_until_ms=1800000000000");
    if (chance(250000)) strcat(load->config, "&seal_key_file=" SEAL_KEYS);
    if (p->grace_us) snprintf(durability, sizeof durability, "&grace_ms=%d", (int)(p->grace_us / MS));
    strcat(load->config, durability);
    durability[0] = 0;
    if (p->durability) snprintf(durability, sizeof durability, "&durability=%d", p->durability);
    strcat(load->config, durability);
    trace("%s", load->config);
}

/* So small that they fill up. */
static void make_memories(workload *load)
{
    memories m = {0};
    load->small = seed_has("smallmemories", 17, 6);
    if (load->small) {
        m.recent = (unsigned)draw_between(4, 32);
        m.pending = (unsigned)draw_between(4, 12);
        m.negative = 8 * (unsigned)draw_between(1, 4);
    }
    hooks_memories(&m);
}

static double world_begin_from(uint64_t seed, double hours)
{
    promise p = {0};
    climate c = {0};
    workload load = {0};
    world_begin(seed);
    wire_begin();
    make_machines();
    p.staleness_us = draw_staleness_ms() * MS;
    if (chance(200000)) p.grace_us = p.staleness_us * ONE_OF(1, 2, 4);
    p.deadline_us = ONE_OF(50, 250, 1000) * MS;
    if (seed_has("dense", 5, 4)) p.staleness_us = ONE_OF(1000, 2000, 5000) * MS, p.grace_us = 0;
    make_climate(&c, &p);
    int servers = chance(400000) ? (int)draw_between(2, 3) : 1;
    if (servers > 1 && chance(c.dense ? 250000 : 500000) && knows_durability()) p.durability = 1;
    bool cluster = seed_has("cluster", 1, 4);
    if (servers == 1 && always("sentinels")) servers = 3;
    if (cluster) {
        servers = CLUSTER_SERVERS;
        p.durability = chance(300000);
        c.splits = false;
    }
    load.late = c.late = seed_has("latescripts", 13, 8);
    make_memories(&load);
    load.changes = seed_has("shortlogs", 9, 3);
    store_streams_keep(load.changes ? draw_between(4, 20) : 0);
    servers_begin(servers, draw_scale(100, 20 * MS), c.lossy, cluster);
    shards_begin(cluster);
    sentinels_begin(servers > 1 && !cluster && seed_has("sentinels", 0, 2), seed_has("twins", 7, 4));
    load.dense = c.dense;
    load.logins = c.restores && seed_has("logins", 3, 4);
    make_workload(&load, &p);
    truth_begin(&p);
    clients_begin(&load);
    chaos_begin(&c);
    /* Where beats are fast the world is short. Drawn in any case, so that a shorter world begins as the whole one does. */
    double whole = p.staleness_us < 5 * SECOND ? 0.5 : (double)draw_between(4, 24);
    if (c.dense) whole = 0.5;
    return hours > 0 ? hours : whole;
}

/* After the last fault: every connection that hangs is given up after half the bound (a beat that does not come back) or
 * the handshake's limit, and tried again at most a second later; what is deposed ends with its lease. */
static int64_t recovery_us(int64_t staleness_us) { return staleness_us + 15 * SECOND; }

/* Up to that hour; but for no more than so many steps, and no longer than until_s, on the real clock (0: as long as it takes), so
 * that a world that takes the machine long ends, too. False: it failed. */
static bool live(double *hours, uint64_t steps, double until_s)
{
    const int64_t most_us = llround(*hours * 3600 * SECOND); /* as it was, where it is replayed */
    while (w.now_us < most_us) {
        if (!world_run(w.now_us + 60 * SECOND < most_us ? w.now_us + 60 * SECOND : most_us)) return false;
        if ((!steps || w.step < steps) && (until_s <= 0 || real_seconds() < until_s)) continue;
        *hours = (double)w.now_us / 3600e6;
        break;
    }
    return true;
}

/* *hours: how long it is to live, 0: as its seed says; then how long it lived before the faults ended. */
static double run_world(uint64_t seed, double *hours, uint64_t steps, double until_s)
{
    *hours = world_begin_from(seed, *hours);
    if (live(hours, steps, until_s)) {
        chaos_end();
        int64_t healed_us = w.now_us;
        for (int i = 0; i < w.machine_count; i++)
            if (w.machines[i].paused_until > healed_us) healed_us = w.machines[i].paused_until;
        world_run(healed_us + 2 * SECOND);
        if (!w.failure[0] && clients_all_serve(recovery_us(60 * SECOND))) {
            world_run(w.now_us + 60 * SECOND);
            if (!w.failure[0]) truth_at_the_end();
            if (!w.failure[0]) clients_end();
        }
    }
    double ran = (double)w.now_us / 3600e6;
    world_end();
    wire_end();
    servers_end();
    return ran;
}

/* ----------------------------------------------------------------------------------------------- report -- */

static void report(const options *o, uint64_t runs, double hours, double seconds)
{
    const tally *t = &totals;
    printf("sim: %" PRIu64 " worlds from seed %" PRIu64 ", %.0f virtual hours in %.1f s (%.0f hours a minute)\n", runs,
           o->seed, hours, seconds, hours / seconds * 60);
    if (o->quiet) return;
    printf("  answers: %" PRIu64 " OK, %" PRIu64 " NOT_FOUND, %" PRIu64 " EXPIRED, %" PRIu64 " UNAVAILABLE, %" PRIu64
           " AGAIN; %" PRIu64 " created, %" PRIu64 " revoked\n",
           t->validates[8], t->validates[9], t->validates[10], t->validates[5], t->validates[0], t->creates,
           t->revokes);
    printf("  L1: %" PRIu64 " hits, %" PRIu64 " fills, %" PRIu64 " refused, %" PRIu64 " purges, %" PRIu64
           " times emptied, %" PRIu64 " messages missed, %" PRIu64 " replayed, %" PRIu64 " lapses; %" PRIu64
           " beats, %" PRIu64 " of them while connected twice\n  %" PRIu64 " entries renewed by a touch, %" PRIu64
           " refreshes, %" PRIu64 " of them dropped; %" PRIu64 " times known to be dead\n",
           t->hits, t->fills, t->refused_fills, t->purges, t->empties, t->missed, t->replayed, t->lapses, t->beats,
           t->twice, t->renewed, t->refreshes, t->refreshes_dropped, t->dead_refused);
    printf("  lines: %" PRIu64 " calls behind others, %" PRIu64 " took over, %" PRIu64
           " left too late to wait, %" PRIu64 " lost one together; submitted %" PRIu64 ", reaped %" PRIu64 " (%" PRIu64
           " after deadline_ms), %" PRIu64 " dropped by close\n",
           t->behind, t->handed_over, t->left, t->lost_together, t->submitted, t->reaped, t->reaped_late, t->dropped);
    printf("  tokens: %" PRIu64 " exchanged, %" PRIu64 " shown after their grace; users: %" PRIu64
           " had their sessions ended (%" PRIu64 " kept), of %" PRIu64 " more than 1,000; %" PRIu64
           " times everybody; %" PRIu64 " floods; %" PRIu64 " logins refused; %" PRIu64 " moved in; %" PRIu64
           " changes of a role; %" PRIu64 " lists of %" PRIu64 " sessions\n",
           t->exchanges, t->reuses, t->users_ended, t->kept, t->crowds, t->everyone, t->floods, t->logins_refused,
           t->imported, t->changed, t->lists, t->listed);
    printf("  episodes:");
    for (int i = 0; chaos_name(i); i++) printf("%s %" PRIu64 " %s", i ? "," : "", chaos_episodes[i], chaos_name(i));
    if (shards_moves)
        printf("\n  %" PRIu64 " partitions began to move, %" PRIu64 " of them in vain; %" PRIu64 " keys; %" PRIu64
               " rested, and %" PRIu64 " admitted long after the move had begun",
               shards_moves, shards_given_up, shards_moved_keys, shards_rests, shards_late_oks);
    printf("\n  small memories: %" PRIu64 " ends or changes forgotten, %" PRIu64 " times no place for a revocation",
           t->forgotten, t->no_place);
    printf("\n  outside of the promise, and excused: %" PRIu64 " answers; %" PRIu64 " sessions were left at the ends\n",
           t->excused, t->looked_at);
}

static int failed(const options *o, uint64_t seed, double hours, double lived)
{
    char more[40] = "";
    if (o->hours > 0 || o->steps || o->seconds) snprintf(more, sizeof more, " --hours %.17g", lived);
    printf("sim: seed %" PRIu64 " failed after %.4f virtual hours\n  %s\n  replay: sim --seed %" PRIu64
           " --runs 1%s%s --trace\n",
           seed, hours, w.failure, seed, more, switched);
    fflush(stdout); /* LeakSanitizer, which sees what the world left, ends the process without it */
    return 1;
}

static int run(const options *o)
{
    double began = real_seconds(), hours = 0, shown = 0;
    bool terminal = isatty(STDOUT_FILENO) && !o->trace && !o->quiet;
    uint64_t runs = 0, traces = 0;
    while ((!o->runs || runs < o->runs) && (!o->seconds || real_seconds() - began < (double)o->seconds)) {
        uint64_t seed = o->seed + runs++;
        double lived = o->hours, ran = run_world(seed, &lived, o->steps, o->seconds ? began + (double)o->seconds : 0);
        hours += ran;
        traces = traces * 31 + w.trace;
        if (w.failure[0]) return failed(o, seed, ran, lived);
        if (o->trace) printf("seed %" PRIu64 ": trace %016" PRIx64 "\n", seed, w.trace);
        if (!terminal || real_seconds() - shown < 0.2) continue;
        shown = real_seconds();
        printf("\rsim: %" PRIu64 " worlds, %.0f virtual hours, %.0f s ", runs, hours, shown - began);
        fflush(stdout);
    }
    if (terminal) printf("\r%60s\r", "");
    report(o, runs, hours, real_seconds() - began);
    bool shared = totals.behind && totals.handed_over && totals.left && totals.lost_together;
    bool submitted = totals.reaped && totals.reaped_late && totals.dropped;
    bool more = totals.everyone && totals.imported && totals.changed;
    bool goes_on = shards_rests < 20 || shards_late_oks;
    bool lives = totals.exchanges && totals.reuses && totals.users_ended && totals.kept && totals.logins_refused &&
                 totals.listed;
    if (runs < 5 || (totals.validates[8] && totals.hits && totals.validates[9] &&
                     (runs < 20 || (shared && submitted && lives && more && goes_on)))) {
        printf("  trace %016" PRIx64 "\n", traces);
        return 0;
    }
    puts("sim: something never happened: admitted from L1, refused, shared a line, submitted, exchanged, ended for a "
         "whole user, listed, admitted while a slot moved for long; that proves nothing");
    return 1;
}

/* --------------------------------------------------------------------------------------------- arguments -- */

static const char *value(int argc, char **argv, int *i)
{
    if (*i + 1 < argc) return argv[++*i];
    fprintf(stderr, "sim: %s wants a value\n%s", argv[*i], usage);
    exit(2);
}

static uint64_t number(int argc, char **argv, int *i)
{
    const char *option = argv[*i], *text = value(argc, argv, i);
    char *end;
    uint64_t n = strtoull(text, &end, 0);
    if (*text >= '0' && *text <= '9' && !*end) return n;
    fprintf(stderr, "sim: %s wants a number, not '%s'\n", option, text);
    exit(2);
}

static void switch_ingredient(const char *name, bool on)
{
    int i = 0;
    while (i < INGREDIENTS && strcmp(ingredients[i].name, name)) i++;
    if (i == INGREDIENTS) {
        fprintf(stderr, "sim: there is no ingredient '%s'\n", name);
        exit(2);
    }
    ingredients[i].when = on ? ALWAYS : OFF;
    snprintf(switched + strlen(switched), sizeof switched - strlen(switched), " --with%s %s", on ? "" : "out", name);
}

int main(int argc, char **argv)
{
    options o = {.seed = 1, .runs = 20};
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--seed") && i + 1 < argc && !strcmp(argv[i + 1], "time"))
            o.seed = (uint64_t)time(NULL) * 1000, i++;
        else if (!strcmp(argv[i], "--seed")) o.seed = number(argc, argv, &i);
        else if (!strcmp(argv[i], "--runs")) o.runs = number(argc, argv, &i);
        else if (!strcmp(argv[i], "--steps")) o.steps = number(argc, argv, &i);
        else if (!strcmp(argv[i], "--seconds")) o.seconds = number(argc, argv, &i);
        else if (!strcmp(argv[i], "--hours")) o.hours = atof(value(argc, argv, &i));
        else if (!strcmp(argv[i], "--trace")) o.trace = w.print_trace = true;
        else if (!strcmp(argv[i], "--with") || !strcmp(argv[i], "--without")) {
            bool on = !strcmp(argv[i], "--with");
            switch_ingredient(value(argc, argv, &i), on);
        } else if (!strcmp(argv[i], "--quiet")) o.quiet = true;
        else {
            bool help = !strcmp(argv[i], "--help") || !strcmp(argv[i], "-h");
            fputs(usage, help ? stdout : stderr);
            return help ? 0 : 2;
        }
    }
    if (!o.runs && !o.seconds) o.seconds = 60;
    if (!lk_crypto_init()) return 2;
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    return run(&o);
}
