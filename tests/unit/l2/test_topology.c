/* SPDX-License-Identifier: MIT
 *
 * Partitions that get another owner: the lease names no server from then on and goes on for hits, the old owner writes
 * nothing behind the new one, who waits goes on with the new one, and what was left with the old one is passed on.
 * (Guarantees B, C, D and G.) The servers do not answer: what their links would say, the test says.
 */
#include "base/clock.h"
#include "base/outcome.h"
#include "l2/cluster.h"
#include "l2/node_parts.h"
#include "l2/topology.h"

#include "unit.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { PARTITIONS = 8, X = 101, Y = 202 };

static lk_config config;
static lk_counters counters;
static lk_topology *topology;
static lk_book *book;

/* The thread that asks a cluster for its map: here the test has it. */
int __wrap_lk_cluster_open(lk_topology *t, lk_cluster **out, char *error, size_t error_size);
int __wrap_lk_cluster_open(lk_topology *t, lk_cluster **out, char *error, size_t error_size)
{
    (void)t, (void)error, (void)error_size;
    *out = NULL;
    return LATCHKEY_OK;
}

static void on_purge(void *context, const char *selector) { (void)context, (void)selector; }
static void on_empty(void *context, lk_partitions partitions) { (void)context, (void)partitions; }
static void on_everyone(void *context) { (void)context; }

static int setup(void **state)
{
    (void)state;
    char error[160];
    /* Port 1: nobody listens. */
    if (lk_config_parse("redis+cluster://127.0.0.1:1?partitions=8", &config, error, sizeof error)) return 1;
    const lk_l1_side l1 = {.purge = on_purge, .empty = on_empty, .everyone = on_everyone};
    topology = calloc(1, sizeof *topology);
    book = &topology->book;
    return !topology || lk_topology_open(topology, &config, &counters, &l1, error, sizeof error);
}

static int teardown(void **state)
{
    (void)state;
    lk_topology_close(topology);
    free(topology);
    return 0;
}

static void name_server(lk_server_map *map, unsigned place, unsigned number)
{
    lk_host *at = &map->server[place].at;
    snprintf(at->name, sizeof at->name, "127.0.1.%u", number);
    snprintf(at->port, sizeof at->port, "1");
    if (map->servers <= place) map->servers = place + 1;
}

/* The first `first` partitions are server a's, the others b's. */
static void split(unsigned a, unsigned b, unsigned first)
{
    static lk_server_map map;
    char error[160] = "";
    memset(&map, 0, sizeof map);
    name_server(&map, 0, a);
    name_server(&map, 1, b);
    for (unsigned p = 0; p < PARTITIONS; p++) map.of[p] = p >= first;
    assert_int_equal(lk_topology_apply(topology, &map, error, sizeof error), LATCHKEY_OK);
}

static lk_node *owner(unsigned p) { return lk_topology_owner(topology, p); }

static void confirm(lk_node *node, unsigned p, uint64_t incarnation)
{
    lk_lease_confirm(node, (lk_partitions){&p, 1}, lk_now_ms(), incarnation, 0);
}

static void pause_ms(long ms) { nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL); }

static int64_t until(unsigned p) { return atomic_load(&book->leases->of[p].until_ms); }

static void test_before_the_map_nothing_is_served(void **state)
{
    (void)state;
    char error[160] = "";
    lk_host host;
    assert_ptr_equal(owner(0), lk_topology_node(topology, 0));
    assert_ptr_equal(owner(PARTITIONS - 1), lk_topology_node(topology, 0));
    assert_null(lk_topology_node(topology, 1));
    assert_false(lk_node_host(owner(0), &host));
    assert_int_equal(lk_topology_wait(topology, lk_now_ms() + 20, error, sizeof error), LATCHKEY_UNAVAILABLE);
    assert_string_equal(error, "no server of the cluster has answered yet");
    lk_node_trouble(owner(0), LATCHKEY_CONFIG, "a wrong password"); /* as the thread of the map tells it */
    assert_int_equal(lk_topology_wait(topology, lk_now_ms() + 60000, error, sizeof error), LATCHKEY_CONFIG);
    assert_string_equal(error, "a wrong password");
}

static void test_a_map_gives_each_partition_to_its_server(void **state)
{
    (void)state;
    lk_host host;
    split(1, 2, 3);
    for (unsigned p = 0; p < PARTITIONS; p++) {
        assert_true(lk_node_host(owner(p), &host));
        assert_string_equal(host.name, p < 3 ? "127.0.1.1" : "127.0.1.2");
        assert_int_equal(lk_leases_meetings(book->leases, p), 1);
    }
    assert_false(lk_node_owns(lk_topology_node(topology, 0)));
    assert_true(lk_node_owns(owner(0)) && lk_node_owns(owner(3)));
    uint64_t version = lk_topology_version(topology);
    split(1, 2, 3); /* the same again */
    assert_int_equal(lk_topology_version(topology), version);
    lk_node *first = owner(0), *second = owner(3);
    split(1, 2, 0); /* the first one has nothing more: it sleeps, and is the same when it comes back */
    assert_false(lk_node_owns(first));
    assert_ptr_equal(owner(0), second);
    split(1, 2, 1);
    assert_ptr_equal(owner(0), first);
    assert_null(lk_topology_node(topology, 3));
}

static void test_what_no_server_has_keeps_its_owner(void **state)
{
    (void)state;
    static lk_server_map map;
    char error[160];
    split(1, 2, 4);
    lk_node *first = owner(0), *second = owner(4);
    name_server(&map, 0, 2);
    memset(map.of, LK_NO_SERVER, sizeof map.of);
    map.of[1] = 0;
    assert_int_equal(lk_topology_apply(topology, &map, error, sizeof error), LATCHKEY_OK);
    assert_ptr_equal(owner(0), first);
    assert_ptr_equal(owner(1), second);
    assert_ptr_equal(owner(4), second);
}

/* As if its link were up; its thread would say that it is not. */
static void lease_all(lk_node *node, uint64_t incarnation)
{
    lk_node_stop(node);
    node->connected = true;
    for (unsigned p = 0; p < PARTITIONS; p++)
        if (owner(p) == node) confirm(node, p, incarnation);
}

/* Only if nothing can have been lost on the way. */
static void test_C_a_slot_that_was_moved_as_a_whole(void **state)
{
    (void)state;
    split(1, 2, 4);
    lk_node *first = owner(0), *second = owner(4);
    lease_all(first, X);
    lease_all(second, Y);
    split(1, 2, 3);
    assert_int_equal(lk_past_whole(book->past, 3), Y);
    assert_int_equal(lk_past_whole(book->past, 4), 0); /* it was not moved */
    split(1, 2, 4);
    assert_int_equal(lk_past_whole(book->past, 3), X); /* an older map */
    lease_all(first, X);
    split(1, 3, 4); /* all of the second one's: its replica may have been promoted */
    for (unsigned p = 4; p < PARTITIONS; p++) assert_int_equal(lk_past_whole(book->past, p), 0);
    lk_node *third = owner(4);
    third->connected = true; /* it has met its server, which has no lease yet */
    split(1, 3, 5);
    assert_int_equal(lk_past_whole(book->past, 4), 0);
    split(1, 3, 4);
    lease_all(third, Y);
    third->connected = false;
    split(1, 3, 3); /* the new owner may be another server by now */
    assert_int_equal(lk_past_whole(book->past, 3), 0);
    lease_all(third, Y);
    first->connected = false; /* and so may the old one */
    split(1, 3, 2);
    assert_int_equal(lk_past_whole(book->past, 2), 0);
    lease_all(first, X);
    first->holds = Y;
    split(1, 3, 1); /* it is another server than the one that had the lease */
    assert_int_equal(lk_past_whole(book->past, 1), 0);
}

static void test_C_an_owner_that_was_replaced_writes_nothing(void **state)
{
    (void)state;
    split(1, 2, 4);
    lk_node *old = owner(0), *new = owner(4);
    confirm(old, 0, X);
    assert_int_equal(lk_lease_covers_now(book, 0, X), LATCHKEY_OK);
    confirm(new, 0, Y); /* it is not its partition */
    assert_int_equal(lk_lease_owner(book, 0), X);

    int64_t before = until(0);
    uint64_t meetings = lk_leases_meetings(book->leases, 0);
    split(1, 2, 0);
    assert_ptr_equal(owner(0), new);
    assert_int_equal(lk_lease_owner(book, 0), 0); /* nothing is put into L1 */
    assert_true(until(0) == before);              /* hits go on */
    assert_int_equal(lk_leases_meetings(book->leases, 0), meetings + 1);
    assert_int_equal(lk_lease_covers_now(book, 0, X), LATCHKEY_UNAVAILABLE);

    lk_lease_confirm(old, (lk_partitions){(const unsigned[]){0}, 1}, before + 5, X, 7);
    assert_int_equal(lk_lease_owner(book, 0), 0);
    assert_true(until(0) == before);
    confirm(new, 0, Y);
    lk_lease_void(old, (lk_partitions){(const unsigned[]){0}, 1});
    assert_int_equal(lk_lease_owner(book, 0), Y);
    assert_int_equal(lk_lease_covers_now(book, 0, X), LK_OUTCOME_OTHER_SERVER);
}

static void test_B_what_was_ended_at_the_old_owner_is_made_again(void **state)
{
    (void)state;
    const char selector[] = "AAAAAAAAAAAAAAAAAAAA";
    split(1, 2, 4);
    atomic_store(&owner(0)->met, X);
    atomic_store(&owner(4)->met, Y);
    lk_source source = {X, lk_leases_meetings(book->leases, 0), false};
    assert_true(lk_book_remember(book, 0, selector, source));
    split(1, 2, 0);
    assert_false(lk_book_remember(book, 0, selector, source));
    source.meetings = lk_leases_meetings(book->leases, 0); /* sent after the change, and answered by the old one */
    assert_false(lk_book_remember(book, 0, selector, source));
    source.incarnation = Y;
    assert_true(lk_book_remember(book, 0, selector, source));
}

static void test_news_of_another_nodes_server_are_no_suspicion(void **state)
{
    (void)state;
    split(1, 2, 4);
    lk_node *old = owner(0), *new = owner(4);
    atomic_store(&old->met, X);
    split(1, 2, 0);
    confirm(new, 0, Y);
    lk_lease_suspect(book, 0, X); /* an answer of the old owner came late */
    assert_int_equal(atomic_load(&new->suspect), 0);
}

/* ------------------------------------------------------------------------------------------------- waiting -- */

typedef struct waiter {
    pthread_t thread;
    uint64_t seen;
    int status;
    bool moved;
} waiter;

static void *wait_for_lease(void *context)
{
    waiter *w = context;
    w->status = lk_lease_covers(book, 0, Y, lk_now_ms() + 60000);
    return NULL;
}

static void *wait_for_move(void *context)
{
    waiter *w = context;
    w->moved = lk_lease_moves(book, 0, Y, lk_now_ms() + 60000);
    return NULL;
}

static void *wait_for_change(void *context)
{
    waiter *w = context;
    lk_topology_await_change(topology, w->seen, lk_now_ms() + 60000);
    return NULL;
}

static void test_who_waits_goes_on_with_the_new_owner(void **state)
{
    (void)state;
    waiter lease, move, change;
    split(1, 2, 4);
    lk_node *new = owner(4);
    change.seen = lk_topology_version(topology);
    pthread_create(&lease.thread, NULL, wait_for_lease, &lease);
    pthread_create(&move.thread, NULL, wait_for_move, &move);
    pthread_create(&change.thread, NULL, wait_for_change, &change);
    pause_ms(20);
    split(1, 2, 0);
    pthread_join(change.thread, NULL);
    confirm(new, 0, Y);
    pthread_join(lease.thread, NULL);
    pthread_join(move.thread, NULL);
    assert_int_equal(lease.status, LATCHKEY_OK);
    assert_true(move.moved);
    assert_true(lk_topology_version(topology) != change.seen);
}

static void *wait_for_all(void *context)
{
    waiter *w = context;
    char error[160];
    w->status = lk_topology_wait(topology, lk_now_ms() + 60000, error, sizeof error);
    return NULL;
}

/* As at open: first for the map, then for each server. */
static void test_all_that_own_something_are_waited_for(void **state)
{
    (void)state;
    waiter w;
    pthread_create(&w.thread, NULL, wait_for_all, &w);
    pause_ms(10);
    split(1, 2, 4);
    lk_node *node[2] = {owner(0), owner(4)};
    for (int i = 0; i < 2; i++) {
        lk_link_host side = lk_node_side(node[i]);
        side.lease(side.context, (lk_partitions){(const unsigned[]){i ? 4 : 0}, 1}, lk_now_ms(), i ? Y : X, 0);
    }
    pthread_join(w.thread, NULL);
    assert_int_equal(w.status, LATCHKEY_OK);
}

/* -------------------------------------------------------------------------------------- what is left behind -- */

static void test_a_reused_token_is_passed_on(void **state)
{
    (void)state;
    lk_token token;
    lk_pending_item item = {.partition = 1};
    lk_touch touch;
    bool proven, found = false;
    lk_token_make(&config.check_keys, 0, &token);
    split(1, 2, 4);
    lk_node *old = owner(0), *new = owner(4);
    assert_true(lk_node_reused(old, &token));
    split(1, 2, 0);
    for (int64_t end = lk_now_ms() + 60000; !found && lk_now_ms() < end;) {
        pause_ms(1);
        found = lk_inbox_take(new->inbox, &item, &touch, &proven);
    }
    assert_true(found && proven);
    assert_int_equal(item.partition, 0);
    assert_memory_equal(item.selector, token.text, sizeof item.selector);
}

/* ------------------------------------------------------------------------------------------ many, and signs -- */

/* Addresses come and go for years, as those of pods do: no map is refused for that. */
static void test_G_more_servers_than_places_one_after_the_other(void **state)
{
    (void)state;
    lk_host host;
    char name[32];
    for (unsigned n = 1; n <= 2 * LK_NODES_MAX; n++) {
        split(n, n + 1, 4);
        for (unsigned p = 0; p < PARTITIONS; p += 4) {
            snprintf(name, sizeof name, "127.0.1.%u", p ? n + 1 : n);
            assert_true(lk_node_host(owner(p), &host));
            assert_string_equal(host.name, name);
        }
    }
    assert_int_equal(atomic_load(&topology->nodes), LK_NODES_MAX);
}

static void test_a_sign_keeps_what_names_a_server(void **state)
{
    (void)state;
    lk_sign sign;
    while (lk_topology_signed(topology, &sign)) continue;
    lk_node *node = lk_topology_node(topology, 0);
    lk_topology_sign(topology, node, "MOVED 5 h:1");
    lk_topology_sign(topology, NULL, "");
    assert_true(lk_topology_signed(topology, &sign));
    assert_ptr_equal(sign.from, node);
    assert_string_equal(sign.text, "MOVED 5 h:1");
    assert_false(lk_topology_signed(topology, &sign));
    lk_topology_sign(topology, NULL, "");
    assert_true(lk_topology_signed(topology, &sign));
    assert_null(sign.from);
    assert_string_equal(sign.text, "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_before_the_map_nothing_is_served),
        TEST(test_a_map_gives_each_partition_to_its_server),
        TEST(test_what_no_server_has_keeps_its_owner),
        TEST(test_C_a_slot_that_was_moved_as_a_whole),
        TEST(test_C_an_owner_that_was_replaced_writes_nothing),
        TEST(test_B_what_was_ended_at_the_old_owner_is_made_again),
        TEST(test_news_of_another_nodes_server_are_no_suspicion),
        TEST(test_who_waits_goes_on_with_the_new_owner),
        TEST(test_all_that_own_something_are_waited_for),
        TEST(test_a_reused_token_is_passed_on),
        TEST(test_G_more_servers_than_places_one_after_the_other),
        TEST(test_a_sign_keeps_what_names_a_server),
    };
    return cmocka_run_group_tests_name("topology", tests, unit_setup, NULL);
}
