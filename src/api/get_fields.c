/* latchkey_get_fields: some fields of a session, without reading the others. latchkey_record_version: see
 * field_version.h. */
#include "api/load.h"
#include "base/argument.h"

#include <string.h>

/* The entry binds all key material together, so all of it has to be read. */
static bool names_keys(const char *const *names, size_t count)
{
    bool keys = false;
    for (size_t i = 0; i < count; i++) keys |= lk_field_is_key(names[i], strlen(names[i]));
    return keys;
}

static bool among(const lk_reply *name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (lk_reply_is(name, names[i])) return true;
    return false;
}

/* Drops the fields that were not asked for. */
static void choose(lk_reply *fields, const char *const *names, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i + 1 < fields->count; i += 2) {
        lk_reply *name = fields->item[i], *value = fields->item[i + 1];
        if (among(name, names, count)) {
            fields->item[kept++] = name;
            fields->item[kept++] = value;
        } else {
            lk_reply_free(name);
            lk_reply_free(value);
        }
    }
    fields->count = kept;
}

int latchkey_get_fields(latchkey *lk, const char *token, size_t token_len, const char *const *names, size_t count,
                        latchkey_record **out)
{
    if (out) *out = NULL;
    if (!out) return lk_bad_argument("get_fields: out is NULL");
    if (!lk_field_names_good(names, count))
        return lk_bad_argument("get_fields: names: up to 256 of 2 to 64 characters of [A-Za-z0-9._:-] are expected");
    const lk_want all = {0}, some = {.names = names, .count = count};
    LK_VISIT(visit);
    int status = lk_load_record(lk, token, token_len, names_keys(names, count) ? &all : &some, &visit, out);
    if (!status) choose((*out)->fields, names, count);
    return status;
}

uint64_t latchkey_record_version(const latchkey_record *record, const char *name)
{
    if (!record || !name || !lk_field_name_good(name, strlen(name))) return 0;
    const lk_reply *value = lk_find_field(record->fields, name);
    return value ? (uint64_t)value->integer : 0;
}
