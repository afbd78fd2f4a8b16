/* SPDX-License-Identifier: MIT */
#include "setup.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

int setup_primaries(const setup *s) { return s->primaries ? s->primaries : 1; }

void setup_connect(setup *s, const char *ports)
{
    size_t used = (size_t)snprintf(s->url, sizeof s->url, s->primaries ? "redis+cluster://" : "redis://");
    for (const char *at = ports; *at;) {
        char *end;
        int port = (int)strtol(at, &end, 10);
        if (end == at || s->nodes == NODES_MAX) bench_die("'%s' is no list of ports", ports);
        redisContext *redis = redisConnect("127.0.0.1", port);
        if (!redis || redis->err) bench_die("no server at port %d", port);
        if (s->nodes < setup_primaries(s))
            used += (size_t)snprintf(s->url + used, sizeof s->url - used, "%s127.0.0.1:%d", s->nodes ? "," : "", port);
        s->node[s->nodes++] = redis;
        at = *end ? end + 1 : end;
    }
    if (s->nodes < setup_primaries(s)) bench_die("%s: too few ports", s->name);
}

latchkey *setup_open(const setup *s, const char *options)
{
    char config[1024], error[256];
    latchkey *lk;
    snprintf(config, sizeof config, "%s?deadline_ms=10000&%s", s->url, options);
    if (latchkey_open(config, &lk, error, sizeof error)) bench_die("latchkey_open: %s", error);
    return lk;
}

/* ---------------------------------------------------------------------------------------------------- counting -- */

static redisReply *ask(redisContext *redis, const char *command)
{
    redisReply *reply = redisCommand(redis, command);
    if (!reply || reply->type == REDIS_REPLY_ERROR) bench_die("%s: %s", command, reply ? reply->str : redis->errstr);
    return reply;
}

static double number(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    return at ? strtod(at + strlen(name), NULL) : 0;
}

static void count_commands(redisContext *redis, counted *sum)
{
    redisReply *reply = ask(redis, "INFO commandstats");
    for (const char *at = reply->str; (at = strstr(at, "cmdstat_")); at++) {
        char name[64];
        double calls;
        if (sscanf(at, "cmdstat_%63[^:]:calls=%lf", name, &calls) != 2) continue;
        /* This program's, and the replicas'. The library's beats ask for INFO, too. */
        if (!strncmp(name, "cluster", 7) || !strcmp(name, "replconf")) continue;
        sum->commands += calls;
    }
    freeReplyObject(reply);
}

static void count_bus(redisContext *redis, counted *sum)
{
    redisReply *reply = ask(redis, "CLUSTER INFO");
    sum->bus += number(reply->str, "cluster_stats_messages_sent:");
    sum->published += number(reply->str, "cluster_stats_messages_publishshard_sent:");
    sum->published += number(reply->str, "cluster_stats_messages_publish_sent:");
    freeReplyObject(reply);
}

counted setup_count(setup *s)
{
    counted sum = {0};
    for (int i = 0; i < s->nodes; i++) {
        if (s->primaries) count_bus(s->node[i], &sum);
        if (i >= setup_primaries(s)) continue;
        count_commands(s->node[i], &sum);
        redisReply *reply = ask(s->node[i], "INFO");
        sum.cpu_us += 1e6 * number(reply->str, "used_cpu_sys_main_thread:");
        sum.cpu_us += 1e6 * number(reply->str, "used_cpu_user_main_thread:");
        sum.memory_bytes += number(reply->str, "used_memory:");
        sum.clients += number(reply->str, "connected_clients:");
        freeReplyObject(reply);
    }
    return sum;
}

counted setup_since(setup *s, const counted *before)
{
    counted now = setup_count(s);
    return (counted){
        now.commands - before->commands, now.cpu_us - before->cpu_us, now.memory_bytes - before->memory_bytes,
        now.clients - before->clients,   now.bus - before->bus,       now.published - before->published};
}
