/* SPDX-License-Identifier: MIT
 *
 * The tokens known to be dead: who is in there, for how long, and that neither a flood, nor an emptying, nor a look-alike
 * makes one of them refused that is not. (Guarantees A, E, G, J.)
 */
#include "l1/negative_cache.h"

#include "unit.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const int64_t NOW = 1000000;
static lk_negative_cache *refused;

static int setup(void **state)
{
    (void)state;
    refused = lk_negative_cache_open(unit_seed(), LK_NEGATIVE_CACHE_PLACES);
    return !refused;
}

static int teardown(void **state)
{
    (void)state;
    lk_negative_cache_close(refused);
    return 0;
}

typedef struct text {
    char token[LATCHKEY_TOKEN_SIZE];
} text;

static text token_of(uint64_t number)
{
    text t;
    unit_selector(number, t.token);
    snprintf(t.token + LATCHKEY_SELECTOR_LENGTH, 24, "%023llu", (unsigned long long)number);
    return t;
}

static void add_at(const text *t, int status, int64_t now_ms)
{
    char *exact = unit_copy(t->token, LATCHKEY_TOKEN_LENGTH);
    lk_negative_cache_add(refused, lk_negative_cache_ticket(refused), exact, status, now_ms);
    free(exact);
}

static int find_at(const text *t, int64_t now_ms)
{
    char *exact = unit_copy(t->token, LATCHKEY_TOKEN_LENGTH);
    int status = lk_negative_cache_find(refused, exact, now_ms);
    free(exact);
    return status;
}

static void test_what_was_refused_is_refused_until_its_time_is_up(void **state)
{
    (void)state;
    text gone = token_of(1), old = token_of(2), other = token_of(3);
    add_at(&gone, LATCHKEY_NOT_FOUND, NOW);
    add_at(&old, LATCHKEY_EXPIRED, NOW + 1);
    assert_int_equal(find_at(&gone, NOW), LATCHKEY_NOT_FOUND);
    assert_int_equal(find_at(&old, NOW + 1), LATCHKEY_EXPIRED);
    assert_int_equal(find_at(&other, NOW), LATCHKEY_AGAIN);
    assert_int_equal(find_at(&gone, NOW + LK_NEGATIVE_CACHE_MS - 1), LATCHKEY_NOT_FOUND);
    assert_int_equal(find_at(&gone, NOW + LK_NEGATIVE_CACHE_MS), LATCHKEY_AGAIN);
    assert_int_equal(find_at(&old, NOW + LK_NEGATIVE_CACHE_MS), LATCHKEY_EXPIRED);
    add_at(&gone, LATCHKEY_NOT_FOUND, NOW + LK_NEGATIVE_CACHE_MS); /* asked again, refused again */
    assert_int_equal(find_at(&gone, NOW + LK_NEGATIVE_CACHE_MS), LATCHKEY_NOT_FOUND);
}

static void test_A_what_is_no_refusal_is_not_kept(void **state)
{
    (void)state;
    static const int none[] = {LATCHKEY_OK,           LATCHKEY_MALFORMED, LATCHKEY_LIMIT,  LATCHKEY_REFUSED,
                               LATCHKEY_BAD_ARGUMENT, LATCHKEY_NO_MEMORY, LATCHKEY_CONFIG, LATCHKEY_UNAVAILABLE,
                               LATCHKEY_CORRUPT,      LATCHKEY_PENDING,   LATCHKEY_FORKED, LATCHKEY_AGAIN};
    text t = token_of(1);
    for (size_t i = 0; i < UNIT_COUNT(none); i++) {
        add_at(&t, none[i], NOW);
        assert_int_equal(find_at(&t, NOW), LATCHKEY_AGAIN);
    }
}

static void test_E_every_character_counts(void **state)
{
    (void)state;
    text dead = token_of(7);
    add_at(&dead, LATCHKEY_NOT_FOUND, NOW);
    for (size_t i = 0; i < LATCHKEY_TOKEN_LENGTH; i++) {
        text other = dead;
        other.token[i] ^= 1;
        assert_int_equal(find_at(&other, NOW), LATCHKEY_AGAIN);
    }
}

/* Of so many that each bucket is full of dead tokens, none of the living is found: so the comparison decides, not the
 * place. */
static void test_E_A_the_place_decides_nothing(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 8 * LK_NEGATIVE_CACHE_PLACES; i++) {
        text dead = token_of(i);
        add_at(&dead, LATCHKEY_NOT_FOUND, NOW);
    }
    for (uint64_t i = 0; i < 8 * LK_NEGATIVE_CACHE_PLACES; i++) {
        text living = token_of(1000000 + i);
        assert_int_equal(find_at(&living, NOW), LATCHKEY_AGAIN);
    }
}

static size_t known(uint64_t from, uint64_t to, int64_t now_ms)
{
    size_t count = 0;
    for (uint64_t i = from; i < to; i++) {
        text t = token_of(i);
        count += find_at(&t, now_ms) == LATCHKEY_NOT_FOUND;
    }
    return count;
}

static void test_G_it_is_bounded_and_the_oldest_make_room(void **state)
{
    (void)state;
    enum { MANY = 10 * LK_NEGATIVE_CACHE_PLACES };
    for (uint64_t i = 0; i < MANY; i++) {
        text t = token_of(i);
        add_at(&t, LATCHKEY_NOT_FOUND, NOW + (int64_t)i / 100);
        assert_int_equal(find_at(&t, NOW + (int64_t)i / 100), LATCHKEY_NOT_FOUND); /* the newest is always in */
    }
    assert_int_equal(known(0, MANY, NOW), LK_NEGATIVE_CACHE_PLACES);
    /* In each bucket the newest: nearly all of the last half table's worth, and none of the first half of all. */
    assert_true(known(MANY - LK_NEGATIVE_CACHE_PLACES / 2, MANY, NOW) > LK_NEGATIVE_CACHE_PLACES * 45 / 100);
    assert_int_equal(known(0, MANY / 2, NOW), 0);
}

/* What has ended makes room before what has not: half a table of each. */
static void test_ended_ones_make_room_first(void **state)
{
    (void)state;
    enum { HALF = LK_NEGATIVE_CACHE_PLACES / 2 };
    for (uint64_t i = 0; i < 4 * LK_NEGATIVE_CACHE_PLACES; i++) {
        text t = token_of(i);
        add_at(&t, LATCHKEY_NOT_FOUND, NOW);
    }
    for (uint64_t i = 0; i < HALF; i++) {
        text t = token_of(1000000 + i);
        add_at(&t, LATCHKEY_NOT_FOUND, NOW + LK_NEGATIVE_CACHE_MS);
    }
    assert_true(known(1000000, 1000000 + HALF, NOW + LK_NEGATIVE_CACHE_MS) > HALF * 9 / 10);
}

static void test_the_same_token_takes_one_place(void **state)
{
    (void)state;
    text others[LK_NEGATIVE_CACHE_BUCKET - 1], t = token_of(1);
    for (size_t i = 0; i < UNIT_COUNT(others); i++) {
        others[i] = token_of(10 + i);
        add_at(&others[i], LATCHKEY_NOT_FOUND, NOW);
    }
    for (int i = 0; i < 1000; i++) add_at(&t, LATCHKEY_NOT_FOUND, NOW + i);
    for (size_t i = 0; i < UNIT_COUNT(others); i++) assert_int_equal(find_at(&others[i], NOW), LATCHKEY_NOT_FOUND);
}

static void test_A_emptied_and_tickets_of_before_are_void(void **state)
{
    (void)state;
    text t = token_of(1);
    uint64_t ticket = lk_negative_cache_ticket(refused);
    add_at(&t, LATCHKEY_NOT_FOUND, NOW);
    lk_negative_cache_empty(refused);
    assert_int_equal(find_at(&t, NOW), LATCHKEY_AGAIN);
    lk_negative_cache_add(refused, ticket, t.token, LATCHKEY_NOT_FOUND, NOW);
    assert_int_equal(find_at(&t, NOW), LATCHKEY_AGAIN);
    add_at(&t, LATCHKEY_NOT_FOUND, NOW);
    assert_int_equal(find_at(&t, NOW), LATCHKEY_NOT_FOUND);
}

static void test_a_session_that_was_made_takes_its_tokens_out(void **state)
{
    (void)state;
    text t = token_of(1), other = token_of(2), same = token_of(1);
    same.token[LATCHKEY_TOKEN_LENGTH - 1] ^= 1;
    uint64_t ticket = lk_negative_cache_ticket(refused);
    add_at(&t, LATCHKEY_NOT_FOUND, NOW);
    add_at(&same, LATCHKEY_NOT_FOUND, NOW);
    add_at(&other, LATCHKEY_NOT_FOUND, NOW);
    lk_negative_cache_forget(refused, t.token);
    lk_negative_cache_add(refused, ticket, t.token, LATCHKEY_NOT_FOUND, NOW);
    assert_int_equal(find_at(&t, NOW), LATCHKEY_AGAIN);
    assert_int_equal(find_at(&same, NOW), LATCHKEY_AGAIN);
    assert_int_equal(find_at(&other, NOW), LATCHKEY_NOT_FOUND);
}

/* -------------------------------------------------------------------------------------------------- threads -- */

static void hold_the_others(void *shared, unsigned index)
{
    static _Atomic int held;
    const text *t = shared;
    if (index) {
        while (atomic_load(&held) != 1) sched_yield();
        lk_negative_cache_forget(refused, t->token);
        atomic_store(&held, 2);
        return;
    }
    lk_bucket *own = lk_bucket_lock(refused, t->token, LATCHKEY_SELECTOR_LENGTH), *other = own;
    lk_bucket_unlock(own);
    for (size_t i = 0; i < refused->count && other == own; i++) other = lk_bucket_at(refused, i);
    lk_lock_take(&other->lock);
    atomic_store(&held, 1);
    while (atomic_load(&held) != 2) sched_yield();
    lk_bucket_unlock(other);
}

/* The link does that for each session that is made with a token of before: so it looks at one bucket, and waits for no other. */
static void test_G_forgetting_looks_at_one_bucket(void **state)
{
    (void)state;
    text t = token_of(1);
    alarm(60);
    unit_threads(2, hold_the_others, &t);
    alarm(0);
}

enum { WORKERS = 4, TOKENS = 64 };

typedef struct race {
    uint64_t rounds;
    _Atomic uint64_t emptied; /* emptyings that are over */
    atomic_uint wrong;
} race;

/* Even tokens are dead, odd ones are alive; one thread empties. A ticket of before an emptying puts nothing in after it:
 * where no emptying began since the ticket was taken, and only then, what was put in may be found. */
static void work(void *shared, unsigned index)
{
    race *r = shared;
    unit_random random = unit_random_new(index);
    for (uint64_t i = 0; i < r->rounds; i++) {
        text t = token_of(unit_below(&random, TOKENS));
        uint64_t number = (uint64_t)strtoull(t.token + LATCHKEY_SELECTOR_LENGTH, NULL, 10);
        int want = number % 4 ? LATCHKEY_NOT_FOUND : LATCHKEY_EXPIRED;
        if (!index && i % 50 == 0) {
            lk_negative_cache_empty(refused);
            atomic_fetch_add(&r->emptied, 1);
        }
        if (number % 2 == 0) lk_negative_cache_add(refused, lk_negative_cache_ticket(refused), t.token, want, NOW);
        int got = lk_negative_cache_find(refused, t.token, NOW);
        if (got != LATCHKEY_AGAIN && (number % 2 || got != want)) atomic_fetch_add(&r->wrong, 1);
    }
}

static void test_A_storm_of_adds_finds_and_emptyings(void **state)
{
    (void)state;
    race r = {.rounds = unit_rounds(40000)};
    unit_threads(WORKERS, work, &r);
    assert_int_equal(atomic_load(&r.wrong), 0);
    assert_true(atomic_load(&r.emptied) > 0);
}

/* One asks before each emptying and puts in after it: nothing of that is ever found. */
static void ask_and_empty(void *shared, unsigned index)
{
    race *r = shared;
    for (uint64_t i = 0; i < r->rounds; i++) {
        text t = token_of(2 * i + 1);
        if (index) {
            lk_negative_cache_empty(refused);
            continue;
        }
        uint64_t ticket = lk_negative_cache_ticket(refused);
        lk_negative_cache_empty(refused);
        lk_negative_cache_add(refused, ticket, t.token, LATCHKEY_NOT_FOUND, NOW);
        if (lk_negative_cache_find(refused, t.token, NOW) != LATCHKEY_AGAIN) atomic_fetch_add(&r->wrong, 1);
    }
}

static void test_A_late_answers_stay_out(void **state)
{
    (void)state;
    race r = {.rounds = unit_rounds(2000)};
    unit_threads(2, ask_and_empty, &r);
    assert_int_equal(atomic_load(&r.wrong), 0);
}

static void test_J_a_child_sees_it_empty_and_dumps_leave_it_out(void **state)
{
    (void)state;
    text t = token_of(1);
    add_at(&t, LATCHKEY_NOT_FOUND, NOW);
    assert_true(unit_mapping_has(lk_bucket_at(refused, 0), "dd"));
    assert_true(unit_mapping_has(lk_bucket_at(refused, 0), "wf"));
    pid_t child = fork();
    if (!child) {
        const unsigned char *bytes = lk_bucket_at(refused, 0);
        unsigned any = 0;
        for (size_t i = 0; i < (size_t)LK_NEGATIVE_CACHE_PLACES * LATCHKEY_TOKEN_LENGTH; i++) any |= bytes[i];
        _exit(any ? 1 : 0);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_was_refused_is_refused_until_its_time_is_up),
        TEST(test_A_what_is_no_refusal_is_not_kept),
        TEST(test_E_every_character_counts),
        TEST(test_E_A_the_place_decides_nothing),
        TEST(test_G_it_is_bounded_and_the_oldest_make_room),
        TEST(test_ended_ones_make_room_first),
        TEST(test_the_same_token_takes_one_place),
        TEST(test_A_emptied_and_tickets_of_before_are_void),
        TEST(test_a_session_that_was_made_takes_its_tokens_out),
        TEST(test_G_forgetting_looks_at_one_bucket),
        TEST(test_A_storm_of_adds_finds_and_emptyings),
        TEST(test_A_late_answers_stay_out),
        TEST(test_J_a_child_sees_it_empty_and_dumps_leave_it_out),
    };
    return cmocka_run_group_tests_name("refused", tests, unit_setup, NULL);
}
