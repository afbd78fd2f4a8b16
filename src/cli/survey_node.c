/* What one node says: how far away it is, INFO, and what its partitions hold. */
#include "cli/survey_parts.h"

#include "base/clock.h"
#include "l2/naming.h"
#include "redis/errors.h"
#include "redis/info.h"
#include "redis/keys.h"
#include "redis/server_check.h"

#include <stdio.h>
#include <string.h>

enum { ROUNDS = 3, EACH = 3, AT_ONCE = 64 };

static int64_t number_in(const char *info, const char *name)
{
    char text[32];
    uint64_t number;
    return lk_info_value(info, name, text, sizeof text) && cli_number(text, 0, INT64_MAX, &number) ? (int64_t)number
                                                                                                   : 0;
}

/* The value of name= up to a comma, in a line of INFO. */
static const char *part(char *out, size_t size, const char *line, const char *name)
{
    const char *end = line + strcspn(line, "\r\n"), *at = strstr(line, name);
    *out = 0;
    if (at && at < end) snprintf(out, size, "%.*s", (int)strcspn(at + strlen(name), ",\r\n"), at + strlen(name));
    return out;
}

/* "slave0:ip=10.0.0.2,port=6379,state=online,offset=123,lag=0" */
static void read_replicas(survey_node *n, const char *info)
{
    int64_t offset = number_in(info, "master_repl_offset");
    n->listed = 0;
    for (const char *line = strstr(info, "\nslave"); line && n->listed < SURVEY_REPLICAS;
         line = strstr(line + 1, "\nslave")) {
        survey_replica *r = &n->replica[n->listed];
        char text[32];
        lk_host host = {.name = ""};
        uint64_t number;
        if (line[6] < '0' || line[6] > '9') continue;
        line++;
        part(host.name, sizeof host.name, line, "ip=");
        part(host.port, sizeof host.port, line, "port=");
        part(r->state, sizeof r->state, line, "state=");
        lk_host_text(&host, r->at, sizeof r->at);
        r->host = host;
        r->behind = cli_number(part(text, sizeof text, line, ",offset="), 0, INT64_MAX, &number)
                        ? offset - (int64_t)number
                        : -1;
        if (r->behind < 0) r->behind = 0;
        r->lag_s = cli_number(part(text, sizeof text, line, ",lag="), 0, INT64_MAX, &number) ? (int64_t)number : -1;
        n->listed++;
    }
}

static void judge_settings(const survey *s, survey_node *n, const char *info)
{
    lk_finding findings[LK_FINDINGS_MAX];
    lk_server_check settings = {.info = info,
                                .durability = s->config.durability,
                                .staleness_ms = s->config.staleness_ms,
                                .sentinels = s->config.sentinels || s->config.cluster};
    size_t count = lk_server_check_check(&settings, findings);
    n->errors = n->warnings = n->notices = 0;
    for (size_t i = 0; i < count; i++) {
        n->errors += findings[i].level == LATCHKEY_LOG_ERROR;
        n->warnings += findings[i].level == LATCHKEY_LOG_WARNING;
        n->notices += findings[i].level == LATCHKEY_LOG_NOTICE;
    }
}

bool survey_is_outage(const lk_reply *reply, char *why, size_t size)
{
    bool away =
        !strncmp(reply->text, "MOVED", 5) || !strncmp(reply->text, "ASK", 3) || !strncmp(reply->text, "TRYAGAIN", 8);
    return reply->type == LK_REPLY_ERROR && lk_error_status(reply, why, size) == LATCHKEY_UNAVAILABLE && !away;
}

bool survey_refuses_writes(query *p, const char *prefix, unsigned partition, char *why, size_t size)
{
    char key[LK_KEY_SIZE];
    lk_key_partition(key, prefix, partition, "!");
    lk_reply *reply = QUERY(p, "ZADD", key, "XX", "0", "-");
    bool refuses = reply && reply->type == LK_REPLY_ERROR && survey_is_outage(reply, why, size);
    lk_reply_free(reply);
    return refuses;
}

static bool failed(survey_node *n, const char *why)
{
    n->answers = false;
    snprintf(n->why, sizeof n->why, "%.*s", (int)sizeof n->why - 1, why);
    return false;
}

/* A right that is missing is noted. A key of another type, and a slot that is on its way to another node, are no failures. */
static void take_error(survey_node *n, const lk_reply *reply)
{
    char text[200];
    if (survey_is_outage(reply, text, sizeof text)) failed(n, text);
    else if (lk_error_status(reply, text, sizeof text) == LATCHKEY_CONFIG)
        snprintf(n->refused, sizeof n->refused, "%s", text);
}

/* The reply, which the caller frees; NULL: no answer, or an error. */
static lk_reply *put_question(survey_node *n, query *p, const char *const *words)
{
    lk_span spans[4];
    lk_reply *reply;
    size_t count = 0;
    for (; words[count] && count < 4; count++) spans[count] = lk_word(words[count]);
    if (query_ask(p, &(lk_call){spans, count}, 1, &reply, n->why, sizeof n->why)) {
        n->answers = false;
        return NULL;
    }
    if (reply->type != LK_REPLY_ERROR) return reply;
    take_error(n, reply);
    lk_reply_free(reply);
    return NULL;
}
#define ASK(n, p, ...) put_question(n, p, (const char *const[]){__VA_ARGS__, NULL})

static void measure_round(survey_node *n, query *p)
{
    for (int i = 0; i < ROUNDS && n->answers; i++) {
        int64_t began_us = lk_now_us();
        lk_reply_free(ASK(n, p, "TIME"));
        double ms = (double)(lk_now_us() - began_us) / 1000;
        if (!i || ms < n->away_ms) n->away_ms = ms;
    }
}

static void read_info(const survey *s, survey_node *n, query *p)
{
    lk_reply *reply = ASK(n, p, "INFO", "default");
    if (!reply) return;
    const char *info = reply->type == LK_REPLY_STRING ? reply->text : "";
    lk_info_value(info, "redis_version", n->version, sizeof n->version);
    lk_info_value(info, "used_memory_human", n->memory, sizeof n->memory);
    lk_info_value(info, "maxmemory_human", n->limit, sizeof n->limit);
    lk_info_value(info, "aof_enabled", n->aof, sizeof n->aof);
    lk_info_value(info, "uptime_in_seconds", n->uptime, sizeof n->uptime);
    if (number_in(info, "loading")) failed(n, "Redis is loading its data set (-LOADING)");
    n->replicas = (unsigned)number_in(info, "connected_slaves");
    int64_t commands = number_in(info, "total_commands_processed"), now_ms = lk_now_ms();
    if (n->taken_ms && commands >= n->commands && now_ms > n->taken_ms)
        n->commands_per_s = (double)(commands - n->commands) * 1000 / (double)(now_ms - n->taken_ms);
    n->commands = commands;
    n->taken_ms = now_ms;
    read_replicas(n, info);
    judge_settings(s, n, info);
    lk_reply_free(reply);
}

/* -------------------------------------------------------------------------------------------- what partitions hold -- */

static uint64_t number_of(const lk_reply *reply)
{
    uint64_t number;
    if (reply->type == LK_REPLY_INTEGER) return reply->integer > 0 ? (uint64_t)reply->integer : 0;
    return reply->type == LK_REPLY_STRING && cli_number(reply->text, 0, INT64_MAX / 4096, &number) ? number : 0;
}

/* It counts as 0 if it is missing or something else is there; a missing right is no 0. */
static void add_number(survey_node *n, const lk_reply *reply, uint64_t *sum)
{
    *sum += number_of(reply);
    if (reply->type == LK_REPLY_ERROR) take_error(n, reply);
}

static bool read_partitions(const survey *s, survey_node *n, query *p, const unsigned *partition, size_t count)
{
    static const char *const what[EACH][3] = {{"ZCARD", "a", NULL}, {"HGET", "m", "peak"}, {"GET", "q", NULL}};
    uint64_t *sum[EACH] = {&n->sessions, &n->peak, &n->revocations};
    char key[EACH * AT_ONCE][LK_KEY_SIZE];
    lk_span words[EACH * AT_ONCE][3];
    lk_call calls[EACH * AT_ONCE] = {0};
    lk_reply *replies[EACH * AT_ONCE];
    for (size_t i = 0; i < EACH * count; i++) {
        const char *const *w = what[i % EACH];
        lk_key_partition(key[i], s->config.prefix, partition[i / EACH], w[1]);
        words[i][0] = lk_word(w[0]);
        words[i][1] = lk_word(key[i]);
        if (w[2]) words[i][2] = lk_word(w[2]);
        calls[i] = (lk_call){words[i], w[2] ? 3 : 2};
    }
    if (query_ask(p, calls, EACH * count, replies, n->why, sizeof n->why)) {
        n->answers = false;
        return false;
    }
    for (size_t i = 0; i < EACH * count; i++) {
        add_number(n, replies[i], sum[i % EACH]);
        lk_reply_free(replies[i]);
    }
    return true;
}

static void read_own_partitions(const survey *s, survey_node *n, query *p, unsigned node)
{
    unsigned some[AT_ONCE];
    size_t count = 0;
    n->sessions = n->peak = n->revocations = 0;
    for (unsigned partition = 0; n->answers && partition < s->partitions; partition++) {
        if (survey_owner(s, partition) == node) some[count++] = partition;
        if (count < AT_ONCE && partition + 1 < s->partitions) continue;
        if (count && !read_partitions(s, n, p, some, count)) return;
        count = 0;
    }
}

/* Without counting: does it serve what it has? INFO and TIME are answered by a node that does not. */
static void probe(const survey *s, survey_node *n, query *p, unsigned node)
{
    char key[LK_KEY_SIZE];
    unsigned partition = 0;
    while (partition < s->partitions && survey_owner(s, partition) != node) partition++;
    if (partition == s->partitions) return;
    lk_key_partition(key, s->config.prefix, partition, "q");
    lk_reply_free(ASK(n, p, "GET", key));
}

void survey_read_count(survey *s)
{
    char key[LK_KEY_SIZE];
    unsigned at = survey_owner(s, 0);
    uint64_t number = (uint64_t)s->config.partitions;
    lk_key_partition(key, s->config.prefix, 0, "m");
    query *p = at < s->count ? s->nodes->node[at] : NULL;
    survey_node *n = &s->node[at < s->count ? at : 0];
    lk_reply *reply = p ? ASK(n, p, "HGET", key, "partitions") : NULL;
    if (reply) number = number_of(reply);
    else if (p && *n->refused) number = 0;
    s->partitions = number > LK_PARTITIONS_MAX ? 0 : number; /* more: it is not the library's */
    lk_reply_free(reply);
}

void survey_ask_node(survey *s, unsigned i, bool sessions)
{
    survey_node *n = &s->node[i];
    query *p = s->nodes->node[i];
    if (!n->answers) return;
    measure_round(n, p);
    if (n->answers) read_info(s, n, p);
    if (n->answers && sessions) read_own_partitions(s, n, p, i);
    else if (n->answers) probe(s, n, p, i);
}

void survey_json_replicas(json *j, const survey_node *n)
{
    json_open(j, "replica_list", '[');
    for (unsigned i = 0; n->answers && i < n->listed; i++) {
        const survey_replica *r = &n->replica[i];
        json_open(j, NULL, '{');
        json_text(j, "node", r->at);
        json_text(j, "state", r->state);
        json_int(j, "behind_bytes", r->behind);
        json_int(j, "lag_s", r->lag_s);
        json_close(j, '}');
    }
    json_close(j, ']');
}
