/* latchkey status: what is shown. */
#include "cli/node_rows.h"
#include "cli/status/status.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static const char *or_unknown(const char *value) { return *value ? value : "?"; }

/* Redis computes it from its machine's clock: if that was set back, it may be anything, also negative. */
static const char *uptime_in_words(char out[48], const char *seconds)
{
    uint64_t up;
    if (cli_number(seconds, 0, INT32_MAX, &up))
        snprintf(out, 48, "up %" PRIu64 " h %" PRIu64 " min", up / 3600, up / 60 % 60);
    else snprintf(out, 48, "up for an unknown time");
    return out;
}

/* The node that stands for all: the first that answers. */
static const survey_node *first_node(const survey *s)
{
    unsigned i = 0;
    while (i + 1 < s->count && !s->node[i].answers) i++;
    return &s->node[i];
}

static uint64_t most_sessions(const state *s) { return s->peak > s->sessions ? s->peak : s->sessions; }

/* ----------------------------------------------------------------------------------------------- for people -- */

static bool print_instances(const state *s)
{
    static const char *const headings[] = {"  INSTANCE", "HOST", ">PID",      "NAME",        "VERSION", ">UP s",
                                           ">HIT %",     ">L1",  ">LEASE ms", ">RECONNECTS", NULL};
    table *t = table_open(headings);
    for (size_t i = 0; i < s->h.count; i++) {
        const fleet_instance *one = &s->h.instance[i];
        const lk_beat_stats *p = &one->now;
        char text[64];
        snprintf(text, sizeof text, "  %s", one->name);
        table_cell(t, text);
        fleet_cells(t, one);
        table_cell(t, one->tells ? p->version : "older");
        int64_t asked = p->hits + p->misses;
        const double values[] = {(double)p->uptime_ms / 1000, asked ? 100.0 * (double)p->hits / (double)asked : 0,
                                 (double)p->entries, (double)p->lease_age_ms, (double)p->reconnects};
        for (size_t k = 0; k < sizeof values / sizeof *values; k++) {
            snprintf(text, sizeof text, k == 1 ? "%.2f" : "%.0f", values[k]);
            table_cell(t, !one->tells ? "-" : k == 3 && p->lease_age_ms < 0 ? "none" : text);
        }
    }
    return table_print(t);
}

static bool print_servers(const state *s)
{
    const survey *v = &s->s;
    const survey_node *n = first_node(v);
    char up[48];
    cli_say(stdout, "Redis        %s, %s, %.2f ms away\n", or_unknown(n->version), uptime_in_words(up, n->uptime),
            n->away_ms);
    if (v->config.sentinels)
        cli_say(stdout, "             %s, named by %u of %u sentinels\n", n->at, v->agreeing, v->config.sentinels);
    if (v->config.cluster)
        cli_say(stdout, "             a cluster: %u primaries, %u nodes with replicas; %s\n", v->count, v->named,
                survey_covered(v) ? "every slot has a node" : "NOT ALL SLOTS HAVE A NODE");
    else
        cli_say(stdout, "             %s used of %s; append-only file %s; replicas: %u\n", or_unknown(n->memory),
                strcmp(n->limit, "0B") ? or_unknown(n->limit) : "no limit", strcmp(n->aof, "1") ? "off" : "on",
                n->replicas);
    if (!v->config.cluster && !v->config.sentinels) return true;
    cli_say(stdout, "\n");
    bool printed = node_rows_print(v, &s->h, SIZE_MAX);
    cli_say(stdout, "\n");
    return printed;
}

static void print_settings(const state *s)
{
    if (s->s.status) cli_say(stdout, "Settings     not known\n");
    else if (s->errors + s->warnings + s->notices)
        cli_say(stdout, "Settings     %zu error%s, %zu warning%s, %zu notice%s: run latchkey doctor\n", s->errors,
                s->errors == 1 ? "" : "s", s->warnings, s->warnings == 1 ? "" : "s", s->notices,
                s->notices == 1 ? "" : "s");
    else cli_say(stdout, "Settings     nothing to report\n");
}

static void print_counts(const state *s)
{
    const char *partial = s->s.silent ? "; those of nodes that do not serve are not counted" : "";
    if (s->s.status) {
        cli_say(stdout, "Sessions     not known\n");
        return;
    }
    if (!s->s.partitions)
        cli_say(stdout, "Sessions     none: no instance has been here under the prefix %s\n", s->s.config.prefix);
    else
        cli_say(stdout,
                "Sessions     about %" PRIu64 " (latchkey sample knows more), at most %" PRIu64 " at once; %" PRIu64
                " partitions%s\n",
                s->sessions, most_sessions(s), s->s.partitions, partial);
    cli_say(stdout, "Revocations  %" PRIu64 " since the beginning\n", s->revocations);
}

/* The summary. It says "All is well" only if nothing needs a person's attention. */
static const char *verdict(const state *s)
{
    if (s->s.status) return "Not all is well: no node serves.";
    if (s->s.silent) return "Not all is well: a node does not serve.";
    if (!status_healthy(s)) return "Not all is well.";
    if (s->warnings) return "It works, and a single fault may break a guarantee: run latchkey doctor.";
    return s->h.count ? "All is well." : "Redis is well; no instance is heard.";
}

bool status_print(const state *s)
{
    bool printed = print_servers(s);
    print_settings(s);
    print_counts(s);
    if (s->refusing)
        cli_say(stdout, "Writes       REFUSED by %u node%s, so logins are UNAVAILABLE there. %s\n", s->refusing,
                s->refusing == 1 ? "" : "s", s->refusal);
    if (s->unheard[0]) cli_say(stdout, "Instances    not heard: %s\n", s->unheard);
    else cli_say(stdout, "Instances    %zu heard%s\n", s->h.count, s->unleased ? "; NOT ALL HAVE A LEASE" : "");
    printed = printed && (!s->h.count || print_instances(s));
    cli_say(stdout, "\n%s\n", verdict(s));
    return printed;
}

/* --------------------------------------------------------------------------------------------- for programs -- */

static void json_instances(json *j, const state *s)
{
    json_open(j, "instances", '[');
    for (size_t i = 0; i < s->h.count; i++) {
        const fleet_instance *one = &s->h.instance[i];
        json_open(j, NULL, '{');
        json_text(j, "instance", one->name);
        json_bool(j, "tells", one->tells);
        json_text(j, "host", one->now.host);
        json_int(j, "pid", one->now.pid);
        json_text(j, "name", one->now.name);
        json_text(j, "version", one->now.version);
        json_int(j, "uptime_ms", one->now.uptime_ms);
        json_int(j, "lease_age_ms", one->now.lease_age_ms);
        json_int(j, "hits", one->now.hits);
        json_int(j, "misses", one->now.misses);
        node_rows_json_of(j, &s->s, one);
        json_close(j, '}');
    }
    json_close(j, ']');
}

void status_print_json(const state *s)
{
    const survey_node *n = first_node(&s->s);
    json j = {0};
    json_open(&j, NULL, '{');
    json_bool(&j, "healthy", status_healthy(s));
    json_text(&j, "redis_version", n->version);
    json_real(&j, "round_trip_ms", n->away_ms);
    if (s->s.config.sentinels) {
        json_text(&j, "primary", n->at);
        json_uint(&j, "sentinels", s->s.config.sentinels);
        json_uint(&j, "sentinels_agreeing", s->s.agreeing);
    }
    node_rows_json(&j, &s->s, &s->h);
    json_uint(&j, "replicas", n->replicas);
    json_bool(&j, "append_only", strcmp(n->aof, "1") == 0);
    json_uint(&j, "errors", s->errors);
    json_uint(&j, "warnings", s->warnings);
    json_uint(&j, "notices", s->notices);
    json_uint(&j, "partitions", s->s.partitions);
    json_uint(&j, "sessions", s->sessions);
    json_uint(&j, "peak", most_sessions(s));
    json_uint(&j, "revocations", s->revocations);
    json_uint(&j, "unleased", s->unleased);
    json_text(&j, "writes_refused", s->refusing ? s->refusal : NULL);
    json_text(&j, "unheard", s->unheard[0] ? s->unheard : NULL);
    json_instances(&j, s);
    json_close(&j, '}');
}
