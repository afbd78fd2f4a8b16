/* SPDX-License-Identifier: MIT */
/* The verbs that have no form for event loops: they are rare, and libuv's pool runs them. Each has three parts: read its arguments
 * (in JavaScript's thread), run (on the pool), and make the value of its answer (in JavaScript's thread again). */
#include "addon.h"

#include <stdlib.h>
#include <string.h>

typedef struct work {
    job job;
    handle *handle;
    latchkey *lk;
    const struct verb *verb;
    double tag;
    int status;
    char text[256]; /* why it failed */
    arena arena;
    /* arguments */
    uint64_t user_id;
    const char *token, *name;
    size_t token_len;
    const void *data;
    size_t size;
    latchkey_draft *draft;
    latchkey_access *access;
    int64_t created_at_ms, expires_at_ms;
    /* answers */
    uint64_t number;
    size_t count;
    int found;
    latchkey_session_info *sessions;
    void *section;
} work;

enum { ARGUMENTS_MAX = 4 };

typedef struct verb {
    const char *name;
    void (*read)(napi_env, work *, napi_value *argument);
    int (*run)(work *);
    napi_value (*value)(napi_env, const work *);
} verb;

/* --------------------------------------------------------------------------------------------------- arguments -- */

static void read_user(napi_env env, work *w, napi_value *argument)
{
    w->user_id = read_number(env, &w->arena, argument[0]);
}

static void read_user_and_token(napi_env env, work *w, napi_value *argument)
{
    read_user(env, w, argument);
    w->token = read_text(env, &w->arena, argument[1], &w->token_len);
}

static void read_user_and_access(napi_env env, work *w, napi_value *argument)
{
    read_user(env, w, argument);
    w->access = read_access(env, &w->arena, argument[1]);
}

static void read_nothing(napi_env env, work *w, napi_value *argument) { (void)env, (void)w, (void)argument; }

static void read_count(napi_env env, work *w, napi_value *argument)
{
    w->count = (size_t)read_integer(env, &w->arena, argument[0]);
}

static void read_section(napi_env env, work *w, napi_value *argument)
{
    w->token = read_text(env, &w->arena, argument[0], &w->token_len);
    w->name = read_text(env, &w->arena, argument[1], NULL);
    w->data = read_bytes(env, &w->arena, argument[2], &w->size);
}

static void read_import(napi_env env, work *w, napi_value *argument)
{
    w->token = read_text(env, &w->arena, argument[0], &w->token_len);
    w->draft = read_draft(env, &w->arena, argument[1]);
    w->created_at_ms = read_integer(env, &w->arena, argument[2]);
    w->expires_at_ms = read_integer(env, &w->arena, argument[3]);
}

/* ------------------------------------------------------------------------------------------------ on the pool -- */

static int run_sessions(work *w)
{
    w->sessions = calloc(LATCHKEY_SESSIONS_MAX, sizeof *w->sessions);
    if (!w->sessions) return LATCHKEY_NO_MEMORY;
    return latchkey_sessions(w->lk, w->user_id, w->token, w->token_len, w->sessions, LATCHKEY_SESSIONS_MAX, &w->count);
}

static int run_revoke_selector(work *w)
{
    if (w->token_len != LATCHKEY_SELECTOR_LENGTH) return LATCHKEY_MALFORMED;
    return latchkey_revoke_selector(w->lk, w->user_id, w->token);
}

static int run_revoke_everyone(work *w) { return latchkey_revoke_everyone(w->lk); }

static int run_user_generation(work *w) { return latchkey_user_generation(w->lk, w->user_id, &w->number); }

static int run_set_user_access(work *w) { return latchkey_set_user_access(w->lk, w->user_id, w->access, &w->count); }

static int run_prewarm(work *w)
{
    size_t loaded = 0;
    int status = latchkey_prewarm(w->lk, w->count, &loaded);
    w->count = loaded;
    return status;
}

static int run_put_section(work *w)
{
    return latchkey_section_put(w->lk, w->token, w->token_len, w->name, w->data, w->size);
}

static int run_get_section(work *w)
{
    w->section = malloc(LATCHKEY_SECTION_SIZE_MAX);
    if (!w->section) return LATCHKEY_NO_MEMORY;
    return latchkey_section_get(w->lk, w->token, w->token_len, w->name, w->section, LATCHKEY_SECTION_SIZE_MAX, &w->size,
                                &w->found);
}

static int run_import(work *w)
{
    return latchkey_import(w->lk, w->token, w->token_len, w->draft, w->created_at_ms, w->expires_at_ms);
}

/* ----------------------------------------------------------------------------------------------------- answers -- */

static napi_value value_none(napi_env env, const work *w)
{
    (void)w;
    return make_undefined(env);
}

static napi_value value_number(napi_env env, const work *w) { return make_number(env, w->number); }

static napi_value value_count(napi_env env, const work *w) { return make_integer(env, (int64_t)w->count); }

static napi_value value_section(napi_env env, const work *w)
{
    return w->status || !w->found ? make_undefined(env) : make_bytes(env, w->section, w->size);
}

static void set(napi_env env, napi_value object, const char *name, napi_value value)
{
    napi_set_named_property(env, object, name, value);
}

static napi_value value_session(napi_env env, const latchkey_session_info *info)
{
    napi_value object = NULL, current;
    napi_create_object(env, &object);
    napi_get_boolean(env, info->current != 0, &current);
    set(env, object, "selector", make_text(env, info->selector));
    set(env, object, "createdAt", make_integer(env, info->created_at_ms));
    set(env, object, "authAt", make_integer(env, info->auth_at_ms));
    set(env, object, "activeAt", make_integer(env, info->active_at_ms));
    set(env, object, "idleExpiresAt", make_integer(env, info->idle_expires_at_ms));
    set(env, object, "expiresAt", make_integer(env, info->expires_at_ms));
    set(env, object, "device", make_integer(env, info->device));
    set(env, object, "flags", make_integer(env, info->flags));
    set(env, object, "current", current);
    return object;
}

static napi_value value_sessions(napi_env env, const work *w)
{
    napi_value list = NULL;
    napi_create_array(env, &list);
    for (uint32_t i = 0; !w->status && i < LATCHKEY_SESSIONS_MAX && w->sessions[i].selector[0]; i++)
        napi_set_element(env, list, i, value_session(env, &w->sessions[i]));
    return list;
}

/* --------------------------------------------------------------------------------------------------- the table -- */

static const verb verbs[] = {
    {"SESSIONS", read_user_and_token, run_sessions, value_sessions},
    {"REVOKE_SELECTOR", read_user_and_token, run_revoke_selector, value_none},
    {"REVOKE_EVERYONE", read_nothing, run_revoke_everyone, value_none},
    {"USER_GENERATION", read_user, run_user_generation, value_number},
    {"SET_USER_ACCESS", read_user_and_access, run_set_user_access, value_count},
    {"PREWARM", read_count, run_prewarm, value_count},
    {"PUT_SECTION", read_section, run_put_section, value_none},
    {"GET_SECTION", read_section, run_get_section, value_section},
    {"IMPORT", read_import, run_import, value_none},
};
enum { VERBS = sizeof verbs / sizeof verbs[0] };

void add_verbs(napi_env env, napi_value exports)
{
    for (int i = 0; i < VERBS; i++) set(env, exports, verbs[i].name, make_integer(env, i));
}

static void run_work(job *j)
{
    work *w = (work *)j;
    w->status = w->verb->run(w);
    if (w->status < 0) latchkey_error_text(w->lk, w->text, sizeof w->text);
}

static void free_work(work *w)
{
    if (w->section) explicit_bzero(w->section, LATCHKEY_SECTION_SIZE_MAX);
    free(w->section);
    free(w->sessions);
    arena_free(&w->arena);
    free(w);
}

static void end_work(job *j)
{
    work *w = (work *)j;
    handle *h = w->handle;
    if (!h->closing) handle_deliver(h, w->tag, w->status, w->verb->value(j->env, w), w->text[0] ? w->text : NULL);
    free_work(w);
    handle_work_done(h);
}

napi_value handle_run(napi_env env, napi_callback_info info)
{
    napi_value argument[2 + ARGUMENTS_MAX];
    size_t given = 2 + ARGUMENTS_MAX;
    void *data;
    napi_get_cb_info(env, info, &given, argument, NULL, &data);
    handle *h = data;
    if (h->closing) return make_integer(env, HANDLE_CLOSED);
    work *w = calloc(1, sizeof *w);
    if (!w) return make_integer(env, LATCHKEY_NO_MEMORY);
    w->job = (job){.env = env, .run = run_work, .done = end_work};
    w->handle = h;
    w->lk = h->lk;
    w->tag = (double)read_integer(env, &w->arena, argument[0]);
    int64_t index = read_integer(env, &w->arena, argument[1]);
    if (index < 0 || index >= VERBS) w->arena.failed = true;
    if (!w->arena.failed) {
        w->verb = &verbs[index];
        w->verb->read(env, w, argument + 2);
    }
    int status = w->arena.failed ? LATCHKEY_BAD_ARGUMENT : job_start(&w->job) ? LATCHKEY_OK : LATCHKEY_NO_MEMORY;
    if (status) free_work(w);
    else h->works++;
    return make_integer(env, status);
}
