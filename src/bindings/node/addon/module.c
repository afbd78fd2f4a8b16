/* SPDX-License-Identifier: MIT */
/* What the addon gives to lib/: open, and the functions that need no handle. */
#include "addon.h"

#include <stdlib.h>
#include <string.h>

/* -------------------------------------------------------------------------------------------------------- open -- */

typedef struct open_job {
    job job;
    char *config;
    bool apart;
    napi_ref deliver;
    napi_deferred promise;
    shared *shared;
    int status;
    char error[ERROR_SIZE];
} open_job;

static void run_open(job *j)
{
    open_job *o = (open_job *)j;
    o->status = shared_open(o->config, o->apart, &o->shared, o->error, sizeof o->error);
}

/* The promise gives the handle, or [status, text]. */
static void end_open(job *j)
{
    open_job *o = (open_job *)j;
    napi_env env = j->env;
    napi_value deliver = NULL, answer = NULL;
    napi_get_reference_value(env, o->deliver, &deliver);
    if (!o->status) {
        answer = handle_new(env, o->shared, deliver);
        if (!answer) {
            latchkey_error_text(shared_latchkey(o->shared), o->error, sizeof o->error);
            o->status = LATCHKEY_UNAVAILABLE;
            shared_release(o->shared);
        }
    }
    if (o->status) {
        napi_create_array(env, &answer);
        napi_set_element(env, answer, 0, make_integer(env, o->status));
        napi_set_element(env, answer, 1, make_text(env, o->error));
    }
    napi_resolve_deferred(env, o->promise, answer);
    napi_delete_reference(env, o->deliver);
    explicit_bzero(o->config, strlen(o->config));
    free(o->config);
    free(o);
}

/* open(config, apart, deliver) */
static napi_value open_handle(napi_env env, napi_callback_info info)
{
    napi_value argument[3], promise = NULL;
    size_t count = 3;
    arena a = {0};
    napi_get_cb_info(env, info, &count, argument, NULL, NULL);
    open_job *o = calloc(1, sizeof *o);
    const char *config = read_text(env, &a, argument[0], NULL);
    if (o) o->config = config ? strdup(config) : NULL;
    arena_free(&a);
    if (!o || !o->config) {
        free(o);
        napi_throw_error(env, NULL, "latchkey: no memory");
        return NULL;
    }
    o->job = (job){.env = env, .run = run_open, .done = end_open};
    napi_get_value_bool(env, argument[1], &o->apart);
    napi_create_reference(env, argument[2], 1, &o->deliver);
    napi_create_promise(env, &o->promise, &promise);
    if (!job_start(&o->job)) {
        o->status = LATCHKEY_NO_MEMORY;
        end_open(&o->job);
    }
    return promise;
}

/* --------------------------------------------------------------------------------------- what needs no handle -- */

static napi_value status_text(napi_env env, napi_callback_info info)
{
    napi_value argument[1];
    size_t count = 1;
    arena a = {0};
    napi_get_cb_info(env, info, &count, argument, NULL, NULL);
    return make_text(env, latchkey_status_text((int)read_integer(env, &a, argument[0])));
}

static napi_value user_id(napi_env env, napi_callback_info info)
{
    napi_value argument[1];
    size_t count = 1, size;
    arena a = {0};
    napi_get_cb_info(env, info, &count, argument, NULL, NULL);
    const void *name = read_bytes(env, &a, argument[0], &size);
    napi_value value = make_number(env, latchkey_user_id(name, size));
    arena_free(&a);
    return value;
}

/* checkConfig(config): [status, text] */
static napi_value check_config(napi_env env, napi_callback_info info)
{
    napi_value argument[1], answer;
    size_t count = 1;
    arena a = {0};
    char error[ERROR_SIZE] = "";
    napi_get_cb_info(env, info, &count, argument, NULL, NULL);
    int status = latchkey_check_config(read_text(env, &a, argument[0], NULL), error, sizeof error);
    arena_free(&a);
    napi_create_array(env, &answer);
    napi_set_element(env, answer, 0, make_integer(env, status));
    napi_set_element(env, answer, 1, make_text(env, error));
    return answer;
}

/* ------------------------------------------------------------------------------------------------------ the module -- */

#define CONSTANT(name)                                                                                                 \
    {                                                                                                                  \
#name, LATCHKEY_##name                                                                                         \
    }
static const struct {
    const char *name;
    int64_t value;
} constants[] = {
    CONSTANT(OK),         CONSTANT(NOT_FOUND),    CONSTANT(EXPIRED),       CONSTANT(MALFORMED),
    CONSTANT(REFUSED),    CONSTANT(BAD_ARGUMENT), CONSTANT(AGAIN),         {"CLOSED", HANDLE_CLOSED},
    CONSTANT(VALIDATE),   CONSTANT(CREATE),       CONSTANT(REVOKE),        CONSTANT(ROTATE),
    CONSTANT(TOUCH),      CONSTANT(GET_FIELDS),   CONSTANT(CHANGE_FIELDS), CONSTANT(SET_FIELDS),
    CONSTANT(LOAD),       CONSTANT(SET_ACCESS),   CONSTANT(REVOKE_USER),   CONSTANT(FLAGS_YOURS),
    CONSTANT(FLAG_STALE), CONSTANT(FLAG_RENEW),
};

NAPI_MODULE_INIT()
{
    const napi_property_descriptor functions[] = {
        {"open", NULL, open_handle, NULL, NULL, NULL, napi_default, NULL},
        {"statusText", NULL, status_text, NULL, NULL, NULL, napi_default, NULL},
        {"userId", NULL, user_id, NULL, NULL, NULL, napi_default, NULL},
        {"checkConfig", NULL, check_config, NULL, NULL, NULL, napi_default, NULL},
    };
    napi_define_properties(env, exports, sizeof functions / sizeof functions[0], functions);
    for (size_t i = 0; i < sizeof constants / sizeof constants[0]; i++)
        napi_set_named_property(env, exports, constants[i].name, make_integer(env, constants[i].value));
    napi_set_named_property(env, exports, "version", make_text(env, latchkey_version()));
    add_verbs(env, exports);
    return exports;
}
