/* SPDX-License-Identifier: MIT
 *
 * The thread that has the map, by itself, on a real cluster: which node it asks, what it makes of the answers, and that
 * it ends at once. What it tells the topology is written down here instead of applied.
 */
#include "cluster.h"
#include "test_net.h"

#include "l2/cluster.h"
#include "redis/slots.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* ------------------------------------------------------------------------------- what the thread says, and to whom -- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static lk_server_map told;
static unsigned applied, changed;
static int status;
static char trouble[256];
static lk_host from; /* the node of every sign; guarded, as the others are */

int __wrap_lk_topology_apply(lk_topology *t, const lk_server_map *map, char *error, size_t error_size);
uint64_t __wrap_lk_topology_version(lk_topology *t);
bool __wrap_lk_node_owns(const lk_node *node);
void __wrap_lk_node_trouble(lk_node *node, int how, const char *text);
bool __wrap_lk_node_host(lk_node *node, lk_host *host);

static bool same_map(const lk_server_map *a, const lk_server_map *b, unsigned partitions)
{
    for (unsigned p = 0; p < partitions; p++) {
        if ((a->of[p] == LK_NO_SERVER) != (b->of[p] == LK_NO_SERVER)) return false;
        if (a->of[p] != LK_NO_SERVER && !lk_host_same(&a->server[a->of[p]].at, &b->server[b->of[p]].at)) return false;
    }
    return true;
}

int __wrap_lk_topology_apply(lk_topology *t, const lk_server_map *map, char *error, size_t error_size)
{
    (void)error, (void)error_size;
    pthread_mutex_lock(&lock);
    if (!applied || !same_map(&told, map, (unsigned)t->config->partitions)) changed++;
    told = *map;
    applied++;
    pthread_mutex_unlock(&lock);
    return LATCHKEY_OK;
}

uint64_t __wrap_lk_topology_version(lk_topology *t)
{
    (void)t;
    pthread_mutex_lock(&lock);
    uint64_t version = changed;
    pthread_mutex_unlock(&lock);
    return version;
}

bool __wrap_lk_node_owns(const lk_node *node) { return node != NULL; }
bool __wrap_lk_node_host(lk_node *node, lk_host *host)
{
    pthread_mutex_lock(&lock);
    *host = from;
    pthread_mutex_unlock(&lock);
    return node != NULL;
}

void __wrap_lk_node_trouble(lk_node *node, int how, const char *text)
{
    (void)node;
    pthread_mutex_lock(&lock);
    status = how;
    snprintf(trouble, sizeof trouble, "%s", text);
    pthread_mutex_unlock(&lock);
}

/* ----------------------------------------------------------------------------------------------------------- stage -- */

static lk_config config;
static lk_topology topology;
static lk_cluster *thread;

static void begin(const char *url)
{
    char error[256];
    assert_true(lk_crypto_init());
    assert_int_equal(lk_config_parse(url, &config, error, sizeof error), LATCHKEY_OK);
    applied = changed = 0;
    status = LATCHKEY_OK;
    trouble[0] = 0;
    memset(&topology, 0, sizeof topology);
    topology.config = &config;
    topology.sign_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    topology.node[0] = (lk_node *)(void *)&topology; /* it is not looked at */
    atomic_store(&topology.nodes, 1);
    lk_lock_open(&topology.book.lock, LK_RANK_NODE);
    assert_int_equal(lk_cluster_open(&topology, &thread, error, sizeof error), LATCHKEY_OK);
}

/* At once, whatever it waits for. */
static void end(void)
{
    int64_t before_ms = check_now_ms();
    lk_cluster_close(thread);
    if (check_now_ms() - before_ms > 5000) fail_msg("close took %lld ms", (long long)(check_now_ms() - before_ms));
    close(topology.sign_fd);
    lk_lock_close(&topology.book.lock);
}

static void begin_on(const cluster *c, const char *options)
{
    char url[1024];
    cluster_config(c, options, url, sizeof url);
    begin(url);
}

static unsigned count_of(const unsigned *what)
{
    pthread_mutex_lock(&lock);
    unsigned count = *what;
    pthread_mutex_unlock(&lock);
    return count;
}

static bool is_told(int want, const char *text)
{
    pthread_mutex_lock(&lock);
    bool is = status == want && strstr(trouble, text);
    pthread_mutex_unlock(&lock);
    return is;
}

/* The port of the server that has the partition as the thread says; 0: none. */
static int port_of(unsigned partition)
{
    pthread_mutex_lock(&lock);
    int port = !applied || told.of[partition] == LK_NO_SERVER ? 0 : atoi(told.server[told.of[partition]].at.port);
    pthread_mutex_unlock(&lock);
    return port;
}

static void expect_all(cluster *c)
{
    for (unsigned p = 0; p < config.partitions; p++) {
        int owner = cluster_owner(c, cluster_slot(c, p));
        wait_for(port_of(p) == c->node[owner]->port);
    }
}

static void sign(const char *text, const redis *by)
{
    pthread_mutex_lock(&lock);
    snprintf(from.name, sizeof from.name, "127.0.0.1");
    snprintf(from.port, sizeof from.port, "%d", by->port);
    pthread_mutex_unlock(&lock);
    lk_topology_sign(&topology, topology.node[0], text);
}

/* ----------------------------------------------------------------------------------------------------------- tests -- */

static void test_the_map_is_the_clusters(void **state)
{
    (void)state;
    const int first[] = {0, 100, 9000};
    cluster *c = cluster_start(&(cluster_plan){.primaries = 3, .first = first});
    begin_on(c, "");
    expect_all(c);
    pthread_mutex_lock(&lock);
    assert_int_equal(told.servers, 2); /* no partition is in the first 100 slots, so that server is left alone */
    pthread_mutex_unlock(&lock);
    /* A slot moves; the node that has it now is named by the one that had it. */
    unsigned p = 5;
    int slot = cluster_slot(c, p), was = cluster_owner(c, slot), to = was == 1 ? 2 : 1;
    cluster_move_slot(c, slot, to);
    unsigned before = count_of(&applied);
    char text[64];
    snprintf(text, sizeof text, "MOVED %d 127.0.0.1:%d", slot, c->node[to]->port);
    sign(text, c->node[was]);
    wait_for(count_of(&applied) > before);
    assert_int_equal(port_of(p), c->node[to]->port);
    assert_int_equal(count_of(&changed), 2);
    end();
    cluster_end(c);
}

/* A hundred signs in a row are a few questions; and the ones that change nothing become rarer. */
static void test_signs_are_taken_together(void **state)
{
    (void)state;
    cluster *c = cluster_start(&(cluster_plan){.primaries = 1});
    begin_on(c, "");
    wait_for(count_of(&applied) == 1);
    long long before = redis_calls(c->node[0], "cluster|slots");
    int64_t began_ms = check_now_ms();
    while (check_now_ms() - began_ms < 1500) {
        sign("ASK 7 127.0.0.1:1", c->node[0]);
        check_pause();
    }
    int64_t took_ms = check_now_ms() - began_ms;
    long long asked = redis_calls(c->node[0], "cluster|slots") - before;
    assert_true(asked >= 1);
    if (asked > 1 + took_ms / 250) fail_msg("%lld questions in %lld ms", asked, (long long)took_ms);
    end();
    cluster_end(c);
}

static void test_nodes_that_are_down_or_hang(void **state)
{
    (void)state;
    cluster *c = cluster_start(&(cluster_plan){.primaries = 3, .replicas = 1, .node_timeout_ms = 1000, .partial = 1});
    char url[512];
    int deaf_port, deaf = net_listen(&deaf_port); /* takes connections, and says nothing */
    /* The last of those that are listed is a replica, and the only one that answers. */
    snprintf(url, sizeof url, "redis+cluster://127.0.0.1:%d,127.0.0.1:%d,127.0.0.1:%d", net_refusing(), deaf_port,
             c->node[3]->port);
    begin(url);
    expect_all(c);
    /* A primary hangs and another takes over: no sign is needed from the one that hangs. */
    cluster_freeze(c, 0);
    sign("", c->node[0]);
    cluster_await_owner(c, 0, 3);
    sign("", c->node[0]);
    expect_all(c);
    /* Another is killed. */
    cluster_kill(c, 1);
    cluster_await_owner(c, CLUSTER_SLOTS / 2, 4);
    sign("", c->node[1]);
    expect_all(c);
    cluster_thaw(c, 0);
    close(deaf);
    end();
    cluster_end(c);
}

static void test_why_there_is_no_map(void **state)
{
    (void)state;
    char url[512];
    int deaf_port, deaf = net_listen(&deaf_port);
    redis *alone = redis_start(NULL), *empty = redis_start("--cluster-enabled", "yes");
    redis *locked = redis_start("--cluster-enabled", "yes", "--requirepass", "s3cret");
    const struct {
        int port[2], status;
        const char *password, *text;
    } rows[] = {
        {{net_refusing(), net_refusing()}, LATCHKEY_UNAVAILABLE, "", "onnection refused"},
        {{deaf_port, deaf_port}, LATCHKEY_UNAVAILABLE, "", "does not answer"},
        {{alone->port, net_refusing()}, LATCHKEY_CONFIG, "", "use redis://"},
        {{empty->port, empty->port}, LATCHKEY_UNAVAILABLE, "", "no node that has slots"},
        {{locked->port, net_refusing()}, LATCHKEY_CONFIG, "", "password"},
        {{deaf_port, locked->port}, LATCHKEY_CONFIG, "u:wrong@", "user or password"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(url, sizeof url, "redis+cluster://%s127.0.0.1:%d,localhost:%d", rows[i].password, rows[i].port[0],
                 rows[i].port[1]);
        begin(url);
        wait_for(is_told(rows[i].status, rows[i].text));
        end();
        assert_lacks(trouble, "wrong");
    }
    /* It goes on by itself once there is one. */
    snprintf(url, sizeof url, "redis+cluster://127.0.0.1:%d", empty->port);
    begin(url);
    wait_for(is_told(LATCHKEY_UNAVAILABLE, "no node that has slots"));
    redis_do(empty, "CLUSTER ADDSLOTSRANGE 0 %d", CLUSTER_SLOTS - 1);
    wait_for(port_of(63) == empty->port);
    end();
    close(deaf);
    redis_end(locked), redis_end(empty), redis_end(alone);
}

/* Some slots have no node: what the others have is known all the same. */
static void test_a_map_with_holes(void **state)
{
    (void)state;
    cluster *c = cluster_start(&(cluster_plan){.primaries = 1, .partial = 1});
    int hole = cluster_slot(c, 7);
    redis_do(c->node[0], "CLUSTER DELSLOTS %d", hole);
    begin_on(c, "");
    wait_for(port_of(6) == c->node[0]->port && is_told(LATCHKEY_UNAVAILABLE, "of partition 7"));
    assert_int_equal(port_of(7), 0);
    redis_do(c->node[0], "CLUSTER ADDSLOTS %d", hole);
    expect_all(c);
    end();
    cluster_end(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_map_is_the_clusters),
        cmocka_unit_test(test_signs_are_taken_together),
        cmocka_unit_test(test_nodes_that_are_down_or_hang),
        cmocka_unit_test(test_why_there_is_no_map),
        cmocka_unit_test(test_a_map_with_holes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
