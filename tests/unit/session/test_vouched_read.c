/* SPDX-License-Identifier: MIT
 *
 * A read under the lease: which answers count, which are asked for once more, and in which order things are noted.
 * (Guarantees A, B, C and D.) The lease and the denials are this test's: their functions are wrapped.
 */
#include "session/vouched_read.h"

#include "unit.h"

#include <string.h>

enum { OLD = 3, NEW = 5, DEADLINE = 1000 };

static struct {
    uint64_t owner;      /* of the lease */
    uint64_t answers[4]; /* who answers the n-th question */
    int said[4];         /* and what */
    int covers[4];       /* what the lease says then */
    bool denied;
    unsigned asked, covered, dropped, kept, suspected;
    uint64_t suspect, covered_server;
    uint64_t ticket;  /* L1's */
    bool unconfirmed; /* what is denied waits for Redis */
    char order[16];
} world;

static void happens(const char *what) { strncat(world.order, what, sizeof world.order - strlen(world.order) - 1); }

uint64_t __wrap_lk_lease_owner(const lk_book *book, unsigned partition);
uint64_t __wrap_lk_lease_owner(const lk_book *book, unsigned partition)
{
    (void)book, (void)partition;
    happens("o");
    return world.owner;
}

int __wrap_lk_lease_covers(lk_book *book, unsigned partition, uint64_t incarnation, int64_t deadline_ms);
int __wrap_lk_lease_covers(lk_book *book, unsigned partition, uint64_t incarnation, int64_t deadline_ms)
{
    (void)book, (void)partition, (void)deadline_ms;
    world.covered_server = incarnation;
    return world.covers[world.covered++];
}

int __wrap_lk_lease_covers_since(lk_book *book, unsigned partition, uint64_t incarnation, int64_t since_ms,
                                 int64_t deadline_ms);
int __wrap_lk_lease_covers_since(lk_book *book, unsigned partition, uint64_t incarnation, int64_t since_ms,
                                 int64_t deadline_ms)
{
    assert_int_equal(since_ms, 0);
    return __wrap_lk_lease_covers(book, partition, incarnation, deadline_ms);
}

int64_t __wrap_lk_node_last_trouble(lk_node *node, char *text, size_t size);
int64_t __wrap_lk_node_last_trouble(lk_node *node, char *text, size_t size)
{
    (void)node;
    memset(text, 0, size);
    return 0;
}

void __wrap_lk_lease_suspect(lk_book *book, unsigned partition, uint64_t incarnation);
void __wrap_lk_lease_suspect(lk_book *book, unsigned partition, uint64_t incarnation)
{
    (void)book, (void)partition;
    world.suspected++;
    world.suspect = incarnation;
}

bool __wrap_lk_pending_has(lk_pending *pending, const lk_token *token);
bool __wrap_lk_pending_has(lk_pending *pending, const lk_token *token)
{
    (void)pending, (void)token;
    happens("p");
    return world.denied;
}

bool __wrap_lk_pending_holds(lk_pending *pending, const lk_token *token);
bool __wrap_lk_pending_holds(lk_pending *pending, const lk_token *token)
{
    (void)pending, (void)token;
    return world.unconfirmed;
}

uint64_t __wrap_lk_l1_ticket(const lk_l1 *l1, const char *selector);
uint64_t __wrap_lk_l1_ticket(const lk_l1 *l1, const char *selector)
{
    (void)l1, (void)selector;
    happens("t");
    return world.ticket;
}

uint64_t __wrap_lk_negative_cache_ticket(const lk_negative_cache *cache);
uint64_t __wrap_lk_negative_cache_ticket(const lk_negative_cache *cache)
{
    (void)cache;
    return 77;
}

static int ask(latchkey *lk, void *context, lk_vouch *vouch, int64_t deadline_ms)
{
    (void)context, (void)deadline_ms;
    unsigned n = world.asked++;
    happens("a");
    lk_vouch_answered(lk, 0, vouch, world.answers[n]);
    return world.said[n];
}

static int keep(latchkey *lk, void *context, const lk_vouch *vouch, int said)
{
    (void)lk, (void)context;
    world.kept++;
    assert_int_equal(vouch->ticket, world.ticket);
    assert_int_equal(vouch->dead_ticket, 77);
    return said;
}

static void drop(void *context)
{
    (void)context;
    world.dropped++;
}

static int read_it(void)
{
    static latchkey lk;
    const lk_token token = {.partition = 0};
    const lk_vouched_read read = {.token = &token, .ask = ask, .keep = keep, .drop = drop};
    return lk_read_vouched(&lk, &read, DEADLINE);
}

static int setup(void **state)
{
    (void)state;
    memset(&world, 0, sizeof world);
    world.owner = OLD;
    world.ticket = 9;
    for (int i = 0; i < 4; i++) world.answers[i] = OLD;
    return 0;
}

static void test_an_answer_of_the_leases_server_counts(void **state)
{
    (void)state;
    const int said[] = {LATCHKEY_OK, LATCHKEY_NOT_FOUND, LATCHKEY_EXPIRED};
    for (size_t i = 0; i < UNIT_COUNT(said); i++) {
        setup(NULL);
        world.said[0] = said[i];
        assert_int_equal(read_it(), said[i]);
        assert_int_equal(world.covered_server, OLD);
        assert_true(world.asked == 1 && world.kept == 1 && !world.dropped && !world.suspected);
    }
}

/* The ticket, then the denials, then the question; and behind a yes the denials once more. */
static void test_B_D_the_order(void **state)
{
    (void)state;
    read_it();
    assert_string_equal(world.order, "tpoap");
}

static void test_B_what_is_denied_here_is_not_asked_for(void **state)
{
    (void)state;
    world.denied = world.unconfirmed = true;
    world.owner = 5;
    world.covers[0] = LATCHKEY_UNAVAILABLE;
    assert_int_equal(read_it(), LATCHKEY_NOT_FOUND);
    assert_int_equal(world.asked, 0);
}

/* What Redis confirmed is a "no" as Redis' own is: it needs the lease. While a server is being met, no server has it. */
static void test_A_what_is_known_to_be_over_needs_the_lease(void **state)
{
    (void)state;
    world.denied = true;
    world.owner = 5;
    assert_int_equal(read_it(), LATCHKEY_NOT_FOUND);
    assert_true(world.covered_server == 5 && world.asked == 0);
    setup(NULL);
    world.denied = true;
    world.owner = 5;
    world.covers[0] = LATCHKEY_UNAVAILABLE;
    assert_int_equal(read_it(), LATCHKEY_UNAVAILABLE);
    setup(NULL);
    world.denied = true;
    world.owner = 0;
    assert_int_equal(read_it(), LATCHKEY_NOT_FOUND);
    assert_true(world.covered == 0 && world.asked == 0);
}

static void test_A_no_answer_is_no_answer(void **state)
{
    (void)state;
    const int said[] = {LATCHKEY_UNAVAILABLE, LATCHKEY_CORRUPT, LATCHKEY_NO_MEMORY};
    for (size_t i = 0; i < UNIT_COUNT(said); i++) {
        setup(NULL);
        world.said[0] = said[i];
        assert_int_equal(read_it(), said[i]);
        assert_true(world.asked == 1 && !world.kept && !world.covered);
    }
}

/* Behind one address another server answers: it is asked again, that server is told of, and neither answer is given. */
static void test_C_another_servers_answer_does_not_count(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) world.answers[i] = NEW, world.covers[i] = LK_OUTCOME_OTHER_SERVER;
    assert_int_equal(read_it(), LATCHKEY_UNAVAILABLE);
    assert_int_equal(world.covered_server, 0);
    assert_true(world.asked == 2 && !world.kept && world.dropped == 2);
    assert_true(world.suspected == 2 && world.suspect == NEW);
}

static void test_C_the_second_may_be_of_the_leases_server(void **state)
{
    (void)state;
    world.answers[0] = NEW;
    world.said[0] = LATCHKEY_NOT_FOUND; /* a "no" of the wrong server is no "no" */
    world.covers[0] = LK_OUTCOME_OTHER_SERVER;
    assert_int_equal(read_it(), LATCHKEY_OK);
    assert_true(world.asked == 2 && world.kept == 1 && !world.dropped);
}

static void test_C_without_a_lease_nothing_is_given(void **state)
{
    (void)state;
    world.covers[0] = LATCHKEY_UNAVAILABLE;
    assert_int_equal(read_it(), LATCHKEY_UNAVAILABLE);
    assert_true(world.asked == 1 && !world.kept && world.dropped == 1);
}

/* Several questions under one vouch: one that another server answered spoils all. */
static void test_C_all_answers_are_of_one_server(void **state)
{
    (void)state;
    static latchkey lk;
    lk_vouch vouch = lk_vouch_partition(&lk, 0);
    lk_vouch_answered(&lk, 0, &vouch, OLD);
    assert_int_equal(vouch.server, OLD);
    lk_vouch_answered(&lk, 0, &vouch, NEW);
    assert_int_equal(vouch.server, 0);
    lk_vouch_answered(&lk, 0, &vouch, OLD);
    assert_int_equal(vouch.server, 0);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_an_answer_of_the_leases_server_counts),
        TEST(test_B_D_the_order),
        TEST(test_B_what_is_denied_here_is_not_asked_for),
        TEST(test_A_what_is_known_to_be_over_needs_the_lease),
        TEST(test_A_no_answer_is_no_answer),
        TEST(test_C_another_servers_answer_does_not_count),
        TEST(test_C_the_second_may_be_of_the_leases_server),
        TEST(test_C_without_a_lease_nothing_is_given),
        TEST(test_C_all_answers_are_of_one_server),
    };
    return cmocka_run_group_tests_name("vouched_read", tests, unit_setup, NULL);
}
