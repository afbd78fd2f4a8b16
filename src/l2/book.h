/* The book: what does not depend on which server owns a partition. It holds what a handle knows of revocations, the work
 * that it has for the links, and which node owns each partition. It is opened before the nodes and closed after them. Each part has its own lock, or
 * needs none; the links' threads do the work. */
#ifndef LK_L2_BOOK_H
#define LK_L2_BOOK_H

#include "base/lock.h"
#include "l2/bells.h"
#include "l2/lease.h"
#include "l2/past.h"
#include "l2/refresh_gate.h"
#include "revocation/cutoff.h"
#include "revocation/pending.h"
#include "revocation/recent.h"

#include <pthread.h>

typedef struct lk_node lk_node;

struct lk_book {
    bool open;
    const lk_config *config;
    lk_leases *leases;
    lk_bells bells;
    lk_cutoffs *cutoffs;
    lk_recent *recent;
    lk_past *past;
    lk_pending *pending;
    lk_refresh_gate *refresh_gate;
    lk_lock lock;
    pthread_cond_t changed; /* one of `news`, `version` and `retried` has */
    /* Who owns each partition. Written under the lock, with release; a thread that sees a node sees all of it. What is
     * read without the lock may be out of date at once. */
    _Atomic(lk_node *) owner[LK_PARTITIONS_MAX];
    /* guarded by lock, as is every write to a lease: */
    uint64_t news;                     /* how often leases were confirmed, or the owner of partitions changed */
    uint64_t version;                  /* how often the owner of partitions changed */
    uint64_t retried;                  /* revocations that a link has made since a call gave up */
    uint64_t since[LK_PARTITIONS_MAX]; /* the version in which the owner last changed */
    struct {
        lk_node *node;
        uint64_t incarnation;
    } leased[LK_PARTITIONS_MAX]; /* what server last had the partition's lease */
};

/* OK or NO_MEMORY. `config` must live longer than the book. */
int lk_book_open(lk_book *book, const lk_config *config);
void lk_book_close(lk_book *book); /* also after a failed open, or without one if it is zeros */

static inline lk_node *lk_book_owner(const lk_book *book, unsigned partition)
{
    return atomic_load_explicit(&book->owner[partition], memory_order_acquire);
}

/* Where a script's answer came from. `meetings`: the partition's number (lease.h) before the script was sent. */
typedef struct lk_source {
    uint64_t incarnation, meetings;
    bool unanswered; /* the script was sent, and no answer came: it may have run */
} lk_source;

/* Remembers that this session was ended, as the script's answer says. False: a link has begun to meet a server for this
 * partition since the script was sent. That server may not know of it, and was told only what was remembered before: the
 * revocation must be made again. */
bool lk_book_remember(lk_book *book, unsigned partition, const char *selector, lk_source source);

/* For a revocation that the server confirmed and that does not count yet; it is pending now, to be retried. If the link
 * is just meeting that very server, this takes one beat: it waits for that, until deadline_ms at most. True: the link
 * has made it again, and that server has the lease. */
bool lk_book_await_retry(lk_book *book, const lk_pending_item *item, uint64_t incarnation, int64_t deadline_ms);

/* An eventfd for a thread. OK; NO_MEMORY; UNAVAILABLE: the process has no more descriptors, and `error` says so. */
int lk_book_descriptor(int *fd, char *error, size_t error_size);

#endif
