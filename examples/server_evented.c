/* SPDX-License-Identifier: MIT
 *
 * An HTTP server with cookies, on an event loop (libevent): the routes of server_threaded.c, answered by one thread that
 * never waits.
 *
 *     /whoami ──► latchkey_try_validate ──hit──► reply
 *                     │ AGAIN
 *     /login          │
 *     /logout ────────┴──► take a place, submit with its tag ... queue readable ──► reap ──► tag ──► place ──► reply
 *
 * An answer that says LATCHKEY_FLAG_RENEW goes that way once more, to exchange the token, before it is sent.
 *
 * With --workers N it is N processes, each with a loop and a handle of its own, opened after the fork.
 */
#define _GNU_SOURCE /* getopt_long, explicit_bzero */
#include "app.h"
#include "prefork.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>

static const char program[] = "latchkey-server-evented";

enum {
    PLACES = 4096, /* requests that wait for Redis at once; latchkey's own limit is the option in_flight */
    REAP = 64,
    BODY_LIMIT = 4096, /* no route reads one */
    HEADERS_LIMIT = 16384,
    IDLE_S = 30
};

/* What waits for an answer. */
typedef struct waiting {
    struct evhttp_request *request;
    enum { WHOAMI, RENEW, LOGIN, LOGOUT } what;
    double began_us;
    size_t cookie;        /* WHOAMI: the one that is asked about */
    int status;           /* of those before it, 0: there are none; RENEW: the answer; LOGOUT: the outcome so far */
    latchkey_entry entry; /* RENEW */
    bool hit;
    double took_us;
    uint64_t user; /* LOGIN */
    unsigned left; /* LOGOUT: results that are still to come */
} waiting;

/* Where it waits. The tag under which it is asked is the place's number and its generation, which moves when the place is
 * left: so no answer is ever given to a request that waits there later. */
typedef struct place {
    waiting who; /* its request is NULL: free */
    uint32_t generation, next_free;
} place;

typedef struct server {
    const char *config;
    unsigned port, workers;
    bool insecure_cookie, stopping;

    latchkey *lk;
    latchkey_queue *queue; /* this loop's */
    struct event_base *base;
    struct evhttp *http;
    struct evhttp_bound_socket *listening;
    place places[PLACES];
    uint32_t first_free, taken;
} server;

/* ---------------------------------------------------------------------------------------- the waiting room -- */

static void open_waiting_room(server *s)
{
    for (uint32_t i = 0; i < PLACES; i++) s->places[i].next_free = i + 1;
}

/* False: all places are taken. */
static bool take_place(server *s, const waiting *who, uint64_t *tag)
{
    uint32_t i = s->first_free;
    if (i == PLACES) return false;
    place *p = &s->places[i];
    s->first_free = p->next_free;
    s->taken++;
    p->who = *who;
    *tag = (uint64_t)p->generation << 32 | i;
    return true;
}

/* The request that waits under this tag. NULL: there is none. evhttp keeps a request until it is answered, also when its client has
 * hung up. With a library that does not, leave the place when that happens: the result that comes later then finds no request. */
static waiting *find_place(server *s, uint64_t tag)
{
    uint32_t i = (uint32_t)tag;
    bool taken = i < PLACES && s->places[i].generation == tag >> 32 && s->places[i].who.request;
    return taken ? &s->places[i].who : NULL;
}

static void leave_place(server *s, uint64_t tag)
{
    uint32_t i = (uint32_t)tag;
    place *p = &s->places[i];
    p->who.request = NULL;
    p->generation++;
    p->next_free = s->first_free;
    s->first_free = i;
    s->taken--;
}

/* Stopping waits for the requests that wait; the moment more is for answers that are not sent yet. */
static void stop_if_empty(server *s)
{
    const struct timeval moment = {0, 100000};
    if (s->stopping && s->taken == 0) event_base_loopexit(s->base, &moment);
}

static void answer(const server *s, struct evhttp_request *request, const reply *r)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    evhttp_add_header(headers, "Content-Type", r->type);
    evhttp_add_header(headers, "Cache-Control", "no-store");
    for (size_t i = 0; i < r->header_count; i++) evhttp_add_header(headers, r->names[i], r->values[i]);
    if (s->workers > 1) {
        char pid[16];
        snprintf(pid, sizeof pid, "%d", (int)getpid());
        evhttp_add_header(headers, "X-Worker", pid);
    }
    if (s->stopping) evhttp_add_header(headers, "Connection", "close");
    evbuffer_add(evhttp_request_get_output_buffer(request), r->body, strlen(r->body));
    evhttp_send_reply(request, (int)r->status, NULL, NULL);
}

/* Asks; OK: a result comes under this tag. */
static int submit(server *s, uint64_t tag, int kind, const cookie *of, const latchkey_draft *draft)
{
    latchkey_request r = {.size = sizeof r, .kind = kind, .tag = tag, .draft = draft};
    if (of) r.token = of->token, r.token_len = of->length;
    r.grace_ms = APP_RENEWAL_GRACE_MS;
    return latchkey_queue_submit(s->queue, &r);
}

/* ------------------------------------------------------------------- handlers: true if `r` is the answer -- */

static const char busy[] = "too many requests wait for Redis";

static void take_cookies(struct evhttp_request *request, cookies *c)
{
    cookies_begin(c);
    struct evkeyval *header;
    TAILQ_FOREACH(header, evhttp_request_get_input_headers(request), next)
    if (evutil_ascii_strcasecmp(header->key, "Cookie") == 0) cookies_add(c, header->value);
}

/* False: `r` is the answer. */
static bool read_cookies(struct evhttp_request *request, cookies *c, reply *r)
{
    take_cookies(request, c);
    return reply_cookies(r, c);
}

/* The tag of an end that no request waits for; but stopping does. No place has it. */
static const uint64_t ends = UINT64_MAX;

/* After a login: what was in this browser before ends, or it would be in use from then on where its cookie comes first. From
 * submit on it is denied here. */
static void end_others(server *s, struct evhttp_request *request)
{
    cookies before;
    take_cookies(request, &before);
    for (size_t i = 0; i < before.count; i++)
        if (submit(s, ends, LATCHKEY_REVOKE, &before.at[i], NULL) == LATCHKEY_OK) s->taken++;
}

/* What is known of the session is the answer, unless its token is to be exchanged first. Where there is no room for that, a
 * later request will do. */
static bool known(server *s, waiting *who, const cookie *one, int status, const latchkey_entry *entry, bool hit,
                  reply *r)
{
    uint64_t tag;
    who->what = RENEW;
    who->status = status;
    who->entry = *entry;
    who->hit = hit;
    who->took_us = app_now_us() - who->began_us;
    if (app_old(status, entry) && take_place(s, who, &tag)) {
        if (submit(s, tag, LATCHKEY_ROTATE, one, NULL) == LATCHKEY_OK) return false;
        leave_place(s, tag);
    }
    reply_whoami(r, status, entry, hit, who->took_us);
    return true;
}

/* Asks about the cookies from who->cookie on, until one is not refused. */
static bool ask(server *s, waiting *who, const cookies *c, bool hit, reply *r)
{
    latchkey_entry entry;
    for (; who->cookie < c->count; who->cookie++) {
        const cookie *one = &c->at[who->cookie];
        int status = latchkey_try_validate(s->lk, one->token, one->length, &entry);
        if (status == LATCHKEY_AGAIN) {
            uint64_t tag;
            if (!take_place(s, who, &tag)) {
                reply_busy(r, busy);
                return true;
            }
            status = submit(s, tag, LATCHKEY_VALIDATE, one, NULL);
            if (status == LATCHKEY_OK) return false; /* results_came goes on with it */
            leave_place(s, tag);
            hit = false;
        }
        if (app_final(status)) return known(s, who, one, status, &entry, hit, r);
        who->status = app_refused(who->status, status);
    }
    reply_whoami(r, who->status, &entry, hit, app_now_us() - who->began_us);
    return true;
}

static bool whoami(server *s, struct evhttp_request *request, reply *r)
{
    cookies c;
    waiting who = {.request = request, .what = WHOAMI, .began_us = app_now_us()};
    return !read_cookies(request, &c, r) || ask(s, &who, &c, true, r);
}

/* The result about who->cookie. */
static bool validated(server *s, waiting *who, const latchkey_result *result, reply *r)
{
    cookies c;
    if (!read_cookies(who->request, &c, r)) return true; /* the same header as before: it does not happen */
    if (app_final(result->status)) return known(s, who, &c.at[who->cookie], result->status, &result->entry, false, r);
    who->status = app_refused(who->status, result->status);
    who->cookie++;
    return ask(s, who, &c, false, r);
}

/* True if `r` is what the client gets. */
static bool answered(server *s, waiting *who, const latchkey_result *result, reply *r)
{
    switch (who->what) {
    case WHOAMI: return validated(s, who, result, r);
    case LOGIN:
        if (result->status == LATCHKEY_OK) end_others(s, who->request);
        reply_login(r, result->status, who->user, result->token, s->insecure_cookie);
        break;
    case LOGOUT: reply_logout(r, who->status, s->insecure_cookie); break;
    case RENEW:
        reply_whoami(r, who->status, &who->entry, who->hit, who->took_us);
        reply_renewed(r, result->token, s->insecure_cookie);
    }
    return true;
}

static void result_came(server *s, const latchkey_result *result)
{
    waiting *at = find_place(s, result->tag);
    if (result->tag == ends) s->taken--;
    if (!at) return;
    if (at->what == LOGOUT) {
        at->status = app_ended(at->status, result->status);
        if (--at->left) return; /* of the other cookies */
    }
    waiting who = *at;
    leave_place(s, result->tag);
    reply r;
    reply_begin(&r);
    if (answered(s, &who, result, &r)) answer(s, who.request, &r);
}

/* The queue's descriptor is readable. */
static void results_came(evutil_socket_t fd, short what, void *context)
{
    (void)fd, (void)what;
    server *s = context;
    latchkey_result results[REAP];
    size_t count;
    do {
        count = latchkey_queue_reap(s->queue, results, sizeof *results, REAP);
        for (size_t i = 0; i < count; i++) result_came(s, &results[i]);
    } while (count == REAP);
    explicit_bzero(results, sizeof results); /* tokens are in them */
    stop_if_empty(s);
}

static bool read_user(struct evhttp_request *request, uint64_t *user)
{
    struct evkeyvalq query;
    const char *text = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(request));
    if (!text || evhttp_parse_query_str(text, &query) != 0) return false;
    bool found = app_user(evhttp_find_header(&query, "user"), user);
    evhttp_clear_headers(&query);
    return found;
}

static bool log_in(server *s, struct evhttp_request *request, reply *r)
{
    login_draft l;
    cookies before;
    uint64_t tag;
    waiting who = {.request = request, .what = LOGIN};
    take_cookies(request, &before);
    if (before.too_many) {
        reply_cookies(r, &before);
        return true;
    }
    if (!read_user(request, &who.user)) {
        reply_no_user(r);
        return true;
    }
    if (!take_place(s, &who, &tag)) {
        reply_busy(r, busy);
        return true;
    }
    int status = app_draft(who.user, &l) ? submit(s, tag, LATCHKEY_CREATE, NULL, &l.draft) : (int)LATCHKEY_NO_MEMORY;
    if (status == LATCHKEY_OK) return false;
    leave_place(s, tag);
    reply_login(r, status, who.user, "", s->insecure_cookie);
    return true;
}

/* Ends the sessions of all cookies, at once. From submit on they are denied here. */
static bool log_out(server *s, struct evhttp_request *request, reply *r)
{
    cookies all;
    uint64_t tag;
    if (!read_cookies(request, &all, r)) return true;
    if (!take_place(s, &(waiting){.request = request, .what = LOGOUT, .status = LATCHKEY_MALFORMED}, &tag)) {
        reply_busy(r, busy);
        return true;
    }
    waiting *who = find_place(s, tag);
    for (size_t i = 0; i < all.count; i++) {
        int status = submit(s, tag, LATCHKEY_REVOKE, &all.at[i], NULL);
        if (status == LATCHKEY_OK) who->left++;
        else who->status = app_ended(who->status, status);
    }
    if (who->left) return false;
    reply_logout(r, who->status, s->insecure_cookie);
    leave_place(s, tag);
    return true;
}

static bool metrics(server *s, struct evhttp_request *request, reply *r)
{
    (void)request;
    reply_metrics(r, s->lk);
    return true;
}

static bool healthz(server *s, struct evhttp_request *request, reply *r)
{
    (void)request;
    reply_healthz(r, s->lk);
    return true;
}

/* ---------------------------------------------------------------------------------------------- dispatch -- */

static const struct route {
    enum evhttp_cmd_type method;
    const char *path;
    bool (*handle)(server *s, struct evhttp_request *request, reply *r);
} routes[] = {
    {EVHTTP_REQ_POST, "/login", log_in},   {EVHTTP_REQ_GET, "/whoami", whoami},   {EVHTTP_REQ_POST, "/logout", log_out},
    {EVHTTP_REQ_GET, "/metrics", metrics}, {EVHTTP_REQ_GET, "/healthz", healthz},
};

static bool find(server *s, struct evhttp_request *request, reply *r)
{
    const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(request));
    enum evhttp_cmd_type method = evhttp_request_get_command(request);
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++)
        if (routes[i].method == method && strcmp(routes[i].path, path) == 0) return routes[i].handle(s, request, r);
    reply_no_route(r);
    return true;
}

static void dispatch(struct evhttp_request *request, void *context)
{
    server *s = context;
    reply r;
    reply_begin(&r);
    if (s->stopping) reply_busy(&r, "this server is stopping");
    else if (!find(s, request, &r)) return;
    answer(s, request, &r);
}

/* ------------------------------------------------------------------------------------------- one process -- */

static void stop(evutil_socket_t number, short what, void *context)
{
    (void)number, (void)what;
    server *s = context;
    if (s->listening) evhttp_del_accept_socket(s->http, s->listening);
    s->listening = NULL;
    s->stopping = true;
    stop_if_empty(s);
}

static void signals(int how)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGCHLD);
    sigprocmask(how, &set, NULL);
}

static bool start_http(server *s, int listening)
{
    s->http = evhttp_new(s->base);
    if (!s->http) return false;
    evhttp_set_allowed_methods(s->http, EVHTTP_REQ_GET | EVHTTP_REQ_POST);
    evhttp_set_max_headers_size(s->http, HEADERS_LIMIT);
    evhttp_set_max_body_size(s->http, BODY_LIMIT);
    evhttp_set_timeout(s->http, IDLE_S);
    evhttp_set_gencb(s->http, dispatch, s);
    s->listening = evhttp_accept_socket_with_handle(s->http, listening);
    return s->listening != NULL;
}

static struct event *watch(server *s, int fd, short what, event_callback_fn call_back)
{
    struct event *e = event_new(s->base, fd, (short)(what | EV_PERSIST), call_back, s);
    if (!e || event_add(e, NULL)) {
        fprintf(stderr, "%s: the event loop does not take descriptor or signal %d\n", program, fd);
        exit(1);
    }
    return e;
}

static void announce(const void *context)
{
    const server *s = context;
    printf("listening on http://127.0.0.1:%u\n", s->port);
    fflush(stdout); /* a program that started us waits for this line, through a pipe or a file */
}

/* Until SIGTERM or SIGINT. */
static int serve(void *context, int listening, int ready)
{
    server *s = context;
    char error[256];
    if (latchkey_open(s->config, &s->lk, error, sizeof error) != LATCHKEY_OK) {
        fprintf(stderr, "%s: %s\n", program, error);
        return 1;
    }
    open_waiting_room(s);
    s->base = event_base_new();
    s->queue = latchkey_queue_open(s->lk);
    if (!s->base || !s->queue || !start_http(s, listening)) {
        fprintf(stderr, "%s: cannot start: %s\n", program, strerror(errno));
        return 1;
    }
    struct event *events[] = {
        watch(s, latchkey_queue_fd(s->queue), EV_READ, results_came),
        watch(s, SIGTERM, EV_SIGNAL, stop),
        watch(s, SIGINT, EV_SIGNAL, stop),
    };
    signals(SIG_UNBLOCK);
    if (ready < 0) announce(s);
    else if (write(ready, "r", 1) == 1) close(ready);
    event_base_dispatch(s->base);

    for (size_t i = 0; i < sizeof events / sizeof *events; i++) event_free(events[i]);
    evhttp_free(s->http);
    event_base_free(s->base);
    latchkey_queue_close(s->queue);
    bool settled = app_settle(s->lk, program);
    latchkey_close(s->lk); /* last: nothing uses it any more */
    return settled ? 0 : 1;
}

/* ------------------------------------------------------------------------------------------------ main -- */

static const char usage[] =
    "latchkey-server-evented: logins, sessions and logouts over HTTP, on loopback, on an event loop\n"
    "\n"
    "  --port N            to listen on, on 127.0.0.1; 0, the default, takes a free one. The address is printed\n"
    "  --workers N         processes, 1 to 64 (1), each with its own loop and its own handle\n"
    "  --redis CONFIG      redis://127.0.0.1:6379, and any option of latchkey_open (see latchkey.h). For a password\n"
    "                      use ?password_file=PATH: other users can see a command line\n"
    "  --insecure-cookie   leaves out the cookie's Secure, for plain HTTP on loopback\n"
    "\n"
    "  POST /login?user=N    GET /whoami    POST /logout    GET /metrics    GET /healthz\n"
    "  With workers, /metrics and /healthz are those of the worker that answers; X-Worker names it.\n";

static void read_options(server *s, int argc, char **argv)
{
    static const struct option options[] = {
        {"port", required_argument, NULL, 'p'},  {"workers", required_argument, NULL, 'w'},
        {"redis", required_argument, NULL, 'r'}, {"insecure-cookie", no_argument, NULL, 'i'},
        {"help", no_argument, NULL, 'h'},        {0},
    };
    s->workers = 1;
    s->config = "redis://127.0.0.1:6379";
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1 || optind < argc;) {
        if (o == 'p') s->port = app_number(program, "port", optarg, 0, 65535);
        else if (o == 'w') s->workers = app_number(program, "workers", optarg, 1, PREFORK_MAX);
        else if (o == 'r') s->config = optarg;
        else if (o == 'i') s->insecure_cookie = true;
        else {
            fputs(usage, o == 'h' ? stdout : stderr);
            exit(o == 'h' ? 0 : 2);
        }
    }
}

int main(int argc, char **argv)
{
    static server s;
    int listening[PREFORK_MAX];
    read_options(&s, argc, argv);
    signal(SIGPIPE, SIG_IGN);
    signals(SIG_BLOCK);
    prefork_listen(program, &s.port, s.workers, listening);
    return s.workers > 1 ? prefork(program, s.workers, listening, serve, announce, &s) : serve(&s, listening[0], -1);
}
