/* What the links of a handle knew of a partition before another server got it: the next owner's link goes on from there.
 *
 * Written by the link of the partition's owner. Relaxed atomics: what is read late is only older, and the old owner's
 * link has let go before the new one's server has answered its handshake. */
#ifndef LK_L2_PAST_H
#define LK_L2_PAST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct lk_past_part {
    _Atomic bool blank;           /* in a cluster: its node has no number of partitions */
    _Atomic int64_t confirmed_ms; /* when the last good beat was sent; 0: there was none */
    _Atomic uint64_t most;        /* the highest number of a revocation that was known before a server was met */
    /* The slot was moved to this incarnation of a server by one that has lost nothing: all that was written went with it.
     * 0: that is not known. Written by the thread that applies maps (topology.c) */
    _Atomic uint64_t whole;
} lk_past_part;

typedef struct lk_past {
    uint64_t instance; /* this handle's name on the channels of a cluster */
    /* A node has said that Redis holds as many partitions as the configuration says. Until then no server of a cluster
     * gets a lease. */
    _Atomic bool agreed;
    lk_past_part of[];
} lk_past;

lk_past *lk_past_open(size_t partitions, uint64_t instance); /* NULL: no memory. Free it with free */

static inline bool lk_past_agreed(const lk_past *past)
{
    return atomic_load_explicit(&past->agreed, memory_order_relaxed);
}

static inline int64_t lk_past_confirmed_ms(const lk_past *past, unsigned partition)
{
    return atomic_load_explicit(&past->of[partition].confirmed_ms, memory_order_relaxed);
}

static inline uint64_t lk_past_most(const lk_past *past, unsigned partition)
{
    return atomic_load_explicit(&past->of[partition].most, memory_order_relaxed);
}

static inline uint64_t lk_past_whole(const lk_past *past, unsigned partition)
{
    return atomic_load_explicit(&past->of[partition].whole, memory_order_relaxed);
}

void lk_past_note(lk_past *past, unsigned partition, uint64_t number); /* it was known there */

#endif
