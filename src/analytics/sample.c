/* latchkey_sample: an estimate of who is logged in, from a sample, while Redis goes on with its work.
 *
 *   survey   each partition's index: how many names it has, and its peak; and how large the database is
 *   draw     names, from each index its share. With ZRANDMEMBER with replacement, whose cost does not grow with the index,
 *            as it would for distinct names. If all are to be looked at: with ZRANGE, page by page
 *   look     64 at a time: what the name means, and how long it has to live; then how many sessions its user has
 *   sizes    how large some of them are (sizes.c)
 *   scan     SCAN over some keys (scan.c). Redis places keys by a seeded hash, so the first buckets hold a fair sample, and
 *            a walk that is not finished costs no more than what was walked
 *   add up   estimate.c
 *
 * Measured on 1,000,000 sessions and two busy cores (`latchkey sample`, then INFO commandstats): one round trip took
 * Redis 0.35 ms while drawing or looking, and 0.14 ms for a step of SCAN; 5,000 sessions took 7 s.
 *
 * After every round trip it rests for as long as that took. Nothing here admits a request: there is no lease, and a
 * session that ends between two questions is simply not counted. */
#include "analytics/sample.h"
#include "session/visit.h"
#include "base/argument.h"

#include "analytics/probe.h"
#include "analytics/scan.h"
#include "analytics/sizes.h"
#include "session/server_time.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TRIES = 3, SCANNED_MAX = 10000, RATE_MS = 600000 };

static size_t partitions_of(const lk_sampling *s) { return (size_t)s->q.lk->config.partitions; }

/* ------------------------------------------------------------------------------------------------- survey -- */

enum { SURVEY = 3, SURVEYED = LK_BATCH_CALLS / SURVEY };
#define NAMES_MAX INT64_C(1000000000) /* of one index: a larger number is not believed, and taken for this */

static int survey_some(lk_sampling *s, unsigned from, unsigned count)
{
    lk_batch *q = &s->q;
    for (unsigned p = from; p < from + count; p++) {
        LK_ASK(q, "ZCARD", lk_batch_partition_key(q, p, "a"));
        LK_ASK(q, "HMGET", lk_batch_partition_key(q, p, "m"), "peak", "peak_ms");
        LK_ASK(q, "GET", lk_batch_partition_key(q, p, "e"));
    }
    int status = lk_batch_go(q);
    if (status) return status;
    for (unsigned i = 0; i < count; i++) {
        lk_sampled_partition *p = &s->partitions[from + i];
        lk_reply **reply = &q->replies[SURVEY * i];
        lk_node *node = lk_l2_owner(&q->lk->l2, from + i);
        if (reply[0]->type == LK_REPLY_ERROR && lk_l2_refused(&q->lk->l2, node, reply[0]) != LATCHKEY_CORRUPT)
            /* if something else is in the index' place, only that partition is left out */
            status = LATCHKEY_UNAVAILABLE;
        if (reply[0]->type != LK_REPLY_ERROR && reply[0]->type != LK_REPLY_INTEGER) status = LATCHKEY_UNAVAILABLE;
        long long names = lk_integer(reply[0]);
        p->names = names < 0 ? 0 : names < NAMES_MAX ? (size_t)names : (size_t)NAMES_MAX;
        if (lk_reply_shaped(reply[1], "**")) {
            p->peak = lk_decimal(lk_reply_at(reply[1], 0));
            p->peak_at_ms = lk_decimal(lk_reply_at(reply[1], 1));
        }
        p->cutoff_ms = lk_decimal(reply[2]);
        p->now_ms = lk_server_now_ms(q->lk, from + i, lk_now_us());
        if (!p->now_ms) p->now_ms = s->population->taken_at_ms; /* its server has had no lease yet */
        s->population->indexed += p->names;
    }
    lk_batch_end(q);
    return status;
}

static int by_time(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Over the partitions that have a peak. */
static void sum_peaks(lk_sampling *s)
{
    size_t with = 0;
    int64_t *when = malloc(partitions_of(s) * sizeof *when);
    for (size_t p = 0; p < partitions_of(s); p++) {
        s->population->peak += (uint64_t)s->partitions[p].peak;
        if (when && s->partitions[p].peak) when[with++] = s->partitions[p].peak_at_ms;
    }
    if (with) {
        qsort(when, with, sizeof *when, by_time);
        s->population->peak_at_ms = when[with / 2];
    }
    free(when);
}

/* "db0:keys=12,expires=..." */
static int survey_database(lk_sampling *s, lk_sampled_node *of)
{
    char sought[24];
    snprintf(sought, sizeof sought, "db%lld:keys=", (long long)s->q.lk->config.database);
    s->q.node = of->node;
    LK_ASK(&s->q, "INFO", "keyspace");
    int status = lk_batch_go(&s->q);
    s->q.node = NULL;
    if (status) return status;
    const lk_reply *info = s->q.replies[0];
    const char *at = info->type == LK_REPLY_STRING ? strstr(info->text, sought) : NULL;
    of->keys = at ? strtoull(at + strlen(sought), NULL, 10) : 0;
    s->population->keys += of->keys;
    lk_batch_end(&s->q);
    return LATCHKEY_OK;
}

static int survey(lk_sampling *s)
{
    unsigned all = (unsigned)partitions_of(s);
    lk_node *nodes[LK_NODES_MAX];
    int status = LATCHKEY_OK;
    s->node_count = lk_l2_nodes(&s->q.lk->l2, nodes);
    for (size_t i = 0; i < s->node_count && !status; i++) {
        s->nodes[i].node = nodes[i];
        status = survey_database(s, &s->nodes[i]);
    }
    for (unsigned p = 0, some; p < all && !status; p += some) {
        some = all - p < SURVEYED ? all - p : SURVEYED;
        status = survey_some(s, p, some);
    }
    if (!status) sum_peaks(s);
    return status;
}

/* Every name has the same chance: each `indexed / count`-th name is taken, from a random beginning. */
static void share_out(lk_sampling *s)
{
    uint64_t all = s->population->indexed, seed, passed = 0;
    s->population->exact = s->count >= all;
    if (s->population->exact) s->count = (size_t)all;
    lk_random(&seed, sizeof seed);
    double step = s->count ? (double)all / (double)s->count : 1;
    double next = step * (double)(seed >> 11) / (double)(UINT64_C(1) << 53);
    for (size_t p = 0; p < partitions_of(s); p++) {
        lk_sampled_partition *of = &s->partitions[p];
        passed += of->names;
        if (s->population->exact) of->draw = of->names;
        else
            for (; next < (double)passed; next += step) of->draw++;
    }
    s->choose_every = s->count / LK_SAMPLE_WEIGHED + 1;
}

/* -------------------------------------------------------------------------------------------------- draw -- */

static void take_drawn(lk_sampling *s, unsigned p, const lk_reply *reply)
{
    for (size_t i = 0; i + 1 < reply->count && s->member_count < LK_SAMPLE_BATCH; i += 2) {
        lk_member *m = &s->members[s->member_count];
        const lk_reply *selector = lk_reply_at(reply, i);
        if (selector->type != LK_REPLY_STRING || selector->size != LATCHKEY_SELECTOR_LENGTH) continue;
        m->partition = p;
        memcpy(m->selector, selector->text, sizeof m->selector);
        m->used_at_ms = lk_decimal(lk_reply_at(reply, i + 1));
        s->member_count++;
    }
}

static void ask_members(lk_sampling *s, unsigned p, size_t from, size_t count)
{
    lk_batch *q = &s->q;
    char *key = lk_batch_partition_key(q, p, "a"), *first = lk_batch_text(q, 1), *last = first + LK_BATCH_TEXT / 2;
    snprintf(first, LK_BATCH_TEXT / 2, "%zu", from);
    snprintf(last, LK_BATCH_TEXT / 2, "%zu", from + count - 1);
    if (s->population->exact) {
        LK_ASK(q, "ZRANGE", key, first, last, "WITHSCORES");
    } else {
        snprintf(first, LK_BATCH_TEXT / 2, "-%zu", count);
        LK_ASK(q, "ZRANDMEMBER", key, first, "WITHSCORES");
    }
}

/* The next 64 names, from as many partitions as that takes. */
static int draw_members(lk_sampling *s)
{
    unsigned of[LK_SAMPLE_BATCH];
    size_t total = 0;
    s->member_count = 0;
    while (total < LK_SAMPLE_BATCH && s->at < partitions_of(s)) {
        lk_sampled_partition *p = &s->partitions[s->at];
        size_t left = p->draw - p->drawn, room = LK_SAMPLE_BATCH - total, some = left < room ? left : room;
        if (!some) {
            s->at++;
            continue;
        }
        of[s->q.asked] = (unsigned)s->at;
        ask_members(s, (unsigned)s->at, p->drawn, some);
        p->drawn += some;
        total += some;
    }
    if (!s->q.asked) return LATCHKEY_OK;
    int status = lk_batch_go(&s->q);
    for (size_t i = 0; i < s->q.asked; i++) take_drawn(s, of[i], s->q.replies[i]);
    lk_batch_end(&s->q);
    return status;
}

/* -------------------------------------------------------------------------------------------------- look -- */

static void see(lk_sampling *s, const lk_member *m, const lk_found *f)
{
    int64_t now_ms = s->partitions[m->partition].now_ms;
    int64_t age_ms = now_ms - f->record.created_at_ms, idle_ms = now_ms - m->used_at_ms;
    int64_t used_ms = m->used_at_ms - f->record.created_at_ms;
    s->sights[s->living++] = (lk_sight){.age_ms = age_ms > 0 ? age_ms : 0,
                                        .used_ms = used_ms > 0 ? used_ms : 0,
                                        .idle_ms = idle_ms > 0 ? idle_ms : 0,
                                        .of_user = 1,
                                        .device = f->record.device};
    if (s->living % s->choose_every || s->chosen_count == LK_SAMPLE_WEIGHED) return;
    s->chosen[s->chosen_count] = *m;
    s->chosen[s->chosen_count++].record_size = f->record.size;
}

static void ask_user(lk_sampling *s, const lk_member *m, uint64_t user_id)
{
    lk_batch *q = &s->q;
    char *key = lk_batch_user_key(q, m->partition, user_id, s->partitions[m->partition].cutoff_ms);
    char *from = lk_batch_text(q, 1);
    snprintf(from, LK_BATCH_TEXT, "(%lld", (long long)s->partitions[m->partition].now_ms);
    LK_ASK(q, "ZCOUNT", key, from, "+inf");
}

/* How many sessions the users of the newest sightings have, in the order of the sightings. Without the right to ask, none counts. */
static int count_users(lk_sampling *s)
{
    lk_batch *q = &s->q;
    if (!q->asked) return LATCHKEY_OK;
    lk_sight *newest = &s->sights[s->living - q->asked];
    int status = lk_batch_go(q);
    for (size_t i = 0; i < q->asked; i++) {
        long long sessions = lk_integer(q->replies[i]);
        bool is_refused = q->replies[i]->type == LK_REPLY_ERROR;
        newest[i].of_user = is_refused ? 0 : sessions > 1 ? 1.0 / (double)sessions : 1;
    }
    lk_batch_end(q);
    return status;
}

static int look_at_members(lk_sampling *s)
{
    lk_found found[LK_SAMPLE_BATCH];
    for (size_t i = 0; i < s->member_count; i++) lk_sampling_ask_session(s, &s->members[i]);
    int status = lk_batch_go(&s->q);
    if (status) return status;
    for (size_t i = 0; i < s->member_count; i++) {
        found[i] = lk_sampling_judge(s, &s->members[i], &s->q.replies[LK_SAMPLE_CALLS * i]);
        s->population->damaged += found[i].damaged;
    }
    lk_batch_end(&s->q);
    for (size_t i = 0; i < s->member_count; i++) {
        if (!found[i].lives) continue;
        see(s, &s->members[i], &found[i]);
        ask_user(s, &s->members[i], found[i].user_id);
    }
    s->looked_at += s->member_count;
    return count_users(s);
}

/* ----------------------------------------------------------------------------------------------- together -- */

static void tally(lk_sampling *s)
{
    latchkey_population *p = s->population;
    int64_t idle_ms = s->q.lk->config.idle_ms;
    p->looked_at = s->looked_at;
    p->living = s->living;
    lk_estimate_live(p->indexed, p->looked_at, p->living, p);
    double scale = p->exact || !p->looked_at ? 1 : (double)p->indexed / (double)p->looked_at;
    p->duration_mean_ms = lk_estimate_duration(s->sights, s->living, idle_ms < RATE_MS ? idle_ms : RATE_MS);
    lk_estimate_sights(s->sights, s->living, scale, p);
    lk_estimate_weights(s->weights, s->weighed, p);
    if (p->peak < p->sessions) { /* some sessions were made before peaks were kept */
        p->peak = p->sessions;
        p->peak_at_ms = p->taken_at_ms;
    }
}

static int sample(lk_sampling *s, const lk_progress *progress)
{
    size_t most = s->count < SCANNED_MAX ? s->count : SCANNED_MAX;
    int status = survey(s);
    if (status) return status;
    share_out(s);
    s->sights = malloc((s->count + LK_SAMPLE_BATCH) * sizeof *s->sights);
    if (!s->sights) return LATCHKEY_NO_MEMORY;
    do {
        status = draw_members(s);
        if (!status && s->member_count) status = look_at_members(s);
        if (progress) progress->tell(progress->context, s->looked_at, s->count);
    } while (!status && s->at < partitions_of(s));
    if (!status) status = lk_sampling_sizes(s);
    if (!status) status = lk_sampling_scan(s, most);
    if (!status) tally(s);
    return status;
}

int lk_sample(latchkey *lk, size_t count, const lk_progress *progress, latchkey_population *population)
{
    memset(population, 0, sizeof *population);
    lk_sampling *s = calloc(1, sizeof *s);
    if (!s) return LATCHKEY_NO_MEMORY;
    s->q = (lk_batch){.lk = lk, .tries = TRIES};
    s->population = population;
    s->count = count;
    population->taken_at_ms = lk_server_any_now_ms(lk, lk_now_us());
    s->partitions = calloc(partitions_of(s), sizeof *s->partitions);
    int status = !s->partitions            ? LATCHKEY_NO_MEMORY
                 : population->taken_at_ms ? sample(s, progress)
                                           : LATCHKEY_UNAVAILABLE;
    if (status) memset(population, 0, sizeof *population);
    free(s->partitions);
    free(s->sights);
    free(s);
    return status;
}

int latchkey_sample(latchkey *lk, size_t count, latchkey_population *population, size_t population_size)
{
    latchkey_population all;
    if (population && population_size) memset(population, 0, population_size);
    if (!lk || !population || !population_size || !count)
        return lk_bad_argument("sample: the handle or population is NULL, or a size or count is 0");
    LK_VISIT(visit);
    int status = lk_visit_begin(lk, &visit);
    if (status) return status;
    status = lk_sample(lk, count < LATCHKEY_SAMPLE_MAX ? count : LATCHKEY_SAMPLE_MAX, NULL, &all);
    memcpy(population, &all, population_size < sizeof all ? population_size : sizeof all);
    return status;
}
