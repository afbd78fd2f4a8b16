/* The nodes of a Redis Cluster together: whether all slots have one, whether all answer, how partitions are spread over
 * them, their clocks, and what a partition of the network costs. What concerns each of them alone the other files look
 * at, node by node. Without a cluster in the configuration it finds nothing. */
#include "cli/doctor/doctor.h"

#include "cli/survey.h"

#include "base/clock.h"
#include "l2/naming.h"
#include "redis/info.h"
#include "redis/keys.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Elections begin half a second late, and a node is taken for lost when it has been silent for half a timeout more. */
enum { ELECTION_MS = 500, APART_MS = 500, REPEATED_MS = 300000 };
#define ANY_AGE INT64_MAX

bool doctor_at_node(doctor *d, unsigned i)
{
    if (!d->nodes) return !i && !d->app->config.cluster;
    if (i >= d->nodes->count || !d->nodes->node[i]) return false;
    d->app = d->nodes->node[i];
    d->admin = d->admins && i < d->admins->count && d->admins->node[i] ? d->admins->node[i] : d->app;
    return true;
}

void doctor_merge(doctor *d, size_t from, unsigned i)
{
    size_t kept = from;
    if (!d->nodes) return;
    for (size_t f = from; f < d->count; f++) {
        size_t same = 0;
        while (same < from &&
               (strcmp(d->found[same].name, d->found[f].name) || d->found[same].level != d->found[f].level))
            same++;
        if (same < from) continue; /* it was said of another node */
        size_t used = strlen(d->found[f].text);
        snprintf(d->found[f].text + used, sizeof d->found[f].text - used, " (at %s, and perhaps at others)",
                 d->node[i].at);
        if (kept != f) d->found[kept] = d->found[f];
        kept++;
    }
    d->count = kept;
}

int64_t doctor_setting(query *p, const char *name)
{
    lk_reply *reply = QUERY(p, "CONFIG", "GET", name);
    const char *text = reply && lk_reply_shaped(reply, "ss") ? lk_reply_at(reply, 1)->text : "";
    uint64_t number;
    int64_t value = !strcmp(text, "yes")                      ? 1
                    : !strcmp(text, "no")                     ? 0
                    : cli_number(text, 0, INT32_MAX, &number) ? (int64_t)number
                                                              : -1;
    lk_reply_free(reply);
    return value;
}

static void does_not_serve(doctor *d, unsigned i, const char *why)
{
    doctor_fix(doctor_find(d, LATCHKEY_LOG_ERROR, "cluster-node", "A C", "%s does not serve: %s. It has %u partitions",
                           d->node[i].at, why, d->node[i].partitions),
               "what the text says; if the node is gone for good, CLUSTER FAILOVER TAKEOVER on one of its replicas");
}

/* A node that loads its data, or is cut off, answers all that is not about a key. */
static void look_at_service(doctor *d, unsigned i)
{
    char key[LK_KEY_SIZE], why[200];
    unsigned partition = 0;
    while (partition < (unsigned)d->app->config.partitions && d->nodes->owner[partition] != i) partition++;
    if (partition == (unsigned)d->app->config.partitions) return;
    lk_key_partition(key, d->app->config.prefix, partition, "q");
    lk_reply *reply = QUERY(d->app, "GET", key);
    if (!reply) does_not_serve(d, i, "it did not answer");
    else if (survey_is_outage(reply, why, sizeof why)) does_not_serve(d, i, why);
    lk_reply_free(reply);
}

/* For how long a replica may have been without its primary, and still take over; -1: not known. */
static int64_t oldest_replica(const doctor *d, int64_t timeout_ms)
{
    int64_t factor = doctor_setting(d->admin, "cluster-replica-validity-factor"),
            ping_s = doctor_setting(d->admin, "repl-ping-replica-period");
    if (factor < 0 || ping_s < 0 || timeout_ms < 0) return -1;
    return factor ? ping_s * 1000 + timeout_ms * (factor + 1) : ANY_AGE;
}

static void look_at_primary(doctor *d, unsigned i, int64_t *full)
{
    struct doctor_node *n = &d->node[i];
    char replicas[16] = "0";
    int64_t before = lk_clock_read(CLOCK_REALTIME, 1000000);
    lk_reply *time = QUERY(d->app, "TIME");
    if (time && lk_reply_shaped(time, "ss"))
        n->clock_ahead_ms =
            atoll(lk_reply_at(time, 0)->text) * 1000 + atoll(lk_reply_at(time, 1)->text) / 1000 - before;
    lk_reply_free(time);
    lk_reply *info = QUERY(d->app, "INFO");
    const char *text = info && info->type == LK_REPLY_STRING ? info->text : "";
    lk_info_value(text, "redis_version", n->version, sizeof n->version);
    if (strstr(text, "\nvalkey_version:")) lk_info_value(text, "valkey_version", n->version, sizeof n->version);
    lk_info_value(text, "connected_slaves", replicas, sizeof replicas);
    n->replicas = (unsigned)atoi(replicas);
    lk_reply_free(info);
    n->timeout_ms = doctor_setting(d->admin, "cluster-node-timeout");
    if (n->timeout_ms < 0) doctor_unseen(d, "CONFIG GET cluster-node-timeout");
    n->oldest_ms = oldest_replica(d, n->timeout_ms);
    int64_t whole = doctor_setting(d->admin, "cluster-require-full-coverage");
    *full = whole > *full ? whole : *full;
}

static void look_at_map(doctor *d)
{
    const nodes *n = d->nodes;
    if (n->uncovered)
        doctor_fix(doctor_find(d, LATCHKEY_LOG_ERROR, "cluster-slots", "A C",
                               "%u of %d slots have no node: the sessions of their partitions cannot be read or ended",
                               n->uncovered, LK_SLOTS),
                   "redis-cli --cluster fix %s:%s", n->asked.name, n->asked.port);
    for (unsigned i = 0; i < n->count; i++)
        if (!n->node[i]) does_not_serve(d, i, n->why[i]);
}

static void look_at_spread(doctor *d)
{
    unsigned least = UINT32_MAX, most = 0;
    for (unsigned i = 0; i < d->nodes->count; i++) {
        least = d->node[i].partitions < least ? d->node[i].partitions : least;
        most = d->node[i].partitions > most ? d->node[i].partitions : most;
    }
    if (d->nodes->count < 2 || most <= 2 * least + 1) return;
    doctor_fix(
        doctor_find(d, LATCHKEY_LOG_NOTICE, "cluster-spread", "",
                    "of %" PRId64 " partitions one node has %u, another %u: so their loads are as different",
                    d->app->config.partitions, most, least),
        "move slots from one to the other (redis-cli --cluster reshard); or, for a new deployment, more partitions");
}

static void look_at_clocks(doctor *d)
{
    int64_t least = INT64_MAX, most = INT64_MIN;
    for (unsigned i = 0; i < d->nodes->count; i++) {
        if (!d->nodes->node[i]) continue;
        least = d->node[i].clock_ahead_ms < least ? d->node[i].clock_ahead_ms : least;
        most = d->node[i].clock_ahead_ms > most ? d->node[i].clock_ahead_ms : most;
    }
    if (most <= least || most - least <= APART_MS) return;
    doctor_fix(
        doctor_find(
            d, LATCHKEY_LOG_WARNING, "cluster-clocks", "H",
            "those of the nodes are %.1f s apart: a session that moves with its slot, or to a replica that takes over, "
            "ends so much sooner or later",
            (double)(most - least) / 1000),
        "NTP on every node");
}

/* Without durability, a primary that is cut off with an instance serves until it notices. */
static void look_at_minority(doctor *d, int64_t full)
{
    int64_t timeout_ms = 0;
    for (unsigned i = 0; i < d->nodes->count; i++)
        timeout_ms = d->node[i].timeout_ms > timeout_ms ? d->node[i].timeout_ms : timeout_ms;
    int64_t longer_ms = timeout_ms / 2 - ELECTION_MS;
    if (longer_ms > 0 && !d->app->config.durability)
        doctor_fix(
            doctor_find(d, LATCHKEY_LOG_NOTICE, "cluster-node-timeout", "C",
                        "%" PRId64
                        " ms: a primary that is cut off together with an instance, in a minority, notices it late. "
                        "There the bound of C is staleness_ms and %" PRId64 " ms more: %" PRId64 " ms",
                        timeout_ms, longer_ms, d->app->config.staleness_ms + longer_ms),
            "CONFIG SET cluster-node-timeout 1000 on every node, if the network is as quick; or durability, with "
            "enough replicas");
    if (full == 1)
        doctor_fix(doctor_find(d, LATCHKEY_LOG_WARNING, "cluster-full-coverage", "A",
                               "cluster-require-full-coverage yes: while one primary is away, or its replica is about "
                               "to take over, every node "
                               "refuses every command"),
                   "CONFIG SET cluster-require-full-coverage no on every node");
}

static void look_at_old_replicas(doctor *d)
{
    int64_t oldest_ms = -1;
    char age[64] = "however long it was without its primary";
    for (unsigned i = 0; i < d->nodes->count; i++)
        oldest_ms = d->node[i].oldest_ms > oldest_ms ? d->node[i].oldest_ms : oldest_ms;
    if (oldest_ms <= REPEATED_MS) return;
    if (oldest_ms != ANY_AGE)
        snprintf(age, sizeof age, "that was without its primary for %" PRId64 " s", oldest_ms / 1000);
    doctor_fix(doctor_find(d, LATCHKEY_LOG_WARNING, "cluster-replica-validity", "C",
                           "as cluster-replica-validity-factor and cluster-node-timeout are, a replica may take over "
                           "%s. Instances repeat to it the revocations of five minutes, so older ones may be lost",
                           age),
               "CONFIG SET cluster-replica-validity-factor 10 on every node, with a cluster-node-timeout of at most "
               "25000");
}

void doctor_cluster(doctor *d)
{
    char error[200];
    int64_t full = -1;
    const int64_t partitions = d->app->config.partitions;
    if (!d->app->config.cluster) return;
    d->nodes = calloc(1, sizeof *d->nodes);
    d->admins = d->admin == d->app ? NULL : calloc(1, sizeof *d->admins);
    d->node = calloc(NODES_MOST, sizeof *d->node);
    if (!d->nodes || !d->node) return;
    nodes_open(d->c->config, 0, d->nodes, error, sizeof error); /* what is wrong is found below */
    if (d->admins) nodes_open(d->admin_url, 0, d->admins, error, sizeof error);
    for (unsigned i = 0; i < d->nodes->count; i++) {
        lk_host_text(&d->nodes->host[i], d->node[i].at, sizeof d->node[i].at);
        d->node[i].timeout_ms = d->node[i].oldest_ms = -1;
        for (int64_t p = 0; p < partitions; p++) d->node[i].partitions += d->nodes->owner[p] == i;
    }
    look_at_map(d);
    for (unsigned i = 0; i < d->nodes->count; i++)
        if (doctor_at_node(d, i)) {
            look_at_primary(d, i, &full);
            look_at_service(d, i);
        }
    look_at_spread(d);
    look_at_clocks(d);
    look_at_minority(d, full);
    look_at_old_replicas(d);
}

void doctor_cluster_end(doctor *d)
{
    if (d->nodes) nodes_close(d->nodes);
    if (d->admins) nodes_close(d->admins);
    free(d->nodes);
    free(d->admins);
    free(d->node);
}
