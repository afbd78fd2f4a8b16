/* The number of partitions, which is part of every key's name. Partition 0 has it; in a cluster each one has it, so that each
 * node can tell it, and one that lost its keys is contradicted by the others. */
#include "cli/doctor/doctor.h"

#include "redis/keys.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { ASKED_AT_ONCE = 512, NUMBER_SIZE = 24 };

/* Of each partition what its key says. "": nothing; "?": it could not be read. */
typedef struct recorded {
    unsigned count;
    char said[LK_PARTITIONS_MAX][NUMBER_SIZE];
} recorded;

static void read_recorded(query *p, const unsigned *partition, unsigned count, recorded *r)
{
    char key[ASKED_AT_ONCE][LK_KEY_SIZE], error[160];
    lk_span words[ASKED_AT_ONCE][3];
    lk_call calls[ASKED_AT_ONCE] = {0};
    lk_reply *replies[ASKED_AT_ONCE];
    for (unsigned i = 0; i < count; i++) {
        lk_key_partition(key[i], p->config.prefix, partition[i], "m");
        words[i][0] = lk_word("HGET");
        words[i][1] = lk_word(key[i]);
        words[i][2] = lk_word("partitions");
        calls[i] = (lk_call){words[i], 3};
    }
    if (query_ask(p, calls, count, replies, error, sizeof error)) return;
    for (unsigned i = 0; i < count; i++) {
        bool read = replies[i]->type == LK_REPLY_STRING || replies[i]->type == LK_REPLY_NIL;
        snprintf(r->said[partition[i]], NUMBER_SIZE, "%.20s", read ? replies[i]->text : "?");
        lk_reply_free(replies[i]);
    }
}

/* Each node is asked for all that it has at once. */
static void read_all(const doctor *d, recorded *r)
{
    unsigned of_node[ASKED_AT_ONCE], count = d->nodes ? d->nodes->count : 1;
    for (unsigned p = 0; p < r->count; p++) snprintf(r->said[p], NUMBER_SIZE, "?");
    for (unsigned i = 0; i < count; i++) {
        query *node = d->nodes ? d->nodes->node[i] : d->app;
        unsigned some = 0;
        for (unsigned p = 0; node && p < r->count; p++) {
            if (!d->nodes || d->nodes->owner[p] == i) of_node[some++] = p;
            if (some < ASKED_AT_ONCE && (!some || p + 1 < r->count)) continue;
            read_recorded(node, of_node, some, r);
            some = 0;
        }
    }
}

static bool is_number(const char *said) { return *said >= '0' && *said <= '9'; }

/* What most partitions say. NULL: none says a number. */
static const char *most_said(const recorded *r)
{
    const char *best = NULL;
    for (unsigned p = 0, most = 0; p < r->count; p++) {
        unsigned same = 0;
        if (!is_number(r->said[p]) || (best && !strcmp(best, r->said[p]))) continue;
        for (unsigned other = p; other < r->count; other++) same += !strcmp(r->said[p], r->said[other]);
        if (same > most) {
            best = r->said[p];
            most = same;
        }
    }
    return best;
}

/* Those that say what is neither the number nor unread; `missing`: those that say nothing. How many, the first, and the names of
 * some. */
static unsigned list_wrong(const doctor *d, const recorded *r, const char *right, bool missing, unsigned *first,
                           char names[160])
{
    enum { SHOWN = 4 };
    unsigned count = 0;
    names[0] = 0;
    for (unsigned p = 0; p < r->count; p++) {
        const char *said = r->said[p];
        bool wrong = missing ? !*said : is_number(said) && strcmp(said, right) != 0;
        size_t used = strlen(names);
        if (!wrong) continue;
        if (!count++) *first = p;
        if (count <= SHOWN)
            snprintf(names + used, 160 - used, "%s%.32s:{%u}:m", count > 1 ? ", " : "", d->app->config.prefix, p);
    }
    if (count > SHOWN) {
        size_t used = strlen(names);
        snprintf(names + used, 160 - used, " and %u more", count - SHOWN);
    }
    return count;
}

static void compare_all(doctor *d, const recorded *r, const char *right)
{
    char names[160];
    const char *prefix = d->app->config.prefix;
    unsigned first = 0, count = list_wrong(d, r, right, false, &first, names);
    if (count)
        doctor_fix(doctor_find(d, LATCHKEY_LOG_ERROR, "partitions", "A",
                               "%u of %u partitions say another number than the %s that the others say: %s, the first "
                               "of them %s. An instance that asks their node does not open",
                               count, r->count, right, names, r->said[first]),
                   "for each, unless instances with partitions=%s write there: redis-cli -c HSET %s:{%u}:m partitions "
                   "%s",
                   r->said[first], prefix, first, right);
    count = list_wrong(d, r, right, true, &first, names);
    if (count)
        doctor_fix(
            doctor_find(
                d, LATCHKEY_LOG_WARNING, "partitions", "A",
                "%u of %u partitions do not say that there are %s: %s. While the nodes that say it are away, no "
                "instance can be started",
                count, r->count, right, names),
            "look again: a handle that opens records it, as doctor's perhaps has. Else, for each: redis-cli -c HSETNX "
            "%s:{%u}:m partitions %s",
            prefix, first, right);
}

bool doctor_partitions(doctor *d)
{
    recorded *r = calloc(1, sizeof *r);
    bool any = false;
    if (!r) return false;
    r->count = d->nodes ? (unsigned)d->app->config.partitions : 1;
    read_all(d, r);
    for (unsigned p = 0; p < r->count; p++) any |= r->said[p][0] != 0;
    const char *right = most_said(r);
    if (right && atoll(right) != d->app->config.partitions)
        doctor_fix(doctor_find(d, LATCHKEY_LOG_ERROR, "partitions", "A",
                               "%" PRId64 ", but Redis holds sessions in %s: no handle opens",
                               d->app->config.partitions, right),
                   "partitions=%s in the URL", right);
    else if (right) compare_all(d, r, right);
    free(r);
    return !any;
}

void doctor_unrecord(doctor *d)
{
    unsigned count = d->nodes ? (unsigned)d->app->config.partitions : 1;
    for (unsigned p = 0; p < count; p++) {
        char key[LK_KEY_SIZE];
        query *node = d->nodes ? nodes_of(d->nodes, p) : d->app;
        if (!node) continue;
        lk_key_partition(key, d->app->config.prefix, p, "m");
        lk_reply *reply = QUERY(node, "HLEN", key);
        if (reply && reply->integer == 1) lk_reply_free(QUERY(node, "DEL", key));
        lk_reply_free(reply);
        lk_key_partition(key, d->app->config.prefix, p, "q");
        reply = QUERY(node, "GET", key);
        if (reply && lk_reply_is(reply, "0")) lk_reply_free(QUERY(node, "DEL", key));
        lk_reply_free(reply);
    }
}
