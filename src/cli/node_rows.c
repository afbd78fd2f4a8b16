/* See node_rows.h. */
#include "cli/node_rows.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* The oldest lease of one instance at one node. False: it says nothing of it. */
static bool lease_at(const survey *s, const fleet_instance *one, unsigned node, int64_t *age_ms)
{
    bool told = false;
    if (!s->config.cluster) {
        *age_ms = fleet_lease_ms(one->now.lease_age_ms, s->config.staleness_ms);
        return one->tells;
    }
    for (size_t i = 0; one->tells && i < one->now.nodes; i++) {
        const lk_beat_node *n = &one->now.node[i];
        if (survey_owner(s, n->partition) != node) continue;
        int64_t age = fleet_lease_ms(n->lease_age_ms, s->config.staleness_ms);
        *age_ms = !told ? age : *age_ms < 0 || age < 0 ? -1 : age > *age_ms ? age : *age_ms;
        told = true;
    }
    return told;
}

node_leases node_leases_of(const survey *s, const fleet *h, unsigned node)
{
    node_leases all = {.oldest_ms = -1};
    for (size_t i = 0; i < h->count; i++) {
        int64_t age_ms;
        if (!lease_at(s, &h->instance[i], node, &age_ms)) continue;
        all.instances++;
        all.without += age_ms < 0;
        all.oldest_ms = age_ms > all.oldest_ms ? age_ms : all.oldest_ms;
    }
    return all;
}

static int64_t most_behind(const survey_node *n)
{
    int64_t most = -1;
    for (unsigned i = 0; i < n->listed; i++) most = n->replica[i].behind > most ? n->replica[i].behind : most;
    return most;
}

/* ------------------------------------------------------------------------------------------------------- rows -- */

static const char *const headings[] = {"NODE",     "ROLE",  ">PARTITIONS", ">SESSIONS", ">COMMANDS/S",
                                       ">AWAY ms", ">USED", ">REPLICAS",   ">BEHIND",   ">LEASE ms",
                                       "",         NULL};

static void count_cell(table *t, bool known, double value)
{
    char text[32] = "-";
    if (known && !isnan(value)) snprintf(text, sizeof text, "%.0f", value);
    table_cell(t, text);
}

static void behind_cell(table *t, int64_t behind)
{
    char text[CLI_SIZE_SIZE];
    table_cell(t, behind < 0 ? "-" : cli_bytes(text, (uint64_t)behind));
}

static void lease_cell(table *t, const node_leases *l)
{
    char text[32] = "-";
    if (l->oldest_ms >= 0) snprintf(text, sizeof text, "%" PRId64, l->oldest_ms);
    table_cell(t, l->instances && l->without == l->instances ? "NONE" : text);
}

static void primary_row(table *t, const survey *s, const fleet *h, unsigned i)
{
    const survey_node *n = &s->node[i];
    node_leases l = node_leases_of(s, h, i);
    char text[256] = "", away[32] = "-";
    table_cell(t, *n->at ? n->at : "-");
    table_cell(t, "primary");
    count_cell(t, s->partitions > 0, n->partitions);
    count_cell(t, n->answers, (double)n->sessions);
    count_cell(t, n->answers, n->commands_per_s);
    if (n->answers) snprintf(away, sizeof away, "%.2f", n->away_ms);
    table_cell(t, away);
    table_cell(t, n->answers && *n->memory ? n->memory : "-");
    count_cell(t, n->answers, n->replicas);
    behind_cell(t, n->answers ? most_behind(n) : -1);
    lease_cell(t, &l);
    if (!n->answers) snprintf(text, sizeof text, "DOES NOT SERVE: %s", n->why);
    else if (l.without) snprintf(text, sizeof text, "NO LEASE: %zu of %zu instances", l.without, l.instances);
    table_cell(t, text);
}

static void replica_row(table *t, const survey_replica *r)
{
    char text[64] = "";
    table_cell(t, r->at);
    table_cell(t, "replica");
    for (int k = 0; k < 6; k++) table_cell(t, "");
    behind_cell(t, r->behind);
    table_cell(t, "");
    if (strcmp(r->state, "online")) snprintf(text, sizeof text, "NOT ONLINE: %s", r->state);
    else if (r->lag_s > 1) snprintf(text, sizeof text, "SILENT for %" PRId64 " s", r->lag_s);
    table_cell(t, text);
}

static bool fails(const survey *s, const fleet *h, unsigned i)
{
    return !s->node[i].answers || node_leases_of(s, h, i).without;
}

/* The replicas of a cluster are only counted: its nodes are many. */
bool node_rows_print(const survey *s, const fleet *h, size_t most)
{
    table *t = table_open(headings);
    size_t rows = 0, all = 0;
    if (!t) return false;
    for (int good = 0; good < 2; good++)
        for (unsigned i = 0; i < s->count; i++) {
            if (fails(s, h, i) == good) continue;
            if (all++ < most) primary_row(t, s, h, i), rows++;
            for (unsigned k = 0; !s->config.cluster && s->node[i].answers && k < s->node[i].listed; k++)
                if (all++ < most) replica_row(t, &s->node[i].replica[k]), rows++;
        }
    bool printed = table_print(t);
    if (all > rows) cli_say(stdout, "... and %zu more nodes\n", all - rows);
    return printed;
}

/* ------------------------------------------------------------------------------------------------------- json -- */

static void json_node(json *j, const survey *s, const fleet *h, unsigned i)
{
    const survey_node *n = &s->node[i];
    node_leases l = node_leases_of(s, h, i);
    json_open(j, NULL, '{');
    json_text(j, "node", n->at);
    json_bool(j, "answers", n->answers);
    json_text(j, "why", n->answers ? NULL : n->why);
    json_text(j, "version", n->version);
    json_real(j, "round_trip_ms", n->answers ? n->away_ms : NAN);
    json_real(j, "commands_per_s", n->answers ? n->commands_per_s : NAN);
    json_uint(j, "partitions", n->partitions);
    json_uint(j, "sessions", n->answers ? n->sessions : 0);
    json_uint(j, "replicas", n->answers ? n->replicas : 0);
    survey_json_replicas(j, n);
    json_uint(j, "instances", l.instances);
    json_uint(j, "instances_without_lease", l.without);
    json_int(j, "lease_age_ms", l.without ? -1 : l.oldest_ms);
    json_close(j, '}');
}

void node_rows_json(json *j, const survey *s, const fleet *h)
{
    if (s->config.cluster) json_uint(j, "slots_without_node", s->uncovered);
    json_open(j, "nodes", '[');
    for (unsigned i = 0; i < s->count; i++) json_node(j, s, h, i);
    json_close(j, ']');
}

void node_rows_json_of(json *j, const survey *s, const fleet_instance *one)
{
    if (!s->config.cluster) return;
    json_open(j, "leases", '[');
    for (unsigned i = 0; i < s->count; i++) {
        int64_t age_ms;
        if (!lease_at(s, one, i, &age_ms)) continue;
        json_open(j, NULL, '{');
        json_text(j, "node", s->node[i].at);
        json_int(j, "lease_age_ms", age_ms);
        json_close(j, '}');
    }
    json_close(j, ']');
}
