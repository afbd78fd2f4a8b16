/* SPDX-License-Identifier: MIT */
/* One handle: its queue at the shared handle, the uv_poll that waits for answers, the delivery to JavaScript, and its end.
 *
 * The end. close() in JavaScript, the collector, and the end of the thread (a worker that is terminated) all come to begin_closing:
 * the polls are closed, the queue is closed. When no work of this handle is on the pool any more, the shared handle is released: on
 * the pool where JavaScript waits for close(), since that may take as long as writes that are under way; else at once. */
#include "addon.h"

#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------------- delivery -- */

static napi_value value_of(napi_env env, napi_ref reference)
{
    napi_value value = NULL;
    napi_get_reference_value(env, reference, &value);
    return value;
}

/* What a callback of JavaScript threw is uncaught, as in every other callback of an event loop. */
static void check_thrown(napi_env env)
{
    bool thrown = false;
    napi_value error;
    if (napi_is_exception_pending(env, &thrown) == napi_ok && thrown &&
        napi_get_and_clear_last_exception(env, &error) == napi_ok)
        napi_fatal_exception(env, error);
}

void handle_deliver(handle *h, double tag, int status, napi_value value, const char *text)
{
    napi_value argument[4], global;
    napi_create_double(h->env, tag, &argument[0]);
    argument[1] = make_integer(h->env, status);
    argument[2] = value ? value : make_undefined(h->env);
    argument[3] = text ? make_text(h->env, text) : make_undefined(h->env);
    napi_get_global(h->env, &global);
    napi_call_function(h->env, global, value_of(h->env, h->deliver), 4, argument, NULL);
    check_thrown(h->env);
}

static void deliver_result(handle *h, const latchkey_result *result)
{
    napi_handle_scope scope;
    napi_open_handle_scope(h->env, &scope);
    napi_value value = NULL;
    switch (result->kind) {
    case LATCHKEY_VALIDATE: memcpy(h->words, &result->entry, LATCHKEY_ENTRY_SIZE); break;
    case LATCHKEY_CREATE:
    case LATCHKEY_ROTATE: value = make_text(h->env, result->token); break;
    case LATCHKEY_REVOKE_USER: value = make_integer(h->env, (int64_t)result->count); break;
    default: break;
    }
    if (result->record) value = make_record(h->env, result->record, h->words);
    latchkey_record_free(result->record);
    handle_deliver(h, (double)result->tag, result->status, value, NULL);
    napi_close_handle_scope(h->env, scope);
}

/* Everything that JavaScript does because of one wake-up runs when this scope is closed: promises' continuations too. */
typedef struct call_scope {
    napi_handle_scope handles;
    napi_callback_scope calls;
} call_scope;

static void enter(handle *h, call_scope *scope)
{
    napi_open_handle_scope(h->env, &scope->handles);
    napi_open_callback_scope(h->env, value_of(h->env, h->resource), h->context, &scope->calls);
}

static void leave(handle *h, call_scope *scope)
{
    napi_close_callback_scope(h->env, scope->calls);
    napi_close_handle_scope(h->env, scope->handles);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    handle *h = poll->data;
    latchkey_result results[32];
    call_scope scope;
    size_t count;
    (void)status, (void)events;
    enter(h, &scope);
    do {
        count = latchkey_queue_reap(h->queue, results, sizeof results[0], 32);
        h->outstanding -= count;
        for (size_t i = 0; i < count; i++) deliver_result(h, &results[i]);
    } while (count == 32);
    explicit_bzero(results, sizeof results); /* tokens */
    /* A handle that waits for nothing does not keep the process alive. */
    if (h->outstanding == 0) uv_unref((uv_handle_t *)&h->poll);
    leave(h, &scope);
}

/* ------------------------------------------------------------------------------------------------------ the log -- */

static void read_log(handle *h)
{
    int level;
    char text[640];
    while (!h->closing && latchkey_log_read(h->lk, &level, text, sizeof text) == LATCHKEY_OK) {
        napi_value argument[2] = {make_integer(h->env, level), make_text(h->env, text)}, global;
        napi_get_global(h->env, &global);
        napi_call_function(h->env, global, value_of(h->env, h->on_log), 2, argument, NULL);
        check_thrown(h->env);
    }
}

static void on_log_readable(uv_poll_t *poll, int status, int events)
{
    handle *h = poll->data;
    call_scope scope;
    (void)status, (void)events;
    enter(h, &scope);
    read_log(h);
    leave(h, &scope);
}

/* --------------------------------------------------------------------------------------------------- the end -- */

static void free_if_unused(handle *h)
{
    if (h->collected && !h->polls && !h->works && !h->shared) free(h);
}

typedef struct release_job {
    job job;
    shared *shared;
    napi_deferred promise;
} release_job;

static void run_release(job *j) { shared_release(((release_job *)j)->shared); }

static void end_release(job *j)
{
    release_job *release = (release_job *)j;
    napi_resolve_deferred(j->env, release->promise, make_undefined(j->env));
    free(release);
}

static void release_if_idle(handle *h)
{
    if (!h->closing || h->works || !h->shared) return;
    release_job *release = h->closed ? calloc(1, sizeof *release) : NULL;
    shared *s = h->shared;
    napi_deferred promise = h->closed;
    h->shared = NULL;
    h->lk = NULL;
    h->closed = NULL;
    if (release) {
        *release = (release_job){{.env = h->env, .run = run_release, .done = end_release}, s, promise};
        if (job_start(&release->job)) return;
        free(release);
    }
    shared_release(s);
    if (promise) napi_resolve_deferred(h->env, promise, make_undefined(h->env));
}

void handle_work_done(handle *h)
{
    h->works--;
    release_if_idle(h);
    free_if_unused(h);
}

static void on_poll_closed(uv_handle_t *poll)
{
    handle *h = poll->data;
    if (--h->polls) return;
    napi_remove_async_cleanup_hook(h->cleanup);
    free_if_unused(h);
}

static void begin_closing(handle *h)
{
    if (h->closing) return;
    h->closing = true;
    /* First the polls, which look at the queues' descriptors. */
    uv_poll_stop(&h->poll);
    if (h->logs) {
        uv_poll_stop(&h->log_poll);
        uv_close((uv_handle_t *)&h->log_poll, on_poll_closed);
        shared_give_log(h->shared);
        napi_delete_reference(h->env, h->on_log);
    }
    uv_close((uv_handle_t *)&h->poll, on_poll_closed);
    latchkey_queue_close(h->queue);
    h->queue = NULL;
    napi_delete_reference(h->env, h->deliver);
    napi_delete_reference(h->env, h->words_ref);
    napi_async_destroy(h->env, h->context);
    napi_delete_reference(h->env, h->resource);
    release_if_idle(h);
}

/* The thread ends: the process, or a worker. */
static void on_cleanup(napi_async_cleanup_hook_handle hook, void *data)
{
    (void)hook;
    begin_closing(data);
}

static void on_collected(napi_env env, void *data, void *hint)
{
    handle *h = data;
    (void)env, (void)hint;
    h->collected = true;
    begin_closing(h);
    free_if_unused(h);
}

/* ------------------------------------------------------------------------------ what JavaScript calls on a handle -- */

static handle *arguments(napi_env env, napi_callback_info info, size_t count, napi_value *argument)
{
    void *data = NULL;
    size_t given = count;
    napi_get_cb_info(env, info, &given, argument, NULL, &data);
    return data;
}

/* tryValidate(token): the status; the entry is in the words. */
static napi_value try_validate(napi_env env, napi_callback_info info)
{
    napi_value argument[1], status_value;
    char token[TOKEN_SIZE];
    size_t length;
    handle *h = arguments(env, info, 1, argument);
    int status = HANDLE_CLOSED;
    if (!h->closing)
        status = read_token(env, argument[0], token, &length)
                     ? latchkey_try_validate(h->lk, token, length, (latchkey_entry *)(void *)h->words)
                     : LATCHKEY_BAD_ARGUMENT;
    napi_create_int32(env, status, &status_value);
    return status_value;
}

/* What the kind needs, of submit's `detail`. */
static void read_detail(napi_env env, arena *a, napi_value detail, latchkey_request *request)
{
    switch (request->kind) {
    case LATCHKEY_VALIDATE:
        request->max_age_ms = read_integer(env, a, detail);
        request->fresh = request->max_age_ms >= 0;
        break;
    case LATCHKEY_CREATE: request->draft = read_draft(env, a, detail); break;
    case LATCHKEY_ROTATE: request->grace_ms = read_integer(env, a, detail); break;
    case LATCHKEY_GET_FIELDS: request->names = read_names(env, a, detail, &request->count); break;
    case LATCHKEY_CHANGE_FIELDS: request->changes = read_changes(env, a, detail, &request->count); break;
    case LATCHKEY_SET_FIELDS: request->fields = read_fields(env, a, detail, &request->count); break;
    case LATCHKEY_SET_ACCESS: request->access = read_access(env, a, detail); break;
    case LATCHKEY_REVOKE_USER: request->user_id = read_number(env, a, detail); break;
    default: break;
    }
}

/* submit(tag, kind, token or undefined, detail): the status. */
static napi_value submit(napi_env env, napi_callback_info info)
{
    napi_value argument[4];
    arena a = {0};
    handle *h = arguments(env, info, 4, argument);
    if (h->closing) return make_integer(env, HANDLE_CLOSED);
    latchkey_request request = {.size = sizeof request, .tag = (uint64_t)read_integer(env, &a, argument[0])};
    request.kind = (int)read_integer(env, &a, argument[1]);
    request.token = read_text(env, &a, argument[2], &request.token_len);
    read_detail(env, &a, argument[3], &request);
    int status = a.failed ? LATCHKEY_BAD_ARGUMENT : latchkey_queue_submit(h->queue, &request);
    arena_free(&a);
    if (!status && h->outstanding++ == 0) uv_ref((uv_handle_t *)&h->poll);
    return make_integer(env, status);
}

/* close(): a promise. Answers that are outstanding are not delivered any more. */
static napi_value close_handle(napi_env env, napi_callback_info info)
{
    napi_value promise;
    napi_deferred deferred;
    handle *h = arguments(env, info, 0, NULL);
    napi_create_promise(env, &deferred, &promise);
    if (h->closing) {
        napi_resolve_deferred(env, deferred, make_undefined(env));
        return promise;
    }
    h->closed = deferred;
    begin_closing(h);
    return promise;
}

/* log(function): false where another handle of the process reads this log already. */
static napi_value start_log(napi_env env, napi_callback_info info)
{
    napi_value argument[1], taken_value;
    uv_loop_t *loop;
    handle *h = arguments(env, info, 1, argument);
    bool taken = !h->closing && shared_take_log(h->shared);
    if (taken) {
        napi_get_uv_event_loop(env, &loop);
        int fd = latchkey_queue_fd(latchkey_queue_own(h->lk));
        taken = fd >= 0 && uv_poll_init(loop, &h->log_poll, fd) == 0;
        if (!taken) shared_give_log(h->shared);
    }
    if (taken) {
        h->log_poll.data = h;
        h->polls++;
        h->logs = true;
        napi_create_reference(env, argument[0], 1, &h->on_log);
        uv_poll_start(&h->log_poll, UV_READABLE, on_log_readable);
        uv_unref((uv_handle_t *)&h->log_poll);
        read_log(h);
    }
    napi_get_boolean(env, taken, &taken_value);
    return taken_value;
}

/* ------------------------------------------------------------------------------------------------- the beginning -- */

static bool start_poll(napi_env env, handle *h)
{
    uv_loop_t *loop;
    int fd = latchkey_queue_fd(h->queue);
    if (fd < 0 || napi_get_uv_event_loop(env, &loop) != napi_ok || uv_poll_init(loop, &h->poll, fd) != 0) return false;
    h->poll.data = h;
    h->polls = 1;
    uv_poll_start(&h->poll, UV_READABLE, on_readable);
    uv_unref((uv_handle_t *)&h->poll);
    return true;
}

static void take_words(napi_env env, handle *h, napi_value object)
{
    napi_value buffer, words;
    void *bytes;
    napi_create_arraybuffer(env, LATCHKEY_ENTRY_SIZE, &bytes, &buffer);
    napi_create_typedarray(env, napi_int32_array, ENTRY_WORDS, buffer, 0, &words);
    napi_create_reference(env, buffer, 1, &h->words_ref);
    napi_set_named_property(env, object, "words", words);
    h->words = bytes;
}

napi_value handle_new(napi_env env, shared *s, napi_value deliver)
{
    handle *h = calloc(1, sizeof *h);
    napi_value object;
    if (!h) return NULL;
    h->env = env;
    h->shared = s;
    h->lk = shared_latchkey(s);
    h->queue = latchkey_queue_open(h->lk);
    if (!h->queue || !start_poll(env, h)) {
        latchkey_queue_close(h->queue);
        free(h);
        return NULL;
    }
    napi_create_object(env, &object);
    take_words(env, h, object);
    napi_create_reference(env, deliver, 1, &h->deliver);
    napi_value resource;
    napi_create_object(env, &resource);
    napi_create_reference(env, resource, 1, &h->resource);
    napi_async_init(env, resource, make_text(env, "latchkey"), &h->context);
    const napi_property_descriptor functions[] = {
        {"tryValidate", NULL, try_validate, NULL, NULL, NULL, napi_default, h},
        {"submit", NULL, submit, NULL, NULL, NULL, napi_default, h},
        {"run", NULL, handle_run, NULL, NULL, NULL, napi_default, h},
        {"log", NULL, start_log, NULL, NULL, NULL, napi_default, h},
        {"tokenNew", NULL, handle_token_new, NULL, NULL, NULL, napi_default, h},
        {"reason", NULL, handle_reason, NULL, NULL, NULL, napi_default, h},
        {"stats", NULL, handle_stats, NULL, NULL, NULL, napi_default, h},
        {"metrics", NULL, handle_metrics, NULL, NULL, NULL, napi_default, h},
        {"close", NULL, close_handle, NULL, NULL, NULL, napi_default, h},
    };
    napi_define_properties(env, object, sizeof functions / sizeof functions[0], functions);
    napi_wrap(env, object, h, on_collected, NULL, NULL);
    napi_add_async_cleanup_hook(env, on_cleanup, h, &h->cleanup);
    return object;
}
