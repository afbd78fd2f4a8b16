/* SPDX-License-Identifier: MIT
 *
 * The addon: the functions of latchkey.h as JavaScript wants them. The JavaScript beside it (lib/) makes classes, promises and
 * errors of them.
 *
 *     JavaScript thread      tryValidate   reads L1 in this thread, and puts the entry into 30 words that lib/entry.js reads
 *                            submit        gives the request to this thread's queue; uv_poll waits on the queue's descriptor
 *                            run           one of the rare verbs that have no form for event loops, on libuv's pool
 *                            deliver       JavaScript's function that all answers go to: (tag, status, value, text)
 *
 * Words. A shared handle: a latchkey of this process. All threads (worker_threads) that open one configuration share it.
 * A handle: what one JavaScript object holds. It belongs to one thread, with a queue of its own at the shared handle.
 *
 * Who owns what. A handle is freed when nothing refers to it: the JavaScript object, its uv_polls until they are closed, and its
 * work on the pool. All of its members are read and written in its own thread alone; a work sees the latchkey and its own copy
 * of the arguments.
 */
#ifndef LATCHKEY_NODE_ADDON_H
#define LATCHKEY_NODE_ADDON_H

#define NAPI_VERSION 8 /* Node 16 and newer */
#include <node_api.h>

#include <latchkey.h>
#include <stdbool.h>
#include <uv.h>

enum {
    TOKEN_SIZE = 264, /* the longest token is 256 bytes: what is cut at this size is still too long */
    ENTRY_WORDS = LATCHKEY_ENTRY_SIZE / 4,
    ERROR_SIZE = 512
};

/* ------------------------------------------------------------------------------------ shared handles: shared.c -- */

typedef struct shared shared;

/* Blocks as latchkey_open does. With `apart` the handle is not shared. On failure `error` says why. */
int shared_open(const char *config, bool apart, shared **out, char *error, size_t error_size);
latchkey *shared_latchkey(const shared *s);
bool shared_take_log(shared *s); /* true for the first that asks, until it gives it back */
void shared_give_log(shared *s);
void shared_release(shared *s); /* the last one closes: blocks as latchkey_close does */

/* ------------------------------------------------------------------------------------ work on libuv's pool: work.c -- */

typedef struct job {
    napi_env env;
    void (*run)(struct job *);  /* on the pool: no JavaScript */
    void (*done)(struct job *); /* in the thread of env; frees the job */
    napi_async_work work;
} job;

bool job_start(job *j);

/* --------------------------------------------------------------------------------------- one handle: handle.c -- */

#define HANDLE_CLOSED (-100) /* no status of latchkey: the handle was closed */

typedef struct handle {
    napi_env env;
    shared *shared; /* NULL once it is released */
    latchkey *lk;
    latchkey_queue *queue; /* NULL once it is closed */
    uv_poll_t poll, log_poll;
    napi_ref deliver, on_log, words_ref, resource;
    uint8_t *words; /* the bytes behind words_ref: the entry of the last answer */
    napi_async_context context;
    napi_async_cleanup_hook_handle cleanup;
    napi_deferred closed; /* the promise of close(), or NULL */
    size_t outstanding;   /* submitted, and not delivered yet */
    size_t works;         /* on the pool */
    unsigned polls;       /* uv_polls that are not closed yet */
    bool closing, logs, collected;
} handle;

napi_value handle_new(napi_env env, shared *s,
                      napi_value deliver); /* takes the shared handle; NULL: no queue can be had */
void handle_work_done(handle *h);          /* after each work, in the handle's thread */

/* Gives one answer to JavaScript. */
void handle_deliver(handle *h, double tag, int status, napi_value value, const char *text);

/* ---------------------------------------------------------------------- from JavaScript and back: values.c -- */

/* Memory that is wiped and freed as one. What JavaScript passes is copied into it. */
typedef struct arena {
    struct block *blocks;
    bool failed; /* no memory, or a value of another type than is expected */
} arena;

void *arena_take(arena *a, size_t size);
void arena_free(arena *a);

/* Each reads a value that the JavaScript beside this has checked. Where it is of another type, a->failed is set. */
bool read_token(napi_env env, napi_value value, char token[TOKEN_SIZE], size_t *length);
uint64_t read_number(napi_env env, arena *a, napi_value value); /* a BigInt below 2^64 */
int64_t read_integer(napi_env env, arena *a, napi_value value);
napi_value read_element(napi_env env, napi_value array, uint32_t index);
const char *read_text(napi_env env, arena *a, napi_value value, size_t *length);  /* NULL for undefined */
const void *read_bytes(napi_env env, arena *a, napi_value value, size_t *length); /* NULL for null and undefined */
latchkey_change *read_changes(napi_env env, arena *a, napi_value value,
                              size_t *count);                                         /* [name, bytes, version, ...] */
latchkey_field *read_fields(napi_env env, arena *a, napi_value value, size_t *count); /* the same, without versions */
const char **read_names(napi_env env, arena *a, napi_value value, size_t *count);
latchkey_draft *read_draft(napi_env env, arena *a, napi_value value);
latchkey_access *read_access(napi_env env, arena *a, napi_value value);

napi_value make_undefined(napi_env env);
napi_value make_integer(napi_env env, int64_t value);
napi_value make_number(napi_env env, uint64_t value); /* a BigInt */
napi_value make_text(napi_env env, const char *text);
napi_value make_bytes(napi_env env, const void *data, size_t size);
napi_value make_record(napi_env env, const latchkey_record *record, uint8_t *words); /* [name, bytes, version, ...] */

/* ------------------------------------------------------------------------------- the rare verbs: verbs.c, observe.c -- */

/* run(tag, verb, ...arguments): queues the work; its answer is delivered. A status: OK, or below 0 and nothing is delivered. */
napi_value handle_run(napi_env env, napi_callback_info info);
void add_verbs(napi_env env, napi_value exports); /* the names of the verbs and their numbers */

napi_value handle_token_new(napi_env env, napi_callback_info info); /* tokenNew(userId): the token, or a status */
napi_value handle_reason(napi_env env, napi_callback_info info);    /* reason(): why the last call failed, or "" */
napi_value handle_stats(napi_env env, napi_callback_info info);     /* stats(): an object of numbers, or a status */
napi_value handle_metrics(napi_env env, napi_callback_info info);   /* metrics(): text, or a status */

#endif
