/* SPDX-License-Identifier: MIT
 *
 * What lies between forgets connections on which nothing was said, and swallows what is said next, as a NAT does. At most one
 * call finds out: the others go over new connections. (Guarantee G, and no call for nothing.)
 */
#include "test_handle.h"
#include "proxy.h"
#include "threads.h"

#include <poll.h>
#include <string.h>

enum { CONNECTIONS = 8, IDLE_MS = 1500 };

static proxy *wire;
static latchkey *lk;

/* All of the pool's connections exist, and then nothing is said on them, while the link goes on with its beats. */
static void hold_all(crew_member *m)
{
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey_draft draft = {.size = sizeof draft, .user_id = m->index + 1};
    for (int i = 0; i < 20; i++) latchkey_create(m->shared, &draft, token);
}

static void open_and_idle(void)
{
    wire = proxy_start(server->port);
    lk = handle_open_at(proxy_port(wire), "l1_capacity=0&connections=8&deadline_ms=700&staleness_ms=2000");
    long long before = redis_info(server, "clients", "connected_clients");
    while (redis_info(server, "clients", "connected_clients") - before < CONNECTIONS / 2)
        crew_run(4 * CONNECTIONS, hold_all, lk);
    poll(NULL, 0, IDLE_MS + 200);
    proxy_forget_idle(wire, IDLE_MS);
}

static int teardown(void **state)
{
    handle_close_all(state);
    if (wire) proxy_end(wire);
    wire = NULL;
    return 0;
}

static void test_logins_in_a_row(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey_draft draft = {.size = sizeof draft, .user_id = 1};
    int failed = 0;
    open_and_idle();
    for (int i = 0; i < 2 * CONNECTIONS; i++) failed += latchkey_create(lk, &draft, token) != LATCHKEY_OK;
    if (failed > 1) fail_msg("%d logins in a row failed", failed);
}

static char tokens[CONNECTIONS][LATCHKEY_TOKEN_SIZE];
static _Atomic int failed_reads;

/* Half of them read one session, and share the read. */
static void read_once(crew_member *m)
{
    if (validate(lk, tokens[m->index % 2 ? m->index : 0]) != LATCHKEY_OK) atomic_fetch_add(&failed_reads, 1);
}

static void test_reads_in_a_storm(void **state)
{
    (void)state;
    latchkey *maker = handle_open(server, "");
    for (int i = 0; i < CONNECTIONS; i++) make_session(maker, 1, tokens[i]);
    failed_reads = 0;
    open_and_idle();
    crew_run(CONNECTIONS, read_once, NULL);
    if (failed_reads > 1) fail_msg("%d of %d reads at once failed", failed_reads, CONNECTIONS);
}

static int answer_of(uint64_t tag)
{
    latchkey_answer answer;
    struct pollfd fd = {.fd = latchkey_fd(lk), .events = POLLIN};
    for (int i = 0; i < 100; i++) {
        if (latchkey_reap(lk, &answer, 1) == 1 && answer.tag == tag) return answer.status;
        poll(&fd, 1, 200);
    }
    return LATCHKEY_AGAIN;
}

static int submit_one(const char *token, uint64_t tag)
{
    int status = latchkey_submit(lk, token, LATCHKEY_TOKEN_LENGTH, tag);
    return status ? status : answer_of(tag);
}

/* A login found out before: then what was submitted does not have to. */
static void test_what_is_submitted_learns_from_a_call(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey *maker = handle_open(server, "");
    make_session(maker, 1, token);
    wire = proxy_start(server->port);
    lk = handle_open_at(proxy_port(wire), "l1_capacity=0&connections=2&deadline_ms=700&staleness_ms=2000");
    assert_status(lk, LATCHKEY_OK, submit_one(token, 1));
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
    poll(NULL, 0, IDLE_MS + 200);
    proxy_forget_idle(wire, IDLE_MS);
    int failed = validate(lk, token) != LATCHKEY_OK;
    for (uint64_t tag = 2; tag < 6; tag++) failed += submit_one(token, tag) != LATCHKEY_OK;
    if (failed > 1) fail_msg("%d calls failed", failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_logins_in_a_row, server_clean, teardown),
        cmocka_unit_test_setup_teardown(test_reads_in_a_storm, server_clean, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_submitted_learns_from_a_call, server_clean, teardown),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}
