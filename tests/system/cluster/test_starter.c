/* SPDX-License-Identifier: MIT
 *
 * tests/support/cluster.h itself: the other tests of clusters rest on what it says.
 */
#include "cluster.h"

#include <stdio.h>
#include <string.h>

static void answers(redis *at, const char *beginning, const char *command)
{
    redisReply *reply = redis_command(at, command);
    if (reply->type != REDIS_REPLY_ERROR) fail_msg("%s: no error", command);
    if (strncmp(reply->str, beginning, strlen(beginning)) != 0) fail_msg("%s: %s", command, reply->str);
    freeReplyObject(reply);
}

static void spread_moved_and_given_up(void **state)
{
    (void)state;
    cluster *c = cluster_start(&(cluster_plan){.primaries = 3});
    assert_int_equal(cluster_owner(c, 0), 0);
    assert_int_equal(cluster_owner(c, CLUSTER_SLOTS / 2), 1);
    assert_int_equal(cluster_owner(c, CLUSTER_SLOTS - 1), 2);

    int slot = cluster_slot(c, 5), from = cluster_owner(c, slot), to = (from + 1) % 3;
    redis_do(c->node[from], "SET {5}:a 1");
    redis_do(c->node[from], "SET {5}:b 2");
    answers(c->node[to], "MOVED ", "GET {5}:a");
    cluster_move_begin(c, slot, from, to);
    cluster_move_key(c, "{5}:a", from, to);
    answers(c->node[from], "ASK ", "GET {5}:a");
    answers(c->node[from], "TRYAGAIN ", "MGET {5}:a {5}:b");
    cluster_move_give_up(c, slot, from, to);
    assert_int_equal(redis_integer(c->node[from], "GET {5}:a"), 1);

    cluster_move_begin(c, slot, from, to);
    assert_int_equal(cluster_move_keys(c, slot, from, to, 1), 1);
    cluster_move_finish(c, slot, from, to);
    answers(c->node[from], "MOVED ", "GET {5}:a");
    assert_int_equal(redis_integer(c->node[to], "GET {5}:a"), 1);
    assert_int_equal(redis_integer(c->node[to], "GET {5}:b"), 2);
    cluster_move_slot(c, slot, from);
    assert_int_equal(redis_integer(c->node[from], "GET {5}:b"), 2);
    cluster_end(c);
}

static void added_and_emptied(void **state)
{
    (void)state;
    const int first[] = {0, 8000, 16380};
    cluster *c = cluster_start(&(cluster_plan){.primaries = 3, .first = first});
    assert_int_equal(cluster_owner(c, 16379), 1);
    assert_int_equal(cluster_owner(c, 16380), 2);
    int added = cluster_add(c);
    assert_int_equal(added, 3);
    cluster_move_slot(c, 100, added);
    assert_int_equal(cluster_owner(c, 100), added);
    cluster_move_all(c, 2, 0);
    assert_int_equal(cluster_owner(c, 16383), 0);
    wait_for(!cluster_is_primary(c, 2));
    cluster_end(c);
}

static void failed_over(void **state)
{
    (void)state;
    cluster *c = cluster_start(&(cluster_plan){.primaries = 3, .replicas = 1, .node_timeout_ms = 2000, .partial = 1});
    redis_do(c->node[0], "SET {06S} 1"); /* slot 0 */
    assert_false(cluster_is_primary(c, 3));
    cluster_failover(c, 3, "");
    assert_int_equal(cluster_owner(c, 0), 3);
    wait_for(!cluster_is_primary(c, 0));
    wait_for(redis_info(c->node[3], "replication", "connected_slaves") == 1);
    cluster_kill(c, 3);
    cluster_await_owner(c, 0, 0);
    assert_int_equal(redis_integer(c->node[0], "GET {06S}"), 1);
    cluster_boot(c, 3);
    wait_for(!cluster_is_primary(c, 3));
    cluster_freeze(c, 1);
    cluster_await_owner(c, CLUSTER_SLOTS / 2, 4);
    cluster_thaw(c, 1);
    wait_for(!cluster_is_primary(c, 1));
    cluster_end(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spread_moved_and_given_up),
        cmocka_unit_test(added_and_emptied),
        cmocka_unit_test(failed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
