/* See book.h. */
#include "l2/book.h"

#include "base/crypto.h"
#include "base/errno_text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

int lk_book_descriptor(int *fd, char *error, size_t error_size)
{
    *fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (*fd >= 0) return LATCHKEY_OK;
    if (errno == ENOMEM) return LATCHKEY_NO_MEMORY;
    snprintf(error, error_size, "no descriptor is left for the link: %s (see ulimit -n)", lk_errno_text(errno));
    return LATCHKEY_UNAVAILABLE;
}

int lk_book_open(lk_book *book, const lk_config *config, lk_counters *counters, char *error, size_t error_size)
{
    uint64_t seed[2];
    lk_random(seed, sizeof seed);
    memset(book, 0, sizeof *book);
    int status = lk_book_descriptor(&book->wake_fd, error, error_size);
    if (status) return status;
    book->open = true;
    lk_bells_open(&book->bells);
    book->leases = lk_leases_open();
    book->cutoffs = lk_cutoffs_open((size_t)config->partitions);
    book->recent = lk_recent_open(seed[0]);
    book->inbox = lk_inbox_open(counters, book->wake_fd, seed[1]);
    if (book->recent) book->pending = lk_pending_open(book->recent);
    return book->leases && book->cutoffs && book->inbox && book->pending ? LATCHKEY_OK : LATCHKEY_NO_MEMORY;
}

void lk_book_close(lk_book *book)
{
    if (!book->open) return;
    lk_pending_close(book->pending);
    lk_inbox_close(book->inbox);
    lk_recent_close(book->recent);
    lk_cutoffs_close(book->cutoffs);
    lk_leases_close(book->leases);
    lk_bells_close(&book->bells);
    lk_book_abandon(book);
    memset(book, 0, sizeof *book);
}

void lk_book_abandon(lk_book *book)
{
    if (book->wake_fd >= 0) close(book->wake_fd);
}
