/* SPDX-License-Identifier: MIT
 *
 * A cluster of three primaries that all tests of a program share; before each it is emptied.
 */
#ifndef LATCHKEY_TESTS_THREE_NODES_H
#define LATCHKEY_TESTS_THREE_NODES_H

#include "nodes_kit.h"

enum { NODES = 3 };

static cluster *nodes;

static int start_nodes(void **state)
{
    (void)state;
    nodes = cluster_start(&(cluster_plan){.primaries = NODES});
    return 0;
}

static int end_nodes(void **state)
{
    (void)state;
    cluster_end(nodes);
    return 0;
}

static int clean_nodes(void **state)
{
    (void)state;
    flush_nodes(nodes);
    return 0;
}

#define ON_NODES(name) cmocka_unit_test_setup_teardown(name, clean_nodes, handle_close_all)

#endif
