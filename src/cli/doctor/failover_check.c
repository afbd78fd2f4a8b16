/* latchkey failover-check: what a failover would cost if it happened now. */
#include "cli/doctor/doctor.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *admin_url, *least_level = "warning";
static survey *servers; /* large, and asked once */

/* What doctor finds besides, and a failover has nothing to do with. */
static void drop(doctor *d, const char *name)
{
    size_t kept = 0;
    for (size_t i = 0; i < d->count; i++)
        if (strcmp(d->found[i].name, name)) d->found[kept++] = d->found[i];
    d->count = kept;
}

static bool is_possible(const doctor *d)
{
    for (size_t i = 0; i < d->count; i++)
        if (d->found[i].level == LATCHKEY_LOG_ERROR || !strcmp(d->found[i].name, "failover-replicas") ||
            !strcmp(d->found[i].name, "failover-election"))
            return false;
    return true;
}

static void print_replicas(const survey *s)
{
    if (s->config.sentinels)
        cli_say(stdout, "%s is named by %u of %u sentinels\n", s->node[0].at, s->agreeing, s->config.sentinels);
    for (unsigned i = 0; i < s->count; i++) {
        const survey_node *n = &s->node[i];
        char behind[CLI_SIZE_SIZE];
        cli_say(stdout, "%s  primary, %s\n", n->at, n->answers ? n->version : n->why);
        for (unsigned k = 0; n->answers && k < n->listed; k++) {
            const survey_replica *r = &n->replica[k];
            cli_say(stdout, "  %s  replica, %s, %s behind, heard %" PRId64 " s ago\n", r->at, r->state,
                    r->behind < 0 ? "?" : cli_bytes(behind, (uint64_t)r->behind), r->lag_s);
        }
    }
    cli_say(stdout, "durability %" PRId64 ", staleness_ms %" PRId64 "\n", s->config.durability, s->config.staleness_ms);
}

static const char *failover_verdict(const doctor *d, bool counts)
{
    if (!is_possible(d)) return "A failover now is not possible everywhere. What to do stands behind each arrow.";
    if (counts)
        return "A failover now is possible, and it would cost more than it has to. What to do stands behind each "
               "arrow.";
    return d->count ? "A failover now is possible; what it costs stands above." : "A failover now loses nothing.";
}

static void print_json(const doctor *d)
{
    const survey *s = servers;
    json j = {0};
    json_open(&j, NULL, '{');
    json_bool(&j, "possible", is_possible(d));
    json_bool(&j, "loses_nothing", !d->count);
    json_int(&j, "durability", s->config.durability);
    json_int(&j, "staleness_ms", s->config.staleness_ms);
    if (s->config.sentinels) {
        json_uint(&j, "sentinels", s->config.sentinels);
        json_uint(&j, "sentinels_agreeing", s->agreeing);
    }
    json_open(&j, "nodes", '[');
    for (unsigned i = 0; i < s->count; i++) {
        json_open(&j, NULL, '{');
        json_text(&j, "node", s->node[i].at);
        json_bool(&j, "answers", s->node[i].answers);
        if (d->nodes && i < d->nodes->count) json_int(&j, "node_timeout_ms", d->node[i].timeout_ms);
        survey_json_replicas(&j, &s->node[i]);
        json_close(&j, '}');
    }
    json_close(&j, ']');
    doctor_json_findings(&j, d);
    json_close(&j, '}');
}

static int check_failover(doctor *d)
{
    size_t counts = 0;
    survey_ask(servers, false);
    doctor_cluster(d);
    doctor_sentinels(d, true);
    drop(d, "cluster-spread");
    doctor_failover(d, servers);
    doctor_say_unseen(d);
    for (size_t i = 0; i < d->count; i++) counts += d->found[i].level <= doctor_level(least_level);
    if (d->c->json) print_json(d);
    else {
        print_replicas(servers);
        doctor_print_findings(d);
        cli_say(stdout, "\n%s\n", failover_verdict(d, counts));
    }
    return counts ? CLI_NO : CLI_DONE;
}

static int run_failover_check(const cli *c)
{
    if (doctor_level(least_level) < 0) return cli_fail(c, CLI_USAGE, "--level: error, warning or notice");
    if (!c->config) return cli_no_config(c);
    servers = calloc(1, sizeof *servers);
    if (!servers || !lk_crypto_init()) return cli_fail(c, CLI_FAILED, "no memory");
    int exit = survey_open(servers, c->config) ? cli_fail(c, CLI_CONFIG, "%s", servers->error)
                                               : doctor_visit(c, admin_url, 0, check_failover);
    survey_close(servers);
    free(servers);
    return exit;
}

static const cli_option options[] = {
    {.name = "admin",
     .value = "URL",
     .text = &admin_url,
     .secret = true,
     .help = "the same servers, with a user that may CONFIG GET; or LATCHKEY_ADMIN_CONFIG"},
    {.name = "level",
     .value = "LEVEL",
     .text = &least_level,
     .help = "error, warning or notice: exit 1 only from there on; warning if not given"},
    {0},
};

const cli_command cli_failover_check = {
    .name = "failover-check",
    .arguments = "failover-check [--admin URL] [--level LEVEL]",
    .summary = "what a failover would cost if it happened now",
    .help = "Run it before an upgrade, a planned failover, or as a check every few minutes. It says of each primary\n"
            "whether a replica could take over, how far the replicas are behind, which logins a failover would lose,\n"
            "and whether enough replicas are left afterwards for durability and for min-replicas-to-write. With\n"
            "sentinels it says how many of them answer and agree, and which of them could not carry one out. In a\n"
            "cluster it says whether enough primaries are left to elect a new one, how long that takes, and what\n"
            "cluster-node-timeout, cluster-require-full-coverage and cluster-allow-reads-when-down add. It changes\n"
            "nothing. What the application's user may not see is read as the user of --admin.\n"
            "\n"
            "Exit 0: a failover now is possible, and costs what include/guarantees.md says. Exit 1: it is not\n"
            "possible, or would cost more. With --level notice also: it would lose anything at all.",
    .options = options,
    .run = run_failover_check,
};
