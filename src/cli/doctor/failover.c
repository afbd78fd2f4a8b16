/* What a failover would cost if it happened now: which replica could take over, what it lacks, and whether what comes after it
 * can take writes. The table of include/guarantees.md, for these servers as they are. */
#include "cli/doctor/doctor.h"

#include "cli/survey.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { LAG_S = 10, ELECTED_MS = 1500 };

typedef struct replicas {
    unsigned online, all;
    int64_t least, most; /* bytes behind, of those that are online */
} replicas;

static replicas count_replicas(const survey_node *n)
{
    replicas r = {.all = n->listed, .least = INT64_MAX};
    for (unsigned i = 0; i < n->listed; i++) {
        const survey_replica *one = &n->replica[i];
        if (strcmp(one->state, "online") || one->lag_s > LAG_S) continue;
        r.online++;
        r.least = one->behind < r.least ? one->behind : r.least;
        r.most = one->behind > r.most ? one->behind : r.most;
    }
    return r;
}

/* ------------------------------------------------------------------------------------------ of one primary -- */

static void look_for_successor(doctor *d, const survey_node *n, const replicas *r)
{
    bool cluster = d->app->config.cluster;
    if (!r->online)
        doctor_fix(doctor_find(d, cluster ? LATCHKEY_LOG_WARNING : LATCHKEY_LOG_ERROR, "failover-replicas", "A C",
                               "a failover of %s now: impossible, since %s. If it is lost, so is every session that it "
                               "has",
                               n->at, r->all ? "no replica of it is online" : "it has no replica"),
                   cluster ? "redis-cli --cluster add-node NEW:PORT %s --cluster-slave"
                           : "REPLICAOF HOST PORT on two other machines, of %s",
                   n->at);
    else if (r->online < r->all)
        doctor_fix(doctor_find(d, LATCHKEY_LOG_WARNING, "failover-replicas", "A",
                               "%u of %u replicas of %s are not online, or have said nothing for %d s: one that takes "
                               "over may lack much",
                               r->all - r->online, r->all, n->at, LAG_S),
                   "INFO replication on %s; the log of that replica", n->at);
}

static void look_at_loss(doctor *d, const survey_node *n, const replicas *r)
{
    const lk_config *config = &d->app->config;
    const char *apart = config->cluster || config->durability
                            ? ""
                            : ", but those that an instance makes while it is cut off together with the primary are OK "
                              "there and unknown elsewhere until the cut ends";
    char least[CLI_SIZE_SIZE], most[CLI_SIZE_SIZE];
    if (!r->online || config->durability >= r->all) return;
    finding *f = doctor_find(
        d, LATCHKEY_LOG_NOTICE, "failover-loss", "A",
        "a failover of %s now: of %u replica%s the best is %s behind, the last %s. %s; if it dies, %s. Revocations are "
        "made once more by the instances that know of them%s",
        n->at, r->online, r->online == 1 ? "" : "s", cli_bytes(least, (uint64_t)r->least),
        cli_bytes(most, (uint64_t)r->most),
        config->cluster      ? "Ordered by CLUSTER FAILOVER it loses nothing"
        : config->durability ? "Ordered by SENTINEL FAILOVER it loses logins of about a second, unless all replicas "
                               "hold them"
                             : "Ordered by SENTINEL FAILOVER it loses the logins of about a second",
        config->durability ? "those that are OK stay, if a replica takes over that has them"
                           : "those that no replica has yet are lost",
        apart);
    if (config->cluster)
        doctor_fix(f,
                   "CLUSTER FAILOVER on the replica, without FORCE; or durability=%u, if no login while a replica is "
                   "away is acceptable",
                   r->all);
    else
        doctor_fix(f,
                   "for a failover that loses nothing: CLIENT PAUSE 15000 WRITE on the primary, then SENTINEL "
                   "FAILOVER %.60s; or durability=%u, if no login while a replica is away is acceptable",
                   config->service, r->all);
}

/* Replicas take over what a primary has that is there again before anyone has noticed. */
static void look_at_restart(doctor *d, const survey_node *n, const replicas *r)
{
    if (!r->online || strcmp(n->aof, "0")) return;
    doctor_fix(
        doctor_find(d, LATCHKEY_LOG_NOTICE, "failover-restart", "A C",
                    "appendonly is no at %s: if it dies and is started again before a failover begins, it has only "
                    "its last snapshot, or nothing, and its replicas copy that, whatever durability is",
                    n->at),
        "CONFIG SET appendonly yes on every node; or let nothing start it again by itself");
}

/* The promoted replica has one replica less than its primary had, until that is back. */
static void look_at_time_after(doctor *d, const survey_node *n, const replicas *r, int64_t least_replicas)
{
    const lk_config *config = &d->app->config;
    if (!r->online) return;
    if (config->durability > (int64_t)r->online - 1)
        doctor_fix(doctor_find(d, LATCHKEY_LOG_WARNING, "failover-durability", "A",
                               "after a failover of %s %u of its replicas are left, and durability is %" PRId64
                               ": no login, no revocation that is OK, and no lease, until the old primary is back as a "
                               "replica",
                               n->at, r->online - 1, config->durability),
                   "one replica more; or a smaller durability in the URL of every instance");
    if (least_replicas > (int64_t)r->online - 1)
        doctor_fix(
            doctor_find(d, LATCHKEY_LOG_WARNING, "failover-min-replicas", "A",
                        "after a failover of %s %u of its replicas are left, and min-replicas-to-write is %" PRId64
                        ": the new primary refuses writes until the old one is back as a replica",
                        n->at, r->online - 1, least_replicas),
            "one replica more; or CONFIG SET min-replicas-to-write %u on every node", r->online - 1);
    if (config->durability && 2 * (config->durability + 1) <= (int64_t)r->all + 1)
        doctor_fix(doctor_find(d, LATCHKEY_LOG_WARNING, "failover-fence", "C",
                               "durability is %" PRId64 ", and %s has %u replicas: the primary and so many are no more "
                               "than half of them. Two servers could both take a write as durable",
                               config->durability, n->at, r->all),
                   "durability=%u in the URL of every instance", (r->all + 1) / 2);
}

/* ---------------------------------------------------------------------------------------- of all together -- */

/* A primary is elected by more than half of the primaries. */
static void look_at_election(doctor *d, const survey *s)
{
    if (s->count < 3)
        doctor_fix(
            doctor_find(d, LATCHKEY_LOG_WARNING, "failover-election", "A",
                        "the cluster has %u primar%s: more than half of them must agree to a failover, so if one "
                        "dies no replica takes over",
                        s->count, s->count == 1 ? "y" : "ies"),
            "three primaries on three machines");
    else if (2 * (s->count - s->silent) <= s->count)
        doctor_find(d, LATCHKEY_LOG_ERROR, "failover-election", "A",
                    "%u of %u primaries do not serve: no failover, since more than half of them must agree to one",
                    s->silent, s->count);
}

static void look_at_duration(doctor *d)
{
    int64_t timeout_ms = 0;
    for (unsigned i = 0; i < d->nodes->count; i++)
        timeout_ms = d->node[i].timeout_ms > timeout_ms ? d->node[i].timeout_ms : timeout_ms;
    if (timeout_ms + ELECTED_MS <= d->app->config.staleness_ms || !timeout_ms) return;
    doctor_fix(doctor_find(d, LATCHKEY_LOG_NOTICE, "failover-duration", "A",
                           "if a primary dies, its replica serves after about cluster-node-timeout and 1.5 s: %.1f s. "
                           "Live sessions in L1 are admitted for staleness_ms (%.1f s); for the rest of that time "
                           "calls about the sessions of that node are UNAVAILABLE",
                           (double)(timeout_ms + ELECTED_MS) / 1000, (double)d->app->config.staleness_ms / 1000),
               "a smaller cluster-node-timeout, if the network is as quick; or grace_ms in the URL");
}

static void look_at_reads_when_down(doctor *d, unsigned i)
{
    if (doctor_setting(d->admin, "cluster-allow-reads-when-down") != 1) return;
    doctor_fix(doctor_find(d, LATCHKEY_LOG_NOTICE, "failover-reads-when-down", "",
                           "cluster-allow-reads-when-down yes at %s: a node that is cut off goes on answering reads. "
                           "Instances do not rely on them, since it takes no writes; other programs may",
                           d->node[i].at),
               "CONFIG SET cluster-allow-reads-when-down no on every node");
}

static void weigh_primary(doctor *d, const survey *s, unsigned i)
{
    const survey_node *n = &s->node[i];
    if (!n->answers) {
        if (!d->nodes) /* of a cluster it was said */
            doctor_find(d, LATCHKEY_LOG_ERROR, "failover-replicas", "A", "%s does not serve: %s", n->at, n->why);
        return;
    }
    if (d->nodes && !doctor_at_node(d, i)) return;
    replicas r = count_replicas(n);
    int64_t least = doctor_setting(d->admin, "min-replicas-to-write");
    if (least < 0) doctor_unseen(d, "CONFIG GET min-replicas-to-write");
    look_for_successor(d, n, &r);
    look_at_loss(d, n, &r);
    look_at_restart(d, n, &r);
    if (!d->nodes) doctor_replicas(d, n);
    look_at_time_after(d, n, &r, least);
    if (d->nodes) look_at_reads_when_down(d, i);
}

/* Primaries may be many. What was said of one is not said again of the next. */
static void say_once(doctor *d, size_t from, size_t of_this)
{
    static const char too[] = " (others as well)";
    size_t kept = of_this;
    for (size_t f = of_this; f < d->count; f++) {
        size_t same = from;
        while (same < of_this &&
               (strcmp(d->found[same].name, d->found[f].name) || d->found[same].level != d->found[f].level))
            same++;
        if (same == of_this) {
            if (kept != f) d->found[kept] = d->found[f];
            kept++;
        } else if (!strstr(d->found[same].text, too)) {
            size_t used = strlen(d->found[same].text);
            snprintf(d->found[same].text + used, sizeof d->found[same].text - used, "%s", too);
        }
    }
    d->count = kept;
}

void doctor_failover(doctor *d, const survey *s)
{
    query *app = d->app, *admin = d->admin;
    size_t from = d->count;
    if (!s->config.sentinels && !s->config.cluster) {
        doctor_fix(
            doctor_find(d, LATCHKEY_LOG_ERROR, "failover-none", "A",
                        "one server, and neither sentinels nor a cluster: no server takes over. Until it is back, "
                        "calls are UNAVAILABLE"),
            "redis+sentinel:// or redis+cluster://");
        return;
    }
    for (unsigned i = 0; i < s->count; i++) {
        size_t of_this = d->count;
        weigh_primary(d, s, i);
        say_once(d, from, of_this);
    }
    d->app = app;
    d->admin = admin;
    if (!d->nodes) return;
    look_at_election(d, s);
    look_at_duration(d);
}

/* Doctor's one line: the gravest of them. */
void doctor_failover_line(doctor *d)
{
    survey *s = calloc(1, sizeof *s);
    size_t from = d->count, gravest = from;
    bool asked = s && (d->app->config.sentinels || d->app->config.cluster) && !survey_open(s, d->c->config);
    if (asked) {
        survey_ask(s, false);
        doctor_failover(d, s);
    }
    if (s) survey_close(s);
    free(s);
    for (size_t i = from; i < d->count; i++)
        if (d->found[i].level < d->found[gravest].level) gravest = i;
    if (d->count == from) return;
    size_t more = d->count - from - 1, used = strlen(d->found[gravest].text);
    d->found[from] = d->found[gravest];
    d->found[from].name = "failover";
    if (more)
        snprintf(d->found[from].text + used, sizeof d->found[from].text - used, ". %zu more: latchkey failover-check",
                 more);
    d->count = from + 1;
}
