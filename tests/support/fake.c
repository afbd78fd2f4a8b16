/* SPDX-License-Identifier: MIT */
#include "fake.h"
#include "check.h"
#include "test_net.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_CLIENTS 64

typedef struct client {
    int fd;       /* -1: free */
    int answered; /* dripping or flooding begins with the first command */
    size_t at;    /* the next byte to drip */
} client;

struct fake {
    const fake_script *script;
    int listener, port, wake[2];
    atomic_long commands;
    _Atomic(const char *) answer; /* instead of the script's; or NULL */
    pthread_t thread;
    client clients[MAX_CLIENTS];
};

static void drop(client *c)
{
    close(c->fd);
    c->fd = -1;
}

static void say(client *c, const char *bytes, size_t size)
{
    if (send(c->fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) drop(c);
}

static size_t answer_size(const fake_script *script)
{
    return script->answer_size ? script->answer_size : strlen(script->answer);
}

/* Goes through the commands that stand in one piece of input. A client of ours sends each in one piece, so that looking
 * for the start of the next array is enough; "*<n>\r\n$<n>\r\n<name>\r\n". */
static void answer_commands(fake *f, client *c, const char *input)
{
    const fake_script *script = f->script;
    const char *other = atomic_load(&f->answer);
    for (const char *command = input; command && c->fd >= 0; command = strstr(command + 1, "\n*")) {
        const char *name = strchr(command, '$');
        if (name) name = strchr(name, '\n');
        name = name ? name + 1 : "";
        if (script->knows_ping_alone) {
            if (strncasecmp(name, "PING", 4) == 0 || strncasecmp(command, "PING", 4) == 0) say(c, "+PONG\r\n", 7);
            else drop(c);
        } else if (script->info && strncasecmp(name, "INFO", 4) == 0) {
            char reply[4096];
            int size = snprintf(reply, sizeof reply, "$%zu\r\n%s\r\n", strlen(script->info), script->info);
            say(c, reply, (size_t)size);
        } else if (script->info && strncasecmp(name, "PING", 4) == 0) {
            say(c, "+PONG\r\n", 7);
        } else if (other) {
            say(c, other, strlen(other));
        } else if (script->answer) {
            say(c, script->answer, answer_size(script));
        }
    }
}

static void hear(fake *f, client *c)
{
    char input[65536];
    ssize_t size = recv(c->fd, input, sizeof input - 1, MSG_DONTWAIT);
    if (size <= 0) {
        drop(c);
        return;
    }
    input[size] = 0;
    atomic_fetch_add(&f->commands, 1);
    c->answered = 1;
    if (f->script->drip) return;
    answer_commands(f, c, input);
    if (f->script->close_after_answer && c->fd >= 0) drop(c);
}

static void welcome(fake *f)
{
    int fd = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) return;
    for (int i = 0; i < MAX_CLIENTS; i++) {
        client *c = &f->clients[i];
        if (c->fd >= 0) continue;
        *c = (client){.fd = fd};
        if (f->script->greeting) say(c, f->script->greeting, strlen(f->script->greeting));
        if (f->script->close_at_once && c->fd >= 0) drop(c);
        return;
    }
    close(fd);
}

static void go_on(fake *f, client *c)
{
    char noise[4096];
    if (!c->answered) return;
    if (f->script->drip) say(c, f->script->answer + c->at++ % answer_size(f->script), 1);
    if (!f->script->flood || c->fd < 0) return;
    memset(noise, 'x', sizeof noise);
    while (send(c->fd, noise, sizeof noise, MSG_NOSIGNAL | MSG_DONTWAIT) > 0) continue;
}

static void *serve(void *argument)
{
    fake *f = argument;
    int restless = f->script->drip || f->script->flood;
    for (;;) {
        struct pollfd fds[MAX_CLIENTS + 2] = {{f->wake[0], POLLIN, 0}, {f->listener, POLLIN, 0}};
        for (int i = 0; i < MAX_CLIENTS; i++) fds[i + 2] = (struct pollfd){f->clients[i].fd, POLLIN, 0};
        poll(fds, MAX_CLIENTS + 2, restless ? 5 : -1);
        if (fds[0].revents) break;
        if (fds[1].revents) welcome(f);
        for (int i = 0; i < MAX_CLIENTS; i++) {
            client *c = &f->clients[i];
            if (c->fd >= 0 && fds[i + 2].fd == c->fd && fds[i + 2].revents) hear(f, c);
            if (c->fd >= 0 && restless) go_on(f, c);
        }
    }
    for (int i = 0; i < MAX_CLIENTS; i++)
        if (f->clients[i].fd >= 0) drop(&f->clients[i]);
    return NULL;
}

fake *fake_start(const fake_script *script)
{
    fake *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->script = script;
    for (int i = 0; i < MAX_CLIENTS; i++) f->clients[i].fd = -1;
    f->listener = net_listen(&f->port);
    if (pipe2(f->wake, O_CLOEXEC) || pthread_create(&f->thread, NULL, serve, f)) fail_msg("cannot start a fake server");
    return f;
}

void fake_answer(fake *f, const char *answer) { atomic_store(&f->answer, answer); }

int fake_port(const fake *f) { return f->port; }

long fake_commands(const fake *f) { return atomic_load(&f->commands); }

void fake_end(fake *f)
{
    if (write(f->wake[1], "", 1) != 1) abort();
    pthread_join(f->thread, NULL);
    close(f->wake[0]);
    close(f->wake[1]);
    close(f->listener);
    free(f);
}
