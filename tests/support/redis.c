/* SPDX-License-Identifier: MIT */
#include "redis.h"
#include "check.h"
#include "test_net.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static redis *servers;
static pid_t owner;

/* A port on which no process listened a moment ago. */
static int free_port(void)
{
    /* At most 55,535, since a server in cluster mode also takes the port 10,000 above. */
    for (int i = 0; i < 1000; i++) {
        int port;
        close(net_listen(&port));
        if (port <= 55535) return port;
    }
    fail_msg("no free port");
    return 0;
}

static _Noreturn void become_server(const redis *server, pid_t parent)
{
    char port[16], log[128];
    char *argv[REDIS_MAX_ARGUMENTS + 32];
    int n = 0;
    snprintf(port, sizeof port, "%d", server->port);
    snprintf(log, sizeof log, "%s/log", server->dir);
    argv[n++] = strdup("redis-server");
    if (server->file[0]) argv[n++] = strdup(server->file), argv[n++] = strdup("--sentinel");
    const char *fixed[] = {server->tls ? "--tls-port" : "--port",
                           port,
                           "--bind",
                           "127.0.0.1",
                           "--unixsocket",
                           server->socket,
                           "--unixsocketperm",
                           "700",
                           "--dir",
                           server->dir,
                           "--logfile",
                           log,
                           "--daemonize",
                           "no"};
    const char *empty[] = {"--save", "", "--appendonly", "no"};
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) argv[n++] = strdup(fixed[i]);
    for (size_t i = 0; i < sizeof empty / sizeof *empty && !server->file[0]; i++) argv[n++] = strdup(empty[i]);
    for (int i = 0; server->arguments[i]; i++) argv[n++] = server->arguments[i];
    if (server->tls) argv[n++] = strdup("--port"), argv[n++] = strdup("0");
    if (server->alone) argv[n++] = strdup("--cluster-enabled"), argv[n++] = strdup("yes");
    argv[n] = NULL;

    if (server->ahead_s) {
        char ahead[16];
        snprintf(ahead, sizeof ahead, "%d", server->ahead_s);
        setenv("LD_PRELOAD", LATCHKEY_CLOCK_SHIFT, 1);
        setenv("LATCHKEY_CLOCK_SHIFT_S", ahead, 1);
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1); /* the parent died before the line above */
    int null = open("/dev/null", O_RDWR);
    dup2(null, 0), dup2(null, 1), dup2(null, 2);
    signal(SIGPIPE, SIG_DFL);
    execvp(argv[0], argv);
    _exit(127);
}

static void forget_control(redis *server)
{
    if (server->control) redisFree(server->control);
    server->control = NULL;
}

static redisContext *connect_to(redis *server)
{
    const struct timeval patience = {.tv_sec = CHECK_PATIENCE_MS / 1000};
    redisContext *context = redisConnectUnixWithTimeout(server->socket, patience);
    if (!context || context->err) {
        if (context) redisFree(context);
        return NULL;
    }
    redisSetTimeout(context, patience);
    if (server->password) {
        redisReply *reply = redisCommand(context, "AUTH %s", server->password);
        if (reply) freeReplyObject(reply);
    }
    return context;
}

/* Does it answer, even if only with an error such as -LOADING? */
static int answers(redis *server)
{
    if (!server->control) server->control = connect_to(server);
    if (!server->control) return 0;
    redisReply *reply = redisCommand(server->control, "PING");
    if (!reply) return forget_control(server), 0;
    freeReplyObject(reply);
    return 1;
}

void redis_launch(redis *server)
{
    pid_t parent = getpid();
    forget_control(server);
    unlink(server->socket);
    server->pid = fork();
    if (server->pid < 0) fail_msg("fork: %s", strerror(errno));
    if (server->pid == 0) become_server(server, parent);
}

/* Waits until it answers. False when it ended instead, as it does if another process took the port first. */
static int await_answer(redis *server)
{
    int64_t limit = check_now_ms() + CHECK_PATIENCE_MS;
    while (check_now_ms() < limit) {
        if (waitpid(server->pid, NULL, WNOHANG) == server->pid) return server->pid = 0;
        if (answers(server)) return 1;
        check_pause();
    }
    return 0;
}

/* See LATCHKEY_TEST_CLUSTER. */
static int is_alone(const redis *server)
{
    for (int i = 0; server->arguments[i]; i++)
        if (strcmp(server->arguments[i], "--cluster-enabled") == 0) return 0; /* cluster.h makes it one of several */
    return getenv("LATCHKEY_TEST_CLUSTER") && !server->file[0] && !server->tls;
}

static int is_ok(redis *server)
{
    redisReply *reply = redis_command(server, "CLUSTER INFO"); /* an error: it is loading */
    int ok = reply->str && strstr(reply->str, "cluster_state:ok") != NULL;
    freeReplyObject(reply);
    return ok;
}

/* All slots are its own. Redis takes two seconds for that. */
static void await_cluster(redis *server)
{
    if (!server->alone) return;
    freeReplyObject(redis_command(server, "CLUSTER ADDSLOTSRANGE 0 16383")); /* an error: it has them already */
    wait_for(is_ok(server));
}

static void show_log(const redis *server)
{
    char path[128], line[512];
    snprintf(path, sizeof path, "%s/log", server->dir);
    FILE *log = fopen(path, "r");
    while (log && fgets(line, sizeof line, log)) print_error("redis-server: %s", line);
    if (log) fclose(log);
}

void redis_boot(redis *server)
{
    for (int i = 0; i < 20; i++) {
        redis_launch(server);
        if (!await_answer(server)) continue;
        await_cluster(server);
        return;
    }
    show_log(server);
    fail_msg("redis-server does not start (is the package redis-server installed?)");
}

static void end_all(void)
{
    if (getpid() != owner) return;
    while (servers) redis_end(servers);
}

static redis *start(int ahead_s, const char *const *arguments, const char *file)
{
    redis *server = calloc(1, sizeof *server);
    assert_non_null(server);
    server->ahead_s = ahead_s;
    snprintf(server->dir, sizeof server->dir, "%s/lk-redis-XXXXXX", check_temp_root());
    if (!mkdtemp(server->dir)) fail_msg("mkdtemp %s: %s", server->dir, strerror(errno));
    snprintf(server->socket, sizeof server->socket, "%s/socket", server->dir);
    if (file) {
        snprintf(server->file, sizeof server->file, "%s/conf", server->dir);
        check_write_file(server->file, file, strlen(file));
        server->tls = strstr(file, "tls-cert-file") != NULL;
    }

    int n = 0;
    for (; arguments[n] && n < REDIS_MAX_ARGUMENTS - 1; n++) server->arguments[n] = strdup(arguments[n]);
    for (int i = 0; i + 1 < n; i++) {
        if (strcmp(server->arguments[i], "--requirepass") == 0) server->password = server->arguments[i + 1];
        if (strcmp(server->arguments[i], "--tls-cert-file") == 0) server->tls = 1;
    }

    server->alone = is_alone(server);
    if (owner != getpid()) atexit(end_all);
    owner = getpid();
    server->next = servers;
    servers = server;
    for (int i = 0; i < 20; i++) {
        server->port = free_port();
        redis_launch(server);
        if (!await_answer(server)) continue;
        await_cluster(server);
        return server;
    }
    show_log(server);
    fail_msg("redis-server does not start (is the package redis-server installed?)");
    return NULL;
}

redis *redis_start_with(const char *const *arguments) { return start(0, arguments, NULL); }

redis *redis_start_ahead(int ahead_s, const char *const *arguments) { return start(ahead_s, arguments, NULL); }

redis *redis_start_sentinel(redis *primary, int quorum, const char *settings)
{
    char file[2048];
    snprintf(file, sizeof file,
             "%s\nsentinel monitor mymaster %s %d %d\nsentinel down-after-milliseconds mymaster 60000\n"
             "sentinel failover-timeout mymaster 5000\n",
             settings ? settings : "",
             settings && strstr(settings, "announce-hostnames yes") ? "localhost" : "127.0.0.1", primary->port, quorum);
    const char *none[] = {NULL};
    redis *sentinel = start(0, none, file);
    const char *password = settings ? strstr(settings, "requirepass ") : NULL;
    if (!password) return sentinel;
    sscanf(password, "requirepass %31s", sentinel->secret);
    sentinel->password = sentinel->secret;
    forget_control(sentinel); /* it was made without */
    return sentinel;
}

void redis_sentinel_patience(redis *sentinel, int ms)
{
    redis_do(sentinel, "SENTINEL SET mymaster down-after-milliseconds %d", ms);
}

void redis_add_argument(redis *server, const char *argument)
{
    int n = 0;
    while (server->arguments[n]) n++;
    if (n == REDIS_MAX_ARGUMENTS - 1) fail_msg("too many arguments");
    server->arguments[n] = strdup(argument);
}

void redis_kill(redis *server)
{
    forget_control(server);
    if (server->pid <= 0) return;
    kill(server->pid, SIGKILL);
    waitpid(server->pid, NULL, 0);
    server->pid = 0;
}

void redis_end(redis *server)
{
    if (!server) return;
    redis_kill(server);
    check_remove_tree(server->dir);
    for (redis **link = &servers; *link; link = &(*link)->next) {
        if (*link != server) continue;
        *link = server->next;
        break;
    }
    for (int i = 0; server->arguments[i]; i++) free(server->arguments[i]);
    free(server);
}

void redis_freeze(redis *server)
{
    int status;
    kill(server->pid, SIGSTOP);
    if (waitpid(server->pid, &status, WUNTRACED) != server->pid || !WIFSTOPPED(status)) fail_msg("it did not stop");
}

void redis_thaw(redis *server) { kill(server->pid, SIGCONT); }

static redisReply *command(redis *server, const char *format, va_list arguments)
{
    for (int i = 0; i < 2; i++) {
        va_list copy;
        if (!server->control) server->control = connect_to(server);
        if (!server->control) break;
        va_copy(copy, arguments);
        redisReply *reply = redisvCommand(server->control, format, copy);
        va_end(copy);
        if (reply) return reply;
        forget_control(server); /* broken by CLIENT KILL or a restart: once more on a new one */
    }
    fail_msg("redis-server did not answer: %s", format);
    return NULL;
}

static redisReply *command_without_error(redis *server, const char *format, va_list arguments)
{
    redisReply *reply = command(server, format, arguments);
    if (reply->type == REDIS_REPLY_ERROR) fail_msg("%s: %s", format, reply->str);
    return reply;
}

redisReply *redis_command(redis *server, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    redisReply *reply = command(server, format, arguments);
    va_end(arguments);
    return reply;
}

void redis_do(redis *server, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    freeReplyObject(command_without_error(server, format, arguments));
    va_end(arguments);
}

long long redis_integer(redis *server, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    redisReply *reply = command_without_error(server, format, arguments);
    va_end(arguments);
    long long value = -1;
    if (reply->type == REDIS_REPLY_INTEGER) value = reply->integer;
    else if (reply->str) value = atoll(reply->str);
    freeReplyObject(reply);
    return value;
}

size_t redis_text(redis *server, char *out, size_t out_size, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    redisReply *reply = command_without_error(server, format, arguments);
    va_end(arguments);
    size_t size = reply->str ? (size_t)reply->len : 0;
    if (size > out_size - 1) size = out_size - 1;
    if (size) memcpy(out, reply->str, size);
    out[size] = 0;
    freeReplyObject(reply);
    return size;
}
