/* SPDX-License-Identifier: MIT
 *
 * Guarantee C as a whole, in simulated time: the real link and the real L1, a model of Redis, and faults at random. In
 * each round something happens: time passes, bytes travel on one connection or not on the other, sessions are made,
 * read into L1 and revoked, connections break, the server restarts, messages are lost, the link's thread is not run.
 *
 * Asserted throughout: what L1 answers under a lease was not revoked longer than staleness_ms ago, and is never an
 * older session than the last one under its selector. And in the end, with the faults gone: there is a lease again.
 *
 * The rules of validate.c and lease.c that the guarantee needs are repeated here: lease, slot and clock in this order;
 * fill with a ticket from before the read, and only what the lease's server answered. */
#include "l1_got.h"
#include "redis_model.h"

#include <stdio.h>
#include <string.h>

enum { SESSIONS = 12, PARTITIONS = 2, STALENESS_MS = 1000, READS = 8, GENERATIONS_MAX = 20000 };

typedef struct session {
    char token[LATCHKEY_TOKEN_SIZE];
    unsigned partition;
    uint64_t generation, live;         /* counted up by every creation; the one that Redis holds, or 0 */
    int64_t ended_ms[GENERATIONS_MAX]; /* of each: when its revocation was confirmed; 0: not yet */
} session;

/* A read of L2 under way: sent, answered with what Redis held then, put into L1 at last. */
typedef struct l2_read {
    session *of; /* NULL: none */
    uint64_t ticket, seen;
    const char *run_id; /* of the server that answered; NULL: not yet */
} l2_read;

typedef struct faults {                                    /* percent of the rounds, or of the messages */
    unsigned lose, lose_first, cut, restart, pause, stall; /* lose_first: before the first beat came back */
    unsigned calm;                                         /* of the later revocations, do not take place */
    unsigned trim, recount; /* the log loses its oldest entries; the counter is started anew */
} faults;

typedef struct world {
    redis_model *m;
    unit_random r;
    faults f;
    session *sessions;
    l2_read read[READS];
    const char *leased_run; /* the server that the lease is of; NULL since L1 was emptied, see lease.c */
    unsigned leases_seen, empties_seen, run;
    uint64_t admitted, filled;
    char run_ids[64][8];
} world;

/* What node_side.c does when the link confirms a lease, and when it empties L1. */
static void follow(world *w)
{
    redis_model *m = w->m;
    bool emptied = m->empties != w->empties_seen, leased = m->leases != w->leases_seen;
    if (emptied) w->leased_run = NULL;
    if (leased) w->leased_run = m->run_id[0]; /* the link empties before it leases, never the other way round */
    w->empties_seen = m->empties;
    w->leases_seen = m->leases;
}

static void validate(world *w)
{
    session *s = &w->sessions[unit_below(&w->r, SESSIONS)];
    l1_got found;
    int64_t lease_until = w->m->leases ? w->m->lease_sent_ms + STALENESS_MS : 0;
    if (!l1_get(w->m->l1, s->token, &found)) return;
    int64_t now_ms = model_ms(w->m);
    if (now_ms >= lease_until) return;
    uint64_t generation = found.entry.user_id;
    int64_t ended_ms = s->ended_ms[generation];
    assert_memory_equal(found.entry.permissions_hash, s->token, 32);
    if (ended_ms && now_ms > ended_ms + STALENESS_MS)
        fail_msg("session %.20s, made as number %llu, was revoked at %lld ms, and admitted at %lld ms", s->token,
                 (unsigned long long)generation, (long long)ended_ms, (long long)now_ms);
    w->admitted++;
}

/* ------------------------------------------------------------------------------------------ what happens in it -- */

static void create_or_revoke(world *w)
{
    session *s = &w->sessions[unit_below(&w->r, SESSIONS)];
    bool first = w->m->link.state == LK_LINK_UP && w->m->link.fresh;
    if (!s->live && s->generation + 1 < GENERATIONS_MAX) s->live = ++s->generation;
    else if (s->live && (first || !unit_chance(&w->r, w->f.calm))) {
        if (unit_chance(&w->r, first ? w->f.lose_first : w->f.lose)) w->m->lose_messages = 1;
        model_revoke(w->m, s->partition, s->token);
        s->ended_ms[s->live] = model_ms(w->m);
        s->live = 0;
    }
}

static void move_a_read(world *w)
{
    l2_read *read = &w->read[unit_below(&w->r, READS)];
    if (!read->of) {
        *read = (l2_read){.of = &w->sessions[unit_below(&w->r, SESSIONS)]};
        read->ticket = lk_l1_ticket(w->m->l1, read->of->token);
    } else if (!read->run_id) {
        read->run_id = w->m->run_id[0];
        read->seen = read->of->live;
        if (!read->seen) read->of = NULL;
    } else {
        latchkey_entry entry = {.user_id = read->seen};
        memcpy(entry.permissions_hash, read->of->token, 32);
        if (read->run_id == w->leased_run)
            w->filled += lk_l1_put(w->m->l1, read->ticket, read->of->token, read->of->token + LATCHKEY_SELECTOR_LENGTH,
                                   false, lk_l1_until(INT64_MAX), model_ms(w->m), &entry) == LK_L1_STORED;
        read->of = NULL;
    }
}

static void break_something(world *w)
{
    redis_model *m = w->m;
    if (unit_chance(&w->r, w->f.cut)) lk_link_lost(&m->link, model_ms(m), LATCHKEY_UNAVAILABLE, "cut");
    if (unit_chance(&w->r, w->f.restart)) {
        w->run = (w->run + 1) % UNIT_COUNT(w->run_ids);
        m->run_id[0] = m->run_id[1] = w->run_ids[w->run];
        m->scripts_known = false;
        lk_link_lost(&m->link, model_ms(m), LATCHKEY_UNAVAILABLE, "restart");
        for (size_t i = 0; i < READS; i++) /* what was answered may still be on its way; what was asked is lost */
            if (!w->read[i].run_id) w->read[i].of = NULL;
    }
    m->lose_nonces = unit_chance(&w->r, w->f.stall);
    unsigned p = (unsigned)unit_below(&w->r, PARTITIONS);
    if (unit_chance(&w->r, w->f.trim)) model_trim(m, p, unit_below(&w->r, 3));
    if (unit_chance(&w->r, w->f.recount)) m->number[p] = unit_below(&w->r, m->number[p] + 1);
}

/* The link's thread, as far as it is run. */
static void link_runs(world *w)
{
    redis_model *m = w->m;
    model_tick(m, 0);
    if (m->link.state == LK_LINK_CONNECTING) {
        if (unit_chance(&w->r, 80)) model_connect(m);
        else lk_link_lost(&m->link, model_ms(m), LATCHKEY_UNAVAILABLE, "cannot connect");
    }
    follow(w);
}

static void round_of(world *w)
{
    redis_model *m = w->m;
    bool paused = unit_chance(&w->r, w->f.pause);
    for (uint64_t n = paused ? 30 : 1; n; n--) { /* a paused link; its server and its callers go on */
        m->now_us += (int64_t)unit_below(&w->r, 60000);
        for (int i = 0; i < 6; i++) {
            if (unit_chance(&w->r, 30)) create_or_revoke(w);
            move_a_read(w);
            validate(w);
        }
        model_serve(m, 0);
        model_serve(m, 1);
    }
    link_runs(w);
    if (unit_chance(&w->r, 70)) model_serve(m, 0);
    if (unit_chance(&w->r, 70)) model_serve(m, 1);
    if (unit_chance(&w->r, 60)) model_deliver(m, 0);
    follow(w);
    if (unit_chance(&w->r, 60)) model_deliver(m, 1);
    follow(w);
    validate(w);
    break_something(w);
    follow(w);
    model_clear(m);
}

/* ------------------------------------------------------------------------------------------------- the rounds -- */

static void run(const faults *f, uint64_t stream, uint64_t rounds, size_t capacity)
{
    char options[96];
    world w = {.r = unit_random_new(stream), .f = *f};
    lk_check_keys keys;
    snprintf(options, sizeof options, "h?partitions=%d&staleness_ms=%d", PARTITIONS, STALENESS_MS);
    w.m = model_open(options, unit_next(&w.r));
    w.m->l1 = lk_l1_open(capacity, unit_next(&w.r));
    w.sessions = calloc(SESSIONS, sizeof *w.sessions);
    assert_true(w.m->l1 && w.sessions);
    lk_check_keys_public(&keys);
    for (unsigned i = 0; i < SESSIONS; i++) {
        lk_token token;
        w.sessions[i].partition = i % PARTITIONS;
        lk_token_make(&keys, i % PARTITIONS, &token);
        memcpy(w.sessions[i].token, token.text, sizeof token.text);
    }
    for (size_t i = 0; i < UNIT_COUNT(w.run_ids); i++) snprintf(w.run_ids[i], sizeof w.run_ids[i], "run-%zu", i);
    w.m->run_id[0] = w.m->run_id[1] = w.run_ids[0];
    for (uint64_t i = 0; i < rounds; i++) round_of(&w);
    assert_true(w.m->leases > rounds / 200 && w.admitted > rounds / 20 && w.filled > rounds / 20);

    w.f = (faults){0};
    unsigned leases = w.m->leases;
    for (int i = 0; i < 300; i++) round_of(&w);
    assert_int_equal(w.m->link.state, LK_LINK_UP);
    assert_true(w.m->leases > leases);
    assert_true(model_ms(w.m) < w.m->lease_sent_ms + STALENESS_MS);
    free(w.sessions);
    model_close(w.m);
}

static void run_seeds(const faults *f, uint64_t stream)
{
    for (uint64_t i = 0; i < 8; i++) run(f, 100 * stream + i, unit_rounds(4000), i % 2 ? 1000 : 4);
}

static void test_without_faults(void **state)
{
    (void)state;
    run_seeds(&(faults){0}, 1);
}

static void test_lost_messages(void **state)
{
    (void)state;
    run_seeds(&(faults){.lose = 20}, 2);
}

static void test_broken_connections(void **state)
{
    (void)state;
    run_seeds(&(faults){.cut = 5}, 3);
}

static void test_restarts(void **state)
{
    (void)state;
    run_seeds(&(faults){.restart = 4}, 4);
}

static void test_pauses_of_the_link(void **state)
{
    (void)state;
    run_seeds(&(faults){.pause = 5}, 5);
}

static void test_a_stalled_subscription(void **state)
{
    (void)state;
    run_seeds(&(faults){.stall = 30}, 6);
}

/* A read that begins right after the reconnect, and fills L1 after the first lease. */
static void test_messages_lost_right_after_a_reconnect(void **state)
{
    (void)state;
    run_seeds(&(faults){.lose_first = 100, .cut = 3, .calm = 60}, 7);
}

static void test_logs_that_do_not_reach_back(void **state)
{
    (void)state;
    run_seeds(&(faults){.lose = 20, .cut = 2, .trim = 20}, 9);
}

static void test_counters_that_start_anew(void **state)
{
    (void)state;
    run_seeds(&(faults){.recount = 4}, 10);
}

static void test_all_of_it(void **state)
{
    (void)state;
    run_seeds(&(faults){.lose = 20, .lose_first = 20, .cut = 3, .restart = 1, .pause = 2, .stall = 5, .trim = 5}, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_faults),
        cmocka_unit_test(test_lost_messages),
        cmocka_unit_test(test_broken_connections),
        cmocka_unit_test(test_restarts),
        cmocka_unit_test(test_pauses_of_the_link),
        cmocka_unit_test(test_a_stalled_subscription),
        cmocka_unit_test(test_messages_lost_right_after_a_reconnect),
        cmocka_unit_test(test_logs_that_do_not_reach_back),
        cmocka_unit_test(test_counters_that_start_anew),
        cmocka_unit_test(test_all_of_it),
    };
    return cmocka_run_group_tests_name("link_faults", tests, unit_setup, NULL);
}
