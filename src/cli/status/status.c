/* latchkey status: whether all is well, on one screen. It opens no handle: nothing is written, and no instance counts
 * it as one of them. */
#include "cli/status/status.h"

#include "cli/subscriber.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

/* Where the beats are heard. NULL: `unheard` says why nowhere. */
static const lk_host *beats_at(state *s)
{
    unsigned at = survey_owner(&s->s, 0);
    if (at < s->s.count && s->s.node[at].answers) return &s->s.host[at];
    if (at < s->s.count)
        snprintf(s->unheard, sizeof s->unheard, "their beats come over %s, which does not serve", s->s.node[at].at);
    else snprintf(s->unheard, sizeof s->unheard, "no node has partition 0, whose channel carries their beats");
    return NULL;
}

/* Listens for as long as an instance may take between two beats, and a little longer. CLI_DONE also if they cannot be heard
 * because a node of a cluster is away: that is shown. */
static int hear_instances(state *s, subscriber *w)
{
    const lk_host *at = beats_at(s);
    if (!at) return CLI_DONE;
    int exit = subscriber_open(w, s->s.url, at), got = 0;
    if (!exit && (exit = subscriber_listen(w))) subscriber_close(w);
    snprintf(s->unheard, sizeof s->unheard, "%s", exit ? w->error : "");
    if (exit) return exit == CLI_AWAY ? CLI_DONE : exit;
    int64_t until_ms = lk_now_ms() + w->config.staleness_ms / 2 * 3 / 2 + 300;
    while (got >= 0 && lk_now_ms() < until_ms) {
        lk_reply *reply;
        while ((got = subscriber_next(w, &reply)) > 0) {
            fleet_take(&s->h, reply, lk_now_ms());
            lk_reply_free(reply);
        }
        if (got == 0) subscriber_wait(w, until_ms);
    }
    if (got < 0) snprintf(s->unheard, sizeof s->unheard, "%s", w->error);
    else if (s->h.full)
        snprintf(s->unheard, sizeof s->unheard, "more than %d send beats, and not all were looked at", FLEET_MOST);
    subscriber_close(w);
    return CLI_DONE;
}

static void count_leases(state *s)
{
    for (size_t i = 0; i < s->h.count; i++) {
        const fleet_instance *one = &s->h.instance[i];
        s->unleased += one->tells && fleet_lease_ms(one->now.lease_age_ms, s->s.config.staleness_ms) < 0;
    }
}

static void add_nodes(state *s)
{
    for (unsigned i = 0; i < s->s.count; i++) {
        const survey_node *n = &s->s.node[i];
        if (!n->answers) continue;
        s->sessions += n->sessions;
        s->peak += n->peak;
        s->revocations += n->revocations;
        s->errors += n->errors;
        s->warnings += n->warnings;
        s->notices += n->notices;
    }
}

/* Where logins are UNAVAILABLE, although all that is read goes on. */
static void ask_for_writes(state *s)
{
    const survey *v = &s->s;
    unsigned all = (unsigned)v->config.partitions;
    for (unsigned i = 0, p; i < v->count; i++) {
        char why[160];
        for (p = 0; p < all && survey_owner(v, p) != i; p++) continue;
        if (p == all || !v->node[i].answers) continue;
        if (!survey_refuses_writes(v->nodes->node[i], v->config.prefix, p, why, sizeof why) || s->refusing++) continue;
        snprintf(s->refusal, sizeof s->refusal, "%s: %s", v->node[i].at, why);
    }
}

bool status_healthy(const state *s)
{
    return !s->errors && !s->refusing && !s->unleased && !s->unheard[0] && !s->s.silent && survey_covered(&s->s);
}

static const char *refused_right(const survey *s)
{
    for (unsigned i = 0; i < s->count; i++)
        if (s->node[i].refused[0]) return s->node[i].refused;
    return NULL;
}

static int inspect(const cli *c, state *s, subscriber *w)
{
    survey_ask(&s->s, true);
    int away = s->s.status ? s->s.status == LATCHKEY_CONFIG ? CLI_CONFIG : CLI_AWAY : CLI_DONE;
    /* Of a cluster that has a map, the nodes are shown, even if none of them serves. */
    if (away && (!s->s.config.cluster || !s->s.count)) return cli_fail(c, away, "%s", s->s.error);
    if (refused_right(&s->s)) return cli_fail(c, CLI_CONFIG, "%s", refused_right(&s->s));
    if (!fleet_open(&s->h, s->s.config.prefix, s->s.config.database)) return cli_fail(c, CLI_FAILED, "no memory");
    int exit = hear_instances(s, w);
    if (exit) return cli_fail(c, exit, "%s", s->unheard);
    count_leases(s);
    add_nodes(s);
    ask_for_writes(s);
    if (c->json) status_print_json(s);
    else if (!status_print(s)) return cli_fail(c, CLI_FAILED, "no memory");
    return away ? away : status_healthy(s) ? CLI_DONE : CLI_NO;
}

static int run_status(const cli *c)
{
    if (!c->config) return cli_no_config(c);
    state *s = calloc(1, sizeof *s);
    subscriber *w = calloc(1, sizeof *w);
    int exit;
    if (!s || !w || !lk_crypto_init()) exit = cli_fail(c, CLI_FAILED, "no memory");
    else if (survey_open(&s->s, c->config)) exit = cli_fail(c, CLI_CONFIG, "%s", s->s.error);
    else exit = inspect(c, s, w);
    if (s) {
        survey_close(&s->s);
        fleet_close(&s->h);
    }
    free(w);
    free(s);
    return exit;
}

const cli_command cli_status_of = {
    .name = "status",
    .arguments = "status",
    .summary = "whether all is well, on one screen",
    .help =
        "Shows whether all is well: each node of Redis, its distance, its settings and its replicas; about how many\n"
        "sessions there are, and the most at once; how many revocations there were; and each instance that sent a "
        "beat\n"
        "within one and a half times the usual interval, by host, process and name, with the age of its lease. In a\n"
        "cluster the age of the lease is shown for each node as well. A node that does not serve comes first, and "
        "says\n"
        "why. Nothing is written.\n"
        "\n"
        "Exit 0: no guarantee is broken. Exit 1: a setting breaks one (run latchkey doctor), a node does not serve or\n"
        "refuses writes, or an instance has no lease. Exit 3: no node serves. The Redis user needs +psubscribe (in a\n"
        "cluster +ssubscribe) beside the rights of an instance; src/redis/acl.txt has such a user.",
    .run = run_status,
};
