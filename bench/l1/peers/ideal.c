/* SPDX-License-Identifier: MIT
 *
 * The ideal: it has been told the slot. No hash, no probing, no synchronisation; token, deadline and entry lie together
 * and begin on a cache line, so that a lookup is one round trip to memory and the rest of the work. Nothing that has
 * to find its entry by the token can be faster.
 */
#include "base/counters.h"
#include "peer.h"

#include <stdatomic.h>

typedef struct slot {
    _Alignas(64) record record; /* 180 bytes in 3 lines; packed every second one would lie in 4 */
    _Atomic uint32_t version;
    _Atomic uint8_t used;
} slot;

typedef struct ideal {
    size_t size;
    slot slots[];
} ideal;

static void *ideal_open(size_t capacity)
{
    size_t size = sizeof(ideal) + (capacity + capacity / 10 + 64) * sizeof(slot);
    ideal *map = take_huge(size);
    map->size = size;
    return map;
}

static void ideal_close(void *map) { release_huge(map, ((ideal *)map)->size); }
static void ideal_put(void *map, const record *r) { ((ideal *)map)->slots[r->index].record = *r; }
static void ideal_drop(void *map, const record *r) { ((ideal *)map)->slots[r->index].record.deadline_ms = 0; }
static size_t ideal_bytes(void *map) { return ((ideal *)map)->size; }

static bool ideal_get(void *map, const request *asked, latchkey_entry *entry)
{
    int64_t lease = lease_until();
    const record *r = &((ideal *)map)->slots[asked->index].record;
    if (!text_equal(r->text, asked->text)) return false;
    *entry = r->entry;
    return in_time(lease, r->deadline_ms);
}

const peer peer_ideal = {.name = "ideal",
                         .where = "this benchmark",
                         .ours = true,
                         .open = ideal_open,
                         .close = ideal_close,
                         .get = ideal_get,
                         .put = ideal_put,
                         .drop = ideal_drop,
                         .bytes = ideal_bytes};

/* The same with the one thing that it was spared: the address waits for the hash, as if that were a perfect one. */
static bool hashed_get(void *map, const request *asked, latchkey_entry *entry)
{
    int64_t lease = lease_until();
    uint32_t index = asked->index_hashed ^ folded_hash(asked->text);
    const record *r = &((ideal *)map)->slots[index].record;
    if (!text_equal(r->text, asked->text)) return false;
    *entry = r->entry;
    return in_time(lease, r->deadline_ms);
}

const peer peer_ideal_hashed = {.name = "ideal, hashing",
                                .where = "this benchmark",
                                .ours = true,
                                .open = ideal_open,
                                .close = ideal_close,
                                .get = hashed_get,
                                .put = ideal_put,
                                .drop = ideal_drop,
                                .bytes = ideal_bytes};

/* The same with what a hit costs beside a writer, an eviction policy and a counter of hits: a version read twice, a mark
 * looked at, an addition on a line of this thread's own. Nothing that can be written to, evicts and counts is faster. */
static lk_counters minded_counters;

static bool minding_get(void *map, const request *asked, latchkey_entry *entry)
{
    int64_t lease = lease_until();
    slot *s = &((ideal *)map)->slots[asked->index_hashed ^ folded_hash(asked->text)];
    uint32_t version = atomic_load_explicit(&s->version, memory_order_acquire);
    if (!text_equal(s->record.text, asked->text)) return false;
    *entry = s->record.entry;
    int64_t deadline_ms = s->record.deadline_ms;
    atomic_signal_fence(memory_order_acquire);
    if (version & 1 || atomic_load_explicit(&s->version, memory_order_relaxed) != version) return false;
    uint8_t used = atomic_load_explicit(&s->used, memory_order_relaxed);
    if (used < 3) atomic_store_explicit(&s->used, (uint8_t)(used + 1), memory_order_relaxed);
    if (!in_time(lease, deadline_ms)) return false;
    lk_count(&minded_counters, LK_L1_HITS, 1);
    return true;
}

const peer peer_ideal_minding = {.name = "ideal, hashing and minding",
                                 .where = "this benchmark",
                                 .ours = true,
                                 .open = ideal_open,
                                 .close = ideal_close,
                                 .get = minding_get,
                                 .put = ideal_put,
                                 .drop = ideal_drop,
                                 .bytes = ideal_bytes};
