/* See node.h. How a node begins and ends, and what other threads ask of it. */
#include "l2/node.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/lock.h"
#include "l2/naming.h"
#include "l2/node_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void raise_event(lk_node *node, int event_fd)
{
    if (!lk_raise(event_fd)) lk_node_trouble(node, LATCHKEY_UNAVAILABLE, "an eventfd of the link failed");
}

/* ---------------------------------------------------------------------------------------- open and close -- */

static void close_fd(int fd)
{
    if (fd >= 0) close(fd);
}

static bool build_node(lk_node *node)
{
    size_t partitions = (size_t)node->config->partitions;
    lk_link_host host = lk_node_side(node);
    lk_link_known known = {node->book->cutoffs, node->book->recent, node->book->past};
    uint64_t seed;
    lk_random(&seed, sizeof seed);
    node->own = calloc(4 * partitions, sizeof *node->own);
    node->pool = lk_pool_open(node->config, node->counters);
    node->inbox = lk_inbox_open(node->counters, node->wake_fd);
    if (node->config->sentinels && !(node->sentinels = lk_sentinels_open(node->config, lk_now_ms()))) return false;
    node->named_by_ms = lk_now_ms() + node->config->deadline_ms / 2;
    return node->own && node->pool && node->inbox &&
           lk_link_open(&node->link, node->config, node->partitions, known, &host, &node->l1, node->counters, seed,
                        lk_now_ms());
}

int lk_node_open(lk_topology *topology, const lk_host *host, lk_node **out, char *error, size_t error_size)
{
    lk_node *node = calloc(1, sizeof *node);
    if (!node) return LATCHKEY_NO_MEMORY;
    node->topology = topology;
    node->config = topology->config;
    node->counters = topology->counters;
    node->book = &topology->book;
    node->l1 = topology->l1;
    if (host) node->host = *host;
    for (int i = 0; i < LK_LINK_CONNECTIONS; i++) node->socket[i] = LK_NO_SOCKET;
    lk_lock_open(&node->lock, LK_RANK_NODE);
    lk_cond_init(&node->changed);
    node->stop_fd = node->wake_fd = -1;
    int status = lk_book_descriptor(&node->stop_fd, error, error_size);
    if (!status) status = lk_book_descriptor(&node->wake_fd, error, error_size);
    if (!status && !build_node(node)) status = LATCHKEY_NO_MEMORY;
    if (status) lk_node_close(node);
    else *out = node;
    return status;
}

void lk_node_stop(lk_node *node)
{
    if (!node->started) return;
    atomic_store_explicit(&node->stop, true, memory_order_release);
    raise_event(node, node->stop_fd);
    raise_event(node, node->wake_fd);
    pthread_join(node->thread, NULL);
    node->started = false;
}

void lk_node_close(lk_node *node)
{
    lk_node_stop(node);
    lk_node_close_sockets(node);
    lk_lookup_leave(&node->lookup);
    lk_sentinels_close(node->sentinels);
    close_fd(node->stop_fd);
    close_fd(node->wake_fd);
    lk_inbox_close(node->inbox);
    lk_pool_close(node->pool);
    lk_link_close(&node->link);
    free(node->own);
    pthread_cond_destroy(&node->changed);
    lk_lock_close(&node->lock);
    free(node);
}

void lk_node_abandon(lk_node *node)
{
    for (int i = 0; i < LK_LINK_CONNECTIONS; i++) close_fd(node->socket[i].fd);
    lk_sentinels_abandon(node->sentinels);
    close_fd(node->stop_fd);
    close_fd(node->wake_fd);
    lk_pool_abandon(node->pool);
}

static void name_locked(const lk_node *node, const char *text, char *out, size_t size)
{
    char at[112] = "";
    lk_lock_assert(&node->lock);
    if (node->config->cluster && node->host.name[0]) lk_host_text(&node->host, at, sizeof at);
    bool names = *at && *text && !strstr(text, at);
    snprintf(out, size, "%s%s%s%s", names ? "node " : "", names ? at : "", names ? ": " : "", text);
}

int lk_node_wait(lk_node *node, int64_t deadline_ms, char *error, size_t error_size)
{
    lk_lock_take(&node->lock);
    int late = 0;
    while (!node->leased && lk_node_owns(node) && node->status != LATCHKEY_CONFIG && !late)
        late = lk_lock_wait_until(&node->lock, &node->changed, deadline_ms);
    bool done = node->leased || !lk_node_owns(node);
    int status = done ? LATCHKEY_OK : node->status ? node->status : LATCHKEY_UNAVAILABLE;
    if (status)
        name_locked(node, node->trouble[0] ? node->trouble : "Redis did not answer within deadline_ms", error,
                    error_size);
    lk_lock_give(&node->lock);
    return status;
}

/* ------------------------------------------------------------------------------------- from other threads -- */

lk_pool *lk_node_pool(lk_node *node) { return node->pool; }
bool lk_node_connected(const lk_node *node) { return atomic_load_explicit(&node->connected, memory_order_relaxed); }
bool lk_node_owns(const lk_node *node) { return atomic_load_explicit(&node->owned, memory_order_relaxed) > 0; }
uint64_t lk_node_met(const lk_node *node) { return atomic_load_explicit(&node->met, memory_order_relaxed); }

bool lk_node_host(lk_node *node, lk_host *host)
{
    lk_lock_take(&node->lock);
    *host = node->host;
    lk_lock_give(&node->lock);
    return host->name[0];
}

void lk_node_rename(lk_node *node, const lk_host *host)
{
    lk_lock_take(&node->lock);
    node->host = *host;
    node->id = (lk_node_id){""};
    node->leased = false;
    lk_lock_give(&node->lock);
}

bool lk_node_expect(lk_node *node, const lk_node_id *id)
{
    lk_lock_take(&node->lock);
    bool another = node->id.text[0] && !lk_node_id_same(&node->id, id);
    node->id = *id;
    lk_lock_give(&node->lock);
    return another;
}

void lk_node_remap(lk_node *node)
{
    atomic_store_explicit(&node->remapped, true, memory_order_release);
    raise_event(node, node->wake_fd);
    lk_lock_take(&node->lock);
    pthread_cond_broadcast(&node->changed);
    lk_lock_give(&node->lock);
}

void lk_node_wake(lk_node *node) { raise_event(node, node->wake_fd); }

void lk_node_touch(lk_node *node, const lk_touch *touch) { lk_inbox_touch(node->inbox, touch); }

void lk_node_refresh(lk_node *node, const char *token, int64_t now_ms, int64_t patience_ms)
{
    /* A session that cannot be read now is not asked for later; a touch that is due is found in L1 (node_side.c). */
    if (lk_node_connected(node)) lk_inbox_refresh(node->inbox, token, now_ms, patience_ms);
    else lk_count(node->counters, LK_REFRESHES_DROPPED, 1);
}

bool lk_node_reused(lk_node *node, const lk_token *token) { return lk_inbox_reused(node->inbox, token); }

static void note_refusal_locked(lk_node *node, const char *text)
{
    lk_lock_assert(&node->lock);
    uint64_t hash = lk_hash(text, strlen(text), 0);
    for (size_t i = 0; i < node->refused_count; i++)
        if (node->refused[i] == hash) return;
    if (node->refusal[0] || node->refused_count == LK_NODE_REFUSALS_SAID) return; /* at the next time */
    node->refused[node->refused_count++] = hash;
    snprintf(node->refusal, sizeof node->refusal, "%s", text);
}

void lk_node_name(lk_node *node, const char *text, char *out, size_t size)
{
    lk_lock_take(&node->lock);
    name_locked(node, text, out, size);
    lk_lock_give(&node->lock);
}

void lk_node_trouble(lk_node *node, int status, const char *what)
{
    char text[sizeof node->trouble];
    lk_lock_take(&node->lock);
    name_locked(node, what, text, sizeof text);
    /* The link itself logs what keeps it from being up (link_log.h). */
    if (status == LATCHKEY_CONFIG && lk_node_connected(node)) note_refusal_locked(node, text);
    node->status = status;
    node->trouble_ms = lk_now_ms();
    memcpy(node->trouble, text, sizeof text);
    pthread_cond_broadcast(&node->changed);
    lk_lock_give(&node->lock);
}

int64_t lk_node_last_trouble(lk_node *node, char *text, size_t size)
{
    lk_lock_take(&node->lock);
    snprintf(text, size, "%s", node->trouble);
    int64_t at_ms = node->trouble_ms;
    lk_lock_give(&node->lock);
    return at_ms;
}

uint64_t lk_node_ran_on(const lk_node *node, enum lk_script_id script)
{
    return atomic_load_explicit(&node->ran_on[script], memory_order_relaxed);
}

void lk_node_note_ran(lk_node *node, enum lk_script_id script, uint64_t incarnation)
{
    atomic_store_explicit(&node->ran_on[script], incarnation, memory_order_relaxed);
}
