/* SPDX-License-Identifier: MIT
 *
 * What goes over a cluster's sharded channels: revocations arrive as they are made, and not with the next beat; each
 * instance says its numbers on one channel; and a node may have more partitions than a connection takes questions at
 * once. (Guarantee C.)
 */
#include "cluster.h"
#include "test_handle.h"

#include <stdio.h>
#include <string.h>

static cluster *nodes;

static int nodes_start(void **state)
{
    (void)state;
    nodes = cluster_start(&(cluster_plan){.primaries = 3});
    return 0;
}

static int nodes_end(void **state)
{
    (void)state;
    cluster_end(nodes);
    return 0;
}

static int in_l1(latchkey *lk, const char *token) { return try_validate(lk, token) == LATCHKEY_OK; }

/* From each of the nodes; what a beat finds is counted as missed. */
static void test_C_revocations_are_heard(void **state)
{
    (void)state;
    latchkey *lk = cluster_open(nodes, "staleness_ms=60000"), *other = cluster_open(nodes, "staleness_ms=60000");
    int seen[3] = {0, 0, 0};
    for (uint64_t user = 1; !seen[0] || !seen[1] || !seen[2]; user++) {
        char token[LATCHKEY_TOKEN_SIZE];
        make_session(lk, user, token);
        warm(other, token);
        assert_status(lk, LATCHKEY_OK, end_session(lk, token));
        wait_for(!in_l1(other, token));
        assert_status(other, LATCHKEY_NOT_FOUND, validate(other, token));
        seen[cluster_owner(nodes, cluster_slot(nodes, token_partition(token)))] = 1;
    }
    assert_int_equal(stats_of(other).missed, 0);
    for (int i = 0; i < 3; i++) assert_int_equal(redis_calls(nodes->node[i], "publish"), 0);
}

/* Redis does not say which of the two is missing, +spublish or the channels: the text has both. */
static void test_missing_channels_are_named(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE], text[256];
    latchkey *lk = cluster_open(nodes, "staleness_ms=60000");
    make_session(lk, 1, token);
    for (int i = 0; i < 3; i++) redis_do(nodes->node[i], "ACL SETUSER default resetchannels");
    assert_status(lk, LATCHKEY_PENDING, end_session(lk, token));
    latchkey_error_text(lk, text, sizeof text);
    assert_contains(text, "may not use our channels (-NOPERM of spublish)");
    for (int i = 0; i < 3; i++) redis_do(nodes->node[i], "ACL SETUSER default allchannels");
    wait_for(stats_of(lk).pending == 0);
}

/* After a move the new owner's messages are heard. What the instance had there before stays in L1. */
static void test_C_the_new_owners_messages_are_heard(void **state)
{
    (void)state;
    latchkey *lk = cluster_open(nodes, ""), *other = cluster_open(nodes, "");
    char moved[LATCHKEY_TOKEN_SIZE], stays[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 1, moved);
    int slot = cluster_slot(nodes, token_partition(moved)), from = cluster_owner(nodes, slot), to = (from + 1) % 3;
    uint64_t user = 1;
    do make_session(lk, ++user, stays);
    while (cluster_owner(nodes, cluster_slot(nodes, token_partition(stays))) != to);
    warm(other, moved);
    warm(other, stays);
    cluster_move_slot(nodes, slot, to);
    warm(other, moved); /* the new owner has the lease */
    assert_int_equal(try_validate(other, stays), LATCHKEY_OK);
    wait_for(end_session(lk, moved) >= LATCHKEY_OK);
    wait_for(!in_l1(other, moved));
    wait_for(validate(other, moved) == LATCHKEY_NOT_FOUND);
    assert_status(lk, LATCHKEY_OK, end_session(lk, stays));
    wait_for(!in_l1(other, stays));
    cluster_move_slot(nodes, slot, from);
    wait_for(validate(other, moved) == LATCHKEY_NOT_FOUND);
}

static void test_pulses_are_on_one_channel(void **state)
{
    (void)state;
    const struct timeval patience = {.tv_sec = CHECK_PATIENCE_MS / 1000};
    int owner = cluster_owner(nodes, cluster_slot(nodes, 0));
    redisContext *ear = redisConnectWithTimeout("127.0.0.1", nodes->node[owner]->port, patience);
    assert_non_null(ear);
    redisSetTimeout(ear, patience);
    redisReply *reply = redisCommand(ear, "SSUBSCRIBE lk:{0}:pulse");
    assert_non_null(reply);
    freeReplyObject(reply);
    latchkey *one = cluster_open(nodes, "name=one&staleness_ms=2000"),
             *two = cluster_open(nodes, "name=two&staleness_ms=2000");
    assert_true(one && two);
    char named[2][17] = {"", ""};
    while (!*named[0] || !*named[1]) {
        assert_int_equal(redisGetReply(ear, (void **)&reply), REDIS_OK);
        assert_string_equal(reply->element[0]->str, "smessage");
        const char *text = reply->element[2]->str;
        int which = strstr(text, " name=two") != NULL;
        assert_true(which || strstr(text, " name=one"));
        assert_int_equal(strspn(text, "0123456789abcdef"), 16);
        assert_int_equal(strncmp(text + 16, " v=", 3), 0);
        if (*named[which]) assert_int_equal(strncmp(named[which], text, 16), 0);
        snprintf(named[which], sizeof named[which], "%.16s", text);
        freeReplyObject(reply);
    }
    assert_string_not_equal(named[0], named[1]);
    redisFree(ear);
}

/* More than a connection takes at once (conn.h). */
static void test_thousands_of_partitions(void **state)
{
    (void)state;
    cluster *c = cluster_start(&(cluster_plan){.primaries = 1});
    latchkey *lk = cluster_open(c, "partitions=4096&deadline_ms=60000"),
             *other = cluster_open(c, "partitions=4096&deadline_ms=60000");
    for (uint64_t user = 1; user <= 20; user++) {
        char token[LATCHKEY_TOKEN_SIZE];
        make_session(lk, user, token);
        warm(other, token);
        assert_status(lk, LATCHKEY_OK, end_session(lk, token));
        wait_for(!in_l1(other, token));
    }
    handle_close(lk);
    handle_close(other);
    cluster_end(c);
}

#define ON_NODES(name) cmocka_unit_test_teardown(name, handle_close_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_NODES(test_C_revocations_are_heard),
        ON_NODES(test_missing_channels_are_named),
        ON_NODES(test_C_the_new_owners_messages_are_heard),
        ON_NODES(test_pulses_are_on_one_channel),
        ON_NODES(test_thousands_of_partitions),
    };
    return cmocka_run_group_tests(tests, nodes_start, nodes_end);
}
