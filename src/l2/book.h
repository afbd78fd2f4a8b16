/* The book: what a handle knows of revocations, and what it wants done, whichever server owns a partition at the
 * moment. It is opened before the nodes and closed after them. Each part has its own lock, or needs none; the link's
 * thread does the work. */
#ifndef LK_L2_BOOK_H
#define LK_L2_BOOK_H

#include "l2/bells.h"
#include "l2/inbox.h"
#include "l2/lease.h"
#include "revocation/cutoff.h"
#include "revocation/recent.h"

typedef struct lk_book {
    bool open;
    lk_leases *leases;
    lk_bells bells;
    lk_cutoffs *cutoffs;
    lk_recent *recent;
    lk_pending *pending;
    lk_inbox *inbox;
    int wake_fd; /* an eventfd: there is work for the link's thread */
} lk_book;

/* OK; NO_MEMORY; UNAVAILABLE: the process has no more descriptors, and `error` says so. */
int lk_book_open(lk_book *book, const lk_config *config, lk_counters *counters, char *error, size_t error_size);
void lk_book_close(lk_book *book);   /* also after a failed open, or without one if it is zeros */
void lk_book_abandon(lk_book *book); /* in a forked child: closes its copy of the descriptor, and does nothing else */

/* An eventfd for the link's thread; as lk_book_open. */
int lk_book_descriptor(int *fd, char *error, size_t error_size);

#endif
