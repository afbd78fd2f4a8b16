/* SPDX-License-Identifier: MIT */
#include "proxy.h"
#include "check.h"
#include "test_net.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_PAIRS 128

typedef struct pair {
    int up, down; /* towards Redis, towards the handle; -1: free */
    int held;     /* PROXY_HOLD_ONE and PROXY_HOLD_REQUEST: this is the one */
    int subscribed;
    int64_t passed_ms; /* something did, last */
    int forgotten;
} pair;

struct proxy {
    int listener, port, wake[2];
    atomic_int redis_port;
    pthread_t thread;
    pair pairs[MAX_PAIRS]; /* the thread's own */
    atomic_int holds_one;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t taken_up;
    proxy_mode mode;
    const char *bytes;
    size_t size;
    int drop, stop, forget_ms; /* forget_ms: 0, or to be done */
    unsigned long asked, done; /* changes asked for, and taken up by the thread */
};

static void drop(pair *both)
{
    close(both->up);
    close(both->down);
    both->up = both->down = -1;
}

/* Sends all of it. A peer that does not read stalls the proxy no longer than a second, then it is dropped. */
static int deliver(int fd, const char *bytes, size_t size)
{
    while (size) {
        ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);
        if (sent <= 0) return -1;
        bytes += sent;
        size -= (size_t)sent;
    }
    return 0;
}

/* Looks at a request before it passes. True: it is held back, and stays in the socket. */
static int look(proxy *p, pair *both, proxy_mode mode, const char *bytes, size_t size)
{
    char piece[65536];
    ssize_t got = recv(both->down, piece, sizeof piece, MSG_DONTWAIT | MSG_PEEK);
    if (got <= 0) return 0;
    if (check_find(piece, (size_t)got, "SUBSCRIBE", 9)) both->subscribed = 1;
    if ((mode != PROXY_HOLD_ONE && mode != PROXY_HOLD_REQUEST) || atomic_load(&p->holds_one)) return 0;
    if (!check_find(piece, (size_t)got, bytes, size)) return 0;
    both->held = 1;
    if (mode == PROXY_HOLD_REQUEST) atomic_store(&p->holds_one, 1);
    return mode == PROXY_HOLD_REQUEST;
}

static void pass(proxy *p, pair *both, int is_reply, proxy_mode mode, const char *bytes, size_t size)
{
    char piece[65536];
    both->passed_ms = check_now_ms();
    if (both->forgotten) {
        if (recv(is_reply ? both->up : both->down, piece, sizeof piece, MSG_DONTWAIT) <= 0) drop(both);
        return;
    }
    if (!is_reply && look(p, both, mode, bytes, size)) return;
    int from = is_reply ? both->up : both->down, to = is_reply ? both->down : both->up;
    ssize_t got = recv(from, piece, sizeof piece, MSG_DONTWAIT);
    int failed = got <= 0;
    if (failed || mode == PROXY_BLACKHOLE) {
        /* Where everything is swallowed the end of a connection is not passed on either. */
        if (failed && (mode != PROXY_BLACKHOLE || !is_reply)) drop(both);
        return;
    }
    if (is_reply && mode == PROXY_DROP_ONE && both->subscribed && !atomic_load(&p->holds_one) &&
        check_find(piece, (size_t)got, bytes, size)) {
        atomic_store(&p->holds_one, 1);
        return;
    }
    if (is_reply && mode == PROXY_FLIP) piece[(size_t)got > size ? size : (size_t)got - 1] ^= 1;
    if (!is_reply || (mode != PROXY_REPLACE && mode != PROXY_TRUNCATE)) {
        failed = deliver(to, piece, (size_t)got);
        if (both->held) atomic_store(&p->holds_one, 1);
    } else if (mode == PROXY_REPLACE) {
        failed = deliver(to, bytes, size);
    } else {
        deliver(to, piece, (size_t)got < size ? (size_t)got : size);
        failed = 1;
    }
    if (failed) drop(both);
}

static void welcome(proxy *p, proxy_mode mode)
{
    const struct timeval second = {.tv_sec = 1};
    int down = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC);
    if (down < 0) return;
    int up = mode == PROXY_CUT ? -1 : net_connect(p->redis_port);
    for (int i = 0; i < MAX_PAIRS && up >= 0; i++) {
        if (p->pairs[i].up >= 0) continue;
        setsockopt(up, SOL_SOCKET, SO_SNDTIMEO, &second, sizeof second);
        setsockopt(down, SOL_SOCKET, SO_SNDTIMEO, &second, sizeof second);
        p->pairs[i] = (pair){.up = up, .down = down, .passed_ms = check_now_ms()};
        return;
    }
    if (up >= 0) close(up);
    close(down);
}

static void drop_all(proxy *p)
{
    for (int i = 0; i < MAX_PAIRS; i++)
        if (p->pairs[i].up >= 0) drop(&p->pairs[i]);
}

static void forget_idle(proxy *p, int idle_ms)
{
    for (int i = 0; i < MAX_PAIRS; i++)
        if (check_now_ms() - p->pairs[i].passed_ms >= idle_ms) p->pairs[i].forgotten = 1;
}

static void *serve(void *argument)
{
    proxy *p = argument;
    for (;;) {
        char byte[16];
        pthread_mutex_lock(&p->lock);
        proxy_mode mode = p->mode;
        const char *bytes = p->bytes;
        size_t size = p->size;
        int stop = p->stop;
        if (p->drop || stop || mode == PROXY_CUT) drop_all(p);
        p->drop = 0;
        if (p->forget_ms) forget_idle(p, p->forget_ms);
        p->forget_ms = 0;
        p->done = p->asked;
        pthread_cond_broadcast(&p->taken_up);
        pthread_mutex_unlock(&p->lock);
        if (stop) return NULL;

        struct pollfd fds[2 + 2 * MAX_PAIRS] = {{p->wake[0], POLLIN, 0}, {p->listener, POLLIN, 0}};
        if (mode == PROXY_HOLD || mode == PROXY_ADMIT_NONE)
            fds[1].fd = -1; /* the kernel accepts, and no answer comes */
        for (int i = 0; i < MAX_PAIRS; i++) {
            pair *both = &p->pairs[i];
            if (mode != PROXY_HOLD_ONE && mode != PROXY_HOLD_REQUEST) both->held = 0;
            int holds_up = mode == PROXY_HOLD || (mode == PROXY_HOLD_REQUEST && both->held);
            int holds_down = mode == PROXY_HOLD || mode == PROXY_HOLD_DOWN || both->held ||
                             (mode == PROXY_HOLD_MESSAGES && both->subscribed);
            fds[2 + 2 * i] = (struct pollfd){holds_up ? -1 : both->down, POLLIN, 0};
            fds[3 + 2 * i] = (struct pollfd){holds_down ? -1 : both->up, POLLIN, 0};
        }
        poll(fds, 2 + 2 * MAX_PAIRS, -1);
        if (fds[0].revents) {
            if (read(p->wake[0], byte, sizeof byte) < 0) abort();
            continue; /* the mode may have changed: nothing passes under the old one any more */
        }
        for (int i = 0; i < MAX_PAIRS; i++) {
            pair *both = &p->pairs[i];
            if (fds[2 + 2 * i].revents && both->up >= 0) pass(p, both, 0, mode, bytes, size);
            if (fds[3 + 2 * i].revents && both->up >= 0) pass(p, both, 1, mode, bytes, size);
        }
        if (fds[1].revents) welcome(p, mode);
    }
}

static void change_locked(proxy *p)
{
    unsigned long mine = ++p->asked;
    if (write(p->wake[1], "", 1) != 1) abort();
    while (p->done < mine) pthread_cond_wait(&p->taken_up, &p->lock);
}

void proxy_set(proxy *p, proxy_mode mode, const char *bytes, size_t size)
{
    pthread_mutex_lock(&p->lock);
    p->mode = mode;
    atomic_store(&p->holds_one, 0);
    p->bytes = bytes;
    p->size = size;
    change_locked(p);
    pthread_mutex_unlock(&p->lock);
}

int proxy_holds_one(proxy *p) { return atomic_load(&p->holds_one); }

void proxy_drop_connections(proxy *p)
{
    pthread_mutex_lock(&p->lock);
    p->drop = 1;
    change_locked(p);
    pthread_mutex_unlock(&p->lock);
}

void proxy_forget_idle(proxy *p, int idle_ms)
{
    pthread_mutex_lock(&p->lock);
    p->forget_ms = idle_ms;
    change_locked(p);
    pthread_mutex_unlock(&p->lock);
}

proxy *proxy_start(int redis_port)
{
    proxy *p = calloc(1, sizeof *p);
    assert_non_null(p);
    p->redis_port = redis_port;
    for (int i = 0; i < MAX_PAIRS; i++) p->pairs[i] = (pair){.up = -1, .down = -1};
    p->listener = net_listen(&p->port);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->taken_up, NULL);
    if (pipe2(p->wake, O_CLOEXEC) || pthread_create(&p->thread, NULL, serve, p)) fail_msg("cannot start a proxy");
    return p;
}

int proxy_port(const proxy *p) { return p->port; }

void proxy_aim(proxy *p, int redis_port) { atomic_store(&p->redis_port, redis_port); }

void proxy_end(proxy *p)
{
    pthread_mutex_lock(&p->lock);
    p->stop = 1;
    change_locked(p);
    pthread_mutex_unlock(&p->lock);
    pthread_join(p->thread, NULL);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->taken_up);
    close(p->wake[0]);
    close(p->wake[1]);
    close(p->listener);
    free(p);
}
