/* See topology.h. */
#include "l2/topology.h"

#include "base/clock.h"
#include "base/log.h"
#include "l2/cluster.h"
#include "l2/node_parts.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The first node owns all partitions. In a cluster it has no server, and sleeps until there is a map. */
static int open_first(lk_topology *t, char *error, size_t error_size)
{
    lk_node *node;
    int status = lk_node_open(t, NULL, &node, error, error_size);
    if (status) return status;
    if (t->config->cluster) lk_node_trouble(node, LATCHKEY_UNAVAILABLE, "no server of the cluster has answered yet");
    t->node[0] = node;
    node->owned = (unsigned)t->config->partitions;
    node->remapped = true;
    for (unsigned p = 0; p < (unsigned)t->config->partitions; p++)
        atomic_store_explicit(&t->book.owner[p], node, memory_order_release);
    atomic_store_explicit(&t->nodes, 1, memory_order_release);
    return lk_node_start(node, error, error_size);
}

int lk_topology_open(lk_topology *t, const lk_config *config, lk_counters *counters, const lk_l1_side *l1, char *error,
                     size_t error_size)
{
    t->config = config;
    t->counters = counters;
    t->l1 = *l1;
    t->sign_fd = -1;
    int status = lk_book_open(&t->book, config);
    if (!status && config->cluster) status = lk_book_descriptor(&t->sign_fd, error, error_size);
    if (!status) status = open_first(t, error, error_size);
    if (!status && config->cluster) status = lk_cluster_open(t, &t->cluster, error, error_size);
    return status;
}

/* A process that stops has to know, and can wait before it does: latchkey_stats says how many are pending. */
static void say_given_up(const lk_topology *t)
{
    size_t given_up = t->book.pending ? lk_pending_sure(t->book.pending) : 0;
    if (given_up)
        lk_log(LATCHKEY_LOG_ERROR,
               "close: %zu revocations that Redis has not confirmed are given up: these sessions may live on. Before a "
               "stop, wait until `pending` (latchkey_stats_read) is 0",
               given_up);
}

void lk_topology_close(lk_topology *t)
{
    if (!t->book.open) return;
    lk_node *node;
    lk_cluster_close(t->cluster); /* first: it opens nodes */
    t->cluster = NULL;
    for (unsigned i = 0; (node = lk_topology_node(t, i)); i++) lk_node_stop(node);
    say_given_up(t);
    for (unsigned i = 0; (node = lk_topology_node(t, i)); i++) lk_node_close(node);
    atomic_store_explicit(&t->nodes, 0, memory_order_relaxed);
    if (t->sign_fd >= 0) close(t->sign_fd);
    lk_book_close(&t->book);
}

void lk_topology_abandon(lk_topology *t)
{
    lk_node *node;
    lk_cluster_abandon(t->cluster);
    for (unsigned i = 0; (node = lk_topology_node(t, i)); i++) lk_node_abandon(node);
    if (t->sign_fd >= 0) close(t->sign_fd);
}

/* Nodes may get and lose partitions meanwhile. CONFIG counts most, then what was said first. */
static int wait_for_all(lk_topology *t, int64_t deadline_ms, char *error, size_t error_size)
{
    int status;
    uint64_t seen;
    lk_node *node;
    do {
        status = LATCHKEY_OK;
        seen = lk_topology_version(t);
        for (unsigned i = 0; status != LATCHKEY_CONFIG && (node = lk_topology_node(t, i)); i++) {
            char why[160];
            int one = lk_node_owns(node) ? lk_node_wait(node, deadline_ms, why, sizeof why) : (int)LATCHKEY_OK;
            if (!one || (status && one != LATCHKEY_CONFIG)) continue;
            status = one;
            snprintf(error, error_size, "%s", why);
        }
    } while (!status && lk_topology_version(t) != seen);
    return status;
}

/* Without the others an instance can do most of its work. Those are waited for in calls. */
static bool most_serve(const lk_topology *t, const char *why)
{
    unsigned all = (unsigned)t->config->partitions, served = 0;
    for (unsigned p = 0; p < all; p++)
        served += atomic_load_explicit(&t->book.leases->of[p].until_ms, memory_order_relaxed) != 0;
    if (2 * served <= all) return false;
    lk_log(LATCHKEY_LOG_WARNING, "open: %u of %u partitions have no server that can be used, and are UNAVAILABLE: %s",
           all - served, all, why);
    return true;
}

int lk_topology_wait(lk_topology *t, int64_t deadline_ms, char *error, size_t error_size)
{
    int64_t now_ms = lk_now_ms(), enough_ms = now_ms + (deadline_ms - now_ms) * 3 / 4;
    if (!t->config->cluster) return wait_for_all(t, deadline_ms, error, error_size);
    int status = wait_for_all(t, enough_ms, error, error_size);
    if (status == LATCHKEY_UNAVAILABLE && most_serve(t, error)) return LATCHKEY_OK;
    if (status == LATCHKEY_UNAVAILABLE) status = wait_for_all(t, deadline_ms, error, error_size);
    return status == LATCHKEY_UNAVAILABLE && most_serve(t, error) ? (int)LATCHKEY_OK : status;
}

/* ------------------------------------------------------------------------------------------------ the map -- */

static lk_node *find_node(const lk_topology *t, const lk_host *host)
{
    lk_node *node;
    lk_host at;
    for (unsigned i = 0; (node = lk_topology_node(t, i)); i++)
        if (lk_node_host(node, &at) && lk_host_same(&at, host)) return node;
    return NULL;
}

static int add_node(lk_topology *t, const lk_host *host, lk_node **out, char *error, size_t error_size)
{
    unsigned count = atomic_load_explicit(&t->nodes, memory_order_relaxed);
    int status = lk_node_open(t, host, out, error, error_size);
    if (!status) status = lk_node_start(*out, error, error_size);
    if (status == LATCHKEY_NO_MEMORY) snprintf(error, error_size, "no memory for a node of the cluster");
    if (status) {
        if (*out) lk_node_close(*out);
        *out = NULL;
        return status;
    }
    t->node[count] = *out;
    atomic_store_explicit(&t->nodes, count + 1, memory_order_release);
    return LATCHKEY_OK;
}

/* Where the table is full, a node that has owned nothing for the longest time gets the server: addresses change over the
 * years. A caller that still asks that node's server by mistake is told by its incarnation. */
static lk_node *sleeper(lk_topology *t)
{
    lk_node *node, *oldest = NULL;
    for (unsigned i = 1; (node = lk_topology_node(t, i)); i++)
        if (!lk_node_owns(node) && !node->mapped && (!oldest || node->slept_in < oldest->slept_in)) oldest = node;
    return oldest;
}

static int find_or_add(lk_topology *t, const lk_host *host, lk_node **out, char *error, size_t error_size)
{
    if ((*out = find_node(t, host))) return LATCHKEY_OK;
    if (atomic_load_explicit(&t->nodes, memory_order_relaxed) < LK_NODES_MAX)
        return add_node(t, host, out, error, error_size);
    if ((*out = sleeper(t))) lk_node_rename(*out, host);
    if (*out) return LATCHKEY_OK;
    snprintf(error, error_size, "the cluster has more than %d servers that own partitions", LK_NODES_MAX - 1);
    return LATCHKEY_UNAVAILABLE;
}

/* Another server at the same address: the link looks. */
static int node_at(lk_topology *t, const lk_server *server, lk_node **out, char *error, size_t error_size)
{
    int status = find_or_add(t, &server->at, out, error, error_size);
    if (*out && lk_node_expect(*out, &server->id)) (*out)->moved = true;
    return status;
}

static uint64_t serves(const lk_node *node)
{
    return lk_node_connected(node) ? atomic_load_explicit(&node->holds, memory_order_relaxed) : 0;
}

/* Was the slot moved with all that is in it, and where to? Or did the new owner take it over, as a replica that was
 * promoted, perhaps without the newest writes? What takes over takes all slots of a primary. So a primary that goes on with
 * others of its slots was not replaced; and the new owner was a primary before. The one that last had the lease may not
 * be the last owner: nodes learn of a move one after the other, so a map may be older than the one before. */
static uint64_t moved_whole_locked(const lk_book *book, unsigned p, const lk_node *from, const lk_node *to)
{
    lk_lock_assert(&book->lock);
    const lk_node *had = book->leased[p].node;
    bool lasts = had && had->keeps && serves(had) == book->leased[p].incarnation;
    return lasts && from->keeps && serves(from) ? serves(to) : 0;
}

/* From then on the old owner writes no lease of it. The lease goes on for hits, and names no server, so nothing is put
 * into L1 before the new owner has met it. */
static void move_locked(lk_book *book, unsigned p, lk_node *from, lk_node *to)
{
    lk_lock_assert(&book->lock);
    lk_lease *lease = &book->leases->of[p];
    uint64_t whole = moved_whole_locked(book, p, from, to);
    atomic_store_explicit(&book->past->of[p].whole, whole, memory_order_relaxed);
    atomic_store_explicit(&book->owner[p], to, memory_order_release);
    atomic_store_explicit(&lease->incarnation, 0, memory_order_relaxed);
    atomic_fetch_add_explicit(&lease->meetings, 1, memory_order_release);
    book->since[p] = book->version + 1;
    from->owned--;
    to->owned++;
    from->slept_in = book->version + 1;
    from->moved = to->moved = true;
}

static bool move_all(lk_topology *t, const lk_server_map *map, lk_node *const *node)
{
    lk_book *book = &t->book;
    bool any = false;
    lk_lock_take(&book->lock);
    for (unsigned p = 0; p < (unsigned)t->config->partitions; p++) {
        lk_node *to = map->of[p] < map->servers ? node[map->of[p]] : NULL;
        if (to && to == lk_book_owner(book, p)) to->keeps = true;
    }
    for (unsigned p = 0; p < (unsigned)t->config->partitions; p++) {
        lk_node *from = lk_book_owner(book, p), *to = map->of[p] < map->servers ? node[map->of[p]] : NULL;
        if (!to || to == from) continue;
        move_locked(book, p, from, to);
        any = true;
    }
    book->version += any;
    book->news += any;
    if (any) pthread_cond_broadcast(&book->changed);
    lk_lock_give(&book->lock);
    return any;
}

int lk_topology_apply(lk_topology *t, const lk_server_map *map, char *error, size_t error_size)
{
    lk_node *node[LK_NODES_MAX] = {NULL};
    bool used[LK_NODES_MAX] = {false};
    int status = LATCHKEY_OK;
    for (unsigned p = 0; p < (unsigned)t->config->partitions; p++)
        if (map->of[p] < map->servers) used[map->of[p]] = true;
    for (unsigned s = 0; s < map->servers; s++) {
        int found = used[s] ? node_at(t, &map->server[s], &node[s], error, error_size) : (int)LATCHKEY_OK;
        if (node[s]) node[s]->mapped = true;
        if (!status) status = found;
    }
    bool any = move_all(t, map, node);
    lk_node *each;
    for (unsigned i = 0; (each = lk_topology_node(t, i)); i++) {
        if (each->moved) lk_node_remap(each);
        each->moved = each->mapped = each->keeps = false;
    }
    if (!any) return status;
    lk_bells_ring(&t->book.bells);
    return status;
}

void lk_topology_sign(lk_topology *t, lk_node *from, const char *text)
{
    if (t->sign_fd < 0) return;
    lk_lock_take(&t->book.lock);
    /* What names a server is not forgotten for what does not. */
    if (*text || !t->is_signed || !t->sign.text[0]) {
        t->sign.from = from;
        snprintf(t->sign.text, sizeof t->sign.text, "%s", text);
    }
    t->is_signed = true;
    lk_lock_give(&t->book.lock);
    lk_raise(t->sign_fd);
}

bool lk_topology_signed(lk_topology *t, lk_sign *sign)
{
    lk_lock_take(&t->book.lock);
    bool news = t->is_signed;
    t->is_signed = false;
    if (news) *sign = t->sign;
    lk_lock_give(&t->book.lock);
    return news;
}

uint64_t lk_topology_version(lk_topology *t)
{
    lk_lock_take(&t->book.lock);
    uint64_t version = t->book.version;
    lk_lock_give(&t->book.lock);
    return version;
}

void lk_topology_await_change(lk_topology *t, uint64_t seen, int64_t deadline_ms)
{
    lk_lock_take(&t->book.lock);
    for (int late = 0; t->book.version == seen && !late;)
        late = lk_lock_wait_until(&t->book.lock, &t->book.changed, deadline_ms);
    lk_lock_give(&t->book.lock);
}
