/* The compact record: what a miss reads from Redis. 184 bytes in the field `v` of the session's hash, little-endian.
 *
 *     0  'L' 'K' format 0      136  BLAKE2b-256 of the verifier   32
 *     4  age            4      168  selector, raw                 15
 *     8  idle_ms        8      183  zero                           1
 *    16  entry        120
 *
 * Beside it is the field `x`, "idle_ms expires_at_ms user_id" in decimal: what the scripts need.
 *
 * The age is in seconds, rounded down: from created_at_ms to when this token was made. So it is 0 until the first
 * exchange. It is negative if the session says that it was created later than it was. create.lua does that when all
 * sessions up to a time in the future were ended, by a clock that was ahead.
 *
 * A token that was exchanged for another (rotate.lua) leaves a record of its own format behind: in place of idle_ms is
 * the end of its grace, in milliseconds of Redis' clock.
 *
 * Sealed (seal.h), the two formats become 3 and 4: the same bytes at the same places, and these behind them:
 *
 *   184  the session's id  16     204  nonce   24
 *   200  the key's id       4     228  tag     16
 *
 * Encrypted, as one message, are the entry's user_id and role (16 to 40), permissions_hash and pq_key_hash (48 to 112),
 * and flags (132 to 136). The 204 bytes before the nonce, with zeros in those places, are authenticated. */
#ifndef LK_BASE_RECORD_H
#define LK_BASE_RECORD_H

#include "base/crypto.h"
#include "base/seal.h"
#include "base/token.h"

#define LK_RECORD_SIZE 184
#define LK_RECORD_SEALED_SIZE 244
#define LK_RECORD_FORMAT 1
#define LK_RECORD_ROTATED 2
#define LK_RECORD_SEALED 2 /* added to the format if the record is sealed */
#define LK_RECORD_NEWEST (LK_RECORD_ROTATED + LK_RECORD_SEALED)

/* The offsets that the scripts use: redis/scripts.cmake reads them from here. */
#define LK_RECORD_KIND 2 /* where the format is */
#define LK_RECORD_AGE 4
#define LK_RECORD_SPAN 8 /* idle_ms, or the end of the grace */
#define LK_RECORD_ENTRY 16
#define LK_RECORD_EXPIRES (LK_RECORD_ENTRY + 24)
#define LK_RECORD_PERMISSIONS (LK_RECORD_ENTRY + 32)
#define LK_RECORD_KEY_HASH (LK_RECORD_ENTRY + 64)
#define LK_RECORD_CREATED (LK_RECORD_ENTRY + 96)
#define LK_RECORD_DEVICE (LK_RECORD_ENTRY + 112)
#define LK_RECORD_VERIFIER_HASH 136
#define LK_RECORD_SELECTOR 168
#define LK_RECORD_SESSION 184
#define LK_RECORD_NONCE 204

typedef struct lk_record {
    int64_t idle_ms;        /* 0 if */
    int64_t grace_until_ms; /* is not 0: the token was exchanged */
    int32_t age_s;          /* how old the session was when this token was made */
    latchkey_entry entry;
    uint8_t verifier_hash[LK_HASH_SIZE];
    uint8_t selector[LK_SELECTOR_RAW];
    bool sealed;
    uint8_t session[LK_SEAL_SESSION_SIZE]; /* its id, where it is sealed; else zeros */
} lk_record;

enum lk_record_check {
    LK_RECORD_GOOD,
    LK_RECORD_BAD,
    LK_RECORD_FUTURE,      /* written by a newer version; this version cannot read it */
    LK_RECORD_UNSEALED,    /* not sealed, and the key file has no line `plain` */
    LK_RECORD_KEYLESS,     /* sealed, and there is no key file */
    LK_RECORD_UNKNOWN_KEY, /* sealed with a key that the key file does not have */
    LK_RECORD_BROKEN       /* sealed, and the seal does not match */
};
const char *lk_record_fault(enum lk_record_check check); /* what is wrong, in words for people */

/* The record as Redis is to hold it. With record->sealed it is sealed with the first key; then there must be a key.
 * Returns its size. */
size_t lk_record_seal(const lk_seal_keys *keys, const lk_record *record, uint8_t bytes[LK_RECORD_SEALED_SIZE]);

/* Takes what Redis holds, sealed or not, checks it and opens it. All records come in through here. */
enum lk_record_check lk_record_open(const lk_seal_keys *keys, const void *bytes, size_t size, lk_record *record);

lk_seal_context lk_record_context(const lk_record *record); /* what its fields are bound to */

/* The age of a token that is made at now_ms: see above. */
int32_t lk_record_age_s(const lk_record *record, int64_t now_ms);

/* For records that are not sealed. Decoding checks size, format and ranges. */
void lk_record_encode(const lk_record *record, uint8_t bytes[LK_RECORD_SIZE]);
enum lk_record_check lk_record_decode(const void *bytes, size_t size, lk_record *record);

/* What a record, sealed or not, shows without being opened: enough to count sessions. False: it is not a record. */
typedef struct lk_record_header {
    size_t size;
    bool rotated;
    int64_t created_at_ms, expires_at_ms;
    uint32_t device;
} lk_record_header;
bool lk_record_header_read(const void *bytes, size_t size, lk_record_header *header);

bool lk_field_name_good(const char *name, size_t length);
bool lk_field_names_good(const char *const *names, size_t count); /* 1 to LK_FIELDS_MAX good ones */
/* Checks names and sizes, and that no name is given twice: OK or BAD_ARGUMENT. */
int lk_fields_check(const latchkey_field *fields, size_t count, bool may_delete);
bool lk_field_is_key(const char *name, size_t length); /* starts with "pq." */

/* Copies of the fields, sealed for this session. The names stay the caller's; a NULL data stays NULL. One free() frees
 * them all. NULL: no memory. */
latchkey_field *lk_fields_seal(const lk_seal_keys *keys, const lk_record *record, const latchkey_field *fields,
                               size_t count);

#define LK_FIELDS_MAX 256
#define LK_KEY_FIELDS_MAX 64
#define LK_FIELD_SIZE_MAX (64 * 1024)
#define LK_SECTION_SIZE_MAX LATCHKEY_SECTION_SIZE_MAX

/* latchkey_key_hash over the "pq." fields given. False: a name is given twice, or there are too many. Sorts `fields`. */
typedef struct lk_named {
    const char *name;
    size_t name_length;
    const void *data;
    size_t size;
} lk_named;
bool lk_key_hash(lk_named *fields, size_t count, uint8_t hash[LK_HASH_SIZE]);

#endif
