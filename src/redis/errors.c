/* See errors.h. */
#include "redis/errors.h"

#include "base/letters.h"
#include "redis/resp.h"
#include "redis/script.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NO_KEYS "the Redis user may not use our keys, ~<prefix>:{*}:* (-NOPERM): `latchkey doctor` prints the ACL line"
#define NO_CHANNELS                                                                                                    \
    "the Redis user may not use our channels, &<prefix>:* (-NOPERM): `latchkey doctor` prints the ACL line"

static const struct {
    const char *start;
    int status;
    const char *text;
} errors[] = {
    {"NOAUTH", LATCHKEY_CONFIG, "Redis wants a password (-NOAUTH): put user:password@ in the URL"},
    {"WRONGPASS", LATCHKEY_CONFIG, "Redis refuses the user or password (-WRONGPASS)"},
    /* of NOPERM; in the words of Redis 7.0 and of 7.2 */
    {"one of the keys used", LATCHKEY_CONFIG, NO_KEYS},
    {"access a key", LATCHKEY_CONFIG, NO_KEYS},
    {"one of the channels used", LATCHKEY_CONFIG, NO_CHANNELS},
    {"access a channel", LATCHKEY_CONFIG, NO_CHANNELS},
    {"NOPERM", LATCHKEY_CONFIG, "the Redis user may not do this (-NOPERM): `latchkey doctor` prints the ACL line"},
    {"WRONGTYPE", LATCHKEY_CORRUPT, "a key has the wrong type (-WRONGTYPE): something else writes under our prefix"},
    {"LKCORRUPT", LATCHKEY_CORRUPT, "a session's record in Redis is damaged"},
    {LK_RESP_TOO_LARGE, LATCHKEY_CORRUPT,
     "a key holds more than any of ours can (24 MiB, 8,192 values): another program wrote to it. If it is a session's, "
     "latchkey_revoke_selector ends it"},
    {"LKEPOCH", LATCHKEY_CORRUPT,
     "a partition's cut-off (<prefix>:{p}:e) is not a time: something else wrote it. latchkey_revoke_everyone replaces "
     "it, and ends all sessions"},
    {"OOM", LATCHKEY_UNAVAILABLE, "Redis is full (-OOM): raise maxmemory, or see what fills it"},
    {"MISCONF", LATCHKEY_UNAVAILABLE, "Redis cannot write its disk and refuses writes (-MISCONF): see its log"},
    {"READONLY", LATCHKEY_UNAVAILABLE, "the server became a replica (-READONLY)"},
    {"LOADING", LATCHKEY_UNAVAILABLE, "Redis is loading its data set (-LOADING)"},
    {"MASTERDOWN", LATCHKEY_UNAVAILABLE, "the server is a replica without its primary (-MASTERDOWN)"},
    {"NOREPLICAS", LATCHKEY_UNAVAILABLE, "too few replicas (-NOREPLICAS): see min-replicas-to-write"},
    {"BUSY", LATCHKEY_UNAVAILABLE, "Redis is busy running a script (-BUSY): see SCRIPT KILL"},
    {"MOVED", LATCHKEY_UNAVAILABLE, "the server is part of a cluster, and another node has the slot (-MOVED)"},
    {"ASK", LATCHKEY_UNAVAILABLE, "the slot is being moved to another node of the cluster (-ASK)"},
    {"TRYAGAIN", LATCHKEY_UNAVAILABLE, "the slot is being moved to another node of the cluster (-TRYAGAIN)"},
    {"CROSSSLOT", LATCHKEY_UNAVAILABLE,
     "the server is part of a cluster, and takes no keys of several slots in one command (-CROSSSLOT)"},
    {"max number of clients", LATCHKEY_UNAVAILABLE,
     "Redis takes no more connections (max number of clients reached): raise maxclients"},
    {"DENIED", LATCHKEY_UNAVAILABLE,
     "Redis is in protected mode (-DENIED): give it a password, or set protected-mode no"},
    {"CLUSTERDOWN", LATCHKEY_UNAVAILABLE,
     "the cluster is down (-CLUSTERDOWN): some of its slots have no primary; see CLUSTER INFO"},
};

/* Depending on its version, Redis puts the script's place in front of an error that was raised inside a script. */
static bool names_error(const lk_reply *reply, const char *start)
{
    const char *at = strstr(reply->text, start);
    return at && (at == reply->text || at[-1] == ' ' || at[-1] == '-');
}

int lk_known_error(const lk_reply *reply, char *text, size_t text_size)
{
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        if (!names_error(reply, errors[i].start)) continue;
        snprintf(text, text_size, "%s", errors[i].text);
        return errors[i].status;
    }
    return 0;
}

/* A command that the user may not run, or that the server does not know: its name is behind `start`. Our scripts raise
 * the last four (common.lua). */
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

/* Before 7.2, Redis does not name a command that a script may not run, or that it does not know. It says in what line
 * of what script the command is: "... script: <SHA-1>, on @user_script:<line>." There it is found: redis.call's is the
 * only one in its line (scripts.cmake). Empty: that is no such refusal. */
static void refused_in_script(const char *said, char *out, size_t size)
{
    static const char place[] = "@user_script:", call[] = "call('";
    const char *at = NULL, *line = NULL, *start;
    bool unknown = strstr(said, "Unknown") != NULL;
    *out = 0;
    if (!unknown && !strstr(said, "user executing the script")) return;
    for (const char *next = said; (next = strstr(next, place)); next += sizeof place - 1) at = next + sizeof place - 1;
    for (size_t i = 0; i < LK_SCRIPT_COUNT && at && !line; i++)
        if (strstr(said, lk_scripts[i].sha)) line = lk_scripts[i].text;
    for (long number = at ? strtol(at, NULL, 10) : 1; number > 1 && line; number--) {
        line = strchr(line, '\n');
        line += line != NULL;
    }
    start = line ? strstr(line, call) : NULL;
    if (!start || start > line + strcspn(line, "\n")) return;
    start += sizeof call - 1;
    const char *what = unknown                  ? "LKUNKNOWN"
                       : strstr(said, " keys")  ? "LKNOKEY"
                       : strstr(said, " chann") ? "LKNOCHANNEL"
                                                : "LKNORIGHT";
    size_t length = (size_t)snprintf(out, size, "%s %.*s", what, (int)strcspn(start, "'"), start);
    for (size_t i = strlen(what); i < length && i < size; i++) out[i] = lk_small_letter(out[i]);
}

static bool refused_command(const char *said, char *text, size_t text_size)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ|_.";
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        char name[33];
        const char *at = strstr(said, refusals[i].start);
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

bool lk_error_is_elsewhere(const lk_reply *reply)
{
    static const char *const starts[] = {"MOVED ", "ASK ", "TRYAGAIN ", "CLUSTERDOWN ", "READONLY ", "MASTERDOWN "};
    for (size_t i = 0; reply->type == LK_REPLY_ERROR && i < sizeof starts / sizeof *starts; i++)
        if (names_error(reply, starts[i])) return true;
    return false;
}

bool lk_error_is_ask(const lk_reply *reply) { return reply->type == LK_REPLY_ERROR && names_error(reply, "ASK "); }

int lk_error_status(const lk_reply *reply, char *text, size_t text_size)
{
    char refusal[64];
    if (refused_command(reply->text, text, text_size)) return LATCHKEY_CONFIG;
    refused_in_script(reply->text, refusal, sizeof refusal);
    if (refused_command(refusal, text, text_size)) return LATCHKEY_CONFIG;
    int status = lk_known_error(reply, text, text_size);
    if (status) return status;
    snprintf(text, text_size, "Redis answers: %.100s", reply->text);
    for (char *c = text; *c; c++)
        if (*c < ' ' || *c > '~') *c = '?';
    return LATCHKEY_UNAVAILABLE;
}
