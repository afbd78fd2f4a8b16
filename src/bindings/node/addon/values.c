/* SPDX-License-Identifier: MIT */
/* Values from JavaScript, copied into an arena, and values for JavaScript. The JavaScript beside this checks what users pass; here
 * a value of another type only sets `failed`, so nothing that is not there is ever read. */
#include "addon.h"

#include <stdlib.h>
#include <string.h>

/* -------------------------------------------------------------------------------------------------- the arena -- */

struct block {
    struct block *next;
    size_t size;
    _Alignas(max_align_t) unsigned char bytes[];
};

void *arena_take(arena *a, size_t size)
{
    struct block *block = calloc(1, sizeof *block + size + 1); /* one more: a NUL behind every text */
    if (!block) {
        a->failed = true;
        return NULL;
    }
    block->next = a->blocks;
    block->size = size;
    a->blocks = block;
    return block->bytes;
}

void arena_free(arena *a)
{
    while (a->blocks) {
        struct block *block = a->blocks;
        a->blocks = block->next;
        explicit_bzero(block->bytes, block->size); /* tokens and key material are among them */
        free(block);
    }
}

/* ---------------------------------------------------------------------------------------------- from JavaScript -- */

static bool is_nothing(napi_env env, napi_value value)
{
    napi_valuetype type = napi_undefined;
    return napi_typeof(env, value, &type) != napi_ok || type == napi_undefined || type == napi_null;
}

bool read_token(napi_env env, napi_value value, char token[TOKEN_SIZE], size_t *length)
{
    return napi_get_value_string_utf8(env, value, token, TOKEN_SIZE, length) == napi_ok;
}

uint64_t read_number(napi_env env, arena *a, napi_value value)
{
    uint64_t number = 0;
    bool lossless = false;
    if (napi_get_value_bigint_uint64(env, value, &number, &lossless) != napi_ok || !lossless) a->failed = true;
    return number;
}

int64_t read_integer(napi_env env, arena *a, napi_value value)
{
    int64_t number = 0;
    if (napi_get_value_int64(env, value, &number) != napi_ok) a->failed = true;
    return number;
}

napi_value read_element(napi_env env, napi_value array, uint32_t index)
{
    napi_value value = NULL;
    if (napi_get_element(env, array, index, &value) != napi_ok) value = make_undefined(env);
    return value;
}

const char *read_text(napi_env env, arena *a, napi_value value, size_t *length)
{
    size_t size = 0;
    if (length) *length = 0;
    if (is_nothing(env, value)) return NULL;
    if (napi_get_value_string_utf8(env, value, NULL, 0, &size) != napi_ok) {
        a->failed = true;
        return NULL;
    }
    char *text = arena_take(a, size + 1);
    if (text) napi_get_value_string_utf8(env, value, text, size + 1, length ? length : &size);
    return text;
}

const void *read_bytes(napi_env env, arena *a, napi_value value, size_t *length)
{
    napi_typedarray_type type;
    void *data = NULL;
    *length = 0;
    if (is_nothing(env, value)) return NULL;
    bool typed = false;
    napi_is_typedarray(env, value, &typed);
    if (!typed || napi_get_typedarray_info(env, value, &type, length, &data, NULL, NULL) != napi_ok ||
        type != napi_uint8_array) {
        a->failed = true;
        *length = 0;
        return NULL;
    }
    void *copy = arena_take(a, *length);
    if (copy && *length) memcpy(copy, data, *length);
    return copy;
}

static uint32_t length_of(napi_env env, napi_value array)
{
    uint32_t length = 0;
    bool is_array = false;
    napi_is_array(env, array, &is_array);
    if (is_array) napi_get_array_length(env, array, &length);
    return length;
}

latchkey_change *read_changes(napi_env env, arena *a, napi_value value, size_t *count)
{
    *count = length_of(env, value) / 3;
    latchkey_change *changes = arena_take(a, *count * sizeof *changes);
    for (uint32_t i = 0; changes && i < *count; i++) {
        changes[i].name = read_text(env, a, read_element(env, value, 3 * i), NULL);
        changes[i].data = read_bytes(env, a, read_element(env, value, 3 * i + 1), &changes[i].size);
        changes[i].version = read_number(env, a, read_element(env, value, 3 * i + 2));
    }
    return changes;
}

latchkey_field *read_fields(napi_env env, arena *a, napi_value value, size_t *count)
{
    latchkey_change *changes = read_changes(env, a, value, count);
    latchkey_field *fields = arena_take(a, *count * sizeof *fields);
    for (size_t i = 0; changes && fields && i < *count; i++)
        fields[i] = (latchkey_field){changes[i].name, changes[i].data, changes[i].size};
    return fields;
}

const char **read_names(napi_env env, arena *a, napi_value value, size_t *count)
{
    *count = length_of(env, value);
    const char **names = arena_take(a, *count * sizeof *names);
    for (uint32_t i = 0; names && i < *count; i++) names[i] = read_text(env, a, read_element(env, value, i), NULL);
    return names;
}

/* 32 bytes, or NULL. */
static const uint8_t *read_hash(napi_env env, arena *a, napi_value value)
{
    size_t length;
    const uint8_t *hash = read_bytes(env, a, value, &length);
    if (hash && length != 32) a->failed = true;
    return a->failed ? NULL : hash;
}

latchkey_draft *read_draft(napi_env env, arena *a, napi_value value)
{
    latchkey_draft *draft = arena_take(a, sizeof *draft);
    if (!draft) return NULL;
    draft->size = sizeof *draft;
    draft->user_id = read_number(env, a, read_element(env, value, 0));
    draft->role = read_text(env, a, read_element(env, value, 1), NULL);
    const uint8_t *hash = read_hash(env, a, read_element(env, value, 2));
    if (hash) memcpy(draft->permissions_hash, hash, 32);
    draft->device = (uint32_t)read_integer(env, a, read_element(env, value, 3));
    draft->flags = (uint32_t)read_integer(env, a, read_element(env, value, 4));
    draft->idle_ms = read_integer(env, a, read_element(env, value, 5));
    draft->lifetime_ms = read_integer(env, a, read_element(env, value, 6));
    draft->generation = read_number(env, a, read_element(env, value, 7));
    draft->fields = read_fields(env, a, read_element(env, value, 8), &draft->field_count);
    draft->user_name = read_bytes(env, a, read_element(env, value, 9), &draft->user_name_size);
    return draft;
}

latchkey_access *read_access(napi_env env, arena *a, napi_value value)
{
    latchkey_access *access = arena_take(a, sizeof *access);
    if (!access) return NULL;
    access->size = sizeof *access;
    access->role = read_text(env, a, read_element(env, value, 0), NULL);
    access->permissions_hash = read_hash(env, a, read_element(env, value, 1));
    access->flags = (uint32_t)read_integer(env, a, read_element(env, value, 2));
    access->flags_mask = (uint32_t)read_integer(env, a, read_element(env, value, 3));
    access->authenticated = (int)read_integer(env, a, read_element(env, value, 4));
    return access;
}

/* ------------------------------------------------------------------------------------------------ for JavaScript -- */

napi_value make_undefined(napi_env env)
{
    napi_value value = NULL;
    napi_get_undefined(env, &value);
    return value;
}

napi_value make_integer(napi_env env, int64_t number)
{
    napi_value value = NULL;
    napi_create_int64(env, number, &value);
    return value;
}

napi_value make_number(napi_env env, uint64_t number)
{
    napi_value value = NULL;
    napi_create_bigint_uint64(env, number, &value);
    return value;
}

napi_value make_text(napi_env env, const char *text)
{
    napi_value value = NULL;
    napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value);
    return value;
}

napi_value make_bytes(napi_env env, const void *data, size_t size)
{
    napi_value value = NULL;
    void *copy;
    napi_create_buffer_copy(env, size, data ? data : "", &copy, &value);
    return value;
}

napi_value make_record(napi_env env, const latchkey_record *record, uint8_t *words)
{
    napi_value list = NULL;
    napi_create_array(env, &list);
    memcpy(words, latchkey_record_entry(record), LATCHKEY_ENTRY_SIZE);
    uint32_t at = 0;
    const char *name;
    for (size_t i = 0; (name = latchkey_record_field_name(record, i)) != NULL; i++) {
        size_t size;
        const void *data = latchkey_record_field(record, name, &size);
        if (!data) continue;
        napi_set_element(env, list, at++, make_text(env, name));
        napi_set_element(env, list, at++, make_bytes(env, data, size));
        napi_set_element(env, list, at++, make_number(env, latchkey_record_version(record, name)));
    }
    return list;
}
