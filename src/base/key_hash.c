/* latchkey_key_hash, latchkey_check_keys: the hash that binds key material to an entry, for applications that keep the
 * material elsewhere. */
#include "base/crypto.h"
#include "base/argument.h"

#include "base/record.h"

#include <string.h>

int latchkey_key_hash(const latchkey_field *fields, size_t field_count, uint8_t hash[32])
{
    if (hash) memset(hash, 0, LK_HASH_SIZE);
    if (!hash || (field_count && !fields)) return lk_bad_argument("key_hash: hash or fields is NULL");
    static const char too_many[] = "fields: a session has at most 64 of key material (pq.*)";
    lk_named keys[LK_KEY_FIELDS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < field_count; i++) {
        if (!fields[i].name || (fields[i].size && !fields[i].data))
            return lk_bad_argument("key_hash: a field's name or data is NULL");
        size_t length = strlen(fields[i].name);
        if (!lk_field_is_key(fields[i].name, length)) continue;
        if (count == LK_KEY_FIELDS_MAX) return lk_bad_argument(too_many);
        keys[count++] = (lk_named){fields[i].name, length, fields[i].data, fields[i].size};
    }
    return lk_key_hash(keys, count, hash) ? LATCHKEY_OK : lk_bad_argument("key_hash: one name is given twice");
}

int latchkey_check_keys(const latchkey_entry *entry, const latchkey_field *fields, size_t field_count)
{
    uint8_t hash[LK_HASH_SIZE];
    if (!entry) return lk_bad_argument("check_keys: entry is NULL");
    int status = latchkey_key_hash(fields, field_count, hash);
    if (status) return status;
    return lk_equal(hash, entry->pq_key_hash, sizeof hash) ? LATCHKEY_OK : LATCHKEY_CORRUPT;
}
