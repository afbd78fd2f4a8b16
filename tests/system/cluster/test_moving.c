/* SPDX-License-Identifier: MIT
 *
 * A slot moves to another node while instances use it: hits go on, misses wait, what writes is done or says that it is not;
 * and what was revoked is never admitted again.
 */
#include "three_nodes.h"
#include "threads.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

enum { LENGTH = LATCHKEY_TOKEN_LENGTH, USER = 1 };

/* Where the user's partition is, and where it is going to. */
typedef struct journey {
    int slot, from, to;
} journey;

static journey journey_of(latchkey *lk)
{
    journey j = {.slot = cluster_slot(nodes, partition_of_user(lk, USER))};
    j.from = cluster_owner(nodes, j.slot);
    j.to = (j.from + 1) % NODES;
    return j;
}

static void set_out(const journey *j) { cluster_move_begin(nodes, j->slot, j->from, j->to); }
static void arrive(const journey *j) { cluster_move_finish(nodes, j->slot, j->from, j->to); }

/* ---------------------------------------------------------------------------------------------- readers -- */

typedef struct readers {
    latchkey *hits, *misses;
    char token[LATCHKEY_TOKEN_SIZE];
    _Atomic int done[2], bad[2]; /* bad: the last status that was not OK */
} readers;

static void read_on(crew_member *m)
{
    readers *r = m->shared;
    while (!crew_stopped(m)) {
        int status = validate(m->index ? r->misses : r->hits, r->token);
        if (status) r->bad[m->index] = status;
        r->done[m->index]++;
        if (!m->index) check_pause();
    }
}

static void test_hits_go_on_and_misses_wait(void **state)
{
    (void)state;
    enum { MOVES = 2 };
    static readers r;
    r = (readers){.hits = cluster_open(nodes, ""), .misses = cluster_open(nodes, "l1_capacity=0")};
    make_session(r.hits, USER, r.token);
    warm(r.hits, r.token);
    wait_for(validate(r.misses, r.token) == LATCHKEY_OK); /* open was done with more than half of the partitions */
    crew *c = crew_start(2, read_on, &r);
    for (int i = 0; i < MOVES; i++) {
        journey j = journey_of(r.hits);
        int hits = r.done[0], misses = r.done[1];
        uint64_t asked = stats_of(r.hits).l1_misses;
        set_out(&j);
        wait_for(r.done[0] > hits + 20 && r.done[1] > misses + 5); /* the session's key is still there */
        cluster_move_keys(nodes, j.slot, j.from, j.to, -1);
        hits = r.done[0];
        wait_for(r.done[0] > hits + 20); /* and now it is not: a miss waits */
        arrive(&j);
        /* Both get its lease before it moves again, since none is given while a slot moves. The lease of the node before is good
         * for hits meanwhile: that the slot has arrived shows when L1 forgets. */
        wait_for(stats_of(r.hits).l1_misses > asked);
        hits = r.done[0], misses = r.done[1];
        wait_for(r.done[0] > hits + 5 && r.done[1] > misses + 5);
    }
    crew_stop(c);
    crew_join(c);
    assert_status(r.hits, LATCHKEY_OK, r.bad[0]);
    assert_status(r.misses, LATCHKEY_OK, r.bad[1]);
    assert_int_equal(stats_of(r.hits).l1_misses, MOVES);
}

/* Only a lease of a beat that was sent while the slot moved is left after that time. */
static void hits_go_on(latchkey *lk, const char *token, int staleness_ms)
{
    int64_t end_ms = check_now_ms() + 4 * staleness_ms;
    wait_for(check_now_ms() > end_ms);
    wait_for(try_validate(lk, token) == LATCHKEY_OK);
}

/* However long that takes: nothing can change in a slot that moves. The number of revocations has to be there still: it is 0
 * here. */
static void test_hits_go_on_for_long(void **state)
{
    (void)state;
    enum { STALENESS_MS = 400 };
    char token[LATCHKEY_TOKEN_SIZE], key[128], number[40];
    latchkey *lk = cluster_open(nodes, "staleness_ms=400&deadline_ms=300");
    make_session(lk, USER, token);
    warm(lk, token);
    journey j = journey_of(lk);
    uint64_t empties = stats_of(lk).empties;
    set_out(&j);
    hits_go_on(lk, token, STALENESS_MS);
    cluster_move_key(nodes, session_key(nodes->node[j.from], token, key), j.from, j.to);
    hits_go_on(lk, token, STALENESS_MS);
    assert_int_equal(stats_of(lk).empties, empties);
    snprintf(number, sizeof number, "lk:{%u}:q", token_partition(token));
    cluster_move_key(nodes, number, j.from, j.to);
    wait_for(try_validate(lk, token) == LATCHKEY_AGAIN); /* it is not known any more what has happened */
    arrive(&j);
    wait_for(validate(lk, token) == LATCHKEY_OK);
}

/* By the links that live on: they do not connect anew. Nothing was lost, so no other instance is waited for (which would take
 * a quarter of staleness_ms). */
static void test_a_moved_slot_is_served_at_once(void **state)
{
    (void)state;
    static const char options[] = "staleness_ms=60000&deadline_ms=10000";
    enum { MOVES = 3 };
    char token[LATCHKEY_TOKEN_SIZE], others[NODES][LATCHKEY_TOKEN_SIZE];
    latchkey *lk = cluster_open(nodes, options), *maker = cluster_open(nodes, options);
    make_session(maker, USER, token);
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
    for (int i = 0; i < NODES; i++) {
        uint64_t user = user_on(nodes, maker, i, USER + 1);
        while (partition_of_user(maker, user) == partition_of_user(maker, USER))
            user = user_on(nodes, maker, i, user + 1);
        make_session(maker, user, others[i]);
        warm(lk, others[i]);
    }
    for (int i = 0; i < MOVES; i++) {
        journey j = journey_of(lk);
        set_out(&j);
        arrive(&j);
        assert_status(lk, LATCHKEY_OK, validate(lk, token));
        for (int k = 0; k < NODES; k++) assert_status(lk, LATCHKEY_OK, try_validate(lk, others[k]));
    }
    assert_int_equal(stats_of(lk).reconnects, 0);
    assert_int_equal(stats_of(lk).missed, 0);
    wait_for(end_session(maker, token) >= LATCHKEY_OK); /* and what is revoked there is heard */
    wait_for(try_validate(lk, token) != LATCHKEY_OK);
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, token));
}

/* -------------------------------------------------------------------------------------------------- load -- */

enum { USERS = 40, WORKERS = 4, TOGETHER = 5 };

typedef struct traffic {
    latchkey *reader, *writer;
    char tokens[USERS][LATCHKEY_TOKEN_SIZE];
} traffic;

static void work_on(crew_member *m)
{
    traffic *l = m->shared;
    char token[LATCHKEY_TOKEN_SIZE];
    for (size_t i = m->index; !crew_stopped(m); i++) {
        if (m->index < 2) validate(l->reader, l->tokens[i % USERS]);
        else if (m->index == 2) touch(l->reader, l->tokens[i % USERS]);
        else if (!create_with(l->writer, USER + i % USERS, 0, token)) end_session(l->writer, token);
    }
}

/* All to one node at a time: its epoch is the greatest then. */
static void move_some(latchkey *lk, int to, uint64_t first)
{
    journey all[TOGETHER];
    for (int i = 0; i < TOGETHER; i++) {
        all[i] = (journey){.slot = cluster_slot(nodes, partition_of_user(lk, first + (uint64_t)i)), .to = to};
        all[i].from = cluster_owner(nodes, all[i].slot);
        for (int k = 0; k < i; k++)
            if (all[k].slot == all[i].slot) all[i].from = to;
        if (all[i].from != to) set_out(&all[i]);
    }
    for (int i = 0; i < TOGETHER; i++)
        if (all[i].from != to) arrive(&all[i]);
}

/* Regular beats are 15 s apart, and a call does not wait for so long. */
static void test_moved_slots_are_served_under_load(void **state)
{
    (void)state;
    static const char options[] = "staleness_ms=60000&deadline_ms=10000&l1_capacity=0";
    enum { ROUNDS = 6 };
    static traffic l;
    char token[LATCHKEY_TOKEN_SIZE];
    l = (traffic){.reader = cluster_open(nodes, options), .writer = cluster_open(nodes, options)};
    for (int i = 0; i < USERS; i++) make_session(l.reader, USER + (uint64_t)i, l.tokens[i]);
    crew *c = crew_start(WORKERS, work_on, &l);
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t first = USER + (uint64_t)(i * TOGETHER);
        move_some(l.reader, i % NODES, first);
        for (uint64_t user = first; user < first + TOGETHER; user++) {
            assert_status(l.writer, LATCHKEY_OK, create_with(l.writer, user, 0, token));
            assert_status(l.reader, LATCHKEY_OK, validate(l.reader, l.tokens[user - USER]));
        }
    }
    crew_stop(c);
    crew_join(c);
}

/* The questions of other partitions are answered meanwhile. */
static void test_submitted_misses_wait(void **state)
{
    (void)state;
    enum { OTHERS = 40 };
    static char others[OTHERS][LATCHKEY_TOKEN_SIZE];
    static latchkey_answer answers[OTHERS + 1];
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey *maker = cluster_open(nodes, ""), *lk = cluster_open(nodes, "deadline_ms=60000");
    make_session(maker, USER, token);
    for (int i = 0; i < OTHERS; i++) {
        uint64_t user = USER + 1 + (uint64_t)i;
        while (partition_of_user(maker, user) == partition_of_user(maker, USER)) user += 1000;
        make_session(maker, user, others[i]);
    }
    journey j = journey_of(lk);
    set_out(&j);
    cluster_move_keys(nodes, j.slot, j.from, j.to, -1);
    assert_status(lk, LATCHKEY_OK, latchkey_submit(lk, token, LENGTH, OTHERS));
    for (int i = 0; i < OTHERS; i++)
        assert_status(lk, LATCHKEY_OK, latchkey_submit(lk, others[i], LENGTH, (uint64_t)i));
    struct pollfd p = {.fd = latchkey_fd(lk), .events = POLLIN};
    size_t got = 0;
    while (got < OTHERS && poll(&p, 1, CHECK_PATIENCE_MS) == 1) got += latchkey_reap(lk, answers + got, OTHERS - got);
    for (size_t i = 0; i < got; i++) {
        assert_status(lk, LATCHKEY_OK, answers[i].status);
        assert_in_range(answers[i].tag, 0, OTHERS - 1);
    }
    assert_int_equal(latchkey_reap(lk, answers, 1), 0);
    arrive(&j);
    wait_for(poll(&p, 1, 1000) == 1 && latchkey_reap(lk, answers, 1) == 1);
    assert_status(lk, LATCHKEY_OK, answers[0].status);
    assert_int_equal(answers[0].tag, OTHERS);
    assert_int_equal(answers[0].entry.user_id, USER);
}

/* ------------------------------------------------------------------------------------------------- fresh -- */

static int fresh(latchkey *lk, const char *token)
{
    latchkey_entry entry;
    return latchkey_validate_fresh(lk, token, LENGTH, 0, &entry);
}

static int fresh_later(latchkey *lk, const char *token)
{
    latchkey_answer answer = {.status = 99};
    assert_status(lk, LATCHKEY_OK, latchkey_submit_fresh(lk, token, LENGTH, 0, 1));
    struct pollfd p = {.fd = latchkey_fd(lk), .events = POLLIN};
    while (!latchkey_reap(lk, &answer, 1)) assert_int_equal(poll(&p, 1, CHECK_PATIENCE_MS), 1);
    return answer.status;
}

/* A fresh validation reads the partition's cut-off. Where there is none, the node of a slot that moves says so with ASK, and
 * a beat has to tell. Beats are rare here. */
static void test_C_fresh_validations_go_on(void **state)
{
    (void)state;
    static const char options[] = "staleness_ms=60000&deadline_ms=10000";
    int (*const ask[2])(latchkey * lk, const char *token) = {fresh, fresh_later};
    for (int i = 0; i < 2; i++) {
        char token[LATCHKEY_TOKEN_SIZE];
        latchkey *lk = cluster_open(nodes, options), *maker = cluster_open(nodes, options);
        latchkey_entry entry;
        make_session(maker, USER, token);
        assert_status(lk, LATCHKEY_OK, latchkey_validate(lk, token, LENGTH, &entry));
        assert_status(lk, LATCHKEY_OK, ask[i](lk, token));
        journey j = journey_of(lk);
        set_out(&j);
        uint64_t beats = stats_of(lk).beats;
        assert_status(lk, LATCHKEY_OK, ask[i](lk, token));
        assert_true(stats_of(lk).beats > beats);
        arrive(&j);
        assert_status(lk, LATCHKEY_OK, ask[i](lk, token));
        /* As a latchkey_revoke_everyone whose message is lost. */
        redis_do(nodes->node[j.to], "SET lk:{%u}:e %lld", token_partition(token), (long long)entry.created_at_ms);
        j = journey_of(lk);
        set_out(&j);
        assert_status(lk, LATCHKEY_NOT_FOUND, ask[i](lk, token));
        arrive(&j);
        handle_close_all(NULL);
        clean_nodes(NULL);
    }
}

/* ---------------------------------------------------------------------------------------------- writers -- */

/* Nothing is written while the slot moves; what was revoked meanwhile is done when it has moved. `given_up`: it stays. */
static void write_while_it_moves(int given_up)
{
    latchkey *lk = cluster_open(nodes, "deadline_ms=400"), *other = cluster_open(nodes, "");
    char token[LATCHKEY_TOKEN_SIZE], none[LATCHKEY_TOKEN_SIZE], elsewhere[LATCHKEY_TOKEN_SIZE], text[256], part[32];
    size_t count;
    make_session(other, USER, token);
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
    warm(other, token);
    uint64_t neighbour = user_on(nodes, lk, (journey_of(lk).from + 2) % NODES, 1);
    journey j = journey_of(lk);
    set_out(&j);
    assert_status(lk, LATCHKEY_UNAVAILABLE, create_with(lk, USER, 0, none));
    assert_status(lk, LATCHKEY_OK, latchkey_error_text(lk, text, sizeof text));
    snprintf(part, sizeof part, "partition %u", partition_of_user(lk, USER));
    assert_contains(text, part);
    assert_contains(text, "moved");
    assert_status(lk, LATCHKEY_UNAVAILABLE, set_field(lk, token, "cart", "eggs"));
    assert_status(lk, LATCHKEY_UNAVAILABLE, latchkey_rotate(lk, token, LENGTH, 0, none));
    assert_status(lk, LATCHKEY_UNAVAILABLE, latchkey_revoke_user(lk, USER, NULL, 0, &count));
    assert_status(lk, LATCHKEY_UNAVAILABLE, latchkey_revoke_everyone(lk));
    wait_for(create_with(lk, neighbour, 0, elsewhere) == LATCHKEY_OK); /* another node's user */
    assert_status(lk, LATCHKEY_OK, validate(other, token));            /* none of that was done to this session */
    assert_status(lk, LATCHKEY_PENDING, end_session(lk, token));
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, token)); /* B */
    if (given_up) cluster_move_give_up(nodes, j.slot, j.from, j.to);
    else arrive(&j);
    wait_for(stats_of(lk).pending == 0);
    wait_for(validate(other, token) == LATCHKEY_NOT_FOUND);
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, token));
    wait_for(create_with(lk, USER, 0, none) == LATCHKEY_OK);
    wait_for(validate(other, none) == LATCHKEY_OK);
}

static void test_BC_writes_wait_for_the_end(void **state)
{
    (void)state;
    write_while_it_moves(0);
}

static void test_BC_a_move_is_given_up(void **state)
{
    (void)state;
    write_while_it_moves(1);
}

typedef struct everyone {
    latchkey *lk;
    int status;
} everyone;

static void end_everyone(crew_member *m)
{
    everyone *e = m->shared;
    e->status = latchkey_revoke_everyone(e->lk);
}

static void test_BC_everyone_while_it_moves(void **state)
{
    (void)state;
    enum { SOME = 12 };
    char tokens[SOME][LATCHKEY_TOKEN_SIZE];
    latchkey *lk = cluster_open(nodes, "deadline_ms=60000"), *other = cluster_open(nodes, "");
    everyone call = {lk, 1};
    for (int i = 0; i < SOME; i++) make_session(other, USER + (uint64_t)i, tokens[i]);
    journey j = journey_of(lk);
    set_out(&j);
    crew *c = crew_start(1, end_everyone, &call);
    wait_for(stats_of(lk).l2_writes > 0);
    arrive(&j);
    crew_join(c);
    assert_status(lk, LATCHKEY_OK, call.status);
    for (int i = 0; i < SOME; i++) assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, tokens[i]));
    for (int i = 0; i < SOME; i++) wait_for(validate(other, tokens[i]) == LATCHKEY_NOT_FOUND);
}

/* ------------------------------------------------------------------------------------- revoked for good -- */

enum { MANY = 60, STALENESS_MS = 400 };

typedef struct revoking {
    latchkey *lk, *other, *cold;
    char tokens[MANY][LATCHKEY_TOKEN_SIZE];
    _Atomic int64_t done_ms[MANY]; /* when its revocation returned OK; 0: it did not */
    _Atomic int admitted_after, looks, allowed, revoked;
} revoking;

static void revoke_or_look(crew_member *m)
{
    revoking *r = m->shared;
    if (!m->index) {
        for (int i = 0; i < MANY; i++) {
            while (i >= r->allowed) check_pause();
            if (end_session(r->lk, r->tokens[i]) == LATCHKEY_OK) r->done_ms[i] = check_now_ms();
            r->revoked++;
        }
    }
    for (int i = 0; m->index && !crew_stopped(m); i = (i + 1) % MANY) {
        int64_t began_ms = check_now_ms(), done_ms = r->done_ms[i];
        int status = validate(m->index == 1 ? r->other : r->cold, r->tokens[i]);
        if (!status && done_ms && began_ms > done_ms + STALENESS_MS + 20) r->admitted_after++;
        r->looks++;
    }
}

/* An answer by Redis; a slow machine may need more than one deadline. */
static int answer(latchkey *lk, const char *token)
{
    int status = LATCHKEY_UNAVAILABLE;
    wait_for((status = validate(lk, token)) != LATCHKEY_UNAVAILABLE);
    return status;
}

/* Revocations while the slot goes round, a third of them in each journey: whatever they answered, an OK is for good. */
static void test_C_an_OK_is_for_good(void **state)
{
    (void)state;
    static revoking r;
    r = (revoking){.lk = cluster_open(nodes, "deadline_ms=300"),
                   .other = cluster_open(nodes, "staleness_ms=400&deadline_ms=100"),
                   .cold = cluster_open(nodes, "l1_capacity=0&staleness_ms=400&deadline_ms=100")};
    for (int i = 0; i < MANY; i++) make_session(r.lk, USER, r.tokens[i]);
    crew *c = crew_start(3, revoke_or_look, &r);
    for (int i = 0; i < 3; i++) {
        journey j = journey_of(r.lk);
        int looks = r.looks, revoked = r.revoked;
        set_out(&j);
        r.allowed += MANY / 3;
        cluster_move_keys(nodes, j.slot, j.from, j.to, i % 2 ? MANY / 2 : -1);
        wait_for(r.looks > looks + MANY / 3 && r.revoked > revoked); /* each may wait out its deadline */
        arrive(&j);
        looks = r.looks;
        wait_for(r.looks > looks + 2 * MANY && r.revoked == r.allowed);
    }
    crew_stop(c);
    crew_join(c);
    assert_int_equal(r.admitted_after, 0);
    wait_for(stats_of(r.lk).pending == 0);
    latchkey *fresh = cluster_open(nodes, "");
    for (int i = 0; i < MANY; i++) {
        assert_status(r.lk, LATCHKEY_NOT_FOUND, answer(r.lk, r.tokens[i]));
        assert_status(fresh, LATCHKEY_NOT_FOUND, answer(fresh, r.tokens[i]));
        wait_for(validate(r.other, r.tokens[i]) == LATCHKEY_NOT_FOUND);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_NODES(test_hits_go_on_and_misses_wait),     ON_NODES(test_hits_go_on_for_long),
        ON_NODES(test_a_moved_slot_is_served_at_once), ON_NODES(test_moved_slots_are_served_under_load),
        ON_NODES(test_submitted_misses_wait),          ON_NODES(test_C_fresh_validations_go_on),
        ON_NODES(test_BC_writes_wait_for_the_end),     ON_NODES(test_BC_a_move_is_given_up),
        ON_NODES(test_BC_everyone_while_it_moves),     ON_NODES(test_C_an_OK_is_for_good),
    };
    return cmocka_run_group_tests(tests, start_nodes, end_nodes);
}
