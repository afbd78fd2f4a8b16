/* SPDX-License-Identifier: MIT
 *
 * See wire.h. Below, the library's calls on descriptors (ld --wrap), of which those from FIRST_FD on are ours.
 */
#include "wire.h"

#include "chaos.h"
#include "sentinels.h"
#include "server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { FIRST_FD = 1 << 20, FILES_MAX = 512 };

typedef struct file {
    enum { FILE_FREE, FILE_EVENT, FILE_SOCKET, FILE_EPOLL, FILE_TIMER } kind;
    uint64_t count;     /* of an event; of a timer: 1 when it has fired; of an epoll: what happened to its members */
    wire *wire;         /* of a socket that was connected */
    const void *poller; /* what the task that polls it waits on */
    struct file *epoll; /* that watches it */
    short watched;      /* for what: poll's events, which are epoll's */
    int64_t fires_us;   /* a timer: 0: not set */
    uint64_t set;       /* a timer: which time it is that it was set to */
} file;

/* Bytes, or news, under way. */
typedef struct parcel {
    wire *to;
    uint64_t life;
    int direction;
    enum { BYTES, CONNECT, ACCEPTED, REFUSED, END, RESET } what;
    size_t size;
    struct parcel *next, *before; /* of all that are under way, so that none is lost at the end */
    char bytes[];
} parcel;

static struct {
    wire wire[CONNECTIONS_MAX];
    file file[FILES_MAX];
    uint64_t lives;
    parcel under_way;
} in;

void wire_begin(void)
{
    memset(&in, 0, sizeof in);
    in.under_way.next = in.under_way.before = &in.under_way;
}

static void forget_parcel(parcel *p)
{
    p->next->before = p->before;
    p->before->next = p->next;
    free(p);
}

void wire_end(void)
{
    while (in.under_way.next != &in.under_way) forget_parcel(in.under_way.next);
    for (int i = 0; i < CONNECTIONS_MAX; i++) free(in.wire[i].in);
    wire_begin();
}

wire *wire_of(int index) { return in.wire[index].open ? &in.wire[index] : NULL; }

static void let_go(wire *c)
{
    if (c->client_has || c->server_has) return;
    free(c->in);
    int index = c->index;
    memset(c, 0, sizeof *c);
    c->index = index;
}

/* ---------------------------------------------------------------------------------------------- parcels -- */

static void wake_poller(file *f)
{
    if (!f) return;
    if (f->poller) task_wake(f->poller, false);
    if (!f->epoll) return;
    f->epoll->count++;
    task_wake(f->epoll, true); /* everybody who polls it */
}

static void arrive(void *context, uint64_t number);

static void send_parcel(wire *c, int direction, int what, const char *bytes, size_t size)
{
    if (c->lost[direction]) return; /* behind bytes that were lost nothing arrives: TCP keeps the order */
    if (c->hole_until_us[direction] > w.now_us && c->hole_loses[direction]) {
        c->lost[direction] = true;
        return;
    }
    int64_t from = c->hole_until_us[direction] > w.now_us ? c->hole_until_us[direction] : w.now_us;
    int64_t when = from + c->latency_us[direction] + draw_scale(0, c->jitter_us);
    if (when < c->arrives_us[direction]) when = c->arrives_us[direction];
    c->arrives_us[direction] = when;
    parcel *p = calloc(1, sizeof *p + size);
    if (!p) abort();
    *p = (parcel){.to = c, .life = c->life, .direction = direction, .what = (unsigned)what, .size = size};
    if (size) memcpy(p->bytes, bytes, size);
    p->next = &in.under_way;
    p->before = in.under_way.before;
    p->next->before = p->before->next = p;
    at(when, arrive, p, 0);
}

static void client_gets_bytes(wire *c, const parcel *p)
{
    if (c->in_size + p->size > c->in_room) {
        while (c->in_room < c->in_size + p->size) c->in_room = c->in_room ? 2 * c->in_room : 1024;
        c->in = realloc(c->in, c->in_room);
        if (!c->in) abort();
    }
    memcpy(c->in + c->in_size, p->bytes, p->size);
    c->in_size += p->size;
}

static void client_gets(wire *c, const parcel *p)
{
    if (!c->client_has) return;
    if (p->what == BYTES) client_gets_bytes(c, p);
    else if (p->what == ACCEPTED) c->established = true;
    else if (p->what == REFUSED) c->refused = true;
    else if (p->what == RESET) {
        c->reset = true;
        c->in_size = 0;
    } else c->ended = true;
    wake_poller(c->file);
}

static void sentinel_gets(wire *c, const parcel *p)
{
    if (p->what == CONNECT) {
        c->server_has = sentinel_accepts(c->server);
        send_parcel(c, TO_CLIENT, c->server_has ? ACCEPTED : REFUSED, NULL, 0);
        if (c->server_has) sentinel_accepted(c);
    } else if (c->server_has && p->what == BYTES) sentinel_fed(c, p->bytes, p->size);
    else c->server_has = false;
}

static void server_gets(wire *c, const parcel *p)
{
    if (c->server >= SENTINEL_FIRST) {
        sentinel_gets(c, p);
        return;
    }
    if (p->what == CONNECT) {
        c->server_has = server_accepts(c->server);
        send_parcel(c, TO_CLIENT, c->server_has ? ACCEPTED : REFUSED, NULL, 0);
        if (c->server_has) server_accepted(c);
    } else if (c->server_has && p->what == BYTES) server_fed(c, p->bytes, p->size);
    else if (!c->server_has && p->what == BYTES && server_accepts(c->server)) {
        send_parcel(c, TO_CLIENT, RESET, NULL, 0); /* as a machine answers that knows of no such connection */
    } else if (c->server_has) {
        c->server_has = false;
        server_lost(c);
    }
}

static void arrive(void *context, uint64_t number)
{
    parcel *p = context;
    wire *c = p->to;
    (void)number;
    if (c->open && c->life == p->life && !c->dropped[p->direction]) {
        if (p->direction == TO_CLIENT) client_gets(c, p);
        else server_gets(c, p);
        let_go(c);
    }
    forget_parcel(p);
}

/* ------------------------------------------------------------------------------------------- the server's -- */

void wire_send(wire *c, const char *bytes, size_t size) { send_parcel(c, TO_CLIENT, BYTES, bytes, size); }

void wire_close(wire *c, bool reset)
{
    c->server_has = false;
    if (reset) c->arrives_us[TO_CLIENT] = 0;
    send_parcel(c, TO_CLIENT, reset ? RESET : END, NULL, 0);
    let_go(c);
}

/* ---------------------------------------------------------------------------------------------- the faults -- */

/* A reset for the client that overtakes everything and that no hole holds: the network's, or a keepalive's. */
static void reset_client(void *context, uint64_t life)
{
    wire *c = context;
    if (!c->open || c->life != life || !c->client_has) return;
    c->reset = true;
    c->in_size = 0;
    wake_poller(c->file);
}

static void reset_server(void *context, uint64_t life)
{
    wire *c = context;
    if (!c->open || c->life != life || !c->server_has) return;
    c->server_has = false;
    if (c->server < SENTINEL_FIRST) server_lost(c);
    let_go(c);
}

void wire_cut(wire *c)
{
    c->lost[TO_SERVER] = c->lost[TO_CLIENT] = true;
    at(w.now_us + draw_scale(10, 2 * SECOND), reset_client, c, c->life);
    at(w.now_us + draw_scale(10, 20 * SECOND), reset_server, c, c->life);
}

void wire_hole(wire *c, unsigned directions, int64_t us, bool loses)
{
    for (int i = 0; i < 2; i++) {
        if (!(directions & 1u << i)) continue;
        c->hole_until_us[i] = w.now_us + us;
        c->hole_loses[i] = loses;
        c->dropped[i] |= loses;
    }
    if (!loses) return;
    at(w.now_us + us + draw_scale(10, SECOND), reset_client, c, c->life);
    at(w.now_us + us + draw_scale(10, 30 * SECOND), reset_server, c, c->life);
}

void wire_break(wire *c)
{
    c->dropped[TO_SERVER] = c->dropped[TO_CLIENT] = c->lost[TO_SERVER] = c->lost[TO_CLIENT] = true;
    at(w.now_us + draw_scale(10, 10 * MS), reset_client, c, c->life);
    at(w.now_us, reset_server, c, c->life);
}

void wire_slow(wire *c, int64_t extra_us)
{
    c->latency_us[TO_SERVER] += extra_us / 2;
    c->latency_us[TO_CLIENT] += extra_us - extra_us / 2;
}

uint64_t wire_bit(int server)
{
    return UINT64_C(1) << (server < SENTINEL_FIRST ? server : 32 + server - SENTINEL_FIRST);
}

static void lose_behind_the_wall(wire *c)
{
    int64_t us = c->client->walled_until - w.now_us;
    if (us > 0 && c->client->walled & wire_bit(c->server)) wire_hole(c, 3, us, true);
}

void wire_wall(machine *m, uint64_t servers, int64_t us)
{
    m->walled_until = w.now_us + us;
    m->walled = servers;
    for (wire *c = in.wire; c < in.wire + CONNECTIONS_MAX; c++)
        if (c->open && c->client == m) lose_behind_the_wall(c);
}

void wire_hold_all(machine *m, int64_t us)
{
    m->cut_until = w.now_us + us;
    for (wire *c = in.wire; c < in.wire + CONNECTIONS_MAX; c++)
        if (c->open && c->client == m) wire_hole(c, 3, us, false);
}

/* ----------------------------------------------------------------------------------- the library's calls -- */

static file *file_of(int fd)
{
    file *f = fd >= FIRST_FD && fd < FIRST_FD + FILES_MAX ? &in.file[fd - FIRST_FD] : NULL;
    return f && f->kind != FILE_FREE ? f : NULL;
}

static int file_open(int kind)
{
    for (int i = 0; i < FILES_MAX; i++) {
        if (in.file[i].kind != FILE_FREE) continue;
        in.file[i] = (file){.kind = (unsigned)kind};
        return FIRST_FD + i;
    }
    fail("the library leaks descriptors");
    errno = EMFILE;
    return -1;
}

int __wrap_eventfd(unsigned count, int flags);
int __wrap_eventfd(unsigned count, int flags)
{
    (void)count, (void)flags;
    return file_open(FILE_EVENT);
}

int __wrap_socket(int domain, int type, int protocol);
int __wrap_socket(int domain, int type, int protocol)
{
    (void)domain, (void)type, (void)protocol;
    return file_open(FILE_SOCKET);
}

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t size);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
    (void)fd, (void)level, (void)name, (void)value, (void)size;
    return 0;
}

static wire *wire_open(void)
{
    for (int i = 0; i < CONNECTIONS_MAX; i++) {
        wire *c = &in.wire[i];
        if (c->open) continue;
        *c = (wire){.index = i, .life = ++in.lives, .open = true, .client_has = true};
        return c;
    }
    fail("the simulated network is full of connections");
    return NULL;
}

/* In a world with sentinels the port says who is meant; else machines are led. */
static int server_at(const struct sockaddr *address, int route)
{
    struct sockaddr_in in4;
    if (address->sa_family != AF_INET) return route;
    memcpy(&in4, address, sizeof in4);
    int port = ntohs(in4.sin_port);
    return port >= SENTINEL_PORT ? sentinel_at(port) : port - SERVER_PORT;
}

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    (void)size;
    task_step(); /* before there is a wire, which chaos may choose */
    file *f = file_of(fd);
    wire *c = wire_open();
    if (!f || f->kind != FILE_SOCKET || f->wire || !c) {
        fail("the library connects what is no fresh socket");
        errno = EBADF;
        return -1;
    }
    f->wire = c;
    c->file = f;
    c->client = task_machine();
    c->server = server_at(address, c->client->route);
    for (int i = 0; i < 2; i++) c->latency_us[i] = draw_scale(20, 3 * MS);
    c->jitter_us = draw_scale(1, 2 * MS);
    if (w.faults && chance(20000)) wire_slow(c, draw_scale(MS, SECOND)); /* also: so slow that the caller gives up */
    if (c->client->slow_us) wire_slow(c, draw_between(0, c->client->slow_us));
    if (c->client->cut_until > w.now_us) wire_hole(c, 3, c->client->cut_until - w.now_us, true);
    lose_behind_the_wall(c);
    send_parcel(c, TO_SERVER, CONNECT, NULL, 0);
    errno = EINPROGRESS;
    return -1;
}

int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *size);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *size)
{
    (void)level, (void)name, (void)size;
    const file *f = file_of(fd);
    int failed = !f || !f->wire ? EBADF : f->wire->refused ? ECONNREFUSED : f->wire->reset ? ECONNRESET : 0;
    memcpy(value, &failed, sizeof failed);
    return 0;
}

int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd)
{
    file *f = file_of(fd);
    if (!f) return fd >= FIRST_FD ? (fail("a descriptor is closed twice"), -1) : __real_close(fd);
    wire *c = f->wire;
    if (c) {
        c->client_has = false;
        c->file = NULL;
        if (!c->reset && !c->refused) send_parcel(c, TO_SERVER, END, NULL, 0);
        else if (c->server_has) at(w.now_us + draw_scale(10, SECOND), reset_server, c, c->life);
        /* What the hole swallows, a keepalive finds out. */
        if (c->server_has && c->lost[TO_SERVER])
            at(w.now_us + draw_scale(SECOND, 60 * SECOND), reset_server, c, c->life);
        let_go(c);
    }
    for (int i = 0; f->kind == FILE_EPOLL && i < FILES_MAX; i++)
        if (in.file[i].epoll == f) in.file[i].epoll = NULL;
    *f = (file){0};
    return 0;
}

ssize_t __wrap_send(int fd, const void *bytes, size_t size, int flags);
ssize_t __wrap_send(int fd, const void *bytes, size_t size, int flags)
{
    (void)flags;
    task_step();
    file *f = file_of(fd);
    wire *c = f ? f->wire : NULL;
    if (!c || c->reset || c->refused) {
        errno = c ? ECONNRESET : EBADF;
        return -1;
    }
    if (w.faults && chance(2000)) {
        errno = chance(500000) ? EAGAIN : EINTR;
        return -1;
    }
    if (w.faults && size > 1 && chance(5000)) size = 1 + draw(size - 1);
    if (!task_notes()->exchanging) task_notes()->asked_step = w.step;
    chaos_sends(c, bytes, size);
    send_parcel(c, TO_SERVER, BYTES, bytes, size);
    return (ssize_t)size;
}

ssize_t __wrap_recv(int fd, void *to, size_t size, int flags);
ssize_t __wrap_recv(int fd, void *to, size_t size, int flags)
{
    task_step();
    file *f = file_of(fd);
    wire *c = f ? f->wire : NULL;
    if (!c || c->reset || (!c->in_size && !c->ended)) {
        errno = !c ? EBADF : c->reset ? ECONNRESET : EAGAIN;
        return -1;
    }
    if (!c->in_size) return 0;
    if (size > c->in_size) size = c->in_size;
    if (w.faults && size > 1 && chance(5000)) size = 1 + draw(size - 1);
    memcpy(to, c->in, size);
    if (flags & MSG_PEEK) return (ssize_t)size;
    memmove(c->in, c->in + size, c->in_size - size);
    c->in_size -= size;
    return (ssize_t)size;
}

ssize_t __real_read(int fd, void *to, size_t size);
ssize_t __wrap_read(int fd, void *to, size_t size);
ssize_t __wrap_read(int fd, void *to, size_t size)
{
    file *f = file_of(fd);
    if (!f) return __real_read(fd, to, size);
    if (f->kind != FILE_EVENT || !f->count) {
        errno = EAGAIN;
        return -1;
    }
    memcpy(to, &f->count, sizeof f->count);
    f->count = 0;
    return sizeof f->count;
}

ssize_t __real_write(int fd, const void *from, size_t size);
ssize_t __wrap_write(int fd, const void *from, size_t size);
ssize_t __wrap_write(int fd, const void *from, size_t size)
{
    file *f = file_of(fd);
    if (!f) return __real_write(fd, from, size);
    f->count++;
    wake_poller(f);
    return (ssize_t)size;
}

/* What of those events is there. */
static short ready_file(const file *f, short events)
{
    if (f->kind == FILE_EVENT || f->kind == FILE_TIMER) return f->count ? events & POLLIN : 0;
    const wire *c = f->wire;
    if (!c) return POLLHUP;
    if (c->reset || c->refused) return (short)(POLLERR | (events & (POLLIN | POLLOUT)));
    if (!c->established) return 0;
    return (short)((c->in_size || c->ended ? events & POLLIN : 0) | (events & POLLOUT));
}

static bool ready_member(const file *epoll)
{
    for (const file *f = in.file; f < in.file + FILES_MAX; f++)
        if (f->kind != FILE_FREE && f->epoll == epoll && ready_file(f, f->watched)) return true;
    return false;
}

static short ready(const struct pollfd *p)
{
    const file *f = file_of(p->fd);
    if (!f) return p->fd < 0 ? 0 : POLLNVAL;
    if (f->kind == FILE_EPOLL) return ready_member(f) ? p->events & POLLIN : 0;
    return ready_file(f, p->events);
}

static int look(struct pollfd *p, nfds_t count)
{
    int found = 0;
    for (nfds_t i = 0; i < count; i++) found += (p[i].revents = ready(&p[i])) != 0;
    return found;
}

static void set_poller(const struct pollfd *p, nfds_t count, const void *poller)
{
    for (nfds_t i = 0; i < count; i++)
        if (file_of(p[i].fd)) file_of(p[i].fd)->poller = poller;
}

int __wrap_poll(struct pollfd *p, nfds_t count, int timeout_ms);
int __wrap_poll(struct pollfd *p, nfds_t count, int timeout_ms)
{
    int64_t until_us = timeout_ms < 0 ? FOREVER : w.now_us + timeout_ms * MS;
    task_step();
    int found = look(p, count);
    const file *epoll = count == 1 && file_of(p->fd) && file_of(p->fd)->kind == FILE_EPOLL ? file_of(p->fd) : NULL;
    while (epoll && !found && w.now_us < until_us) {
        task_wait(epoll, until_us);
        found = look(p, count);
    }
    while (!found && w.now_us < until_us) {
        set_poller(p, count, task_notes());
        task_wait(task_notes(), until_us);
        set_poller(p, count, NULL);
        found = look(p, count);
    }
    return found;
}

/* ------------------------------------------------------------------------------------ epolls and timers -- */

uint64_t wire_stirred(int fd) { return file_of(fd) ? file_of(fd)->count : 0; }

int __wrap_epoll_create1(int flags);
int __wrap_epoll_create1(int flags)
{
    (void)flags;
    return file_open(FILE_EPOLL);
}

int __wrap_epoll_ctl(int fd, int how, int member, struct epoll_event *event);
int __wrap_epoll_ctl(int fd, int how, int member, struct epoll_event *event)
{
    file *epoll = file_of(fd), *f = file_of(member);
    if (!epoll || epoll->kind != FILE_EPOLL || !f || (how == EPOLL_CTL_ADD) != !f->epoll) {
        fail("the library watches a descriptor that is none, or watches one twice");
        errno = EBADF;
        return -1;
    }
    f->epoll = how == EPOLL_CTL_DEL ? NULL : epoll;
    if (how == EPOLL_CTL_DEL) return 0;
    f->watched = (short)event->events;
    if (ready_file(f, f->watched)) wake_poller(f);
    return 0;
}

int __wrap_timerfd_create(int clock, int flags);
int __wrap_timerfd_create(int clock, int flags)
{
    (void)clock, (void)flags;
    return file_open(FILE_TIMER);
}

static void fire(void *context, uint64_t set)
{
    file *f = context;
    if (f->kind != FILE_TIMER || f->set != set) return;
    f->count = 1;
    f->fires_us = 0;
    wake_poller(f);
}

int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *time, struct itimerspec *before);
int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *time, struct itimerspec *before)
{
    file *f = file_of(fd);
    (void)flags, (void)before;
    task_step();
    int64_t us = (int64_t)time->it_value.tv_sec * SECOND + time->it_value.tv_nsec / 1000;
    if (f->fires_us && f->fires_us <= w.now_us && f->epoll) f->epoll->count++; /* it would have fired by now */
    f->count = 0;
    f->set = ++in.lives;
    f->fires_us = us ? us - task_machine()->clock_us : 0;
    if (us) at(f->fires_us, fire, f, f->set);
    return 0;
}
