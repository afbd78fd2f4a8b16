/* SPDX-License-Identifier: MIT
 *
 * One evented HTTP server (libevent, one thread) that checks the session of a request in one of three ways, or not at all.
 * Everything but the check is the same code: the loop, the HTTP, the answer.
 *
 *     --check none       no cookie is looked for; what HTTP alone costs
 *     --check latchkey   try_validate, and on AGAIN submit, fd and reap
 *     --check redis      a GET for each request, through hiredis' asynchronous API and its adapter for libevent: one
 *                        connection, on which the commands of all requests under way are pipelined
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <hiredis/adapters/libevent.h>
#include <latchkey.h>

enum { REAP = 64, RECORD_SIZE = 200 }; /* as much as latchkey's own compact record, which favours the GET */

typedef struct server {
    const char *check, *socket, *options, *cookies;
    unsigned long prepare;
    struct event_base *base;
    latchkey *lk;
    redisAsyncContext *redis;
} server;

static _Noreturn void die(const char *what, const char *why)
{
    fprintf(stderr, "latchkey-bench-http: %s: %s\n", what, why);
    exit(1);
}

/* ---------------------------------------------------------------------------------------------- answering -- */

static void answer(struct evhttp_request *request, int http, uint64_t user)
{
    struct evbuffer *body = evhttp_request_get_output_buffer(request);
    evbuffer_add_printf(body, http == 200 ? "{\"user\":%" PRIu64 "}\n" : "{\"error\":%" PRIu64 "}\n", user);
    evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type", "application/json");
    evhttp_send_reply(request, http, NULL, NULL);
}

static void answer_status(struct evhttp_request *request, int status, const latchkey_entry *entry)
{
    answer(request, status == LATCHKEY_OK ? 200 : status > 0 ? 401 : 503, entry->user_id);
}

static const char *read_cookie(struct evhttp_request *request, size_t *length)
{
    const char *header = evhttp_find_header(evhttp_request_get_input_headers(request), "Cookie");
    if (!header || strncmp(header, "sid=", 4) != 0) return NULL;
    *length = strcspn(header + 4, ";");
    return header + 4;
}

/* --------------------------------------------------------------------------------------------- the checks -- */

static void check_nothing(struct evhttp_request *request, void *context)
{
    (void)context;
    answer(request, 200, 0);
}

/* evhttp keeps a request until it is answered, so its address may be the tag. */
static void check_latchkey(struct evhttp_request *request, void *context)
{
    server *s = context;
    size_t length;
    latchkey_entry entry = {0};
    const char *token = read_cookie(request, &length);
    if (!token) {
        answer(request, 401, 0);
        return;
    }
    int status = latchkey_try_validate(s->lk, token, length, &entry);
    if (status == LATCHKEY_AGAIN) {
        status = latchkey_submit(s->lk, token, length, (uint64_t)(uintptr_t)request);
        if (status == LATCHKEY_OK) return;
    }
    answer_status(request, status, &entry);
}

static void answers_came(evutil_socket_t fd, short what, void *context)
{
    (void)fd, (void)what;
    server *s = context;
    latchkey_answer answers[REAP];
    size_t count;
    do {
        count = latchkey_reap(s->lk, answers, REAP);
        for (size_t i = 0; i < count; i++)
            answer_status((struct evhttp_request *)(uintptr_t)answers[i].tag, answers[i].status, &answers[i].entry);
    } while (count == REAP);
}

static void reply_came(redisAsyncContext *redis, void *reply_, void *request)
{
    (void)redis;
    const redisReply *reply = reply_;
    uint64_t user;
    if (!reply || (reply->type != REDIS_REPLY_STRING && reply->type != REDIS_REPLY_NIL)) answer(request, 503, 0);
    else if (reply->type == REDIS_REPLY_NIL || reply->len != RECORD_SIZE) answer(request, 401, 0);
    else {
        memcpy(&user, reply->str, sizeof user);
        answer(request, 200, user);
    }
}

static void check_redis(struct evhttp_request *request, void *context)
{
    server *s = context;
    size_t length;
    const char *token = read_cookie(request, &length);
    if (!token) answer(request, 401, 0);
    else if (redisAsyncCommand(s->redis, reply_came, request, "GET plain:%b", token, length) != REDIS_OK)
        answer(request, 503, 0);
}

/* ---------------------------------------------------------------------------------------------- the start -- */

static latchkey *open_handle(const server *s)
{
    char config[512], error[256];
    latchkey *lk;
    snprintf(config, sizeof config, "unix://%s?%s", s->socket, s->options);
    if (latchkey_open(config, &lk, error, sizeof error) != LATCHKEY_OK) die("latchkey_open", error);
    return lk;
}

/* Sessions 1 to N, each for latchkey and under plain:TOKEN for the GET, and their cookies into a file. */
static int prepare(server *s)
{
    unsigned char record[RECORD_SIZE] = {0};
    char token[LATCHKEY_TOKEN_SIZE];
    FILE *file = fopen(s->cookies, "w");
    redisContext *redis = redisConnectUnix(s->socket);
    if (!file || !redis || redis->err) die("preparing", file ? "no connection to Redis" : strerror(errno));
    s->lk = open_handle(s);
    for (uint64_t user = 1; user <= s->prepare; user++) {
        latchkey_draft draft = {.size = sizeof draft, .user_id = user, .role = "member"};
        int status = latchkey_create(s->lk, &draft, token);
        if (status != LATCHKEY_OK) die("latchkey_create", latchkey_status_text(status));
        memcpy(record, &user, sizeof user);
        redisReply *reply = redisCommand(redis, "SET plain:%s %b", token, record, sizeof record);
        if (!reply || reply->type != REDIS_REPLY_STATUS) die("SET", redis->errstr);
        freeReplyObject(reply);
        fprintf(file, "sid=%s\n", token);
    }
    if (fclose(file)) die(s->cookies, strerror(errno));
    redisFree(redis);
    latchkey_close(s->lk);
    return 0;
}

static void lost(const redisAsyncContext *redis, int status)
{
    if (status != REDIS_OK) die("the connection to Redis", redis->errstr);
}

/* The way of checking, ready for requests. */
static void (*start_check(server *s))(struct evhttp_request *, void *)
{
    if (strcmp(s->check, "none") == 0) return check_nothing;
    if (strcmp(s->check, "latchkey") == 0) {
        s->lk = open_handle(s);
        struct event *e = event_new(s->base, latchkey_fd(s->lk), EV_READ | EV_PERSIST, answers_came, s);
        if (!e || event_add(e, NULL)) die("latchkey_fd", "cannot be watched");
        return check_latchkey;
    }
    if (strcmp(s->check, "redis") != 0) die("--check wants none, latchkey or redis, not", s->check);
    s->redis = redisAsyncConnectUnix(s->socket);
    if (!s->redis || s->redis->err || redisLibeventAttach(s->redis, s->base) != REDIS_OK)
        die("hiredis", "no connection");
    redisAsyncSetDisconnectCallback(s->redis, lost);
    return check_redis;
}

static void stop(evutil_socket_t number, short what, void *context)
{
    (void)number, (void)what;
    event_base_loopbreak(((server *)context)->base);
}

/* Ends with the process: what is left to free is not what is measured. */
static int serve(server *s)
{
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    s->base = event_base_new();
    struct evhttp *http = evhttp_new(s->base);
    evhttp_set_gencb(http, start_check(s), s);
    struct evhttp_bound_socket *listening = evhttp_bind_socket_with_handle(http, "127.0.0.1", 0);
    struct event *term = evsignal_new(s->base, SIGTERM, stop, s);
    if (!listening || !term || event_add(term, NULL) ||
        getsockname(evhttp_bound_socket_get_fd(listening), (struct sockaddr *)&address, &size))
        die("listening", strerror(errno));
    printf("listening on %u with %s\n", ntohs(address.sin_port), BENCH_VERSIONS);
    fflush(stdout);
    event_base_dispatch(s->base);
    latchkey_close(s->lk);
    return 0;
}

static const char usage[] = "latchkey-bench-http --socket REDIS.sock --check none|latchkey|redis [--options OPTIONS]\n"
                            "latchkey-bench-http --socket REDIS.sock --prepare N --cookies FILE\n"
                            "\n"
                            "Started by bench/http/run.py. OPTIONS are those of latchkey_open: l1_capacity=0&...\n";

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"check", required_argument, NULL, 'c'},
        {"socket", required_argument, NULL, 's'},
        {"options", required_argument, NULL, 'o'},
        {"prepare", required_argument, NULL, 'p'},
        {"cookies", required_argument, NULL, 'k'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    server s = {.options = "deadline_ms=10000"};
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == 'c') s.check = optarg;
        else if (o == 's') s.socket = optarg;
        else if (o == 'o') s.options = optarg;
        else if (o == 'p') s.prepare = strtoul(optarg, NULL, 10);
        else if (o == 'k') s.cookies = optarg;
        else return fputs(usage, o == 'h' ? stdout : stderr), o == 'h' ? 0 : 2;
    }
    if (!s.socket || !(s.check || (s.prepare && s.cookies))) return fputs(usage, stderr), 2;
    return s.check ? serve(&s) : prepare(&s);
}
