/* SPDX-License-Identifier: MIT
 *
 * Tokens to be read again: the gate lets one hit through and then none for a while, the queue is bounded, keeps its order and
 * forgets what is old, and nothing of a token stays behind. (Guarantees E, F, G, J.)
 */
#include "l2/refresh_gate.h"
#include "l2/refresh_queue.h"

#include "unit.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BUCKETS = 16384, WAYS = 4 };
static const int64_t NOW = 1000000, APART = 1000;
static lk_refresh_gate *gate;
static lk_refresh_queue *wanted;

static int setup(void **state)
{
    (void)state;
    gate = lk_refresh_gate_open(unit_seed());
    wanted = lk_refresh_queue_open();
    return !gate || !wanted;
}

static int teardown(void **state)
{
    (void)state;
    lk_refresh_queue_close(wanted);
    lk_refresh_gate_close(gate);
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

static bool gate_at(uint64_t number, int64_t now_ms)
{
    text t = token_of(number);
    char *exact = unit_copy(t.token, LATCHKEY_TOKEN_LENGTH);
    bool open = lk_refresh_gate_dedup(gate, exact, now_ms, APART);
    free(exact);
    return open;
}

static void test_the_gate_opens_once_in_a_while(void **state)
{
    (void)state;
    assert_true(gate_at(1, NOW));
    assert_false(gate_at(1, NOW));
    assert_true(gate_at(2, NOW)); /* another's */
    assert_false(gate_at(1, NOW + APART - 1));
    assert_true(gate_at(1, NOW + APART));
    assert_false(gate_at(1, NOW + APART));
}

static void test_it_can_be_shut_for_longer_and_opened(void **state)
{
    (void)state;
    text t = token_of(1);
    lk_refresh_gate_shut(gate, t.token, NOW, NOW + 5000);
    assert_false(gate_at(1, NOW + 4999));
    assert_true(gate_at(1, NOW + 5000));
    lk_refresh_gate_shut(gate, t.token, NOW + 5000, NOW + 5001); /* what was read lets it be asked for again sooner */
    assert_true(gate_at(1, NOW + 5001));
}

/* With as many as there are places, hardly any is in another's way; with many more, the gate lets no more through than
 * there are places: a collision costs a refresh, never a read more. */
static void test_G_collisions_shut_the_gate(void **state)
{
    (void)state;
    unsigned through = 0, again = 0;
    for (uint64_t i = 0; i < BUCKETS; i++) through += gate_at(i, NOW);
    assert_in_range(through, BUCKETS * 98 / 100, BUCKETS);
    for (uint64_t i = 0; i < BUCKETS; i++) again += gate_at(i, NOW);
    assert_in_range(again, 0, BUCKETS / 100); /* but for those that found their bucket full */
    for (uint64_t i = 0; i < 10 * BUCKETS * WAYS; i++) through += gate_at(1000000 + i, NOW);
    assert_in_range(through, BUCKETS * WAYS * 99 / 100, BUCKETS * WAYS);
    assert_true(gate_at(1, NOW + APART));
}

static size_t put_at(uint64_t number, int64_t now_ms)
{
    text t = token_of(number);
    char *exact = unit_copy(t.token, LATCHKEY_TOKEN_LENGTH);
    size_t waiting = lk_refresh_queue_put(wanted, exact, now_ms);
    free(exact);
    return waiting;
}

static void test_first_in_first_out_and_a_hand_for_each(void **state)
{
    (void)state;
    lk_refresh_item *hand[LK_REFRESH_QUEUE_HANDS];
    uint64_t let_go;
    for (size_t i = 0; i < LK_REFRESH_QUEUE_HANDS + 3; i++) assert_int_equal(put_at(i, NOW), i + 1);
    for (size_t i = 0; i < LK_REFRESH_QUEUE_HANDS; i++) {
        text t = token_of(i);
        hand[i] = lk_refresh_queue_take(wanted, NOW, &let_go);
        assert_non_null(hand[i]);
        assert_memory_equal(hand[i]->token, t.token, LATCHKEY_TOKEN_LENGTH);
    }
    assert_null(lk_refresh_queue_take(wanted, NOW, &let_go));
    lk_refresh_queue_done(hand[5]);
    static const lk_refresh_item nothing;
    assert_memory_equal(hand[5], &nothing, sizeof nothing); /* F */
    text next = token_of(LK_REFRESH_QUEUE_HANDS);
    assert_ptr_equal(lk_refresh_queue_take(wanted, NOW, &let_go), hand[5]);
    assert_memory_equal(hand[5]->token, next.token, LATCHKEY_TOKEN_LENGTH);
    assert_int_equal(let_go, 0);
}

static void test_G_the_queue_is_bounded(void **state)
{
    (void)state;
    uint64_t let_go;
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < LK_REFRESH_QUEUE_QUEUE; i++) assert_int_equal(put_at(i, NOW), i + 1);
        for (size_t i = 0; i < 10; i++) assert_int_equal(put_at(i, NOW), 0);
        for (size_t i = 0; i < LK_REFRESH_QUEUE_QUEUE; i++) {
            text t = token_of(i);
            lk_refresh_item *item = lk_refresh_queue_take(wanted, NOW, &let_go);
            assert_non_null(item);
            assert_memory_equal(item->token, t.token, LATCHKEY_TOKEN_LENGTH);
            lk_refresh_queue_done(item);
        }
        assert_null(lk_refresh_queue_take(wanted, NOW, &let_go));
    }
}

static void test_what_is_old_is_let_go(void **state)
{
    (void)state;
    uint64_t let_go;
    for (size_t i = 0; i < 5; i++) put_at(i, NOW + (int64_t)i);
    text t = token_of(3);
    lk_refresh_item *item = lk_refresh_queue_take(wanted, NOW + 3 + LK_REFRESH_QUEUE_OLD_MS, &let_go);
    assert_int_equal(let_go, 3);
    assert_memory_equal(item->token, t.token, LATCHKEY_TOKEN_LENGTH);
    assert_null(lk_refresh_queue_take(wanted, NOW + 5 + LK_REFRESH_QUEUE_OLD_MS, &let_go));
    assert_int_equal(let_go, 1);
}

/* -------------------------------------------------------------------------------------------------- threads -- */

enum { ASKERS = 3, TOKENS = 50 };

typedef struct race {
    uint64_t rounds;
    _Atomic uint64_t put, shed, taken, let_go;
    atomic_uint busy, wrong;
} race;

static void ask(race *r, unsigned index)
{
    unit_random random = unit_random_new(index);
    for (uint64_t i = 0; i < r->rounds; i++) {
        text t = token_of(unit_below(&random, TOKENS));
        if (!lk_refresh_gate_dedup(gate, t.token, NOW + (int64_t)i, 1)) continue;
        if (lk_refresh_queue_put(wanted, t.token, NOW)) atomic_fetch_add(&r->put, 1);
        else atomic_fetch_add(&r->shed, 1);
    }
    atomic_fetch_sub(&r->busy, 1);
}

static void work(void *shared, unsigned index)
{
    race *r = shared;
    uint64_t let_go;
    if (index) {
        ask(r, index);
        return;
    }
    for (bool last = false; !last;) {
        last = !atomic_load(&r->busy);
        for (lk_refresh_item *item; (item = lk_refresh_queue_take(wanted, NOW, &let_go)); lk_refresh_queue_done(item)) {
            char number[24] = "";
            memcpy(number, item->token + LATCHKEY_SELECTOR_LENGTH, 23);
            text t = token_of(strtoull(number, NULL, 10));
            if (memcmp(t.token, item->token, LATCHKEY_TOKEN_LENGTH)) atomic_fetch_add(&r->wrong, 1);
            atomic_fetch_add(&r->taken, 1);
        }
    }
}

static void test_everything_put_is_taken_once_and_whole(void **state)
{
    (void)state;
    race r = {.rounds = unit_rounds(30000), .busy = ASKERS};
    unit_threads(1 + ASKERS, work, &r);
    assert_int_equal(atomic_load(&r.wrong), 0);
    assert_true(atomic_load(&r.put) > 0);
    assert_int_equal(atomic_load(&r.taken), atomic_load(&r.put));
}

static void test_F_J_no_token_stays_behind_or_reaches_a_child(void **state)
{
    (void)state;
    uint64_t let_go;
    assert_true(unit_mapping_has(wanted, "dd"));
    assert_true(unit_mapping_has(wanted, "wf"));
    put_at(7, NOW);
    lk_refresh_item *item = lk_refresh_queue_take(wanted, NOW, &let_go);
    pid_t child = fork();
    if (!child) {
        unsigned any = 0;
        for (size_t i = 0; i < sizeof *item; i++) any |= ((const unsigned char *)item)[i];
        _exit(any ? 1 : 0);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    lk_refresh_queue_done(item);
    text t = token_of(7);
    const char *bytes = (const char *)wanted, *verifier = t.token + LATCHKEY_SELECTOR_LENGTH;
    size_t size = (size_t)(LK_REFRESH_QUEUE_QUEUE * 52);
    for (size_t i = 0; i + 23 < size; i++) assert_int_not_equal(memcmp(bytes + i, verifier, 23), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_gate_opens_once_in_a_while),
        TEST(test_it_can_be_shut_for_longer_and_opened),
        TEST(test_G_collisions_shut_the_gate),
        TEST(test_first_in_first_out_and_a_hand_for_each),
        TEST(test_G_the_queue_is_bounded),
        TEST(test_what_is_old_is_let_go),
        TEST(test_everything_put_is_taken_once_and_whole),
        TEST(test_F_J_no_token_stays_behind_or_reaches_a_child),
    };
    return cmocka_run_group_tests_name("wanted", tests, unit_setup, NULL);
}
