/* See past.h. */
#include "l2/past.h"

#include <stdlib.h>

lk_past *lk_past_open(size_t partitions, uint64_t instance)
{
    lk_past *past = calloc(1, sizeof *past + partitions * sizeof past->of[0]);
    if (past) past->instance = instance;
    return past;
}

void lk_past_note(lk_past *past, unsigned partition, uint64_t number)
{
    _Atomic uint64_t *most = &past->of[partition].most;
    uint64_t known = atomic_load_explicit(most, memory_order_relaxed);
    while (known < number &&
           !atomic_compare_exchange_weak_explicit(most, &known, number, memory_order_relaxed, memory_order_relaxed)) {
    }
}
