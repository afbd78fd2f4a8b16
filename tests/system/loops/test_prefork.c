/* SPDX-License-Identifier: MIT
 *
 * Prefork: workers that are forked and open a handle each; and many handles in one process.
 *
 * The workers are children of this program itself, as those of a server are. They do what they are ordered over a pipe and
 * report when they began, on the clock that all processes share. So the bound asserted is the guarantee's own, and a slow
 * machine cannot break it.
 */
#include "test_handle.h"
#include "threads.h"

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WORKERS = 4, HANDLES = 16, STALENESS_MS = 1000, TICK_MS = 20, LENGTH = LATCHKEY_TOKEN_LENGTH };

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* ------------------------------------------------------------------------------------------------ workers -- */

typedef enum verb { CREATE, VALIDATE, TRY, SUBMIT, REVOKE } verb;

typedef struct order {
    verb verb;
    char token[LATCHKEY_TOKEN_SIZE];
} order;

typedef struct report {
    int status;
    int64_t began_ns, ended_ns;
    uint64_t user;
    char token[LATCHKEY_TOKEN_SIZE];
} report;

typedef struct worker {
    pid_t pid;
    int to, from;
} worker;

/* What a loop does: submit, wait for the descriptor, reap. -100: what came back is not what was asked. */
static int by_the_loop(latchkey *lk, const char *token, latchkey_entry *entry)
{
    latchkey_answer answer;
    struct pollfd loop = {.fd = latchkey_fd(lk), .events = POLLIN};
    int status = latchkey_submit(lk, token, LENGTH, 77);
    if (status) return status;
    while (latchkey_reap(lk, &answer, 1) == 0)
        if (poll(&loop, 1, CHECK_PATIENCE_MS) <= 0) return -100;
    *entry = answer.entry;
    return answer.tag == 77 ? answer.status : -100;
}

static int carry_out(latchkey *lk, const order *o, report *r)
{
    latchkey_entry entry = {0};
    latchkey_draft draft = {.size = sizeof draft, .user_id = (uint64_t)getpid()};
    int status = -100;
    switch (o->verb) {
    case CREATE: return latchkey_create(lk, &draft, r->token);
    case REVOKE: return latchkey_revoke(lk, o->token, LENGTH);
    case VALIDATE: status = latchkey_validate(lk, o->token, LENGTH, &entry); break;
    case TRY: status = latchkey_try_validate(lk, o->token, LENGTH, &entry); break;
    case SUBMIT: status = by_the_loop(lk, o->token, &entry); break;
    }
    r->user = entry.user_id;
    return status;
}

/* In the child: no assertion of the test framework's, which would go on with the tests here. */
static int work(const char *config, int in, int out)
{
    latchkey *lk = NULL;
    order o;
    report r = {0};
    for (int i = 0; i < 100 && (r.status = latchkey_open(config, &lk, NULL, 0)) == LATCHKEY_UNAVAILABLE;) i++;
    if (write(out, &r, sizeof r) != sizeof r || r.status) return 1;
    while (read(in, &o, sizeof o) == sizeof o) {
        r = (report){.began_ns = now_ns()};
        r.status = carry_out(lk, &o, &r);
        r.ended_ns = now_ns();
        if (write(out, &r, sizeof r) != sizeof r) return 1;
    }
    latchkey_close(lk);
    return 0;
}

static report heard(const worker *w)
{
    report r;
    if (read(w->from, &r, sizeof r) != sizeof r) fail_msg("worker %d has ended", (int)w->pid);
    return r;
}

static report ask(const worker *w, verb what, const char *token)
{
    order o = {.verb = what};
    if (token) memcpy(o.token, token, sizeof o.token);
    assert_int_equal(write(w->to, &o, sizeof o), sizeof o);
    return heard(w);
}

/* The child's copies of the other workers' pipes are closed, or those would not see the end of their input. */
static void fork_worker(worker *all, int index, const char *options)
{
    char config[512];
    int down[2], up[2];
    pid_t parent = getpid();
    handle_config(server, 0, options, config, sizeof config);
    if (pipe(down) || pipe(up)) fail_msg("pipe");
    worker *w = &all[index];
    *w = (worker){.pid = fork(), .to = down[1], .from = up[0]};
    if (w->pid < 0) fail_msg("fork");
    if (w->pid == 0) {
        const int signals[] = {SIGFPE, SIGSEGV, SIGBUS,
                               SIGILL, SIGSYS,  SIGABRT}; /* the test framework's jump back into the test */
        for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) signal(signals[i], SIG_DFL);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (int i = 0; i < WORKERS; i++)
            if (all[i].pid != 0 || i == index) close(all[i].to), close(all[i].from);
        _exit(getppid() == parent ? work(config, down[0], up[1]) : 1);
    }
    close(down[0]);
    close(up[1]);
}

static void fork_workers(worker *all, const char *options)
{
    memset(all, 0, WORKERS * sizeof *all);
    for (int i = 0; i < WORKERS; i++) fork_worker(all, i, options);
    for (int i = 0; i < WORKERS; i++) assert_int_equal(heard(&all[i]).status, LATCHKEY_OK);
}

static void end_worker(worker *w, int expected)
{
    int status = -1;
    close(w->to);
    close(w->from);
    assert_int_equal(waitpid(w->pid, &status, 0), w->pid);
    assert_int_equal(status, expected);
    w->pid = 0;
}

static void end_workers(worker *all)
{
    for (int i = 0; i < WORKERS; i++) end_worker(&all[i], 0);
}

/* Until its L1 holds the session. */
static void warm_worker(const worker *w, const char *token)
{
    wait_for(ask(w, VALIDATE, token).status == LATCHKEY_OK && ask(w, TRY, token).status == LATCHKEY_OK);
}

/* Refuses from the bound on at the latest. No answer at all admits no request. */
static void assert_heard(const worker *w, const char *token, int64_t revoked_ns)
{
    for (report r; (r = ask(w, VALIDATE, token)).status != LATCHKEY_NOT_FOUND;) {
        if (r.status == LATCHKEY_UNAVAILABLE) continue;
        assert_int_equal(r.status, LATCHKEY_OK);
        if (r.began_ns > revoked_ns + (int64_t)(STALENESS_MS + TICK_MS) * 1000000)
            fail_msg("admitted %lld ms after its revocation", (long long)(r.began_ns - revoked_ns) / 1000000);
    }
    assert_int_not_equal(ask(w, TRY, token).status, LATCHKEY_OK);
    assert_int_equal(ask(w, SUBMIT, token).status, LATCHKEY_NOT_FOUND);
}

/* Each worker in turn makes a session that all come to know, and the next one ends it. */
static void rounds(worker *all, int count)
{
    for (int i = 0; i < count; i++) {
        const worker *maker = &all[i % WORKERS], *ender = &all[(i + 1) % WORKERS];
        report made = ask(maker, CREATE, NULL);
        assert_int_equal(made.status, LATCHKEY_OK);
        for (int k = 0; k < WORKERS; k++) {
            report r = ask(&all[k], SUBMIT, made.token);
            assert_int_equal(r.status, LATCHKEY_OK);
            assert_int_equal(r.user, maker->pid);
            warm_worker(&all[k], made.token);
        }
        report ended = ask(ender, REVOKE, made.token);
        assert_int_equal(ended.status, LATCHKEY_OK);
        assert_int_equal(ask(ender, VALIDATE, made.token).status, LATCHKEY_NOT_FOUND); /* B */
        for (int k = 0; k < WORKERS; k++) assert_heard(&all[k], made.token, ended.ended_ns);
    }
}

static void test_C_a_revoke_in_one_worker_is_heard_by_all(void **state)
{
    (void)state;
    worker all[WORKERS];
    fork_workers(all, "staleness_ms=1000");
    rounds(all, 3 * WORKERS);
    end_workers(all);
}

/* The master looked whether its configuration is good, and closed the handle before it forked. */
static void test_workers_of_a_master_that_had_a_handle(void **state)
{
    (void)state;
    worker all[WORKERS];
    handle_close(handle_open(server, "staleness_ms=1000"));
    fork_workers(all, "staleness_ms=1000");
    rounds(all, WORKERS);
    end_workers(all);
}

static void test_a_worker_that_is_killed_leaves_the_others_unharmed(void **state)
{
    (void)state;
    worker all[WORKERS];
    fork_workers(all, "staleness_ms=1000");
    char token[LATCHKEY_TOKEN_SIZE];
    report made = ask(&all[0], CREATE, NULL);
    memcpy(token, made.token, sizeof token);
    warm_worker(&all[1], token);
    kill(all[0].pid, SIGKILL);
    end_worker(&all[0], SIGKILL);
    warm_worker(&all[1], token);
    assert_int_equal(ask(&all[2], VALIDATE, token).status, LATCHKEY_OK);
    fork_worker(all, 0, "staleness_ms=1000"); /* what takes its place */
    assert_int_equal(heard(&all[0]).status, LATCHKEY_OK);
    assert_int_equal(ask(&all[0], VALIDATE, token).status, LATCHKEY_OK);
    rounds(all, WORKERS);
    end_workers(all);
}

/* --------------------------------------------------------------------------------- many handles, one process -- */

/* Even ones are of one deployment, odd ones of another: the prefix. Some have no L1, some one connection. */
static latchkey *open_one(int index)
{
    char options[128];
    snprintf(options, sizeof options, "staleness_ms=1000&prefix=%s&l1_capacity=%d&connections=%d",
             index % 2 ? "odd" : "even", index % 8 < 6 ? 100 : 0, index % 3 ? 2 : 1);
    return handle_open(server, options);
}

static int entries_in(const char *path)
{
    int count = 0;
    DIR *directory = opendir(path);
    assert_non_null(directory);
    while (readdir(directory)) count++;
    closedir(directory);
    return count;
}

/* Every one that is open asks its own descriptor; an answer that came to another's would not come to its own. */
static void assert_loops(latchkey **all, const char *token, int parity)
{
    latchkey_answer answer;
    int64_t limit = check_now_ms() + CHECK_PATIENCE_MS;
    for (int i = 0; i < HANDLES; i++)
        if (all[i]) assert_status(all[i], LATCHKEY_OK, latchkey_submit(all[i], token, LENGTH, (uint64_t)i));
    for (int i = 0; i < HANDLES; i++) {
        if (!all[i]) continue;
        struct pollfd loop = {.fd = latchkey_fd(all[i]), .events = POLLIN};
        while (latchkey_reap(all[i], &answer, 1) == 0)
            assert_true(poll(&loop, 1, CHECK_PATIENCE_MS) > 0 && check_now_ms() < limit);
        assert_int_equal(answer.tag, i);
        assert_int_equal(answer.status, i % 2 == parity ? LATCHKEY_OK : LATCHKEY_NOT_FOUND);
        assert_int_equal(answer.entry.user_id, i % 2 == parity ? 42 : 0);
    }
}

/* A session of one deployment, made by one handle and ended by another; all that are open must know, and the other
 * deployment's must not. */
static void live_together(latchkey **all, int maker, int ender)
{
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(all[maker], 42, token);
    for (int i = 0; i < HANDLES; i++) {
        if (!all[i]) continue;
        if (i != maker) assert_status(all[i], LATCHKEY_AGAIN, try_validate(all[i], token)); /* each has its own L1 */
        assert_status(all[i], i % 2 == maker % 2 ? LATCHKEY_OK : LATCHKEY_NOT_FOUND, validate(all[i], token));
    }
    assert_loops(all, token, maker % 2);
    assert_status(all[ender], LATCHKEY_OK, end_session(all[ender], token));
    assert_status(all[ender], LATCHKEY_NOT_FOUND, validate(all[ender], token));
    int64_t revoked_ns = now_ns();
    for (int i = 0; i < HANDLES; i++) {
        if (!all[i]) continue;
        for (int64_t began_ns = now_ns(); validate(all[i], token) == LATCHKEY_OK; began_ns = now_ns())
            if (began_ns > revoked_ns + (int64_t)(STALENESS_MS + TICK_MS) * 1000000)
                fail_msg("handle %d admits after the bound", i);
        assert_status(all[i], LATCHKEY_NOT_FOUND, validate(all[i], token));
    }
}

/* One of the same parity as `like` that is open; -1: none. */
static int another(latchkey **all, int like)
{
    for (int i = 1; i <= HANDLES; i++)
        if (all[(like + i) % HANDLES] && i % 2 == 0) return (like + i) % HANDLES;
    return -1;
}

static void close_in_order(const int *sequence)
{
    latchkey *all[HANDLES];
    for (int i = 0; i < HANDLES; i++) all[i] = open_one(i);
    for (int i = 0; i < HANDLES; i++) live_together(all, i, another(all, i));
    for (int i = 0; i < HANDLES; i++) {
        handle_close(all[sequence[i]]);
        all[sequence[i]] = NULL;
        for (int parity = 0; parity < 2; parity++) {
            int maker = another(all, parity);
            if (maker >= 0) live_together(all, maker, another(all, maker));
        }
    }
}

static void test_many_handles_work_together_and_close_in_any_order(void **state)
{
    (void)state;
    int forward[HANDLES], backward[HANDLES], shuffled[HANDLES];
    for (int i = 0; i < HANDLES; i++) forward[i] = i, backward[i] = HANDLES - 1 - i, shuffled[i] = i * 7 % HANDLES;
    close_in_order(forward); /* what a process keeps for good, a library's for instance, is there after this */
    int descriptors = entries_in("/proc/self/fd"), threads = entries_in("/proc/self/task");
    close_in_order(backward);
    close_in_order(shuffled);
    assert_int_equal(entries_in("/proc/self/fd"), descriptors);
    assert_int_equal(entries_in("/proc/self/task"), threads);
}

/* All of them at once, from threads that each use every handle. */
typedef struct together {
    latchkey *all[HANDLES];
    _Atomic int wrong;
} together;

static void use_all(crew_member *member)
{
    together *t = member->shared;
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey_draft draft = {.size = sizeof draft, .user_id = 7};
    for (int i = 0; i < 4 * HANDLES && !t->wrong; i++) {
        int own = (i + (int)member->index * 5) % HANDLES, same = (own + 2) % HANDLES;
        int status = latchkey_create(t->all[own], &draft, token);
        if (!status) status = validate(t->all[same], token);
        if (!status) status = validate(t->all[own], token);
        if (!status) status = end_session(t->all[same], token);
        if (!status && validate(t->all[same], token) != LATCHKEY_NOT_FOUND) status = 1000;
        if (status) t->wrong = status;
    }
}

static void test_many_handles_and_many_threads(void **state)
{
    (void)state;
    together t = {.wrong = 0};
    for (int i = 0; i < HANDLES; i++) t.all[i] = open_one(i);
    crew_run(6, use_all, &t);
    assert_int_equal(t.wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_C_a_revoke_in_one_worker_is_heard_by_all),
        TEST(test_workers_of_a_master_that_had_a_handle),
        TEST(test_a_worker_that_is_killed_leaves_the_others_unharmed),
        TEST(test_many_handles_work_together_and_close_in_any_order),
        TEST(test_many_handles_and_many_threads),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}
