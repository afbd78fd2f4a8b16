/* See cutoff.h. */
#include "revocation/cutoff.h"

#include "latchkey.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct lk_cutoffs {
    /* One for each partition, in an array. In doubt: -1 less the cut-off that is known. Written by the links'
     * threads: of a partition that changes its owner, by two. Relaxed:
     * readers are ordered by L1's emptying (release) with the ticket (acquire), or by the store of the lease with its
     * load. The only consequence of a stale read is an answer that then gets no lease, or a fill whose ticket is not
     * valid any more. */
    _Atomic int64_t at;
};

lk_cutoffs *lk_cutoffs_open(size_t partitions) { return calloc(partitions, sizeof(lk_cutoffs)); }

void lk_cutoffs_close(lk_cutoffs *e) { free(e); }

bool lk_cutoff_parse(const char *text, size_t size, int64_t *ms)
{
    *ms = 0;
    if (!size || size > 13 || strspn(text, "0123456789") < size) return false;
    for (size_t i = 0; i < size; i++) *ms = *ms * 10 + (text[i] - '0');
    return true;
}

static int64_t known(int64_t at) { return at < 0 ? -1 - at : at; }

int64_t lk_cutoffs_known(const lk_cutoffs *e, unsigned p)
{
    return known(atomic_load_explicit(&e[p].at, memory_order_relaxed));
}

bool lk_cutoffs_set(lk_cutoffs *e, unsigned p, int64_t ms)
{
    int64_t at = atomic_load_explicit(&e[p].at, memory_order_relaxed), later;
    do later = ms > known(at) ? ms : known(at);
    while (!atomic_compare_exchange_weak_explicit(&e[p].at, &at, later, memory_order_relaxed, memory_order_relaxed));
    return ms > known(at);
}

bool lk_cutoffs_doubt(lk_cutoffs *e, unsigned p)
{
    int64_t at = atomic_load_explicit(&e[p].at, memory_order_relaxed);
    while (at >= 0 &&
           !atomic_compare_exchange_weak_explicit(&e[p].at, &at, -1 - at, memory_order_relaxed, memory_order_relaxed))
        ;
    return at >= 0;
}

int lk_cutoffs_judge(const lk_cutoffs *e, unsigned p, int64_t created_at_ms)
{
    int64_t at = atomic_load_explicit(&e[p].at, memory_order_relaxed);
    if (at < 0) return LATCHKEY_CORRUPT;
    return !at || created_at_ms > at ? LATCHKEY_OK : LATCHKEY_NOT_FOUND;
}
