/* See book.h. */
#include "l2/book.h"

#include "base/crypto.h"
#include "base/errno_text.h"
#include "l2/node_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

int lk_book_descriptor(int *fd, char *error, size_t error_size)
{
    *fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (*fd >= 0) return LATCHKEY_OK;
    if (errno == ENOMEM) return LATCHKEY_NO_MEMORY;
    snprintf(error, error_size, "no descriptor is left for the link: %s (see ulimit -n)", lk_errno_text(errno));
    return LATCHKEY_UNAVAILABLE;
}

int lk_book_open(lk_book *book, const lk_config *config)
{
    uint64_t seed[3];
    lk_random(seed, sizeof seed);
    memset(book, 0, sizeof *book);
    book->open = true;
    book->config = config;
    lk_lock_open(&book->lock, LK_RANK_NODE);
    lk_cond_init(&book->changed);
    lk_bells_open(&book->bells);
    book->leases = lk_leases_open();
    book->cutoffs = lk_cutoffs_open((size_t)config->partitions);
    book->recent = lk_recent_open(seed[0], LK_RECENT_MAX);
    book->refresh_gate = lk_refresh_gate_open(seed[1]);
    book->past = lk_past_open((size_t)config->partitions, seed[2]);
    if (book->recent) book->pending = lk_pending_open(book->recent, LK_PENDING_UNPROVEN_MAX);
    return book->leases && book->cutoffs && book->past && book->refresh_gate && book->pending ? LATCHKEY_OK
                                                                                              : LATCHKEY_NO_MEMORY;
}

void lk_book_close(lk_book *book)
{
    if (!book->open) return;
    lk_pending_close(book->pending);
    lk_refresh_gate_close(book->refresh_gate);
    lk_recent_close(book->recent);
    free(book->past);
    lk_cutoffs_close(book->cutoffs);
    lk_leases_close(book->leases);
    lk_bells_close(&book->bells);
    pthread_cond_destroy(&book->changed);
    lk_lock_close(&book->lock);
    memset(book, 0, sizeof *book);
}

bool lk_book_remember(lk_book *book, unsigned partition, const char *selector, lk_source source)
{
    lk_recent_made(book->recent, partition, selector, lk_now_ms());
    uint64_t met = lk_node_met(lk_book_owner(book, partition));
    return lk_leases_meetings(book->leases, partition) == source.meetings && (!met || met == source.incarnation);
}

/* Waits until the link has made it again. */
static bool await_done(lk_book *book, const lk_pending_item *item, int64_t deadline_ms)
{
    lk_lock_take(&book->lock);
    uint64_t seen = book->retried;
    lk_lock_give(&book->lock);
    bool open = lk_pending_denies(book->pending, item);
    for (int late = 0; open && !late; open = lk_pending_denies(book->pending, item)) {
        lk_lock_take(&book->lock);
        while (book->retried == seen && !late) late = lk_lock_wait_until(&book->lock, &book->changed, deadline_ms);
        seen = book->retried;
        lk_lock_give(&book->lock);
    }
    return !open;
}

bool lk_book_await_retry(lk_book *book, const lk_pending_item *item, uint64_t incarnation, int64_t deadline_ms)
{
    unsigned p = item->partition;
    if (!incarnation) return false;
    if (lk_lease_owner(book, p) != incarnation) lk_lease_moves(book, p, incarnation, deadline_ms);
    return lk_node_met(lk_book_owner(book, p)) == incarnation &&
           lk_lease_covers(book, p, incarnation, deadline_ms) == LATCHKEY_OK && await_done(book, item, deadline_ms);
}
