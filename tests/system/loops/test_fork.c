/* SPDX-License-Identifier: MIT
 *
 * J: what happens across fork. The child is a copy of a process with other threads, so it does little: it calls,
 * writes down what came back, and exits with the number of the first answer that was wrong.
 */
#include "test_handle.h"
#include "pki.h"
#include "threads.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

static latchkey *lk;
static char token[LATCHKEY_TOKEN_SIZE];
static latchkey_queue *queue;

/* The test framework's handlers would jump back into the test, in the child. */
static int as_child(int (*body)(void))
{
    const int signals[] = {SIGFPE, SIGSEGV, SIGBUS, SIGILL, SIGSYS, SIGABRT};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) signal(signals[i], SIG_DFL);
    return body();
}

/* Runs `body` in a child; returns what it returned. */
static int in_child(int (*body)(void))
{
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) _exit(as_child(body));
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status)) fail_msg("the child was ended by signal %d", WTERMSIG(status));
    return WEXITSTATUS(status);
}

static int every_call(void)
{
    latchkey_draft draft = {.size = sizeof draft, .user_id = 1};
    const latchkey_field field = {"note", "x", 1};
    char out[LATCHKEY_TOKEN_SIZE], text[256];
    latchkey_entry entry;
    latchkey_record *record;
    latchkey_stats stats;
    size_t size;
    enum { LENGTH = LATCHKEY_TOKEN_LENGTH };
    static const latchkey_entry zero;
    if (latchkey_create(lk, &draft, out) != LATCHKEY_FORKED) return 1;
    if (latchkey_validate(lk, token, LENGTH, &entry) != LATCHKEY_FORKED) return 2;
    if (memcmp(&entry, &zero, sizeof entry)) return 3;
    if (latchkey_try_validate(lk, token, LENGTH, &entry) != LATCHKEY_FORKED) return 4;
    const char *tokens[1] = {token};
    size_t lens[1] = {LENGTH};
    int status = 0;
    if (latchkey_try_validate_many(lk, tokens, lens, 1, &entry, &status) != LATCHKEY_FORKED) return 12;
    if (status != LATCHKEY_FORKED || memcmp(&entry, &zero, sizeof entry)) return 13;
    if (latchkey_touch(lk, token, LENGTH) != LATCHKEY_FORKED) return 5;
    if (latchkey_revoke(lk, token, LENGTH) != LATCHKEY_FORKED) return 6;
    uint64_t generation = 1;
    size_t total = 1, revoked = 1;
    latchkey_session_info info;
    if (latchkey_user_generation(lk, 1, &generation) != LATCHKEY_FORKED || generation) return 14;
    if (latchkey_revoke_user(lk, 1, token, LENGTH, &revoked) != LATCHKEY_FORKED || revoked) return 15;
    if (latchkey_revoke_everyone(lk) != LATCHKEY_FORKED) return 20;
    char renewed[LATCHKEY_TOKEN_SIZE] = "x";
    if (latchkey_rotate(lk, token, LENGTH, 0, renewed) != LATCHKEY_FORKED || *renewed) return 18;
    if (latchkey_revoke_selector(lk, 1, token) != LATCHKEY_FORKED) return 16;
    if (latchkey_sessions(lk, 1, NULL, 0, &info, 1, &total) != LATCHKEY_FORKED || total) return 17;
    if (latchkey_load(lk, token, LENGTH, &record) != LATCHKEY_FORKED || record) return 7;
    if (latchkey_show(lk, token, &info, &record) != LATCHKEY_FORKED || record) return 19;
    if (latchkey_set_fields(lk, token, LENGTH, &field, 1) != LATCHKEY_FORKED) return 8;
    if (latchkey_prewarm(lk, 10, &size) != LATCHKEY_FORKED) return 9;
    latchkey_population population;
    if (latchkey_sample(lk, 10, &population, sizeof population) != LATCHKEY_FORKED || population.sessions) return 20;
    if (latchkey_stats_read(lk, &stats, sizeof stats) != LATCHKEY_FORKED) return 10;
    if (latchkey_metrics(lk, text, sizeof text, &size) != LATCHKEY_FORKED) return 11;
    return 0;
}

static int every_call_and_close(void)
{
    int wrong = every_call();
    latchkey_close(lk);
    return wrong;
}

static int close_alone(void)
{
    latchkey_close(lk);
    return 0;
}

static void prepare(const char *options)
{
    lk = handle_open(server, options);
    make_session(lk, 1, token);
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
}

static void assert_parent_unharmed(void)
{
    char other[LATCHKEY_TOKEN_SIZE];
    latchkey_stats before = stats_of(lk);
    warm(lk, token);
    for (int i = 0; i < 20; i++) {
        make_session(lk, 2, other);
        assert_status(lk, LATCHKEY_OK, validate(lk, other));
        assert_status(lk, LATCHKEY_OK, load(lk, other));
        assert_status(lk, LATCHKEY_OK, end_session(lk, other));
    }
    uint64_t beats = stats_of(lk).beats;
    wait_for(stats_of(lk).beats > beats);
    assert_int_equal(stats_of(lk).reconnects, before.reconnects);
    assert_int_equal(stats_of(lk).l2_errors, before.l2_errors);
    assert_int_equal(stats_of(lk).empties, before.empties);
}

static void test_J_every_call_in_a_child_answers_FORKED(void **state)
{
    (void)state;
    prepare("staleness_ms=4000");
    assert_int_equal(in_child(every_call), 0);
    assert_parent_unharmed();
}

static void test_J_close_in_a_child_leaves_the_parent_unharmed(void **state)
{
    (void)state;
    prepare("staleness_ms=4000");
    assert_int_equal(in_child(close_alone), 0);
    assert_parent_unharmed();
    assert_int_equal(in_child(every_call_and_close), 0);
    assert_parent_unharmed();
}

static int open_own(void)
{
    char config[256];
    latchkey *own;
    latchkey_entry entry;
    handle_config(server, 0, "", config, sizeof config);
    if (latchkey_open(config, &own, NULL, 0)) return 1;
    if (latchkey_validate(own, token, LATCHKEY_TOKEN_LENGTH, &entry) || entry.user_id != 1) return 2;
    if (latchkey_validate(lk, token, LATCHKEY_TOKEN_LENGTH, &entry) != LATCHKEY_FORKED) return 3;
    latchkey_close(own);
    latchkey_close(lk);
    return 0;
}

static void test_J_child_may_open_its_own(void **state)
{
    (void)state;
    prepare("staleness_ms=4000");
    assert_int_equal(in_child(open_own), 0);
    assert_parent_unharmed();
}

/* As a daemon does. What it then opens gets the numbers of what it has closed. */
static int as_daemon(void)
{
    enum { FILES = 64 };
    char config[256];
    int file[FILES];
    latchkey *own;
    for (int fd = 3; fd < 256; fd++) close(fd);
    for (int i = 0; i < FILES / 2; i++) file[i] = dup(1);
    handle_config(server, 0, "", config, sizeof config);
    if (latchkey_open(config, &own, NULL, 0)) return 1;
    for (int i = FILES / 2; i < FILES; i++) file[i] = dup(1);
    latchkey_queue_close(queue);
    latchkey_close(lk);
    for (int i = 0; i < FILES; i++)
        if (fcntl(file[i], F_GETFD) < 0) return 2;
    for (int i = 0; i < 3; i++)
        if (latchkey_validate_fresh(own, token, LATCHKEY_TOKEN_LENGTH, 0, &(latchkey_entry){0})) return 3;
    latchkey_stats stats;
    if (latchkey_stats_read(own, &stats, sizeof stats) || stats.l2_errors || stats.reconnects) return 4;
    latchkey_close(own);
    return 0;
}

static void test_J_a_daemon_that_closed_all_keeps_its_own_files(void **state)
{
    (void)state;
    prepare("staleness_ms=4000");
    queue = latchkey_queue_open(lk);
    assert_non_null(queue);
    assert_true(latchkey_fd(lk) >= 0);
    assert_int_equal(in_child(as_daemon), 0);
    assert_parent_unharmed();
    latchkey_queue_close(queue);
}

static int grandchild(void)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) _exit(every_call());
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status)) return 100;
    return WEXITSTATUS(status);
}

static void test_J_grandchild_answers_FORKED_as_well(void **state)
{
    (void)state;
    prepare("staleness_ms=4000");
    assert_int_equal(in_child(grandchild), 0);
    assert_parent_unharmed();
}

/* The fork comes at any moment: while other threads hold whatever they hold. The child must not hang on it. */
static void work(crew_member *member)
{
    char own[LATCHKEY_TOKEN_SIZE];
    latchkey_draft draft = {.size = sizeof draft, .user_id = 10 + member->index};
    while (!crew_stopped(member)) {
        if (latchkey_create(lk, &draft, own)) continue;
        validate(lk, own);
        end_session(lk, own);
    }
}

static void test_J_fork_in_the_middle_of_everything(void **state)
{
    (void)state;
    prepare("");
    crew *workers = crew_start(3, work, NULL);
    int wrong = 0;
    for (int i = 0; i < 30 && !wrong; i++) {
        pid_t child = fork();
        if (child == 0) _exit(as_child(every_call_and_close));
        int status = -1;
        int64_t limit = check_now_ms() + CHECK_PATIENCE_MS;
        while (child > 0 && waitpid(child, &status, WNOHANG) == 0 && check_now_ms() < limit) check_pause();
        if (status != 0) wrong = status;
    }
    crew_stop(workers);
    crew_join(workers);
    assert_int_equal(wrong, 0);
    wait_for(validate(lk, token) == LATCHKEY_OK);
}

static pid_t start_sleeper(void)
{
    pid_t child = fork();
    if (child == 0)
        for (;;) pause();
    assert_true(child > 0);
    return child;
}

static void end_sleeper(pid_t child)
{
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

static int ask_and_reap(struct pollfd *ready)
{
    latchkey_answer answer;
    if (latchkey_submit(lk, token, LATCHKEY_TOKEN_LENGTH, 7)) return LATCHKEY_UNAVAILABLE;
    while (!latchkey_reap(lk, &answer, 1)) assert_int_equal(poll(ready, 1, CHECK_PATIENCE_MS), 1);
    return answer.status;
}

/* A child that lives on has copies of the parent's sockets. The parent closes its own, and its event loop is told of them no
 * more: also where the application did not take the descriptor out of its epoll before it closed the handle. */
static void test_J_a_child_does_not_keep_the_parents_event_loop_busy(void **state)
{
    (void)state;
    latchkey_answer answer;
    prepare("l1_capacity=0");
    struct pollfd ready = {.fd = latchkey_fd(lk), .events = POLLIN};
    struct epoll_event event = {.events = EPOLLIN};
    int application = epoll_create1(EPOLL_CLOEXEC);
    assert_int_equal(epoll_ctl(application, EPOLL_CTL_ADD, ready.fd, &event), 0);
    wait_for(ask_and_reap(&ready) == LATCHKEY_OK);
    pid_t child = start_sleeper();
    for (int i = 0; i < 3; i++) {
        redis_do(server, "CLIENT KILL TYPE normal SKIPME yes");
        wait_for(ask_and_reap(&ready) == LATCHKEY_OK);
        wait_for(latchkey_reap(lk, &answer, 1) == 0 && poll(&ready, 1, 0) == 0);
    }
    assert_status(lk, LATCHKEY_OK, latchkey_submit(lk, token, LATCHKEY_TOKEN_LENGTH, 8));
    wait_for(poll(&ready, 1, 0) == 1);
    handle_close(lk);
    int told = epoll_wait(application, &event, 1, 0);
    end_sleeper(child);
    close(application);
    assert_int_equal(told, 0);
}

/* Not under sanitizers. ThreadSanitizer does not support new threads after a fork of a process with several ("starting new threads
 * after multi-threaded fork is not supported", it says without die_after_fork=0). AddressSanitizer takes stacks of threads that
 * a child does not have for its own. */
#ifdef __has_feature
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define IN_A_SANITIZER
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IN_A_SANITIZER
#endif

/* Children are forked while threads open and close handles, and each opens one of its own: it must not wait for a lock that was
 * torn: the log's, OpenSSL's, libsodium's. A child that hangs is ended by its alarm clock. */
static char configs[3][400];
enum { UNAVAILABLE_HERE = 77 };

static int open_another(const char *config)
{
    latchkey *own;
    latchkey_draft draft = {.size = sizeof draft, .user_id = 3};
    char made[LATCHKEY_TOKEN_SIZE];
    char why[256] = "";
    int status = latchkey_open(config, &own, why, sizeof why);
    if (status) fprintf(stderr, "%d %s: %s\n", status, config, why);
    if (status == LATCHKEY_UNAVAILABLE) return UNAVAILABLE_HERE;
    if (status) return 1;
    if (!strstr(config, "lazy")) status = latchkey_create(own, &draft, made);
    if (!status && !strstr(config, "lazy")) status = validate(own, made);
    latchkey_close(own);
    return status ? 2 : 0;
}

static unsigned children;

static int open_in_a_child(void)
{
    alarm(CHECK_PATIENCE_MS / 1000);
    return open_another(configs[children % 3]);
}

static void open_again_and_again(crew_member *member)
{
    for (unsigned i = (unsigned)member->index; !crew_stopped(member); i++) open_another(configs[i % 3]);
}

__attribute__((unused)) static void test_J_fork_while_threads_open_handles(void **state)
{
    (void)state;
    enum { CHILDREN = 100 };
    pki_make(&(pki_card){.name = "ca", .ca = 1});
    pki_make(&(pki_card){.name = "good", .for_names = "IP:127.0.0.1", .issuer = "ca"});
    redis *secure = redis_start("--tls-cert-file", pki_crt("good"), "--tls-key-file", pki_key("good"),
                                "--tls-ca-cert-file", pki_crt("ca"), "--tls-auth-clients", "no");
    const char options[] = "deadline_ms=15000&staleness_ms=20000&l1_capacity=100&connections=1";
    snprintf(configs[0], sizeof *configs, "rediss://127.0.0.1:%d?ca_file=%s&%s", secure->port, pki_crt("ca"), options);
    snprintf(configs[1], sizeof *configs, "redis://127.0.0.1:%d?%s", server->port, options);
    snprintf(configs[2], sizeof *configs, "rediss://127.0.0.1:%d?ca_file=%s&lazy=1&%s", secure->port, pki_crt("ca"),
             options);
    crew *workers = crew_start(3, open_again_and_again, NULL);
    int wrong = 0, status = -1, unavailable = 0;
    for (children = 0; children < CHILDREN && !wrong; children++) {
        pid_t child = fork();
        if (child == 0) _exit(as_child(open_in_a_child));
        if (child < 0 || waitpid(child, &status, 0) != child) wrong = status;
        else if (WIFEXITED(status) && WEXITSTATUS(status) == UNAVAILABLE_HERE) unavailable++;
        else wrong = status;
    }
    crew_stop(workers);
    crew_join(workers);
    redis_end(secure);
    if (WIFSIGNALED(wrong)) fail_msg("a child was ended by signal %d", WTERMSIG(wrong));
    assert_int_equal(wrong, 0);
    assert_in_range(unavailable, 0, CHILDREN / 20); /* an answer, where the machine was too slow for one */
}

/* L1 reads as zeros in the child: the token that the parent's L1 holds is nowhere in the child's memory. The test's own
 * copies are kept inverted, so that only the library's can be found. */
static unsigned char inverted[LATCHKEY_TOKEN_SIZE];

static size_t count_in(FILE *memory, unsigned long from, unsigned long to, const unsigned char *wanted, size_t size)
{
    enum { PIECE = 1 << 16 };
    static unsigned char piece[PIECE];
    size_t found = 0;
    for (unsigned long at = from; at < to; at += PIECE - 64) {
        size_t want = to - at < PIECE ? to - at : PIECE;
        if (fseek(memory, (long)at, SEEK_SET)) break;
        size_t got = fread(piece, 1, want, memory);
        for (size_t i = 0; i + size <= got; i++) {
            size_t same = 0;
            while (same < size && piece[i + same] == (unsigned char)~wanted[same]) same++;
            found += same == size;
        }
        memset(piece, 0, sizeof piece);
    }
    return found;
}

/* How often the second half of the token stands in this process's large anonymous mappings, where L1 is; 255 at most. */
static int token_in_memory(void)
{
    FILE *maps = fopen("/proc/self/maps", "r"), *memory = fopen("/proc/self/mem", "r");
    char line[512];
    size_t found = 0;
    if (!maps || !memory) return 255;
    setvbuf(memory, NULL, _IONBF, 0);
    while (fgets(line, sizeof line, maps)) {
        unsigned long from, to, offset, inode;
        char rights[8], device[16];
        if (sscanf(line, "%lx-%lx %7s %lx %15s %lu", &from, &to, rights, &offset, device, &inode) != 6) continue;
        if (rights[0] != 'r' || rights[1] != 'w' || inode || strchr(line, '[') || to - from > 256ul << 20) continue;
        found += count_in(memory, from, to, inverted + LATCHKEY_SELECTOR_LENGTH, 20);
    }
    fclose(maps);
    fclose(memory);
    return found < 255 ? (int)found : 255;
}

static void test_J_l1_reads_as_zeros_in_a_child(void **state)
{
    (void)state;
    prepare("l1_capacity=1000");
    assert_status(lk, LATCHKEY_OK, try_validate(lk, token));
    for (size_t i = 0; i < sizeof token; i++) inverted[i] = (unsigned char)~token[i];
    memset(token, 0, sizeof token);
    /* The same search finds it in the parent, so it can find. */
    assert_true(token_in_memory() >= 1);
    assert_int_equal(in_child(token_in_memory), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_J_every_call_in_a_child_answers_FORKED),
        TEST(test_J_close_in_a_child_leaves_the_parent_unharmed),
        TEST(test_J_child_may_open_its_own),
        TEST(test_J_a_daemon_that_closed_all_keeps_its_own_files),
        TEST(test_J_grandchild_answers_FORKED_as_well),
        TEST(test_J_fork_in_the_middle_of_everything),
        TEST(test_J_l1_reads_as_zeros_in_a_child),
#ifndef IN_A_SANITIZER
        TEST(test_J_fork_while_threads_open_handles),
#endif
        TEST(test_J_a_child_does_not_keep_the_parents_event_loop_busy),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}
