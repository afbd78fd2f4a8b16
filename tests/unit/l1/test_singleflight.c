/* SPDX-License-Identifier: MIT
 *
 * Equal misses share one read: which call joins which, what they are answered, and which must not join. (Guarantees B, D and G.)
 *
 * A passenger that waits is seen by the call with which it waits, which this program wraps: nothing is guessed from time.
 */
#include "l1/singleflight.h"

#include "base/clock.h"
#include "base/hash.h"
#include "unit.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { BUCKETS = 64, PLACES = 8 }; /* of a table; in a bucket */
static const int64_t EVER_MS = 100000;

static atomic_uint waiting;
static atomic_bool held; /* a thread that is woken does not go on yet */

int __real_pthread_cond_timedwait(pthread_cond_t *bell, pthread_mutex_t *lock, const struct timespec *until);
int __wrap_pthread_cond_timedwait(pthread_cond_t *bell, pthread_mutex_t *lock, const struct timespec *until);

/* Called under the bucket's lock: a thread that gets that lock afterwards finds the other one waiting. */
int __wrap_pthread_cond_timedwait(pthread_cond_t *bell, pthread_mutex_t *lock, const struct timespec *until)
{
    waiting++;
    if (!held) return __real_pthread_cond_timedwait(bell, lock, until);
    pthread_mutex_unlock(lock);
    while (held) sched_yield();
    pthread_mutex_lock(lock);
    return 0; /* a wake-up without a reason, which every waiter must allow for */
}

static void wait_for_waiting(unsigned count)
{
    int64_t until_ms = lk_now_ms() + EVER_MS;
    while (waiting < count && lk_now_ms() < until_ms) sched_yield();
    assert_int_equal(waiting, count);
}

/* ------------------------------------------------------------------------------------------------- boarding -- */

static lk_singleflight *flights;

typedef struct ride {
    char token[LATCHKEY_TOKEN_SIZE];
    uint64_t ticket, incarnation;
    int64_t oldest_ms, deadline_ms;
    enum lk_flight_role role;
    lk_flight *flight;
    int status;
    latchkey_entry entry;
    int64_t until_us;
} ride;

static ride ride_of(unsigned session, unsigned verifier, uint64_t ticket)
{
    ride r = {.ticket = ticket, .oldest_ms = lk_now_ms() - EVER_MS, .deadline_ms = lk_now_ms() + EVER_MS, .status = 99};
    snprintf(r.token, sizeof r.token, "session%013uverifier%015u", session, verifier);
    return r;
}

static unsigned bucket_of(const ride *r)
{
    return (unsigned)(lk_hash(r->token, LATCHKEY_TOKEN_LENGTH, unit_seed()) % BUCKETS);
}

/* The next one from *verifier on that lies in that bucket. */
static ride ride_in(unsigned bucket, unsigned *verifier, uint64_t ticket)
{
    ride r;
    do r = ride_of(1, (*verifier)++, ticket);
    while (bucket_of(&r) != bucket);
    return r;
}

static enum lk_flight_role board(ride *r)
{
    char *exact = unit_copy(r->token, LATCHKEY_TOKEN_LENGTH);
    r->role = lk_singleflight_join(flights, exact, r->ticket, r->oldest_ms, r->deadline_ms, &r->flight, &r->status,
                                   &r->entry, &r->until_us, &r->incarnation);
    free(exact);
    return r->role;
}

static void land(ride *r, int status, uint64_t number)
{
    latchkey_entry e = {.user_id = number, .flags = 7};
    lk_singleflight_complete(flights, r->flight, status, &e, (int64_t)number * 10, number + 1);
}

static void *board_in_thread(void *shared)
{
    board(shared);
    return NULL;
}

static pthread_t start(ride *r)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, board_in_thread, r)) abort();
    return thread;
}

static int setup(void **state)
{
    (void)state;
    waiting = 0;
    flights = lk_singleflight_open(unit_seed());
    return !flights;
}

/* Every place is free again at the end of every test. */
static int teardown(void **state)
{
    (void)state;
    for (unsigned bucket = 0, verifier = 1000; bucket < BUCKETS; bucket++) {
        ride rides[PLACES];
        for (unsigned i = 0; i < PLACES; i++) {
            rides[i] = ride_in(bucket, &verifier, 1);
            if (board(&rides[i]) != LK_FLIGHT_LEAD || !rides[i].flight) return 1;
        }
        for (unsigned i = 0; i < PLACES; i++) land(&rides[i], LATCHKEY_OK, 0);
    }
    lk_singleflight_close(flights);
    return 0;
}

/* ---------------------------------------------------------------------------------------------------- joining -- */

static void test_one_alone_leads(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++) {
        ride r = ride_of(1, 1, 5);
        assert_int_equal(board(&r), LK_FLIGHT_LEAD);
        assert_non_null(r.flight);
        land(&r, LATCHKEY_OK, 1); /* landed, it takes no more: the next one reads anew */
    }
}

static void join_many(int status)
{
    enum { PASSENGERS = 12 };
    ride leader = ride_of(1, 1, 5), passenger[PASSENGERS];
    pthread_t thread[PASSENGERS];
    waiting = 0;
    assert_int_equal(board(&leader), LK_FLIGHT_LEAD);
    for (int i = 0; i < PASSENGERS; i++) {
        passenger[i] = ride_of(1, 1, 5);
        thread[i] = start(&passenger[i]);
    }
    wait_for_waiting(PASSENGERS);
    land(&leader, status, 42);
    for (int i = 0; i < PASSENGERS; i++) {
        pthread_join(thread[i], NULL);
        assert_int_equal(passenger[i].role, LK_FLIGHT_DONE);
        assert_null(passenger[i].flight);
        assert_int_equal(passenger[i].status, status);
        assert_true(passenger[i].entry.user_id == 42 && passenger[i].entry.flags == 7);
        assert_true(passenger[i].until_us == 420);
    }
}

static void test_all_who_wait_get_the_leaders_answer(void **state)
{
    (void)state;
    join_many(LATCHKEY_OK);
}

static void test_a_leader_that_fails_fails_them_all(void **state)
{
    (void)state;
    const int statuses[] = {LATCHKEY_NOT_FOUND, LATCHKEY_EXPIRED, LATCHKEY_UNAVAILABLE, LATCHKEY_CORRUPT,
                            LATCHKEY_NO_MEMORY};
    for (size_t i = 0; i < UNIT_COUNT(statuses); i++) join_many(statuses[i]);
}

/* A read from before a purge must not answer who comes after it; nor another token, nor one too old. */
static void test_who_does_not_join(void **state)
{
    (void)state;
    ride leader = ride_of(1, 1, 5);
    assert_int_equal(board(&leader), LK_FLIGHT_LEAD);
    ride others[] = {ride_of(1, 1, 6), ride_of(1, 1, 4), ride_of(1, 2, 5), ride_of(2, 1, 5), ride_of(1, 1, 5)};
    enum { OTHERS = UNIT_COUNT(others) };
    others[OTHERS - 1].oldest_ms = lk_now_ms() + 1000; /* wants a read that begins later than this one did */
    for (size_t i = 0; i < OTHERS; i++) {
        others[i].deadline_ms = 0; /* who joins all the same is late at once */
        assert_int_equal(board(&others[i]), LK_FLIGHT_LEAD);
        assert_non_null(others[i].flight);
        assert_ptr_not_equal(others[i].flight, leader.flight);
    }
    for (size_t i = 0; i < OTHERS; i++) land(&others[i], LATCHKEY_OK, 0);
    land(&leader, LATCHKEY_OK, 0);
    assert_int_equal(waiting, 0);
}

/* Any one character of the token: the comparison is of all 43. */
static void test_every_character_counts(void **state)
{
    (void)state;
    ride leader = ride_of(1, 1, 5);
    assert_int_equal(board(&leader), LK_FLIGHT_LEAD);
    for (size_t at = 0; at < LATCHKEY_TOKEN_LENGTH; at++) {
        ride other = ride_of(1, 1, 5);
        other.deadline_ms = 0;
        other.token[at] ^= 1;
        assert_int_equal(board(&other), LK_FLIGHT_LEAD);
        land(&other, LATCHKEY_OK, 0);
    }
    land(&leader, LATCHKEY_OK, 0);
}

/* Two reads of one token beside each other, a purge apart: each one's passengers get its own answer. */
static void test_two_flights_of_one_token(void **state)
{
    (void)state;
    ride leader[2] = {ride_of(1, 1, 5), ride_of(1, 1, 6)}, passenger[4];
    pthread_t thread[4];
    for (int i = 0; i < 2; i++) assert_int_equal(board(&leader[i]), LK_FLIGHT_LEAD);
    for (unsigned i = 0; i < 4; i++) {
        passenger[i] = ride_of(1, 1, 5 + i % 2);
        thread[i] = start(&passenger[i]);
    }
    wait_for_waiting(4);
    land(&leader[1], LATCHKEY_NOT_FOUND, 61);
    land(&leader[0], LATCHKEY_OK, 51);
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(thread[i], NULL);
        assert_int_equal(passenger[i].role, LK_FLIGHT_DONE);
        assert_int_equal(passenger[i].status, i % 2 ? LATCHKEY_NOT_FOUND : LATCHKEY_OK);
        assert_true(passenger[i].entry.user_id == (i % 2 ? 61 : 51));
    }
}

/* Landed, and its passengers are not awake yet: who comes now reads anew, and they get what they waited for. */
static void test_a_landed_flight_takes_no_more(void **state)
{
    (void)state;
    ride leader = ride_of(1, 1, 5), passenger[3], next = ride_of(1, 1, 5), late = ride_of(1, 1, 5);
    pthread_t thread[3];
    held = true;
    assert_int_equal(board(&leader), LK_FLIGHT_LEAD);
    for (int i = 0; i < 3; i++) {
        passenger[i] = ride_of(1, 1, 5);
        thread[i] = start(&passenger[i]);
    }
    wait_for_waiting(3);
    land(&leader, LATCHKEY_OK, 1);
    assert_int_equal(board(&next), LK_FLIGHT_LEAD);
    assert_non_null(next.flight);
    assert_ptr_not_equal(next.flight, leader.flight);
    held = false;
    for (int i = 0; i < 3; i++) {
        pthread_join(thread[i], NULL);
        assert_int_equal(passenger[i].role, LK_FLIGHT_DONE);
        assert_true(passenger[i].entry.user_id == 1);
    }
    late.deadline_ms = 0; /* joins the one that flies */
    assert_int_equal(board(&late), LK_FLIGHT_LATE);
    land(&next, LATCHKEY_OK, 2);
}

/* ------------------------------------------------------------------------------------------------------- late -- */

static void test_a_late_passenger_leaves(void **state)
{
    (void)state;
    ride leader = ride_of(1, 1, 5);
    assert_int_equal(board(&leader), LK_FLIGHT_LEAD);
    const int64_t deadlines[] = {lk_now_ms() - 1, 0, lk_now_ms() + 5};
    for (size_t i = 0; i < UNIT_COUNT(deadlines); i++) {
        ride late = ride_of(1, 1, 5);
        late.deadline_ms = deadlines[i];
        assert_int_equal(board(&late), LK_FLIGHT_LATE);
        assert_null(late.flight);
        assert_true(lk_now_ms() >= deadlines[i]);
        assert_int_equal(late.status, 99); /* it was told nothing */
    }
    land(&leader, LATCHKEY_OK, 1); /* no call waits for it */
}

static void test_late_ones_do_not_take_it_from_the_others(void **state)
{
    (void)state;
    ride leader = ride_of(1, 1, 5), patient = ride_of(1, 1, 5);
    assert_int_equal(board(&leader), LK_FLIGHT_LEAD);
    pthread_t thread = start(&patient);
    wait_for_waiting(1);
    for (int i = 0; i < 20; i++) {
        ride late = ride_of(1, 1, 5);
        late.deadline_ms = lk_now_ms() - 1;
        assert_int_equal(board(&late), LK_FLIGHT_LATE);
    }
    land(&leader, LATCHKEY_OK, 3);
    pthread_join(thread, NULL);
    assert_int_equal(patient.role, LK_FLIGHT_DONE);
    assert_true(patient.entry.user_id == 3);
}

/* ------------------------------------------------------------------------------------------------------- full -- */

static void test_a_full_bucket_reads_alone(void **state)
{
    (void)state;
    unsigned verifier = 0;
    ride rides[PLACES];
    for (unsigned i = 0; i < PLACES; i++) {
        rides[i] = ride_in(7, &verifier, 5);
        assert_int_equal(board(&rides[i]), LK_FLIGHT_LEAD);
        assert_non_null(rides[i].flight);
    }
    ride more = ride_in(7, &verifier, 5), passenger = rides[3];
    for (int i = 0; i < 3; i++) { /* leads, and no call can join */
        assert_int_equal(board(&more), LK_FLIGHT_LEAD);
        assert_null(more.flight);
        land(&more, LATCHKEY_OK, 0);
    }
    pthread_t thread = start(&passenger); /* joining needs no place */
    wait_for_waiting(1);
    land(&rides[3], LATCHKEY_OK, 33);
    pthread_join(thread, NULL);
    assert_int_equal(passenger.role, LK_FLIGHT_DONE);
    assert_true(passenger.entry.user_id == 33);
    assert_int_equal(board(&more), LK_FLIGHT_LEAD);
    assert_non_null(more.flight);
    land(&more, LATCHKEY_OK, 0);
    for (unsigned i = 0; i < PLACES; i++)
        if (i != 3) land(&rides[i], LATCHKEY_OK, 0);
}

/* Many tokens of one selector, which anyone who knows it can make up, do not all fall into one bucket. */
static void test_the_whole_token_chooses_the_bucket(void **state)
{
    (void)state;
    enum { TOKENS = 3 * PLACES };
    ride rides[TOKENS];
    unsigned alone = 0;
    for (unsigned i = 0; i < TOKENS; i++) {
        rides[i] = ride_of(1, i, 5);
        assert_int_equal(board(&rides[i]), LK_FLIGHT_LEAD);
        alone += !rides[i].flight;
    }
    for (unsigned i = 0; i < TOKENS; i++) land(&rides[i], LATCHKEY_OK, 0);
    assert_true(alone < PLACES / 2);
}

/* A new leader takes the place that a landed flight left; nothing of that one is in it. */
static void test_places_are_used_again(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 500; i++) {
        waiting = 0;
        ride leader = ride_of(i % 3, i % 7, i), passenger = leader;
        assert_int_equal(board(&leader), LK_FLIGHT_LEAD);
        pthread_t thread = start(&passenger);
        wait_for_waiting(1);
        land(&leader, i % 2 ? LATCHKEY_OK : LATCHKEY_UNAVAILABLE, i);
        pthread_join(thread, NULL);
        assert_int_equal(passenger.role, LK_FLIGHT_DONE);
        assert_int_equal(passenger.status, i % 2 ? LATCHKEY_OK : LATCHKEY_UNAVAILABLE);
        assert_true(passenger.entry.user_id == i && passenger.until_us == 10 * (int64_t)i);
    }
}

/* ---------------------------------------------------------------------------------------------------- threads -- */

typedef struct crowd {
    uint64_t rounds;
    atomic_ullong led, joined, late, wrong;
    _Atomic uint64_t epoch;
} crowd;

static uint64_t answer_of(const ride *r)
{
    return r->ticket * 1000 + (unsigned char)r->token[LATCHKEY_TOKEN_LENGTH - 1];
}

static void travel(void *shared, unsigned index)
{
    crowd *c = shared;
    unit_random random = unit_random_new(index);
    for (uint64_t i = 0; i < c->rounds; i++) {
        if (unit_chance(&random, 1)) c->epoch++;
        ride r = ride_of((unsigned)unit_below(&random, 2), (unsigned)unit_below(&random, 6), c->epoch);
        bool hasty = unit_chance(&random, 10);
        if (hasty) r.deadline_ms = lk_now_ms() - 1;
        switch (board(&r)) {
        case LK_FLIGHT_LEAD:
            c->led++;
            if (unit_chance(&random, 50)) sched_yield();
            land(&r, LATCHKEY_OK, answer_of(&r));
            break;
        case LK_FLIGHT_DONE:
            c->joined++;
            c->wrong += r.status != LATCHKEY_OK || r.entry.user_id != answer_of(&r) ||
                        r.until_us != 10 * (int64_t)answer_of(&r);
            break;
        case LK_FLIGHT_LATE:
            c->late++;
            c->wrong += !hasty;
            break;
        }
    }
}

static void test_a_crowd(void **state)
{
    (void)state;
    crowd c = {.rounds = unit_rounds(20000)};
    unit_threads(8, travel, &c);
    print_message("%llu led, %llu joined, %llu were late\n", (unsigned long long)c.led, (unsigned long long)c.joined,
                  (unsigned long long)c.late);
    assert_true(c.wrong == 0);
    assert_true(c.led + c.joined + c.late == 8 * c.rounds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_alone_leads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_who_wait_get_the_leaders_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_leader_that_fails_fails_them_all, setup, teardown),
        cmocka_unit_test_setup_teardown(test_who_does_not_join, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_character_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two_flights_of_one_token, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_landed_flight_takes_no_more, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_late_passenger_leaves, setup, teardown),
        cmocka_unit_test_setup_teardown(test_late_ones_do_not_take_it_from_the_others, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_full_bucket_reads_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_whole_token_chooses_the_bucket, setup, teardown),
        cmocka_unit_test_setup_teardown(test_places_are_used_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_crowd, setup, teardown),
    };
    return cmocka_run_group_tests_name("flight", tests, unit_setup, NULL);
}
