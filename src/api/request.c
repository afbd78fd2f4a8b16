/* Requests of queues: takes them (checks, copies), and runs them by the blocking verb of their kind. See writes.h. */
#include "api/create.h"
#include "api/writes.h"

#include "base/argument.h"
#include "base/reason.h"
#include "base/record.h"
#include "session/begin.h"
#include "session/ended.h"
#include "session/update.h"

#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------------ copying -- */

/* What a request points to, one thing after another in one piece of memory. It is first counted (`at` is NULL), then
 * copied. */
typedef struct packing {
    char *at;
    size_t used;
} packing;

static void *pack(packing *p, const void *data, size_t size)
{
    void *to = p->at ? p->at + p->used : NULL;
    p->used += (size + sizeof(void *)) / sizeof(void *) * sizeof(void *); /* aligned, and never empty */
    if (to && size) memcpy(to, data, size);
    return to;
}

static const char *pack_text(packing *p, const char *text) { return text ? pack(p, text, strlen(text) + 1) : NULL; }

static const latchkey_field *pack_fields(packing *p, const latchkey_field *fields, size_t count)
{
    latchkey_field *to = pack(p, fields, count * sizeof *fields);
    for (size_t i = 0; i < count; i++) {
        latchkey_field copy = {pack_text(p, fields[i].name), NULL, fields[i].size};
        if (fields[i].data) copy.data = pack(p, fields[i].data, fields[i].size);
        if (to) to[i] = copy;
    }
    return to;
}

static const latchkey_change *pack_changes(packing *p, const latchkey_change *changes, size_t count)
{
    latchkey_change *to = pack(p, changes, count * sizeof *changes);
    for (size_t i = 0; i < count; i++) {
        latchkey_change copy = {pack_text(p, changes[i].name), NULL, changes[i].size, changes[i].version};
        if (changes[i].data) copy.data = pack(p, changes[i].data, changes[i].size);
        if (to) to[i] = copy;
    }
    return to;
}

static const char *const *pack_names(packing *p, const char *const *names, size_t count)
{
    const char **to = pack(p, names, count * sizeof *names);
    for (size_t i = 0; i < count; i++) {
        const char *name = pack_text(p, names[i]);
        if (to) to[i] = name;
    }
    return to;
}

static void pack_draft(packing *p, latchkey_draft *d)
{
    d->role = pack_text(p, d->role);
    if (d->user_name) d->user_name = pack(p, d->user_name, d->user_name_size);
    d->fields = pack_fields(p, d->fields, d->field_count);
}

static void pack_access(packing *p, latchkey_access *a)
{
    a->role = pack_text(p, a->role);
    if (a->permissions_hash) a->permissions_hash = pack(p, a->permissions_hash, 32);
}

/* Packs what the request points to, and makes its pointers lead there: those of `r`, and of the draft or access that
 * was taken from it. */
static void pack_parts(packing *p, latchkey_request *r, latchkey_draft *draft, latchkey_access *access)
{
    switch (r->kind) {
    case LATCHKEY_CREATE: pack_draft(p, draft); break;
    case LATCHKEY_SET_ACCESS: pack_access(p, access); break;
    case LATCHKEY_GET_FIELDS: r->names = pack_names(p, r->names, r->count); break;
    case LATCHKEY_CHANGE_FIELDS: r->changes = pack_changes(p, r->changes, r->count); break;
    case LATCHKEY_SET_FIELDS: r->fields = pack_fields(p, r->fields, r->count); break;
    }
}

static int copy_parts(lk_write *w)
{
    latchkey_request r = w->request;
    latchkey_draft draft = w->draft;
    latchkey_access access = w->access;
    packing p = {NULL, 0};
    pack_parts(&p, &r, &draft, &access);
    if (!p.used) return LATCHKEY_OK;
    w->copy = p.at = malloc(p.used);
    if (!w->copy) return lk_reason(LATCHKEY_NO_MEMORY, "no memory");
    w->copy_size = p.used;
    p.used = 0;
    pack_parts(&p, &w->request, &w->draft, &w->access);
    return LATCHKEY_OK;
}

/* ----------------------------------------------------------------------------------------------- checking -- */

static int check_changes(const latchkey_change *changes, size_t count)
{
    latchkey_field fields[LK_FIELDS_MAX];
    if (!changes || !count || count > LK_FIELDS_MAX)
        return lk_bad_argument("request.changes: 1 to 256 of them are expected");
    for (size_t i = 0; i < count; i++) fields[i] = (latchkey_field){changes[i].name, changes[i].data, changes[i].size};
    return lk_fields_check(fields, count, true);
}

static int take_draft(latchkey *lk, const latchkey_request *r, lk_write *w)
{
    lk_token given;
    if (!r->draft) return lk_bad_argument("request.draft is NULL");
    if (!r->token && r->token_len) return lk_bad_argument("request.token is NULL, and token_len is not 0");
    int status = lk_draft_take(r->draft, &w->draft);
    if (!status && w->draft.role && strnlen(w->draft.role, 17) > 16)
        return lk_bad_argument("draft.role: at most 16 bytes are expected");
    if (!status) status = lk_fields_check(w->draft.fields, w->draft.field_count, false);
    if (status || !r->token) return status;
    status = lk_create_given(lk, &w->draft, r->token, r->token_len, &given);
    lk_wipe(&given, sizeof given);
    return status;
}

static int check_parts(latchkey *lk, const latchkey_request *r, lk_write *w)
{
    switch (r->kind) {
    case LATCHKEY_CREATE: return take_draft(lk, r, w);
    case LATCHKEY_SET_ACCESS: return lk_access_take(r->access, &w->access);
    case LATCHKEY_CHANGE_FIELDS: return check_changes(r->changes, r->count);
    case LATCHKEY_SET_FIELDS:
        return r->count ? lk_fields_check(r->fields, r->count, true)
                        : lk_bad_argument("request.fields: at least one is expected");
    case LATCHKEY_GET_FIELDS:
        return lk_field_names_good(r->names, r->count)
                   ? LATCHKEY_OK
                   : lk_bad_argument("request.names: 1 to 256 of 2 to 64 characters of [A-Za-z0-9._:-] are expected");
    default: return LATCHKEY_OK;
    }
}

/* Is it a token? For a revocation, it is denied from now on. A foreign token that is not known yet is looked up when
 * its turn comes. */
static int take_token(latchkey *lk, const latchkey_request *r, lk_write *w)
{
    lk_token parsed;
    lk_foreign foreign;
    if (r->kind == LATCHKEY_REVOKE_USER && !r->token)
        return r->token_len ? lk_bad_argument("request.token is NULL, and token_len is not 0") : LATCHKEY_OK;
    int status = lk_begin_here(lk, r->token, r->token_len, &parsed, &foreign);
    if (!status && r->kind == LATCHKEY_REVOKE) {
        lk_revoke_deny(lk, &parsed, &w->revocation);
        w->denied = w->revocation.denied;
        if (!w->denied)
            status = lk_reason(LATCHKEY_UNAVAILABLE, "too many revocations that Redis has not confirmed wait already");
    }
    w->partition = status == LK_OUTCOME_ASK_REDIS ? foreign.partition : parsed.partition;
    if (status == LK_OUTCOME_ASK_REDIS) status = LATCHKEY_OK;
    lk_wipe(&foreign, sizeof foreign);
    lk_wipe(&parsed, sizeof parsed);
    return status;
}

int lk_write_take(latchkey *lk, const latchkey_request *r, lk_write *w)
{
    w->request = *r;
    w->copy = NULL;
    w->sole = w->denied = false;
    w->partition = 0;
    w->result = (latchkey_result){.tag = r->tag, .kind = r->kind};
    int status = check_parts(lk, r, w);
    if (!status) status = copy_parts(w);
    if (!status && r->kind != LATCHKEY_CREATE) status = take_token(lk, r, w);
    if (r->kind == LATCHKEY_CREATE) w->partition = lk_partition_of_user(lk, w->draft.user_id);
    if (r->kind == LATCHKEY_REVOKE_USER) w->partition = lk_partition_of_user(lk, r->user_id);
    if (!status && r->token) {
        memcpy(w->token, r->token, r->token_len); /* it is a token, so it is not longer */
        w->request.token = w->token;
    }
    return status;
}

void lk_write_wipe(lk_write *w)
{
    if (w->copy) {
        lk_wipe(w->copy, w->copy_size);
        free(w->copy);
    }
    w->copy = NULL;
    lk_wipe(w->token, sizeof w->token);
    lk_wipe(&w->revocation, sizeof w->revocation);
}

/* ------------------------------------------------------------------------------------------------ running -- */

static int run_create(latchkey *lk, lk_write *w)
{
    lk_token token;
    const latchkey_request *r = &w->request;
    int status = r->token ? lk_create_given(lk, &w->draft, r->token, r->token_len, &token) : LATCHKEY_OK;
    if (!status) status = lk_create(lk, &w->draft, r->token != NULL, &token, &w->result.entry);
    if (!status) memcpy(w->result.token, token.text, sizeof w->result.token);
    w->sole = !status && !r->token;
    lk_wipe(&token, sizeof token);
    return status;
}

static int run_rotate(latchkey *lk, lk_write *w)
{
    const latchkey_request *r = &w->request;
    int status = latchkey_rotate(lk, r->token, r->token_len, r->grace_ms, w->result.token);
    w->sole = !status && !r->grace_ms;
    return status;
}

static int run_revoke_user(latchkey *lk, lk_write *w)
{
    size_t revoked;
    int status = latchkey_revoke_user(lk, w->request.user_id, w->request.token, w->request.token_len, &revoked);
    w->result.count = revoked;
    return status;
}

static int run_kind(latchkey *lk, lk_write *w)
{
    const latchkey_request *r = &w->request;
    switch (r->kind) {
    case LATCHKEY_CREATE: return run_create(lk, w);
    case LATCHKEY_REVOKE:
        return w->denied ? lk_revoke_confirm(lk, &w->revocation, w->deadline_ms)
                         : latchkey_revoke(lk, r->token, r->token_len);
    case LATCHKEY_ROTATE: return run_rotate(lk, w);
    case LATCHKEY_TOUCH: return latchkey_touch(lk, r->token, r->token_len);
    case LATCHKEY_GET_FIELDS:
        return latchkey_get_fields(lk, r->token, r->token_len, r->names, r->count, &w->result.record);
    case LATCHKEY_CHANGE_FIELDS: return latchkey_change_fields(lk, r->token, r->token_len, r->changes, r->count);
    case LATCHKEY_SET_FIELDS: return latchkey_set_fields(lk, r->token, r->token_len, r->fields, r->count);
    case LATCHKEY_LOAD: return latchkey_load(lk, r->token, r->token_len, &w->result.record);
    case LATCHKEY_SET_ACCESS: return latchkey_set_access(lk, r->token, r->token_len, &w->access);
    default: return run_revoke_user(lk, w);
    }
}

void lk_write_run(latchkey *lk, lk_write *w)
{
    bool late = lk_now_ms() >= w->deadline_ms;
    if (!late) w->result.status = run_kind(lk, w);
    else w->result.status = w->denied ? lk_revoke_later(lk, &w->revocation) : LATCHKEY_UNAVAILABLE;
}
