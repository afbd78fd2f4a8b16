/* SPDX-License-Identifier: MIT
 *
 * A handle on a real cluster finds the primary of each partition, and follows it: a slot that moves, a primary that is
 * added, one that is emptied, one that dies. And it says why it cannot. (Guarantees C and F.)
 */
#include "cluster.h"
#include "pki.h"
#include "test_net.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Beats come often, so that what a test waits for comes soon. */
#define OPTIONS "staleness_ms=2000&l1_capacity=0"

static int open_status(const char *config, char error[512])
{
    latchkey *lk = NULL;
    int status = latchkey_open(config, &lk, error, 512);
    latchkey_close(lk);
    return status;
}

/* A session of that partition. */
static void session_in(latchkey *lk, unsigned partition, char token[LATCHKEY_TOKEN_SIZE])
{
    for (uint64_t user = 1; user < 100000; user++) {
        make_session(lk, user, token);
        if (token_partition(token) == partition) return;
    }
    fail_msg("no user is in partition %u", partition);
}

/* Is it held by this node? */
static int is_at(cluster *c, int node, const char *token)
{
    char key[128];
    return *session_key(c->node[node], token, key) != 0;
}

/* Redis may refuse for a while, and then has to answer. */
static void comes_back(latchkey *lk, const char *token)
{
    int status = LATCHKEY_UNAVAILABLE;
    for (int64_t until_ms = check_now_ms() + CHECK_PATIENCE_MS; status == LATCHKEY_UNAVAILABLE;) {
        assert_true(check_now_ms() < until_ms);
        status = validate(lk, token);
    }
    assert_status(lk, LATCHKEY_OK, status);
}

static void test_every_partition_has_its_primary(void **state)
{
    (void)state;
    char token[64][LATCHKEY_TOKEN_SIZE], one[LATCHKEY_TOKEN_SIZE];
    cluster *c = cluster_start(&(cluster_plan){.primaries = 3});
    latchkey *lk = cluster_open(c, OPTIONS);
    memset(token, 0, sizeof token);
    for (uint64_t user = 1, found = 0; found < 64; user++) {
        make_session(lk, user, one);
        found += !token[token_partition(one)][0];
        memcpy(token[token_partition(one)], one, sizeof one);
    }
    for (unsigned p = 0; p < 64; p++) {
        assert_status(lk, LATCHKEY_OK, validate(lk, token[p]));
        assert_true(is_at(c, cluster_owner(c, cluster_slot(c, p)), token[p]));
    }
    for (unsigned p = 0; p < 64; p += 7) {
        assert_status(lk, LATCHKEY_OK, end_session(lk, token[p]));
        assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, token[p]));
    }
    /* A handle that is told of one node alone finds the others. */
    char config[256];
    snprintf(config, sizeof config, "redis+cluster://127.0.0.1:%d?deadline_ms=10000", c->node[2]->port);
    latchkey *other = handle_open_config(config);
    for (unsigned p = 1; p < 64; p += 7) assert_status(other, LATCHKEY_OK, validate(other, token[p]));
    assert_string_equal(stats_of(other).last_error, "");
    handle_close_all(NULL);
    cluster_end(c);
}

static void test_a_slot_moves(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE], later[LATCHKEY_TOKEN_SIZE];
    cluster *c = cluster_start(&(cluster_plan){.primaries = 3});
    latchkey *lk = cluster_open(c, OPTIONS);
    session_in(lk, 5, token);
    int slot = cluster_slot(c, 5), from = cluster_owner(c, slot);
    for (int i = 1; i <= 3; i++) { /* there, on, and back */
        int to = (from + i) % 3;
        cluster_move_slot(c, slot, to);
        comes_back(lk, token);
        assert_true(is_at(c, to, token));
        session_in(lk, 5, later);
        assert_true(is_at(c, to, later));
        assert_status(lk, LATCHKEY_OK, end_session(lk, later));
        assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, later));
    }
    assert_status(lk, LATCHKEY_OK, end_session(lk, token));
    handle_close_all(NULL);
    cluster_end(c);
}

/* A primary that was not there at open; and one that has nothing left, is a replica then, and still answers. */
static void test_a_primary_comes_and_one_goes(void **state)
{
    (void)state;
    enum { LAST = 16300 }; /* no partition is in the slots from there on */
    const int first[] = {0, 8000, LAST};
    char token[LATCHKEY_TOKEN_SIZE], emptied[LATCHKEY_TOKEN_SIZE];
    cluster *c = cluster_start(&(cluster_plan){.primaries = 3, .first = first});
    int slot = cluster_slot(c, 5);
    cluster_move_slot(c, cluster_slot(c, 9), 2); /* its only one */
    latchkey *lk = cluster_open(c, OPTIONS);
    session_in(lk, 5, token);
    session_in(lk, 9, emptied);
    int added = cluster_add(c);
    cluster_move_slot(c, slot, added);
    comes_back(lk, token);
    assert_true(is_at(c, added, token));
    cluster_move_all(c, 2, 0);
    wait_for(!cluster_is_primary(c, 2));
    comes_back(lk, emptied);
    assert_status(lk, LATCHKEY_OK, end_session(lk, emptied));
    assert_status(lk, LATCHKEY_NOT_FOUND, validate(lk, emptied));
    assert_status(lk, LATCHKEY_OK, validate(lk, token));
    handle_close_all(NULL);
    cluster_end(c);
}

static void test_a_primary_dies(void **state)
{
    (void)state;
    char token[LATCHKEY_TOKEN_SIZE], other[LATCHKEY_TOKEN_SIZE];
    cluster *c = cluster_start(&(cluster_plan){.primaries = 3, .replicas = 1, .node_timeout_ms = 1500, .partial = 1});
    int slot = cluster_slot(c, 5), owner = cluster_owner(c, slot);
    unsigned away = 6;
    while (cluster_owner(c, cluster_slot(c, away)) == owner) away++;
    latchkey *lk = cluster_open(c, OPTIONS);
    session_in(lk, 5, token);
    session_in(lk, away, other);
    wait_for(redis_integer(c->node[owner], "WAIT 1 100") == 1); /* the replica has it */
    cluster_kill(c, owner);
    assert_status(lk, LATCHKEY_OK, validate(lk, other)); /* the others go on meanwhile */
    comes_back(lk, token);
    assert_true(is_at(c, owner + 3, token));
    /* And back by order, when it is there again. */
    cluster_boot(c, owner);
    wait_for(!cluster_is_primary(c, owner));
    wait_for(redis_integer(c->node[owner + 3], "WAIT 1 100") == 1);
    cluster_failover(c, owner, "");
    comes_back(lk, token);
    session_in(lk, 5, other);
    assert_true(is_at(c, owner, other));
    handle_close_all(NULL);
    cluster_end(c);
}

static void test_hosts_of_the_url(void **state)
{
    (void)state;
    char config[512], error[512], token[LATCHKEY_TOKEN_SIZE];
    cluster *c = cluster_start(&(cluster_plan){.primaries = 3, .replicas = 1});
    /* One is enough, also a replica, also by name. */
    const struct {
        const char *host;
        int port;
    } rows[] = {{"127.0.0.1", c->node[1]->port}, {"127.0.0.1", c->node[5]->port}, {"localhost", c->node[0]->port}};
    for (int i = 0; i < 3; i++) {
        snprintf(config, sizeof config, "redis+cluster://127.0.0.1:%d,%s:%d?deadline_ms=10000", net_refusing(),
                 rows[i].host, rows[i].port);
        latchkey *lk = handle_open_config(config);
        make_session(lk, 1, token);
        assert_status(lk, LATCHKEY_OK, validate(lk, token));
        handle_close(lk);
    }
    int deaf_port, deaf = net_listen(&deaf_port);
    snprintf(config, sizeof config, "redis+cluster://127.0.0.1:%d,127.0.0.1:%d?deadline_ms=700", net_refusing(),
             deaf_port);
    assert_status(NULL, LATCHKEY_UNAVAILABLE, open_status(config, error));
    assert_contains(error, "node 127.0.0.1:");
    /* With lazy=1 it opens, and says the same. */
    latchkey_stats stats;
    snprintf(config, sizeof config, "redis+cluster://127.0.0.1:%d?deadline_ms=300&lazy=1", net_refusing());
    latchkey *lk = handle_open_config(config);
    assert_status(lk, LATCHKEY_UNAVAILABLE, validate(lk, token));
    wait_for((stats = stats_of(lk), strstr(stats.last_error, "refused")));
    handle_close(lk);
    close(deaf);
    cluster_end(c);
}

static void refused(const char *config, const char *text)
{
    char error[512];
    assert_status(NULL, LATCHKEY_CONFIG, open_status(config, error));
    assert_contains(error, text);
    assert_lacks(error, "wrong");
}

static void test_what_a_person_has_to_change(void **state)
{
    (void)state;
    char config[512];
    const char *const locked[] = {"--requirepass", "s3cret", "--masterauth", "s3cret", NULL};
    cluster *c = cluster_start(&(cluster_plan){.primaries = 3, .arguments = locked});
    redis *alone = redis_start(NULL);
    snprintf(config, sizeof config, "redis+cluster://127.0.0.1:%d?deadline_ms=10000", alone->port);
    refused(config, "use redis://");
    snprintf(config, sizeof config, "redis://:s3cret@127.0.0.1:%d?deadline_ms=10000", c->node[0]->port);
    refused(config, "use redis+cluster://");
    cluster_config(c, "", config, sizeof config);
    refused(config, "password");
    snprintf(config, sizeof config, "redis+cluster://:wrong@127.0.0.1:%d?deadline_ms=10000", c->node[0]->port);
    refused(config, "user or password");
    snprintf(config, sizeof config, "redis+cluster://:s3cret@127.0.0.1:%d?deadline_ms=10000", c->node[0]->port);
    latchkey *lk = handle_open_config(config);
    char token[LATCHKEY_TOKEN_SIZE];
    make_session(lk, 1, token);
    assert_status(lk, LATCHKEY_OK, end_session(lk, token));
    /* Of one node alone: it is named. */
    char at[64];
    snprintf(at, sizeof at, "127.0.0.1:%d", c->node[2]->port);
    for (int i = 0; i < 3; i++) {
        redis_do(c->node[i], "ACL SETUSER app on >pw ~* &* +@all");
        if (i == 2) redis_do(c->node[i], "ACL SETUSER app -ssubscribe");
    }
    snprintf(config, sizeof config, "redis+cluster://app:pw@127.0.0.1:%d?deadline_ms=10000", c->node[0]->port);
    refused(config, at);
    refused(config, "+ssubscribe");
    redis_do(c->node[2], "ACL SETUSER app +ssubscribe -evalsha");
    refused(config, at);
    refused(config, "+evalsha");
    redis_do(c->node[2], "ACL SETUSER app +evalsha -cluster|myid");
    refused(config, at);
    refused(config, "+cluster|myid");
    redis_do(c->node[2], "ACL SETUSER app +cluster|myid resetpass >another");
    refused(config, at);
    refused(config, "user or password");
    handle_close_all(NULL);
    redis_end(alone);
    cluster_end(c);
}

/* Sanitizers take the child's threads for those of the parent that had the same stacks. */
static int open_another(const char *config, const char *token)
{
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    (void)config, (void)token;
    return LATCHKEY_OK;
#else
    char error[512];
    latchkey *own = NULL;
    int status = latchkey_open(config, &own, error, sizeof error);
    if (!status) status = validate(own, token);
    latchkey_close(own);
    return status;
#endif
}

/* A child gives its copy back, opens a handle of its own, and disturbs the parent's in nothing. */
static void test_a_forked_child(void **state)
{
    (void)state;
    char config[512], token[LATCHKEY_TOKEN_SIZE];
    cluster *c = cluster_start(&(cluster_plan){.primaries = 3});
    latchkey *lk = cluster_open(c, OPTIONS);
    session_in(lk, 5, token);
    cluster_config(c, OPTIONS, config, sizeof config);
    pid_t child = fork();
    if (child == 0) {
        int status = validate(lk, token) == LATCHKEY_FORKED ? LATCHKEY_OK : 1;
        latchkey_close(lk);
        if (!status) status = open_another(config, token);
        _exit(status & 255);
    }
    int ended;
    assert_int_equal(waitpid(child, &ended, 0), child);
    assert_int_equal(ended, 0);
    cluster_move_slot(c, cluster_slot(c, 5), (cluster_owner(c, cluster_slot(c, 5)) + 1) % 3);
    comes_back(lk, token);
    handle_close_all(NULL);
    cluster_end(c);
}

/* Nodes name each other by address; their certificate holds a name. */
static void test_tls(void **state)
{
    (void)state;
    pki_make(&(pki_card){.name = "ca", .ca = 1});
    pki_make(&(pki_card){.name = "named", .for_names = "DNS:redis.test", .issuer = "ca"});
    const char *const tls[] = {"--tls-cert-file",
                               pki_crt("named"),
                               "--tls-key-file",
                               pki_key("named"),
                               "--tls-ca-cert-file",
                               pki_crt("ca"),
                               "--tls-auth-clients",
                               "no",
                               "--tls-cluster",
                               "yes",
                               "--tls-replication",
                               "yes",
                               NULL};
    cluster *c = cluster_start(&(cluster_plan){.primaries = 3, .arguments = tls});
    char options[300], config[1024], error[512], token[LATCHKEY_TOKEN_SIZE];
    snprintf(options, sizeof options, "ca_file=%s&server_name=redis.test&" OPTIONS, pki_crt("ca"));
    latchkey *lk = cluster_open(c, options);
    session_in(lk, 5, token);
    cluster_move_slot(c, cluster_slot(c, 5), (cluster_owner(c, cluster_slot(c, 5)) + 1) % 3);
    comes_back(lk, token);
    handle_close_all(NULL);
    snprintf(options, sizeof options, "ca_file=%s", pki_crt("ca"));
    cluster_config(c, options, config, sizeof config);
    assert_status(NULL, LATCHKEY_CONFIG, open_status(config, error));
    assert_contains(error, "127.0.0.1");
    snprintf(config, sizeof config, "redis+cluster://127.0.0.1:%d?deadline_ms=500", c->node[0]->port);
    assert_status(NULL, LATCHKEY_UNAVAILABLE, open_status(config, error));
    assert_contains(error, "TLS");
    cluster_end(c);
}

/* Nodes that are to be called by their names, and have them or not. */
static void test_host_names(void **state)
{
    (void)state;
    const char *const named[] = {"--cluster-preferred-endpoint-type", "hostname", "--cluster-announce-hostname",
                                 "localhost", NULL};
    const char *const nameless[] = {"--cluster-preferred-endpoint-type", "hostname", NULL};
    for (int i = 0; i < 2; i++) {
        char token[LATCHKEY_TOKEN_SIZE];
        cluster *c = cluster_start(&(cluster_plan){.primaries = 2, .arguments = i ? nameless : named});
        latchkey *lk = cluster_open(c, OPTIONS);
        session_in(lk, 5, token);
        cluster_move_slot(c, cluster_slot(c, 5), 1 - cluster_owner(c, cluster_slot(c, 5)));
        comes_back(lk, token);
        handle_close_all(NULL);
        cluster_end(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_every_partition_has_its_primary, handle_close_all),
        cmocka_unit_test_teardown(test_a_slot_moves, handle_close_all),
        cmocka_unit_test_teardown(test_a_primary_comes_and_one_goes, handle_close_all),
        cmocka_unit_test_teardown(test_a_primary_dies, handle_close_all),
        cmocka_unit_test_teardown(test_hosts_of_the_url, handle_close_all),
        cmocka_unit_test_teardown(test_what_a_person_has_to_change, handle_close_all),
        cmocka_unit_test_teardown(test_a_forked_child, handle_close_all),
        cmocka_unit_test_teardown(test_tls, handle_close_all),
        cmocka_unit_test_teardown(test_host_names, handle_close_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
