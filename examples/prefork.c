/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* SOCK_NONBLOCK */
#include "prefork.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* A socket on the port, which is found if it is 0; negative where it cannot be had. */
static int listen_on(unsigned *port, int option)
{
    const int yes = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)*port)};
    socklen_t size = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, option, &yes, sizeof yes) ||
        bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, SOMAXCONN) ||
        getsockname(fd, (struct sockaddr *)&address, &size))
        return -1;
    *port = ntohs(address.sin_port);
    return fd;
}

/* Sockets that share a port by SO_REUSEPORT share it with any other program of this user that does the same. So the port
 * is first taken alone, which says whether it was free. */
void prefork_listen(const char *program, unsigned *port, unsigned workers, int *listening)
{
    listening[0] = listen_on(port, SO_REUSEADDR);
    if (listening[0] >= 0 && workers > 1) {
        close(listening[0]);
        for (unsigned i = 0; i < workers; i++)
            if ((listening[i] = listen_on(port, SO_REUSEPORT)) < 0) listening[0] = -1;
    }
    if (listening[0] >= 0) return;
    fprintf(stderr, "%s: cannot listen on 127.0.0.1:%u: %s; --port 0 takes a free port\n", program, *port,
            strerror(errno));
    exit(1);
}

/* The end of the pipe comes when every worker has written its byte and closed it, or has ended without. */
static bool all_ready(int ready, unsigned workers)
{
    char byte;
    unsigned count = 0;
    for (ssize_t got; (got = read(ready, &byte, 1)) == 1 || (got < 0 && errno == EINTR);) count += got == 1;
    return count == workers;
}

/* Waits for a signal, which may be that of a worker's end. */
static int wait_for_signal(void)
{
    int got;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGCHLD);
    return sigwait(&set, &got) ? SIGCHLD : got;
}

static bool end_all(const pid_t *workers, unsigned count)
{
    bool clean = true;
    int status;
    for (unsigned i = 0; i < count; i++) kill(workers[i], SIGTERM);
    for (unsigned i = 0; i < count; i++) clean &= waitpid(workers[i], &status, 0) == workers[i] && status == 0;
    return clean;
}

int prefork(const char *program, unsigned workers, const int *listening,
            int (*serve)(void *context, int listening, int ready), void (*announce)(const void *context), void *context)
{
    const struct sigaction ended = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDSTOP}; /* one stopped has not ended */
    pid_t parent = getpid(), pids[PREFORK_MAX];
    int ready[2], got = SIGCHLD;
    unsigned count = 0;
    sigaction(SIGCHLD, &ended, NULL);
    if (pipe(ready)) return 1;
    for (; count < workers && (pids[count] = fork()) >= 0; count++) {
        if (pids[count] > 0) continue;
        prctl(PR_SET_PDEATHSIG, SIGTERM); /* a parent that is killed leaves no worker behind */
        if (getppid() != parent) exit(1);
        for (unsigned i = 0; i < workers; i++)
            if (i != count) close(listening[i]);
        close(ready[0]);
        exit(serve(context, listening[count], ready[1]));
    }
    for (unsigned i = 0; i < workers; i++) close(listening[i]);
    close(ready[1]);
    if (all_ready(ready[0], workers)) {
        announce(context);
        got = wait_for_signal();
    }
    if (got == SIGCHLD) fprintf(stderr, "%s: a worker has ended or did not start; ending the others\n", program);
    return end_all(pids, count) && got != SIGCHLD ? 0 : 1;
}
