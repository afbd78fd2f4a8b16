/* SPDX-License-Identifier: MIT */
#include "liar.h"
#include "check.h"
#include "test_net.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PAIRS_MAX = 64, ASKED_MAX = 4096, ELEMENTS_MAX = 512, DRIP_MS = 3 };

typedef struct buffer {
    char *bytes;
    size_t used, room;
} buffer;

typedef struct pair {
    int up, down;         /* -1: free */
    buffer asked, told;   /* what came and is not whole yet */
    char info[ASKED_MAX]; /* of each reply that is awaited, in a ring: is it one to INFO? */
    unsigned first, waiting;
    int link, subscribed;
    int spoilt; /* an endless lie goes on */
    size_t dripped;
} pair;

struct liar {
    int listener, port, redis_port, wake[2];
    pthread_t thread;
    pair pairs[PAIRS_MAX]; /* the thread's own */
    atomic_uint passed;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t taken_up;
    lie now;
    int armed, stop;
    unsigned long asked, done;
};

static void append(buffer *b, const char *bytes, size_t size)
{
    if (b->used + size > b->room) {
        b->room = 2 * (b->used + size);
        b->bytes = realloc(b->bytes, b->room);
        if (!b->bytes) abort();
    }
    memcpy(b->bytes + b->used, bytes, size);
    b->used += size;
}

static void drop_front(buffer *b, size_t size)
{
    b->used -= size;
    memmove(b->bytes, b->bytes + size, b->used);
}

static void drop(pair *p)
{
    close(p->up);
    close(p->down);
    free(p->asked.bytes);
    free(p->told.bytes);
    *p = (pair){.up = -1, .down = -1};
}

/* The end of the reply, or command, that begins at `at`; 0: it is not whole yet. The ends of its elements are noted. */
typedef struct elements {
    size_t from[ELEMENTS_MAX], to[ELEMENTS_MAX];
    unsigned count;
} elements;

static size_t end_of(const buffer *b, size_t at, elements *e)
{
    const char *line = b->bytes + at, *end = at < b->used ? memchr(line, '\n', b->used - at) : NULL;
    if (!end) return 0;
    size_t next = (size_t)(end - b->bytes) + 1;
    long count = strtol(line + 1, NULL, 10);
    unsigned mine = e->count < ELEMENTS_MAX ? e->count++ : ELEMENTS_MAX - 1;
    if (*line == '$' && count >= 0) next += (size_t)count + 2;
    for (long i = 0; *line == '*' && i < count && next; i++) next = end_of(b, next, e);
    if (!next || next > b->used) return 0;
    e->from[mine] = at;
    e->to[mine] = next;
    return next;
}

static int send_all(int fd, const char *bytes, size_t size)
{
    while (size) {
        ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);
        if (sent <= 0) return 0;
        bytes += sent;
        size -= (size_t)sent;
    }
    return 1;
}

static int take_up(pair *p, int from, buffer *b)
{
    char piece[65536];
    ssize_t got = recv(from, piece, sizeof piece, MSG_DONTWAIT);
    if (got > 0) append(b, piece, (size_t)got);
    else drop(p);
    return got > 0;
}

/* Requests pass as they are; what they are is noted. */
static void pass_requests(pair *p)
{
    buffer *b = &p->asked;
    size_t size = b->used, end;
    if (!take_up(p, p->down, b)) return;
    if (!send_all(p->up, b->bytes + size, b->used - size)) {
        drop(p);
        return;
    }
    for (;;) {
        elements e = {.count = 0};
        if (!(end = end_of(b, 0, &e))) return;
        const char *name = b->bytes + e.from[1];
        name = (const char *)memchr(name, '\n', e.to[1] - e.from[1]) + 1;
        int info = strncasecmp(name, "INFO\r", 5) == 0;
        p->subscribed |= strncasecmp(name, "SUBSCRIBE\r", 10) == 0;
        p->link |= p->subscribed || strncasecmp(name, "HSETNX\r", 7) == 0;
        if (p->waiting < ASKED_MAX) p->info[(p->first + p->waiting++) % ASKED_MAX] = (char)info;
        drop_front(b, end);
    }
}

/* What the next reply belongs to. If it was asked for before the subscription, it is not a message yet. */
static liar_to next_reply(pair *p)
{
    int info = 0;
    if (p->waiting && !(p->subscribed && p->waiting == 1)) {
        info = p->info[p->first];
        p->first = (p->first + 1) % ASKED_MAX;
        p->waiting--;
    }
    return info ? LIAR_HELLO : p->link ? LIAR_LINK : LIAR_CALLERS;
}

static int tell(liar *l, pair *p, const lie *now, size_t size, const elements *e)
{
    const char *truth = p->told.bytes;
    liar_to to = next_reply(p);
    if (!now || to != now->to) return send_all(p->down, truth, size);
    unsigned number = atomic_fetch_add(&l->passed, 1);
    if (now->every ? number < now->nth : number != now->nth) return send_all(p->down, truth, size);
    unsigned which = now->element % e->count;
    p->spoilt = now->endless || now->drips;
    return send_all(p->down, truth, e->from[which]) && send_all(p->down, now->bytes, now->size) &&
           (p->spoilt || send_all(p->down, truth + e->to[which], size - e->to[which]));
}

static void pass_replies(liar *l, pair *p, const lie *now)
{
    if (!take_up(p, p->up, &p->told)) return;
    while (p->up >= 0 && !p->spoilt) {
        elements e = {.count = 0};
        size_t end = end_of(&p->told, 0, &e);
        if (!end) return;
        if (!tell(l, p, now, end, &e)) drop(p);
        else drop_front(&p->told, end);
    }
}

static void go_on_lying(pair *p, const lie *now)
{
    char much[65536];
    ssize_t sent;
    if (!now || !now->size) return;
    if (now->drips) {
        if (send(p->down, now->bytes + p->dripped++ % now->size, 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) drop(p);
        return;
    }
    size_t whole = sizeof much / now->size * now->size; /* repetitions that are not cut */
    for (size_t i = 0; i < whole; i++) much[i] = now->bytes[i % now->size];
    sent = send(p->down, much, whole, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0 && (size_t)sent % now->size)
        send_all(p->down, much + (size_t)sent % now->size, now->size - (size_t)sent % now->size);
}

static void welcome(liar *l)
{
    const struct timeval second = {.tv_sec = 1};
    int down = accept4(l->listener, NULL, NULL, SOCK_CLOEXEC), up = down < 0 ? -1 : net_connect(l->redis_port);
    for (int i = 0; i < PAIRS_MAX && up >= 0; i++) {
        if (l->pairs[i].up >= 0) continue;
        setsockopt(up, SOL_SOCKET, SO_SNDTIMEO, &second, sizeof second);
        setsockopt(down, SOL_SOCKET, SO_SNDTIMEO, &second, sizeof second);
        l->pairs[i] = (pair){.up = up, .down = down};
        return;
    }
    if (up >= 0) close(up);
    if (down >= 0) close(down);
}

static void serve_once(liar *l, const lie *now)
{
    struct pollfd fds[2 + 2 * PAIRS_MAX] = {{l->wake[0], POLLIN, 0}, {l->listener, POLLIN, 0}};
    int patience = -1;
    for (int i = 0; i < PAIRS_MAX; i++) {
        pair *p = &l->pairs[i];
        if (p->spoilt && p->up >= 0) patience = now && now->drips ? DRIP_MS : 0;
        fds[2 + 2 * i] = (struct pollfd){p->down, POLLIN, 0};
        fds[3 + 2 * i] = (struct pollfd){p->spoilt ? -1 : p->up, POLLIN, 0};
    }
    poll(fds, 2 + 2 * PAIRS_MAX, patience);
    if (fds[0].revents) {
        char bytes[16];
        if (read(l->wake[0], bytes, sizeof bytes) < 0) abort();
        return; /* what is armed may have changed: nothing passes under the old lie any more */
    }
    for (int i = 0; i < PAIRS_MAX; i++) {
        pair *p = &l->pairs[i];
        if (p->up >= 0 && fds[2 + 2 * i].fd == p->down && fds[2 + 2 * i].revents) pass_requests(p);
        if (p->up >= 0 && fds[3 + 2 * i].fd == p->up && fds[3 + 2 * i].revents) pass_replies(l, p, now);
        if (p->up >= 0 && p->spoilt) go_on_lying(p, now);
    }
    if (fds[1].revents) welcome(l);
}

static void *serve(void *argument)
{
    liar *l = argument;
    for (;;) {
        pthread_mutex_lock(&l->lock);
        lie now = l->now;
        int armed = l->armed, stop = l->stop;
        if (l->done != l->asked) /* another lie: what the last one spoilt is of no use */
            for (int i = 0; i < PAIRS_MAX; i++)
                if (l->pairs[i].up >= 0 && (l->pairs[i].spoilt || stop)) drop(&l->pairs[i]);
        l->done = l->asked;
        pthread_cond_broadcast(&l->taken_up);
        pthread_mutex_unlock(&l->lock);
        if (stop) return NULL;
        serve_once(l, armed ? &now : NULL);
    }
}

static void change_locked(liar *l)
{
    unsigned long mine = ++l->asked;
    if (write(l->wake[1], "", 1) != 1) abort();
    while (l->done < mine) pthread_cond_wait(&l->taken_up, &l->lock);
}

void liar_arm(liar *l, const lie *what)
{
    pthread_mutex_lock(&l->lock);
    l->armed = what != NULL;
    if (what) l->now = *what;
    if (what) atomic_store(&l->passed, 0);
    change_locked(l);
    pthread_mutex_unlock(&l->lock);
}

unsigned liar_passed(liar *l) { return atomic_load(&l->passed); }

liar *liar_start(int redis_port)
{
    liar *l = calloc(1, sizeof *l);
    assert_non_null(l);
    l->redis_port = redis_port;
    for (int i = 0; i < PAIRS_MAX; i++) l->pairs[i] = (pair){.up = -1, .down = -1};
    l->listener = net_listen(&l->port);
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->taken_up, NULL);
    if (pipe2(l->wake, O_CLOEXEC) || pthread_create(&l->thread, NULL, serve, l)) fail_msg("cannot start a liar");
    return l;
}

int liar_port(const liar *l) { return l->port; }

void liar_end(liar *l)
{
    pthread_mutex_lock(&l->lock);
    l->stop = 1;
    change_locked(l);
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->thread, NULL);
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->taken_up);
    close(l->wake[0]);
    close(l->wake[1]);
    close(l->listener);
    free(l);
}
