/* See fleet.h. */
#include "cli/fleet.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RATE_LEAST_MS = 900 }; /* beats may come milliseconds apart, and rates over so short a time would only jump */

bool fleet_open(fleet *h, const char *prefix, int64_t database)
{
    memset(h, 0, sizeof *h);
    h->database = database;
    snprintf(h->prefix, sizeof h->prefix, "%.32s:beat:", prefix);
    snprintf(h->pulse, sizeof h->pulse, "%.32s:{0}:pulse", prefix);
    h->instance = calloc(FLEET_MOST, sizeof *h->instance);
    return h->instance != NULL;
}

void fleet_close(fleet *h)
{
    free(h->instance);
    h->instance = NULL;
}

/* The list is in the order of the names. NULL: there are too many instances. */
static fleet_instance *find_instance(fleet *h, const char *name)
{
    size_t at = 0, end = h->count;
    while (at < end) {
        size_t middle = at + (end - at) / 2;
        int order = strcmp(h->instance[middle].name, name);
        if (order == 0) return &h->instance[middle];
        if (order < 0) at = middle + 1;
        else end = middle;
    }
    h->full = h->count == FLEET_MOST;
    if (h->full) return NULL;
    memmove(&h->instance[at + 1], &h->instance[at], (h->count++ - at) * sizeof *h->instance);
    memset(&h->instance[at], 0, sizeof *h->instance);
    strcpy(h->instance[at].name, name);
    return &h->instance[at];
}

static double rate(int64_t from, int64_t to, double seconds) { return to > from ? (double)(to - from) / seconds : 0; }

/* By the instance's own clock: so the time that a message takes does not matter. */
static void renew_rates(fleet_instance *i)
{
    const lk_beat_stats *a = &i->base, *b = &i->now;
    if (b->uptime_ms - a->uptime_ms < RATE_LEAST_MS) return;
    double seconds = (double)(b->uptime_ms - a->uptime_ms) / 1000;
#define RATE(field) i->rates.field = rate(a->field, b->field, seconds);
    FLEET_RATES(RATE)
#undef RATE
    i->rates.errors += rate(a->shed, b->shed, seconds);
    i->rates.validates = i->rates.hits + i->rates.misses + i->rates.refused;
    i->rated = true;
    i->base = *b;
}

static void take_beat(fleet_instance *i, bool tells, const lk_beat_stats *stats, int64_t now_ms)
{
    if (i->beats && now_ms - i->heard_ms > i->silent_ms) i->silent_ms = now_ms - i->heard_ms;
    i->heard_ms = now_ms;
    i->beats++;
    if (!tells) return;
    bool first = !i->tells || stats->uptime_ms < i->now.uptime_ms;
    i->tells = true;
    i->now = *stats;
    if (first) i->base = *stats;
    else renew_rates(i);
}

static bool is_instance(const char *text) { return strspn(text, "0123456789abcdef") == FLEET_NAME; }

/* A beat names its instance by the channel; in a cluster, where all use one, it begins with the name. */
static const char *name_of(const fleet *h, const lk_reply *push, char name[FLEET_NAME + 1], const char **message)
{
    const char *channel = lk_reply_at(push, 2)->text;
    size_t prefix = strlen(h->prefix);
    bool cluster = lk_reply_shaped(push, "sss") && lk_reply_is(lk_reply_at(push, 0), "smessage") &&
                   lk_reply_is(lk_reply_at(push, 1), h->pulse);
    bool alone = lk_reply_shaped(push, "ssss") && lk_reply_is(lk_reply_at(push, 0), "pmessage") &&
                 !strncmp(channel, h->prefix, prefix) && strlen(channel) == prefix + FLEET_NAME;
    if (!cluster && !alone) return NULL;
    *message = lk_reply_at(push, cluster ? 2 : 3)->text;
    const char *from = cluster ? *message : channel + prefix;
    if (!is_instance(from)) return NULL;
    snprintf(name, FLEET_NAME + 1, "%.*s", FLEET_NAME, from);
    return name;
}

bool fleet_take(fleet *h, const lk_reply *push, int64_t now_ms)
{
    char name[FLEET_NAME + 1];
    const char *message;
    lk_beat_stats stats;
    if (!name_of(h, push, name, &message)) return false;
    bool tells = lk_beat_stats_read(message + strspn(message, "0123456789abcdef"), &stats);
    if (tells && stats.database != h->database) return false; /* channels do not belong to a database */
    fleet_instance *i = find_instance(h, name);
    if (i) take_beat(i, tells, &stats, now_ms);
    return i != NULL;
}

void fleet_forget(fleet *h, int64_t now_ms, int64_t silent_ms)
{
    size_t kept = 0;
    for (size_t i = 0; i < h->count; i++)
        if (now_ms - h->instance[i].heard_ms < silent_ms) h->instance[kept++] = h->instance[i];
    h->full = h->full && kept == h->count;
    h->count = kept;
}

double fleet_hit_share(const fleet_rates *rates)
{
    double asked = rates->hits + rates->misses;
    return asked > 0 ? rates->hits / asked : -1;
}

static void add_rates(fleet_rates *sum, const fleet_rates *r)
{
    sum->validates += r->validates;
#define ADD(field) sum->field += r->field;
    FLEET_RATES(ADD)
#undef ADD
}

static void add_numbers(lk_beat_stats *sum, lk_beat_stats *one)
{
    for (size_t k = 0; k < lk_beat_number_count; k++) {
        int64_t *to = lk_beat_number_of(sum, &lk_beat_numbers[k]);
        int64_t value = *lk_beat_number_of(one, &lk_beat_numbers[k]);
        if (lk_beat_numbers[k].total == LK_BEAT_SUM) *to += value;
        else if (value > *to) *to = value;
    }
}

void fleet_total(const fleet *h, fleet_instance *total)
{
    memset(total, 0, sizeof *total);
    strcpy(total->name, "all");
    bool unleased = false;
    for (size_t i = 0; i < h->count; i++) {
        fleet_instance *one = &h->instance[i];
        if (!one->tells) continue;
        total->tells = true;
        total->rated |= one->rated;
        add_rates(&total->rates, &one->rates);
        add_numbers(&total->now, &one->now);
        unleased |= one->now.lease_age_ms < 0;
    }
    if (unleased) total->now.lease_age_ms = -1;
    total->now.pid = 0; /* the total has no process */
}

int64_t fleet_lease_ms(int64_t age_ms, int64_t staleness_ms) { return age_ms > staleness_ms ? -1 : age_ms; }

static const char *or_dash(const char *text) { return *text ? text : "-"; }

void fleet_cells(table *t, const fleet_instance *i)
{
    char pid[24] = "";
    if (i->now.pid) snprintf(pid, sizeof pid, "%" PRId64, i->now.pid);
    table_cell(t, or_dash(i->now.host));
    table_cell(t, or_dash(pid));
    table_cell(t, or_dash(i->now.name));
}
