/* SPDX-License-Identifier: MIT
 *
 * A node of another cluster comes to the address of one of this cluster, or is listed in the URL: neither its map nor its
 * answers are taken (A, C, D). And what is no stranger is followed: a node that lost its disk, and nodes that were all
 * replaced, one after the other. All on real clusters.
 */
#include "logbook.h"
#include "nodes_kit.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define OPTIONS "staleness_ms=1000&l1_capacity=0&deadline_ms=300"

enum { PARTITIONS = 64 };

static const char *const durable[] = {"--appendonly", "yes", "--appendfsync", "always", NULL};

/* A session in each partition. */
typedef struct sessions {
    char token[PARTITIONS][LATCHKEY_TOKEN_SIZE];
} sessions;

static void fill(latchkey *lk, sessions *all)
{
    char one[LATCHKEY_TOKEN_SIZE];
    memset(all, 0, sizeof *all);
    for (uint64_t user = 1, found = 0; found < PARTITIONS; user++) {
        make_session(lk, user, one);
        found += !all->token[token_partition(one)][0];
        memcpy(all->token[token_partition(one)], one, sizeof one);
    }
}

static void comes_back(latchkey *lk, const char *token)
{
    int status = LATCHKEY_UNAVAILABLE;
    for (int64_t until_ms = check_now_ms() + CHECK_PATIENCE_MS; status == LATCHKEY_UNAVAILABLE;) {
        assert_true(check_now_ms() < until_ms);
        status = validate(lk, token);
    }
    assert_status(lk, LATCHKEY_OK, status);
}

static int login(latchkey *lk, uint64_t user_id)
{
    char token[LATCHKEY_TOKEN_SIZE];
    latchkey_draft draft = {.size = sizeof draft, .user_id = user_id, .role = "user"};
    return latchkey_create(lk, &draft, token);
}

/* The server with what it knows of its own cluster, at another's address. */
static void take_address(redis *taker, const redis *of)
{
    redis_kill(taker);
    taker->port = of->port;
    redis_boot(taker);
}

static int is_away(latchkey *lk, const char *token) { return validate(lk, token) == LATCHKEY_UNAVAILABLE; }

/* Once a stranger has been there, the others do not name the address any more. */
static int has_gone(cluster *c, unsigned partition, int gone)
{
    int owner = cluster_owner(c, cluster_slot(c, partition));
    return owner == gone || owner < 0;
}

/* What is gone takes a deadline, so not all of it is asked for. */
static void goes_on_without(cluster *c, latchkey *lk, const sessions *all, int gone)
{
    int away = 0;
    for (unsigned p = 0; p < PARTITIONS; p++) {
        if (!has_gone(c, p, gone)) assert_status(lk, LATCHKEY_OK, validate(lk, all->token[p]));
        else if (away++ < 3) assert_status(lk, LATCHKEY_UNAVAILABLE, validate(lk, all->token[p]));
    }
}

/* `taker` of the other cluster has the same slots as the node that is gone, or others. */
static void a_stranger_comes(int gone, int taker)
{
    static sessions all;
    cluster *ours =
        cluster_start(&(cluster_plan){.primaries = 3, .node_timeout_ms = 2000, .partial = 1, .arguments = durable});
    cluster *theirs = cluster_start(&(cluster_plan){.primaries = 3, .node_timeout_ms = 2000, .partial = 1});
    latchkey *lk = cluster_open(ours, OPTIONS);
    fill(lk, &all);
    logbook_open();
    int old_port = theirs->node[taker]->port;
    unsigned lost = 0;
    while (cluster_owner(ours, cluster_slot(ours, lost)) != gone) lost++;
    uint64_t user = user_on(ours, lk, gone, 1);
    cluster_kill(ours, gone);
    take_address(theirs->node[taker], ours->node[gone]);
    cluster_await(theirs);
    wait_for(is_away(lk, all.token[lost]));
    wait_for(redis_calls(theirs->node[taker], "cluster|myid") > 0); /* it was met, */
    for (int64_t until_ms = check_now_ms() + 2500; check_now_ms() < until_ms;) goes_on_without(ours, lk, &all, gone);
    assert_status(lk, LATCHKEY_UNAVAILABLE, login(lk, user));
    for (int i = 0; i < 3; i++) assert_int_equal(redis_count_keys(theirs->node[i], "lk:*"), 0); /* and given nothing */
    assert_true(logbook_has("another node of a cluster is at this address"));
    /* The URL lists it. */
    char error[512], config[1024];
    latchkey *other = NULL;
    cluster_config(ours, "deadline_ms=10000", config, sizeof config);
    /* The others name that address, so it may be left unasked; then the link finds out. */
    int status = latchkey_open(config, &other, error, sizeof error);
    if (status) assert_true(status == LATCHKEY_CONFIG || status == LATCHKEY_UNAVAILABLE);
    else goes_on_without(ours, other, &all, gone);
    latchkey_close(other);
    /* The address is ours again. */
    redis_kill(theirs->node[taker]);
    theirs->node[taker]->port = old_port;
    redis_boot(ours->node[gone]);
    wait_for(!redis_info(ours->node[gone], "persistence", "loading"));
    cluster_await(ours);
    for (unsigned p = 0; p < PARTITIONS; p++) comes_back(lk, all.token[p]);
    logbook_close();
    handle_close_all(NULL);
    cluster_end(theirs);
    cluster_end(ours);
}

static void test_a_stranger_with_the_same_slots(void **state)
{
    (void)state;
    a_stranger_comes(0, 0);
}

static void test_a_stranger_with_other_slots(void **state)
{
    (void)state;
    a_stranger_comes(1, 0);
}

/* Every host of the URL is asked. */
static void test_the_url_lists_two_clusters(void **state)
{
    (void)state;
    char config[512], error[512], a[48], b[48];
    latchkey *lk = NULL;
    cluster *ours = cluster_start(&(cluster_plan){.primaries = 2, .node_timeout_ms = 2000}),
            *theirs = cluster_start(&(cluster_plan){.primaries = 1});
    snprintf(a, sizeof a, "127.0.0.1:%d", ours->node[1]->port);
    snprintf(b, sizeof b, "127.0.0.1:%d", theirs->node[0]->port);
    snprintf(config, sizeof config, "redis+cluster://%s,%s?deadline_ms=10000", a, b);
    for (int i = 0; i < 4; i++) { /* whichever is asked first */
        assert_status(NULL, LATCHKEY_CONFIG, latchkey_open(config, &lk, error, sizeof error));
        assert_contains(error, "different clusters");
        assert_contains(error, a);
        assert_contains(error, b);
    }
    /* One that is in no cluster yet is nothing to stumble over. */
    redis *fresh = redis_start("--cluster-enabled", "yes");
    snprintf(config, sizeof config, "redis+cluster://%s,127.0.0.1:%d?deadline_ms=10000", a, fresh->port);
    assert_status(NULL, LATCHKEY_OK, login(handle_open_config(config), 1));
    handle_close_all(NULL);
    redis_end(fresh);
    cluster_end(theirs);
    cluster_end(ours);
}

/* It comes back at its address without nodes.conf: as another node, which the others do not know yet. */
static void test_a_node_loses_its_disk(void **state)
{
    (void)state;
    static sessions all;
    char file[128];
    cluster *c = cluster_start(&(cluster_plan){.primaries = 3, .node_timeout_ms = 2000, .partial = 1});
    latchkey *lk = cluster_open(c, OPTIONS);
    fill(lk, &all);
    cluster_kill(c, 1);
    snprintf(file, sizeof file, "%s/nodes.conf", c->node[1]->dir);
    assert_int_equal(unlink(file), 0);
    redis_boot(c->node[1]);
    for (int64_t until_ms = check_now_ms() + 1500; check_now_ms() < until_ms;) {
        for (unsigned p = 0; p < PARTITIONS; p += 7) {
            int status = validate(lk, all.token[p]);
            if (status) assert_int_equal(status, LATCHKEY_UNAVAILABLE);
        }
    }
    /* Now it takes its own place. */
    for (int i = 0; i < 3; i += 2) redis_do(c->node[i], "CLUSTER FORGET %s", c->id[1]);
    redis_text(c->node[1], c->id[1], sizeof c->id[1], "CLUSTER MYID");
    redis_do(c->node[1], "CLUSTER ADDSLOTSRANGE %d %d", CLUSTER_SLOTS / 3, 2 * CLUSTER_SLOTS / 3 - 1);
    for (int i = 0; i < 3; i += 2) redis_do(c->node[1], "CLUSTER MEET 127.0.0.1 %d", c->node[i]->port);
    cluster_await(c);
    uint64_t user = user_on(c, lk, 1, 1);
    int status = LATCHKEY_UNAVAILABLE;
    wait_for((status = login(lk, user)) != LATCHKEY_UNAVAILABLE);
    assert_status(lk, LATCHKEY_OK, status);
    for (unsigned p = 0; p < PARTITIONS; p++) {
        int lost = cluster_owner(c, cluster_slot(c, p)) == 1;
        assert_status(lk, lost ? LATCHKEY_NOT_FOUND : LATCHKEY_OK, validate(lk, all.token[p]));
    }
    handle_close_all(NULL);
    cluster_end(c);
}

static int is_known(cluster *c, int node)
{
    for (int i = 0; i < c->count; i++) {
        redisReply *reply = redis_command(c->node[i], "CLUSTER NODES");
        int known = reply->str && !strstr(reply->str, "handshake") && strstr(reply->str, c->id[node]);
        freeReplyObject(reply);
        if (!known) return 0;
    }
    return 1;
}

static int follows(redis *replica)
{
    char text[4096];
    redis_text(replica, text, sizeof text, "INFO replication");
    return strstr(text, "master_link_status:up") != NULL;
}

/* Gets another id, and is a replica of that node as before. */
static void rename_replica(cluster *c, int replica, int primary)
{
    redis_do(c->node[replica], "CLUSTER RESET HARD");
    for (int i = 0; i < c->count; i++)
        if (i != replica) redis_do(c->node[i], "CLUSTER FORGET %s", c->id[replica]);
    redis_text(c->node[replica], c->id[replica], sizeof c->id[replica], "CLUSTER MYID");
    for (int i = 0; i < c->count; i++)
        if (i != replica) redis_do(c->node[replica], "CLUSTER MEET 127.0.0.1 %d", c->node[i]->port);
    wait_for(is_known(c, replica));
    redis_do(c->node[replica], "CLUSTER REPLICATE %s", c->id[primary]);
    wait_for(follows(c->node[replica]));
}

static void test_all_nodes_get_other_ids(void **state)
{
    (void)state;
    static sessions all;
    cluster *c = cluster_start(&(cluster_plan){.primaries = 2, .replicas = 1, .node_timeout_ms = 2000});
    latchkey *lk = cluster_open(c, OPTIONS);
    fill(lk, &all);
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 2; i++) {
            int replica = round ? i : 2 + i, primary = round ? 2 + i : i;
            rename_replica(c, replica, primary);
            wait_for(redis_integer(c->node[primary], "WAIT 1 100") == 1);
            cluster_failover(c, replica, "TAKEOVER");
            wait_for(follows(c->node[primary]));
            for (unsigned p = 0; p < PARTITIONS; p++) comes_back(lk, all.token[p]);
        }
    handle_close_all(NULL);
    cluster_end(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_stranger_with_the_same_slots), cmocka_unit_test(test_a_stranger_with_other_slots),
        cmocka_unit_test(test_the_url_lists_two_clusters),     cmocka_unit_test(test_a_node_loses_its_disk),
        cmocka_unit_test(test_all_nodes_get_other_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
