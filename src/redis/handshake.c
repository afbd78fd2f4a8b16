/* See handshake.h. */
#include "redis/handshake.h"

#include "base/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------------ errors -- */

static const struct {
    const char *start;
    int status;
    const char *text;
} errors[] = {
    {"NOAUTH", LATCHKEY_CONFIG, "Redis wants a password (-NOAUTH): put user:password@ in the URL"},
    {"WRONGPASS", LATCHKEY_CONFIG, "Redis refuses the user or password (-WRONGPASS)"},
    {"NOPERM", LATCHKEY_CONFIG, "the Redis user may not do this (-NOPERM): `latchkey doctor` prints the ACL line"},
    {"WRONGTYPE", LATCHKEY_CORRUPT, "a key has the wrong type (-WRONGTYPE): something else writes under our prefix"},
    {"LKCORRUPT", LATCHKEY_CORRUPT, "a session's record in Redis is damaged"},
    {"LKEPOCH", LATCHKEY_CORRUPT,
     "a partition's cut-off (<prefix>:{p}:e) is not a time: something else wrote it. latchkey_revoke_everyone replaces "
     "it, and ends all sessions"},
    {"OOM", LATCHKEY_UNAVAILABLE, "Redis is full (-OOM): raise maxmemory, or see what fills it"},
    {"MISCONF", LATCHKEY_UNAVAILABLE, "Redis cannot write its disk and refuses writes (-MISCONF): see its log"},
    {"READONLY", LATCHKEY_UNAVAILABLE, "the server became a replica (-READONLY)"},
    {"LOADING", LATCHKEY_UNAVAILABLE, "Redis is loading its data set (-LOADING)"},
    {"MASTERDOWN", LATCHKEY_UNAVAILABLE, "the server is a replica without its primary (-MASTERDOWN)"},
    {"NOREPLICAS", LATCHKEY_UNAVAILABLE, "too few replicas (-NOREPLICAS): see min-replicas-to-write"},
    {"BUSY", LATCHKEY_UNAVAILABLE, "Redis is busy running somebody's script (-BUSY)"},
    {"MOVED", LATCHKEY_UNAVAILABLE, "the server became part of a cluster (-MOVED)"},
    {"ASK", LATCHKEY_UNAVAILABLE, "the server became part of a cluster (-ASK)"},
    {"max number of clients", LATCHKEY_UNAVAILABLE,
     "Redis takes no more connections (max number of clients reached): raise maxclients"},
    {"CLUSTERDOWN", LATCHKEY_UNAVAILABLE, "the cluster is down (-CLUSTERDOWN)"},
};

/* 0, or the status of an error that is in the table, and the table's words. */
static int known_error(const lk_reply *reply, char *text, size_t text_size)
{
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        /* An error raised inside a script may come with the script's place in front, depending on the version. */
        const char *at = strstr(reply->text, errors[i].start);
        if (!at || (at != reply->text && at[-1] != ' ' && at[-1] != '-')) continue;
        snprintf(text, text_size, "%s", errors[i].text);
        return errors[i].status;
    }
    return 0;
}

/* A command that the user may not run, or that the server does not know: its name stands behind `start`. The last four are
 * said by our scripts (common.lua). */
static const struct {
    const char *start, *text, *advice;
} refusals[] = {
    {"run the '", "the Redis user lacks the right +",
     " (-NOPERM): `latchkey doctor` prints the ACL line that grants it"},
    {"unknown command '", "Redis does not know the command ", ": it was renamed, or a proxy does not pass it on"},
    {"unknown command `", "Redis does not know the command ", ": it was renamed, or a proxy does not pass it on"},
    {"LKUNKNOWN ", "Redis does not know the command ", ": it was renamed, or a proxy does not pass it on"},
    {"LKNORIGHT ", "the Redis user lacks the right +",
     " (-NOPERM): `latchkey doctor` prints the ACL line that grants it"},
    {"LKNOKEY ", "the Redis user may not use our keys (-NOPERM of ", "): `latchkey doctor` prints the ACL line"},
    {"LKNOCHANNEL ", "the Redis user may not use our channels (-NOPERM of ",
     "): `latchkey doctor` prints the ACL line"},
};

static bool refused_command(const lk_reply *reply, char *text, size_t text_size)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ|_.";
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        char name[33];
        const char *at = strstr(reply->text, refusals[i].start);
        if (!at) continue;
        at += strlen(refusals[i].start);
        size_t length = strspn(at, letters);
        if (!length || length >= sizeof name) continue;
        memcpy(name, at, length);
        name[length] = 0;
        snprintf(text, text_size, "%s%s%s", refusals[i].text, name, refusals[i].advice);
        return true;
    }
    return false;
}

int lk_error_status(const lk_reply *reply, char *text, size_t text_size)
{
    if (refused_command(reply, text, text_size)) return LATCHKEY_CONFIG;
    int status = known_error(reply, text, text_size);
    if (status) return status;
    snprintf(text, text_size, "Redis answers: %.100s", reply->text);
    for (char *c = text; *c; c++)
        if (*c < ' ' || *c > '~') *c = '?';
    return LATCHKEY_UNAVAILABLE;
}

/* ------------------------------------------------------------------------------------------------- hello -- */

enum { AUTH, SELECT, SERVER, REPLICATION };

bool lk_handshake_send(lk_handshake *hello, const lk_config *config, lk_conn *conn)
{
    memset(hello, 0, sizeof *hello);
    char number[24];
    snprintf(number, sizeof number, "%lld", (long long)config->database);
    lk_span auth[3] = {lk_word("AUTH"), lk_word(config->user), lk_word(config->password)};
    lk_span select[2] = {lk_word("SELECT"), lk_word(number)};
    lk_span server[2] = {lk_word("INFO"), lk_word("server")},
            replication[2] = {lk_word("INFO"), lk_word("replication")};
    bool sent = true;
    if (config->has_password && !config->user[0]) {
        auth[1] = auth[2];
        sent = lk_conn_send(conn, LK_HANDSHAKE_TAG + AUTH, auth, 2);
    } else if (config->has_password) sent = lk_conn_send(conn, LK_HANDSHAKE_TAG + AUTH, auth, 3);
    if (sent && config->database) sent = lk_conn_send(conn, LK_HANDSHAKE_TAG + SELECT, select, 2);
    sent = sent && lk_conn_send(conn, LK_HANDSHAKE_TAG + SERVER, server, 2) &&
           lk_conn_send(conn, LK_HANDSHAKE_TAG + REPLICATION, replication, 2);
    hello->answers = 2u + config->has_password + (config->database != 0);
    return sent;
}

static void fail(lk_handshake *hello, int status, const char *text)
{
    if (hello->status) return; /* the first one is the cause of the others */
    hello->status = status;
    snprintf(hello->error, sizeof hello->error, "%s", text);
}

/* The value of "name:value\r\n" in the text of INFO. */
static bool info(const lk_reply *reply, const char *name, char *value, size_t size)
{
    size_t length = strlen(name);
    for (const char *line = reply->text; line && *line; line = strchr(line, '\n')) {
        if (*line == '\n') line++;
        if (strncmp(line, name, length) || line[length] != ':') continue;
        size_t end = strcspn(line + length + 1, "\r\n");
        if (end >= size) end = size - 1;
        memcpy(value, line + length + 1, end);
        value[end] = 0;
        return true;
    }
    return false;
}

static void take_server(lk_handshake *hello, const lk_reply *reply)
{
    char version[32], id[64], mode[32] = "standalone";
    if (reply->type != LK_REPLY_STRING || !info(reply, "redis_version", version, sizeof version) ||
        !info(reply, "run_id", id, sizeof id) || !id[0]) {
        fail(hello, LATCHKEY_CONFIG, "the server does not answer INFO as Redis does");
        return;
    }
    hello->run = lk_hash(id, strlen(id), 0);
    int major = 0, minor = 0;
    if (sscanf(version, "%d.%d", &major, &minor) != 2 || major < 6 || (major == 6 && minor < 2)) {
        char text[128];
        for (char *c = version; *c; c++)
            if (!strchr("0123456789.", *c)) *c = '?';
        snprintf(text, sizeof text, "the server is Redis %s: 6.2 or newer is needed", version);
        fail(hello, LATCHKEY_CONFIG, text);
    }
    info(reply, "redis_mode", mode, sizeof mode);
    if (strcmp(mode, "cluster") == 0)
        fail(hello, LATCHKEY_CONFIG, "the server is part of a Redis Cluster, which this version does not support");
    if (strcmp(mode, "sentinel") == 0)
        fail(hello, LATCHKEY_CONFIG, "the server is a Sentinel: name the Redis primary itself");
}

int lk_info_replication(const lk_reply *reply, uint64_t *replication, char *text, size_t text_size)
{
    char role[32], id[64];
    if (reply->type == LK_REPLY_ERROR) return lk_error_status(reply, text, text_size);
    snprintf(text, text_size, "the server does not answer INFO as Redis does");
    if (reply->type != LK_REPLY_STRING || !info(reply, "role", role, sizeof role)) return LATCHKEY_CONFIG;
    if (strcmp(role, "master")) {
        snprintf(text, text_size, "the server is a replica: it may serve revoked sessions; name its primary");
        return LATCHKEY_CONFIG;
    }
    if (!info(reply, "master_replid", id, sizeof id) || !id[0]) return LATCHKEY_CONFIG;
    *replication = lk_hash(id, strlen(id), 0);
    return LATCHKEY_OK;
}

static void take_replication(lk_handshake *hello, const lk_reply *reply)
{
    char text[160];
    int status = lk_info_replication(reply, &hello->replication, text, sizeof text);
    if (status) fail(hello, status, text);
    uint64_t both[2] = {hello->run, hello->replication};
    hello->incarnation = lk_hash(both, sizeof both, 0) | 1;
}

bool lk_handshake_take(lk_handshake *hello, const lk_reply *reply)
{
    unsigned which = reply->tag - LK_HANDSHAKE_TAG;
    char text[160];
    if (hello->answers) hello->answers--;
    if (which == AUTH && reply->type == LK_REPLY_ERROR) {
        /* Not the server's words: something that is nearly Redis may repeat the password in them. */
        if (known_error(reply, text, sizeof text) == LATCHKEY_UNAVAILABLE) fail(hello, LATCHKEY_UNAVAILABLE, text);
        else
            fail(hello, LATCHKEY_CONFIG,
                 "Redis refuses the user or password (AUTH failed): check the URL or password_file");
    } else if (reply->type == LK_REPLY_ERROR) {
        int status = lk_error_status(reply, text, sizeof text);
        if (which == SELECT && status == LATCHKEY_UNAVAILABLE && strstr(reply->text, "index")) {
            status = LATCHKEY_CONFIG;
            snprintf(text, sizeof text, "the database number is beyond what the server has");
        }
        fail(hello, status, text);
    } else if (which == SERVER) take_server(hello, reply);
    else if (which == REPLICATION) take_replication(hello, reply);
    return hello->status || !hello->answers;
}
