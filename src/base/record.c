/* See record.h. */
#include "base/record.h"
#include "base/argument.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(latchkey_entry) == LATCHKEY_ENTRY_SIZE, "the entry is frozen at 120 bytes");
_Static_assert(offsetof(latchkey_entry, role) == 8 && offsetof(latchkey_entry, expires_at_ms) == 24 &&
                   offsetof(latchkey_entry, permissions_hash) == 32 && offsetof(latchkey_entry, pq_key_hash) == 64 &&
                   offsetof(latchkey_entry, created_at_ms) == 96 && offsetof(latchkey_entry, auth_at_ms) == 104 &&
                   offsetof(latchkey_entry, device) == 112 && offsetof(latchkey_entry, flags) == 116,
               "the entry has no padding, so memory and record differ by byte order alone");
_Static_assert(LK_RECORD_ENTRY + LATCHKEY_ENTRY_SIZE == LK_RECORD_VERIFIER_HASH &&
                   LK_RECORD_VERIFIER_HASH + LK_HASH_SIZE == LK_RECORD_SELECTOR &&
                   LK_RECORD_SELECTOR + LK_SELECTOR_RAW + 1 == LK_RECORD_SIZE,
               "the record has no gaps");

/* The largest duration or time that is believed: the year 5138. Beyond it, additions could overflow. */
#define TIME_MAX INT64_C(100000000000000)

static void put_number(uint8_t *at, uint64_t value, int size)
{
    for (int i = 0; i < size; i++) at[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get_number(const uint8_t *at, int size)
{
    uint64_t value = 0;
    for (int i = 0; i < size; i++) value |= (uint64_t)at[i] << (8 * i);
    return value;
}

void lk_record_encode(const lk_record *record, uint8_t bytes[LK_RECORD_SIZE])
{
    const latchkey_entry *e = &record->entry;
    memset(bytes, 0, LK_RECORD_SIZE);
    bytes[0] = 'L';
    bytes[1] = 'K';
    bytes[2] = record->grace_until_ms ? LK_RECORD_ROTATED : LK_RECORD_FORMAT;
    put_number(bytes + LK_RECORD_AGE, (uint32_t)record->age_s, 4);
    put_number(bytes + 8, (uint64_t)(record->grace_until_ms ? record->grace_until_ms : record->idle_ms), 8);
    uint8_t *at = bytes + LK_RECORD_ENTRY;
    put_number(at, e->user_id, 8);
    memcpy(at + 8, e->role, 16);
    put_number(bytes + LK_RECORD_EXPIRES, (uint64_t)e->expires_at_ms, 8);
    memcpy(bytes + LK_RECORD_PERMISSIONS, e->permissions_hash, 32);
    memcpy(bytes + LK_RECORD_KEY_HASH, e->pq_key_hash, 32);
    put_number(bytes + LK_RECORD_CREATED, (uint64_t)e->created_at_ms, 8);
    put_number(bytes + LK_RECORD_CREATED + 8, (uint64_t)e->auth_at_ms, 8);
    put_number(bytes + LK_RECORD_DEVICE, e->device, 4);
    put_number(bytes + LK_RECORD_DEVICE + 4, e->flags, 4);
    memcpy(bytes + LK_RECORD_VERIFIER_HASH, record->verifier_hash, LK_HASH_SIZE);
    memcpy(bytes + LK_RECORD_SELECTOR, record->selector, LK_SELECTOR_RAW);
}

enum lk_record_check lk_record_decode(const void *data, size_t size, lk_record *record)
{
    const uint8_t *bytes = data;
    if (size < 4 || bytes[0] != 'L' || bytes[1] != 'K') return LK_RECORD_BAD;
    if (bytes[2] > LK_RECORD_ROTATED) return LK_RECORD_FUTURE;
    if (size != LK_RECORD_SIZE || bytes[2] < LK_RECORD_FORMAT || bytes[3] || bytes[LK_RECORD_SIZE - 1])
        return LK_RECORD_BAD;
    memset(record, 0, sizeof *record);
    latchkey_entry *e = &record->entry;
    const uint8_t *at = bytes + LK_RECORD_ENTRY;
    bool rotated = bytes[2] == LK_RECORD_ROTATED;
    int64_t duration = (int64_t)get_number(bytes + 8, 8);
    record->idle_ms = rotated ? 0 : duration;
    record->grace_until_ms = rotated ? duration : 0;
    record->age_s = (int32_t)get_number(bytes + LK_RECORD_AGE, 4);
    e->user_id = get_number(at, 8);
    memcpy(e->role, at + 8, 16);
    e->expires_at_ms = (int64_t)get_number(bytes + LK_RECORD_EXPIRES, 8);
    memcpy(e->permissions_hash, bytes + LK_RECORD_PERMISSIONS, 32);
    memcpy(e->pq_key_hash, bytes + LK_RECORD_KEY_HASH, 32);
    e->created_at_ms = (int64_t)get_number(bytes + LK_RECORD_CREATED, 8);
    e->auth_at_ms = (int64_t)get_number(bytes + LK_RECORD_CREATED + 8, 8);
    e->device = (uint32_t)get_number(bytes + LK_RECORD_DEVICE, 4);
    e->flags = (uint32_t)get_number(bytes + LK_RECORD_DEVICE + 4, 4);
    memcpy(record->verifier_hash, bytes + LK_RECORD_VERIFIER_HASH, LK_HASH_SIZE);
    memcpy(record->selector, bytes + LK_RECORD_SELECTOR, LK_SELECTOR_RAW);
    bool sane = duration > 0 && duration < TIME_MAX && e->expires_at_ms > 0 && e->expires_at_ms < TIME_MAX &&
                e->created_at_ms >= 0 && e->created_at_ms <= e->expires_at_ms &&
                (int64_t)record->age_s * 1000 <= e->expires_at_ms - e->created_at_ms &&
                (int64_t)record->age_s * 1000 >= -e->created_at_ms;
    return sane ? LK_RECORD_GOOD : LK_RECORD_BAD;
}

int32_t lk_record_age_s(const lk_record *record, int64_t now_ms)
{
    const latchkey_entry *e = &record->entry;
    int64_t made_ms = now_ms < e->expires_at_ms ? now_ms : e->expires_at_ms;
    int64_t age_ms = made_ms - e->created_at_ms, least_ms = INT32_MIN * INT64_C(1000);
    if (age_ms < least_ms) age_ms = least_ms;
    return (int32_t)((age_ms < 0 ? age_ms - 999 : age_ms) / 1000);
}

/* ------------------------------------------------------------------------------------------------- sealing -- */

_Static_assert(LK_RECORD_SESSION == LK_RECORD_SIZE &&
                   LK_RECORD_NONCE == LK_RECORD_SESSION + LK_SEAL_SESSION_SIZE + LK_SEAL_ID_SIZE &&
                   LK_RECORD_SEALED_SIZE == LK_RECORD_NONCE + LK_AEAD_NONCE_SIZE + LK_AEAD_TAG_SIZE,
               "a sealed record has no gaps either");

/* What is encrypted: user_id and role; both hashes; flags. */
static const struct {
    size_t at, size;
} secret[] = {{LK_RECORD_ENTRY, 24}, {LK_RECORD_PERMISSIONS, 64}, {LK_RECORD_DEVICE + 4, 4}};
enum { SECRETS = sizeof secret / sizeof *secret, SECRET_SIZE = 92 };

/* Moves the secret parts out of the record into the message, and leaves zeros in their places. */
static void gather(uint8_t *bytes, uint8_t message[SECRET_SIZE])
{
    for (int i = 0; i < SECRETS; message += secret[i++].size) {
        memcpy(message, bytes + secret[i].at, secret[i].size);
        memset(bytes + secret[i].at, 0, secret[i].size);
    }
}

static void scatter(uint8_t *bytes, const uint8_t message[SECRET_SIZE])
{
    for (int i = 0; i < SECRETS; message += secret[i++].size) memcpy(bytes + secret[i].at, message, secret[i].size);
}

size_t lk_record_seal(const lk_seal_keys *keys, const lk_record *record, uint8_t bytes[LK_RECORD_SEALED_SIZE])
{
    uint8_t message[SECRET_SIZE];
    lk_record_encode(record, bytes);
    if (!record->sealed) return LK_RECORD_SIZE;
    bytes[2] = (uint8_t)(bytes[2] + LK_RECORD_SEALED);
    memcpy(bytes + LK_RECORD_SESSION, record->session, LK_SEAL_SESSION_SIZE);
    gather(bytes, message);
    lk_seal(keys, bytes, LK_RECORD_NONCE, message, sizeof message, bytes + LK_RECORD_NONCE);
    scatter(bytes, message);
    return LK_RECORD_SEALED_SIZE;
}

lk_seal_context lk_record_context(const lk_record *record)
{
    lk_seal_context context = {.user_id = record->entry.user_id};
    memcpy(context.session, record->session, sizeof context.session);
    return context;
}

static enum lk_record_check open_sealed(const lk_seal_keys *keys, const uint8_t *sealed, lk_record *record)
{
    uint8_t bytes[LK_RECORD_SEALED_SIZE], message[SECRET_SIZE];
    memcpy(bytes, sealed, sizeof bytes);
    gather(bytes, message);
    enum lk_seal_check seal = lk_unseal(keys, bytes, LK_RECORD_NONCE, message, sizeof message, bytes + LK_RECORD_NONCE);
    if (seal) return seal == LK_SEAL_BROKEN ? LK_RECORD_BROKEN : LK_RECORD_UNKNOWN_KEY;
    scatter(bytes, message);
    bytes[2] = (uint8_t)(bytes[2] - LK_RECORD_SEALED);
    enum lk_record_check check = lk_record_decode(bytes, LK_RECORD_SIZE, record);
    record->sealed = true;
    memcpy(record->session, bytes + LK_RECORD_SESSION, LK_SEAL_SESSION_SIZE);
    return check;
}

enum lk_record_check lk_record_open(const lk_seal_keys *keys, const void *data, size_t size, lk_record *record)
{
    const uint8_t *bytes = data;
    bool sealed = size > 2 && bytes[2] > LK_RECORD_ROTATED && bytes[2] <= LK_RECORD_NEWEST;
    if (!sealed) {
        enum lk_record_check check = lk_record_decode(bytes, size, record);
        return check == LK_RECORD_GOOD && keys->count && !keys->plain ? LK_RECORD_UNSEALED : check;
    }
    if (size != LK_RECORD_SEALED_SIZE || bytes[0] != 'L' || bytes[1] != 'K') return LK_RECORD_BAD;
    return keys->count ? open_sealed(keys, bytes, record) : LK_RECORD_KEYLESS;
}

const char *lk_record_fault(enum lk_record_check check)
{
    switch (check) {
    case LK_RECORD_GOOD: return "nothing is wrong with a session's record";
    case LK_RECORD_BAD: break;
    case LK_RECORD_FUTURE: return "a session's record in Redis was written by a newer latchkey: upgrade";
    case LK_RECORD_UNSEALED:
        return "a session's record in Redis is not sealed, and seal_key_file has no line `plain` to accept it";
    case LK_RECORD_KEYLESS: return "a session's record in Redis is sealed, and there is no seal_key_file here";
    case LK_RECORD_UNKNOWN_KEY: return "a session's record in Redis is sealed, and no key in seal_key_file has its id";
    case LK_RECORD_BROKEN: return "a session's record in Redis does not match its seal: it was changed";
    }
    return "a session's record in Redis is damaged or foreign";
}

bool lk_record_header_read(const void *data, size_t size, lk_record_header *header)
{
    const uint8_t *bytes = data;
    memset(header, 0, sizeof *header);
    if (size < LK_RECORD_SIZE || bytes[0] != 'L' || bytes[1] != 'K' || !bytes[2] || bytes[2] > LK_RECORD_NEWEST)
        return false;
    bool sealed = bytes[2] > LK_RECORD_SEALED;
    if (size != (sealed ? LK_RECORD_SEALED_SIZE : LK_RECORD_SIZE)) return false;
    header->size = size;
    header->rotated = bytes[2] - (sealed ? LK_RECORD_SEALED : 0) == LK_RECORD_ROTATED;
    header->created_at_ms = (int64_t)get_number(bytes + LK_RECORD_CREATED, 8);
    header->expires_at_ms = (int64_t)get_number(bytes + LK_RECORD_EXPIRES, 8);
    header->device = (uint32_t)get_number(bytes + LK_RECORD_DEVICE, 4);
    return header->created_at_ms >= 0 && header->created_at_ms <= header->expires_at_ms &&
           header->expires_at_ms < TIME_MAX;
}

/* -------------------------------------------------------------------------------------------------- fields -- */

bool lk_field_name_good(const char *name, size_t length)
{
    /* Names of one letter are the library's own: v and x. */
    return length >= 2 && length <= 64 &&
           strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-") >= length;
}

bool lk_field_names_good(const char *const *names, size_t count)
{
    bool good = names && count && count <= LK_FIELDS_MAX;
    for (size_t i = 0; good && i < count; i++) good = names[i] && lk_field_name_good(names[i], strnlen(names[i], 65));
    return good;
}

int lk_fields_check(const latchkey_field *fields, size_t count, bool may_delete)
{
    if (count > LK_FIELDS_MAX) return lk_bad_argument("fields: at most 256 are expected");
    if (count && !fields) return lk_bad_argument("fields is NULL, and their count is not 0");
    for (size_t i = 0; i < count; i++) {
        const latchkey_field *f = &fields[i];
        if (!f->name || !lk_field_name_good(f->name, strlen(f->name)))
            return lk_bad_argument("fields: a name is not 2 to 64 characters of [A-Za-z0-9._:-]");
        if (f->size > LK_FIELD_SIZE_MAX) return lk_bad_argument("fields: a value is larger than 64 KiB");
        if (!f->data && (f->size || !may_delete)) return lk_bad_argument("fields: a value's data is NULL");
        for (size_t j = 0; j < i; j++)
            if (strcmp(f->name, fields[j].name) == 0) return lk_bad_argument("fields: one name is given twice");
    }
    return LATCHKEY_OK;
}

latchkey_field *lk_fields_seal(const lk_seal_keys *keys, const lk_record *record, const latchkey_field *fields,
                               size_t count)
{
    lk_seal_context context = lk_record_context(record);
    size_t bytes = (count + 1) * sizeof(latchkey_field);
    for (size_t i = 0; i < count; i++) bytes += fields[i].size + LK_SEAL_FIELD_MORE;
    latchkey_field *sealed = malloc(bytes);
    if (!sealed) return NULL;
    uint8_t *at = (uint8_t *)(sealed + count + 1);
    for (size_t i = 0; i < count; i++) {
        const latchkey_field *f = &fields[i];
        sealed[i] = (latchkey_field){.name = f->name};
        if (!f->data) continue;
        lk_seal_field(keys, &context, (lk_span){f->name, strlen(f->name)}, (lk_span){f->data, f->size}, at);
        sealed[i].data = at;
        sealed[i].size = f->size + LK_SEAL_FIELD_MORE;
        at += sealed[i].size;
    }
    return sealed;
}

bool lk_field_is_key(const char *name, size_t length) { return length >= 3 && memcmp(name, "pq.", 3) == 0; }

static int by_name(const void *a, const void *b)
{
    const lk_named *x = a, *y = b;
    int order = memcmp(x->name, y->name, x->name_length < y->name_length ? x->name_length : y->name_length);
    return order ? order : (x->name_length > y->name_length) - (x->name_length < y->name_length);
}

bool lk_key_hash(lk_named *fields, size_t count, uint8_t hash[LK_HASH_SIZE])
{
    memset(hash, 0, LK_HASH_SIZE);
    if (!count) return true;
    if (count > LK_KEY_FIELDS_MAX) return false;
    qsort(fields, count, sizeof *fields, by_name);
    for (size_t i = 1; i < count; i++)
        if (by_name(&fields[i - 1], &fields[i]) == 0) return false;
    /* Each length comes before what it counts, so two different sets of fields never feed the hash the same bytes. */
    uint8_t lengths[LK_KEY_FIELDS_MAX][16];
    lk_span spans[LK_KEY_FIELDS_MAX * 4];
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        put_number(lengths[i], fields[i].name_length, 8);
        put_number(lengths[i] + 8, fields[i].size, 8);
        spans[used++] = (lk_span){lengths[i], 8};
        spans[used++] = (lk_span){fields[i].name, fields[i].name_length};
        spans[used++] = (lk_span){lengths[i] + 8, 8};
        spans[used++] = (lk_span){fields[i].data, fields[i].size};
    }
    lk_blake2b(spans, used, hash);
    return true;
}
