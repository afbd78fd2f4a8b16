/* SPDX-License-Identifier: MIT
 *
 * From a request to what is known of its session, and from that to a decision.
 */

#include "ngx_http_latchkey_module.h"


static void ngx_http_latchkey_forget(void *data);
static ngx_int_t ngx_http_latchkey_tokens(ngx_http_request_t *r,
    ngx_http_latchkey_loc_conf_t *llcf, ngx_str_t *tokens, ngx_uint_t *n);
static void ngx_http_latchkey_renewed(ngx_http_latchkey_ctx_t *ctx,
    latchkey_result *result);
static ngx_int_t ngx_http_latchkey_meets(ngx_http_request_t *r,
    ngx_http_latchkey_loc_conf_t *llcf);


/* The pool's cleanups keep it: an internal redirect forgets the module's ctx. */

static void
ngx_http_latchkey_ctx_cleanup(void *data)
{
    /* its address says whose it is */
}


/* The request's own ctx, or NULL. */

ngx_http_latchkey_ctx_t *
ngx_http_latchkey_get_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t       *cln;
    ngx_http_latchkey_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_latchkey_module);

    if (ctx || !(r->internal || r->filter_finalize)) {
        return ctx;
    }

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler != ngx_http_latchkey_ctx_cleanup) {
            continue;
        }

        ctx = cln->data;

        if (ctx->request == r) {
            ctx->conf = NULL;
            ngx_http_set_ctx(r, ctx, ngx_http_latchkey_module);
            return ctx;
        }
    }

    return NULL;
}


/* The ctx that speaks for this request: its own, or that of the request that it serves. */

ngx_http_latchkey_ctx_t *
ngx_http_latchkey_find_ctx(ngx_http_request_t *r)
{
    ngx_http_latchkey_ctx_t  *ctx;

    for ( /* void */ ; r; r = r->parent) {
        ctx = ngx_http_latchkey_get_ctx(r);

        if (ctx) {
            return ctx;
        }
    }

    return NULL;
}


ngx_http_latchkey_ctx_t *
ngx_http_latchkey_create_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t       *cln;
    ngx_http_latchkey_ctx_t  *ctx;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_latchkey_ctx_t));

    if (cln == NULL) {
        return NULL;
    }

    cln->handler = ngx_http_latchkey_ctx_cleanup;

    ctx = cln->data;

    ngx_memzero(ctx, sizeof(ngx_http_latchkey_ctx_t));

    ctx->request = r;

    ngx_http_set_ctx(r, ctx, ngx_http_latchkey_module);

    return ctx;
}


/*
 * NGX_OK: the ctx is resolved; NGX_AGAIN: it waits, and the request goes on
 * where it was once the answer is there.
 */

ngx_int_t
ngx_http_latchkey_resolve(ngx_http_request_t *r,
    ngx_http_latchkey_loc_conf_t *llcf)
{
    ngx_http_latchkey_ctx_t  *ctx;

    ctx = ngx_http_latchkey_get_ctx(r);

    if (ctx == NULL) {
        ctx = ngx_http_latchkey_create_ctx(r);

        if (ctx == NULL) {
            return NGX_ERROR;
        }
    }

    if (ctx->wait) {
        return NGX_AGAIN;
    }

    if (ctx->conf != llcf
        && ngx_http_latchkey_begin(r, llcf, ctx) != NGX_OK)
    {
        return NGX_ERROR;
    }

    while (!ctx->resolved) {

        if (!ctx->answered) {
            ctx->answered = 1;
            ctx->status = ngx_http_latchkey_validate(ctx);

            if (ctx->wait) {
                return ngx_http_latchkey_wait(ctx, ngx_http_core_run_phases);
            }
        }

        /* refused: another cookie of this name may be alive */

        if (ctx->status > 0 && ctx->current + 1 < ctx->ntokens) {
            ctx->current++;
            ctx->answered = 0;
            continue;
        }

        ctx->resolved = 1;
    }

    if ((ctx->entry.flags & LATCHKEY_FLAG_RENEW)
        && llcf->renew && r == r->main && !ctx->renewed
        && (!ctx->store->unrenewed
            || ngx_current_msec - ctx->store->asked >= NGX_HTTP_LATCHKEY_RETRY))
    {
        ctx->renewed = 1;

        if (ngx_http_latchkey_submit(ctx, LATCHKEY_ROTATE,
                                     (int64_t) llcf->grace)
            == LATCHKEY_OK)
        {
            return ngx_http_latchkey_wait(ctx, ngx_http_core_run_phases);
        }
    }

    return NGX_OK;
}


/* Would this location ask what the ctx was asked? NGX_OK, NGX_DECLINED or NGX_ERROR; `tokens` are its own. */

static ngx_int_t
ngx_http_latchkey_compare(ngx_http_request_t *r,
    ngx_http_latchkey_loc_conf_t *llcf, ngx_http_latchkey_ctx_t *ctx,
    ngx_str_t *tokens, ngx_uint_t *n)
{
    ngx_uint_t  i;

    if (ngx_http_latchkey_tokens(r, llcf, tokens, n) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ctx->store != llcf->store || ctx->ntokens != *n) {
        return NGX_DECLINED;
    }

    for (i = 0; i < *n; i++) {
        if (tokens[i].len != ctx->tokens[i].len
            || ngx_memcmp(tokens[i].data, ctx->tokens[i].data, tokens[i].len)
               != 0)
        {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


/* NGX_OK: the request that this subrequest serves has asked the same; else NGX_DECLINED or NGX_ERROR. */

ngx_int_t
ngx_http_latchkey_served(ngx_http_request_t *r,
    ngx_http_latchkey_loc_conf_t *llcf)
{
    ngx_str_t                 tokens[NGX_HTTP_LATCHKEY_TOKENS];
    ngx_uint_t                n;
    ngx_http_latchkey_ctx_t  *ctx;

    ctx = ngx_http_latchkey_find_ctx(r->parent);

    return ctx ? ngx_http_latchkey_compare(r, llcf, ctx, tokens, &n)
               : NGX_DECLINED;
}


/* Keeps what is known if this location asks the same. */

ngx_int_t
ngx_http_latchkey_begin(ngx_http_request_t *r,
    ngx_http_latchkey_loc_conf_t *llcf, ngx_http_latchkey_ctx_t *ctx)
{
    ngx_int_t   rc;
    ngx_str_t   tokens[NGX_HTTP_LATCHKEY_TOKENS];
    ngx_uint_t  n;

    rc = ngx_http_latchkey_compare(r, llcf, ctx, tokens, &n);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    ctx->conf = llcf;

    if (rc == NGX_OK) {
        return NGX_OK;
    }

    ngx_memcpy(ctx->tokens, tokens, sizeof(tokens));
    ngx_memzero(&ctx->entry, sizeof(latchkey_entry));

    ctx->store = llcf->store;
    ctx->ntokens = n;
    ctx->current = 0;
    ctx->answered = 0;
    ctx->renewed = 0;
    ctx->resolved = (n == 0);
    ctx->source = NGX_HTTP_LATCHKEY_FROM_NOWHERE;
    ctx->status = n ? NGX_HTTP_LATCHKEY_NOT_ASKED : NGX_HTTP_LATCHKEY_NO_TOKEN;

    return NGX_OK;
}


static ngx_int_t
ngx_http_latchkey_tokens(ngx_http_request_t *r,
    ngx_http_latchkey_loc_conf_t *llcf, ngx_str_t *tokens, ngx_uint_t *n)
{
    ngx_uint_t                 i;
    ngx_http_complex_value_t  *value;

    ngx_memzero(tokens, NGX_HTTP_LATCHKEY_TOKENS * sizeof(ngx_str_t));

    if (llcf->tokens == NULL) {
        *n = ngx_http_latchkey_cookies(r, &llcf->cookie, tokens);
        return NGX_OK;
    }

    value = llcf->tokens->elts;

    for (i = 0; i < llcf->tokens->nelts; i++) {

        if (ngx_http_complex_value(r, &value[i], &tokens[0]) != NGX_OK) {
            return NGX_ERROR;
        }

        if (tokens[0].len) {
            break;
        }
    }

    *n = tokens[0].len ? 1 : 0;

    return NGX_OK;
}


/* Until the answer is there; then `resume` runs. NGX_AGAIN, or NGX_ERROR. */

ngx_int_t
ngx_http_latchkey_wait(ngx_http_latchkey_ctx_t *ctx,
    ngx_http_event_handler_pt resume)
{
    ngx_http_cleanup_t  *cln;
    ngx_http_request_t  *r;

    r = ctx->request;

    if (!ctx->cleaned) {

        /* runs as soon as the request is terminated, before its pool goes */

        cln = ngx_http_cleanup_add(r, 0);

        if (cln == NULL) {
            ngx_http_latchkey_forget(ctx);
            return NGX_ERROR;
        }

        cln->handler = ngx_http_latchkey_forget;
        cln->data = ctx;

        ctx->cleaned = 1;
    }

    if (r == r->main && !r->discard_body) {

        /* a client that hangs up is noticed */

        if (ngx_handle_read_event(r->connection->read, 0) != NGX_OK) {
            ngx_http_latchkey_forget(ctx);
            return NGX_ERROR;
        }

        r->read_event_handler = ngx_http_test_reading;
    }

    r->write_event_handler = ngx_http_request_empty_handler;

    ctx->resume = resume;

    return NGX_AGAIN;
}


static void
ngx_http_latchkey_forget(void *data)
{
    ngx_http_latchkey_ctx_t *ctx = data;

    if (ctx->wait) {
        ctx->wait->ctx = NULL;
        ctx->wait = NULL;
    }
}


/* The answer is there, and the request goes on. */

void
ngx_http_latchkey_answered(ngx_http_latchkey_ctx_t *ctx,
    latchkey_result *result)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    switch (result->kind) {

    case LATCHKEY_VALIDATE:
        ctx->status = result->status;
        ctx->entry = result->entry;
        break;

    case LATCHKEY_ROTATE:
        ngx_http_latchkey_renewed(ctx, result);
        break;

    default: /* LATCHKEY_REVOKE */
        ctx->status = result->status;
    }

    r = ctx->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    if (r == r->main && !r->discard_body) {
        r->read_event_handler = ngx_http_block_reading;
    }

    r->write_event_handler = ctx->resume;

    ctx->resume(r);

    ngx_http_run_posted_requests(c);
}


/* Whatever came of it, the request passes: its token is good, or in its grace. */

static void
ngx_http_latchkey_renewed(ngx_http_latchkey_ctx_t *ctx,
    latchkey_result *result)
{
    switch (result->status) {

    case LATCHKEY_OK:
        ctx->store->counts[NGX_HTTP_LATCHKEY_RENEWED]++;
        (void) ngx_http_latchkey_set_cookie(ctx, (u_char *) result->token);
        ctx->entry.flags &= ~LATCHKEY_FLAG_RENEW;
        break;

    case LATCHKEY_REFUSED: /* another request was quicker */
        ctx->entry.flags &= ~LATCHKEY_FLAG_RENEW;
        break;

    default:
        if (result->status < 0) {
            ctx->store->unrenewed = 1;
            ctx->store->asked = ngx_current_msec;
        }

        ngx_log_error(NGX_LOG_INFO, ctx->request->connection->log, 0,
                      "latchkey: the token was not renewed: %s",
                      latchkey_status_text(result->status));
    }
}


/*
 * NGX_OK: a session that may pass; NGX_DECLINED: none, and the request may
 * pass without one; else the HTTP status that refuses it.
 */

ngx_int_t
ngx_http_latchkey_decide(ngx_http_request_t *r,
    ngx_http_latchkey_loc_conf_t *llcf, ngx_http_latchkey_ctx_t *ctx)
{
    ngx_int_t    rc;
    ngx_uint_t  *counts;

    counts = llcf->store->counts;

    rc = ngx_http_latchkey_meets(r, llcf);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ctx->status == LATCHKEY_OK) {

        if (rc == NGX_OK) {
            counts[NGX_HTTP_LATCHKEY_ADMITTED]++;
            return NGX_OK;
        }

        counts[NGX_HTTP_LATCHKEY_FORBIDDEN]++;

        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "latchkey: forbidden: a latchkey_require does not hold");

        return NGX_HTTP_FORBIDDEN;
    }

    if (rc == NGX_OK
        && (llcf->optional == NGX_HTTP_LATCHKEY_OPTIONAL_ALWAYS
            || (llcf->optional && ctx->status > 0)))
    {
        counts[NGX_HTTP_LATCHKEY_ANONYMOUS]++;
        return NGX_DECLINED;
    }

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0, "latchkey: refused: %s",
                  ctx->status == NGX_HTTP_LATCHKEY_NO_TOKEN
                      ? "the request has no token"
                      : latchkey_status_text(ctx->status));

    if (ctx->status > 0) {
        counts[NGX_HTTP_LATCHKEY_UNAUTHORIZED]++;
        return NGX_HTTP_UNAUTHORIZED;
    }

    /* below 0 there was no answer */

    counts[NGX_HTTP_LATCHKEY_UNAVAILABLE]++;
    ctx->retry = 1;

    return NGX_HTTP_SERVICE_UNAVAILABLE;
}


/* NGX_OK: every latchkey_require holds; NGX_DECLINED: one does not. */

static ngx_int_t
ngx_http_latchkey_meets(ngx_http_request_t *r,
    ngx_http_latchkey_loc_conf_t *llcf)
{
    ngx_str_t                     value, *wanted;
    ngx_uint_t                    i, j;
    ngx_http_latchkey_require_t  *require;

    if (llcf->requires == NULL) {
        return NGX_OK;
    }

    require = llcf->requires->elts;

    for (i = 0; i < llcf->requires->nelts; i++) {

        if (ngx_http_complex_value(r, &require[i].value, &value) != NGX_OK) {
            return NGX_ERROR;
        }

        wanted = require[i].wanted->elts;

        for (j = 0; j < require[i].wanted->nelts; j++) {
            if (value.len == wanted[j].len
                && ngx_memcmp(value.data, wanted[j].data, value.len) == 0)
            {
                break;
            }
        }

        if (j == require[i].wanted->nelts) {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}
