/* The replicas of a primary that sentinels name, asked as the application would ask them if they took over. Users, settings and
 * clocks are not replicated. */
#include "cli/doctor/doctor.h"

#include "cli/subscriber.h"

#include "base/clock.h"
#include "redis/info.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { APART_MS = 500 };

/* The server's clock less ours; false: it did not say. */
static bool read_clock(const lk_reply *time, int64_t before_ms, int64_t *ahead_ms)
{
    if (!time || !lk_reply_shaped(time, "ss")) return false;
    *ahead_ms = atoll(lk_reply_at(time, 0)->text) * 1000 + atoll(lk_reply_at(time, 1)->text) / 1000 - before_ms;
    return true;
}

static void compare_clocks(doctor *d, const survey_replica *r, int64_t ahead_ms, int64_t primary_ahead_ms)
{
    int64_t apart_ms = ahead_ms - primary_ahead_ms;
    if (llabs(apart_ms) <= APART_MS) return;
    doctor_fix(doctor_find(d, LATCHKEY_LOG_WARNING, "failover-clock", "H",
                           "the clock of %s is %.1f s %s of the primary's: if it takes over, sessions end so much %s",
                           r->at, (double)llabs(apart_ms) / 1000, apart_ms > 0 ? "ahead" : "behind",
                           apart_ms > 0 ? "sooner" : "later"),
               "NTP on every server");
}

/* False: it could not be used. */
static bool visit(doctor *d, subscriber *w, const survey_replica *r, bool *never)
{
    char priority[16] = "";
    int64_t ahead_ms = 0, primary_ahead_ms = 0, before_ms;
    if (subscriber_open_replica(w, d->c->config, &r->host)) return false;
    lk_reply *info = subscriber_ask(w, (const char *const[]){"INFO", "replication", NULL});
    if (info && info->type == LK_REPLY_STRING) lk_info_value(info->text, "slave_priority", priority, sizeof priority);
    *never = !strcmp(priority, "0");
    before_ms = lk_clock_read(CLOCK_REALTIME, 1000000);
    lk_reply *time = info ? subscriber_ask(w, (const char *const[]){"TIME", NULL}) : NULL;
    bool answered = info && time, told = read_clock(time, before_ms, &ahead_ms);
    lk_reply_free(info);
    lk_reply_free(time);
    before_ms = lk_clock_read(CLOCK_REALTIME, 1000000);
    time = QUERY(d->app, "TIME");
    if (told && read_clock(time, before_ms, &primary_ahead_ms)) compare_clocks(d, r, ahead_ms, primary_ahead_ms);
    lk_reply_free(time);
    subscriber_close(w);
    return answered;
}

void doctor_replicas(doctor *d, const survey_node *n)
{
    subscriber *w = calloc(1, sizeof *w);
    char first[112] = "", why[200] = "";
    unsigned online = 0, usable = 0, never = 0;
    for (unsigned i = 0; w && i < n->listed; i++) {
        bool not_promoted = false;
        if (strcmp(n->replica[i].state, "online")) continue;
        bool good = visit(d, w, &n->replica[i], &not_promoted);
        online++;
        usable += good;
        never += not_promoted;
        if (good || *first) continue;
        snprintf(first, sizeof first, "%s", n->replica[i].at);
        snprintf(why, sizeof why, "%.190s", w->error);
    }
    if (*first)
        doctor_fix(doctor_find(d, usable ? LATCHKEY_LOG_WARNING : LATCHKEY_LOG_ERROR, "failover-replica", "A",
                               "%u of %u replicas could not be used if they took over, the first of them %s: %s",
                               online - usable, online, first, why),
                   "what the text says, there: users and settings are not replicated");
    if (online && never == online)
        doctor_fix(doctor_find(d, LATCHKEY_LOG_ERROR, "failover-priority", "A",
                               "replica-priority is 0 at every replica of %s: Sentinel promotes none of them", n->at),
                   "CONFIG SET replica-priority 100 on those that may take over");
    free(w);
}
