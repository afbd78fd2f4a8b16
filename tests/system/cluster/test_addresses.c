/* SPDX-License-Identifier: MIT
 *
 * What a cluster's nodes say of their addresses: IPv6, and nothing but a port. Each node is reached, and where a slot has
 * gone is understood.
 */
#include "nodes_kit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { NODES = 3 };

static void use_each_node(cluster *c)
{
    char token[NODES][LATCHKEY_TOKEN_SIZE];
    latchkey *lk = cluster_open(c, ""), *other = cluster_open(c, "");
    for (int node = 0; node < NODES; node++) {
        make_session(lk, user_on(c, lk, node, 1), token[node]);
        assert_int_equal(node_of(c, token[node]), node);
        warm(other, token[node]);
    }
    /* Callers and links are told where it has gone. */
    for (int node = 0; node < NODES; node++) {
        int to = (node + 1) % NODES;
        cluster_move_slot(c, cluster_slot(c, token_partition(token[node])), to);
        wait_for(set_field(lk, token[node], "cart", "eggs") == LATCHKEY_OK);
        assert_int_equal(node_of(c, token[node]), to);
        assert_status(lk, LATCHKEY_OK, end_session(lk, token[node]));
        wait_for(validate(other, token[node]) == LATCHKEY_NOT_FOUND);
        wait_for(stats_of(other).connected == 1);
    }
}

static void test_ipv6(void **state)
{
    (void)state;
    const struct sockaddr_in6 here = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&here, sizeof here)) fail_msg("this machine has no IPv6: no ::1");
    close(fd);
    cluster *c = cluster_start(&(cluster_plan){.primaries = NODES, .host = "::1"});
    use_each_node(c);
    handle_close_all(NULL);
    cluster_end(c);
}

static void test_unknown_endpoint(void **state)
{
    (void)state;
    const char *const arguments[] = {"--cluster-preferred-endpoint-type", "unknown-endpoint", NULL};
    cluster *c = cluster_start(&(cluster_plan){.primaries = NODES, .arguments = arguments, .nameless = 1});
    use_each_node(c);
    handle_close_all(NULL);
    cluster_end(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_ipv6, handle_close_all),
        cmocka_unit_test_teardown(test_unknown_endpoint, handle_close_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
