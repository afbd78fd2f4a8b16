/* SPDX-License-Identifier: MIT
 *
 * A private redis-server, and what its INFO says. See harness.h.
 *
 * Every server ever started stands in `servers`, so that an exit handler and a signal handler can end it by its
 * process id and remove the files that it can have made. PR_SET_PDEATHSIG covers a benchmark that is killed
 * outright; then the directory stays.
 */
#include "harness.h"

#include <arpa/inet.h>
#include <errno.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SERVERS_MAX 8

/* All that a server with an append-only file writes in its directory, which it never rewrites here. */
static const char *const log_files[] = {"appendonly.aof.1.base.rdb", "appendonly.aof.1.incr.aof",
                                        "appendonly.aof.manifest"};
#define LOG_FILES (sizeof log_files / sizeof *log_files)

struct bench_server {
    volatile pid_t pid;  /* 0: not running. Read by the signal handler, as is what follows */
    volatile bool there; /* its directory and files are */
    bool keeps;
    int port; /* 0: unix socket alone */
    char directory[160], socket[192], log[192], url[256], unix_url[256], kept_in[192], kept[LOG_FILES][256];
};

static bench_server servers[SERVERS_MAX];

/* Only calls that a signal handler may make. */
static void kill_server(bench_server *server)
{
    pid_t pid = server->pid;
    if (pid == 0) return;
    server->pid = 0;
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) continue;
}

/* SIGKILL: nothing in it is worth keeping, and nothing waits for a shutdown. */
static void end_server(bench_server *server)
{
    kill_server(server);
    if (!server->there) return;
    server->there = false;
    for (size_t i = 0; i < LOG_FILES; i++) unlink(server->kept[i]);
    rmdir(server->kept_in);
    unlink(server->socket);
    unlink(server->log);
    rmdir(server->directory);
}

static void end_all(void)
{
    for (size_t i = 0; i < SERVERS_MAX; i++) end_server(&servers[i]);
}

static void on_signal(int number)
{
    end_all();
    signal(number, SIG_DFL);
    raise(number);
}

static void install_handlers(void)
{
    static bool done;
    if (done) return;
    done = true;
    atexit(end_all);
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}

/* A port that the kernel says is free. Between this and the server's bind another process could take it; then the
 * server does not come up, and the benchmark says so. */
static int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) < 0)
        bench_die("no free port on 127.0.0.1: %s", strerror(errno));
    close(fd);
    return ntohs(address.sin_port);
}

static void run_server(const bench_server *server, pid_t parent)
{
    char port[16];
    snprintf(port, sizeof port, "%d", server->port);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1); /* it died before the line above */
    /* Ctrl-C goes to the whole foreground group; the server is the benchmark's to end. */
    setpgid(0, 0);
    execlp("redis-server", "redis-server", "--port", port, "--bind", "127.0.0.1", "--unixsocket", server->socket,
           "--save", "", "--appendonly", server->keeps ? "yes" : "no", "--appendfsync", "no",
           "--auto-aof-rewrite-percentage", "0", "--daemonize", "no", "--dir", server->directory, "--logfile",
           server->log, (char *)NULL);
    _exit(127);
}

static redisContext *try_connect(const bench_server *server, bool tcp)
{
    redisContext *redis = tcp ? redisConnect("127.0.0.1", server->port) : redisConnectUnix(server->socket);
    if (redis && redis->err == 0) return redis;
    if (redis) redisFree(redis);
    return NULL;
}

static bool answers(const bench_server *server)
{
    redisContext *redis = try_connect(server, server->port != 0);
    if (redis == NULL) return false;
    redisReply *reply = redisCommand(redis, "PING");
    bool good = reply && reply->type == REDIS_REPLY_STATUS;
    freeReplyObject(reply);
    redisFree(redis);
    return good;
}

static bench_server *make_server(bool tcp, bool keeps)
{
    bench_server *server = NULL;
    for (size_t i = 0; i < SERVERS_MAX && server == NULL; i++)
        if (!servers[i].there) server = &servers[i];
    if (server == NULL) bench_die("more than %d servers", SERVERS_MAX);
    install_handlers();

    const char *temporary = getenv("TMPDIR");
    snprintf(server->directory, sizeof server->directory, "%s/latchkey-bench-XXXXXX",
             temporary && *temporary ? temporary : "/tmp");
    if (mkdtemp(server->directory) == NULL) bench_die("%s: %s", server->directory, strerror(errno));
    snprintf(server->socket, sizeof server->socket, "%s/redis.sock", server->directory);
    snprintf(server->log, sizeof server->log, "%s/redis.log", server->directory);
    snprintf(server->kept_in, sizeof server->kept_in, "%s/appendonlydir", server->directory);
    for (size_t i = 0; i < LOG_FILES; i++)
        snprintf(server->kept[i], sizeof server->kept[i], "%s/%s", server->kept_in, log_files[i]);
    server->keeps = keeps;
    server->there = true;
    server->port = tcp ? free_port() : 0;
    snprintf(server->unix_url, sizeof server->unix_url, "unix://%s", server->socket);
    if (tcp) snprintf(server->url, sizeof server->url, "redis://127.0.0.1:%d", server->port);
    else snprintf(server->url, sizeof server->url, "%s", server->unix_url);
    return server;
}

void bench_server_launch(bench_server *server)
{
    pid_t parent = getpid(), pid = fork();
    if (pid < 0) bench_die("fork: %s", strerror(errno));
    if (pid == 0) run_server(server, parent);
    server->pid = pid;
}

bool bench_server_waits(bench_server *server, uint64_t give_up_ns)
{
    int status;
    if (answers(server)) return false;
    if (waitpid(server->pid, &status, WNOHANG) == server->pid) {
        server->pid = 0;
        end_server(server);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 127) bench_die("redis-server is not in PATH");
        bench_die("redis-server ended at once");
    }
    if (bench_now_ns() > give_up_ns) bench_die("redis-server does not answer");
    return true;
}

static bench_server *start_server(bench_server *server)
{
    bench_server_launch(server);
    for (uint64_t began = bench_now_ns(); bench_server_waits(server, began + 10000000000u);)
        bench_sleep_until_ns(bench_now_ns() + 5000000u);
    return server;
}

bench_server *bench_server_start(bool tcp) { return start_server(make_server(tcp, false)); }
bench_server *bench_server_start_keeping(bool tcp) { return start_server(make_server(tcp, true)); }
void bench_server_stop(bench_server *server) { end_server(server); }
void bench_server_kill(bench_server *server) { kill_server(server); }
const char *bench_server_url(const bench_server *server) { return server->url; }
const char *bench_server_unix_url(const bench_server *server) { return server->unix_url; }
pid_t bench_server_pid(const bench_server *server) { return server->pid; }

static redisContext *connect_or_die(const bench_server *server, bool tcp)
{
    redisContext *redis = try_connect(server, tcp);
    if (redis == NULL) bench_die("cannot connect to %s", tcp ? server->url : server->unix_url);
    return redis;
}

redisContext *bench_server_connect(const bench_server *server) { return connect_or_die(server, server->port != 0); }
redisContext *bench_server_connect_unix(const bench_server *server) { return connect_or_die(server, false); }

/* ------------------------------------------------------------------------------------------------- INFO -- */

static double field(const char *text, const char *name)
{
    char line[64];
    snprintf(line, sizeof line, "\n%s:", name);
    const char *at = strstr(text, line);
    return at ? strtod(at + strlen(line), NULL) : 0;
}

bool bench_info_try(redisContext *redis, bench_info *info)
{
    redisReply *reply = redisCommand(redis, "INFO");
    if (reply == NULL || reply->type != REDIS_REPLY_STRING) {
        freeReplyObject(reply);
        return false;
    }
    info->commands = field(reply->str, "total_commands_processed");
    info->output_bytes = field(reply->str, "total_net_output_bytes");
    info->input_bytes = field(reply->str, "total_net_input_bytes");
    info->cpu_s = field(reply->str, "used_cpu_user") + field(reply->str, "used_cpu_sys");
    info->main_cpu_s = field(reply->str, "used_cpu_user_main_thread") + field(reply->str, "used_cpu_sys_main_thread");
    info->memory_bytes = field(reply->str, "used_memory");
    info->loading = field(reply->str, "loading");
    info->own_bytes = (double)reply->len;
    const char *version = strstr(reply->str, "redis_version:");
    info->version[0] = 0;
    if (version) sscanf(version, "redis_version:%31[0-9.]", info->version);
    freeReplyObject(reply);
    return true;
}

void bench_info_read(redisContext *redis, bench_info *info)
{
    if (!bench_info_try(redis, info)) bench_die("INFO: %s", redis->errstr);
}

bench_info bench_info_since(const bench_info *before, const bench_info *after)
{
    bench_info since = *after;
    since.commands -= before->commands + 1;
    since.output_bytes -= before->output_bytes + before->own_bytes;
    since.input_bytes -= before->input_bytes;
    since.cpu_s -= before->cpu_s;
    since.main_cpu_s -= before->main_cpu_s;
    since.memory_bytes -= before->memory_bytes;
    return since;
}
