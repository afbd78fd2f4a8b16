/* A field's version: the first 8 bytes of the SHA-1 of what Redis holds of the field, as a number; 1 in place of 0.
 *
 * Nothing is stored beside a field. Every write changes the version, also one by another program. A read is a plain
 * HMGET, and the version is computed here. Before it writes, a script computes the same by redis.sha1hex
 * (set_fields.lua). That is why it is SHA-1: Redis has no other digest.
 *
 * It protects against losing another writer's change, not against an attacker: an attacker who can write to Redis needs
 * no collision. Equal bytes have equal versions, so a value that was changed and changed back has its old version
 * again. Sealed fields differ each time.
 *
 * Refused: counters. They would have to be written, kept beside the fields, rotated and expired with them, and they
 * would miss a plain HSET. */
#ifndef LK_BASE_FIELD_VERSION_H
#define LK_BASE_FIELD_VERSION_H

#include <stddef.h>
#include <stdint.h>

uint64_t lk_field_version(const void *data, size_t size); /* 0: no memory */

#endif
