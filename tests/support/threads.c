/* SPDX-License-Identifier: MIT */
#include "threads.h"
#include "check.h"

#include <stdio.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct crew {
    size_t count;
    atomic_int *ids;
    void (*work)(crew_member *);
    atomic_int stopped;
    pthread_barrier_t barrier;
    pthread_t *threads;
    crew_member *members;
    crew *next;
};

static crew *running; /* not joined yet; the main thread's */

static void *run(void *argument)
{
    crew_member *member = argument;
    atomic_store(&member->crew->ids[member->index], gettid());
    pthread_barrier_wait(&member->crew->barrier);
    member->crew->work(member);
    return NULL;
}

crew *crew_start(size_t count, void (*work)(crew_member *), void *shared)
{
    crew *c = calloc(1, sizeof *c);
    assert_non_null(c);
    c->count = count;
    c->work = work;
    c->threads = calloc(count, sizeof *c->threads);
    c->members = calloc(count, sizeof *c->members);
    c->ids = calloc(count, sizeof *c->ids);
    assert_true(c->threads && c->members && c->ids);
    pthread_barrier_init(&c->barrier, NULL, (unsigned)count + 1);
    for (size_t i = 0; i < count; i++) {
        c->members[i] = (crew_member){c, i, shared};
        if (pthread_create(&c->threads[i], NULL, run, &c->members[i])) abort();
    }
    c->next = running;
    running = c;
    pthread_barrier_wait(&c->barrier);
    return c;
}

static void let_go(crew *c)
{
    crew **at = &running;
    while (*at != c) at = &(*at)->next;
    *at = c->next;
    pthread_barrier_destroy(&c->barrier);
    free(c->threads);
    free(c->members);
    free(c->ids);
    free(c);
}

void crew_join(crew *c)
{
    for (size_t i = 0; i < c->count; i++) pthread_join(c->threads[i], NULL);
    let_go(c);
}

int crew_end_all(void)
{
    struct timespec limit;
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += CHECK_PATIENCE_MS / 1000;
    for (; running; let_go(running)) {
        crew_stop(running);
        for (size_t i = 0; i < running->count; i++)
            if (pthread_timedjoin_np(running->threads[i], NULL, &limit)) {
                running = NULL;
                return -1;
            }
    }
    return 0;
}

void crew_run(size_t count, void (*work)(crew_member *), void *shared) { crew_join(crew_start(count, work, shared)); }

static int asleep(int id)
{
    char path[64], state = '?';
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", id);
    FILE *stat = fopen(path, "r");
    /* "id (name) S ..."; the name holds no parenthesis of ours. */
    int known = stat && fscanf(stat, "%*d (%*[^)]) %c", &state) == 1;
    if (stat) fclose(stat);
    return known && state == 'S';
}

int crew_asleep(const crew *c)
{
    for (size_t i = 0; i < c->count; i++)
        if (!asleep(atomic_load(&c->ids[i]))) return 0;
    return 1;
}

int crew_stopped(const crew_member *member) { return atomic_load(&member->crew->stopped); }

void crew_stop(crew *c) { atomic_store(&c->stopped, 1); }

struct peer {
    pid_t pid;
    FILE *to, *from;
    char line[4096];
};

/* The program lies beside the tests; LATCHKEY_PEER is set by CMake. */
static _Noreturn void become_peer(const char *config, int in, int out, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    dup2(in, 0), dup2(out, 1);
    execl(LATCHKEY_PEER, LATCHKEY_PEER, config, (char *)NULL);
    _exit(127);
}

static const char *read_line(peer *p)
{
    if (!fgets(p->line, sizeof p->line, p->from)) fail_msg("the second process ended");
    p->line[strcspn(p->line, "\n")] = 0;
    return p->line;
}

peer *peer_start(const char *config)
{
    int down[2], up[2];
    pid_t parent = getpid();
    peer *p = calloc(1, sizeof *p);
    assert_non_null(p);
    /* Close-on-exec, so that one child does not hold another's pipe open. */
    if (pipe2(down, O_CLOEXEC) || pipe2(up, O_CLOEXEC)) fail_msg("pipe");
    p->pid = fork();
    if (p->pid < 0) fail_msg("fork");
    if (p->pid == 0) become_peer(config, down[0], up[1], parent);
    close(down[0]);
    close(up[1]);
    p->to = fdopen(down[1], "w");
    p->from = fdopen(up[0], "r");
    if (strcmp(read_line(p), "open 0") != 0) fail_msg("the second process: %s", p->line);
    return p;
}

void peer_end(peer *p)
{
    if (!p) return;
    /* A test may have paused it. Before it ends, not while: LeakSanitizer stops its threads then, and would wait for a
     * stop that SIGCONT took back. */
    kill(p->pid, SIGCONT);
    fclose(p->to); /* the end of its input is what it ends on */
    fclose(p->from);
    int status = -1;
    waitpid(p->pid, &status, 0);
    free(p);
    if (status) fail_msg("the second process ended with status %d (what a sanitizer found is a failure, too)", status);
}

pid_t peer_pid(const peer *p) { return p->pid; }

__attribute__((format(printf, 2, 0))) static const char *ask(peer *p, const char *format, va_list arguments)
{
    vfprintf(p->to, format, arguments);
    fputc('\n', p->to);
    fflush(p->to);
    return read_line(p);
}

const char *peer_ask(peer *p, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const char *answer = ask(p, format, arguments);
    va_end(arguments);
    return answer;
}

long long peer_number(peer *p, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    long long number = atoll(ask(p, format, arguments));
    va_end(arguments);
    return number;
}
