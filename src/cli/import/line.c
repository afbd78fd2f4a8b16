/* A line of JSON: one session. See import.h.
 *
 *   {"token": "...", "user_id": 17, "role": "member", "permissions_hash": "64 hexadecimal digits", "device": 1, "flags": 0,
 *    "created_at_ms": 0, "expires_at_ms": 0, "idle_ms": 0, "fields": {"name": "text", "other": {"base64": "..."}}}
 *   {"begin": "the exporter's name"}
 *   {"end": {"sessions": 3000, "skipped": 2}}
 *
 * `token` must be there, and `user_id`. For users that have names instead of numbers it is "user": "ada@example.org";
 * the id is then latchkey_user_id of the name. null is the same as leaving a member out. No other member is accepted:
 * with a misspelt name the session would last for another time than was meant.
 *
 * A session moves if its token, user and end are known. Anything else that does not fit is left out, or cut to what
 * fits, and counted. A role that is too long is left out as a whole: a part of it might be the name of another role. */
#include "cli/import/line.h"

#include "base/crypto.h"
#include "cli/json_read.h"
#include "base/record.h"

#include <stdlib.h>
#include <string.h>

#define TEN_YEARS_MS INT64_C(315360000000)

_Static_assert(IMPORT_FIELDS_MOST == LK_FIELDS_MAX && IMPORT_KEY_FIELDS_MOST == LK_KEY_FIELDS_MAX,
               "as the library has it");

typedef struct taking {
    import_session *session;
    json_in in;
    char *room; /* where the next value is decoded to. All values together never need more room than the line */
    unsigned seen;
} taking;

/* ------------------------------------------------------------------------------------------------- values -- */

typedef struct text {
    const char *at;
    size_t size;
    bool odd; /* half a surrogate pair was replaced: the original is not known, so it is no name */
} text;

static text take_string(taking *t)
{
    text s = {t->room, 0, false};
    s.size = json_string(&t->in, t->room, &s.odd);
    t->room += s.size + 1;
    return s;
}

/* The value is passed in any case. */
static bool take_text(taking *t, text *s)
{
    if (json_kind(&t->in) == '"') return *s = take_string(t), true;
    json_skip(&t->in);
    return false;
}

static bool take_base64(taking *t, text *s)
{
    bool good = false;
    size_t count = 0;
    json_enter(&t->in);
    while (json_more(&t->in)) {
        text name = take_string(t);
        json_colon(&t->in);
        bool is_text = take_text(t, s);
        good = ++count == 1 && is_text && strcmp(name.at, "base64") == 0;
    }
    return good && lk_base64_read(s->at, s->size, (uint8_t *)(uintptr_t)s->at, &s->size);
}

/* "text", or {"base64": "..."}. */
static bool take_bytes(taking *t, text *s)
{
    *s = (text){"", 0, false};
    return json_kind(&t->in) == '{' ? take_base64(t, s) : take_text(t, s);
}

/* A number, or a number in quotes: other programs need the quotes beyond 2^53. */
static bool take_json_number(taking *t, json_number_value *n)
{
    text s;
    if (json_kind(&t->in) == '0') return *n = json_number(&t->in), true;
    return take_text(t, &s) && json_number_of(s.at, s.size, n);
}

static int64_t up_to(const json_number_value *n, int64_t most)
{
    return n->size > (uint64_t)most ? most : (int64_t)n->size;
}

/* ------------------------------------------------------------------------------------------------ members -- */

static enum import_reason take_token_text(taking *t)
{
    text s;
    if (!take_bytes(t, &s) || s.odd || s.size < 16 || s.size > 256) return IMPORT_TOKEN;
    t->session->token = s.at;
    t->session->token_size = s.size;
    return IMPORT_GOOD;
}

/* In quotes, only one spelling is accepted: "017" and "17" may be two users of the other store. */
static enum import_reason take_user_id(taking *t)
{
    json_number_value n = {0};
    text s;
    if (json_kind(&t->in) == '"') {
        s = take_string(t);
        if (strspn(s.at, "0123456789") != s.size || (s.size > 1 && *s.at == '0')) return IMPORT_USER;
        if (!json_number_of(s.at, s.size, &n)) return IMPORT_USER;
    } else if (!take_json_number(t, &n)) return IMPORT_USER;
    if (n.larger || n.fraction || (n.negative && n.size)) return IMPORT_USER;
    t->session->draft.user_id = n.size;
    return IMPORT_GOOD;
}

/* A name: a UUID, an address, an account. It may look like a number and is still a name. */
static enum import_reason take_name(taking *t)
{
    text s;
    if (!take_bytes(t, &s) || s.odd || !s.size || s.size > IMPORT_USER_MOST) return IMPORT_USER;
    t->session->draft.user_id = latchkey_user_id(s.at, s.size);
    t->session->draft.user_name = s.at;
    t->session->draft.user_name_size = s.size;
    return IMPORT_GOOD;
}

static enum import_reason take_expires(taking *t)
{
    json_number_value n;
    if (!take_json_number(t, &n) || n.negative) return IMPORT_EXPIRES;
    t->session->expires_at_ms = up_to(&n, INT64_MAX);
    return IMPORT_GOOD;
}

static bool take_created(taking *t)
{
    json_number_value n;
    if (!take_json_number(t, &n) || n.negative) return false;
    t->session->created_at_ms = up_to(&n, INT64_MAX);
    return true;
}

static bool take_idle(taking *t)
{
    json_number_value n;
    if (!take_json_number(t, &n) || n.negative) return false;
    t->session->draft.idle_ms = up_to(&n, TEN_YEARS_MS);
    return n.size <= (uint64_t)TEN_YEARS_MS;
}

static bool take_small(taking *t, uint32_t most, uint32_t *number)
{
    json_number_value n;
    if (!take_json_number(t, &n) || n.negative || n.fraction || n.size > most) return false;
    *number = (uint32_t)n.size;
    return true;
}

static bool take_role(taking *t)
{
    text s;
    if (!take_text(t, &s) || s.odd || s.size > 16 || memchr(s.at, 0, s.size)) return false;
    t->session->draft.role = s.at;
    return true;
}

static bool take_permissions(taking *t)
{
    uint8_t hash[sizeof t->session->draft.permissions_hash];
    text s;
    if (!take_text(t, &s) || !lk_hex_decode(s.at, s.size, hash, sizeof hash)) return false;
    memcpy(t->session->draft.permissions_hash, hash, sizeof hash);
    return true;
}

/* ------------------------------------------------------------------------------------------------- fields -- */

/* IMPORT_CHANGES: it fits. */
static enum import_change fits(const import_session *s, const text *name, const text *value)
{
    size_t keys = 0;
    if (!lk_field_name_good(name->at, name->size)) return IMPORT_FIELD_NAME;
    if (value->size > LK_FIELD_SIZE_MAX) return IMPORT_FIELD_SIZE;
    for (size_t i = 0; i < s->draft.field_count; i++) {
        if (strcmp(s->fields[i].name, name->at) == 0) return IMPORT_FIELD_TWICE;
        keys += lk_field_is_key(s->fields[i].name, strlen(s->fields[i].name));
    }
    bool full = lk_field_is_key(name->at, strlen(name->at)) ? keys == IMPORT_KEY_FIELDS_MOST
                                                            : s->draft.field_count == IMPORT_FIELDS_MOST;
    return full || s->draft.field_count == IMPORT_FIELDS_MOST ? IMPORT_FIELD_COUNT : IMPORT_CHANGES;
}

static void take_field(taking *t)
{
    import_session *s = t->session;
    text name = take_string(t), value;
    json_colon(&t->in);
    if (json_kind(&t->in) == 'n') {
        json_skip(&t->in);
        return;
    }
    enum import_change change = take_bytes(t, &value) ? fits(s, &name, &value) : IMPORT_FIELD_VALUE;
    if (change == IMPORT_CHANGES) s->changed[IMPORT_TEXT] |= value.odd;
    if (change == IMPORT_CHANGES) s->fields[s->draft.field_count++] = (latchkey_field){name.at, value.at, value.size};
    else s->changed[change] = true;
}

static bool take_fields(taking *t)
{
    if (json_kind(&t->in) != '{') return json_skip(&t->in), false;
    json_enter(&t->in);
    while (json_more(&t->in)) take_field(t);
    t->session->draft.fields = t->session->fields;
    return true;
}

/* ----------------------------------------------------------------------------------- the ends of an export -- */

static enum import_reason take_begin(taking *t)
{
    json_skip(&t->in);
    t->session->kind = IMPORT_BEGIN;
    return IMPORT_GOOD;
}

static enum import_reason take_end(taking *t)
{
    t->session->kind = IMPORT_END;
    if (json_kind(&t->in) != '{') return json_skip(&t->in), IMPORT_GOOD;
    json_enter(&t->in);
    while (json_more(&t->in)) {
        json_number_value n = {0};
        text name = take_string(t);
        json_colon(&t->in);
        if (!take_json_number(t, &n)) continue;
        if (strcmp(name.at, "skipped") == 0) t->session->skipped = n.size;
        if (strcmp(name.at, "sessions") == 0) t->session->promised = n.size;
    }
    return IMPORT_GOOD;
}

/* --------------------------------------------------------------------------------------------------- a line -- */

enum member {
    TOKEN,
    USER_ID,
    USER,
    EXPIRES,
    CREATED,
    IDLE,
    ROLE,
    PERMISSIONS,
    DEVICE,
    FLAGS,
    FIELDS,
    BEGIN,
    END,
    MEMBERS
};

static const char *const members[MEMBERS] = {
    "token",  "user_id", "user",   "expires_at_ms", "created_at_ms", "idle_ms", "role", "permissions_hash",
    "device", "flags",   "fields", "begin",         "end",
};

static enum import_reason noted(taking *t, enum import_change change, bool good)
{
    t->session->changed[change] |= !good;
    return IMPORT_GOOD;
}

static enum import_reason take_member(taking *t, enum member member)
{
    latchkey_draft *d = &t->session->draft;
    switch (member) {
    case TOKEN: return take_token_text(t);
    case USER_ID: return take_user_id(t);
    case USER: return take_name(t);
    case EXPIRES: return take_expires(t);
    case CREATED: return noted(t, IMPORT_CREATED, take_created(t));
    case IDLE: return noted(t, IMPORT_IDLE, take_idle(t));
    case ROLE: return noted(t, IMPORT_ROLE, take_role(t));
    case PERMISSIONS: return noted(t, IMPORT_PERMISSIONS, take_permissions(t));
    case DEVICE: return noted(t, IMPORT_DEVICE, take_small(t, UINT32_MAX, &d->device));
    case FLAGS: return noted(t, IMPORT_FLAGS, take_small(t, LATCHKEY_FLAGS_YOURS, &d->flags));
    case FIELDS: return noted(t, IMPORT_FIELDS, take_fields(t));
    case BEGIN: return take_begin(t);
    case END: return take_end(t);
    case MEMBERS: break;
    }
    return IMPORT_UNKNOWN_MEMBER;
}

static enum member member_of(const text *name)
{
    int m = 0;
    while (m < MEMBERS && (strlen(members[m]) != name->size || memcmp(members[m], name->at, name->size) != 0)) m++;
    return (enum member)m;
}

static enum import_reason take_members(taking *t)
{
    while (json_more(&t->in)) {
        text name = take_string(t);
        enum member member = member_of(&name);
        json_colon(&t->in);
        if (member < MEMBERS && t->seen & 1u << member) return IMPORT_MEMBER_TWICE;
        t->seen |= member < MEMBERS && json_kind(&t->in) != 'n' ? 1u << member : 0;
        if (json_kind(&t->in) == 'n') json_skip(&t->in);
        else {
            enum import_reason reason = take_member(t, member);
            if (reason) return reason;
        }
    }
    return IMPORT_GOOD;
}

/* Corrects times that contradict each other. */
static void settle_times(import_session *s, int64_t now_ms)
{
    if (s->expires_at_ms > now_ms + TEN_YEARS_MS) {
        s->changed[IMPORT_LIFETIME] = true;
        s->expires_at_ms = now_ms + TEN_YEARS_MS;
    }
    if (s->expires_at_ms && s->created_at_ms > s->expires_at_ms) {
        s->changed[IMPORT_CREATED] = true;
        s->created_at_ms = 0;
    }
}

static enum import_reason take_session(taking *t, int64_t now_ms)
{
    if (json_kind(&t->in) != '{') return IMPORT_NOT_OBJECT;
    json_enter(&t->in);
    enum import_reason reason = take_members(t);
    if (reason) return reason;
    if (t->session->kind != IMPORT_SESSION) /* a beginning or an end has no other member */
        return t->seen & (t->seen - 1) ? IMPORT_UNKNOWN_MEMBER : IMPORT_GOOD;
    settle_times(t->session, now_ms);
    bool id = t->seen & 1u << USER_ID, name = t->seen & 1u << USER;
    return !(t->seen & 1u << TOKEN) ? IMPORT_TOKEN : id == name ? IMPORT_USER : IMPORT_GOOD;
}

enum import_reason import_line_take(const char *line, size_t size, int64_t now_ms, import_session *s, bool *no_memory)
{
    memset(s, 0, sizeof *s);
    s->draft.size = sizeof s->draft;
    if (!json_check(line, size)) return IMPORT_NOT_JSON;
    s->room_size = size + 1;
    s->room = malloc(s->room_size);
    *no_memory = !s->room;
    if (*no_memory) return IMPORT_NOT_JSON;
    taking t = {.session = s, .in = {line, line + size}, .room = s->room};
    enum import_reason reason = take_session(&t, now_ms);
    if (reason) import_line_free(s);
    return reason;
}

void import_line_free(import_session *s)
{
    if (s->room) lk_wipe(s->room, s->room_size);
    free(s->room);
    memset(s, 0, sizeof *s);
}
