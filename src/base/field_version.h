/* A field's version: the first 8 bytes of SHA-1 of what Redis holds of it, as a number; 1 instead of 0.
 *
 * So nothing is stored beside a field, every write counts, whoever made it, and a read is a plain HMGET: computed here. A
 * script finds the same by redis.sha1hex before it writes (set_fields.lua), which is why it is SHA-1, the only digest that
 * Redis has. It guards against losing others' changes, not against enemies: who can write to Redis need not collide.
 * Equal bytes have equal versions; what changed and changed back is as it was. Sealed fields differ each time.
 * Counters would have to be written, kept beside the fields, rotated and expired with them, and would miss a plain HSET. */
#ifndef LK_BASE_FIELD_VERSION_H
#define LK_BASE_FIELD_VERSION_H

#include <stddef.h>
#include <stdint.h>

uint64_t lk_field_version(const void *data, size_t size); /* 0: no memory */

#endif
