/* latchkey status: whether all is well, on one screen. It opens no handle: nothing is written, and no instance counts
 * it as one of them. */
#include "cli/fleet.h"
#include "cli/nodes.h"
#include "cli/subscriber.h"

#include "base/clock.h"
#include "l2/sentinels.h"
#include "redis/errors.h"
#include "redis/info.h"
#include "redis/keys.h"
#include "redis/server_check.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 3, EACH = 3 };

/* A primary of a cluster. */
typedef struct node_state {
    char at[112], version[32], memory[32], replicas[16];
    unsigned partitions;
    double away_ms; /* below 0: it does not answer */
} node_state;

typedef struct state {
    subscriber w;
    fleet h;
    nodes *nodes; /* of a cluster */
    node_state *node;
    unsigned silent; /* of those */
    char version[32], memory[32], limit[32], replicas[16], aof[8], uptime[24];
    int64_t round_us;
    uint64_t partitions, indexed, peak, revocations; /* partitions 0: no handle has been opened there yet */
    lk_host primary;                                 /* the one that the sentinels name, */
    unsigned agreeing;                               /* and how many of them do */
    size_t errors, warnings, notices;
    bool refused;    /* a right is missing; w.error says which */
    size_t unleased; /* instances whose lease has lapsed, or that have none */
} state;

/* ------------------------------------------------------------------------------------------------- asking -- */

static bool measure_round(state *s)
{
    for (int i = 0; i < ROUNDS; i++) {
        int64_t began_us = lk_now_us();
        lk_reply *reply = subscriber_ask(&s->w, (const char *const[]){"TIME", NULL});
        int64_t us = lk_now_us() - began_us;
        if (!reply) return false;
        if (!i || us < s->round_us) s->round_us = us;
        lk_reply_free(reply);
    }
    return true;
}

static void count_findings(state *s, const char *info)
{
    static lk_finding findings[LK_FINDINGS_MAX];
    lk_server_check settings = {.info = info,
                                .durability = s->w.config.durability,
                                .staleness_ms = s->w.config.staleness_ms,
                                .sentinels = s->w.config.sentinels != 0};
    size_t count = lk_server_check_check(&settings, findings);
    for (size_t i = 0; i < count; i++) {
        s->errors += findings[i].level == LATCHKEY_LOG_ERROR;
        s->warnings += findings[i].level == LATCHKEY_LOG_WARNING;
        s->notices += findings[i].level == LATCHKEY_LOG_NOTICE;
    }
}

static bool read_server(state *s)
{
    lk_reply *info = subscriber_ask(&s->w, (const char *const[]){"INFO", "default", NULL});
    if (!info) return false;
    const char *text = info->type == LK_REPLY_STRING ? info->text : "";
    lk_info_value(text, "redis_version", s->version, sizeof s->version);
    lk_info_value(text, "used_memory_human", s->memory, sizeof s->memory);
    lk_info_value(text, "maxmemory_human", s->limit, sizeof s->limit);
    lk_info_value(text, "connected_slaves", s->replicas, sizeof s->replicas);
    lk_info_value(text, "aof_enabled", s->aof, sizeof s->aof);
    lk_info_value(text, "uptime_in_seconds", s->uptime, sizeof s->uptime);
    count_findings(s, text);
    lk_reply_free(info);
    return true;
}

static uint64_t number_of(const lk_reply *reply)
{
    uint64_t number;
    if (reply->type == LK_REPLY_INTEGER) return reply->integer > 0 ? (uint64_t)reply->integer : 0;
    return reply->type == LK_REPLY_STRING && cli_number(reply->text, 0, INT64_MAX / 4096, &number) ? number : 0;
}

/* The number counts as 0 if it is missing or something else is there. */
static bool take_sum(state *s, uint64_t *sum)
{
    lk_reply *reply = subscriber_take(&s->w);
    if (!reply) return false;
    *sum += number_of(reply);
    bool refused = reply->type == LK_REPLY_ERROR &&
                   /* a missing right is not a 0 */
                   lk_error_status(reply, s->w.error, sizeof s->w.error) == LATCHKEY_CONFIG;
    if (!refused) s->w.error[0] = 0;
    s->refused |= refused;
    lk_reply_free(reply);
    return !refused;
}

static bool read_partitions(state *s, unsigned from, unsigned count)
{
    char key[LK_KEY_SIZE];
    const char *prefix = s->w.config.prefix;
    bool good = true;
    for (unsigned p = from; p < from + count && good; p++) {
        lk_key_partition(key, prefix, p, "a");
        good = subscriber_send(&s->w, (const char *const[]){"ZCARD", key, NULL});
        lk_key_partition(key, prefix, p, "m");
        good = good && subscriber_send(&s->w, (const char *const[]){"HGET", key, "peak", NULL});
        lk_key_partition(key, prefix, p, "q");
        good = good && subscriber_send(&s->w, (const char *const[]){"GET", key, NULL});
    }
    for (unsigned i = 0; i < count && good; i++)
        good = take_sum(s, &s->indexed) && take_sum(s, &s->peak) && take_sum(s, &s->revocations);
    return good;
}

static bool read_sessions(state *s)
{
    char key[LK_KEY_SIZE];
    lk_key_partition(key, s->w.config.prefix, 0, "m");
    if (!subscriber_send(&s->w, (const char *const[]){"HGET", key, "partitions", NULL}) || !take_sum(s, &s->partitions))
        return false;
    if (s->partitions > 4096) s->partitions = 0; /* it is not the library's */
    for (unsigned p = 0, some; p < s->partitions; p += some) {
        some = (unsigned)s->partitions - p < SUBSCRIBER_AT_ONCE / EACH ? (unsigned)s->partitions - p
                                                                       : SUBSCRIBER_AT_ONCE / EACH;
        if (!read_partitions(s, p, some)) return false;
    }
    return true;
}

/* --------------------------------------------------------------------------------------- a cluster's nodes -- */

static void ask_primary(state *s, unsigned i)
{
    node_state *n = &s->node[i];
    query *p = s->nodes->node[i];
    lk_host_text(&s->nodes->host[i], n->at, sizeof n->at);
    int64_t began_us = lk_now_us();
    lk_reply *reply = p ? QUERY(p, "TIME") : NULL;
    n->away_ms = reply ? (double)(lk_now_us() - began_us) / 1000 : -1;
    lk_reply_free(reply);
    reply = n->away_ms < 0 ? NULL : QUERY(p, "INFO", "default");
    s->silent += !reply;
    if (!reply) return;
    const char *text = reply->type == LK_REPLY_STRING ? reply->text : "";
    lk_info_value(text, "redis_version", n->version, sizeof n->version);
    lk_info_value(text, "used_memory_human", n->memory, sizeof n->memory);
    lk_info_value(text, "connected_slaves", n->replicas, sizeof n->replicas);
    if (s->nodes->owner[0] != i) count_findings(s, text); /* that one was counted */
    lk_reply_free(reply);
}

static bool take_node_sum(state *s, const lk_reply *reply, uint64_t *sum)
{
    *sum += number_of(reply);
    s->refused |=
        reply->type == LK_REPLY_ERROR && lk_error_status(reply, s->w.error, sizeof s->w.error) == LATCHKEY_CONFIG;
    return !s->refused;
}

/* As read_partitions, at the node that has it. */
static bool read_partition(state *s, unsigned p)
{
    static const char *const what[EACH][3] = {{"ZCARD", "a", NULL}, {"HGET", "m", "peak"}, {"GET", "q", NULL}};
    uint64_t *sum[EACH] = {&s->indexed, &s->peak, &s->revocations};
    char key[LK_KEY_SIZE];
    bool good = true;
    s->node[s->nodes->owner[p]].partitions++;
    for (int i = 0; i < EACH && good; i++) {
        lk_key_partition(key, s->w.config.prefix, p, what[i][1]);
        lk_reply *reply = query_say(nodes_of(s->nodes, p), (const char *const[]){what[i][0], key, what[i][2], NULL});
        good = !reply || take_node_sum(s, reply, sum[i]);
        lk_reply_free(reply);
    }
    return good;
}

/* What does not answer is counted, and is no reason to say nothing. */
static bool read_nodes(const cli *c, state *s)
{
    char key[LK_KEY_SIZE];
    s->nodes = calloc(1, sizeof *s->nodes);
    s->node = calloc(NODES_MOST, sizeof *s->node);
    if (!s->nodes || !s->node) return false;
    nodes_open(c->config, s->nodes, s->w.error, sizeof s->w.error);
    s->w.error[0] = 0;
    for (unsigned i = 0; i < s->nodes->count; i++) ask_primary(s, i);
    lk_key_partition(key, s->w.config.prefix, 0, "m");
    lk_reply *reply = nodes_of(s->nodes, 0) ? QUERY(nodes_of(s->nodes, 0), "HGET", key, "partitions") : NULL;
    bool good = !reply || take_node_sum(s, reply, &s->partitions);
    lk_reply_free(reply);
    if (!reply) s->partitions = (uint64_t)s->w.config.partitions; /* the node that knows is away */
    if (s->partitions > LK_PARTITIONS_MAX) s->partitions = 0;     /* it is not the library's */
    for (unsigned p = 0; p < s->partitions && good; p++)
        if (nodes_of(s->nodes, p)) good = read_partition(s, p);
    return good;
}

static bool print_nodes(const state *s)
{
    static const char *const headings[] = {"  NODE", "VERSION", ">AWAY ms", "USED", ">REPLICAS", ">PARTITIONS", NULL};
    table *t = table_open(headings);
    for (unsigned i = 0; i < s->nodes->count; i++) {
        const node_state *n = &s->node[i];
        char text[128];
        snprintf(text, sizeof text, "  %s", n->at);
        table_cell(t, text);
        table_cell(t, *n->version ? n->version : "?");
        snprintf(text, sizeof text, n->away_ms < 0 ? "NO ANSWER" : "%.2f", n->away_ms);
        table_cell(t, text);
        table_cell(t, *n->memory ? n->memory : "?");
        table_cell(t, *n->replicas ? n->replicas : "?");
        snprintf(text, sizeof text, "%u", n->partitions);
        table_cell(t, text);
    }
    return table_print(t);
}

static void json_nodes(json *j, const state *s)
{
    json_uint(j, "slots_without_node", s->nodes->uncovered);
    json_open(j, "nodes", '[');
    for (unsigned i = 0; i < s->nodes->count; i++) {
        const node_state *n = &s->node[i];
        json_open(j, NULL, '{');
        json_text(j, "node", n->at);
        json_bool(j, "answers", n->away_ms >= 0);
        json_text(j, "version", n->version);
        json_real(j, "round_trip_ms", n->away_ms);
        json_int(j, "replicas", atoi(n->replicas));
        json_uint(j, "partitions", n->partitions);
        json_close(j, '}');
    }
    json_close(j, ']');
}

/* ------------------------------------------------------------------------------------------- the instances -- */

/* Listens for as long as an instance may take between two beats, and a little longer. */
static int hear_instances(const cli *c, state *s)
{
    if (s->nodes && !nodes_of(s->nodes, 0)) return CLI_DONE; /* its channel is on a node that does not answer */
    int exit = subscriber_listen(&s->w);
    int64_t until_ms = lk_now_ms() + s->w.config.staleness_ms / 2 * 3 / 2 + 300;
    int got = 0;
    while (!exit && got >= 0 && lk_now_ms() < until_ms) {
        lk_reply *reply;
        while ((got = subscriber_next(&s->w, &reply)) > 0) {
            fleet_take(&s->h, reply, lk_now_ms());
            lk_reply_free(reply);
        }
        if (got == 0) subscriber_wait(&s->w, until_ms);
    }
    if (got < 0) return cli_fail(c, CLI_AWAY, "%s", s->w.error);
    for (size_t i = 0; i < s->h.count; i++) {
        const fleet_instance *one = &s->h.instance[i];
        s->unleased += one->tells && (one->now.lease_age_ms < 0 || one->now.lease_age_ms > s->w.config.staleness_ms);
    }
    return exit;
}

static bool healthy(const state *s)
{
    return !s->errors && !s->unleased && !s->silent && !(s->nodes && s->nodes->uncovered);
}

/* ------------------------------------------------------------------------------------------------ printing -- */

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

/* The summary. It says "All is well" only if nothing needs a person's attention. */
static const char *verdict(const state *s)
{
    if (!healthy(s)) return "Not all is well.";
    if (s->warnings) return "It works, and a single fault may break a guarantee: run latchkey doctor.";
    return s->h.count ? "All is well." : "Redis is well; no instance is heard.";
}

static bool print_status(const state *s)
{
    char up[48], at[112];
    cli_say(stdout, "Redis        %s, %s, %.2f ms away\n", or_unknown(s->version), uptime_in_words(up, s->uptime),
            (double)s->round_us / 1000);
    if (s->w.config.sentinels) {
        lk_host_text(&s->primary, at, sizeof at);
        cli_say(stdout, "             %s, named by %u of %u sentinels\n", at, s->agreeing, s->w.config.sentinels);
    }
    if (s->nodes) {
        cli_say(stdout, "             a cluster: %u primaries, %u nodes with replicas; %s\n", s->nodes->count,
                s->nodes->named, s->nodes->uncovered ? "NOT ALL SLOTS HAVE A NODE" : "every slot has a node");
        if (!print_nodes(s)) return false;
    } else
        cli_say(stdout, "             %s used of %s; append-only file %s; replicas: %s\n", or_unknown(s->memory),
                strcmp(s->limit, "0B") ? or_unknown(s->limit) : "no limit", strcmp(s->aof, "1") ? "off" : "on",
                or_unknown(s->replicas));
    if (s->errors + s->warnings + s->notices)
        cli_say(stdout, "Settings     %zu error%s, %zu warning%s, %zu notice%s: run latchkey doctor\n", s->errors,
                s->errors == 1 ? "" : "s", s->warnings, s->warnings == 1 ? "" : "s", s->notices,
                s->notices == 1 ? "" : "s");
    else cli_say(stdout, "Settings     nothing to be said\n");
    if (!s->partitions)
        cli_say(stdout, "Sessions     none: no instance has been here under the prefix %s\n", s->w.config.prefix);
    else
        cli_say(stdout,
                "Sessions     about %" PRIu64 " (latchkey sample knows more), at most %" PRIu64 " at once; %" PRIu64
                " partitions\n",
                s->indexed, s->peak > s->indexed ? s->peak : s->indexed, s->partitions);
    cli_say(stdout, "Revocations  %" PRIu64 " since the beginning\n", s->revocations);
    cli_say(stdout, "Instances    %zu heard%s\n", s->h.count, s->unleased ? "; NOT ALL HAVE A LEASE" : "");
    bool printed = !s->h.count || print_instances(s);
    cli_say(stdout, "\n%s\n", verdict(s));
    return printed;
}

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
        json_close(j, '}');
    }
    json_close(j, ']');
}

static void print_status_json(const state *s)
{
    json j = {0};
    json_open(&j, NULL, '{');
    json_bool(&j, "healthy", healthy(s));
    json_text(&j, "redis_version", s->version);
    json_real(&j, "round_trip_ms", (double)s->round_us / 1000);
    if (s->w.config.sentinels) {
        char at[112];
        lk_host_text(&s->primary, at, sizeof at);
        json_text(&j, "primary", at);
        json_uint(&j, "sentinels", s->w.config.sentinels);
        json_uint(&j, "sentinels_agreeing", s->agreeing);
    }
    if (s->nodes) json_nodes(&j, s);
    json_int(&j, "replicas", atoi(s->replicas));
    json_bool(&j, "append_only", strcmp(s->aof, "1") == 0);
    json_uint(&j, "errors", s->errors);
    json_uint(&j, "warnings", s->warnings);
    json_uint(&j, "notices", s->notices);
    json_uint(&j, "partitions", s->partitions);
    json_uint(&j, "sessions", s->indexed);
    json_uint(&j, "peak", s->peak > s->indexed ? s->peak : s->indexed);
    json_uint(&j, "revocations", s->revocations);
    json_uint(&j, "unleased", s->unleased);
    json_instances(&j, s);
    json_close(&j, '}');
}

static void ask_sentinels(state *s)
{
    enum { ASKED_MS = 2000 };
    lk_sentinels *asked = s->w.config.sentinels ? lk_sentinels_ask_all(&s->w.config, lk_now_ms() + ASKED_MS) : NULL;
    if (!asked) return;
    s->primary = lk_sentinels_naming(asked)->primary;
    s->agreeing = lk_naming_agreeing(lk_sentinels_naming(asked), 0);
    lk_sentinels_close(asked);
}

static int inspect(const cli *c, state *s)
{
    ask_sentinels(s);
    if (!fleet_open(&s->h, s->w.config.prefix, s->w.config.database)) return cli_fail(c, CLI_FAILED, "no memory");
    if (!measure_round(s) || !read_server(s) || !(s->w.config.cluster ? read_nodes(c, s) : read_sessions(s)))
        return cli_fail(c, s->refused ? CLI_CONFIG : CLI_AWAY, "%s", s->w.error);
    int exit = hear_instances(c, s);
    if (exit) return exit;
    if (c->json) print_status_json(s);
    else if (!print_status(s)) return cli_fail(c, CLI_FAILED, "no memory");
    return healthy(s) ? CLI_DONE : CLI_NO;
}

static int run_status(const cli *c)
{
    state *s = calloc(1, sizeof *s);
    if (!s) return cli_fail(c, CLI_FAILED, "no memory");
    int exit = subscriber_open(&s->w, c);
    if (!exit) {
        exit = inspect(c, s);
        subscriber_close(&s->w);
    }
    fleet_close(&s->h);
    if (s->nodes) nodes_close(s->nodes);
    free(s->nodes);
    free(s->node);
    free(s);
    return exit;
}

const cli_command cli_status_of = {
    .name = "status",
    .arguments = "status",
    .summary = "is all well, on one screen",
    .help =
        "Shows whether all is well: Redis, its distance and its settings; about how many sessions there are, and the\n"
        "most at once; how many revocations there were; and each instance that sent a beat within one and a half\n"
        "times the usual interval, by host, process and name, with the age of its lease. Nothing is written.\n"
        "Exit 0: no guarantee is broken. Exit 1: a setting breaks one (run latchkey doctor), or an instance has no\n"
        "lease. The Redis user needs +psubscribe beside the rights of an instance; src/redis/acl.txt has such a user.",
    .run = run_status,
};
