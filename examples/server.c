/* SPDX-License-Identifier: MIT
 *
 * A small HTTP server with cookies: sessions are made at /login, validated at /whoami from this process's memory, and
 * ended at /logout, which every other instance on the same Redis hears.
 *
 *     main ──► latchkey_open ──► thread pool (libmicrohttpd) ──► dispatch ──► routes[] ──► a handler fills a reply
 *      └──► sigwait, until SIGTERM or SIGINT ──► stop the pool ──► latchkey_close
 *
 * Every handler runs on a thread of the pool; the handle is shared by all of them. Nothing is logged for a request, so
 * no token can be.
 */
#define _GNU_SOURCE /* getopt_long, getrandom */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <microhttpd.h>
#include <latchkey.h>

enum { REPLY_SIZE = 65536, HEADERS = 4, HEADER_SIZE = 160 };

typedef struct server {
    const char *config;
    unsigned port, threads;
    bool insecure_cookie;
    latchkey *lk;
} server;

/* What a handler fills in. It lies on the stack of the pool's thread; only `body` up to its NUL is sent. */
typedef struct reply {
    unsigned status;
    const char *type;
    size_t header_count;
    const char *names[HEADERS];
    char values[HEADERS][HEADER_SIZE];
    char body[REPLY_SIZE];
} reply;

/* ------------------------------------------------------------------------------------------- replies -- */

__attribute__((format(printf, 3, 4))) static void header(reply *r, const char *name, const char *format, ...)
{
    if (r->header_count == HEADERS) abort(); /* a bug in this file, not a matter of input */
    va_list args;
    va_start(args, format);
    vsnprintf(r->values[r->header_count], HEADER_SIZE, format, args);
    va_end(args);
    r->names[r->header_count++] = name;
}

__attribute__((format(printf, 3, 4))) static void json(reply *r, unsigned http, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(r->body, sizeof r->body, format, args);
    va_end(args);
    r->status = http;
}

/* Above 0 the answer is "no", and asking again will not change it: 4xx. Below 0 there was no answer, and the client
 * may try again: 5xx. Only a "no" may make a client forget its session. */
static void refuse(reply *r, int status)
{
    unsigned http = status == LATCHKEY_MALFORMED ? MHD_HTTP_BAD_REQUEST
                    : status == LATCHKEY_LIMIT   ? MHD_HTTP_FORBIDDEN
                    : status > 0                 ? MHD_HTTP_UNAUTHORIZED
                                                 : MHD_HTTP_SERVICE_UNAVAILABLE;
    json(r, http, "{\"error\":\"%s\"}\n", latchkey_status_text(status));
}

/* ------------------------------------------------------------------------------------------- cookies -- */

/* The cookie's text inside the request, not copied: the library takes a length and needs no NUL. */
static const char *read_cookie(struct MHD_Connection *connection, reply *r, size_t *length)
{
    const char *token = NULL;
    if (MHD_lookup_connection_value_n(connection, MHD_COOKIE_KIND, "sid", 3, &token, length) == MHD_YES && token)
        return token;
    json(r, MHD_HTTP_UNAUTHORIZED, "{\"error\":\"no cookie named sid: log in first\"}\n");
    return NULL;
}

/* HttpOnly keeps scripts of the page away from the token, SameSite=Lax keeps other sites from posting with it. */
static void set_cookie(const server *s, reply *r, const char *token)
{
    header(r, "Set-Cookie", "sid=%s; Path=/; HttpOnly%s; SameSite=Lax%s", token, s->insecure_cookie ? "" : "; Secure",
           *token ? "" : "; Max-Age=0");
}

/* ------------------------------------------------------------------------------------------ handlers -- */

static bool read_user(struct MHD_Connection *connection, uint64_t *user)
{
    const char *text = MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, "user");
    if (!text || !*text || text[strspn(text, "0123456789")]) return false;
    errno = 0;
    *user = strtoull(text, NULL, 10);
    return errno == 0;
}

/* POST /login?user=N. Whoever asks is believed; a real login takes a name and a proof from the request's body, and
 * checks them here. */
static void login(const server *s, struct MHD_Connection *connection, reply *r)
{
    /* Random bytes in the sizes of what a client would send at login: public keys and the signature that attests them.
     * Like real ones they do not compress. */
    struct material {
        uint8_t mlkem768[1184], mldsa44[1312], slhdsa[32], attestation[2420];
    } keys;
    const latchkey_field fields[] = {
        {"pq.mlkem768", keys.mlkem768, sizeof keys.mlkem768},
        {"pq.mldsa44", keys.mldsa44, sizeof keys.mldsa44},
        {"pq.slhdsa", keys.slhdsa, sizeof keys.slhdsa},
        {"pq.attestation", keys.attestation, sizeof keys.attestation},
    };
    latchkey_draft draft = {.size = sizeof draft, .role = "member", .fields = fields, .field_count = 4};
    char token[LATCHKEY_TOKEN_SIZE];

    if (!read_user(connection, &draft.user_id)) {
        json(r, MHD_HTTP_BAD_REQUEST, "{\"error\":\"want /login?user=N, N a number from 0 to 2^64-1\"}\n");
        return;
    }
    if (getrandom(&keys, sizeof keys, 0) != (ssize_t)sizeof keys) {
        json(r, MHD_HTTP_INTERNAL_SERVER_ERROR, "{\"error\":\"no random bytes\"}\n");
        return;
    }
    /* The application's own 32 bytes: a hash of what the user may do. Here everybody may do the same. */
    memset(draft.permissions_hash, 0x5a, sizeof draft.permissions_hash);

    int status = latchkey_create(s->lk, &draft, token);
    if (status != LATCHKEY_OK) {
        refuse(r, status);
        return;
    }
    set_cookie(s, r, token);
    json(r, MHD_HTTP_OK, "{\"user\":%" PRIu64 "}\n", draft.user_id);
}

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* GET /whoami. One latchkey_validate would do; asking L1 first tells hits from misses, and is what an event loop does,
 * which may never wait: it hands only AGAIN to a thread that may. */
static void whoami(const server *s, struct MHD_Connection *connection, reply *r)
{
    size_t length;
    const char *token = read_cookie(connection, r, &length);
    if (!token) return;

    latchkey_entry entry;
    double began = now_us();
    int status = latchkey_try_validate(s->lk, token, length, &entry);
    bool hit = status != LATCHKEY_AGAIN;
    if (!hit) status = latchkey_validate(s->lk, token, length, &entry);
    header(r, "X-Latchkey-Us", "%.3f", now_us() - began);
    header(r, "X-Latchkey", "%s", hit ? "hit" : "miss");

    if (status == LATCHKEY_OK)
        json(r, MHD_HTTP_OK,
             "{\"user\":%" PRIu64 ",\"role\":\"%.16s\",\"created_at_ms\":%" PRId64 ",\"expires_at_ms\":%" PRId64 "}\n",
             entry.user_id, entry.role, entry.created_at_ms, entry.expires_at_ms);
    else refuse(r, status);
}

/* POST /logout. A session that has ended already is as good as one that ends now. PENDING is a promise: this instance
 * denies the session from here on, and goes on telling Redis until Redis has heard it. On other failures the cookie
 * stays, so that the client can try again. */
static void logout(const server *s, struct MHD_Connection *connection, reply *r)
{
    size_t length;
    const char *token = read_cookie(connection, r, &length);
    if (!token) return;

    int status = latchkey_revoke(s->lk, token, length);
    if (status == LATCHKEY_OK || status == LATCHKEY_NOT_FOUND) json(r, MHD_HTTP_OK, "{\"ended\":true}\n");
    else if (status == LATCHKEY_PENDING) json(r, MHD_HTTP_ACCEPTED, "{\"ended\":\"here, and soon everywhere\"}\n");
    else {
        refuse(r, status);
        return;
    }
    set_cookie(s, r, "");
}

/* GET /metrics. For Prometheus; in production on a port that the public cannot reach. */
static void metrics(const server *s, struct MHD_Connection *connection, reply *r)
{
    (void)connection;
    size_t needed;
    int status = latchkey_metrics(s->lk, r->body, sizeof r->body, &needed);
    if (status == LATCHKEY_OK) r->type = "text/plain; version=0.0.4";
    else refuse(r, status);
}

/* GET /healthz. Whether this instance should be sent requests: not while it has no Redis. */
static void healthz(const server *s, struct MHD_Connection *connection, reply *r)
{
    (void)connection;
    latchkey_stats stats;
    int status = latchkey_stats_read(s->lk, &stats, sizeof stats);
    if (status != LATCHKEY_OK) refuse(r, status);
    else if (!stats.connected) json(r, MHD_HTTP_SERVICE_UNAVAILABLE, "{\"error\":\"not connected to Redis\"}\n");
    else json(r, MHD_HTTP_OK, "{\"ok\":true,\"sessions_in_memory\":%" PRIu64 "}\n", stats.l1_entries);
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
    json(r, MHD_HTTP_NOT_FOUND,
         "{\"error\":\"no such route: want POST /login?user=N, GET /whoami, POST /logout, "
         "GET /metrics or GET /healthz\"}\n");
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
    r.status = MHD_HTTP_OK;
    r.type = "application/json";
    r.header_count = 0;
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
    "latchkey-server: logins, sessions and logouts over HTTP, on loopback\n"
    "\n"
    "  --port N            to listen on, on 127.0.0.1; 0, the default, takes a free one. The address is printed\n"
    "  --threads N         that answer requests, 1 to 256 (4). A miss keeps one waiting for Redis\n"
    "  --redis CONFIG      redis://127.0.0.1:6379, and any option of latchkey_open (see latchkey.h). For a password\n"
    "                      use ?password_file=PATH: other users can see a command line\n"
    "  --insecure-cookie   leaves out the cookie's Secure, for plain HTTP on loopback\n"
    "\n"
    "  POST /login?user=N    GET /whoami    POST /logout    GET /metrics    GET /healthz\n";

static unsigned number(const char *name, const char *text, unsigned long min, unsigned long max)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    if (*text >= '0' && *text <= '9' && !*end && n >= min && n <= max) return (unsigned)n;
    fprintf(stderr, "latchkey-server: --%s wants a number from %lu to %lu, not \"%s\"\n", name, min, max, text);
    exit(2);
}

static server read_options(int argc, char **argv)
{
    static const struct option options[] = {
        {"port", required_argument, NULL, 'p'},  {"threads", required_argument, NULL, 't'},
        {"redis", required_argument, NULL, 'r'}, {"insecure-cookie", no_argument, NULL, 'i'},
        {"help", no_argument, NULL, 'h'},        {0},
    };
    server s = {.threads = 4, .config = "redis://127.0.0.1:6379"};
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1 || optind < argc;) {
        if (o == 'p') s.port = number("port", optarg, 0, 65535);
        else if (o == 't') s.threads = number("threads", optarg, 1, 256);
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
        fprintf(stderr, "latchkey-server: %s\n", error);
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
        fprintf(stderr, "latchkey-server: cannot listen on 127.0.0.1:%u: %s; --port 0 takes a free port\n", s.port,
                strerror(errno));
        latchkey_close(s.lk);
        return 1;
    }
    printf("listening on http://127.0.0.1:%u\n", MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
    fflush(stdout); /* whoever started us waits for this line, through a pipe or a file */

    int got;
    sigwait(&stop, &got);
    MHD_stop_daemon(daemon); /* waits for the requests that are being answered; only then may the handle go */
    latchkey_close(s.lk);
    return 0;
}
