/* SPDX-License-Identifier: MIT
 *
 * Looking into a server from outside: INFO, the keys, MONITOR, the files that it writes. */
#include "redis.h"
#include "check.h"

#include <ftw.h>
#include <stdio.h>
#include <string.h>

long long redis_info(redis *server, const char *section, const char *name)
{
    char wanted[128];
    long long value = 0;
    snprintf(wanted, sizeof wanted, "\n%s:", name);
    redisReply *reply = redis_command(server, "INFO %s", section);
    const char *line = reply->str ? strstr(reply->str, wanted) : NULL;
    if (line) value = atoll(line + strlen(wanted));
    freeReplyObject(reply);
    return value;
}

long long redis_calls(redis *server, const char *command)
{
    char wanted[128];
    long long value = 0;
    snprintf(wanted, sizeof wanted, "\ncmdstat_%s:calls=", command);
    redisReply *reply = redis_command(server, "INFO commandstats");
    const char *line = reply->str ? strstr(reply->str, wanted) : NULL;
    if (line) value = atoll(line + strlen(wanted));
    freeReplyObject(reply);
    return value;
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

char **redis_keys(redis *server, const char *pattern, size_t *count)
{
    /* KEYS is fine here: the server is private and holds a handful. */
    redisReply *reply = redis_command(server, "KEYS %s", pattern);
    char **keys = calloc(reply->elements + 1, sizeof *keys);
    assert_non_null(keys);
    for (size_t i = 0; i < reply->elements; i++) keys[i] = strdup(reply->element[i]->str);
    qsort(keys, reply->elements, sizeof *keys, by_text);
    if (count) *count = reply->elements;
    freeReplyObject(reply);
    return keys;
}

void redis_free_keys(char **keys)
{
    for (char **key = keys; key && *key; key++) free(*key);
    free(keys);
}

size_t redis_count_keys(redis *server, const char *pattern)
{
    size_t count;
    redis_free_keys(redis_keys(server, pattern, &count));
    return count;
}

struct redis_watch {
    redis *server;
    redisContext *context;
};

redis_watch *redis_watch_start(redis *server)
{
    redis_watch *watch = calloc(1, sizeof *watch);
    assert_non_null(watch);
    const struct timeval patience = {.tv_sec = CHECK_PATIENCE_MS / 1000};
    watch->server = server;
    watch->context = redisConnectUnixWithTimeout(server->socket, patience);
    if (!watch->context || watch->context->err) fail_msg("cannot watch");
    redisSetTimeout(watch->context, patience);
    if (server->password) freeReplyObject(redisCommand(watch->context, "AUTH %s", server->password));
    redisReply *reply = redisCommand(watch->context, "MONITOR");
    if (!reply || reply->type != REDIS_REPLY_STATUS) fail_msg("MONITOR refused");
    freeReplyObject(reply);
    return watch;
}

char *redis_watch_end(redis_watch *watch, size_t *size)
{
    static const char end[] = "the-watch-ends-here";
    redis_do(watch->server, "ECHO %s", end);
    char *text = NULL;
    size_t used = 0, room = 0;
    for (int ended = 0; !ended;) {
        redisReply *line;
        if (redisGetReply(watch->context, (void **)&line) != REDIS_OK) fail_msg("MONITOR broke off");
        ended = strstr(line->str, end) != NULL;
        if (used + (size_t)line->len + 2 > room) {
            room = 2 * (used + (size_t)line->len + 2);
            text = realloc(text, room);
            assert_non_null(text);
        }
        memcpy(text + used, line->str, (size_t)line->len);
        used += (size_t)line->len;
        text[used++] = '\n';
        freeReplyObject(line);
    }
    text[used] = 0;
    redisFree(watch->context);
    free(watch);
    if (size) *size = used;
    return text;
}

/* nftw passes no argument to its callback. */
static unsigned char *gathered;
static size_t gathered_size;

static int gather(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)where;
    if (type != FTW_F || !S_ISREG(status->st_mode)) return 0;
    FILE *file = fopen(path, "r");
    if (!file) return 0; /* a temporary file that has gone meanwhile */
    gathered = realloc(gathered, gathered_size + (size_t)status->st_size + 1);
    assert_non_null(gathered);
    gathered_size += fread(gathered + gathered_size, 1, (size_t)status->st_size, file);
    fclose(file);
    return 0;
}

unsigned char *redis_files(redis *server, size_t *size)
{
    gathered = NULL;
    gathered_size = 0;
    nftw(server->dir, gather, 16, FTW_PHYS);
    *size = gathered_size;
    return gathered;
}
