/* SPDX-License-Identifier: MIT
 *
 * L1 beside a naive map: random puts, gets, purges and tickets of all ages, on maps of all sizes. What L1 answers is what
 * the map holds, whole and under that very token, or nothing. (Guarantees D and E.)
 */
#include "l1_kit.h"

enum { SESSIONS_MAX = 8000, VERIFIERS = 3, TICKETS = 16, ALWAYS = -1 };

typedef struct known { /* what L1 may answer for a session: this, or nothing */
    bool there, hashed;
    unsigned verifier;
    uint64_t number;
    int64_t deadline_ms, purged_at;
} known;

typedef struct model {
    lk_l1 *l1;
    size_t capacity;
    unsigned sessions;
    known *known;
    struct {
        unsigned session;
        uint64_t ticket;
        int64_t taken_at;
    } ticket[TICKETS];
    int64_t at, last_purge_at; /* counts operations */
    uint64_t number;
    unit_random r;
} model;

static void model_get(model *m, unsigned session, unsigned verifier)
{
    known *k = &m->known[session];
    l1_got found;
    text t = token_of(session, verifier);
    char *exact = unit_copy(t.at, LATCHKEY_TOKEN_LENGTH);
    bool hit = l1_get(m->l1, exact, &found);
    free(exact);
    bool right = k->there && k->verifier == verifier;
    if (!hit) {
        if (right) k->there = false; /* evicted: gone until it is put again */
        return;
    }
    assert_true(right);
    latchkey_entry e = entry_of(k->number);
    assert_memory_equal(&found.entry, &e, sizeof e);
    assert_true(found.deadline_ms == k->deadline_ms);
    assert_int_equal(found.first_use, k->hashed);
    k->hashed = false; /* revealed */
}

static void model_put(model *m, bool hashed)
{
    unsigned slot = (unsigned)unit_below(&m->r, TICKETS), session = m->ticket[slot].session;
    unsigned verifier = (unsigned)unit_below(&m->r, VERIFIERS);
    known *k = &m->known[session];
    if (hashed && k->there) model_get(m, session, k->verifier); /* what is there stays; so is it? */
    int64_t deadline_ms = NOW_MS + (int64_t)unit_below(&m->r, 100) - 20;
    uint64_t ticket = m->ticket[slot].ticket, number = ++m->number;
    enum lk_l1_put result = hashed ? put_hashed(m->l1, token_of(session, verifier), ticket, number, deadline_ms)
                                   : put(m->l1, token_of(session, verifier), ticket, number, deadline_ms);
    if (m->capacity == 0) assert_int_not_equal(result, LK_L1_STORED);
    else if (k->purged_at > m->ticket[slot].taken_at) assert_int_equal(result, LK_L1_REFUSED);
    if (m->last_purge_at < m->ticket[slot].taken_at) assert_int_not_equal(result, LK_L1_REFUSED);
    if (hashed && k->there) assert_int_not_equal(result, LK_L1_STORED);
    if (result == LK_L1_STORED) {
        *k = (known){true, hashed, verifier, number, deadline_ms, k->purged_at};
        model_get(m, session, (verifier + 1) % VERIFIERS);
        if (unit_chance(&m->r, 50)) model_get(m, session, verifier);
    } else if (result == LK_L1_LEFT_OUT && !hashed) k->there = false; /* the older answer is gone all the same */
}

static void model_step(model *m)
{
    unsigned session = (unsigned)unit_below(&m->r, m->sessions), what = (unsigned)unit_below(&m->r, 1000);
    unsigned slot = (unsigned)unit_below(&m->r, TICKETS);
    m->at++;
    if (what < 400) model_get(m, session, (unsigned)unit_below(&m->r, VERIFIERS));
    else if (what < 650) model_put(m, false);
    else if (what < 720) model_put(m, true);
    else if (what < 960) {
        text t = token_of(session, 0);
        m->ticket[slot].session = session;
        m->ticket[slot].ticket = lk_l1_ticket(m->l1, t.at);
        m->ticket[slot].taken_at = m->at;
    } else if (what < 998) {
        text t = token_of(session, 0);
        lk_l1_purge(m->l1, t.at);
        m->known[session].there = false;
        m->known[session].purged_at = m->last_purge_at = m->at;
        model_get(m, session, (unsigned)unit_below(&m->r, VERIFIERS));
    } else {
        lk_l1_empty(m->l1);
        assert_true(entries(m->l1) == 0);
        for (unsigned i = 0; i < m->sessions; i++) {
            m->known[i].there = false;
            m->known[i].purged_at = m->at;
        }
        m->last_purge_at = m->at;
    }
    assert_true(entries(m->l1) <= m->capacity);
}

/* Asks for every token there may be: no more entries than are counted, and none that should not be. */
static void model_check_all(model *m)
{
    uint64_t held = 0;
    for (unsigned i = 0; i < m->sessions; i++) {
        for (unsigned v = 0; v < VERIFIERS; v++) model_get(m, i, v);
        held += m->known[i].there;
    }
    assert_true(held == entries(m->l1));
}

static void run_model(size_t capacity, unsigned sessions, uint64_t stream, uint64_t steps)
{
    model m = {.capacity = capacity, .sessions = sessions, .r = unit_random_new(stream)};
    m.l1 = lk_l1_open(capacity, unit_next(&m.r));
    m.known = calloc(sessions, sizeof *m.known);
    assert_true(m.l1 && m.known);
    for (unsigned i = 0; i < sessions; i++) m.known[i].purged_at = ALWAYS;
    for (unsigned i = 0; i < TICKETS; i++) {
        m.ticket[i].session = i % sessions;
        text t = token_of(i % sessions, 0);
        m.ticket[i].ticket = lk_l1_ticket(m.l1, t.at);
    }
    m.last_purge_at = ALWAYS;
    for (uint64_t i = 0; i < steps; i++) {
        model_step(&m);
        if (i % (steps / 4 + 1) == 0) model_check_all(&m);
    }
    model_check_all(&m);
    free(m.known);
    lk_l1_close(m.l1);
}

static void test_beside_a_naive_map(void **state)
{
    (void)state;
    const struct {
        size_t capacity;
        unsigned sessions;
    } rows[] = {{0, 5},
                {1, 1},
                {1, 5},
                {2, 5},
                {24, 60},
                {28, 10},
                {28, 100},
                {100, 60},
                {100, 500},
                {1000, 3000},
                {5000, SESSIONS_MAX}}; /* the last one of several stripes */
    for (size_t i = 0; i < UNIT_COUNT(rows); i++)
        for (uint64_t k = 0; k < 3; k++)
            run_model(rows[i].capacity, rows[i].sessions, 100 * i + k, unit_rounds(i < 9 ? 30000 : 60000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_beside_a_naive_map)};
    return cmocka_run_group_tests_name("l1_model", tests, unit_setup, NULL);
}
