/* The sentinels, each asked on a connection of its own; and what a failover now would cost. Without sentinels in the
 * configuration it finds nothing. */
#include "cli/doctor/doctor.h"

#include "base/clock.h"
#include "l2/sentinels.h"
#include "redis/info.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { ASKED_MS = 2000, FEW = 3 };

static void append_sentinel(char *list, size_t size, const char *one)
{
    size_t used = strlen(list);
    snprintf(list + used, size - used, "%s%s", used ? ", " : "", one);
}

/* Sentinels that do not answer, and those that name another primary than the majority. */
static void look_at_answers(doctor *d, const lk_config *config, const lk_naming *n)
{
    char silent[300] = "", apart[300] = "", why[128] = "", at[112];
    unsigned silents = 0, aparts = 0;
    for (unsigned i = 0; i < n->listed; i++) {
        const lk_said *said = &n->said[i];
        bool agrees = said->what == LK_SAID_PRIMARY && !strcmp(said->primary.name, n->primary.name) &&
                      !strcmp(said->primary.port, n->primary.port);
        lk_host_text(&config->sentinel[i], at, sizeof at);
        if (agrees) continue;
        bool answers = said->what == LK_SAID_PRIMARY || said->what == LK_SAID_UNKNOWN;
        append_sentinel(answers ? apart : silent, sizeof apart, at);
        if (!answers) snprintf(why, sizeof why, "%s", said->why);
        silents += !answers;
        aparts += answers;
    }
    bool fatal = 2 * lk_naming_agreeing(n, 0) <= n->listed;
    if (silents)
        doctor_fix(
            doctor_find(d, fatal ? LATCHKEY_LOG_ERROR : LATCHKEY_LOG_WARNING, "sentinels", fatal ? "A C" : "A",
                        "%u of %u do not answer: %.200s (%.100s). More than half must, or there is no new primary, and "
                        "without durability no lease",
                        silents, n->listed, silent, why),
            "start them, or list those that there are, in every instance");
    if (aparts)
        doctor_fix(
            doctor_find(
                d, fatal ? LATCHKEY_LOG_ERROR : LATCHKEY_LOG_WARNING, "sentinel-apart", "A",
                "%u of %u name another primary, or none of that name: %.300s. It is cut off, or its file is old, "
                "or a failover is under way",
                aparts, n->listed, apart),
            "redis-cli -p 26379 sentinel ckquorum %.60s, on each", config->service);
}

static void look_at_count(doctor *d, const lk_config *config)
{
    if (config->sentinels >= FEW) return;
    doctor_fix(doctor_find(d, LATCHKEY_LOG_WARNING, "sentinel-count", "A",
                           "%u: more than half of those listed must answer, so the loss of one is the loss of all",
                           config->sentinels),
               "three sentinels, on three machines, all of them in the URL");
}

/* From "slave0:ip=...,state=online,offset=123,lag=0": how far the slowest and the fastest replica are behind. */
static void offsets(const char *info, int64_t of_primary, unsigned *replicas, int64_t *least, int64_t *most)
{
    *replicas = 0;
    *least = INT64_MAX;
    *most = 0;
    for (const char *line = strstr(info, "\nslave"); line; line = strstr(line + 1, "\nslave")) {
        const char *offset = strstr(line, "offset=");
        if (line[6] < '0' || line[6] > '9' || !offset || offset > line + 1 + strcspn(line + 1, "\r\n")) continue;
        int64_t behind = of_primary - strtoll(offset + 7, NULL, 10);
        ++*replicas;
        *least = behind < *least ? behind : *least;
        *most = behind > *most ? behind : *most;
    }
}

/* The table of include/guarantees.md, for this server as it is now. */
static void look_at_cost(doctor *d, const lk_config *config)
{
    lk_reply *reply = QUERY(d->admin, "INFO", "replication");
    const char *info = reply && reply->type == LK_REPLY_STRING ? reply->text : "";
    char offset[24] = "0";
    unsigned replicas;
    int64_t least, most;
    lk_info_value(info, "master_repl_offset", offset, sizeof offset);
    offsets(info, strtoll(offset, NULL, 10), &replicas, &least, &most);
    if (!replicas)
        doctor_fix(doctor_find(
                       d, LATCHKEY_LOG_ERROR, "failover", "A C",
                       "a failover now: impossible, since the primary has no replica. If it is lost, every session is"),
                   "REPLICAOF HOST PORT on two other machines");
    else if (config->durability < replicas)
        doctor_fix(
            doctor_find(
                d, LATCHKEY_LOG_NOTICE, "failover", "A",
                "a failover now: of %u replicas the best is %" PRId64 " bytes behind, the last %" PRId64
                ". Ordered by SENTINEL FAILOVER it loses the logins of about a second%s; if the primary dies, %s. "
                "Revocations are made once more by the instances that know of them",
                replicas, least, most, config->durability ? ", unless all replicas hold them" : "",
                config->durability ? "those that are OK stay" : "those that no replica has yet"),
            "for a failover that loses nothing: CLIENT PAUSE 15000 WRITE on the primary, then SENTINEL FAILOVER %.60s; "
            "or "
            "durability=%u, if no login while a replica is away is acceptable",
            config->service, replicas);
    lk_reply_free(reply);
}

void doctor_sentinels(doctor *d)
{
    const lk_config *config = &d->app->config;
    if (!config->sentinels) return;
    lk_sentinels *s = lk_sentinels_ask_all(config, lk_now_ms() + ASKED_MS);
    if (!s) return;
    look_at_answers(d, config, lk_sentinels_naming(s));
    lk_sentinels_close(s);
    look_at_count(d, config);
    look_at_cost(d, config);
}
