/* SPDX-License-Identifier: MIT */
/* Work on libuv's pool. */
#include "addon.h"

static void execute(napi_env env, void *data)
{
    job *j = data;
    (void)env;
    j->run(j);
}

static void complete(napi_env env, napi_status status, void *data)
{
    job *j = data;
    (void)status; /* nothing here cancels work, and a thread that ends waits for it */
    napi_delete_async_work(env, j->work);
    j->done(j);
}

bool job_start(job *j)
{
    if (napi_create_async_work(j->env, NULL, make_text(j->env, "latchkey"), execute, complete, j, &j->work) != napi_ok)
        return false;
    if (napi_queue_async_work(j->env, j->work) == napi_ok) return true;
    napi_delete_async_work(j->env, j->work);
    return false;
}
