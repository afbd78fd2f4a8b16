/* latchkey doctor: examines a server and the way to it. It says what weakens which guarantee, and what to do about it. */
#include "cli/doctor/doctor.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const char *admin_url, *least_level = "notice";
static uint64_t keys_most;
static bool keys_given;

finding *doctor_find(doctor *d, int level, const char *name, const char *guarantees, const char *format, ...)
{
    static finding none;
    va_list list;
    if (d->count == FINDINGS_MOST) return &none;
    finding *f = &d->found[d->count++];
    *f = (finding){.name = name, .guarantees = guarantees, .level = level};
    va_start(list, format);
    vsnprintf(f->text, sizeof f->text, format, list);
    va_end(list);
    return f;
}

void doctor_fix(finding *f, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(f->fix, sizeof f->fix, format, list);
    va_end(list);
}

void doctor_unseen(doctor *d, const char *what)
{
    size_t used = strlen(d->unseen);
    snprintf(d->unseen + used, sizeof d->unseen - used, "%s%s", used ? ", " : "", what);
}

/* ---------------------------------------------------------------------------------------------- the findings -- */

static const char *level_name(int level)
{
    return level == LATCHKEY_LOG_ERROR ? "error" : level == LATCHKEY_LOG_WARNING ? "warning" : "notice";
}

/* Of a cluster: the members `nodes` and `slots_without_node`. */
static void print_nodes(json *j, const doctor *d)
{
    if (!d->nodes) return;
    json_open(j, "nodes", '[');
    for (unsigned i = 0; i < d->nodes->count; i++) {
        json_open(j, NULL, '{');
        json_text(j, "node", d->node[i].at);
        json_bool(j, "answers", d->nodes->node[i] != NULL);
        json_text(j, "version", d->node[i].version);
        json_uint(j, "replicas", d->node[i].replicas);
        json_uint(j, "partitions", d->node[i].partitions);
        json_int(j, "node_timeout_ms", d->node[i].timeout_ms);
        json_int(j, "clock_ahead_ms", d->node[i].clock_ahead_ms);
        json_close(j, '}');
    }
    json_close(j, ']');
    json_uint(j, "slots_without_node", d->nodes->uncovered);
}

void doctor_json_findings(json *j, const doctor *d)
{
    json_open(j, "findings", '[');
    for (size_t i = 0; i < d->count; i++) {
        const finding *f = &d->found[i];
        json_open(j, NULL, '{');
        json_text(j, "name", f->name);
        json_text(j, "level", level_name(f->level));
        json_text(j, "guarantees", f->guarantees);
        json_text(j, "text", f->text);
        json_text(j, "fix", f->fix);
        json_close(j, '}');
    }
    json_close(j, ']');
}

static void print_findings_json(const doctor *d)
{
    json j = {0};
    json_open(&j, NULL, '{');
    json_text(&j, "redis_version", d->version[0] ? d->version : NULL);
    json_real(&j, "round_trip_ms", d->round_trip_ms);
    json_real(&j, "clock_ahead_ms", d->clock_ahead_ms);
    json_uint(&j, "keys_looked_at", d->keys_seen);
    print_nodes(&j, d);
    doctor_json_findings(&j, d);
    json_close(&j, '}');
}

/* In lines of at most 100 characters. */
static void print_wrapped(const char *text)
{
    enum { WIDTH = 98 };
    while (*text) {
        size_t fits = strlen(text);
        if (fits > WIDTH)
            for (fits = WIDTH; fits > 1 && text[fits] != ' ';) fits--;
        cli_say(stdout, "  %.*s\n", (int)fits, text);
        text += fits + strspn(text + fits, " ");
    }
}

static void print_findings(const doctor *d)
{
    char away[96] = "its clock is not known";
    if (!isnan(d->round_trip_ms))
        snprintf(away, sizeof away, "round trip %.2f ms, its clock %+.3f s of ours", d->round_trip_ms,
                 d->clock_ahead_ms / 1000);
    cli_say(stdout, "Redis %s, %s, %" PRIu64 " keys looked at\n", d->version[0] ? d->version : "?", away, d->keys_seen);
    for (unsigned i = 0; d->nodes && i < d->nodes->count; i++) {
        const struct doctor_node *n = &d->node[i];
        cli_say(stdout, "  %s, primary, Redis %s, %u replica%s, %u partition%s", n->at,
                n->version[0] ? n->version : "?", n->replicas, n->replicas == 1 ? "" : "s", n->partitions,
                n->partitions == 1 ? "" : "s");
        if (n->timeout_ms >= 0) cli_say(stdout, ", node timeout %" PRId64 " ms", n->timeout_ms);
        cli_say(stdout, "\n");
    }
    doctor_print_findings(d);
    cli_say(stdout, "\n%s\n",
            d->count ? "What to do stands behind each arrow; CONFIG REWRITE keeps what CONFIG SET changed."
                     : "Nothing to change.");
}

void doctor_print_findings(const doctor *d)
{
    char shown[CLI_TIME_SIZE];
    for (size_t i = 0; i < d->count; i++) {
        const finding *f = &d->found[i];
        snprintf(shown, sizeof shown, "%s%.24s", *f->guarantees ? ", weakens " : "", f->guarantees);
        cli_say(stdout, "\n%s: %s%s\n", level_name(f->level), f->name, shown);
        print_wrapped(f->text);
        if (f->fix[0]) cli_say(stdout, "  -> %s\n", f->fix); /* in one piece, so that it can be copied */
    }
}

/* -------------------------------------------------------------------------------------------------- the visit -- */

/* Does a handle open, and get a lease? Opening records the number of partitions, as the application would. */
static void look_at_open(doctor *d)
{
    char error[256];
    latchkey *lk;
    int status = latchkey_open(d->c->config, &lk, error, sizeof error);
    if (status)
        doctor_fix(doctor_find(d, LATCHKEY_LOG_ERROR, "open", "A C", "no handle opens: %s", error),
                   "what the other findings say; else see latchkey_open in the header");
    latchkey_close(lk);
}

static void look_at_all(doctor *d)
{
    char unseen[sizeof d->unseen];
    unsigned seen = 0;
    doctor_cluster(d);
    bool untouched = doctor_partitions(d);
    if (d->nodes && !doctor_at_node(d, d->nodes->owner[0])) return look_at_open(d);
    query *first = d->app;
    look_at_open(d);
    doctor_wire(d);
    doctor_sentinels(d, false);
    doctor_failover_line(d);
    for (unsigned i = 0; i < (d->nodes ? d->nodes->count : 1); i++) {
        size_t from = d->count;
        if (!doctor_at_node(d, i)) continue;
        snprintf(unseen, sizeof unseen, "%s", d->unseen);
        doctor_settings(d);
        doctor_rights(d);
        doctor_keys(d);
        doctor_merge(d, from, i);
        if (seen++) snprintf(d->unseen, sizeof d->unseen, "%s", unseen); /* said once */
    }
    d->app = first;
    doctor_files(d);
    /* No handle was opened here before, so what this one recorded is deleted again. (The first login adds a field to
     * it.) */
    if (untouched) doctor_unrecord(d);
    doctor_say_unseen(d);
}

void doctor_say_unseen(doctor *d)
{
    if (d->unseen[0])
        doctor_fix(doctor_find(d, LATCHKEY_LOG_NOTICE, "unseen", "",
                               "not looked at, because a right is missing: %s. What they would show is not known",
                               d->unseen),
                   "--admin URL of a user that has the right, for this run alone");
}

int doctor_level(const char *name)
{
    for (int level = LATCHKEY_LOG_ERROR; level <= LATCHKEY_LOG_NOTICE; level++)
        if (strcmp(name, level_name(level)) == 0) return level;
    return -1;
}

static int exam(doctor *d)
{
    size_t counts = 0;
    look_at_all(d);
    if (d->c->json) print_findings_json(d);
    else print_findings(d);
    for (size_t i = 0; i < d->count; i++) counts += d->found[i].level <= doctor_level(least_level);
    return counts ? CLI_NO : CLI_DONE;
}

static int connect_to(const cli *c, const char *what, const char *url, int64_t database, query *p)
{
    char error[512] = "no memory";
    int status = query_open(url, database, 0, p, error, sizeof error);
    if (!status) return CLI_DONE;
    return cli_fail(c, status == LATCHKEY_CONFIG ? CLI_CONFIG : CLI_AWAY, "%s%s", what, error);
}

int doctor_visit(const cli *c, const char *admin, uint64_t keys, int (*look)(doctor *d))
{
    query app = {0}, other = {0};
    int exit;
    if (!admin) admin = getenv("LATCHKEY_ADMIN_CONFIG");
    if (!c->config) return cli_no_config(c);
    doctor *d = calloc(1, sizeof *d);
    if (!d || !lk_crypto_init()) exit = cli_fail(c, CLI_FAILED, "no memory");
    else if (!(exit = connect_to(c, "", c->config, QUERY_OF_THE_URL, &app))) {
        *d = (doctor){.c = c, .app = &app, .admin = &app, .admin_url = c->config, .keys_most = keys};
        d->round_trip_ms = d->clock_ahead_ms = NAN;
        if (admin && *admin) {
            d->admin = &other;
            d->admin_url = admin;
            exit = connect_to(c, "--admin: ", admin, app.config.database, &other);
            if (!exit && !app.config.cluster && other.incarnation != app.incarnation)
                exit = cli_fail(c, CLI_CONFIG, "--admin names another server than the configuration");
        }
        if (!exit) exit = look(d);
    }
    if (d) doctor_cluster_end(d);
    query_close(&other);
    query_close(&app);
    free(d);
    return exit;
}

static int run_doctor(const cli *c)
{
    if (doctor_level(least_level) < 0) return cli_fail(c, CLI_USAGE, "--level: error, warning or notice");
    return doctor_visit(c, admin_url, keys_given ? keys_most : 20000, exam);
}

static const cli_option options[] = {
    {.name = "admin",
     .value = "URL",
     .text = &admin_url,
     .secret = true,
     .help = "the same server, with a user that may CONFIG GET and SCAN; or LATCHKEY_ADMIN_CONFIG"},
    {.name = "level",
     .value = "LEVEL",
     .text = &least_level,
     .help = "error, warning or notice: exit 1 only from there on"},
    {.name = "keys",
     .value = "N",
     .given = &keys_given,
     .number = &keys_most,
     .most = 1000000000,
     .help = "how many keys to look at, 20000 if not given"},
    {0},
};

const cli_command cli_doctor = {
    .name = "doctor",
    .arguments = "doctor [--admin URL] [--level LEVEL] [--keys N]",
    .summary = "checks Redis, and the way to it, against the guarantees",
    .help =
        "Examines the server's settings, the rights of the application's user, the connection, the keys under the\n"
        "prefix, and the files of keys. It says what weakens which guarantee, and what to change. It changes nothing.\n"
        "What the application's user may not see is read as the user of --admin. Exit 1: there are findings.",
    .options = options,
    .run = run_doctor,
};
