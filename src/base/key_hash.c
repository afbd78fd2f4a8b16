/* latchkey_key_hash, latchkey_check_keys: the hash that binds key material to an entry, for who keeps the material elsewhere. */
#include "base/crypto.h"

#include "base/record.h"

#include <string.h>

int latchkey_key_hash(const latchkey_field *fields, size_t field_count, uint8_t hash[32])
{
    if (hash) memset(hash, 0, LK_HASH_SIZE);
    if (!hash || (field_count && !fields)) return LATCHKEY_BAD_ARGUMENT;
    lk_named keys[LK_KEY_FIELDS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < field_count; i++) {
        if (!fields[i].name || (fields[i].size && !fields[i].data)) return LATCHKEY_BAD_ARGUMENT;
        size_t length = strlen(fields[i].name);
        if (!lk_field_is_key(fields[i].name, length)) continue;
        if (count == LK_KEY_FIELDS_MAX) return LATCHKEY_BAD_ARGUMENT;
        keys[count++] = (lk_named){fields[i].name, length, fields[i].data, fields[i].size};
    }
    return lk_key_hash(keys, count, hash) ? LATCHKEY_OK : LATCHKEY_BAD_ARGUMENT;
}

int latchkey_check_keys(const latchkey_entry *entry, const latchkey_field *fields, size_t field_count)
{
    uint8_t hash[LK_HASH_SIZE];
    if (!entry) return LATCHKEY_BAD_ARGUMENT;
    int status = latchkey_key_hash(fields, field_count, hash);
    if (status) return status;
    return lk_equal(hash, entry->pq_key_hash, sizeof hash) ? LATCHKEY_OK : LATCHKEY_CORRUPT;
}
