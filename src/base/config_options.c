/* See config_options.h. The files that options name are read here: keys, and the password. */
#include "base/config_options.h"

#include "base/file.h"
#include "base/log.h"

#include <string.h>
#include <sys/stat.h>

/* Reads a small text file whole. The error may show the path, never the content. */
static int read_file(lk_config_parser *p, const char *what, const char *path, char *text, size_t size)
{
    ssize_t used = lk_file_read(what, path, false, text, size, p->error, p->error_size);
    if (used < 0) return LATCHKEY_CONFIG;
    text[used] = 0;
    if (strlen(text) == (size_t)used) return LATCHKEY_OK;
    return LK_CONFIG_FAIL(p, "%s: '%.100s' holds a NUL byte: a text file is expected", what, path);
}

static int take_password_file(lk_config_parser *p, const char *path)
{
    lk_config *config = p->config;
    if (config->has_password) return LK_CONFIG_FAIL(p, "password_file: the URL holds a password already: give one");
    if (!lk_password_read(path, false, config->password, p->error, p->error_size)) return LATCHKEY_CONFIG;
    snprintf(config->password_file, sizeof config->password_file, "%s", path);
    config->has_password = true;
    return LATCHKEY_OK;
}

static int take_sentinel_password_file(lk_config_parser *p, const char *path)
{
    lk_config *config = p->config;
    char why[160];
    if (!lk_password_read(path, false, config->sentinel_password, why, sizeof why))
        return LK_CONFIG_FAIL(p, "%s%s", strncmp(why, "password_file", 13) ? "" : "sentinel_", why);
    snprintf(config->sentinel_password_file, sizeof config->sentinel_password_file, "%s", path);
    config->has_sentinel_password = true;
    return LATCHKEY_OK;
}

static int take_sentinel_user(lk_config_parser *p, const char *value)
{
    if (!*value || strlen(value) >= sizeof p->config->sentinel_user)
        return LK_CONFIG_FAIL(p, "sentinel_user: 1 to %zu bytes are expected", sizeof p->config->sentinel_user - 1);
    strcpy(p->config->sentinel_user, value);
    return LATCHKEY_OK;
}

/* Passes each line of a small text file to `take`, without its line end. An error names the line by its number, because
 * the line may be a key. */
static int take_lines(lk_config_parser *p, const char *what, const char *path,
                      const char *(*take)(lk_config *, const char *line))
{
    char text[4096];
    int status = read_file(p, what, path, text, sizeof text);
    unsigned number = 0;
    char *rest = NULL;
    for (char *line = lk_file_text(text); !status && line; line = rest) {
        rest = strchr(line, '\n');
        if (rest) *rest++ = 0;
        number++;
        size_t length = strlen(line);
        if (length && line[length - 1] == '\r') line[length - 1] = 0; /* one: nothing behind another is passed over */
        const char *fault = take(p->config, line);
        if (fault) status = LK_CONFIG_FAIL(p, "%s: line %u of '%.100s' %s", what, number, path, fault);
    }
    lk_wipe(text, sizeof text);
    return status;
}

static const char *take_check_key(lk_config *config, const char *line)
{
    lk_check_keys *keys = &config->check_keys;
    if (!*line || *line == '#') return NULL;
    if (keys->count == LK_CHECK_KEYS_MAX) return "is one key too many: 16 are allowed";
    if (!lk_hex_decode(line, strlen(line), keys->key[keys->count], LK_CHECK_KEY_SIZE))
        return "is not 32 hexadecimal digits";
    keys->count++;
    return NULL;
}

static int take_check_keys(lk_config_parser *p, const char *path)
{
    memset(&p->config->check_keys, 0, sizeof p->config->check_keys);
    int status = take_lines(p, "check_key_file", path, take_check_key);
    if (!status && !p->config->check_keys.count) status = LK_CONFIG_FAIL(p, "check_key_file: no key in '%.100s'", path);
    return status;
}

static const char *take_seal_key(lk_config *config, const char *line)
{
    return lk_seal_keys_take(&config->seal_keys, line);
}

static int take_seal_keys(lk_config_parser *p, const char *path)
{
    struct stat about;
    int status = take_lines(p, "seal_key_file", path, take_seal_key);
    if (!status && !p->config->seal_keys.count) status = LK_CONFIG_FAIL(p, "seal_key_file: no key in '%.100s'", path);
    if (!status && stat(path, &about) == 0 && about.st_mode & (S_IROTH | S_IWOTH))
        lk_log(LATCHKEY_LOG_WARNING, "seal: every user of this machine may read or write '%.100s': chmod o-rw", path);
    return status;
}

static int take_prefix(lk_config_parser *p, const char *value)
{
    size_t length = strlen(value);
    if (!length || length >= sizeof p->config->prefix ||
        strspn(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") != length)
        return LK_CONFIG_FAIL(p, "prefix: 1 to 32 characters of [A-Za-z0-9._-] are expected");
    strcpy(p->config->prefix, value);
    return LATCHKEY_OK;
}

/* It is shown on terminals, and sent to Redis as a word. */
static int take_instance_name(lk_config_parser *p, const char *value)
{
    size_t length = strlen(value);
    if (!length || length >= sizeof p->config->name ||
        strspn(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-") != length)
        return LK_CONFIG_FAIL(p, "name: 1 to 32 characters of [A-Za-z0-9._:-] are expected");
    strcpy(p->config->name, value);
    return LATCHKEY_OK;
}

static int take_limit(lk_config_parser *p, const char *value)
{
    if (strcmp(value, "evict") && strcmp(value, "deny"))
        return LK_CONFIG_FAIL(p, "limit: 'evict' or 'deny' is expected");
    p->config->limit_deny = *value == 'd';
    return LATCHKEY_OK;
}

/* The least that makes sense: with less, a token that was just made would already count as old (record.h,
 * LK_SESSION_EARLY_MS). */
enum { RENEW_LEAST_MS = 10000 };

static int take_renew(lk_config_parser *p, const char *value)
{
    int64_t ms;
    int status = lk_config_number(p, "renew_ms", value, 0, INT64_C(315360000000), &ms);
    if (!status && ms && ms < RENEW_LEAST_MS)
        status = LK_CONFIG_FAIL(p, "renew_ms: 0, or a whole number from %d on is expected", RENEW_LEAST_MS);
    if (!status) p->config->renew_ms = ms;
    return status;
}

typedef struct option {
    lk_option_text text;
    int (*take)(lk_config_parser *, const char *); /* parses the value; NULL: the value is a number: */
    size_t at;
    int64_t usual, least, most;
    size_t size; /* or, if not 0, a text of less than this many bytes */
} option;

/* clang-format off */
#define NUMBER(field, usual, least, most, about) {{#field, #usual, #least " to " #most, about}, NULL, offsetof(lk_config, field), usual, least, most, 0}
#define TEXT(field, usual, about) {{#field, usual, "", about}, NULL, offsetof(lk_config, field), 0, 0, 0, sizeof ((lk_config *)0)->field}
#define OTHER(name, take, usual, range, about) {{name, usual, range, about}, take, 0, 0, 0, 0, 0}
/* The one table of the options. The parser reads it, and include/configuration.md is made from it
 * (tests/package/options.sh). */
_Static_assert(LK_PARTITIONS_MAX == 4096, "the table of options says so");
static const option options[] = {
    NUMBER(l1_capacity, 100000, 0, 100000000, "entries that L1 holds; 0 switches L1 off"),
    NUMBER(l1_ttl_ms, 300000, 1, 86400000, "the longest time that an entry stays in L1 before Redis is asked for it again"),
    NUMBER(staleness_ms, 2000, 100, 60000, "the bound of guarantee C"),
    NUMBER(deadline_ms, 250, 1, 60000, "the longest time that a call waits"),
    NUMBER(idle_ms, 1800000, 100, 315360000000, "a session that is not used for this long ends"),
    NUMBER(lifetime_ms, 43200000, 100, 315360000000, "a session ends this long after its creation, used or not"),
    NUMBER(connections, 8, 1, 64, "connections for misses and writes, beside the two of the link; in a cluster so many to each primary. When all are busy, further calls are pipelined behind others"),
    NUMBER(in_flight, 1024, 1, 65536, "calls that may wait for Redis at once; in a cluster, for each primary. A queue has the same limit for its validations, and once more for its other requests. One more is `UNAVAILABLE` at once"),
    OTHER("prefix", take_prefix, "lk", "1 to 32 of `A-Za-z0-9._-`", "the beginning of every key and channel. Equal everywhere"),
    NUMBER(partitions, 64, 1, 4096, "shards of the key space. The number is recorded in Redis on first use. Equal everywhere"),
    NUMBER(max_sessions, 0, 0, 1000000, "the sessions that one user may have; 0: no limit"),
    NUMBER(max_per_device, 0, 0, 1000000, "the sessions that one user may have with one value of `draft.device`; 0: no limit. A login then reads the compact records of the user's sessions, of at most 1,000: set `max_sessions` too"),
    OTHER("limit", take_limit, "evict", "`evict` or `deny`", "at either limit: `evict` the session that is nearest its idle expiry (of that device), or `deny` the login"),
    NUMBER(grace_ms, 0, 0, 3600000, "how much longer L1 may answer while Redis is lost. Such answers carry `LATCHKEY_FLAG_STALE`, and the bound of C is `staleness_ms` + `grace_ms`"),
    NUMBER(durability, 0, 0, 100, "replicas that must hold a write before it is `OK` (`WAIT` in Redis; the ACL needs `+wait`). Until they do, a revocation is `PENDING` and a login hands out no token. With fewer replicas connected there is no lease. In a cluster of Redis 7.2, Valkey 8 or newer, there is an exception while a node is full (`maxmemory`): a call that finds its work done by an earlier one does not wait for what that one wrote, and replicas that are connected but stand still, or are cut off, do not end the lease"),
    OTHER("renew_ms", take_renew, "0", "0, or 10000 and more", "answers for a token that is older than this carry `LATCHKEY_FLAG_RENEW` (up to two seconds earlier); 0: never. See [Renewal on a set age](sessions.md#renewal-on-a-set-age)"),
    NUMBER(events, 0, 0, 1, "1: what happens to sessions is logged. See [The audit trail](sessions.md#the-audit-trail)"),
    NUMBER(audit_per_s, 0, 0, 1000, "how many entries of L1 are compared with Redis each second; 0: none. An entry that differs for longer than the bound of C is counted (`latchkey_audit_disagreements_total`) and logged"),
    OTHER("name", take_instance_name, "", "1 to 32 of `A-Za-z0-9._:-`", "a name for this instance: `latchkey top` and `latchkey status` show it beside host and process id, and `CLIENT LIST` in Redis where the ACL has `+client|setname`"),
    NUMBER(lazy, 0, 0, 1, "1: open succeeds while Redis is away; calls answer `UNAVAILABLE` until it is there"),
    NUMBER(foreign_until_ms, 0, 0, 99999999999999, "the Unix time, in milliseconds, until which tokens of another store are accepted; 0: never. See [Moving in](../examples/import/README.md). Equal everywhere"),
    OTHER("check_key_file", take_check_keys, "", "", "a file with a key of 32 hexadecimal digits on each line. The first key makes tokens; tokens of all keys are accepted; other tokens are refused without asking Redis. Equal everywhere"),
    OTHER("seal_key_file", take_seal_keys, "", "", "a file with a key of 64 hexadecimal digits on each line. What Redis holds of sessions is sealed. Equal everywhere. See [Sealing](#sealing)"),
    OTHER("password_file", take_password_file, "", "", "a file with the password, instead of the URL. It is read again for each connection: see [Passwords](#passwords)"),
    OTHER("sentinel_user", take_sentinel_user, "", "", "with `redis+sentinel://`: the user that the sentinels know us as; it needs `sentinel_password_file`. They have users of their own, apart from those of Redis"),
    OTHER("sentinel_password_file", take_sentinel_password_file, "", "", "with `redis+sentinel://`: a file with the password for the sentinels, read again for each connection. Without it they are sent none; the URL's is for Redis alone"),
    TEXT(ca_file, "the system's", "with `rediss://`: certificates in PEM. One of them must vouch for the server's certificate. The file is read again when it changes, as are the next two: see [TLS](#tls)"),
    TEXT(cert_file, "", "with `rediss://`: our certificate in PEM, with its chain behind it, for a server that demands one"),
    TEXT(key_file, "", "with `rediss://`: the key of that certificate, without a passphrase"),
    TEXT(server_name, "the host", "with `rediss://`: the name that the server's certificate must hold instead. It is sent as SNI. With sentinels it is for all of them and for every Redis, in a cluster for every node"),
};
/* clang-format on */
enum { OPTION_COUNT = sizeof options / sizeof *options };
_Static_assert(OPTION_COUNT <= 63, "a bit for each in `seen`, and one for db");

const lk_option_text *lk_config_option(size_t index) { return index < OPTION_COUNT ? &options[index].text : NULL; }

static char *text_at(lk_config *config, const option *o) { return (char *)config + o->at; }
static int64_t *number_at(lk_config *config, const option *o) { return (int64_t *)(void *)text_at(config, o); }

void lk_config_usual(lk_config *config)
{
    for (unsigned i = 0; i < OPTION_COUNT; i++)
        if (!options[i].take && !options[i].size) *number_at(config, &options[i]) = options[i].usual;
    strcpy(config->prefix, "lk");
    lk_check_keys_public(&config->check_keys);
}

const char *lk_config_tls_option(const lk_config *config)
{
    for (unsigned i = 0; i < OPTION_COUNT; i++)
        if (options[i].size && *((const char *)config + options[i].at)) return options[i].text.name;
    return NULL;
}

/* A text that is clearly not an option's name is not shown: in a misspelt URL it may be a piece of a password. */
static bool is_name(const char *text)
{
    size_t length = strlen(text);
    return length && length <= 40 &&
           strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") == length;
}

static const option *find_option(const char *name)
{
    for (unsigned i = 0; i < OPTION_COUNT; i++)
        if (strcmp(name, options[i].text.name) == 0) return &options[i];
    return NULL;
}

static int take_value(lk_config_parser *p, const option *o, const char *value)
{
    if (o->take) return o->take(p, value);
    if (!o->size) return lk_config_number(p, o->text.name, value, o->least, o->most, number_at(p->config, o));
    if (!*value) return LK_CONFIG_FAIL(p, "%s: is empty", o->text.name);
    if (strlen(value) >= o->size) return LK_CONFIG_FAIL(p, "%s: longer than %zu bytes", o->text.name, o->size - 1);
    strcpy(text_at(p->config, o), value);
    return LATCHKEY_OK;
}

static int take_option(lk_config_parser *p, char *pair, uint64_t *seen)
{
    char *equals = strchr(pair, '='), value[600];
    if (!equals && find_option(pair))
        return LK_CONFIG_FAIL(p, "option '%s' has no value: %s=value is expected", pair, pair);
    if (equals) *equals = 0;
    if (!equals) return LK_CONFIG_FAIL(p, "an option has no value: name=value is expected between '?' and '&'");
    if (!is_name(pair)) return LK_CONFIG_FAIL(p, "unknown option: a name has only letters, digits and '_'");
    const option *o = find_option(pair);
    int status = lk_config_decode(p, pair, equals + 1, value, sizeof value);
    if (status) return status;
    if (strcmp(pair, "db") == 0) {
        if (*seen >> 63) return LK_CONFIG_FAIL(p, "option 'db' is given twice");
        *seen |= UINT64_C(1) << 63;
        if (p->config->cluster) return LK_CONFIG_FAIL(p, "option 'db': a cluster has database 0 alone");
        if (!p->config->path[0])
            return LK_CONFIG_FAIL(p, "option 'db' is for unix sockets: write /NUMBER behind the port");
        return lk_config_number(p, "db", value, 0, 1000000, &p->config->database);
    }
    if (!o) return LK_CONFIG_FAIL(p, "unknown option '%s'", pair);
    uint64_t bit = UINT64_C(1) << (o - options);
    if (*seen & bit) return LK_CONFIG_FAIL(p, "option '%s' is given twice", pair);
    *seen |= bit;
    return take_value(p, o, value);
}

int lk_config_take_options(lk_config_parser *p, char *text)
{
    uint64_t seen = 0;
    int status = LATCHKEY_OK;
    for (char *next = text; !status && next && *next;) {
        char *pair = next;
        next = strchr(pair, '&');
        if (next) *next++ = 0;
        status = take_option(p, pair, &seen);
    }
    return status;
}
