/* The server's settings, judged by the function that the link uses (redis/server_check.c), with CONFIG GET's answers if
 * allowed. */
#include "cli/doctor/doctor.h"

#include "redis/info.h"
#include "redis/server_check.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* By the names in the table of src/redis/README.md. */
static const struct {
    const char *name, *guarantees, *fix;
} known[] = {
    {"maxmemory-policy", "A C", "CONFIG SET maxmemory-policy noeviction"},
    {"appendonly", "A C", "CONFIG SET appendonly yes"},
    {"appendfsync", "C", "CONFIG SET appendfsync always"},
    {"no-appendfsync-on-rewrite", "C", "CONFIG SET no-appendfsync-on-rewrite no"},
    {"aof_last_write_status", "A", "room on Redis' disk; then Redis goes on by itself"},
    {"rdb_last_bgsave_status", "A", "room on Redis' disk, then BGSAVE; or CONFIG SET save \"\", with appendonly yes"},
    {"replicas", "C", "REPLICAOF HOST PORT on as many replicas; or a smaller durability in the URL"},
    {"durability", "C", "durability=1 in the URL; or REPLICAOF NO ONE on the replicas"},
    {"durability-fence", "C", "a larger durability in the URL of every instance; or fewer replicas"},
    {"min-replicas-to-write", "A", "CONFIG SET min-replicas-to-write %" PRId64 "; CONFIG SET min-replicas-max-lag 10"},
    {"timeout", "", "CONFIG SET timeout 0"},
    {"client-output-buffer-limit", "", "CONFIG SET client-output-buffer-limit \"pubsub 32mb 8mb 60\""},
    {"lazyfree-lazy-expire", "", "CONFIG SET lazyfree-lazy-expire yes"},
    {"info", "A C", "INFO on the server itself: what stands between leaves fields out"},
};

static void take_finding(doctor *d, const lk_finding *judged)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(known[i].name, judged->name)) continue;
        finding *f = doctor_find(d, judged->level, judged->name, known[i].guarantees, "%s", judged->text);
        if (strcmp(judged->name, "min-replicas-to-write")) doctor_fix(f, "%s", known[i].fix);
        else
            doctor_fix(f, "CONFIG SET min-replicas-to-write %" PRId64 "; CONFIG SET min-replicas-max-lag 10",
                       d->app->config.durability);
        return;
    }
    doctor_find(d, judged->level, judged->name, "", "%s", judged->text);
}

/* "name:value" lines; NULL: CONFIG GET is not allowed. */
static char *configuration(doctor *d)
{
    enum { SIZE = 4096 };
    char *text = calloc(1, SIZE);
    size_t used = 0;
    bool seen = text != NULL;
    for (size_t i = 0; seen && lk_server_check_asked[i]; i++) {
        lk_reply *reply = QUERY(d->admin, "CONFIG", "GET", lk_server_check_asked[i]);
        seen = reply && reply->type == LK_REPLY_ARRAY;
        if (seen && lk_reply_shaped(reply, "ss"))
            used += (size_t)snprintf(text + used, SIZE - used, "%s:%s\r\n", lk_server_check_asked[i],
                                     lk_reply_at(reply, 1)->text);
        seen = seen && used < SIZE;
        lk_reply_free(reply);
    }
    if (seen) return text;
    free(text);
    return NULL;
}

static void look_at_memory(doctor *d, const char *info)
{
    char used[24], most[24];
    if (!lk_info_value(info, "used_memory", used, sizeof used) || !lk_info_value(info, "maxmemory", most, sizeof most))
        return;
    double share = atof(most) > 0 ? atof(used) / atof(most) : 0;
    if (share <= 0.9) return;
    doctor_fix(
        doctor_find(d, LATCHKEY_LOG_WARNING, "memory", "A",
                    "%.0f%% of maxmemory are used: at all of it no session can be made (those that are there go on, "
                    "and can be ended)",
                    share * 100),
        "CONFIG SET maxmemory %.0f, or look for what fills it: redis-cli --bigkeys", atof(used) * 2);
}

static void look_at_writes(doctor *d)
{
    char why[160];
    unsigned p = 0;
    while (d->nodes && p < (unsigned)d->app->config.partitions && nodes_of(d->nodes, p) != d->app) p++;
    if (p == (unsigned)d->app->config.partitions) return;
    if (!survey_refuses_writes(d->app, d->app->config.prefix, p, why, sizeof why)) return;
    doctor_fix(doctor_find(d, LATCHKEY_LOG_ERROR, "writes", "A",
                           "refused: %s. Logins are UNAVAILABLE, and revocations may be PENDING; sessions that are "
                           "there can be read",
                           why),
               "what the text says");
}

void doctor_settings(doctor *d)
{
    look_at_writes(d);
    lk_finding findings[LK_FINDINGS_MAX];
    lk_reply *info = QUERY(d->admin, "INFO");
    if (!info || info->type != LK_REPLY_STRING) {
        lk_reply_free(info);
        doctor_unseen(d, "INFO");
        return;
    }
    char *config = configuration(d);
    if (!config) doctor_unseen(d, "CONFIG GET");
    const lk_server_check settings = {.info = info->text,
                                      .config = config,
                                      .durability = d->app->config.durability,
                                      .staleness_ms = d->app->config.staleness_ms,
                                      .sentinels = d->app->config.sentinels || d->app->config.cluster};
    size_t count = lk_server_check_check(&settings, findings);
    for (size_t i = 0; i < count; i++) take_finding(d, &findings[i]);
    look_at_memory(d, info->text);
    char version[32];
    if (lk_info_value(info->text, "redis_version", version, sizeof version))
        cli_text(d->version, sizeof d->version, version, strlen(version));
    free(config);
    lk_reply_free(info);
}
