/* SPDX-License-Identifier: MIT
 *
 * fd, submit and reap: what is submitted is answered exactly once, as latchkey_validate would answer it, and nothing waits.
 */
#include "test_handle.h"
#include "proxy.h"
#include "threads.h"

#include <poll.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int submit(latchkey *lk, const char *token, uint64_t tag)
{
    return latchkey_submit(lk, token, strlen(token), tag);
}

static int readable(latchkey *lk, int wait_ms)
{
    struct pollfd p = {.fd = latchkey_fd(lk), .events = POLLIN};
    return poll(&p, 1, wait_ms) == 1;
}

/* The first fd asks for a connection: while that is being made there may be something to do, and nothing to give. */
static int quiet(latchkey *lk)
{
    latchkey_answer none;
    assert_int_equal(latchkey_reap(lk, &none, 1), 0);
    return !readable(lk, 0);
}

/* As an event loop does it. The number of answers that came; `patience` runs out only where one is missing. */
static size_t collect(latchkey *lk, latchkey_answer *answers, size_t wanted)
{
    size_t got = 0;
    int64_t until = check_now_ms() + CHECK_PATIENCE_MS;
    while (got < wanted && check_now_ms() < until)
        if (readable(lk, 1000)) got += latchkey_reap(lk, answers + got, wanted - got);
    return got;
}

static int ask(latchkey *lk, const char *token, latchkey_answer *a)
{
    static uint64_t tag;
    assert_status(lk, LATCHKEY_OK, submit(lk, token, ++tag));
    assert_int_equal(collect(lk, a, 1), 1);
    assert_int_equal(a->tag, tag);
    return a->status;
}

static void test_it_answers_what_validate_does(void **state)
{
    (void)state;
    latchkey *maker = handle_open(server, ""), *lk = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE], ended[LATCHKEY_TOKEN_SIZE], strange[LATCHKEY_TOKEN_SIZE];
    latchkey_answer a, zero = {0};
    make_session(maker, 77, token);
    make_session(maker, 78, ended);
    assert_status(maker, LATCHKEY_OK, end_session(maker, ended));
    assert_true(latchkey_fd(lk) >= 0);
    assert_status(lk, LATCHKEY_OK, ask(lk, token, &a));
    assert_int_equal(a.entry.user_id, 77);
    assert_int_equal(stats_of(lk).l2_reads, 1);
    assert_status(lk, LATCHKEY_OK, try_validate(lk, token)); /* L1 was filled */
    assert_status(lk, LATCHKEY_NOT_FOUND, ask(lk, ended, &a));
    uint64_t reads = stats_of(lk).l2_reads;
    assert_status(lk, LATCHKEY_NOT_FOUND, ask(lk, ended, &a)); /* known by now */
    assert_int_equal(stats_of(lk).l2_reads, reads);
    assert_memory_equal(&a.entry, &zero.entry, sizeof a.entry);
    memcpy(strange, token, sizeof strange);
    strange[25] = strange[25] == 'A' ? 'B' : 'A';
    assert_status(lk, LATCHKEY_MALFORMED, submit(lk, strange, 1));
    assert_status(lk, LATCHKEY_MALFORMED, latchkey_submit(lk, token, 42, 1));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_submit(lk, NULL, 43, 1));
    assert_status(lk, LATCHKEY_BAD_ARGUMENT, latchkey_submit(NULL, token, 43, 1));
    assert_int_equal(latchkey_fd(NULL), LATCHKEY_BAD_ARGUMENT);
    assert_int_equal(latchkey_reap(NULL, &a, 1), 0);
    assert_int_equal(latchkey_reap(lk, NULL, 1), 0);
    assert_int_equal(latchkey_reap(lk, &a, 1), 0);
    assert_false(readable(lk, 0));
}

/* Reap before anything was submitted, and before fd. */
static void test_reap_alone(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    latchkey_answer a;
    assert_int_equal(latchkey_reap(lk, &a, 1), 0);
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 1, token);
    assert_status(lk, LATCHKEY_OK, submit(lk, token, 5)); /* without fd */
    assert_int_equal(collect(lk, &a, 1), 1);
    assert_int_equal(a.tag, 5);
}

static void test_a_hit_is_there_at_once(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey_answer a;
    make_session(lk, 3, token);
    warm(lk, token);
    uint64_t reads = stats_of(lk).l2_reads;
    assert_status(lk, LATCHKEY_OK, submit(lk, token, 9));
    assert_true(readable(lk, 0));
    assert_int_equal(latchkey_reap(lk, &a, 1), 1);
    assert_status(lk, LATCHKEY_OK, a.status);
    assert_int_equal(a.entry.user_id, 3);
    assert_int_equal(stats_of(lk).l2_reads, reads);
    wait_for(quiet(lk));
}

/* Many at once, some of them equal, in pieces: each tag exactly once, with its own session. */
static void test_each_is_answered_once(void **state)
{
    (void)state;
    enum { SESSIONS = 200, TIMES = 5, ALL = SESSIONS * TIMES };
    static char tokens[SESSIONS][LATCHKEY_TOKEN_SIZE];
    static latchkey_answer answers[ALL];
    static unsigned char seen[ALL];
    latchkey *maker = handle_open(server, ""), *lk = handle_open(server, "l1_capacity=0");
    for (int i = 0; i < SESSIONS; i++) make_session(maker, (uint64_t)i + 1, tokens[i]);
    for (int i = 0; i < ALL; i++) assert_status(lk, LATCHKEY_OK, submit(lk, tokens[i % SESSIONS], (uint64_t)i));
    assert_true(stats_of(lk).joined > 0);
    size_t got = 0;
    for (size_t piece = 1; got < ALL; piece = piece % 7 + 1) {
        size_t more = collect(lk, answers + got, piece < ALL - got ? piece : ALL - got);
        assert_true(more > 0);
        got += more;
    }
    memset(seen, 0, sizeof seen);
    for (int i = 0; i < ALL; i++) {
        assert_status(lk, LATCHKEY_OK, answers[i].status);
        assert_in_range(answers[i].tag, 0, ALL - 1);
        assert_int_equal(seen[answers[i].tag]++, 0);
        assert_int_equal(answers[i].entry.user_id, answers[i].tag % SESSIONS + 1);
    }
    assert_false(readable(lk, 0));
    assert_int_equal(latchkey_reap(lk, answers, ALL), 0);
    assert_true(stats_of(lk).l2_reads <= ALL - stats_of(lk).joined);
}

static void test_beyond_in_flight_it_is_refused_at_once(void **state)
{
    (void)state;
    enum { MOST = 8 };
    latchkey *maker = handle_open(server, ""), *lk = handle_open(server, "in_flight=8&l1_capacity=0&deadline_ms=60000");
    char tokens[MOST + 1][LATCHKEY_TOKEN_SIZE];
    latchkey_answer answers[MOST + 1];
    for (int i = 0; i <= MOST; i++) make_session(maker, (uint64_t)i + 1, tokens[i]);
    redis_freeze(server);
    for (int i = 0; i < MOST; i++) assert_status(lk, LATCHKEY_OK, submit(lk, tokens[i], (uint64_t)i));
    assert_status(lk, LATCHKEY_UNAVAILABLE, submit(lk, tokens[MOST], MOST));
    assert_int_equal(stats_of(lk).shed, 1);
    redis_thaw(server);
    wait_for(readable(lk, 1000) && latchkey_reap(lk, answers, 1) == 1); /* one place is free */
    assert_status(lk, LATCHKEY_OK, submit(lk, tokens[MOST], MOST));
    assert_int_equal(collect(lk, answers, MOST), MOST);
    for (int i = 0; i < MOST; i++) assert_status(lk, LATCHKEY_OK, answers[i].status);
    assert_int_equal(latchkey_reap(lk, answers, MOST), 0);
}

/* What is outstanding, unread or unsent when the handle is closed is gone with it. */
static void test_close_with_answers_outstanding(void **state)
{
    (void)state;
    latchkey *maker = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE], more[20][LATCHKEY_TOKEN_SIZE];
    make_session(maker, 1, token);
    for (int i = 0; i < 20; i++) make_session(maker, 2, more[i]);
    for (int round = 0; round < 10; round++) {
        latchkey *lk = handle_open(server, "");
        if (round % 2) latchkey_fd(lk);
        for (int i = 0; i < 20; i++) assert_status(lk, LATCHKEY_OK, submit(lk, more[i], 1));
        if (round % 3 == 0) assert_true(readable(lk, 10000));
        if (round % 3 == 1) {
            latchkey_answer one;
            assert_int_equal(collect(lk, &one, 1), 1);
        }
        handle_close(lk);
    }
}

/* A server that says nothing: the descriptor becomes readable at the deadline, and not only with the bytes. */
static void test_A_deadline_is_kept_without_the_server(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "deadline_ms=300");
    char token[LATCHKEY_TOKEN_SIZE], other[LATCHKEY_TOKEN_SIZE];
    latchkey_answer a[2];
    make_session(lk, 1, token);
    make_session(lk, 1, other);
    latchkey *cold = handle_open(server, "deadline_ms=300");
    assert_status(cold, LATCHKEY_OK, ask(cold, other, &a[0])); /* it has its connection */
    redis_freeze(server);
    int64_t began_ms = check_now_ms();
    assert_status(cold, LATCHKEY_OK, submit(cold, token, 1));
    assert_int_equal(collect(cold, a, 1), 1);
    assert_status(cold, LATCHKEY_UNAVAILABLE, a[0].status);
    assert_true(check_now_ms() - began_ms >= 250); /* it did wait */
    redis_thaw(server);
    wait_for(ask(cold, token, &a[0]) == LATCHKEY_OK); /* and no late reply is taken for this one's */
    assert_int_equal(a[0].entry.user_id, 1);
}

static void test_A_dead_server_is_no_answer_and_it_comes_back(void **state)
{
    (void)state;
    redis *on = redis_start("--appendonly", "yes", "--appendfsync", "always");
    latchkey *lk = handle_open(on, "deadline_ms=2000&l1_capacity=0");
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey_answer a;
    make_session(lk, 4, token);
    assert_status(lk, LATCHKEY_OK, ask(lk, token, &a));
    redis_kill(on);
    for (int i = 0; i < 50; i++) assert_status(lk, LATCHKEY_UNAVAILABLE, ask(lk, token, &a));
    redis_boot(on);
    wait_for(ask(lk, token, &a) == LATCHKEY_OK);
    assert_int_equal(a.entry.user_id, 4);
    handle_close(lk);
    redis_end(on);
}

/* Connections that the server closes, idle or with questions on them, cost a repetition at most, and no answer. */
static void test_a_lost_connection_is_asked_again(void **state)
{
    (void)state;
    enum { MANY = 50 };
    latchkey *lk = handle_open(server, "l1_capacity=0");
    char tokens[MANY][LATCHKEY_TOKEN_SIZE];
    latchkey_answer answers[MANY];
    for (int i = 0; i < MANY; i++) make_session(lk, (uint64_t)i + 1, tokens[i]);
    for (int round = 0; round < 5; round++) {
        assert_status(lk, LATCHKEY_OK, ask(lk, tokens[0], &answers[0]));
        redis_do(server, "CLIENT KILL TYPE normal SKIPME yes");
        /* The link's own went too: its lease holds, by staleness_ms. */
        for (int i = 0; i < MANY; i++) assert_status(lk, LATCHKEY_OK, submit(lk, tokens[i], (uint64_t)i));
        assert_int_equal(collect(lk, answers, MANY), MANY);
        for (int i = 0; i < MANY; i++) {
            assert_status(lk, LATCHKEY_OK, answers[i].status);
            assert_int_equal(answers[i].entry.user_id, answers[i].tag + 1);
        }
        wait_for(stats_of(lk).connected);
    }
}

/* The answer lay unread while the session was ended: here, and elsewhere. It is asked for anew when it is taken. */
static void test_BC_unread_answer_is_not_given_after_a_revocation(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, ""), *elsewhere = handle_open(server, "");
    for (int i = 0; i < 6; i++) {
        char token[LATCHKEY_TOKEN_SIZE];
        latchkey_answer a;
        make_session(elsewhere, 1, token);
        if (i % 3 == 0) warm(lk, token); /* one that L1 answers */
        uint64_t purges = stats_of(lk).purges;
        assert_status(lk, LATCHKEY_OK, submit(lk, token, 1));
        assert_true(readable(lk, 10000));
        latchkey *by = i % 2 ? lk : elsewhere;
        assert_status(by, LATCHKEY_OK, end_session(by, token));
        wait_for(stats_of(lk).purges > purges);
        assert_int_equal(collect(lk, &a, 1), 1);
        assert_status(lk, LATCHKEY_NOT_FOUND, a.status);
    }
}

static void test_B_denied_here_is_not_found(void **state)
{
    (void)state;
    redis *on = redis_start("--appendonly", "yes");
    latchkey *lk = handle_open(on, "deadline_ms=300");
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey_answer a;
    make_session(lk, 1, token);
    warm(lk, token);
    redis_freeze(on);
    assert_status(lk, LATCHKEY_PENDING, end_session(lk, token));
    assert_status(lk, LATCHKEY_NOT_FOUND, ask(lk, token, &a));
    redis_thaw(on);
    handle_close(lk);
    redis_end(on);
}

/* A "no" that this handle knew by itself, and that lay for longer than staleness_ms: it is asked for anew, and is the same. */
static void test_B_denied_here_and_reaped_late(void **state)
{
    (void)state;
    redis *on = redis_start("--appendonly", "yes");
    latchkey *lk = handle_open(on, "deadline_ms=2000&staleness_ms=100");
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey_answer a;
    make_session(lk, 1, token);
    redis_freeze(on);
    assert_status(lk, LATCHKEY_PENDING, end_session(lk, token));
    assert_status(lk, LATCHKEY_OK, submit(lk, token, 1));
    int64_t until_ms = check_now_ms() + 200;
    wait_for(check_now_ms() > until_ms);
    size_t got = latchkey_reap(lk, &a, 1); /* asks */
    if (!got) got = latchkey_reap(lk, &a, 1);
    assert_int_equal(got, 1);
    assert_status(lk, LATCHKEY_NOT_FOUND, a.status);
    redis_thaw(on);
    handle_close(lk);
    redis_end(on);
}

/* Every request is answered, but nothing comes through the subscription: no lease, no answer; then a beat, and it is. */
static void test_C_answers_are_not_given_without_a_lease(void **state)
{
    (void)state;
    proxy *wire = proxy_start(server->port);
    latchkey *maker = handle_open(server, "");
    latchkey *lk = handle_open_at(proxy_port(wire), "staleness_ms=300&deadline_ms=600&l1_capacity=0");
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey_answer a;
    make_session(maker, 1, token);
    wait_for(ask(lk, token, &a) == LATCHKEY_OK);
    proxy_set(wire, PROXY_HOLD_MESSAGES, NULL, 0);
    int64_t cut_ms = check_now_ms();
    while (check_now_ms() < cut_ms + 400) check_pause();
    int64_t began_ms = check_now_ms();
    assert_status(lk, LATCHKEY_UNAVAILABLE, ask(lk, token, &a));
    assert_true(check_now_ms() - began_ms >= 500); /* it waited for a beat, by its deadline and not by turning round */
    proxy_set(wire, PROXY_RELAY, NULL, 0);
    wait_for(ask(lk, token, &a) == LATCHKEY_OK);
    handle_close(lk);
    handle_close(maker);
    proxy_end(wire);
}

/* The lease had lapsed, and the beat that it costs rings: the answer does not wait for the next one, 15 s away. */
static void test_C_a_beat_rings(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "partitions=1&staleness_ms=60000&deadline_ms=10000");
    char ended[4][LATCHKEY_TOKEN_SIZE], token[LATCHKEY_TOKEN_SIZE];
    latchkey_answer a;
    for (int i = 0; i < 4; i++) make_session(lk, 1, ended[i]);
    make_session(lk, 2, token);
    for (int i = 0; i < 3; i++) assert_status(lk, LATCHKEY_OK, end_session(lk, ended[i]));
    wait_for(stats_of(lk).revocations_heard == 3);
    uint64_t empties = stats_of(lk).empties;
    redis_do(server, "DEL lk:{0}:q");
    /* If the link hears of the new count before the answer is here, the answer is of another data set than the lease: it does not count. */
    int status = end_session(lk, ended[3]);
    assert_true(status == LATCHKEY_OK || status == LATCHKEY_PENDING);
    wait_for(stats_of(lk).empties > empties);
    assert_status(lk, LATCHKEY_OK, ask(lk, token, &a));
}

static void test_stale_answers_are_marked(void **state)
{
    (void)state;
    redis *on = redis_start("--appendonly", "yes");
    latchkey *lk = handle_open(on, "staleness_ms=400&grace_ms=60000&deadline_ms=300");
    char token[LATCHKEY_TOKEN_SIZE], cold[LATCHKEY_TOKEN_SIZE];
    latchkey_answer a;
    make_session(lk, 5, token);
    warm(lk, token);
    latchkey *maker = handle_open(on, "");
    make_session(maker, 6, cold);
    handle_close(maker);
    redis_kill(on);
    wait_for(ask(lk, token, &a) == LATCHKEY_OK && a.entry.flags & LATCHKEY_FLAG_STALE);
    assert_int_equal(a.entry.user_id, 5);
    assert_status(lk, LATCHKEY_UNAVAILABLE, ask(lk, cold, &a));
    handle_close(lk);
    redis_end(on);
}

static void test_J_a_child_has_none_of_it(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, "");
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey_answer a;
    make_session(lk, 1, token);
    latchkey *cold = handle_open(server, "l1_capacity=0");
    assert_status(cold, LATCHKEY_OK, submit(cold, token, 1));
    pid_t child = fork();
    if (child == 0) {
        int good = latchkey_fd(cold) == LATCHKEY_FORKED && submit(cold, token, 2) == LATCHKEY_FORKED &&
                   latchkey_reap(cold, &a, 1) == 0;
        latchkey_close(cold);
        _exit(good ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    assert_int_equal(collect(cold, &a, 1), 1);
    assert_status(cold, LATCHKEY_OK, a.status);
    assert_status(cold, LATCHKEY_OK, ask(cold, token, &a));
}

/* ------------------------------------------------------------------------------------- threads and faults -- */

enum { THREADS = 4, ROUNDS = 300, BATCH = 16, SESSIONS = 64 };

typedef struct shared {
    latchkey *lk;
    char tokens[SESSIONS][LATCHKEY_TOKEN_SIZE];
    _Atomic unsigned char answered[THREADS * ROUNDS * BATCH];
    _Atomic size_t submitted, reaped, wrong, unavailable;
} shared;

static void reap_some(shared *s)
{
    latchkey_answer answers[BATCH];
    struct pollfd p = {.fd = latchkey_fd(s->lk), .events = POLLIN};
    poll(&p, 1, 5);
    size_t n = latchkey_reap(s->lk, answers, BATCH);
    for (size_t i = 0; i < n; i++) {
        const latchkey_answer *a = &answers[i];
        if (atomic_fetch_add(&s->answered[a->tag], 1)) atomic_fetch_add(&s->wrong, 1);
        if (a->status == LATCHKEY_UNAVAILABLE) atomic_fetch_add(&s->unavailable, 1);
        else if (a->status || a->entry.user_id != a->tag % SESSIONS + 1) atomic_fetch_add(&s->wrong, 1);
    }
    atomic_fetch_add(&s->reaped, n);
}

/* Any thread that reaps gets any thread's answers. */
static void go_round(crew_member *m)
{
    shared *s = m->shared;
    for (size_t i = 0; i < ROUNDS * BATCH; i++) {
        uint64_t tag = m->index * ROUNDS * BATCH + i;
        while (latchkey_submit(s->lk, s->tokens[tag % SESSIONS], LATCHKEY_TOKEN_LENGTH, tag) != LATCHKEY_OK)
            reap_some(s);
        atomic_fetch_add(&s->submitted, 1);
        if (i % BATCH == BATCH - 1) reap_some(s);
    }
    while (atomic_load(&s->reaped) < atomic_load(&s->submitted)) reap_some(s);
}

static shared *share(const char *options, int faults)
{
    shared *s = calloc(1, sizeof *s);
    assert_non_null(s);
    latchkey *maker = handle_open(server, "");
    s->lk = handle_open(server, options);
    for (int i = 0; i < SESSIONS; i++) make_session(maker, (uint64_t)i + 1, s->tokens[i]);
    crew *c = crew_start(THREADS, go_round, s);
    for (int i = 0; i < faults; i++) {
        redis_do(server, "CLIENT KILL TYPE normal SKIPME yes");
        if (i % 4 == 3) redis_freeze(server);
        for (int k = 0; k < 5; k++) check_pause();
        if (i % 4 == 3) redis_thaw(server);
    }
    crew_join(c);
    assert_int_equal(s->wrong, 0);
    assert_int_equal(s->submitted, THREADS * ROUNDS * BATCH);
    assert_int_equal(s->reaped, THREADS * ROUNDS * BATCH);
    return s;
}

static void test_threads_share_a_handle(void **state)
{
    (void)state;
    shared *s = share("l1_capacity=0", 0);
    assert_int_equal(s->unavailable, 0);
    free(s);
    s = share("l1_capacity=0&in_flight=20", 0);
    assert_int_equal(s->unavailable, 0);
    free(s);
}

static void test_GI_connections_killed_all_the_time(void **state)
{
    (void)state;
    free(share("l1_capacity=0&deadline_ms=200", 60));
    free(share("deadline_ms=100&l1_ttl_ms=5", 60));
}

/* An old token of an exchange, after its grace: the link ends its session, since no call here may wait. */
static void test_old_token_after_its_grace_ends_the_session(void **state)
{
    (void)state;
    latchkey *lk = handle_open(server, ""), *other = handle_open(server, "");
    char old[LATCHKEY_TOKEN_SIZE], renewed[LATCHKEY_TOKEN_SIZE];
    latchkey_answer a;
    make_session(lk, 1, old);
    assert_status(lk, LATCHKEY_OK, latchkey_rotate(lk, old, LATCHKEY_TOKEN_LENGTH, 150, renewed));
    warm(other, renewed);
    check_outlive(150);
    assert_int_equal(ask(lk, old, &a), LATCHKEY_NOT_FOUND);
    assert_int_equal(a.entry.user_id, 0);
    wait_for(stats_of(lk).reuses == 1);
    wait_for(try_validate(other, renewed) == LATCHKEY_AGAIN);
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, renewed));
    assert_int_equal(ask(lk, old, &a), LATCHKEY_NOT_FOUND);
    assert_int_equal(stats_of(lk).reuses, 1);
}

/* Submitted in its grace and reaped after it, it is neither good nor a theft. Redis is asked, or L1. */
static void test_old_token_reaped_after_its_grace_ends_nothing(void **state)
{
    enum { GRACE = 1000 };
    (void)state;
    latchkey *maker = handle_open(server, ""), *lk = handle_open(server, "");
    uint64_t tag = 1000;
    for (int i = 0; i < 2; i++) {
        char old[LATCHKEY_TOKEN_SIZE], renewed[LATCHKEY_TOKEN_SIZE];
        latchkey_answer a;
        int64_t began_ms;
        do { /* until the machine is fast enough to submit it in time */
            began_ms = check_now_ms();
            make_session(maker, 1, old);
            assert_status(maker, LATCHKEY_OK, latchkey_rotate(maker, old, LATCHKEY_TOKEN_LENGTH, GRACE, renewed));
            if (i) validate(lk, old);
            assert_status(lk, LATCHKEY_OK, submit(lk, old, ++tag));
        } while (check_now_ms() >= began_ms + GRACE);
        check_outlive(GRACE);
        do assert_int_equal(collect(lk, &a, 1), 1);
        while (a.tag != tag);
        assert_int_equal(a.status, LATCHKEY_UNAVAILABLE);
        assert_status(lk, LATCHKEY_OK, validate(lk, renewed));
        assert_int_equal(stats_of(lk).reuses, (uint64_t)i);
        assert_int_equal(ask(lk, old, &a), LATCHKEY_NOT_FOUND);
        wait_for(stats_of(lk).reuses == (uint64_t)i + 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_it_answers_what_validate_does),
        TEST(test_old_token_after_its_grace_ends_the_session),
        TEST(test_old_token_reaped_after_its_grace_ends_nothing),
        TEST(test_reap_alone),
        TEST(test_a_hit_is_there_at_once),
        TEST(test_each_is_answered_once),
        TEST(test_beyond_in_flight_it_is_refused_at_once),
        TEST(test_close_with_answers_outstanding),
        TEST(test_A_deadline_is_kept_without_the_server),
        TEST(test_A_dead_server_is_no_answer_and_it_comes_back),
        TEST(test_a_lost_connection_is_asked_again),
        TEST(test_BC_unread_answer_is_not_given_after_a_revocation),
        TEST(test_B_denied_here_is_not_found),
        TEST(test_B_denied_here_and_reaped_late),
        TEST(test_C_answers_are_not_given_without_a_lease),
        TEST(test_C_a_beat_rings),
        TEST(test_stale_answers_are_marked),
        TEST(test_J_a_child_has_none_of_it),
        TEST(test_threads_share_a_handle),
        TEST(test_GI_connections_killed_all_the_time),
    };
    return cmocka_run_group_tests(tests, server_start, server_end);
}
