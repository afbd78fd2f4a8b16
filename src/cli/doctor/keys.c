/* The keys under the prefix. SCAN reads them in pieces, up to a limit, so that Redis serves others meanwhile. And the
 * files that the configuration names. */
#include "cli/doctor/doctor.h"

#include "redis/keys.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct key_counts {
    uint64_t looked_at, eternal, foreign, beyond;
    char an_eternal[100], a_foreign[100];
} key_counts;

/* The part behind "prefix:{p}:"; NULL: the key does not begin so. */
static const char *part_of(const doctor *d, const char *key, unsigned long *partition)
{
    size_t length = strlen(d->app->config.prefix);
    char *end;
    if (strncmp(key, d->app->config.prefix, length) || strncmp(key + length, ":{", 2)) return NULL;
    key += length + 2;
    if (*key < '0' || *key > '9') return NULL;
    *partition = strtoul(key, &end, 10);
    return strncmp(end, "}:", 2) ? NULL : end + 2;
}

/* Is this a name that the library makes (keys.h, src/redis/lua/)? Some have one letter, the others a letter and more. */
static bool is_ours(const char *part)
{
    if (!part || !*part) return false;
    if (!part[1]) return strchr("aqrmew", *part) != NULL;
    return part[1] == ':' && part[2] && strchr("sugfin", *part) != NULL;
}

static bool must_expire(const char *part) { return strchr("sugfina", *part) != NULL; }

static void look_at_key(const doctor *d, key_counts *s, const lk_reply *key, int64_t pttl)
{
    unsigned long partition = 0;
    const char *part = part_of(d, key->text, &partition);
    bool ours = is_ours(part);
    s->looked_at++;
    if (!ours && !s->foreign++) cli_text(s->a_foreign, sizeof s->a_foreign, key->text, key->size);
    if (ours && partition >= (unsigned long)d->app->config.partitions) s->beyond++;
    if (ours && must_expire(part) && pttl == -1 && !s->eternal++)
        cli_text(s->an_eternal, sizeof s->an_eternal, key->text, key->size);
}

/* The keys of one SCAN, with their PTTLs in one round trip. */
static bool look_at_page(const doctor *d, key_counts *s, const lk_reply *keys)
{
    enum { AT_ONCE = 256 };
    lk_span words[AT_ONCE][2];
    lk_call calls[AT_ONCE];
    lk_reply *replies[AT_ONCE];
    char error[160];
    for (size_t from = 0; from < keys->count; from += AT_ONCE) {
        size_t count = keys->count - from < AT_ONCE ? keys->count - from : AT_ONCE;
        for (size_t i = 0; i < count; i++) {
            words[i][0] = lk_word("PTTL");
            words[i][1] = (lk_span){lk_reply_at(keys, from + i)->text, lk_reply_at(keys, from + i)->size};
            calls[i] = (lk_call){words[i], 2};
        }
        if (query_ask(d->admin, calls, count, replies, error, sizeof error)) return false;
        bool seen = true;
        for (size_t i = 0; i < count; i++) {
            bool number = replies[i]->type == LK_REPLY_INTEGER;
            seen &= number; /* an error does not mean that the key expires */
            look_at_key(d, s, lk_reply_at(keys, from + i), number ? replies[i]->integer : 0);
            lk_reply_free(replies[i]);
        }
        if (!seen) return false;
    }
    return true;
}

static bool is_page(const lk_reply *reply)
{
    return reply && lk_reply_shaped(reply, "sa") && lk_reply_shaped(lk_reply_at(reply, 1), "(s)");
}

/* False: SCAN is not allowed, or the server went away. It also ends if many keys are not the library's. */
static bool scan_prefix(const doctor *d, key_counts *s)
{
    char pattern[64], cursor[24] = "0";
    snprintf(pattern, sizeof pattern, "%s:*", d->app->config.prefix);
    for (uint64_t pages = 0; s->looked_at < d->keys_most && pages < d->keys_most / 100 + 10; pages++) {
        lk_reply *reply = QUERY(d->admin, "SCAN", cursor, "MATCH", pattern, "COUNT", "1000");
        bool good = is_page(reply) && look_at_page(d, s, lk_reply_at(reply, 1));
        if (good) snprintf(cursor, sizeof cursor, "%.20s", lk_reply_at(reply, 0)->text);
        lk_reply_free(reply);
        if (!good) return false;
        cli_progress("%" PRIu64 " keys looked at", s->looked_at);
        if (strcmp(cursor, "0") == 0) break;
    }
    return true;
}

static void report(doctor *d, const key_counts *s)
{
    if (s->eternal)
        doctor_fix(
            doctor_find(d, LATCHKEY_LOG_ERROR, "expiry", "H",
                        "%" PRIu64 " of %" PRIu64 " keys never expire though they should, for example %s: something "
                        "else writes under the prefix, or took the expiry off",
                        s->eternal, s->looked_at, s->an_eternal),
            "DEL of each, which ends its session; and find the client that does it: redis-cli MONITOR, for a moment");
    if (s->foreign)
        doctor_fix(doctor_find(d, LATCHKEY_LOG_WARNING, "foreign-keys", "",
                               "%" PRIu64 " of %" PRIu64 " keys under the prefix are not latchkey's, for example %s",
                               s->foreign, s->looked_at, s->a_foreign),
                   "another prefix in the URL of one of the two");
    if (s->beyond)
        doctor_fix(doctor_find(d, LATCHKEY_LOG_ERROR, "partitions", "A",
                               "%" PRIu64 " of %" PRIu64 " keys lie in partitions beyond %" PRId64
                               ": an instance uses, or used, another number; this one does not find those sessions",
                               s->beyond, s->looked_at, d->app->config.partitions),
                   "one number of partitions in every URL: the one that Redis has recorded (HGET %s:{0}:m partitions)",
                   d->app->config.prefix);
}

/* Channels do not belong to a database, so deployments that share a server and a prefix receive each other's messages. */
static bool holds_sessions(const doctor *d, int64_t database)
{
    query other;
    char error[160], key[LK_KEY_SIZE];
    bool holds = false;
    lk_key_partition(key, d->app->config.prefix, 0, "m");
    if (!query_open(d->admin_url, database, 0, &other, error, sizeof error)) {
        lk_reply *reply = QUERY(&other, "HGET", key, "partitions");
        holds = reply && reply->type == LK_REPLY_STRING;
        lk_reply_free(reply);
    }
    query_close(&other);
    return holds;
}

static void look_at_databases(doctor *d)
{
    enum { DATABASES_MOST = 64 };
    char found[120] = "";
    unsigned looked = 0;
    lk_reply *reply = QUERY(d->admin, "INFO", "keyspace");
    const char *line = reply && reply->type == LK_REPLY_STRING ? reply->text : NULL;
    for (; line && looked < DATABASES_MOST; line = strchr(line, '\n')) {
        int64_t database;
        line += *line == '\n';
        if (sscanf(line, "db%" SCNd64 ":", &database) != 1 || database < 0 || database == d->app->config.database)
            continue;
        looked++;
        size_t used = strlen(found);
        if (holds_sessions(d, database))
            snprintf(found + used, sizeof found - used, "%s%" PRId64, used ? ", " : "", database);
    }
    lk_reply_free(reply);
    if (found[0])
        doctor_fix(
            doctor_find(
                d, LATCHKEY_LOG_WARNING, "shared-prefix", "",
                "another deployment has the prefix '%s' too, on the same server, in database %s. Redis' channels know "
                "no databases: each instance hears what both publish and drops what is not its own, and one of an "
                "older "
                "version obeys both",
                d->app->config.prefix, found),
            "prefix=NAME in the URL of one of the two; or, if nothing uses it any more, DEL %s:{0}:m in that "
            "database",
            d->app->config.prefix);
}

void doctor_keys(doctor *d)
{
    key_counts s = {0};
    look_at_databases(d);
    if (!scan_prefix(d, &s)) doctor_unseen(d, "SCAN and PTTL of the keys");
    cli_progress(NULL);
    d->keys_seen = s.looked_at;
    report(d, &s);
}

/* --------------------------------------------------------------------------------------------------- files -- */

/* The value of an option of the URL. The URL was parsed without an error before. */
static bool option(const char *url, const char *name, char *out, size_t size)
{
    size_t length = strlen(name), used = 0;
    const char *at = strchr(url, '?');
    while (at && (strncmp(at + 1, name, length) || at[1 + length] != '=')) at = strchr(at + 1, '&');
    if (!at) return false;
    for (at += length + 2; *at && *at != '&' && used + 1 < size; at++) {
        unsigned byte = (unsigned char)*at;
        if (*at == '%' && sscanf(at + 1, "%2x", &byte) == 1) at += 2;
        out[used++] = (char)byte;
    }
    out[used] = 0;
    return true;
}

void doctor_files(doctor *d)
{
    static const char *const options[] = {"password_file", "check_key_file", "seal_key_file", "key_file"};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        char path[600], shown[200];
        struct stat file;
        if (!option(d->c->config, options[i], path, sizeof path) || stat(path, &file)) continue;
        if (!(file.st_mode & (S_IRWXO | S_IWGRP))) continue;
        cli_text(shown, sizeof shown, path, strlen(path));
        doctor_fix(doctor_find(d, LATCHKEY_LOG_WARNING, "files", "E",
                               "%s is open to others on this machine (mode %04o), and holds a secret: %s", shown,
                               (unsigned)file.st_mode & 07777, options[i]),
                   "chmod 0600 %s, or 0640 with a group of the application's own", shown);
    }
}
