/* SPDX-License-Identifier: MIT
 *
 * The ideal: it has been told the slot. No hash, no probing, no synchronisation; token, deadline and entry lie together
 * and begin on a cache line, so that a lookup is one round trip to memory and the rest of the work. Nothing that has
 * to find its entry by the token can be faster.
 */
#include "peer.h"

typedef struct slot {
    _Alignas(64) record record; /* 176 bytes in 3 lines; packed at 176 every second one would lie in 4 */
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
    uint32_t index = asked->index_hashed ^ (uint32_t)text_hash(asked->text);
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
