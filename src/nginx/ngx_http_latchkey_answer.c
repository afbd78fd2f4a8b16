/* SPDX-License-Identifier: MIT
 *
 * What the module says by itself: latchkey_answer, for other proxies, and latchkey_logout.
 */

#include "ngx_http_latchkey_module.h"


static ngx_int_t ngx_http_latchkey_answer_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_latchkey_logout_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_latchkey_logout_tokens(ngx_http_request_t *r,
    ngx_http_latchkey_ctx_t *ctx);
static void ngx_http_latchkey_logout_resume(ngx_http_request_t *r);
static ngx_int_t ngx_http_latchkey_logged_out(ngx_http_request_t *r,
    ngx_http_latchkey_ctx_t *ctx);
static ngx_int_t ngx_http_latchkey_send(ngx_http_request_t *r,
    ngx_uint_t status);


/* 204 (or 200), 401, 403 or 503, without a body; what is known of the session in headers, each of them always. */

static ngx_int_t
ngx_http_latchkey_answer_handler(ngx_http_request_t *r)
{
    ngx_int_t                      rc;
    ngx_http_latchkey_ctx_t       *ctx;
    ngx_http_latchkey_loc_conf_t  *llcf;

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_latchkey_module);

    ctx = ngx_http_latchkey_find_ctx(r);

    if (ctx == NULL || !ctx->resolved) {
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    rc = ngx_http_latchkey_decide(r, llcf, ctx);

    if (rc == NGX_OK || rc == NGX_DECLINED) {
        rc = llcf->pass;
    }

    if (ngx_http_latchkey_add_headers(r, ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_latchkey_send(r, rc);
}


static ngx_int_t
ngx_http_latchkey_logout_handler(ngx_http_request_t *r)
{
    ngx_int_t                      rc;
    ngx_table_elt_t               *h;
    ngx_http_latchkey_ctx_t       *ctx;
    ngx_http_latchkey_loc_conf_t  *llcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_latchkey_module);

    if (llcf->store == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (!llcf->any && r->method != NGX_HTTP_POST) {

        h = ngx_http_latchkey_add_header(r);
        if (h == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        ngx_str_set(&h->key, "Allow");
        ngx_str_set(&h->value, "POST");

        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    ctx = ngx_http_latchkey_get_ctx(r);

    if (ctx == NULL) {
        ctx = ngx_http_latchkey_create_ctx(r);

        if (ctx == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    if (ngx_http_latchkey_begin(r, llcf, ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->current = 0;
    ctx->answered = 0;
    ctx->ended = LATCHKEY_OK;
    ctx->status = LATCHKEY_OK;

    rc = ngx_http_latchkey_logout_tokens(r, ctx);

    if (rc == NGX_AGAIN) {
        r->main->count++;
        return NGX_DONE;
    }

    return rc;
}


/* One after the other. What was no session is as good as ended. */

static ngx_int_t
ngx_http_latchkey_logout_tokens(ngx_http_request_t *r,
    ngx_http_latchkey_ctx_t *ctx)
{
    for ( ;; ) {

        if (ctx->status < 0
            && (ctx->ended == LATCHKEY_OK || ctx->ended == LATCHKEY_PENDING))
        {
            ctx->ended = ctx->status;
        }

        if (ctx->answered) {
            ctx->answered = 0;
            ctx->current++;
        }

        if (ctx->current >= ctx->ntokens) {
            break;
        }

        ctx->answered = 1;
        ctx->status = ngx_http_latchkey_submit(ctx, LATCHKEY_REVOKE, 0);

        if (ctx->wait) {
            return ngx_http_latchkey_wait(ctx, ngx_http_latchkey_logout_resume);
        }
    }

    return ngx_http_latchkey_logged_out(r, ctx);
}


static void
ngx_http_latchkey_logout_resume(ngx_http_request_t *r)
{
    ngx_int_t                 rc;
    ngx_http_latchkey_ctx_t  *ctx;

    ctx = ngx_http_latchkey_get_ctx(r);

    rc = ngx_http_latchkey_logout_tokens(r, ctx);

    if (rc != NGX_AGAIN) {
        ngx_http_finalize_request(r, rc);
    }
}


static ngx_int_t
ngx_http_latchkey_logged_out(ngx_http_request_t *r,
    ngx_http_latchkey_ctx_t *ctx)
{
    ngx_str_t                      redirect;
    ngx_uint_t                    *counts;
    ngx_table_elt_t               *h;
    ngx_http_latchkey_loc_conf_t  *llcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_latchkey_module);

    counts = ctx->store->counts;

    /* what was known is over: if an error_page leads elsewhere, that location asks again */

    ctx->store = NULL;
    ctx->resolved = 0;

    /* nothing was promised: the cookie stays, so that the client can try again */

    if (ctx->ended < 0 && ctx->ended != LATCHKEY_PENDING) {
        ctx->retry = 1;
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    counts[NGX_HTTP_LATCHKEY_LOGOUTS]++;

    if (ngx_http_latchkey_set_cookie(ctx, (u_char *) "") != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (llcf->redirect) {

        if (ngx_http_complex_value(r, llcf->redirect, &redirect) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        ngx_http_clear_location(r);

        h = ngx_http_latchkey_add_header(r);
        if (h == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        ngx_str_set(&h->key, "Location");
        h->value = redirect;
        r->headers_out.location = h;

        return NGX_HTTP_SEE_OTHER;
    }

    return ngx_http_latchkey_send(r, ctx->ended == LATCHKEY_PENDING
                                     ? NGX_HTTP_ACCEPTED
                                     : NGX_HTTP_NO_CONTENT);
}


/* A response without a body, which no error_page touches. */

static ngx_int_t
ngx_http_latchkey_send(ngx_http_request_t *r, ngx_uint_t status)
{
    ngx_table_elt_t  *h;

    h = ngx_http_latchkey_add_header(r);
    if (h == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_str_set(&h->key, "Cache-Control");
    ngx_str_set(&h->value, "no-store");

    r->headers_out.status = status;
    r->headers_out.content_length_n = 0;
    r->header_only = 1;
    r->disable_not_modified = 1; /* If-Match and its like are about a page */

    return ngx_http_send_header(r);
}


/* What makes the content here; in an "if" or "limit_except" as around it. */

void
ngx_http_latchkey_merge_content(ngx_conf_t *cf,
    ngx_http_latchkey_loc_conf_t *prev, ngx_http_latchkey_loc_conf_t *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    static ngx_http_handler_pt  handlers[] = {
        NULL,
        ngx_http_latchkey_answer_handler,
        ngx_http_latchkey_logout_handler,
        ngx_http_latchkey_status_handler
    };

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->noname && conf->content == 0 && clcf->handler == NULL) {
        conf->content = prev->content;
        conf->pass = prev->pass;
        conf->any = prev->any;
        conf->redirect = prev->redirect;
        conf->format = prev->format;
    }

    if (conf->content) {
        clcf->handler = handlers[conf->content];
    }
}


/* latchkey_answer [204 | 200] */

char *
ngx_http_latchkey_answer(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_latchkey_loc_conf_t *llcf = conf;

    ngx_str_t  *value;

    if (llcf->content) {
        return "is duplicate, or stands beside latchkey_logout or "
               "latchkey_status";
    }

    llcf->content = NGX_HTTP_LATCHKEY_CONTENT_ANSWER;
    llcf->pass = NGX_HTTP_NO_CONTENT;

    if (cf->args->nelts == 2) {
        value = cf->args->elts;

        if (ngx_strcmp(value[1].data, "200") == 0) {
            llcf->pass = NGX_HTTP_OK;

        } else if (ngx_strcmp(value[1].data, "204") != 0) {
            return "must be 204 or 200";
        }
    }

    return NGX_CONF_OK;
}


/* latchkey_logout [any] [redirect=URL] */

char *
ngx_http_latchkey_logout(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_latchkey_loc_conf_t *llcf = conf;

    ngx_str_t                         *value, url;
    ngx_uint_t                         i;
    ngx_http_compile_complex_value_t   ccv;

    if (llcf->content) {
        return "is duplicate, or stands beside latchkey_answer or "
               "latchkey_status";
    }

    llcf->content = NGX_HTTP_LATCHKEY_CONTENT_LOGOUT;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strcmp(value[i].data, "any") == 0) {
            llcf->any = 1;
            continue;
        }

        if (ngx_strncmp(value[i].data, "redirect=", 9) != 0
            || value[i].len == 9)
        {
            return "has a parameter that is neither \"any\" nor redirect=URL";
        }

        url.data = value[i].data + 9;
        url.len = value[i].len - 9;

        llcf->redirect = ngx_pcalloc(cf->pool,
                                     sizeof(ngx_http_complex_value_t));
        if (llcf->redirect == NULL) {
            return NGX_CONF_ERROR;
        }

        ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

        ccv.cf = cf;
        ccv.value = &url;
        ccv.complex_value = llcf->redirect;

        if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}
