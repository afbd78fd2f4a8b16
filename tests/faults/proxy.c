/* SPDX-License-Identifier: MIT
 *
 * A proxy before a real Redis that knows where a message begins and ends. A process of its own, so that it can be
 * stopped, too. One thread; told what to do in lines on standard input, each answered with one line:
 *
 *   rule ...        see rules.h
 *   clear           no rules any more; what was held is delivered
 *   upstream PORT   where new connections lead; those that there are stay as they are
 *   close           closes all connections that there are
 *   counts          messages passed, held, delayed, dripped, dropped, doubled, cut at; connections; of them subscribed
 *
 *   client <--down-- queue <-- rules <-- messages <-- Redis          (a stream; and the same upwards)
 *
 * Order within a stream is kept, as TCP keeps it: what waits, waits before all that comes later. It ends with its input.
 *
 *   latchkey_fault_proxy PORT [raw]     prints "port N"; raw: what passes is no RESP, and each piece is a message
 */
#include "message.h"
#include "rules.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PAIRS_MAX = 256, PIECE = 65536, QUEUE_MOST = 16 << 20 };
#define NEVER INT64_MAX

typedef struct message {
    struct message *next;
    int64_t due_ms; /* not before; NEVER: held */
    long drip_ms;   /* between bytes; 0: all at once */
    size_t size, sent;
    char bytes[];
} message;

typedef struct stream {
    char *in; /* not yet a whole message */
    size_t in_size, in_room;
    message *first, **last;
    size_t queued;
    bool ended; /* there is no more to come */
} stream;

typedef struct pair {
    bool used, subscription;
    int fd[DIRECTIONS]; /* [UP]: to the client, from where the stream UP comes; [DOWN]: to Redis */
    stream stream[DIRECTIONS];
} pair;

static pair pairs[PAIRS_MAX];
static rules all_rules;
static int upstream_port;
static bool raw;

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static _Noreturn void die(const char *what)
{
    perror(what);
    exit(1);
}

/* ----------------------------------------------------------------------------------------------- streams -- */

static void queue_message(stream *s, const char *bytes, size_t size, int64_t due_ms, long drip_ms)
{
    message *m = malloc(sizeof *m + size);
    if (!m) die("malloc");
    *m = (message){.due_ms = due_ms, .drip_ms = drip_ms, .size = size};
    memcpy(m->bytes, bytes, size);
    *s->last = m;
    s->last = &m->next;
    s->queued += size;
}

static void drop_first(stream *s)
{
    message *m = s->first;
    s->first = m->next;
    if (!s->first) s->last = &s->first;
    s->queued -= m->size;
    free(m);
}

static void close_pair(pair *p)
{
    for (int d = 0; d < DIRECTIONS; d++) {
        close(p->fd[d]);
        free(p->stream[d].in);
        while (p->stream[d].first) drop_first(&p->stream[d]);
    }
    p->used = false;
}

/* Writes what is due. False: the pair is gone. */
static bool write_stream(pair *p, enum direction d, int64_t now)
{
    stream *s = &p->stream[d];
    while (s->first && s->first->due_ms <= now) {
        message *m = s->first;
        size_t piece = m->drip_ms ? 1 : m->size - m->sent;
        ssize_t sent = send(p->fd[!d], m->bytes + m->sent, piece, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && (errno == EAGAIN || errno == EINTR)) return true;
        if (sent < 0) {
            close_pair(p);
            return false;
        }
        m->sent += (size_t)sent;
        if (m->drip_ms) m->due_ms = now + m->drip_ms;
        if (m->sent == m->size) drop_first(s);
    }
    if (s->ended && !s->first && !rules_swallow(&all_rules, p->subscription, d)) {
        close_pair(p);
        return false;
    }
    return true;
}

/* False: the connection was cut here. */
static bool treat(pair *p, enum direction d, const char *bytes, size_t size)
{
    long argument = 0;
    stream *s = &p->stream[d];
    if (d == UP && !raw && message_is_subscribe(bytes, size)) p->subscription = true;
    action what = rules_decide(&all_rules, p->subscription, d, bytes, size, &argument);
    if (what == CUT) { /* behind what came before it */
        if (write_stream(p, d, now_ms())) close_pair(p);
        return false;
    }
    if (what == DROP) return true;
    int64_t due_ms = what == HOLD ? NEVER : what == DELAY ? now_ms() + argument : 0;
    for (int times = what == TWICE ? 2 : 1; times; times--)
        queue_message(s, bytes, size, due_ms, what == DRIP ? argument : 0);
    return true;
}

/* All whole messages out of what has come. */
static void divide(pair *p, enum direction d)
{
    stream *s = &p->stream[d];
    size_t done = 0;
    while (done < s->in_size) {
        size_t left = s->in_size - done;
        long length = raw ? (long)left : message_length(s->in + done, left);
        if (length == MESSAGE_NOT_WHOLE) break;
        if (length == MESSAGE_NOT_RESP) {
            fprintf(stderr, "proxy: this is no RESP: %.60s\n", s->in + done);
            exit(1);
        }
        if (!treat(p, d, s->in + done, (size_t)length)) return;
        done += (size_t)length;
    }
    memmove(s->in, s->in + done, s->in_size - done);
    s->in_size -= done;
}

static void read_stream(pair *p, enum direction d)
{
    stream *s = &p->stream[d];
    if (s->in_room - s->in_size < PIECE) {
        s->in_room = s->in_size + 2 * PIECE;
        s->in = realloc(s->in, s->in_room);
        if (!s->in) die("realloc");
    }
    ssize_t got = recv(p->fd[d], s->in + s->in_size, PIECE, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got > 0) {
        s->in_size += (size_t)got;
        divide(p, d);
        return;
    }
    s->ended = true;
    /* The client's end is the pair's. Redis' end comes behind what it said before, unless everything vanishes. */
    if (d == UP || (!s->first && !rules_swallow(&all_rules, p->subscription, d))) close_pair(p);
}

static bool frozen(const pair *p, enum direction d) { return rules_freeze(&all_rules, p->subscription, d); }

/* ------------------------------------------------------------------------------------------- connections -- */

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int tcp(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) die("socket");
    return fd;
}

/* At a port that is free; with a host at the port of Redis, so that only the host differs. */
static int listen_somewhere(const char *host)
{
    struct sockaddr_in address = loopback(host ? upstream_port : 0);
    if (host && inet_pton(AF_INET, host, &address.sin_addr) != 1) die(host);
    socklen_t size = sizeof address;
    int fd = tcp();
    if (bind(fd, (struct sockaddr *)&address, size) || listen(fd, 128) ||
        getsockname(fd, (struct sockaddr *)&address, &size))
        die("listen");
    printf("port %d\n", ntohs(address.sin_port));
    return fd;
}

static void welcome(int listener)
{
    struct sockaddr_in address = loopback(upstream_port);
    int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC), server, one = 1, i = 0;
    if (client < 0) return;
    server = tcp();
    while (i < PAIRS_MAX && pairs[i].used) i++;
    if (i == PAIRS_MAX || connect(server, (struct sockaddr *)&address, sizeof address)) {
        close(client);
        close(server);
        return;
    }
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    pairs[i] = (pair){.used = true, .fd = {client, server}};
    for (int d = 0; d < DIRECTIONS; d++) pairs[i].stream[d].last = &pairs[i].stream[d].first;
}

/* ------------------------------------------------------------------------------------------------ orders -- */

static void clear(void)
{
    rules_clear(&all_rules);
    for (pair *p = pairs; p < pairs + PAIRS_MAX; p++)
        for (int d = 0; p->used && d < DIRECTIONS; d++)
            for (message *m = p->stream[d].first; m; m = m->next) m->due_ms = m->drip_ms = 0;
}

static void close_all(void)
{
    for (pair *p = pairs; p < pairs + PAIRS_MAX; p++)
        if (p->used) close_pair(p);
}

static void count(void)
{
    unsigned connections = 0, subscriptions = 0;
    for (pair *p = pairs; p < pairs + PAIRS_MAX; p++) {
        connections += p->used;
        subscriptions += p->used && p->subscription;
    }
    const unsigned long *n = all_rules.treated;
    printf("%lu %lu %lu %lu %lu %lu %lu %u %u\n", n[PASS], n[HOLD], n[DELAY], n[DRIP], n[DROP], n[TWICE], n[CUT],
           connections, subscriptions);
}

static void obey(const char *line)
{
    bool good = true;
    if (strcmp(line, "counts") == 0) {
        count();
        return;
    }
    if (strncmp(line, "rule ", 5) == 0) good = rules_add(&all_rules, line + 5);
    else if (strcmp(line, "clear") == 0) clear();
    else if (strcmp(line, "close") == 0) close_all();
    else if (strncmp(line, "upstream ", 9) == 0) upstream_port = atoi(line + 9);
    else good = false;
    puts(good ? "ok" : "what?");
}

static void read_orders(void)
{
    static char text[4096];
    static size_t size;
    ssize_t got = read(STDIN_FILENO, text + size, sizeof text - 1 - size);
    if (got <= 0) exit(0);
    size += (size_t)got;
    for (char *end; (end = memchr(text, '\n', size));) {
        *end = 0;
        obey(text);
        size -= (size_t)(end + 1 - text);
        memmove(text, end + 1, size);
    }
}

/* -------------------------------------------------------------------------------------------------- loop -- */

static void sooner(int64_t *wake_ms, int64_t due_ms)
{
    if (due_ms < *wake_ms) *wake_ms = due_ms;
}

/* What to wait for on behalf of a pair: to be read, or, where something is due, to be written. */
static void ask(const pair *p, struct pollfd fds[DIRECTIONS], int64_t now, int64_t *wake_ms)
{
    for (int d = 0; d < DIRECTIONS; d++) fds[d] = (struct pollfd){.fd = -1};
    if (!p->used) return;
    for (int d = 0; d < DIRECTIONS; d++) {
        const stream *s = &p->stream[d];
        if (frozen(p, d)) continue;
        if (!s->ended && s->queued < QUEUE_MOST) fds[d].events |= POLLIN;
        if (s->first && s->first->due_ms <= now) fds[!d].events |= POLLOUT;
        else if (s->first) sooner(wake_ms, s->first->due_ms);
    }
    for (int d = 0; d < DIRECTIONS; d++)
        if (fds[d].events) fds[d].fd = p->fd[d];
}

static void serve_pair(pair *p, const struct pollfd fds[DIRECTIONS])
{
    for (int d = 0; d < DIRECTIONS && p->used; d++)
        if (fds[d].fd >= 0 && fds[d].events & POLLIN && fds[d].revents) read_stream(p, d);
    for (int d = 0; d < DIRECTIONS && p->used; d++)
        if (!frozen(p, d) && !write_stream(p, d, now_ms())) return;
}

static void serve(int listener)
{
    static struct pollfd fds[2 + DIRECTIONS * PAIRS_MAX];
    int64_t now = now_ms(), wake_ms = NEVER;
    fds[0] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = listener, .events = POLLIN};
    for (int i = 0; i < PAIRS_MAX; i++) ask(&pairs[i], fds + 2 + DIRECTIONS * i, now, &wake_ms);
    int64_t wait = wake_ms == NEVER ? -1 : wake_ms > now ? wake_ms - now : 0;
    if (poll(fds, sizeof fds / sizeof *fds, (int)wait) < 0) return;
    if (fds[0].revents) {
        read_orders();
        return; /* the rules may have changed: nothing more is read under the old ones */
    }
    for (int i = 0; i < PAIRS_MAX; i++)
        if (pairs[i].used) serve_pair(&pairs[i], fds + 2 + DIRECTIONS * i);
    if (fds[1].revents) welcome(listener);
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 2 || argc > 4) {
        fprintf(stderr, "usage: %s PORT [raw [HOST]]\n", argv[0]);
        return 2;
    }
    upstream_port = atoi(argv[1]);
    raw = argc > 2;
    int listener = listen_somewhere(argc > 3 ? argv[3] : NULL);
    for (;;) serve(listener);
}
