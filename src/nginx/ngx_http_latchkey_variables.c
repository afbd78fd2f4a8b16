/* SPDX-License-Identifier: MIT
 *
 * What is known of the session, as variables. They are empty until the preaccess phase, without a session, and where latchkey is off.
 */

#include "ngx_http_latchkey_module.h"


#define NGX_HTTP_LATCHKEY_SHOWN    80   /* the longest value: 64 digits of permissions */


typedef u_char *(*ngx_http_latchkey_show_pt)(u_char *p,
    ngx_http_latchkey_ctx_t *ctx);


typedef struct {
    ngx_str_t                  name;
    ngx_str_t                  header;  /* of latchkey_answer */
    ngx_http_latchkey_show_pt  show;
    ngx_uint_t                 always;  /* else only of a session that is valid */
} ngx_http_latchkey_variable_t;


static ngx_int_t ngx_http_latchkey_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_latchkey_value(ngx_http_request_t *r,
    ngx_http_latchkey_ctx_t *ctx, ngx_http_latchkey_variable_t *variable,
    ngx_str_t *value);


static u_char *
ngx_http_latchkey_show_status(u_char *p, ngx_http_latchkey_ctx_t *ctx)
{
    const char  *text;

    switch (ctx->status) {

    case NGX_HTTP_LATCHKEY_NOT_ASKED:
        return p;

    case NGX_HTTP_LATCHKEY_NO_TOKEN:
        text = "NO_TOKEN";
        break;

    default:
        text = latchkey_status_text(ctx->status);
    }

    /* "NOT_FOUND: there is no such session" */
    return ngx_cpymem(p, text, ngx_min(strcspn(text, ":"), 32));
}


static u_char *
ngx_http_latchkey_show_user(u_char *p, ngx_http_latchkey_ctx_t *ctx)
{
    return ngx_sprintf(p, "%uL", ctx->entry.user_id);
}


/* A role that could not stand in a header is none: it would let a session write headers of its own. */

static u_char *
ngx_http_latchkey_show_role(u_char *p, ngx_http_latchkey_ctx_t *ctx)
{
    u_char  ch;
    size_t  i;

    for (i = 0; i < sizeof(ctx->entry.role) && ctx->entry.role[i]; i++) {
        ch = (u_char) ctx->entry.role[i];

        if (ch < 0x20 || ch == 0x7f) {
            return p;
        }
    }

    return ngx_cpymem(p, ctx->entry.role, i);
}


static u_char *
ngx_http_latchkey_show_device(u_char *p, ngx_http_latchkey_ctx_t *ctx)
{
    return ngx_sprintf(p, "%uD", ctx->entry.device);
}


static u_char *
ngx_http_latchkey_show_flags(u_char *p, ngx_http_latchkey_ctx_t *ctx)
{
    return ngx_sprintf(p, "%uD", ctx->entry.flags & LATCHKEY_FLAGS_YOURS);
}


static u_char *
ngx_http_latchkey_show_permissions(u_char *p, ngx_http_latchkey_ctx_t *ctx)
{
    return ngx_hex_dump(p, ctx->entry.permissions_hash,
                        sizeof(ctx->entry.permissions_hash));
}


/* That of the token that was shown. A token of another store has no part that may be shown. */

static u_char *
ngx_http_latchkey_show_selector(u_char *p, ngx_http_latchkey_ctx_t *ctx)
{
    u_char      ch;
    ngx_str_t  *token;
    ngx_uint_t  i;

    token = &ctx->tokens[ctx->current];

    if (token->len != LATCHKEY_TOKEN_LENGTH) {
        return p;
    }

    for (i = 0; i < LATCHKEY_SELECTOR_LENGTH; i++) {
        ch = token->data[i];

        if (!((ch >= 'A' && ch <= 'Z') || (ch >= 'a' && ch <= 'z')
              || (ch >= '0' && ch <= '9') || ch == '-' || ch == '_'))
        {
            return p;
        }
    }

    return ngx_cpymem(p, token->data, LATCHKEY_SELECTOR_LENGTH);
}


static u_char *
ngx_http_latchkey_show_created(u_char *p, ngx_http_latchkey_ctx_t *ctx)
{
    return ngx_sprintf(p, "%L", ctx->entry.created_at_ms / 1000);
}


static u_char *
ngx_http_latchkey_show_auth_age(u_char *p, ngx_http_latchkey_ctx_t *ctx)
{
    int64_t  age;

    age = (int64_t) ngx_time() - ctx->entry.auth_at_ms / 1000;

    return ngx_sprintf(p, "%L", age < 0 ? (int64_t) 0 : age);
}


static u_char *
ngx_http_latchkey_show_expires(u_char *p, ngx_http_latchkey_ctx_t *ctx)
{
    return ngx_sprintf(p, "%L", ctx->entry.expires_at_ms / 1000);
}


static u_char *
ngx_http_latchkey_show_renew(u_char *p, ngx_http_latchkey_ctx_t *ctx)
{
    if (ctx->entry.flags & LATCHKEY_FLAG_RENEW) {
        *p++ = '1';
    }

    return p;
}


static u_char *
ngx_http_latchkey_show_stale(u_char *p, ngx_http_latchkey_ctx_t *ctx)
{
    if (ctx->entry.flags & LATCHKEY_FLAG_STALE) {
        *p++ = '1';
    }

    return p;
}


static u_char *
ngx_http_latchkey_show_source(u_char *p, ngx_http_latchkey_ctx_t *ctx)
{
    switch (ctx->source) {

    case NGX_HTTP_LATCHKEY_FROM_L1:
        return ngx_cpymem(p, "l1", 2);

    case NGX_HTTP_LATCHKEY_FROM_REDIS:
        return ngx_cpymem(p, "redis", 5);

    default:
        return p;
    }
}


static ngx_http_latchkey_variable_t  ngx_http_latchkey_variables[] = {

    { ngx_string("latchkey_status"),
      ngx_string("X-Latchkey-Status"),
      ngx_http_latchkey_show_status, 1 },

    { ngx_string("latchkey_user"),
      ngx_string("X-Latchkey-User"),
      ngx_http_latchkey_show_user, 0 },

    { ngx_string("latchkey_role"),
      ngx_string("X-Latchkey-Role"),
      ngx_http_latchkey_show_role, 0 },

    { ngx_string("latchkey_device"),
      ngx_string("X-Latchkey-Device"),
      ngx_http_latchkey_show_device, 0 },

    { ngx_string("latchkey_flags"),
      ngx_string("X-Latchkey-Flags"),
      ngx_http_latchkey_show_flags, 0 },

    { ngx_string("latchkey_permissions"),
      ngx_string("X-Latchkey-Permissions"),
      ngx_http_latchkey_show_permissions, 0 },

    { ngx_string("latchkey_selector"),
      ngx_string("X-Latchkey-Selector"),
      ngx_http_latchkey_show_selector, 0 },

    { ngx_string("latchkey_created"),
      ngx_string("X-Latchkey-Created"),
      ngx_http_latchkey_show_created, 0 },

    { ngx_string("latchkey_auth_age"),
      ngx_string("X-Latchkey-Auth-Age"),
      ngx_http_latchkey_show_auth_age, 0 },

    { ngx_string("latchkey_expires"),
      ngx_string("X-Latchkey-Expires"),
      ngx_http_latchkey_show_expires, 0 },

    { ngx_string("latchkey_renew"),
      ngx_string("X-Latchkey-Renew"),
      ngx_http_latchkey_show_renew, 0 },

    { ngx_string("latchkey_stale"),
      ngx_string("X-Latchkey-Stale"),
      ngx_http_latchkey_show_stale, 0 },

    { ngx_string("latchkey_source"),
      ngx_string("X-Latchkey-Source"),
      ngx_http_latchkey_show_source, 1 },

    { ngx_null_string, ngx_null_string, NULL, 0 }
};


ngx_int_t
ngx_http_latchkey_add_variables(ngx_conf_t *cf)
{
    ngx_uint_t            i;
    ngx_http_variable_t  *var;

    for (i = 0; ngx_http_latchkey_variables[i].name.len; i++) {

        var = ngx_http_add_variable(cf, &ngx_http_latchkey_variables[i].name,
                                    NGX_HTTP_VAR_NOCACHEABLE);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = ngx_http_latchkey_variable;
        var->data = i;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_latchkey_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t                 value;
    ngx_http_latchkey_ctx_t  *ctx;

    ctx = ngx_http_latchkey_find_ctx(r);

    if (ngx_http_latchkey_value(r, ctx, &ngx_http_latchkey_variables[data],
                                &value)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    v->data = value.data;
    v->len = value.len;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


static ngx_int_t
ngx_http_latchkey_value(ngx_http_request_t *r, ngx_http_latchkey_ctx_t *ctx,
    ngx_http_latchkey_variable_t *variable, ngx_str_t *value)
{
    ngx_str_set(value, "");

    if (ctx == NULL || !ctx->resolved
        || (ctx->status != LATCHKEY_OK && !variable->always))
    {
        return NGX_OK;
    }

    value->data = ngx_pnalloc(r->pool, NGX_HTTP_LATCHKEY_SHOWN);
    if (value->data == NULL) {
        return NGX_ERROR;
    }

    value->len = variable->show(value->data, ctx) - value->data;

    return NGX_OK;
}


/* All of them, the empty ones too: a proxy that copies them so replaces what its client sent under these names. */

ngx_int_t
ngx_http_latchkey_add_headers(ngx_http_request_t *r,
    ngx_http_latchkey_ctx_t *ctx)
{
    ngx_uint_t                     i;
    ngx_table_elt_t               *h;
    ngx_http_latchkey_variable_t  *variable;

    for (i = 0; ngx_http_latchkey_variables[i].name.len; i++) {

        variable = &ngx_http_latchkey_variables[i];

        h = ngx_http_latchkey_add_header(r);
        if (h == NULL) {
            return NGX_ERROR;
        }

        h->key = variable->header;

        if (ngx_http_latchkey_value(r, ctx, variable, &h->value) != NGX_OK) {
            h->hash = 0;
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/*
 * A client does not say who it is: what it sends under the names of the
 * headers above is emptied, whether written with "-" or "_".
 */

void
ngx_http_latchkey_blank_headers(ngx_http_request_t *r)
{
    u_char            ch, *name;
    size_t            j;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    static u_char     prefix[] = "x-latchkey-";

    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        name = h[i].lowcase_key;

        if (h[i].key.len < sizeof(prefix) - 1 || name[0] != 'x') {
            continue;
        }

        for (j = 1; j < sizeof(prefix) - 1; j++) {
            ch = name[j] == '_' ? '-' : name[j];

            if (ch != prefix[j]) {
                break;
            }
        }

        if (j == sizeof(prefix) - 1) {
            h[i].value.len = 0;
        }
    }
}


/* A header of the response, to be filled in. */

ngx_table_elt_t *
ngx_http_latchkey_add_header(ngx_http_request_t *r)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);

    if (h) {
        ngx_memzero(h, sizeof(ngx_table_elt_t));
        h->hash = 1;
    }

    return h;
}
