/* SPDX-License-Identifier: MIT
 *
 * An HTTP server with cookies, on threads: sessions are made at /login, validated at /whoami from this process's memory,
 * and ended at /logout, which every other instance on the same Redis hears. A miss keeps its thread waiting for Redis.
 *
 *     main ──► latchkey_open ──► thread pool (libmicrohttpd) ──► dispatch ──► routes[] ──► a handler fills a reply
 *      └──► sigwait, until SIGTERM or SIGINT ──► stop the pool ──► app_settle ──► latchkey_close
 *
 * Every handler runs on a thread of the pool; the handle is shared by all of them. What the statuses mean to a client
 * stands in app.c; server_evented.c is the same on an event loop.
 */
#define _GNU_SOURCE /* getopt_long */
#include "app.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <microhttpd.h>

static const char program[] = "latchkey-server-threaded";

typedef struct server {
    const char *config;
    unsigned port, threads;
    bool insecure_cookie;
    latchkey *lk;
} server;

/* ------------------------------------------------------------------------------------------ handlers -- */

static enum MHD_Result take_header(void *context, enum MHD_ValueKind kind, const char *name, const char *value)
{
    (void)kind;
    if (strcasecmp(name, "Cookie") == 0) cookies_add(context, value);
    return MHD_YES;
}

static void take_cookies(struct MHD_Connection *connection, cookies *c)
{
    cookies_begin(c);
    MHD_get_connection_values(connection, MHD_HEADER_KIND, take_header, c);
}

/* False: `r` is the answer. */
static bool read_cookies(struct MHD_Connection *connection, cookies *c, reply *r)
{
    take_cookies(connection, c);
    return reply_cookies(r, c);
}

/* POST /login?user=N */
static void login(const server *s, struct MHD_Connection *connection, reply *r)
{
    uint64_t user;
    cookies before;
    char token[LATCHKEY_TOKEN_SIZE];
    take_cookies(connection, &before);
    if (before.too_many) reply_cookies(r, &before);
    else if (app_user(MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, "user"), &user))
        reply_login(r, app_login(s->lk, user, &before, token), user, token, s->insecure_cookie);
    else reply_no_user(r);
}

/* GET /whoami */
static void whoami(const server *s, struct MHD_Connection *connection, reply *r)
{
    cookies c;
    if (!read_cookies(connection, &c, r)) return;

    latchkey_entry entry;
    size_t which;
    bool hit;
    double began = app_now_us();
    int status = app_validate(s->lk, &c, &which, &entry, &hit);
    reply_whoami(r, status, &entry, hit, app_now_us() - began);
    if (!app_old(status, &entry)) return;
    char renewed[LATCHKEY_TOKEN_SIZE];
    app_renew(s->lk, &c.at[which], renewed);
    reply_renewed(r, renewed, s->insecure_cookie);
}

/* POST /logout */
static void logout(const server *s, struct MHD_Connection *connection, reply *r)
{
    cookies c;
    if (read_cookies(connection, &c, r)) reply_logout(r, app_logout(s->lk, &c), s->insecure_cookie);
}

static void metrics(const server *s, struct MHD_Connection *connection, reply *r)
{
    (void)connection;
    reply_metrics(r, s->lk);
}

static void healthz(const server *s, struct MHD_Connection *connection, reply *r)
{
    (void)connection;
    reply_healthz(r, s->lk);
}

/* -------------------------------------------------------------------------------------------- dispatch -- */

static const struct route {
    const char *method, *path;
    void (*handle)(const server *s, struct MHD_Connection *connection, reply *r);
} routes[] = {
    {"POST", "/login", login},    {"GET", "/whoami", whoami},   {"POST", "/logout", logout},
    {"GET", "/metrics", metrics}, {"GET", "/healthz", healthz},
};

static void find(const server *s, struct MHD_Connection *connection, const char *path, const char *method, reply *r)
{
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++)
        if (strcmp(routes[i].path, path) == 0 && strcmp(routes[i].method, method) == 0) {
            routes[i].handle(s, connection, r);
            return;
        }
    reply_no_route(r);
}

static enum MHD_Result dispatch(void *cls, struct MHD_Connection *connection, const char *path, const char *method,
                                const char *version, const char *upload, size_t *upload_size, void **state)
{
    (void)version, (void)upload;
    /* libmicrohttpd calls once with the headers, once with each piece of a body, and once more to be answered. No
     * route reads a body; what comes is passed over. */
    static char seen;
    if (!*state || *upload_size) {
        *state = &seen;
        *upload_size = 0;
        return MHD_YES;
    }
    reply r;
    reply_begin(&r);
    find(cls, connection, path, method, &r);

    struct MHD_Response *response = MHD_create_response_from_buffer(strlen(r.body), r.body, MHD_RESPMEM_MUST_COPY);
    if (!response) return MHD_NO; /* out of memory: the connection is closed */
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, r.type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    enum MHD_Result added = MHD_YES;
    for (size_t i = 0; i < r.header_count && added == MHD_YES; i++)
        added = MHD_add_response_header(response, r.names[i], r.values[i]);
    enum MHD_Result queued = added == MHD_YES ? MHD_queue_response(connection, r.status, response) : MHD_NO;
    MHD_destroy_response(response);
    return queued;
}

/* ------------------------------------------------------------------------------------------------ main -- */

static const char usage[] =
    "latchkey-server-threaded: logins, sessions and logouts over HTTP, on loopback\n"
    "\n"
    "  --port N            to listen on, on 127.0.0.1; 0, the default, takes a free one. The address is printed\n"
    "  --threads N         that answer requests, 1 to 256 (4). A miss keeps one waiting for Redis\n"
    "  --redis CONFIG      redis://127.0.0.1:6379, and any option of latchkey_open (see latchkey.h). For a password\n"
    "                      use ?password_file=PATH: other users can see a command line\n"
    "  --insecure-cookie   leaves out the cookie's Secure, for plain HTTP on loopback\n"
    "\n"
    "  POST /login?user=N    GET /whoami    POST /logout    GET /metrics    GET /healthz\n";

static server read_options(int argc, char **argv)
{
    static const struct option options[] = {
        {"port", required_argument, NULL, 'p'},  {"threads", required_argument, NULL, 't'},
        {"redis", required_argument, NULL, 'r'}, {"insecure-cookie", no_argument, NULL, 'i'},
        {"help", no_argument, NULL, 'h'},        {0},
    };
    server s = {.threads = 4, .config = "redis://127.0.0.1:6379"};
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1 || optind < argc;) {
        if (o == 'p') s.port = app_number(program, "port", optarg, 0, 65535);
        else if (o == 't') s.threads = app_number(program, "threads", optarg, 1, 256);
        else if (o == 'r') s.config = optarg;
        else if (o == 'i') s.insecure_cookie = true;
        else {
            fputs(usage, o == 'h' ? stdout : stderr);
            exit(o == 'h' ? 0 : 2);
        }
    }
    return s;
}

int main(int argc, char **argv)
{
    server s = read_options(argc, argv);

    /* Blocked before the first thread starts, which inherits that: the signals then wait for sigwait, below. */
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGINT);
    sigaddset(&stop, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &stop, NULL);
    signal(SIGPIPE, SIG_IGN);

    char error[256];
    if (latchkey_open(s.config, &s.lk, error, sizeof error) != LATCHKEY_OK) {
        fprintf(stderr, "%s: %s\n", program, error);
        return 1;
    }
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)s.port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    /* A pool of one thread is no pool to libmicrohttpd, and the list of options ends there. */
    struct MHD_Daemon *daemon =
        MHD_start_daemon(MHD_USE_AUTO_INTERNAL_THREAD, 0, NULL, NULL, dispatch, &s, MHD_OPTION_SOCK_ADDR, &address,
                         MHD_OPTION_CONNECTION_TIMEOUT, 30u,
                         s.threads > 1 ? MHD_OPTION_THREAD_POOL_SIZE : MHD_OPTION_END, s.threads, MHD_OPTION_END);
    if (!daemon) {
        fprintf(stderr, "%s: cannot listen on 127.0.0.1:%u: %s; --port 0 takes a free port\n", program, s.port,
                strerror(errno));
        latchkey_close(s.lk);
        return 1;
    }
    printf("listening on http://127.0.0.1:%u\n", MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
    fflush(stdout); /* a program that started us waits for this line, through a pipe or a file */

    int got;
    sigwait(&stop, &got);
    MHD_stop_daemon(daemon); /* waits for the requests that are being answered; only then may the handle go */
    bool settled = app_settle(s.lk, program);
    latchkey_close(s.lk);
    return settled ? 0 : 1;
}
