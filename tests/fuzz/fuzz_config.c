/* SPDX-License-Identifier: MIT
 *
 * The configuration string. Input: the string; the byte 1 in it stands for a password, which the target puts there.
 * Three files can be named in it: /proc/self/fd/100 holds check keys, /proc/self/fd/101 a password, and
 * /proc/self/fd/102 is a pipe that stays open and empty.
 *
 * Properties: OK, or CONFIG with a text; that text shows no password, wherever a password may stand or be misspelt, and
 * nothing out of a file; what is accepted is in the ranges that latchkey_open's documentation gives.
 */
#include "fuzz.h"
#include "base/config.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define SECRET "Kx9%51wZ" /* partly escaped: neither spelling may be shown, so neither end of it */
#define SECRET_HEAD "Kx9"
#define SECRET_TAIL "wZ"
#define FILE_HEAD "Jq4"
#define FILE_PASSWORD FILE_HEAD "-from-a-file\n"
#define FILE_KEYS "00112233445566778899aabbccddeeff\n"
enum { KEYS_FD = 100, PASSWORD_FD = 101, PIPE_FD = 102 };

static const struct {
    const char *name;
    size_t at;
    int64_t least, most;
} ranges[] = {
    {"database", offsetof(lk_config, database), 0, 1000000},
    {"l1_capacity", offsetof(lk_config, l1_capacity), 0, 100000000},
    {"l1_ttl_ms", offsetof(lk_config, l1_ttl_ms), 1, 86400000},
    {"staleness_ms", offsetof(lk_config, staleness_ms), 100, 60000},
    {"deadline_ms", offsetof(lk_config, deadline_ms), 1, 60000},
    {"idle_ms", offsetof(lk_config, idle_ms), 100, INT64_C(315360000000)},
    {"lifetime_ms", offsetof(lk_config, lifetime_ms), 100, INT64_C(315360000000)},
    {"connections", offsetof(lk_config, connections), 1, 64},
    {"in_flight", offsetof(lk_config, in_flight), 1, 65536},
    {"partitions", offsetof(lk_config, partitions), 1, 4096},
    {"max_sessions", offsetof(lk_config, max_sessions), 0, 1000000},
    {"max_per_device", offsetof(lk_config, max_per_device), 0, 1000000},
    {"grace_ms", offsetof(lk_config, grace_ms), 0, 3600000},
    {"durability", offsetof(lk_config, durability), 0, 100},
    {"audit_per_s", offsetof(lk_config, audit_per_s), 0, 1000},
    {"renew_ms", offsetof(lk_config, renew_ms), 0, INT64_C(315360000000)},
    {"lazy", offsetof(lk_config, lazy), 0, 1},
    {"events", offsetof(lk_config, events), 0, 1},
};

static bool ends(const char *text, size_t size) { return memchr(text, 0, size) != NULL; }

static void check_accepted(const lk_config *c)
{
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        int64_t value;
        memcpy(&value, (const char *)c + ranges[i].at, sizeof value);
        if (value < ranges[i].least || value > ranges[i].most) fprintf(stderr, "%s is out of range\n", ranges[i].name);
        HOLDS(value >= ranges[i].least && value <= ranges[i].most);
    }
    HOLDS(ends(c->host, sizeof c->host) && ends(c->port, sizeof c->port) && ends(c->path, sizeof c->path));
    HOLDS(ends(c->user, sizeof c->user) && ends(c->password, sizeof c->password) && ends(c->prefix, sizeof c->prefix));
    HOLDS(!!c->host[0] + !!c->path[0] + !!c->sentinels + !!c->cluster == 1); /* one way to get there */
    HOLDS(c->cluster == (c->seeds != 0) && (!c->cluster || !c->database));
    for (unsigned i = 0; i < c->seeds; i++) HOLDS(c->seed[i].name[0] && atoi(c->seed[i].port) >= 1);
    HOLDS(!c->sentinels || c->service[0]);
    if (c->host[0]) HOLDS(atoi(c->port) >= 1 && atoi(c->port) <= 65535);
    else if (!c->sentinels && !c->cluster) HOLDS(c->path[0] == '/');
    HOLDS(c->has_password == (c->password[0] != 0) && (!c->user[0] || c->has_password));
    HOLDS(ends(c->ca_file, sizeof c->ca_file) && ends(c->server_name, sizeof c->server_name));
    HOLDS(ends(c->cert_file, sizeof c->cert_file) && ends(c->key_file, sizeof c->key_file));
    HOLDS(c->tls || !(c->ca_file[0] || c->server_name[0] || c->cert_file[0]));
    HOLDS(!c->cert_file[0] == !c->key_file[0] && !c->tls_context && (!c->tls || !c->path[0]));
    HOLDS(c->prefix[0] && !strpbrk(c->prefix, "{}: *?[]\r\n"));
    HOLDS(c->check_keys.count >= 1 && c->check_keys.count <= LK_CHECK_KEYS_MAX);
    HOLDS(c->seal_keys.count <= LK_SEAL_KEYS_MAX && (c->seal_keys.count || !c->seal_keys.plain));
    HOLDS(c->seal_keys.plain || !c->seal_keys.plain_new);
}

/* A secret can stand before an '@', misspelt or not; or where the credentials are, though their '@' was forgotten. What
 * stands behind '?' is options, whose names are shown, and the paths of files. */
static bool is_password(const char *text, const char *secret)
{
    const char *options = strchr(text, '?');
    return strchr(secret, '@') || !options || secret < options;
}

static char *insert_secrets(const uint8_t *data, size_t size)
{
    char *text = malloc(size * sizeof SECRET + 1), *to = text;
    if (!text) abort();
    for (size_t i = 0; i < size && data[i]; i++) {
        if (data[i] == 1) to = stpcpy(to, SECRET);
        else *to++ = (char)data[i];
    }
    *to = 0;
    return text;
}

static void make_file(int fd, const char *content)
{
    int made = memfd_create("fuzz", 0);
    HOLDS(made >= 0 && write(made, content, strlen(content)) == (ssize_t)strlen(content) && dup2(made, fd) == fd);
    close(made);
}

/* A file at open may be a pipe, and the library waits for its end. The fuzzer finds the names of pipes that never end, its
 * own or the symbolizer's. So no file is waited for here (the linker's --wrap). */
int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...) { return __real_open64(path, flags | O_NONBLOCK); }

static void make_pipe(int fd)
{
    int ends[2];
    HOLDS(!pipe(ends) && dup2(ends[0], fd) == fd); /* the other end stays open */
    close(ends[0]);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    make_file(KEYS_FD, FILE_KEYS);
    make_file(PASSWORD_FD, FILE_PASSWORD);
    make_pipe(PIPE_FD);
    return !lk_crypto_init();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char error[160] = "";
    lk_config config;
    if (memmem(data, size, SECRET_HEAD, 3) || memmem(data, size, SECRET_TAIL, 2) || memmem(data, size, FILE_HEAD, 3))
        return -1; /* the fuzzer's own words would be taken for ours */
    char *text = insert_secrets(data, size), *secret = strstr(text, SECRET);
    bool passwords = true;
    for (char *next = secret; next; next = strstr(next + 1, SECRET)) passwords &= is_password(text, next);
    int status = lk_config_parse(text, &config, error, sizeof error);
    if (status == LATCHKEY_OK) check_accepted(&config);
    else {
        HOLDS(status == LATCHKEY_CONFIG);
        HOLDS(error[0] && strlen(error) < sizeof error);
        if (passwords) HOLDS(!strstr(error, SECRET_HEAD) && !strstr(error, SECRET_TAIL));
        HOLDS(!strstr(error, FILE_HEAD));
    }
    free(text);
    return 0;
}
