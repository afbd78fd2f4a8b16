/* See handshake.h. */
#include "redis/handshake.h"

#include "base/hash.h"
#include "redis/errors.h"
#include "redis/info.h"

#include <stdio.h>
#include <string.h>

/* -------------------------------------------------------------------------------------------- handshake -- */

enum { AUTH, SELECT, SERVER, REPLICATION, NODE, NAME };

bool lk_handshake_send(lk_handshake *handshake, const lk_config *config, lk_conn *conn)
{
    memset(handshake, 0, sizeof *handshake);
    handshake->named = config->sentinels != 0;
    handshake->cluster = config->cluster;
    char number[24];
    snprintf(number, sizeof number, "%lld", (long long)config->database);
    char password[LK_PASSWORD_SIZE];
    lk_config_password(config, password);
    lk_span auth[3] = {lk_word("AUTH"), lk_word(config->user), lk_word(password)};
    lk_span select[2] = {lk_word("SELECT"), lk_word(number)};
    lk_span server[2] = {lk_word("INFO"), lk_word("server")},
            replication[2] = {lk_word("INFO"), lk_word("replication")};
    const lk_span node[2] = {lk_word("CLUSTER"), lk_word("MYID")};
    const lk_span name[3] = {lk_word("CLIENT"), lk_word("SETNAME"), lk_word(config->name)};
    bool sent = true;
    if (config->has_password && !config->user[0]) {
        auth[1] = auth[2];
        sent = lk_conn_send(conn, LK_HANDSHAKE_TAG + AUTH, auth, 2);
    } else if (config->has_password) sent = lk_conn_send(conn, LK_HANDSHAKE_TAG + AUTH, auth, 3);
    if (sent && config->database) sent = lk_conn_send(conn, LK_HANDSHAKE_TAG + SELECT, select, 2);
    sent = sent && lk_conn_send(conn, LK_HANDSHAKE_TAG + SERVER, server, 2) &&
           lk_conn_send(conn, LK_HANDSHAKE_TAG + REPLICATION, replication, 2);
    if (sent && config->cluster) sent = lk_conn_send(conn, LK_HANDSHAKE_TAG + NODE, node, 2);
    if (sent && config->name[0]) sent = lk_conn_send(conn, LK_HANDSHAKE_TAG + NAME, name, 3);
    handshake->answers = 2u + config->has_password + (config->database != 0) + config->cluster + (config->name[0] != 0);
    return sent;
}

static void fail(lk_handshake *handshake, int status, const char *text)
{
    if (handshake->status) return; /* the first error causes the others */
    handshake->status = status;
    snprintf(handshake->error, sizeof handshake->error, "%s", text);
}

/* Valkey says server_mode, unless it is set to say what Redis does. If the mode is not shown, it may be any. */
static const char *judge_mode(const char *info, bool cluster)
{
    char mode[32];
    if (!lk_info_value(info, "redis_mode", mode, sizeof mode) && !lk_info_value(info, "server_mode", mode, sizeof mode))
        return "the server's INFO shows no redis_mode: it is not Redis, or something in between leaves the field out";
    if (strcmp(mode, "sentinel") == 0)
        return cluster ? "the server is a Sentinel: redis+cluster:// lists nodes of the cluster itself"
                       : "the server is a Sentinel: name the Redis primary itself, or use redis+sentinel://";
    if (strcmp(mode, "cluster") == 0)
        return cluster ? NULL : "the server is part of a Redis Cluster: use redis+cluster:// instead of redis://";
    if (cluster && strcmp(mode, "standalone") == 0)
        return "the server is not part of a Redis Cluster (cluster-enabled no): use redis:// for a server alone";
    if (strcmp(mode, "standalone")) return "the server's INFO shows a redis_mode that is not known: it is not Redis";
    return NULL;
}

static void take_server(lk_handshake *handshake, const lk_reply *reply)
{
    char version[32], id[64], text[128];
    const char *info = reply->type == LK_REPLY_STRING ? reply->text : "";
    int major = 0, minor = 0;
    if (!lk_info_value(info, "redis_version", version, sizeof version)) version[0] = 0;
    if (!lk_info_value(info, "run_id", id, sizeof id)) id[0] = 0;
    if (!version[0] || !id[0]) {
        snprintf(text, sizeof text,
                 "the server's INFO shows no %s: it is not Redis, or something in between leaves the field out",
                 version[0] ? "run_id" : "redis_version");
        fail(handshake, LATCHKEY_CONFIG, text);
        return;
    }
    handshake->run = lk_hash(id, strlen(id), 0);
    bool good = sscanf(version, "%d.%d", &major, &minor) == 2 && (major > 6 || (major == 6 && minor >= 2));
    if (!good || (handshake->cluster && major < 7)) {
        for (char *c = version; *c; c++)
            if (!strchr("0123456789.", *c)) *c = '?';
        snprintf(text, sizeof text, "the server is Redis %s: %s or newer is needed", version,
                 handshake->cluster ? "for a cluster 7.0" : "6.2");
        fail(handshake, LATCHKEY_CONFIG, text);
        return;
    }
    const char *wrong = judge_mode(info, handshake->cluster);
    if (wrong) fail(handshake, LATCHKEY_CONFIG, wrong);
}

static void take_history(lk_handshake *handshake, const lk_reply *reply)
{
    char text[160];
    int status = lk_info_replication(reply, &handshake->replication, text, sizeof text);
    bool replica = status == LATCHKEY_CONFIG && reply->type == LK_REPLY_STRING && strstr(text, "is a replica");
    if (replica && handshake->any_role) return;
    if (replica && handshake->cluster)
        fail(handshake, LATCHKEY_UNAVAILABLE, "the node is a replica now: asking the cluster again");
    else if (replica && handshake->named)
        fail(handshake, LATCHKEY_UNAVAILABLE, "the server that the sentinels name is a replica: asking them again");
    else if (status) fail(handshake, status, text);
    uint64_t both[2] = {handshake->run, handshake->replication};
    handshake->incarnation = lk_hash(both, sizeof both, 0) | 1;
}

bool lk_handshake_take(lk_handshake *handshake, const lk_reply *reply)
{
    unsigned which = reply->tag - LK_HANDSHAKE_TAG;
    char text[160];
    if (handshake->answers) handshake->answers--;
    if (which == NAME)
        return !handshake->answers; /* the last reply: without the right, the connection goes without a name */
    if (which == AUTH && reply->type == LK_REPLY_ERROR) {
        /* The server's words are not shown: a server that is not quite Redis may repeat the password in them. */
        if (lk_known_error(reply, text, sizeof text) == LATCHKEY_UNAVAILABLE)
            fail(handshake, LATCHKEY_UNAVAILABLE, text);
        else
            fail(handshake, LATCHKEY_CONFIG,
                 "Redis refuses the user or password (AUTH failed): check the URL or password_file");
    } else if (reply->type == LK_REPLY_ERROR) {
        int status = lk_error_status(reply, text, sizeof text);
        if (which == SELECT && status == LATCHKEY_UNAVAILABLE && strstr(reply->text, "index")) {
            status = LATCHKEY_CONFIG;
            snprintf(text, sizeof text, "the database number is beyond what the server has");
        }
        fail(handshake, status, text);
    } else if (which == SERVER) take_server(handshake, reply);
    else if (which == REPLICATION) take_history(handshake, reply);
    else if (which == NODE && !lk_node_id_read(&handshake->node, reply))
        fail(handshake, LATCHKEY_CONFIG, "the server's answer to CLUSTER MYID is not one of Redis");
    return handshake->status || !handshake->answers;
}
