/* The one file that includes xxHash: XXH3, seeded, and XXH64. A hash places things (entries, reads under way, partitions); it
 * never decides which session a token means (guarantee E). XXH3's output is frozen since 0.8.0, so a user's partition
 * is the same in every version. */
#ifndef LK_BASE_HASH_H
#define LK_BASE_HASH_H

#define XXH_INLINE_ALL /* a call through the PLT would cost as much as the hash, which takes 3.4 ns inlined */
#include <xxhash.h>
#include <stdint.h>

static inline uint64_t lk_hash(const void *data, size_t size, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, size, seed);
}

/* The same of bytes that come one after the other, by XXH64. */
typedef XXH64_state_t lk_hash_stream;

static inline void lk_hash_stream_begin(lk_hash_stream *s) { (void)XXH64_reset(s, 0); }
static inline void lk_hash_stream_add(lk_hash_stream *s, const void *data, size_t size)
{
    if (size) (void)XXH64_update(s, data, size);
}
static inline uint64_t lk_hash_stream_value(const lk_hash_stream *s) { return XXH64_digest(s); }

#endif
