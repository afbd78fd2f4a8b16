/* A line of JSON: one session. See import.h. The only file with jansson.
 *
 *   {"token": "...", "user_id": 17, "role": "member", "permissions_hash": "64 hexadecimal digits", "device": 1, "flags": 0,
 *    "created_at_ms": 0, "expires_at_ms": 0, "idle_ms": 0, "fields": {"name": "text", "other": {"base64": "..."}}}
 *
 * token and user_id must be there, null is as good as left out, and nothing else may be there: a misspelt name would make
 * sessions that last for another time than was meant. */
#include "cli/import/line.h"

#include "base/crypto.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static bool from_base64(import_session *s, const char *text, size_t size, const void **data, size_t *data_size)
{
    uint8_t *out = s->room + s->room_used; /* never longer than the text, and that is a piece of the line */
    if (!lk_base64_read(text, size, out, data_size)) return false;
    s->room_used += *data_size;
    *data = out;
    return true;
}

/* "text", or {"base64": "..."}. */
static bool take_bytes(import_session *s, const json_t *value, const void **data, size_t *size)
{
    *data = "";
    if (json_is_object(value) && json_object_size(value) == 1) {
        const json_t *text = json_object_get(value, "base64");
        return json_is_string(text) && from_base64(s, json_string_value(text), json_string_length(text), data, size);
    }
    if (!json_is_string(value)) return false;
    *data = json_string_value(value);
    *size = json_string_length(value);
    return true;
}

static enum import_reason take_token(import_session *s, const json_t *value)
{
    const void *data;
    if (!take_bytes(s, value, &data, &s->token_size) || s->token_size < 16 || s->token_size > 256) return IMPORT_TOKEN;
    s->token = data;
    return IMPORT_GOOD;
}

static bool decimal(const char *text, uint64_t *number)
{
    errno = 0;
    *number = strtoull(text, NULL, 10);
    return *text && strspn(text, "0123456789") == strlen(text) && !errno;
}

/* A number, or one in quotes, as larger ones than 2^63 - 1 have to be. */
static enum import_reason take_user(import_session *s, const json_t *value)
{
    if (json_is_integer(value) && json_integer_value(value) >= 0)
        s->draft.user_id = (uint64_t)json_integer_value(value);
    else if (!json_is_string(value) || !decimal(json_string_value(value), &s->draft.user_id)) return IMPORT_USER;
    return IMPORT_GOOD;
}

static enum import_reason take_role(import_session *s, const json_t *value)
{
    if (!json_is_string(value) || json_string_length(value) > 16) return IMPORT_ROLE;
    s->draft.role = json_string_value(value);
    return IMPORT_GOOD;
}

static enum import_reason take_permissions(import_session *s, const json_t *value)
{
    bool good = json_is_string(value) && lk_hex_decode(json_string_value(value), json_string_length(value),
                                                       s->draft.permissions_hash, sizeof s->draft.permissions_hash);
    return good ? IMPORT_GOOD : IMPORT_PERMISSIONS;
}

static enum import_reason take_number(const json_t *value, int64_t most, int64_t *number)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) > most)
        return IMPORT_NUMBER;
    *number = json_integer_value(value);
    return IMPORT_GOOD;
}

static enum import_reason take_small(const json_t *value, int64_t most, uint32_t *number)
{
    int64_t wide = 0;
    enum import_reason reason = take_number(value, most, &wide);
    *number = (uint32_t)wide;
    return reason;
}

static enum import_reason take_fields(import_session *s, json_t *fields)
{
    const char *name;
    json_t *value;
    if (!json_is_object(fields) || json_object_size(fields) > IMPORT_FIELDS_MOST) return IMPORT_FIELDS;
    json_object_foreach(fields, name, value)
    {
        if (json_is_null(value)) continue;
        latchkey_field *f = &s->fields[s->draft.field_count++];
        f->name = name;
        if (!take_bytes(s, value, &f->data, &f->size)) return IMPORT_FIELDS;
    }
    s->draft.fields = s->fields;
    return IMPORT_GOOD;
}

static enum import_reason take_member(import_session *s, const char *name, json_t *value)
{
    if (json_is_null(value)) return IMPORT_GOOD;
    if (strcmp(name, "token") == 0) return take_token(s, value);
    if (strcmp(name, "user_id") == 0) return take_user(s, value);
    if (strcmp(name, "role") == 0) return take_role(s, value);
    if (strcmp(name, "permissions_hash") == 0) return take_permissions(s, value);
    if (strcmp(name, "device") == 0) return take_small(value, UINT32_MAX, &s->draft.device);
    if (strcmp(name, "flags") == 0) return take_small(value, LATCHKEY_FLAGS_YOURS, &s->draft.flags);
    if (strcmp(name, "created_at_ms") == 0) return take_number(value, INT64_MAX, &s->created_at_ms);
    if (strcmp(name, "expires_at_ms") == 0) return take_number(value, INT64_MAX, &s->expires_at_ms);
    if (strcmp(name, "idle_ms") == 0) return take_number(value, INT64_MAX, &s->draft.idle_ms);
    if (strcmp(name, "fields") == 0) return take_fields(s, value);
    return IMPORT_UNKNOWN_MEMBER;
}

static enum import_reason take_object(import_session *s, json_t *object)
{
    const char *name;
    json_t *value;
    bool user = json_object_get(object, "user_id") && !json_is_null(json_object_get(object, "user_id"));
    if (!json_is_object(object)) return IMPORT_NOT_OBJECT;
    json_object_foreach(object, name, value)
    {
        enum import_reason reason = take_member(s, name, value);
        if (reason) return reason;
    }
    return !s->token ? IMPORT_TOKEN : !user ? IMPORT_USER : IMPORT_GOOD;
}

enum import_reason import_line_take(const char *line, size_t size, import_session *s, bool *no_memory)
{
    json_error_t error;
    memset(s, 0, sizeof *s);
    s->draft.size = sizeof s->draft;
    s->room_size = size + 1;
    s->room = malloc(s->room_size);
    s->document = s->room ? json_loadb(line, size, JSON_REJECT_DUPLICATES, &error) : NULL;
    *no_memory = !s->room || (!s->document && json_error_code(&error) == json_error_out_of_memory);
    enum import_reason reason = s->document ? take_object(s, s->document) : IMPORT_NOT_JSON;
    if (reason) import_line_free(s);
    return reason;
}

void import_line_free(import_session *s)
{
    json_decref(s->document);
    if (s->room) lk_wipe(s->room, s->room_size);
    free(s->room);
    memset(s, 0, sizeof *s);
}
