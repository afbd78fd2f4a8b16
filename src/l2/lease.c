/* See lease.h. */
#include "l2/lease.h"

#include "base/clock.h"
#include "base/outcome.h"
#include "base/secure_memory.h"
#include "l2/node_parts.h"

#include <string.h>

_Static_assert(sizeof(lk_lease) == 32, "two to a cache line");

lk_leases *lk_leases_open(void)
{
    lk_leases *leases = lk_map(sizeof *leases, true);
    if (leases) atomic_store_explicit(&leases->alive, 1, memory_order_relaxed);
    return leases;
}

void lk_leases_close(lk_leases *leases)
{
    if (leases) lk_unmap(leases, sizeof *leases);
}

static lk_lease *first_of(const lk_node *node) { return &node->book->leases->of[node->partitions.at[0]]; }

uint64_t lk_node_lease_owner(lk_node *node)
{
    return atomic_load_explicit(&first_of(node)->incarnation, memory_order_acquire);
}

void lk_node_lease_void(lk_node *node)
{
    /* First: so a thread that takes its ticket after the emptying also finds that no server has the lease, and does not
     * fill L1 with an older server's answer. The next lease names its server. */
    for (size_t i = 0; i < node->partitions.count; i++)
        atomic_store_explicit(&node->book->leases->of[node->partitions.at[i]].incarnation, 0, memory_order_relaxed);
}

void lk_node_lease_confirm(lk_node *node, int64_t sent_ms, uint64_t incarnation, int64_t server_ahead_us)
{
    for (size_t i = 0; i < node->partitions.count; i++) {
        lk_lease *lease = &node->book->leases->of[node->partitions.at[i]];
        atomic_store_explicit(&lease->server_ahead_us, server_ahead_us, memory_order_relaxed);
        atomic_store_explicit(&lease->incarnation, incarnation, memory_order_relaxed);
        /* Release, with the acquire in validate: a reader that sees this lease sees every purge that was applied before
         * it. */
        atomic_store_explicit(&lease->until_ms, sent_ms + node->config->staleness_ms, memory_order_release);
    }
    lk_bells_ring(&node->book->bells);
    lk_lock_take(&node->lock);
    node->leased = true;
    node->withheld[0] = 0;
    node->confirmed++;
    pthread_cond_broadcast(&node->changed);
    lk_lock_give(&node->lock);
}

/* `until_ms` is read first: the incarnation that is read after it belongs to that lease, or to a later one. */
int lk_node_lease_covers_now(const lk_node *node, uint64_t incarnation)
{
    int64_t until_ms = atomic_load_explicit(&first_of(node)->until_ms, memory_order_acquire);
    uint64_t owner = atomic_load_explicit(&first_of(node)->incarnation, memory_order_relaxed);
    if (lk_now_ms() >= until_ms || !owner) return LATCHKEY_UNAVAILABLE;
    return owner == incarnation ? (int)LATCHKEY_OK : (int)LK_OUTCOME_OTHER_SERVER;
}

/* The same for a beat that was sent after since_ms. */
static int covers_since(const lk_node *node, uint64_t incarnation, int64_t since_ms)
{
    int64_t until_ms = atomic_load_explicit(&first_of(node)->until_ms, memory_order_acquire);
    bool later = until_ms - node->config->staleness_ms > since_ms;
    return later ? lk_node_lease_covers_now(node, incarnation) : LATCHKEY_UNAVAILABLE;
}

static void want_beat(lk_node *node)
{
    if (!atomic_exchange_explicit(&node->beat_wanted, true, memory_order_acq_rel)) lk_raise(node->book->wake_fd);
}

/* If the link knows why its beats give no lease, that is the reason. */
static void tell_lapse(lk_node *node)
{
    char text[sizeof node->withheld];
    lk_lock_take(&node->lock);
    memcpy(text, node->withheld, sizeof text);
    lk_lock_give(&node->lock);
    lk_node_trouble(node, LATCHKEY_UNAVAILABLE,
                    *text ? text : "an answer of Redis was not used: the lease has lapsed, and no beat came in time");
}

int lk_node_lease_covers(lk_node *node, uint64_t incarnation, int64_t deadline_ms)
{
    return lk_node_lease_covers_since(node, incarnation, INT64_MIN, deadline_ms);
}

int lk_node_lease_covers_since(lk_node *node, uint64_t incarnation, int64_t since_ms, int64_t deadline_ms)
{
    int status = covers_since(node, incarnation, since_ms), late = 0;
    while (status == LATCHKEY_UNAVAILABLE && !late) {
        lk_lock_take(&node->lock);
        uint64_t seen = node->confirmed;
        lk_lock_give(&node->lock);
        want_beat(node);
        lk_lock_take(&node->lock);
        /* Checked again under the lock that the news comes under. It may have come meanwhile. It may also be from a
         * beat that was out when this one was asked for, and is too old: then another one has to be asked for. */
        if (node->confirmed == seen && covers_since(node, incarnation, since_ms) == LATCHKEY_UNAVAILABLE)
            late = lk_lock_wait_until(&node->lock, &node->changed, deadline_ms);
        lk_lock_give(&node->lock);
        status = covers_since(node, incarnation, since_ms);
    }
    if (status == LK_OUTCOME_OTHER_SERVER) lk_node_suspect(node, incarnation);
    if (status == LATCHKEY_UNAVAILABLE && lk_node_connected(node)) tell_lapse(node);
    return status;
}

bool lk_node_lease_moves(lk_node *node, uint64_t incarnation, int64_t deadline_ms)
{
    uint64_t before = lk_node_lease_owner(node), owner = before;
    int late = 0;
    lk_node_suspect(node, incarnation);
    want_beat(node);
    lk_lock_take(&node->lock);
    while ((!(owner = lk_node_lease_owner(node)) || (owner == before && owner != incarnation)) && !late)
        late = lk_lock_wait_until(&node->lock, &node->changed, deadline_ms);
    lk_lock_give(&node->lock);
    return owner && (owner != before || owner == incarnation);
}

void lk_node_suspect(lk_node *node, uint64_t incarnation)
{
    if (!incarnation || lk_node_lease_owner(node) == incarnation) return;
    lk_pool_renew(node->pool); /* the next connection is a new one, and finds out which server answers */
    if (atomic_exchange_explicit(&node->suspect, incarnation, memory_order_acq_rel) != incarnation)
        lk_raise(node->book->wake_fd);
}

void lk_node_await_lease(lk_node *node, int event_fd)
{
    lk_bells_wait(&node->book->bells, event_fd);
    want_beat(node);
}
