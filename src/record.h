/* The compact record: what a miss moves. 184 bytes under the field `v` of the session's hash in Redis, little-endian.
 *
 *     0  'L' 'K' format 0      136  BLAKE2b-256 of the verifier   32
 *     4  zero           4      168  selector, raw                 15
 *     8  idle_ms        8      183  zero                           1
 *    16  entry        120
 *
 * Beside it stands the field `x`, "idle_ms expires_at_ms user_id" in decimal: what the scripts need.
 *
 * A token that was exchanged for another (rotate.lua) leaves a record of its own format behind: in the place of idle_ms
 * stands the end of its grace, in ms of Redis' clock. */
#ifndef LK_RECORD_H
#define LK_RECORD_H

#include "crypto.h"
#include "token.h"

#define LK_RECORD_SIZE 184
#define LK_RECORD_FORMAT 1
#define LK_RECORD_ROTATED 2

/* The offsets that create.lua and set_fields.lua rely on. */
#define LK_RECORD_ENTRY 16
#define LK_RECORD_EXPIRES (LK_RECORD_ENTRY + 24)
#define LK_RECORD_PERMISSIONS (LK_RECORD_ENTRY + 32)
#define LK_RECORD_KEY_HASH (LK_RECORD_ENTRY + 64)
#define LK_RECORD_CREATED (LK_RECORD_ENTRY + 96)
#define LK_RECORD_DEVICE (LK_RECORD_ENTRY + 112)
#define LK_RECORD_VERIFIER_HASH 136
#define LK_RECORD_SELECTOR 168

typedef struct lk_record {
    int64_t idle_ms;        /* 0 where */
    int64_t grace_until_ms; /* is not 0: the token was exchanged */
    latchkey_entry entry;
    uint8_t verifier_hash[LK_HASH_SIZE];
    uint8_t selector[LK_SELECTOR_RAW];
} lk_record;

void lk_record_encode(const lk_record *record, uint8_t bytes[LK_RECORD_SIZE]);

enum lk_record_check { LK_RECORD_GOOD, LK_RECORD_BAD, LK_RECORD_FUTURE };

/* Checks size, format and ranges. FUTURE: written by a newer version; to this one it is no record. */
enum lk_record_check lk_record_decode(const void *bytes, size_t size, lk_record *record);

bool lk_field_name_good(const char *name, size_t length);
bool lk_fields_good(const latchkey_field *fields, size_t count, bool may_delete); /* names, sizes, none twice */
bool lk_field_is_key(const char *name, size_t length);                            /* starts with "pq." */

#define LK_FIELDS_MAX 256
#define LK_KEY_FIELDS_MAX 64
#define LK_FIELD_SIZE_MAX (64 * 1024)

/* latchkey_key_hash over the "pq." fields given; false: a name stands twice, or too many. Sorts `fields`. */
typedef struct lk_named {
    const char *name;
    size_t name_length;
    const void *data;
    size_t size;
} lk_named;
bool lk_key_hash(lk_named *fields, size_t count, uint8_t hash[LK_HASH_SIZE]);

#endif
