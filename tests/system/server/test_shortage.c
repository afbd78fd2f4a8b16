/* SPDX-License-Identifier: MIT
 *
 * A process that may have no more descriptors or threads: the texts say that, and "no memory" is said of memory alone.
 */
#include "test_handle.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static char config[256], token[LATCHKEY_TOKEN_SIZE];

/* Runs `body` in a process of its own, whose limits are its own; returns what it returned. */
static int apart(int (*body)(void))
{
    int status = -1;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(CHECK_PATIENCE_MS / 1000);
        _exit(body());
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 200;
}

/* So many descriptors more than there are may be had. */
static void allow_descriptors(unsigned more)
{
    int next = dup(0);
    close(next);
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = (rlim_t)next + more;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static int too_few_descriptors(void)
{
    unsigned refused = 0, named = 0;
    for (unsigned more = 0; more < 12; more++) {
        char error[256] = "";
        latchkey *own = NULL;
        allow_descriptors(more);
        int status = latchkey_open(config, &own, error, sizeof error);
        if (status == LATCHKEY_OK) latchkey_close(own);
        else refused++;
        if (status != LATCHKEY_OK && status != LATCHKEY_UNAVAILABLE) return 1;
        if (strstr(error, "memory")) return 2;
        named += strstr(error, "descriptor") || strstr(error, "Too many open files");
        if (status && !*error) return 3;
    }
    return refused >= 3 && named == refused ? 0 : 4;
}

static int none_for_an_event_loop(void)
{
    latchkey *own = NULL;
    latchkey_stats stats;
    if (latchkey_open(config, &own, NULL, 0)) return 1;
    allow_descriptors(1);
    if (latchkey_fd(own) != LATCHKEY_UNAVAILABLE) return 2;
    if (latchkey_stats_read(own, &stats, sizeof stats)) return 3;
    if (!strstr(stats.last_error, "descriptor")) return 4;
    if (latchkey_submit(own, token, LATCHKEY_TOKEN_LENGTH, 1) != LATCHKEY_UNAVAILABLE) return 5;
    allow_descriptors(10);
    if (latchkey_fd(own) < 0) return 6;
    latchkey_close(own);
    return 0;
}

/* As sandboxes have it: what is open stays open, and poll refuses. */
static int no_poll(void)
{
    latchkey *own = NULL;
    latchkey_entry entry;
    latchkey_stats stats;
    struct rlimit limit, none = {0};
    if (latchkey_open(config, &own, NULL, 0)) return 1;
    if (getrlimit(RLIMIT_NOFILE, &limit)) return 2;
    none.rlim_max = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &none)) return 3;
    do {
        usleep(10000);
        if (latchkey_stats_read(own, &stats, sizeof stats)) return 4;
    } while (!strstr(stats.last_error, "cannot wait for its connections (poll: Invalid argument)"));
    while (latchkey_validate(own, token, LATCHKEY_TOKEN_LENGTH, &entry) != LATCHKEY_UNAVAILABLE) usleep(10000);
    if (setrlimit(RLIMIT_NOFILE, &limit)) return 5;
    while (latchkey_validate(own, token, LATCHKEY_TOKEN_LENGTH, &entry)) usleep(10000);
    latchkey_close(own);
    return 0;
}

static int no_thread(void)
{
    char error[256] = "";
    latchkey *own = NULL;
    pthread_attr_t endless;
    pthread_attr_init(&endless);
    pthread_attr_setstacksize(&endless, (size_t)1 << 50);
    if (pthread_setattr_default_np(&endless)) return 1;
    if (latchkey_open(config, &own, error, sizeof error) != LATCHKEY_UNAVAILABLE) return 2;
    if (!strstr(error, "no thread is left") || strstr(error, "memory")) return 3;
    return 0;
}

static void test_descriptors_and_threads_are_no_memory(void **state)
{
    (void)state;
    handle_config(server, 1, "l1_capacity=100", config, sizeof config);
    make_session(handle_open(server, ""), 1, token);
    assert_int_equal(apart(too_few_descriptors), 0);
    assert_int_equal(apart(none_for_an_event_loop), 0);
    assert_int_equal(apart(no_poll), 0);
    assert_int_equal(apart(no_thread), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_descriptors_and_threads_are_no_memory),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}
