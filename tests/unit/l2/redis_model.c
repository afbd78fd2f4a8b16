/* SPDX-License-Identifier: MIT
 *
 * See redis_model.h.
 */
#include "redis_model.h"
#include "redis/script.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void say(redis_model *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(redis_model *m, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int size = vsnprintf(m->log + m->logged, sizeof m->log - m->logged, format, list);
    va_end(list);
    m->logged += (size_t)size;
    assert_true(m->logged < sizeof m->log);
}

/* ------------------------------------------------------------------------------------------------ the host -- */

static void on_purge(void *context, const char *selector)
{
    redis_model *m = context;
    say(m, "= purge %.20s\n", selector);
    if (m->l1) lk_l1_purge(m->l1, selector);
}

static void on_made(void *context, const char *selector) { say(context, "= made %.20s\n", selector); }

static void on_empty(void *context, lk_partitions partitions)
{
    redis_model *m = context;
    for (size_t i = 0; i < partitions.count; i++) {
        unsigned p = partitions.at[i];
        m->emptied[p]++;
        assert_int_equal(m->emptied[p], m->voided[p]); /* the lease is taken away first */
    }
    say(m, "= empty\n");
    m->empties++;
    if (m->l1) lk_l1_empty(m->l1);
}

static void on_everyone(void *context)
{
    redis_model *m = context;
    say(m, "= everyone\n");
    m->everyones++;
    if (m->l1) lk_l1_empty(m->l1);
}

static void on_lease(void *context, lk_partitions partitions, int64_t sent_ms, uint64_t incarnation,
                     int64_t server_ahead_us)
{
    redis_model *m = context;
    for (size_t i = 0; i < partitions.count; i++) m->leased_ms[partitions.at[i]] = sent_ms;
    say(m, "= lease %" PRId64 "\n", sent_ms);
    m->leases++;
    m->lease_sent_ms = sent_ms;
    m->lease_incarnation = incarnation;
    m->lease_ahead_us = server_ahead_us;
}

static void on_trouble(void *context, int status, const char *text)
{
    redis_model *m = context;
    say(m, "= trouble %d\n", status);
    m->trouble_status = status;
    snprintf(m->trouble, sizeof m->trouble, "%s", text);
}

static void on_withheld(void *context, const char *text) { on_trouble(context, LATCHKEY_UNAVAILABLE, text); }

static void on_met(void *context, uint64_t incarnation, lk_partitions partitions)
{
    redis_model *m = context;
    for (size_t i = 0; i < partitions.count; i++) m->met_of[partitions.at[i]]++;
    assert_true(incarnation != 0);
    say(m, "= met\n");
    m->met++;
}

static bool on_next_job(void *context, int64_t now_ms, lk_job *job)
{
    redis_model *m = context;
    (void)now_ms;
    if (!m->job_count) return false;
    *job = m->jobs[m->job_first % MODEL_JOBS_MAX];
    if (job->kind == LK_JOB_REFRESH) {
        lk_refresh_item *item = &m->items[m->job_first % MODEL_JOBS_MAX];
        memcpy(item->token, job->of.selector, sizeof job->of.selector);
        job->item = item;
    }
    m->job_first++;
    m->job_count--;
    return true;
}

static void on_job_done(void *context, const lk_job *job, int status)
{
    redis_model *m = context;
    say(m, "= done %.20s %d\n", job->of.selector, status);
}

static void on_refreshed(void *context, const lk_refresh_item *item, const lk_reply *value, const lk_reply *pttl,
                         uint64_t incarnation)
{
    redis_model *m = context;
    say(m, "= read %.20s %d %lld %s\n", item->token, (int)value->type, pttl->integer,
        incarnation == m->lease_incarnation ? "leased" : "not leased");
}

static void on_stats(void *context, lk_beat_stats *stats)
{
    redis_model *m = context;
    *stats = m->stats;
}

static void on_emptying(void *context, lk_partitions partitions)
{
    redis_model *m = context;
    for (size_t i = 0; i < partitions.count; i++) m->voided[partitions.at[i]]++;
}

static void on_sign(void *context, const char *text)
{
    redis_model *m = context;
    m->signs++;
    say(m, *text ? "= sign %s\n" : "= sign\n", text);
    snprintf(m->sign, sizeof m->sign, "%s", text);
}
static void on_no_stats(void *context, lk_beat_stats *stats)
{
    (void)context;
    (void)stats;
}
static bool on_no_refresh(void *context, lk_refresh_item *item, lk_job *job)
{
    (void)context;
    (void)item;
    (void)job;
    return false;
}
static void on_touching(void *context, lk_job *job)
{
    (void)context;
    (void)job;
}
static void on_touched(void *context, const lk_job *job, uint64_t incarnation)
{
    redis_model *m = context;
    say(m, "= touched %.20s %s\n", job->of.selector, incarnation == m->lease_incarnation ? "leased" : "not leased");
}

static bool on_sample(void *context, uint64_t random, int64_t now_ms, lk_entry_sample *out)
{
    redis_model *m = context;
    return m->l1 && lk_l1_sample(m->l1, random, now_ms, out);
}

static bool on_still(void *context, const lk_entry_sample *seen)
{
    redis_model *m = context;
    return lk_l1_still(m->l1, seen);
}

void model_job(redis_model *m, int kind, unsigned partition, const char *selector)
{
    assert_true(m->job_count < MODEL_JOBS_MAX);
    lk_job *job = &m->jobs[(m->job_first + m->job_count++) % MODEL_JOBS_MAX];
    memset(job, 0, sizeof *job);
    job->kind = kind;
    job->of.partition = partition;
    job->of.held = selector[0] == 'h';
    memcpy(job->of.selector, selector, LATCHKEY_SELECTOR_LENGTH);
    memset(job->of.verifier_hash, selector[1], sizeof job->of.verifier_hash);
}

/* ---------------------------------------------------------------------------------------------- the server -- */

static void reply(redis_model *m, int which, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void reply(redis_model *m, int which, const char *format, ...)
{
    model_side *side = &m->side[which];
    va_list list;
    va_start(list, format);
    int size = vsnprintf(side->replies + side->used, sizeof side->replies - side->used, format, list);
    va_end(list);
    side->used += (size_t)size;
    assert_true(side->used < sizeof side->replies);
}

static void reply_bulk(redis_model *m, int which, const char *text)
{
    if (!text) abort(); /* it never is; a compiler that instruments the code is not sure of that */
    reply(m, which, "$%zu\r\n%s\r\n", strlen(text), text);
}

void model_publish(redis_model *m, const char *channel, const char *text)
{
    if (!m->subscribed) return;
    reply(m, 1, "*3\r\n");
    reply_bulk(m, 1, m->config.cluster ? "smessage" : "message");
    reply_bulk(m, 1, channel);
    reply_bulk(m, 1, text);
}

void model_trim(redis_model *m, unsigned partition, size_t kept)
{
    model_log *r = &m->revoked[partition];
    while (r->count > kept) {
        r->first = (r->first + 1) % MODEL_LOG_MAX;
        r->count--;
    }
}

/* As common.lua: a number that the log is ahead of means that the counter was started anew, and so is the log. */
static void log_revocation(model_log *r, uint64_t number, const char *selector)
{
    if (r->count && r->entry[(r->first + r->count - 1) % MODEL_LOG_MAX].number >= number) r->count = 0;
    if (r->count == MODEL_LOG_MAX) {
        r->first = (r->first + 1) % MODEL_LOG_MAX;
        r->count--;
    }
    size_t at = (r->first + r->count++) % MODEL_LOG_MAX;
    r->entry[at].number = number;
    snprintf(r->entry[at].selector, sizeof r->entry[at].selector, "%.20s", selector);
}

void model_end_everyone(redis_model *m, unsigned partition, int64_t ms)
{
    char word[24];
    snprintf(m->epoch_text[partition], sizeof m->epoch_text[partition], "%" PRId64, ms);
    m->epoch[partition] = m->epoch_text[partition];
    snprintf(word, sizeof word, "*%s", m->epoch[partition]);
    model_revoke(m, partition, word);
}

void model_revoke(redis_model *m, unsigned partition, const char *selector)
{
    char channel[64], text[128];
    snprintf(channel, sizeof channel, "%s:{%u}:rev", m->config.prefix, partition);
    snprintf(text, sizeof text, "%" PRIu64 " %.20s @%" PRId64, ++m->number[partition], selector,
             m->now_us + m->clock_ahead_us);
    log_revocation(&m->revoked[partition], m->number[partition], selector);
    if (m->lose_messages) m->lose_messages--;
    else model_publish(m, channel, text);
}

static const char *name_of_script(const lk_reply *word, bool whole)
{
    for (int i = 0; i < LK_SCRIPT_COUNT; i++)
        if (lk_reply_is(word, whole ? lk_scripts[i].text : lk_scripts[i].sha)) return lk_scripts[i].name;
    return "?";
}

static void log_command(redis_model *m, int which, const lk_reply *c)
{
    bool whole = lk_reply_is(c->item[0], "EVAL"), script = whole || lk_reply_is(c->item[0], "EVALSHA");
    say(m, "%d", which);
    for (size_t i = 0; i < c->size; i++) {
        const lk_reply *word = c->item[i];
        if (script && i == 1) say(m, " %s", name_of_script(word, whole));
        else if (script && word->size == LK_HASH_SIZE) say(m, " (%c...)", word->text[0]);
        else say(m, " %s", word->size ? word->text : "''");
    }
    say(m, "\n");
}

static void answer_info(redis_model *m, int which, const lk_reply *section)
{
    char text[256];
    if (lk_reply_is(section, "server"))
        snprintf(text, sizeof text, "redis_version:%s\r\nredis_mode:%s\r\nrun_id:%s\r\n", m->version,
                 m->config.cluster ? "cluster" : "standalone", m->run_id[which]);
    else snprintf(text, sizeof text, "role:%s\r\nmaster_replid:%s\r\n", m->role, m->replication);
    reply_bulk(m, which, text);
}

static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

static void answer_script(redis_model *m, int which, const lk_reply *c)
{
    if (lk_reply_is(c->item[0], "EVAL")) m->scripts_known = true;
    if (!m->scripts_known) {
        reply(m, which, "-NOSCRIPT No matching script. Please use EVAL.\r\n");
        return;
    }
    const char *script = name_of_script(c->item[1], lk_reply_is(c->item[0], "EVAL"));
    if (strcmp(script, "revoke") == 0)
        model_revoke(m, (unsigned)atoi(strchr(c->item[3]->text, '{') + 1), c->item[5]->text);
    size_t ended = 1;
    if (strcmp(script, "reassert") == 0) {
        unsigned p = (unsigned)atoi(strchr(c->item[4]->text, '{') + 1);
        ended = m->forgetful ? c->size - 5 : 0;
        for (size_t i = 0; i < c->size - 5; i++) {
            const char *told = c->item[5 + i]->text;
            uint64_t least = *told == '#' ? strtoull(told + 1, NULL, 10) : 0;
            if (*told == '#') m->number[p] = m->number[p] < least ? least + 1000 : m->number[p];
            else if (i >= ended) continue;
            else if (*told == '*') model_end_everyone(m, p, most(m->now_us / 1000, atoll(told + 1)));
            else model_revoke(m, p, told);
        }
    }
    reply(m, which, ":%zu\r\n", ended);
}

static void answer_xrange(redis_model *m, int which, const lk_reply *c)
{
    const model_log *r = &m->revoked[atoi(strchr(c->item[1]->text, '{') + 1)];
    uint64_t from = strtoull(c->item[2]->text, NULL, 10);
    size_t first = 0, count, most = strtoull(c->item[5]->text, NULL, 10);
    while (first < r->count && r->entry[(r->first + first) % MODEL_LOG_MAX].number < from) first++;
    count = r->count - first < most ? r->count - first : most;
    reply(m, which, "*%zu\r\n", count);
    for (size_t i = 0; i < count; i++) {
        size_t at = (r->first + first + i) % MODEL_LOG_MAX;
        char id[32];
        snprintf(id, sizeof id, "%" PRIu64 "-0", r->entry[at].number);
        reply(m, which, "*2\r\n");
        reply_bulk(m, which, id);
        reply(m, which, "*2\r\n$1\r\ns\r\n");
        reply_bulk(m, which, r->entry[at].selector);
    }
}

static void answer_subscribe(redis_model *m, int which, const lk_reply *c)
{
    m->subscribed = true;
    for (size_t i = 1; i < c->size; i++) {
        reply(m, which, "*3\r\n");
        reply_bulk(m, which, m->config.cluster ? "ssubscribe" : "subscribe");
        reply_bulk(m, which, c->item[i]->text);
        reply(m, which, ":%zu\r\n", i);
    }
}

static void answer_record(redis_model *m, const lk_reply *key)
{
    const model_record *record = m->records;
    while (record && !strstr(key->text, record->selector)) record = record->next;
    if (!record) {
        reply(m, 0, "$-1\r\n");
        return;
    }
    reply(m, 0, "$%d\r\n", LK_RECORD_SIZE);
    model_side *side = &m->side[0];
    assert_true(side->used + LK_RECORD_SIZE < sizeof side->replies);
    memcpy(side->replies + side->used, record->bytes, LK_RECORD_SIZE);
    side->used += LK_RECORD_SIZE;
    reply(m, 0, "\r\n");
}

/* The number that the key ends with. */
static void answer_pttl(redis_model *m, int which, const char *key)
{
    size_t length = strlen(key);
    reply(m, which, ":%lld\r\n", length < 6 ? -2 : atoll(key + length - 6));
}

/* A number or a cut-off as it lies there. */
static void answer_get(redis_model *m, int which, const char *key)
{
    char text[24];
    int p = atoi(strchr(key, '{') + 1);
    bool epoch = strstr(key, "}:e") != NULL;
    uint64_t number = strstr(key, "}:w") ? m->witness : m->number[p];
    snprintf(text, sizeof text, "%" PRIu64, number);
    if (epoch && m->epoch[p] && strcmp(m->epoch[p], "LIST") == 0)
        reply(m, which, "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n");
    else if (epoch ? m->epoch[p] != NULL : number != 0) reply_bulk(m, which, epoch ? m->epoch[p] : text);
    else reply(m, which, "$-1\r\n");
}

/* The first word with braces names the slot. */
static const char *elsewhere(const redis_model *m, const lk_reply *c)
{
    for (size_t i = 1; i < c->size; i++) {
        const char *word = c->item[i]->text, *brace = strchr(word, '{');
        if (!brace || (strncmp(c->item[0]->text, "EVAL", 4) == 0 && i < 3)) continue;
        size_t length = strlen(word), end = m->only ? strlen(m->only) : 0;
        if (m->only && (length < end || strcmp(word + length - end, m->only))) return NULL;
        return m->elsewhere[atoi(brace + 1)];
    }
    return NULL;
}

static void answer(redis_model *m, int which, const lk_reply *c)
{
    const char *name = c->item[0]->text;
    bool otherwise = m->command && strcmp(m->command, name) == 0;
    m->side[which].stalled |= otherwise && !*m->answer;
    if (m->side[which].stalled) return;
    const char *moved = elsewhere(m, c);
    if (otherwise) reply(m, which, "%s", m->answer);
    else if (moved) reply(m, which, "-%s\r\n", moved);
    else if (strcmp(name, "GET") == 0) answer_get(m, which, c->item[1]->text);
    else if (strcmp(name, "INCR") == 0) reply(m, which, ":%" PRIu64 "\r\n", ++m->witness);
    else if (strcmp(name, "INFO") == 0) answer_info(m, which, c->item[1]);
    else if (strcmp(name, "CLUSTER") == 0) reply_bulk(m, which, m->node);
    else if (strcmp(name, "AUTH") == 0 || strcmp(name, "SELECT") == 0) reply(m, which, "+OK\r\n");
    else if (strcmp(name, "HSETNX") == 0) {
        if (!m->recorded[0]) snprintf(m->recorded, sizeof m->recorded, "%s", c->item[3]->text);
        reply(m, which, ":1\r\n");
    } else if (strcmp(name, "SET") == 0) reply(m, which, "+OK\r\n"); /* a counter at 0, which is as good as none */
    else if (strcmp(name, "HGET") == 0 && lk_reply_is(c->item[2], "v")) answer_record(m, c->item[1]);
    else if (strcmp(name, "HGET") == 0 && !m->recorded[0]) reply(m, which, "$-1\r\n");
    else if (strcmp(name, "HGET") == 0) reply_bulk(m, which, m->recorded);
    else if (strcmp(name, "PEXPIRE") == 0) reply(m, which, "%s", m->prolonged ? m->prolonged : ":1\r\n");
    else if (strcmp(name, "ZADD") == 0) reply(m, which, ":0\r\n");
    else if (strcmp(name, "PTTL") == 0) answer_pttl(m, which, c->item[1]->text);
    else if (strcmp(name, "XRANGE") == 0) answer_xrange(m, which, c);
    else if (strcmp(name, "SUBSCRIBE") == 0 || strcmp(name, "SSUBSCRIBE") == 0) answer_subscribe(m, which, c);
    else if (strcmp(name, "MGET") == 0) {
        reply(m, which, "*%zu\r\n", c->size - 1);
        for (size_t i = 1; i < c->size; i++) {
            char text[24];
            int p = atoi(strchr(c->item[i]->text, '{') + 1);
            bool epoch = strstr(c->item[i]->text, "}:e") != NULL;
            snprintf(text, sizeof text, "%" PRIu64, m->number[p]);
            bool there = epoch ? m->epoch[p] && strcmp(m->epoch[p], "LIST") : m->number[p] != 0;
            if (there) reply_bulk(m, which, epoch ? m->epoch[p] : text);
            else reply(m, which, "$-1\r\n");
        }
    } else if (strcmp(name, "EXISTS") == 0) {
        unsigned there = 0;
        for (size_t p = 0; p + 1 < c->size; p++) there += m->epoch[p] != NULL;
        reply(m, which, ":%u\r\n", there);
    } else if (strcmp(name, "TIME") == 0) {
        char seconds[24], micros[24];
        int64_t us = m->now_us + m->clock_ahead_us;
        snprintf(seconds, sizeof seconds, "%" PRId64, us / 1000000);
        snprintf(micros, sizeof micros, "%" PRId64, us % 1000000);
        reply(m, which, "*2\r\n");
        reply_bulk(m, which, seconds);
        reply_bulk(m, which, micros);
    } else if (strcmp(name, "SPUBLISH") == 0 && strstr(c->item[1]->text, ":pulse")) {
        reply(m, which, ":0\r\n");
    } else if (strcmp(name, "PUBLISH") == 0 || strcmp(name, "SPUBLISH") == 0) {
        if (!m->lose_nonces) model_publish(m, c->item[1]->text, c->item[2]->text);
        reply(m, which, ":%d\r\n", m->subscribed);
    } else if (strcmp(name, "DEL") == 0) {
        reply(m, which, ":0\r\n");
    } else if (strncmp(name, "EVAL", 4) == 0) answer_script(m, which, c);
    else fail_msg("the link sends a command that no test expects: %s", name);
}

/* -------------------------------------------------------------------------------------------- the transport -- */

static bool alive(const redis_model *m) { return m->link.state > LK_LINK_CONNECTING; }

static void cut(redis_model *m)
{
    for (int i = 0; i < LK_LINK_CONNECTIONS; i++) {
        lk_resp_close(m->side[i].commands);
        m->side[i].commands = NULL;
        m->side[i].used = 0;
        m->side[i].stalled = false;
    }
    m->subscribed = false;
}

void model_serve(redis_model *m, int which)
{
    if (!alive(m)) return;
    const char *bytes;
    lk_reply *command;
    size_t size = lk_conn_unsent(&m->link.conn[which], &bytes);
    assert_true(lk_resp_feed(m->side[which].commands, bytes, size));
    lk_conn_wrote(&m->link.conn[which], size);
    while (lk_resp_next(m->side[which].commands, &command) > 0) {
        log_command(m, which, command);
        answer(m, which, command);
        lk_reply_free(command);
    }
}

static void feed(redis_model *m, int which, const char *bytes, size_t size)
{
    char *exact = unit_copy(bytes, size);
    bool fed = lk_conn_feed(&m->link.conn[which], exact, size);
    free(exact);
    if (fed) lk_link_fed(&m->link, which, m->now_us);
    else lk_link_lost(&m->link, model_ms(m), LATCHKEY_UNAVAILABLE, "not taken");
    if (!alive(m)) cut(m);
}

void model_feed(redis_model *m, int which, const char *bytes)
{
    if (alive(m)) feed(m, which, bytes, strlen(bytes));
}

void model_deliver(redis_model *m, int which)
{
    static char bytes[MODEL_BUFFER];
    size_t size = m->side[which].used;
    memcpy(bytes, m->side[which].replies, size);
    m->side[which].used = 0;
    if (!alive(m) || !size) return;
    if (!m->byte_by_byte) feed(m, which, bytes, size);
    for (size_t i = 0; m->byte_by_byte && i < size && alive(m); i++) feed(m, which, bytes + i, 1);
}

static bool quiet(const redis_model *m)
{
    const char *bytes;
    for (int i = 0; i < LK_LINK_CONNECTIONS; i++)
        if (lk_conn_unsent(&m->link.conn[i], &bytes) || m->side[i].used) return false;
    return true;
}

void model_run(redis_model *m)
{
    for (int i = 0; alive(m) && !quiet(m); i++) {
        assert_true(i < 1000); /* else they talk without end */
        for (int which = 0; which < LK_LINK_CONNECTIONS; which++) model_serve(m, which);
        for (int which = LK_LINK_CONNECTIONS - 1; which >= 0; which--) model_deliver(m, which);
    }
}

/* -------------------------------------------------------------------------------------------------- driving -- */

static bool on_vouched(void *context, int64_t since_ms, char *why, size_t why_size)
{
    redis_model *m = context;
    m->asked_since_ms = since_ms;
    if (m->deposed && why) snprintf(why, why_size, "deposed");
    return !m->deposed;
}

redis_model *model_open(const char *options, uint64_t seed)
{
    char url[512], error[160];
    redis_model *m = aligned_alloc(64, (sizeof *m + 63) / 64 * 64);
    assert_non_null(m);
    memset(m, 0, sizeof *m);
    snprintf(url, sizeof url, "%s%s", strstr(options, "://") ? "" : "redis://", options);
    if (lk_config_parse(url, &m->config, error, sizeof error)) fail_msg("%s: %s", url, error);
    assert_true(m->config.partitions <= MODEL_PARTITIONS_MAX);
    m->now_us = 1000000;
    m->run_id[0] = m->run_id[1] = "run-1";
    m->role = "master";
    m->replication = "replid-1";
    m->version = "7.0.0";
    snprintf(m->node, sizeof m->node, "07c37dfeb235213a872192d90877d0cd55635b91");
    m->clock_ahead_us = INT64_C(1700000000000000);
    if (m->config.cluster) snprintf(m->recorded, sizeof m->recorded, "%lld", (long long)m->config.partitions);
    for (unsigned p = 0; p < MODEL_PARTITIONS_MAX; p++) m->partitions[p] = p;
    lk_partitions partitions = {m->partitions, (size_t)m->config.partitions};
    lk_link_host host = {m,           on_emptying, on_lease,    on_trouble, on_withheld, on_met,
                         on_next_job, on_job_done, on_no_stats, on_vouched, on_sign};
    lk_l1_side l1 = {m,        on_purge,      on_made,      on_empty,    on_everyone, on_stats, on_sample,
                     on_still, on_no_refresh, on_refreshed, on_touching, on_touched,  NULL};
    lk_link_known known = {lk_cutoffs_open((size_t)m->config.partitions), lk_recent_open(seed, LK_RECENT_MAX),
                           lk_past_open((size_t)m->config.partitions, seed)};
    assert_true(known.cutoffs && known.recent && known.past);
    assert_true(lk_link_open(&m->link, &m->config, partitions, known, &host, &l1, &m->counters, seed, model_ms(m)));
    return m;
}

void model_close(redis_model *m)
{
    cut(m);
    lk_link_close(&m->link);
    lk_cutoffs_close(m->link.cutoffs);
    lk_recent_close(m->link.recent);
    free(m->link.past);
    if (m->l1) lk_l1_close(m->l1);
    free(m);
}

int64_t model_ms(const redis_model *m) { return m->now_us / 1000; }

void model_tick(redis_model *m, int64_t later_ms)
{
    m->now_us += later_ms * 1000;
    lk_link_tick(&m->link, m->now_us);
    if (!alive(m)) cut(m);
}

void model_connect(redis_model *m)
{
    if (m->link.state == LK_LINK_DOWN && m->link.retry_at_ms > model_ms(m)) m->now_us = m->link.retry_at_ms * 1000;
    model_tick(m, 0);
    assert_int_equal(m->link.state, LK_LINK_CONNECTING);
    cut(m);
    for (int i = 0; i < LK_LINK_CONNECTIONS; i++) assert_non_null(m->side[i].commands = lk_resp_open());
    lk_link_connected(&m->link, model_ms(m));
}

void model_up(redis_model *m)
{
    unsigned before = m->leases;
    model_connect(m);
    model_run(m);
    model_tick(m, 0);
    model_run(m);
    assert_int_equal(m->link.state, LK_LINK_UP);
    assert_int_equal(m->leases, before + 1);
}

redis_model *model_opened_up(const char *options)
{
    redis_model *m = model_open(options, unit_seed());
    model_up(m);
    model_tick(m, 3);
    model_clear(m);
    return m;
}

int64_t model_beat_due(const redis_model *m) { return lk_link_wake_ms(&m->link) - model_ms(m); }

void model_beat(redis_model *m)
{
    model_tick(m, model_beat_due(m));
    model_run(m);
}

/* -------------------------------------------------------------------------------------------------- looking -- */

void model_clear(redis_model *m) { m->log[m->logged = 0] = 0; }
bool model_saw(const redis_model *m, const char *text) { return strstr(m->log, text) != NULL; }

void model_expect(const redis_model *m, ...)
{
    va_list list;
    const char *at = m->log, *next;
    va_start(list, m);
    while ((next = va_arg(list, const char *))) {
        const char *found = strstr(at, next);
        if (!found) {
            print_error("not there, or too early: '%s' in\n%s", next, m->log);
            va_end(list);
            fail();
        }
        at = found + strlen(next);
    }
    va_end(list);
}

uint64_t model_counted(const redis_model *m, enum lk_counter which) { return lk_counted(&m->counters, which); }
