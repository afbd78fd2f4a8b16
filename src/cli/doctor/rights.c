/* Whether the application's user may do all that its line of src/redis/acl.txt grants, and nothing harmful beyond that.
 *
 * ACL GETUSER is not allowed to everyone, so each right is tried. Redis checks rights before it runs a command, and
 * each of these commands does nothing when it runs: it is about a key that does not exist, or it has words that the
 * command does not accept, or it writes what Redis holds already. (K is a key that does not exist. M is the key of the
 * number of partitions, a hash that exists.) */
#include "cli/doctor/doctor.h"

#include "redis/keys.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

static const struct probe {
    const char *right, *words[6];
} probes[] = {
    {"select", {"SELECT", "D"}},
    {"info", {"INFO", "server"}},
    {"publish", {"PUBLISH", "K", ""}},
    {"time", {"TIME"}},
    {"get", {"GET", "K"}},
    {"mget", {"MGET", "K"}},
    {"hsetnx", {"HSETNX", "M", "partitions", "P"}},
    {"hget", {"HGET", "K", "x"}},
    {"hmget", {"HMGET", "K", "x"}},
    {"hgetall", {"HGETALL", "K"}},
    {"hset", {"HSET", "K", "x", "x", "no value"}},
    {"hdel", {"HDEL", "K", "x"}},
    {"hlen", {"HLEN", "K"}},
    {"hexists", {"HEXISTS", "K", "x"}},
    {"hincrby", {"HINCRBY", "K", "x", "no number"}},
    {"hkeys", {"HKEYS", "K"}},
    {"hstrlen", {"HSTRLEN", "K", "x"}},
    {"pttl", {"PTTL", "K"}},
    {"pexpire", {"PEXPIRE", "K", "1"}},
    {"pexpireat", {"PEXPIREAT", "K", "1"}},
    {"persist", {"PERSIST", "K"}},
    {"exists", {"EXISTS", "K"}},
    {"type", {"TYPE", "K"}},
    {"del", {"DEL", "K"}},
    {"unlink", {"UNLINK", "K"}},
    {"incr", {"INCR", "M"}},
    {"incrby", {"INCRBY", "K", "no number"}},
    {"set", {"SET", "K", "x", "no option"}},
    {"strlen", {"STRLEN", "K"}},
    {"getrange", {"GETRANGE", "K", "0", "1"}},
    {"setrange", {"SETRANGE", "K", "no number", "x"}},
    {"append", {"APPEND", "M", "x"}},
    {"sadd", {"SADD", "M", "x"}},
    {"srem", {"SREM", "K", "x"}},
    {"smembers", {"SMEMBERS", "K"}},
    {"xadd", {"XADD", "K", "no id", "x", "x"}},
    {"xrange", {"XRANGE", "K", "-", "+"}},
    {"xlen", {"XLEN", "K"}},
    {"xrevrange", {"XREVRANGE", "K", "+", "-"}},
    {"zadd", {"ZADD", "K", "no score", "x"}},
    {"zrem", {"ZREM", "K", "x"}},
    {"zcard", {"ZCARD", "K"}},
    {"zcount", {"ZCOUNT", "K", "0", "1"}},
    {"zrange", {"ZRANGE", "K", "0", "1"}},
    {"zrandmember", {"ZRANDMEMBER", "K"}},
    {"zrangebyscore", {"ZRANGEBYSCORE", "K", "0", "1"}},
    {"zremrangebyscore", {"ZREMRANGEBYSCORE", "K", "0", "1"}},
    {"zremrangebyrank", {"ZREMRANGEBYRANK", "K", "0", "1"}},
    {"zrevrange", {"ZREVRANGE", "K", "0", "1"}},
    {"zrevrangebyscore", {"ZREVRANGEBYSCORE", "K", "1", "0"}},
    {"zscore", {"ZSCORE", "K", "x"}},
    {"zmscore", {"ZMSCORE", "K", "x"}},
    {"rename", {"RENAME", "K", "K"}},
    {"evalsha", {"EVALSHA", "0000000000000000000000000000000000000000", "0"}},
    {"eval", {"EVAL", "return 0", "0"}},
    {"wait", {"WAIT", "0", "1"}},
    {"scan", {"SCAN", "0", "COUNT", "1"}},
    {"ping", {"PING"}},
    {"spublish", {"SPUBLISH", "K", ""}},
    {"cluster|slots", {"CLUSTER", "SLOTS"}},
    {"cluster|myid", {"CLUSTER", "MYID"}},
};

/* What only some configurations need. */
static const struct {
    const char *right;
    bool cluster; /* else: with durability */
} extra[] = {
    {"wait", false}, {"ssubscribe", true}, {"spublish", true}, {"cluster|slots", true}, {"cluster|myid", true}};

static const char *needed_extra(const lk_config *config, size_t i)
{
    bool needed = extra[i].cluster ? config->cluster : config->durability != 0;
    return needed ? extra[i].right : NULL;
}

/* Commands that no one needs, and that can do much harm. */
static const struct probe harmful[] = {
    {"FLUSHALL", {"FLUSHALL", "no option"}},
    {"FLUSHDB", {"FLUSHDB", "no option"}},
    {"SWAPDB", {"SWAPDB", "no", "number"}},
    {"SCRIPT FLUSH", {"SCRIPT", "FLUSH", "no option"}},
    {"CONFIG", {"CONFIG", "GET", "maxmemory"}},
    {"ACL", {"ACL", "WHOAMI"}},

    {"foreign keys", {"GET", "F"}},
};

typedef struct names {
    char key[LK_KEY_SIZE + 8], meta[LK_KEY_SIZE], partitions[24], database[24], foreign[64];
    bool recorded; /* does M exist? */
} names;

static lk_reply *try(query *p, const names *n, const struct probe *probe)
{
    const char *words[8] = {NULL};
    for (size_t i = 0; i < 6 && probe->words[i]; i++) {
        const char *w = probe->words[i];
        words[i] = strcmp(w, "K") == 0   ? n->key
                   : strcmp(w, "M") == 0 ? n->meta
                   : strcmp(w, "P") == 0 ? n->partitions
                   : strcmp(w, "D") == 0 ? n->database
                   : strcmp(w, "F") == 0 ? n->foreign
                                         : w;
    }
    return query_say(p, words);
}

enum verdict { MAY, MAY_NOT, NOT_THESE_KEYS, UNKNOWN };

static enum verdict verdict_of(const lk_reply *reply)
{
    if (!reply) return UNKNOWN;
    if (reply->type != LK_REPLY_ERROR) return MAY;
    if (strncmp(reply->text, "ERR unknown command", 19) == 0) return MAY_NOT; /* it was renamed */
    if (strncmp(reply->text, "NOPERM", 6)) return MAY;
    return strstr(reply->text, "run the") ? MAY_NOT : NOT_THESE_KEYS;
}

/* On a connection of its own: after SUBSCRIBE, a connection takes no other commands. */
static enum verdict judge_subscribe(const doctor *d, const names *n, const char *command)
{
    query own;
    char error[160];
    enum verdict verdict = UNKNOWN;
    if (!query_open(d->c->config, QUERY_OF_THE_URL, 0, &own, error, sizeof error)) {
        lk_reply *reply = QUERY(&own, command, n->key);
        verdict = verdict_of(reply);
        lk_reply_free(reply);
    }
    query_close(&own);
    return verdict;
}

static enum verdict judge_right(const doctor *d, const names *n, const char *right)
{
    if (strcmp(right, "subscribe") == 0 || strcmp(right, "ssubscribe") == 0) return judge_subscribe(d, n, right);
    for (size_t i = 0; i < sizeof probes / sizeof *probes; i++) {
        if (strcmp(probes[i].right, right)) continue;
        bool about_meta = strcmp(probes[i].words[1] ? probes[i].words[1] : "", "M") == 0;
        if (about_meta && !n->recorded) return MAY; /* so far as can be seen: the command would create it */
        lk_reply *reply = try(d->app, n, &probes[i]);
        enum verdict verdict = verdict_of(reply);
        lk_reply_free(reply);
        return verdict;
    }
    return UNKNOWN;
}

static void append_word(char *list, size_t size, const char *separator, const char *name)
{
    size_t used = strlen(list);
    snprintf(list + used, size - used, "%s%s", used ? separator : "", name);
}

/* The ACL line that grants what is needed, and nothing else. */
static void grant(finding *f, const doctor *d)
{
    const lk_config *config = &d->app->config;
    char rights[700] = "", user[160];
    bool own = config->user[0] && strcmp(config->user, "default"); /* else a user has to be made */
    for (size_t i = 0; doctor_rights_needed[i]; i++) append_word(rights, sizeof rights, " +", doctor_rights_needed[i]);
    for (size_t i = 0; i < sizeof extra / sizeof *extra; i++)
        if (needed_extra(config, i)) append_word(rights, sizeof rights, " +", extra[i].right);
    doctor_fix(f, "ACL SETUSER %s resetchannels resetkeys -@all ~%s:{*}:* &%s:* +%s",
               own ? cli_text(user, sizeof user, config->user, strlen(config->user)) : "app on >PASSWORD",
               config->prefix, config->prefix, rights);
}

typedef struct lacking {
    char commands[400], keys[400];
} lacking;

static void look_at_right(doctor *d, const names *n, const char *right, lacking *l)
{
    switch (judge_right(d, n, right)) {
    case MAY: return;
    case MAY_NOT: append_word(l->commands, sizeof l->commands, ", ", right); return;
    case NOT_THESE_KEYS: append_word(l->keys, sizeof l->keys, ", ", right); return;
    case UNKNOWN: doctor_unseen(d, right); return;
    }
}

static void look_at_missing(doctor *d, const names *n)
{
    lacking l = {"", ""};
    for (size_t i = 0; doctor_rights_needed[i]; i++) look_at_right(d, n, doctor_rights_needed[i], &l);
    for (size_t i = 0; i < sizeof extra / sizeof *extra; i++)
        if (needed_extra(&d->app->config, i)) look_at_right(d, n, extra[i].right, &l);
    if (l.commands[0])
        grant(
            doctor_find(d, LATCHKEY_LOG_ERROR, "acl-missing", "A C",
                        "the application's user may not run: %s. What needs them answers UNAVAILABLE, or nothing opens",
                        l.commands),
            d);
    if (l.keys[0])
        grant(
            doctor_find(d, LATCHKEY_LOG_ERROR, "acl-keys", "A C",
                        "the application's user may run these, but not on the keys or channels of the prefix '%s': %s",
                        d->app->config.prefix, l.keys),
            d);
}

static void look_at_excess(doctor *d, const names *n)
{
    char excess[300] = "";
    for (size_t i = 0; i < sizeof harmful / sizeof *harmful; i++) {
        lk_reply *reply = try(d->app, n, &harmful[i]);
        if (verdict_of(reply) == MAY) append_word(excess, sizeof excess, ", ", harmful[i].right);
        lk_reply_free(reply);
    }
    if (excess[0])
        grant(doctor_find(d, LATCHKEY_LOG_WARNING, "acl-excess", "A C",
                          "the application's user may use what it does not need: %s. An attacker who has its password, "
                          "or controls the application, can end every session, or put revoked ones back",
                          excess),
              d);
}

void doctor_rights(doctor *d)
{
    names n = {0};
    const lk_config *config = &d->app->config;
    lk_key_partition(n.key, config->prefix, 0, "doc");
    lk_key_partition(n.meta, config->prefix, 0, "m");
    snprintf(n.partitions, sizeof n.partitions, "%" PRId64, config->partitions);
    snprintf(n.database, sizeof n.database, "%" PRId64, config->database);
    snprintf(n.foreign, sizeof n.foreign, "-%s-doctor", config->prefix);
    /* Asked as the application's user: the probes would write in the same database. */
    lk_reply *reply = QUERY(d->app, "HGET", n.meta, "partitions");
    n.recorded = reply && reply->type == LK_REPLY_STRING;
    lk_reply_free(reply);
    look_at_missing(d, &n);
    look_at_excess(d, &n);
}
