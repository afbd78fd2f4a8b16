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

uint64_t lk_lease_owner(const lk_book *book, unsigned partition)
{
    return atomic_load_explicit(&book->leases->of[partition].incarnation, memory_order_acquire);
}

void lk_lease_void(lk_node *node, lk_partitions partitions)
{
    lk_book *book = node->book;
    if (partitions.count == node->partitions.count) atomic_store_explicit(&node->holds, 0, memory_order_relaxed);
    lk_lock_take(&book->lock);
    /* First: so a thread that takes its ticket after the emptying also finds that no server has the lease, and does not
     * fill L1 with an older server's answer. The next lease names its server. */
    for (size_t i = 0; i < partitions.count; i++)
        if (lk_book_owner(book, partitions.at[i]) == node)
            atomic_store_explicit(&book->leases->of[partitions.at[i]].incarnation, 0, memory_order_relaxed);
    lk_lock_give(&book->lock);
}

static void confirm_one(const lk_node *node, lk_lease *lease, int64_t sent_ms, uint64_t incarnation,
                        int64_t server_ahead_us)
{
    atomic_store_explicit(&lease->server_ahead_us, server_ahead_us, memory_order_relaxed);
    atomic_store_explicit(&lease->incarnation, incarnation, memory_order_relaxed);
    /* Release, with the acquire in validate: a reader that sees this lease sees every purge that was applied before
     * it. */
    atomic_store_explicit(&lease->until_ms, sent_ms + node->config->staleness_ms, memory_order_release);
}

void lk_lease_confirm(lk_node *node, lk_partitions partitions, int64_t sent_ms, uint64_t incarnation,
                      int64_t server_ahead_us)
{
    lk_book *book = node->book;
    atomic_store_explicit(&node->holds, incarnation, memory_order_relaxed);
    lk_lock_take(&book->lock);
    for (size_t i = 0; i < partitions.count; i++)
        if (lk_book_owner(book, partitions.at[i]) == node) {
            confirm_one(node, &book->leases->of[partitions.at[i]], sent_ms, incarnation, server_ahead_us);
            book->leased[partitions.at[i]].node = node;
            book->leased[partitions.at[i]].incarnation = incarnation;
        }
    lk_lock_give(&book->lock);
    lk_bells_ring(&book->bells);
    lk_lock_take(&book->lock);
    book->news++;
    pthread_cond_broadcast(&book->changed);
    lk_lock_give(&book->lock);
}

/* `until_ms` is read first: the incarnation that is read after it belongs to that lease, or to a later one. */
int lk_lease_covers_now(const lk_book *book, unsigned partition, uint64_t incarnation)
{
    const lk_lease *lease = &book->leases->of[partition];
    int64_t until_ms = atomic_load_explicit(&lease->until_ms, memory_order_acquire);
    uint64_t owner = atomic_load_explicit(&lease->incarnation, memory_order_relaxed);
    if (lk_now_ms() >= until_ms || !owner) return LATCHKEY_UNAVAILABLE;
    return owner == incarnation ? (int)LATCHKEY_OK : (int)LK_OUTCOME_OTHER_SERVER;
}

/* The same for a beat that was sent after since_ms. */
int lk_lease_covers_since_now(const lk_book *book, unsigned partition, uint64_t incarnation, int64_t since_ms)
{
    int64_t until_ms = atomic_load_explicit(&book->leases->of[partition].until_ms, memory_order_acquire);
    bool later = until_ms - book->config->staleness_ms > since_ms;
    return later ? lk_lease_covers_now(book, partition, incarnation) : LATCHKEY_UNAVAILABLE;
}

static void want_beat(lk_node *node)
{
    if (!atomic_exchange_explicit(&node->beat_wanted, true, memory_order_acq_rel)) lk_raise(node->wake_fd);
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

int lk_lease_covers(lk_book *book, unsigned partition, uint64_t incarnation, int64_t deadline_ms)
{
    return lk_lease_covers_since(book, partition, incarnation, INT64_MIN, deadline_ms);
}

int lk_lease_covers_since(lk_book *book, unsigned partition, uint64_t incarnation, int64_t since_ms,
                          int64_t deadline_ms)
{
    int status = lk_lease_covers_since_now(book, partition, incarnation, since_ms), late = 0;
    while (status == LATCHKEY_UNAVAILABLE && !late) {
        lk_lock_take(&book->lock);
        uint64_t seen = book->news;
        lk_lock_give(&book->lock);
        want_beat(lk_book_owner(book, partition));
        lk_lock_take(&book->lock);
        /* Checked again under the lock that the news comes under. It may have come meanwhile. It may also be from a
         * beat that was out when this one was asked for, and is too old, or be of another partition: then another one
         * has to be asked for, of the owner of that moment. */
        if (book->news == seen &&
            lk_lease_covers_since_now(book, partition, incarnation, since_ms) == LATCHKEY_UNAVAILABLE)
            late = lk_lock_wait_until(&book->lock, &book->changed, deadline_ms);
        lk_lock_give(&book->lock);
        status = lk_lease_covers_since_now(book, partition, incarnation, since_ms);
    }
    if (status == LK_OUTCOME_OTHER_SERVER) lk_lease_suspect(book, partition, incarnation);
    lk_node *node = lk_book_owner(book, partition);
    if (status == LATCHKEY_UNAVAILABLE && lk_node_connected(node)) tell_lapse(node);
    return status;
}

bool lk_lease_moves(lk_book *book, unsigned partition, uint64_t incarnation, int64_t deadline_ms)
{
    uint64_t before = lk_lease_owner(book, partition), owner = before;
    int late = 0;
    lk_lease_suspect(book, partition, incarnation);
    want_beat(lk_book_owner(book, partition));
    lk_lock_take(&book->lock);
    while ((!(owner = lk_lease_owner(book, partition)) || (owner == before && owner != incarnation)) && !late)
        late = lk_lock_wait_until(&book->lock, &book->changed, deadline_ms);
    lk_lock_give(&book->lock);
    return owner && (owner != before || owner == incarnation);
}

void lk_lease_suspect(lk_book *book, unsigned partition, uint64_t incarnation)
{
    if (!incarnation || lk_lease_owner(book, partition) == incarnation) return;
    lk_node *node = lk_book_owner(book, partition), *other;
    /* Another node's server, which had the partition before, or has it by now: that is nothing to look at. */
    for (unsigned i = 0; (other = lk_topology_node(node->topology, i)); i++)
        if (other != node && lk_node_met(other) == incarnation) return;
    lk_node_suspect(node, incarnation);
}

void lk_node_suspect(lk_node *node, uint64_t incarnation)
{
    if (!incarnation || atomic_load_explicit(&node->holds, memory_order_relaxed) == incarnation) return;
    lk_pool_renew(node->pool); /* the next connection is a new one, and finds out which server answers */
    if (atomic_exchange_explicit(&node->suspect, incarnation, memory_order_acq_rel) != incarnation)
        lk_raise(node->wake_fd);
}

void lk_lease_renew(lk_book *book, unsigned partition) { want_beat(lk_book_owner(book, partition)); }

void lk_lease_await(lk_book *book, unsigned partition, int event_fd)
{
    lk_bells_wait(&book->bells, event_fd);
    want_beat(lk_book_owner(book, partition));
}
