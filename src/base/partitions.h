/* A set of partitions, such as those that a server has. */
#ifndef LK_BASE_PARTITIONS_H
#define LK_BASE_PARTITIONS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct lk_partitions {
    const unsigned *at; /* in ascending order; must live longer than the set */
    size_t count;
} lk_partitions;

static inline bool lk_partitions_have(lk_partitions set, unsigned partition)
{
    size_t from = 0, to = set.count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (set.at[middle] == partition) return true;
        if (set.at[middle] < partition) from = middle + 1;
        else to = middle;
    }
    return false;
}

#endif
