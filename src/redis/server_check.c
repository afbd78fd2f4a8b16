/* See server_check.h. There is one function for each subject. It reads the fields that it needs, notes those that are
 * missing, and says what is set, which guarantee that weakens, and what to set instead. */
#include "redis/server_check.h"

#include "base/hash.h"
#include "base/log.h"
#include "redis/info.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const lk_server_check_asked[] = {"save",
                                             "appendfsync",
                                             "no-appendfsync-on-rewrite",
                                             "min-replicas-to-write",
                                             "client-output-buffer-limit",
                                             "timeout",
                                             "lazyfree-lazy-expire",
                                             NULL};

typedef struct judge {
    const lk_server_check *of;
    lk_finding *finding;
    size_t count;
    char unknown[160]; /* the names of the fields that INFO should have and does not */
} judge;

static void find(judge *j, int level, const char *name, const char *format, ...) __attribute__((format(printf, 4, 5)));
static void find(judge *j, int level, const char *name, const char *format, ...)
{
    if (j->count == LK_FINDINGS_MAX) return;
    lk_finding *finding = &j->finding[j->count++];
    va_list list;
    va_start(list, format);
    vsnprintf(finding->text, sizeof finding->text, format, list);
    va_end(list);
    finding->level = level;
    finding->name = name;
}

/* ----------------------------------------------------------------------------------------------- reading -- */

static bool parse(const char *text, int64_t *number)
{
    char *end;
    errno = 0;
    *number = strtoll(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && !errno;
}

static bool unknown(judge *j, const char *name)
{
    size_t used = strlen(j->unknown);
    snprintf(j->unknown + used, sizeof j->unknown - used, "%s%s", used ? ", " : "", name);
    return false;
}

/* Fields of INFO. False: there is no such field, or its value is not of the expected kind. */
static bool word(judge *j, const char *name, char *value, size_t size)
{
    if (lk_info_value(j->of->info, name, value, size) && *value &&
        strspn(value, "abcdefghijklmnopqrstuvwxyz-") == strlen(value))
        return true;
    return unknown(j, name);
}

static bool setting_number(judge *j, const char *name, int64_t *value)
{
    char text[24];
    return (lk_info_value(j->of->info, name, text, sizeof text) && parse(text, value)) || unknown(j, name);
}

/* A value that CONFIG GET answered, if it was asked. */
static bool configured(const judge *j, const char *name, char *value, size_t size)
{
    return j->of->config && lk_info_value(j->of->config, name, value, size);
}

static bool configured_number(const judge *j, const char *name, int64_t *value)
{
    char text[24];
    return configured(j, name, text, sizeof text) && parse(text, value);
}

/* ---------------------------------------------------------------------------------------------- subjects -- */

/* Eviction takes keys that have an expiry: sessions, the indexes of users and of activity, and the generations. Keys without
 * an expiry are the counters and logs of revocations, cut-offs, and the number of partitions. */
static void judge_eviction(judge *j)
{
    char policy[32];
    int64_t bytes;
    bool known = word(j, "maxmemory_policy", policy, sizeof policy);
    if (!setting_number(j, "maxmemory", &bytes) || !known || strcmp(policy, "noeviction") == 0) return;
    bool all = strncmp(policy, "allkeys", 7) == 0;
    if (!bytes)
        find(j, LATCHKEY_LOG_NOTICE, "maxmemory-policy",
             "%s: harmless while maxmemory is 0; with a maxmemory Redis would delete live sessions "
             "(guarantee A). Set maxmemory-policy noeviction",
             policy);
    else
        find(j, LATCHKEY_LOG_ERROR, "maxmemory-policy",
             "%s, with maxmemory %" PRId64 ": a full Redis deletes live sessions, so users are logged "
             "out (A), and forgets which sessions a user has, so latchkey_revoke_user leaves some alive (C) and limits "
             "count too few%s. Set maxmemory-policy noeviction, and maxmemory to what the sessions need",
             policy, bytes,
             all ? "; and it deletes the counters by which a lost revocation is found, cut-offs, and the number of "
                   "partitions"
                 : "");
}

/* Only CONFIG GET shows this. */
static void judge_sync(judge *j)
{
    char when[16];
    if (!configured(j, "appendfsync", when, sizeof when) || strcmp(when, "always") == 0) return;
    bool never = strcmp(when, "no") == 0;
    find(j, never ? LATCHKEY_LOG_WARNING : LATCHKEY_LOG_NOTICE, "appendfsync",
         "%s: a loss of power loses the revocations of the last %s (C); a crash of Redis alone does "
         "not. Set appendfsync %s",
         never ? "no" : "everysec", never ? "half minute or so" : "second or two",
         never ? "everysec, or always" : "always where that is too much");
}

/* Only CONFIG GET shows this. It counts whatever appendfsync is, but for "no". */
static void judge_rewrite(judge *j)
{
    char when[16], rests[8];
    if (!configured(j, "no-appendfsync-on-rewrite", rests, sizeof rests) || strcmp(rests, "yes")) return;
    if (configured(j, "appendfsync", when, sizeof when) && strcmp(when, "no") == 0) return;
    find(j, LATCHKEY_LOG_WARNING, "no-appendfsync-on-rewrite",
         "yes: while Redis rewrites its append-only file or makes a snapshot it syncs nothing, whatever appendfsync "
         "says, and a loss of power loses the revocations of that time (C). Set no-appendfsync-on-rewrite no");
}

static void judge_append_only(judge *j)
{
    char save[128], status[16];
    int64_t enabled;
    bool loading = lk_info_value(j->of->info, "loading", status, sizeof status) && strcmp(status, "0");
    if (loading) unknown(j, "aof_enabled"); /* while loading, it shows 0 whatever is set */
    if (loading || !setting_number(j, "aof_enabled", &enabled)) return;
    if (enabled) {
        judge_sync(j);
        judge_rewrite(j);
        if (word(j, "aof_last_write_status", status, sizeof status) && strcmp(status, "ok"))
            find(j, LATCHKEY_LOG_ERROR, "aof_last_write_status",
                 "%s: Redis cannot write its append-only file and refuses what is not kept: logins answer UNAVAILABLE, "
                 "revocations PENDING. Look at its log, and for room on its disk",
                 status);
        return;
    }
    bool nothing = configured(j, "save", save, sizeof save) && !*save;
    find(j, LATCHKEY_LOG_WARNING, "appendonly", "no%s. Set appendonly yes",
         nothing ? ", and no snapshots: a Redis that restarts has lost every session (A)"
                 : ": after a crash Redis comes back as of its last snapshot, and sessions revoked since then live "
                   "again (C); without a snapshot every session is lost (A)");
}

static void judge_snapshots(judge *j)
{
    char status[16];
    if (!word(j, "rdb_last_bgsave_status", status, sizeof status) || strcmp(status, "ok") == 0) return;
    find(j, LATCHKEY_LOG_WARNING, "rdb_last_bgsave_status",
         "%s: the last snapshot failed, and unless stop-writes-on-bgsave-error is no or save is empty, Redis refuses "
         "writes until one succeeds: logins answer UNAVAILABLE, revocations PENDING. Look at its log, and for room on "
         "its disk",
         status);
}

/* Replicas that count: connected, and past their first copy. */
static int64_t replicas_online(const judge *j, int64_t connected)
{
    int64_t listed = 0, online = 0;
    for (const char *line = j->of->info; line; line = strchr(line, '\n')) {
        if (*line == '\n') line++;
        if (strncmp(line, "slave", 5) || line[5] < '0' || line[5] > '9') continue;
        const char *state = strstr(line, "state=online");
        listed++;
        online += state && state < line + strcspn(line, "\r\n");
    }
    return listed ? online : connected;
}

static void judge_replicas(judge *j)
{
    int64_t connected, online, wanted = j->of->durability;
    if (!setting_number(j, "connected_slaves", &connected)) return;
    online = replicas_online(j, connected);
    if (wanted > online)
        find(j, LATCHKEY_LOG_ERROR, "replicas",
             "%" PRId64 " online, but latchkey's durability is %" PRId64 ": no write can be acknowledged and no lease "
             "confirmed, so calls answer UNAVAILABLE (C) until there are as many. Connect them, or lower durability",
             online, wanted);
    else if (wanted && 2 * (wanted + 1) <= connected + 1)
        find(j, LATCHKEY_LOG_WARNING, "durability-fence",
             "%" PRId64 ", and there are %" PRId64 " replicas: the primary and %" PRId64
             " of them are no more than half. In a failover two servers could both take writes as durable, and a "
             "session "
             "that was revoked at one lives on at the other (C). Set durability %" PRId64,
             wanted, connected, wanted, (connected + 1) / 2);
    else if (!wanted && connected && !j->of->sentinels)
        find(j, LATCHKEY_LOG_WARNING, "durability",
             "0, and the server has %" PRId64 " replicas: if one takes over that has not received a revocation yet, "
             "the session lives again (C). With a durability above 0 a revocation is OK only once so many have it; "
             "without "
             "one, let none take over",
             connected);
}

/* INFO shows the good replicas only if min-replicas-to-write and min-replicas-max-lag are both set. */
static void judge_isolation(judge *j)
{
    char good[24];
    int64_t least, wanted = j->of->durability;
    if (!wanted) return;
    bool set = lk_info_value(j->of->info, "min_slaves_good_slaves", good, sizeof good);
    if (!configured_number(j, "min-replicas-to-write", &least)) least = set ? wanted : 0;
    if (set && least >= wanted) return;
    find(j, LATCHKEY_LOG_WARNING, "min-replicas-to-write",
         "%" PRId64 ", with latchkey's durability %" PRId64
         ": a primary that is cut off from its replicas goes on taking "
         "logins and touches, which are lost when it comes back as a replica: live sessions end (A). Set "
         "min-replicas-to-write %" PRId64 " and a min-replicas-max-lag",
         least, wanted, wanted);
}

/* Only CONFIG GET shows this. */
static void judge_clients(judge *j)
{
    enum { LEAST_BYTES = 1024 * 1024 };
    char limits[192];
    const char *pubsub;
    int64_t idle_s;
    bool known = configured(j, "client-output-buffer-limit", limits, sizeof limits);
    if (known && (pubsub = strstr(limits, "pubsub "))) {
        int64_t hard = strtoll(pubsub + 7, NULL, 10);
        if (hard > 0 && hard < LEAST_BYTES)
            find(j, LATCHKEY_LOG_NOTICE, "client-output-buffer-limit",
                 "pubsub %" PRId64
                 " bytes: a burst of revocations ends the subscription of a slow instance, and its L1 "
                 "starts empty again. Set client-output-buffer-limit pubsub 32mb 8mb 60",
                 hard);
    }
    if (configured_number(j, "timeout", &idle_s) && idle_s && idle_s <= j->of->staleness_ms / 4000)
        find(j, LATCHKEY_LOG_WARNING, "timeout",
             "%" PRId64 " s, which is no more than a quarter of staleness_ms (%" PRId64
             "): Redis ends the link between "
             "two beats, and L1 starts empty again each time. Set timeout 0, or a longer one",
             idle_s, j->of->staleness_ms);
}

/* Only CONFIG GET shows this. It is about the indexes: they alone are large, and nothing but their expiry ends them whole.
 * The scripts use UNLINK, or delete in parts. */
static void judge_expiry(judge *j)
{
    char lazily[8];
    if (!configured(j, "lazyfree-lazy-expire", lazily, sizeof lazily) || strcmp(lazily, "no")) return;
    find(j, LATCHKEY_LOG_NOTICE, "lazyfree-lazy-expire",
         "no: when a list with very many sessions expires, Redis frees it at once and answers no client meanwhile, "
         "about "
         "60 ms for each 100,000 names. Set lazyfree-lazy-expire yes");
}

/* ------------------------------------------------------------------------------------------------- whole -- */

size_t lk_server_check_check(const lk_server_check *check, lk_finding findings[LK_FINDINGS_MAX])
{
    judge j = {.of = check, .finding = findings};
    judge_eviction(&j);
    judge_append_only(&j);
    judge_snapshots(&j);
    judge_replicas(&j);
    judge_isolation(&j);
    judge_clients(&j);
    judge_expiry(&j);
    if (j.unknown[0])
        find(&j, LATCHKEY_LOG_NOTICE, "info", "INFO does not show %s: whether that weakens a guarantee is not known",
             j.unknown);
    return j.count;
}

void lk_server_check_say(const lk_server_check *check, uint64_t *said)
{
    lk_finding findings[LK_FINDINGS_MAX];
    size_t count = lk_server_check_check(check, findings);
    uint64_t now = 1;
    for (size_t i = 0; i < count; i++) now = lk_hash(findings[i].text, strlen(findings[i].text), now);
    if (now == *said) return;
    *said = now;
    const char *where = check->where ? check->where : "";
    for (size_t i = 0; i < count; i++)
        lk_log(findings[i].level, "setting %s%s%s: %s", findings[i].name, *where ? " of" : "", where, findings[i].text);
}
