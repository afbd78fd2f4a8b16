/* SPDX-License-Identifier: MIT
 *
 * An instance is started while a node of the cluster is away, whichever it is: the others serve (A, G). And no instance
 * with another number of partitions gets in, although a node has lost all that it had.
 */
#include "logbook.h"
#include "nodes_kit.h"

#include <stdio.h>
#include <string.h>

#define OPTIONS "staleness_ms=1000&deadline_ms=2000"

enum { PARTITIONS = 64 };

static cluster *c;

static int start(void **state)
{
    (void)state;
    c = cluster_start(&(cluster_plan){.primaries = 3, .node_timeout_ms = 2000, .partial = 1});
    return 0;
}

static int end(void **state)
{
    (void)state;
    handle_close_all(NULL);
    cluster_end(c);
    return 0;
}

static int open_status(const char *options, char error[512])
{
    char config[1024];
    latchkey *lk = NULL;
    cluster_config(c, options, config, sizeof config);
    int status = latchkey_open(config, &lk, error, 512);
    latchkey_close(lk);
    return status;
}

static int login(latchkey *lk, uint64_t user_id, char token[LATCHKEY_TOKEN_SIZE])
{
    latchkey_draft draft = {.size = sizeof draft, .user_id = user_id, .role = "user"};
    return latchkey_create(lk, &draft, token);
}

/* Of some token of another store whose name is not at the node that is away. */
static int import_one(const char *options, uint64_t user_id)
{
    latchkey *lk = cluster_open(c, options);
    const latchkey_draft draft = {.size = sizeof draft, .user_id = user_id, .role = "user"};
    int status = LATCHKEY_UNAVAILABLE;
    static unsigned number;
    for (int i = 0; i < 30 && status == LATCHKEY_UNAVAILABLE; i++) {
        char foreign[64];
        latchkey_entry entry;
        int size = snprintf(foreign, sizeof foreign, "another-store-%08x", number++);
        status = latchkey_import(lk, foreign, (size_t)size, &draft, 0, 0);
        if (status == LATCHKEY_OK) assert_status(lk, LATCHKEY_OK, latchkey_validate(lk, foreign, (size_t)size, &entry));
    }
    handle_close(lk);
    return status;
}

/* Every partition is told the number soon after it is known. */
static void await_records(void)
{
    for (unsigned p = 0; p < PARTITIONS; p++) {
        redis *owner = c->node[cluster_owner(c, cluster_slot(c, p))];
        wait_for(redis_integer(owner, "HGET lk:{%u}:m partitions", p) == PARTITIONS);
    }
}

static void test_any_node_may_be_away(void **state)
{
    (void)state;
    char token[3][LATCHKEY_TOKEN_SIZE], error[512], at[64];
    uint64_t user[3];
    latchkey *lk = cluster_open(c, OPTIONS);
    for (int i = 0; i < 3; i++) {
        user[i] = user_on(c, lk, i, 1);
        make_session(lk, user[i], token[i]);
    }
    await_records();
    for (int away = 0; away < 3; away++) {
        snprintf(at, sizeof at, "127.0.0.1:%d", c->node[away]->port);
        cluster_freeze(c, away);
        logbook_open();
        latchkey *other = cluster_open(c, OPTIONS);
        assert_true(logbook_has("partitions have no server that can be used"));
        assert_true(logbook_has(at));
        logbook_close();
        for (int i = 0; i < 3; i++) {
            assert_status(other, i == away ? LATCHKEY_UNAVAILABLE : LATCHKEY_OK, validate(other, token[i]));
            if (i == away) continue;
            char fresh[LATCHKEY_TOKEN_SIZE];
            assert_status(other, LATCHKEY_OK, login(other, user[i], fresh));
            assert_status(other, LATCHKEY_OK, end_session(other, fresh));
        }
        /* Tokens of another store move in where both of their partitions are served, until they are not taken any more. */
        uint64_t other_user = user[(away + 1) % 3];
        assert_status(other, LATCHKEY_OK, import_one(OPTIONS "&foreign_until_ms=4102444800000", other_user));
        assert_status(other, LATCHKEY_MALFORMED, import_one(OPTIONS "&foreign_until_ms=1600000000000", other_user));
        /* Not with another number, also while the node of partition 0 is the one that is away. */
        assert_status(NULL, LATCHKEY_CONFIG, open_status(OPTIONS "&partitions=32", error));
        assert_contains(error, "64 partitions");
        assert_contains(error, "node 127.0.0.1:");
        cluster_thaw(c, away);
        wait_for(validate(other, token[away]) == LATCHKEY_OK); /* it comes to serve all */
        handle_close(other);
    }
    /* Two of three are too many. */
    cluster_freeze(c, 0), cluster_freeze(c, 1);
    assert_status(NULL, LATCHKEY_UNAVAILABLE, open_status("deadline_ms=1000", error));
    assert_contains(error, "node 127.0.0.1:");
    cluster_thaw(c, 0), cluster_thaw(c, 1);
    cluster_await(c);
}

static void test_a_node_has_lost_its_keys(void **state)
{
    (void)state;
    char error[512];
    latchkey *lk = cluster_open(c, OPTIONS);
    await_records();
    handle_close(lk);
    for (int i = 0; i < 3; i++) {
        redis_do(c->node[i], "FLUSHALL");
        assert_status(NULL, LATCHKEY_CONFIG, open_status("deadline_ms=10000&partitions=32", error));
        assert_contains(error, "64 partitions");
        handle_close(cluster_open(c, OPTIONS));
        await_records(); /* by the others' word */
    }
    /* All of them: with an instance that lives, the number stays. */
    lk = cluster_open(c, OPTIONS);
    char token[LATCHKEY_TOKEN_SIZE];
    for (int i = 0; i < 3; i++) {
        make_session(lk, user_on(c, lk, i, 1), token);
        assert_status(lk, LATCHKEY_OK, end_session(lk, token));
    }
    flush_nodes(c);
    await_records();
    assert_status(NULL, LATCHKEY_CONFIG, open_status("deadline_ms=10000&partitions=32", error));
    handle_close_all(NULL);
    flush_nodes(c);
    assert_status(NULL, LATCHKEY_OK, open_status("deadline_ms=10000&partitions=32", error));
    flush_nodes(c);
}

/* Nothing was recorded yet: then no node may be away. */
static void test_the_first_instance_asks_all(void **state)
{
    (void)state;
    char error[512];
    flush_nodes(c);
    int zero = cluster_owner(c, cluster_slot(c, 0)), other = (zero + 1) % 3;
    cluster_freeze(c, other);
    assert_status(NULL, LATCHKEY_UNAVAILABLE, open_status("deadline_ms=1500", error));
    assert_int_equal(redis_count_keys(c->node[zero], "lk:*"), 0);
    cluster_thaw(c, other);
    cluster_await(c);
    handle_close(cluster_open(c, OPTIONS));
    assert_int_equal(redis_integer(c->node[zero], "HGET lk:{0}:m partitions"), PARTITIONS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_any_node_may_be_away, handle_close_all),
        cmocka_unit_test_teardown(test_a_node_has_lost_its_keys, handle_close_all),
        cmocka_unit_test_teardown(test_the_first_instance_asks_all, handle_close_all),
    };
    return cmocka_run_group_tests(tests, start, end);
}
