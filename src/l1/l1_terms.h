/* How long an entry is good for, in a slot's 40 bits for due_ms and these 16:
 *
 *   +-------+------+-----------+   queue      trial or main, for eviction: l1_evict.c; changes without the version
 *   | queue | idle | until end |   idle       the place in a table of idle times, 0: no touch moves the entry on
 *   +-------+------+-----------+   until end  end_ms in units of 2^u ms, its last six bits; and u, in five
 *     1       4      11
 *
 * Where touches move the entry on, due_ms is even. If it is odd, the session was used since then, and Redis has yet to be told
 * of that (lk_l1_owe).
 *
 * The unit is the least in which end_ms is less than 64 units behind due_ms: so the six bits and due_ms tell it. What cannot be
 * written down exactly ends earlier, by less than a unit. As due_ms moves on, the unit shrinks, and end_ms stays exact. */
#ifndef LK_L1_L1_TERMS_H
#define LK_L1_L1_TERMS_H

#include "l1/l1.h"

enum {
    LK_L1_QUEUE_BIT = 1 << 15,
    LK_L1_IDLE_SHIFT = 11,
    LK_L1_IDLE_PLACES = 16,
    LK_L1_UNIT_SHIFT = 6,
    LK_L1_UNITS = 64
};

/* The idle times that sessions have: a few. A place is taken once, for good; the first is not used. Relaxed: a place is read by
 * who saw its number in a slot, whose words were released after it was taken. */
typedef struct lk_l1_idle_times {
    _Atomic int64_t ms[LK_L1_IDLE_PLACES];
} lk_l1_idle_times;

/* due_ms <= *end_ms < 2^40. Rounds *end_ms down. */
static inline unsigned lk_l1_end_write(int64_t due_ms, int64_t *end_ms)
{
    unsigned unit = 0;
    while ((*end_ms >> unit) - (due_ms >> unit) >= LK_L1_UNITS) unit++;
    *end_ms = *end_ms >> unit << unit;
    return unit << LK_L1_UNIT_SHIFT | (unsigned)(*end_ms >> unit & (LK_L1_UNITS - 1));
}

static inline int64_t lk_l1_end_read(int64_t due_ms, unsigned terms)
{
    unsigned unit = terms >> LK_L1_UNIT_SHIFT & 31;
    int64_t due = due_ms >> unit;
    return (due + ((int64_t)(terms - (uint64_t)due) & (LK_L1_UNITS - 1))) << unit;
}

/* 0: there is none left. */
static inline unsigned lk_l1_idle_place(lk_l1_idle_times *table, int64_t idle_ms)
{
    for (unsigned i = 1; idle_ms > 0 && i < LK_L1_IDLE_PLACES; i++) {
        int64_t there = 0;
        if (atomic_compare_exchange_strong_explicit(&table->ms[i], &there, idle_ms, memory_order_relaxed,
                                                    memory_order_relaxed) ||
            there == idle_ms)
            return i;
    }
    return 0;
}

static inline lk_l1_times lk_l1_terms_read(const lk_l1_idle_times *table, uint64_t due_ms, unsigned terms)
{
    unsigned place = terms >> LK_L1_IDLE_SHIFT & (LK_L1_IDLE_PLACES - 1);
    return (lk_l1_times){.due_ms = (int64_t)due_ms,
                         .end_ms = lk_l1_end_read((int64_t)due_ms, terms),
                         .idle_ms = atomic_load_explicit(&table->ms[place], memory_order_relaxed)};
}

static inline uint16_t lk_l1_terms_write(lk_l1_idle_times *table, lk_l1_times t, uint64_t *due_ms)
{
    const int64_t most = (INT64_C(1) << 40) - 1;
    unsigned place = lk_l1_idle_place(table, t.idle_ms);
    if (!place || t.due_ms < 0) t.end_ms = lk_l1_end(&t);
    t.end_ms = t.end_ms < 0 ? 0 : t.end_ms > most ? most : t.end_ms;
    t.due_ms = t.due_ms < 0 ? 0 : t.due_ms > t.end_ms ? t.end_ms : t.due_ms;
    if (place) t.due_ms &= ~INT64_C(1);
    unsigned end = lk_l1_end_write(t.due_ms, &t.end_ms);
    *due_ms = (uint64_t)(t.due_ms < t.end_ms ? t.due_ms : t.end_ms);
    return (uint16_t)(place << LK_L1_IDLE_SHIFT | end);
}

#endif
