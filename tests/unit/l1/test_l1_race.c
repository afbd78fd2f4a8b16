/* SPDX-License-Identifier: MIT
 *
 * L1 under threads. Readers copy slots while these are rewritten, and must never return a mixture; a read of L2 that
 * began before a purge must never fill L1 after it. (Guarantees B, D and E; run it under ThreadSanitizer.)
 */
#include "l1_got.h"
#include "base/token.h"
#include "unit.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { TOKENS = 12, WRITERS = 2, READERS = 2, LATER_MS = 1000000 };

static lk_l1 *l1;
static char token[TOKENS][LATCHKEY_TOKEN_SIZE];
static uint8_t verifier_hash[TOKENS][LK_HASH_SIZE];

static void open_l1(size_t capacity)
{
    l1 = lk_l1_open(capacity, unit_seed());
    assert_non_null(l1);
    for (unsigned i = 0; i < TOKENS; i++) {
        char selector[LATCHKEY_SELECTOR_LENGTH + 1];
        unit_selector(i, selector);
        snprintf(token[i], sizeof *token, "%sverifier%014uA", selector, i);
        assert_true(lk_verifier_text_hash(token[i] + LATCHKEY_SELECTOR_LENGTH, verifier_hash[i]));
    }
}

/* An entry whose every byte, and whose deadline, follow from the token and a number: a mixture of two shows. */
static latchkey_entry entry_of(unsigned which, uint64_t number)
{
    latchkey_entry e;
    uint64_t words[LATCHKEY_ENTRY_SIZE / 8];
    for (size_t i = 0; i < UNIT_COUNT(words); i++)
        words[i] = (number * UINT64_C(0x9e3779b97f4a7c15) + which + i) * UINT64_C(0xbf58476d1ce4e5b9);
    memcpy(&e, words, sizeof e);
    e.user_id = number;
    return e;
}

static int64_t deadline_of(unsigned which, uint64_t number) { return LATER_MS + (int64_t)(number << 8 | which); }

static bool whole(unsigned which, const l1_got *found)
{
    latchkey_entry e = entry_of(which, found->entry.user_id);
    return memcmp(&found->entry, &e, sizeof e) == 0 && found->deadline_ms == deadline_of(which, found->entry.user_id);
}

static enum lk_l1_put put(unsigned which, uint64_t ticket, uint64_t number, bool hashed, int64_t now_ms)
{
    latchkey_entry e = entry_of(which, number);
    const void *verifier = hashed ? (const void *)verifier_hash[which] : token[which] + LATCHKEY_SELECTOR_LENGTH;
    return lk_l1_put(l1, ticket, token[which], verifier, hashed, lk_l1_until(deadline_of(which, number)), now_ms, &e);
}

/* -------------------------------------------------------------------------------------------------- torn reads -- */

typedef struct torn {
    uint64_t reads; /* by each reader */
    atomic_uint reading;
    atomic_ullong hits, misses, mixed, too_many;
    bool emptied;
    size_t capacity;
} torn;

static void write_on(torn *t, unsigned index)
{
    unit_random r = unit_random_new(index);
    for (uint64_t number = index; atomic_load(&t->reading); number += WRITERS) {
        unsigned which = (unsigned)unit_below(&r, TOKENS), what = (unsigned)unit_below(&r, 100);
        uint64_t ticket = lk_l1_ticket(l1, token[which]);
        if (what < 4) lk_l1_purge(l1, token[which]);
        else if (what < 5 && t->emptied) lk_l1_empty(l1);
        else put(which, ticket, number, what < 20, 1);
        /* The count may stand above the capacity while a writer gives back what he took too much. */
        if (what == 50) t->too_many += lk_l1_read_stats(l1).entries > t->capacity + WRITERS;
    }
}

static void read_on(torn *t, unsigned index)
{
    unit_random r = unit_random_new(index);
    uint64_t hits = 0, mixed = 0, i = 0;
    /* A writer that is made to wait may leave nothing there, or everything, for long. */
    for (; i < t->reads || hits <= t->reads / 100 || hits == i; i++) {
        unsigned which = (unsigned)unit_below(&r, TOKENS);
        l1_got found;
        if (!l1_get(l1, token[which], &found)) continue;
        hits++;
        mixed += !whole(which, &found);
    }
    t->hits += hits;
    t->misses += i - hits;
    t->mixed += mixed;
    t->reading--;
}

static void torn_work(void *shared, unsigned index)
{
    if (index < WRITERS) write_on(shared, index);
    else read_on(shared, index);
}

static void run_torn(size_t capacity, bool emptied, uint64_t reads)
{
    torn t = {.reads = reads, .reading = READERS, .emptied = emptied, .capacity = capacity};
    open_l1(capacity);
    unit_threads(WRITERS + READERS, torn_work, &t);
    lk_l1_stats stats = lk_l1_read_stats(l1);
    print_message("capacity %zu: %llu hits, %llu misses beside %d writers\n", capacity, (unsigned long long)t.hits,
                  (unsigned long long)t.misses, WRITERS);
    assert_true(t.mixed == 0);
    assert_true(t.too_many == 0);
    assert_true(stats.entries <= capacity);
    lk_l1_close(l1);
}

/* The auditor takes samples as readers read: none is a mixture, or of a hashed one. */
static void sample_on(torn *t, unsigned index)
{
    unit_random r = unit_random_new(index);
    uint64_t samples = 0;
    for (uint64_t i = 0; i < t->reads || !samples; i++) { /* a writer that is made to wait may leave none for long */
        lk_entry_sample seen;
        unsigned which = 0;
        if (!lk_l1_sample(l1, unit_next(&r), 1, &seen)) continue;
        while (which < TOKENS && memcmp(seen.selector, token[which], sizeof seen.selector)) which++;
        l1_got as_found = {.entry = seen.entry, .deadline_ms = seen.deadline_ms};
        t->mixed += which == TOKENS || !whole(which, &as_found);
        t->misses += !lk_l1_still(l1, &seen);
        samples++;
    }
    t->hits += samples;
    t->reading--;
}

static void sampled_work(void *shared, unsigned index)
{
    if (index < WRITERS) write_on(shared, index);
    else sample_on(shared, index);
}

static void test_samples_are_whole(void **state)
{
    (void)state;
    const size_t capacities[] = {1, 100};
    for (size_t i = 0; i < UNIT_COUNT(capacities); i++) {
        torn t = {.reads = unit_rounds(200000), .reading = READERS, .emptied = true, .capacity = capacities[i]};
        open_l1(capacities[i]);
        unit_threads(WRITERS + READERS, sampled_work, &t);
        print_message("capacity %zu: %llu samples, %llu of them held no more, beside %d writers\n", capacities[i],
                      (unsigned long long)t.hits, (unsigned long long)t.misses, WRITERS);
        assert_true(t.mixed == 0);
        lk_l1_close(l1);
    }
}

/* One way, fought over by all the tokens: a slot becomes another session's under the readers' eyes. */
static void test_one_way_for_all(void **state)
{
    (void)state;
    run_torn(1, false, unit_rounds(1000000));
}

static void test_replaced_in_place(void **state)
{
    (void)state;
    run_torn(28, false, unit_rounds(1500000));
}

static void test_beside_empty(void **state)
{
    (void)state;
    run_torn(4, true, unit_rounds(500000));
    run_torn(28, true, unit_rounds(500000));
}

/* ------------------------------------------------------------------------------------------------------ moves -- */

/* Residents are never purged and, below the capacity, never evicted; but the others' coming and going moves them from
 * home to home all the time. They are found all the same, but for what the scheduler does to a writer (l1_read.h);
 * tests/proof/weak looks at every order of the two. */
enum { PLACES = 300, RESIDENTS = 100, PASSERS = 290, PRESENT = 190 };

typedef struct moving {
    char token[RESIDENTS + PASSERS][LATCHKEY_TOKEN_SIZE];
    uint64_t reads;
    atomic_uint reading;
    atomic_ullong moves, missed, gone, mixed;
} moving;

static bool put_number(const moving *m, unsigned which, uint64_t number)
{
    latchkey_entry e = entry_of(which, number);
    const char *t = m->token[which];
    return lk_l1_put(l1, lk_l1_ticket(l1, t), t, t + LATCHKEY_SELECTOR_LENGTH, false,
                     lk_l1_until(deadline_of(which, number)), 1, &e) == LK_L1_STORED;
}

static bool find_resident(moving *m, unsigned which, bool quickly)
{
    lk_l1_found at;
    l1_got found;
    bool there =
        quickly ? l1_get(l1, m->token[which], &found) : lk_l1_get_slowly(l1, m->token[which], &at, &found.entry);
    if (!quickly) found.deadline_ms = at.due_ms;
    if (there) m->mixed += !whole(which, &found);
    return there;
}

/* It was not found: was it just being moved? The writer is let finish first, however long it is made to wait. */
static bool was_moved(moving *m, unsigned which)
{
    for (unsigned look = 0; look < 10; look++) {
        uint64_t moves = m->moves;
        while (m->moves < moves + 2) sched_yield();
        if (find_resident(m, which, true)) return true;
    }
    return false;
}

static void move_on(moving *m)
{
    for (unsigned i = 0; atomic_load(&m->reading); i++) {
        /* Who comes was away, so that its place is another's by now. */
        lk_l1_purge(l1, m->token[RESIDENTS + i % PASSERS]);
        put_number(m, RESIDENTS + (unsigned)((i + PRESENT) % PASSERS), i);
        m->moves++;
    }
}

static void move_or_read(void *shared, unsigned index)
{
    moving *m = shared;
    unit_random r = unit_random_new(200 + index);
    if (index == 0) {
        move_on(m);
        return;
    }
    for (uint64_t i = 0; i < m->reads; i++) {
        unsigned which = (unsigned)unit_below(&r, RESIDENTS);
        if (find_resident(m, which, i % 4 == 0)) continue; /* the quick look hardly ever meets a move */
        if (was_moved(m, which)) m->missed++;
        else { /* all its homes' ways led nowhere, so it was evicted: hardly ever */ m->gone++;
            while (!put_number(m, which, i)) continue; /* a purge beside it voids the ticket */
        }
    }
    m->reading--;
}

static void test_what_is_moved_is_found(void **state)
{
    (void)state;
    moving *m = calloc(1, sizeof *m);
    assert_non_null(m);
    m->reads = unit_rounds(1000000);
    m->reading = READERS;
    open_l1(PLACES);
    for (unsigned i = 0; i < RESIDENTS + PASSERS; i++) {
        unit_selector(i, m->token[i]);
        snprintf(m->token[i] + LATCHKEY_SELECTOR_LENGTH, 24, "verifier%014uA", i);
        if (i < RESIDENTS + PRESENT) put_number(m, i, i);
    }
    unit_threads(1 + READERS, move_or_read, m);
    assert_true(m->mixed == 0);
    uint64_t evictions = lk_l1_read_stats(l1).evictions;
    print_message("%llu of %llu reads missed; %llu found none, of %llu evicted\n", (unsigned long long)m->missed,
                  (unsigned long long)(READERS * m->reads), (unsigned long long)m->gone, (unsigned long long)evictions);
    assert_true(m->missed <= m->reads / 100);
    assert_true(m->gone <= READERS * evictions); /* each of them may look for it before it is back */
    lk_l1_close(l1);
    free(m);
}

/* --------------------------------------------------------------------------------------------- fill and revoke -- */

/* One step, done by a thread of its own when its turn comes: so that each order really is one of threads,
 * and a sanitizer sees who writes. */
typedef struct step {
    char what; /* T takes the ticket, P puts; U purges, E empties */
    unsigned who;
} step;

typedef struct order {
    step step[8];
    unsigned steps;
    pthread_barrier_t turn;
    uint64_t ticket[2];
    enum lk_l1_put result[2];
    bool there_after[8];
} order;

static void take_turns(void *shared, unsigned index)
{
    order *o = shared;
    for (unsigned i = 0; i < o->steps; i++) {
        pthread_barrier_wait(&o->turn);
        const step *s = &o->step[i];
        if (s->who != index) continue;
        l1_got found;
        if (s->what == 'T') o->ticket[index] = lk_l1_ticket(l1, token[0]);
        else if (s->what == 'P') o->result[index] = put(0, o->ticket[index], 10 + index, false, 1);
        else if (s->what == 'U') lk_l1_purge(l1, token[0]);
        else lk_l1_empty(l1);
        o->there_after[i] = l1_get(l1, token[0], &found);
    }
}

/* Two fillers and a revoker in this order: what must come of it, worked out from the order alone. */
static void check_order(order *o)
{
    int taken[2] = {-1, -1};
    bool voided[2] = {false, false}, there = false;
    pthread_barrier_init(&o->turn, NULL, 3);
    unit_threads(3, take_turns, o);
    pthread_barrier_destroy(&o->turn);
    for (unsigned i = 0; i < o->steps; i++) {
        const step *s = &o->step[i];
        if (s->what == 'T') {
            taken[s->who] = (int)i;
            voided[s->who] = false;
        } else if (s->what == 'P') {
            assert_true(taken[s->who] >= 0);
            assert_int_equal(o->result[s->who], voided[s->who] ? LK_L1_REFUSED : LK_L1_STORED);
            there = there || !voided[s->who];
        } else {
            voided[0] = voided[1] = true;
            there = false;
        }
        assert_int_equal(o->there_after[i], there);
    }
}

static unsigned all_orders(order *o, unsigned remaining[4], unsigned revokes)
{
    /* remaining: the next step of filler 0 and of filler 1 (0: T, 1: P, 2: done), revocations done */
    unsigned checked = 0;
    if (remaining[0] == 2 && remaining[1] == 2 && remaining[2] == revokes) {
        open_l1(28);
        check_order(o);
        lk_l1_close(l1);
        return 1;
    }
    for (unsigned who = 0; who < 3; who++) {
        bool revoker = who == 2;
        if (remaining[who] == (revoker ? revokes : 2)) continue;
        char what = revoker ? (remaining[3] & 1u << remaining[2] ? 'E' : 'U') : remaining[who] ? 'P' : 'T';
        o->step[o->steps++] = (step){what, who};
        remaining[who]++;
        checked += all_orders(o, remaining, revokes);
        remaining[who]--;
        o->steps--;
    }
    return checked;
}

static void test_every_order_of_two_fills_and_a_purge(void **state)
{
    (void)state;
    order o = {.steps = 0};
    assert_int_equal(all_orders(&o, (unsigned[4]){0, 0, 0, 0}, 1), 30);
    assert_int_equal(all_orders(&o, (unsigned[4]){0, 0, 0, 1}, 1), 30); /* by empty */
}

static void test_every_order_of_two_fills_and_two_purges(void **state)
{
    (void)state;
    order o = {.steps = 0};
    assert_int_equal(all_orders(&o, (unsigned[4]){0, 0, 0, 2}, 2), 90); /* a purge, then empty */
}

/* The race of guarantees B and D, freely running. L2 is one number for each session: the generation that lives. Revoking
 * ends it there, then purges; a read that began before must not bring it back. */
typedef struct fill_and_revoke {
    uint64_t rounds;
    atomic_uint revoking;
    struct {
        _Atomic uint64_t alive;   /* in L2; 0: revoked */
        _Atomic uint64_t revoked; /* the newest generation whose revocation returned */
    } session[TOKENS];
    atomic_ullong hits, refused, back_from_the_dead, here_after_revoke;
} fill_and_revoke;

static void revoke_on(fill_and_revoke *f, unsigned index)
{
    unit_random r = unit_random_new(50 + index);
    for (uint64_t i = 0; i < f->rounds; i++) {
        unsigned which = (unsigned)unit_below(&r, TOKENS / WRITERS) * WRITERS + index;
        uint64_t generation = i + 1;
        l1_got found;
        atomic_store(&f->session[which].alive, generation); /* a new session under the old selector */
        for (uint64_t spin = unit_below(&r, 100); spin; spin--) f->hits += l1_get(l1, token[which], &found);
        atomic_store(&f->session[which].alive, 0);
        if (unit_chance(&r, 5)) lk_l1_empty(l1);
        else lk_l1_purge(l1, token[which]);
        f->here_after_revoke += l1_get(l1, token[which], &found); /* B: no thread can have put it since */
        atomic_store(&f->session[which].revoked, generation);
    }
    f->revoking--;
}

static void fill_on(fill_and_revoke *f, unsigned index)
{
    unit_random r = unit_random_new(70 + index);
    while (atomic_load(&f->revoking)) {
        unsigned which = (unsigned)unit_below(&r, TOKENS);
        l1_got found;
        uint64_t revoked = atomic_load(&f->session[which].revoked);
        if (l1_get(l1, token[which], &found)) {
            f->back_from_the_dead += found.entry.user_id <= revoked;
            continue;
        }
        uint64_t ticket = lk_l1_ticket(l1, token[which]);
        uint64_t alive = atomic_load(&f->session[which].alive);
        if (alive) f->refused += put(which, ticket, alive, unit_chance(&r, 20), 1) == LK_L1_REFUSED;
    }
}

static void fill_and_revoke_work(void *shared, unsigned index)
{
    if (index < WRITERS) revoke_on(shared, index);
    else fill_on(shared, index - WRITERS);
}

static void test_fills_beside_revocations(void **state)
{
    (void)state;
    const size_t capacities[] = {3, 100};
    for (size_t i = 0; i < UNIT_COUNT(capacities); i++) {
        fill_and_revoke *f = calloc(1, sizeof *f);
        assert_non_null(f);
        f->rounds = unit_rounds(40000);
        f->revoking = WRITERS;
        open_l1(capacities[i]);
        unit_threads(WRITERS + 3, fill_and_revoke_work, f);
        print_message("capacity %zu: %llu hits before, %llu fills refused\n", capacities[i],
                      (unsigned long long)f->hits, (unsigned long long)f->refused);
        assert_true(f->here_after_revoke == 0);
        assert_true(f->back_from_the_dead == 0);
        lk_l1_close(l1);
        free(f);
    }
}

/* --------------------------------------------------------------------------------------------------- revealing -- */

typedef struct revealing {
    pthread_barrier_t round;
    uint64_t rounds;
    atomic_ullong wrong, first_uses, missed;
} revealing;

/* Several first uses of one prewarmed entry at once, beside its purge and its replacement. */
static void reveal_together(void *shared, unsigned index)
{
    revealing *v = shared;
    for (uint64_t i = 0; i < v->rounds; i++) {
        uint64_t ticket = lk_l1_ticket(l1, token[0]);
        if (index == 0) {
            lk_l1_purge(l1, token[0]);
            v->wrong += put(0, lk_l1_ticket(l1, token[0]), i, true, 1) != LK_L1_STORED;
        }
        pthread_barrier_wait(&v->round);
        l1_got found;
        if (index == 3 && i % 3 == 0) lk_l1_purge(l1, token[0]);
        else if (index == 3 && i % 3 == 1) put(0, ticket, i, false, 1);
        else if (l1_get(l1, token[0], &found)) {
            v->wrong += !whole(0, &found) || found.entry.user_id != i;
            v->first_uses += found.first_use;
        } else v->missed++;
        pthread_barrier_wait(&v->round);
    }
}

static void test_first_uses_together(void **state)
{
    (void)state;
    revealing v = {.rounds = unit_rounds(20000)};
    open_l1(28);
    pthread_barrier_init(&v.round, NULL, 4);
    unit_threads(4, reveal_together, &v);
    pthread_barrier_destroy(&v.round);
    assert_true(v.wrong == 0);
    assert_true(v.first_uses >= v.rounds / 4);
    lk_l1_close(l1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_way_for_all),
        cmocka_unit_test(test_samples_are_whole),
        cmocka_unit_test(test_replaced_in_place),
        cmocka_unit_test(test_beside_empty),
        cmocka_unit_test(test_what_is_moved_is_found),
        cmocka_unit_test(test_every_order_of_two_fills_and_a_purge),
        cmocka_unit_test(test_every_order_of_two_fills_and_two_purges),
        cmocka_unit_test(test_fills_beside_revocations),
        cmocka_unit_test(test_first_uses_together),
    };
    return cmocka_run_group_tests_name("l1_race", tests, unit_setup, NULL);
}
