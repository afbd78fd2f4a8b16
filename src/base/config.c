/* See config.h.
 *
 *   scheme://[user:password@]host[:port][/database]?option=value&option=value
 *   scheme+sentinel://[user:password@]host[:port],host[:port].../name[/database]?option=value&option=value
 *   scheme+cluster://[user:password@]host[:port],host[:port]...?option=value&option=value
 *
 * The text is cut into pieces on a private copy, which is wiped afterwards. Each piece is %-decoded after the cutting,
 * so an escaped separator separates nothing. */
#include "base/config.h"

#include "base/config_options.h"
#include "base/letters.h"

#include <stdlib.h>
#include <string.h>

static int take_credentials(lk_config_parser *p, char *text)
{
    char *colon = strchr(text, ':'); /* no colon: a user alone, with the password in password_file */
    if (colon) *colon++ = 0;
    int status = lk_config_decode(p, "user", text, p->config->user, sizeof p->config->user);
    if (!status && colon)
        status = lk_config_decode(p, "password", colon, p->config->password, sizeof p->config->password);
    p->config->has_password = p->config->password[0] != 0;
    return status;
}

/* A name or an address, in the URL or in server_name. What stands there is not shown: it may be a password whose '@' was
 * forgotten. */
static int check_host(lk_config_parser *p, const char *what, const char *host)
{
    if (strspn(host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-:%") == strlen(host))
        return LATCHKEY_OK;
    return LK_CONFIG_FAIL(
        p,
        "%s: only letters, digits and . _ - are expected (and : %% in an IPv6 address): no space, no '#', no "
        "letter of another alphabet (write it as xn--...)",
        what);
}

/* host[:port], [address]:port */
static int take_host_port(lk_config_parser *p, char *text, int64_t usual_port, char *host, size_t host_size,
                          char port_text[8])
{
    int status = LATCHKEY_OK;
    char *port = NULL;
    if (*text == '[') { /* an IPv6 address */
        char *bracket = strchr(text++, ']');
        if (!bracket) return LK_CONFIG_FAIL(p, "host: ']' is missing behind the IPv6 address");
        *bracket = 0;
        if (bracket[1] == ':') port = bracket + 2;
        else if (bracket[1]) return LK_CONFIG_FAIL(p, "host: ':port' is expected behind ']'");
    } else if ((port = strchr(text, ':'))) {
        *port++ = 0;
        if (strchr(port, ':')) return LK_CONFIG_FAIL(p, "host: write an IPv6 address in brackets: [::1]:6379");
    }
    int64_t number = usual_port;
    if (port) status = lk_config_number(p, "port", port, 1, 65535, &number);
    if (status) return status;
    snprintf(port_text, 8, "%d", (int)number);
    status = lk_config_decode(p, "host", text, host, host_size);
    return status ? status : check_host(p, "host", host);
}

static int take_host(lk_config_parser *p, char *text)
{
    lk_config *config = p->config;
    char *slash = strchr(text, '/');
    if (slash) *slash++ = 0;
    int status = LATCHKEY_OK;
    if (strchr(text, ','))
        status =
            LK_CONFIG_FAIL(p, "host: several are for redis+cluster://HOST,HOST and redis+sentinel://HOST,HOST/NAME");
    if (!status && slash && *slash) status = lk_config_number(p, "database", slash, 0, 1000000, &config->database);
    if (!status) status = take_host_port(p, text, 6379, config->host, sizeof config->host, config->port);
    if (!status && !config->host[0]) status = LK_CONFIG_FAIL(p, "host: it is missing: redis://HOST[:PORT]");
    return status;
}

/* A list of hosts: sentinels, or nodes of a cluster. */
typedef struct host_list {
    lk_host *at;
    unsigned *count, max;
    int64_t usual_port;
    const char *one, *many, *form;
} host_list;

static int take_host_of(lk_config_parser *p, const host_list *list, char *text)
{
    unsigned count = *list->count;
    if (count == list->max) return LK_CONFIG_FAIL(p, "host: more than %u %s", list->max, list->many);
    lk_host *at = &list->at[count];
    int status = take_host_port(p, text, list->usual_port, at->name, sizeof at->name, at->port);
    if (!status && !at->name[0]) status = LK_CONFIG_FAIL(p, "host: a %s has none: %s", list->one, list->form);
    /* A sentinel that is listed twice would count for two. What stands there is not shown: it may be a password whose '@' was
     * forgotten. */
    for (unsigned i = 0; !status && i < count; i++)
        if (lk_same_letters(list->at[i].name, at->name, sizeof at->name) && !strcmp(list->at[i].port, at->port))
            status = LK_CONFIG_FAIL(p, "host: a %s is listed twice, as number %u and %u", list->one, i + 1, count + 1);
    *list->count += !status;
    return status;
}

/* host[:port],host[:port]... */
static int take_hosts(lk_config_parser *p, const host_list *list, char *text)
{
    int status = LATCHKEY_OK;
    for (char *next = text; !status && next;) {
        char *one = next;
        next = strchr(one, ',');
        if (next) *next++ = 0;
        status = take_host_of(p, list, one);
    }
    return status;
}

/* host[:port],host[:port].../name[/database] */
static int take_sentinels(lk_config_parser *p, char *text)
{
    lk_config *config = p->config;
    char *name = strchr(text, '/'), *slash = name ? strchr(name + 1, '/') : NULL;
    if (name) *name++ = 0;
    if (slash) *slash++ = 0;
    int status = take_hosts(p,
                            &(host_list){config->sentinel, &config->sentinels, LK_SENTINELS_MAX, 26379, "sentinel",
                                         "sentinels", "redis+sentinel://HOST[:PORT],HOST[:PORT].../NAME"},
                            text);
    if (!status && name) status = lk_config_decode(p, "name", name, config->service, sizeof config->service);
    if (!status && !config->service[0])
        status = LK_CONFIG_FAIL(
            p, "name: what the sentinels call the primary is missing: redis+sentinel://HOST,HOST/NAME, as in "
               "`sentinel monitor NAME ...`");
    if (!status && slash && *slash) status = lk_config_number(p, "database", slash, 0, 1000000, &config->database);
    return status;
}

/* Nothing is behind the hosts: a cluster has no name, and database 0 alone. */
static int take_nodes(lk_config_parser *p, char *text)
{
    lk_config *config = p->config;
    char *slash = strchr(text, '/');
    if (slash) *slash++ = 0;
    config->cluster = true;
    int status = take_hosts(p,
                            &(host_list){config->seed, &config->seeds, LK_SEEDS_MAX, 6379, "node", "nodes",
                                         "redis+cluster://HOST[:PORT],HOST[:PORT]..."},
                            text);
    if (status || !slash || !*slash || strcmp(slash, "0") == 0) return status;
    return LK_CONFIG_FAIL(p,
                          "database: a cluster has database 0 alone, and no name: nothing stands behind the hosts of "
                          "redis+cluster://");
}

static int take_path(lk_config_parser *p, char *text)
{
    int status = lk_config_decode(p, "socket path", text, p->config->path, sizeof p->config->path);
    if (!status && p->config->path[0] != '/')
        status = LK_CONFIG_FAIL(p, "socket path: must be absolute: unix:///path/to.sock (three slashes)");
    return status;
}

typedef struct scheme {
    const char *name;
    bool tls;
    int (*take)(lk_config_parser *, char *); /* where the servers are */
} scheme;

/* The part before "://", in any case. */
static const scheme *find_scheme(const char *text)
{
    static const scheme schemes[] = {
        {"redis", false, take_host},
        {"rediss", true, take_host},
        {"valkey", false, take_host},
        {"valkeys", true, take_host},
        {"unix", false, take_path},
        {"redis+sentinel", false, take_sentinels},
        {"rediss+sentinel", true, take_sentinels},
        {"valkey+sentinel", false, take_sentinels},
        {"valkeys+sentinel", true, take_sentinels},
        {"redis+cluster", false, take_nodes},
        {"rediss+cluster", true, take_nodes},
        {"valkey+cluster", false, take_nodes},
        {"valkeys+cluster", true, take_nodes},
    };
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        size_t length = strlen(schemes[i].name);
        if (lk_same_letters(text, schemes[i].name, length) && strncmp(text + length, "://", 3) == 0) return &schemes[i];
    }
    return NULL;
}

static int take_url(lk_config_parser *p, char *text)
{
    const scheme *how = find_scheme(text);
    /* The text is not shown: a misspelt text may hold a password. */
    if (!how)
        return LK_CONFIG_FAIL(p, "the configuration must start with redis://, rediss://, unix://, redis+sentinel:// or "
                                 "redis+cluster:// (or valkey://, valkeys:// and so on)");
    p->config->tls = how->tls;
    char *query = strchr(text, '?');
    if (query) *query++ = 0;
    if (query && strchr(query, '@'))
        return LK_CONFIG_FAIL(p, "'@' behind '?': write ? in a password as %%3F, and @ in an option's value as %%40");
    char *where = strstr(text, "://") + 3;
    char *at = strrchr(where, '@');
    int status = LATCHKEY_OK;
    if (at) {
        *at = 0;
        status = take_credentials(p, where);
        where = at + 1;
    }
    if (!status) status = how->take(p, where);
    if (!status && query) status = lk_config_take_options(p, query);
    return status;
}

static int check_together(lk_config_parser *p)
{
    const lk_config *c = p->config;
    int status = check_host(p, "server_name", c->server_name);
    if (status) return status;
    const char *tls_option = c->tls ? NULL : lk_config_tls_option(c);
    if (tls_option) return LK_CONFIG_FAIL(p, "option '%s' is for TLS: only with rediss://", tls_option);
    if (!c->sentinels && (c->sentinel_user[0] || c->has_sentinel_password))
        return LK_CONFIG_FAIL(p, "option '%s' is for sentinels: only with redis+sentinel://%s",
                              c->sentinel_user[0] ? "sentinel_user" : "sentinel_password_file",
                              c->cluster ? ". A cluster has none: its nodes take the user and password of the URL"
                                         : "");
    if (c->sentinel_user[0] && !c->has_sentinel_password)
        return LK_CONFIG_FAIL(p, "sentinel_user is given without sentinel_password_file: a user needs its password");
    if (!c->cert_file[0] == !c->key_file[0]) return LATCHKEY_OK;
    return c->cert_file[0]
               ? LK_CONFIG_FAIL(p, "cert_file is given without key_file: a client certificate needs its private key")
               : LK_CONFIG_FAIL(p, "key_file is given without cert_file: a private key needs its certificate");
}

int lk_config_parse(const char *text, lk_config *config, char *error, size_t error_size)
{
    lk_config_parser p = {config, error, error_size};
    memset(config, 0, sizeof *config);
    lk_config_usual(config);

    size_t size = strlen(text) + 1;
    if (size > 16384) return LK_CONFIG_FAIL(&p, "the configuration is longer than 16,383 bytes");
    for (size_t at = 0; text[at]; at++) /* most often the line end of the file that it was read from */
        if ((unsigned char)text[at] < ' ' || text[at] == 127)
            return LK_CONFIG_FAIL(
                &p,
                "byte %zu of the configuration is a line end or another control character: remove it, or write "
                "it as %%XX",
                at + 1);
    char *copy = malloc(size);
    if (!copy) return LATCHKEY_NO_MEMORY;
    memcpy(copy, text, size);
    int status = take_url(&p, copy);
    if (!status && config->user[0] && !config->has_password)
        status = LK_CONFIG_FAIL(
            &p, "a user is given without a password: write user:password@ (or :password@), or use password_file");
    if (!status) status = check_together(&p);
    lk_wipe(copy, size);
    free(copy);
    return status;
}

bool lk_host_same(const lk_host *a, const lk_host *b)
{
    return strcmp(a->name, b->name) == 0 && strcmp(a->port, b->port) == 0;
}

void lk_config_password(const lk_config *config, char password[LK_PASSWORD_SIZE])
{
    if (config->password_now) lk_password_now(config->password_now, password);
    else strcpy(password, config->password);
}

void lk_config_sentinel_password(const lk_config *config, char password[LK_PASSWORD_SIZE])
{
    if (config->sentinel_password_now) lk_password_now(config->sentinel_password_now, password);
    else strcpy(password, config->sentinel_password);
}
