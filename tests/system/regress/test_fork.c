/* SPDX-License-Identifier: MIT
 *
 * Bugs that were: a child that looked into an L1 of zeros divided by its number of sets; and a child that closed its copy
 * of the handle waited for threads that only the parent has.
 */
#include "test_handle.h"
#include "threads.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static latchkey *lk;
static char token[LATCHKEY_TOKEN_SIZE];

/* The child is ended by its alarm clock if it hangs, and by a crash: not by cmocka, which would go on to the next test. */
static pid_t in_child(int (*what)(void))
{
    pid_t child = fork();
    if (child < 0) fail_msg("fork");
    if (child) return child;
    static const int crashes[] = {SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGSYS};
    for (size_t i = 0; i < sizeof crashes / sizeof *crashes; i++) signal(crashes[i], SIG_DFL);
    alarm(CHECK_PATIENCE_MS / 2000);
    _exit(what());
}

static int end_of(pid_t child)
{
    int status = -1;
    return waitpid(child, &status, 0) == child ? status : -1;
}

static void assert_good_end(int status)
{
    if (WIFSIGNALED(status)) fail_msg("the child ended by signal %d", WTERMSIG(status));
    assert_int_equal(status, 0);
}

static int ask(void)
{
    latchkey_entry entry;
    if (latchkey_validate(lk, token, LATCHKEY_TOKEN_LENGTH, &entry) != LATCHKEY_FORKED) return 1;
    if (latchkey_try_validate(lk, token, LATCHKEY_TOKEN_LENGTH, &entry) != LATCHKEY_FORKED) return 2;
    return 0;
}

static int end(void)
{
    latchkey_close(lk);
    return 0;
}

static void test_validate_in_a_child_of_a_parent_with_entries_in_l1(void **state)
{
    (void)state;
    lk = handle_open(server, "");
    make_session(lk, 1, token);
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
    assert_status(lk, LATCHKEY_OK, try_validate(lk, token));
    assert_good_end(end_of(in_child(ask)));
    assert_status(lk, LATCHKEY_OK, try_validate(lk, token));
}

typedef struct asked {
    atomic_int status[4];
} asked;

static void ask_once(crew_member *member)
{
    asked *a = member->shared;
    atomic_store(&a->status[member->index], validate(lk, token));
}

static void test_close_in_a_child_while_the_parents_threads_wait_for_one_read(void **state)
{
    (void)state;
    asked a;
    latchkey *maker = handle_open(server, "");
    make_session(maker, 1, token);
    handle_close(maker);
    lk = handle_open(server, "deadline_ms=60000&staleness_ms=60000");
    for (int i = 0; i < 4; i++) atomic_init(&a.status[i], -100);
    redis_freeze(server);
    crew *waiting = crew_start(4, ask_once, &a);
    wait_for(crew_asleep(waiting));
    int status = end_of(in_child(end));
    redis_thaw(server);
    crew_join(waiting);
    assert_good_end(status);
    for (int i = 0; i < 4; i++) assert_status(lk, LATCHKEY_OK, atomic_load(&a.status[i]));
    assert_true(stats_of(lk).joined > 0); /* so they did wait for one another */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_validate_in_a_child_of_a_parent_with_entries_in_l1),
        TEST(test_close_in_a_child_while_the_parents_threads_wait_for_one_read),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}
