/* SPDX-License-Identifier: MIT
 *
 * The cookie: read from requests, set and cleared in responses.
 */

#include "ngx_http_latchkey_module.h"


#define NGX_HTTP_LATCHKEY_COOKIE      "sid"
#define NGX_HTTP_LATCHKEY_ATTRIBUTES  "Path=/; Secure; HttpOnly; SameSite=Lax"


static ngx_uint_t ngx_http_latchkey_cookie_line(ngx_str_t *line,
    ngx_str_t *name, ngx_str_t *tokens, ngx_uint_t n);
static ngx_uint_t ngx_http_latchkey_has_attribute(ngx_str_t *attributes,
    char *attribute);
static ngx_uint_t ngx_http_latchkey_is_named(ngx_table_elt_t *h,
    ngx_str_t *cookie);
static void ngx_http_latchkey_swap(ngx_str_t *one, ngx_str_t *other);


/* A browser sends every cookie that fits, so there may be several of one name. */

ngx_uint_t
ngx_http_latchkey_cookies(ngx_http_request_t *r, ngx_str_t *name,
    ngx_str_t *tokens)
{
    ngx_uint_t         n;
    ngx_table_elt_t   *h;
#if (nginx_version < 1023000)
    ngx_uint_t         i;
    ngx_table_elt_t  **line;
#endif

    n = 0;

#if (nginx_version >= 1023000)

    for (h = r->headers_in.cookie; h; h = h->next) {
        n = ngx_http_latchkey_cookie_line(&h->value, name, tokens, n);
    }

#else

    line = r->headers_in.cookies.elts;

    for (i = 0; i < r->headers_in.cookies.nelts; i++) {
        h = line[i];
        n = ngx_http_latchkey_cookie_line(&h->value, name, tokens, n);
    }

#endif

    return n;
}


static ngx_uint_t
ngx_http_latchkey_cookie_line(ngx_str_t *line, ngx_str_t *name,
    ngx_str_t *tokens, ngx_uint_t n)
{
    u_char  *p, *last, *start;

    p = line->data;
    last = p + line->len;

    while (p < last) {

        while (p < last && (*p == ';' || *p == ' ' || *p == '\t')) {
            p++;
        }

        start = p;

        while (p < last && *p != ';' && *p != ' ' && *p != '\t') {
            p++;
        }

        if (n < NGX_HTTP_LATCHKEY_TOKENS
            && (size_t) (p - start) > name->len + 1
            && start[name->len] == '='
            && ngx_memcmp(start, name->data, name->len) == 0)
        {
            tokens[n].data = start + name->len + 1;
            tokens[n].len = p - tokens[n].data;
            n++;
        }
    }

    return n;
}


/* "": the cookie is cleared. It is sent with the response, whichever location makes that. */

ngx_int_t
ngx_http_latchkey_set_cookie(ngx_http_latchkey_ctx_t *ctx, u_char *token)
{
    size_t                         len;
    u_char                        *p;
    ngx_http_latchkey_loc_conf_t  *llcf;

    llcf = ctx->conf;

    len = llcf->cookie.len + llcf->attributes.len + LATCHKEY_TOKEN_SIZE
          + sizeof("=; ; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT");

    p = ngx_pnalloc(ctx->request->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ctx->set_cookie.data = p;

    p = ngx_sprintf(p, "%V=%s; %V", &llcf->cookie, token, &llcf->attributes);

    if (*token == '\0') {
        p = ngx_sprintf(p, "; Max-Age=0; "
                           "Expires=Thu, 01 Jan 1970 00:00:00 GMT");
    }

    ctx->set_cookie.len = p - ctx->set_cookie.data;

    return NGX_OK;
}


/*
 * Of several cookies of one name the last counts: one that the application
 * sets itself, for it has logged in or out. Both are sent, since its may be for
 * another path. And no cache may keep the response: it would hand the token to
 * others.
 */

ngx_int_t
ngx_http_latchkey_send_cookie(ngx_http_request_t *r,
    ngx_http_latchkey_ctx_t *ctx)
{
    ngx_str_t         cookie;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    cookie = ctx->set_cookie;

    part = &r->headers_out.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].hash
            && h[i].key.len == sizeof("Cache-Control") - 1
            && ngx_strncasecmp(h[i].key.data, (u_char *) "Cache-Control",
                               h[i].key.len)
               == 0)
        {
            h[i].hash = 0;

        } else if (ngx_http_latchkey_is_named(&h[i], &ctx->set_cookie)) {
            ngx_http_latchkey_swap(&h[i].value, &cookie);
        }
    }

    h = ngx_http_latchkey_add_header(r);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_str_set(&h->key, "Cache-Control");
    ngx_str_set(&h->value, "no-store");

    h = ngx_http_latchkey_add_header(r);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_str_set(&h->key, "Set-Cookie");
    h->value = cookie;

    return NGX_OK;
}


/* Does this header set a cookie of the same name? */

static ngx_uint_t
ngx_http_latchkey_is_named(ngx_table_elt_t *h, ngx_str_t *cookie)
{
    size_t  len;

    len = (u_char *) ngx_strchr(cookie->data, '=') - cookie->data + 1;

    return h->hash
           && h->key.len == sizeof("Set-Cookie") - 1
           && ngx_strncasecmp(h->key.data, (u_char *) "Set-Cookie", h->key.len)
              == 0
           && h->value.len >= len
           && ngx_memcmp(h->value.data, cookie->data, len) == 0;
}


static void
ngx_http_latchkey_swap(ngx_str_t *one, ngx_str_t *other)
{
    ngx_str_t  kept;

    kept = *one;
    *one = *other;
    *other = kept;
}


/* latchkey_cookie NAME [ATTRIBUTES] */

char *
ngx_http_latchkey_cookie(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_latchkey_loc_conf_t *llcf = conf;

    u_char      ch;
    size_t      i;
    ngx_str_t  *value, *attributes;

    if (llcf->name.len) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len == 0) {
        return "needs a name";
    }

    for (i = 0; i < value[1].len; i++) {
        ch = value[1].data[i];

        if (ch <= ' ' || ch >= 0x7f || ngx_strchr("()<>@,;:\\\"/[]?={}", ch)) {
            return "has a name that no cookie can have";
        }
    }

    llcf->name = value[1];

    attributes = &llcf->attributes;

    if (cf->args->nelts == 2) {
        ngx_str_set(attributes, NGX_HTTP_LATCHKEY_ATTRIBUTES);
        return NGX_CONF_OK;
    }

    *attributes = value[2];

    for (i = 0; i < attributes->len; i++) {
        if (attributes->data[i] < ' ' || attributes->data[i] >= 0x7f) {
            return "has attributes that no header can hold";
        }
    }

    if (ngx_strncasecmp(value[1].data, (u_char *) "__Host-", 7) == 0
        && (!ngx_http_latchkey_has_attribute(attributes, "Secure")
            || !ngx_http_latchkey_has_attribute(attributes, "Path=/")
            || ngx_http_latchkey_has_attribute(attributes, "Domain=")))
    {
        return "is named \"__Host-...\": browsers take it only with Secure, "
               "with Path=/ and without Domain";
    }

    if (ngx_strncasecmp(value[1].data, (u_char *) "__Secure-", 9) == 0
        && !ngx_http_latchkey_has_attribute(attributes, "Secure"))
    {
        return "is named \"__Secure-...\": browsers take it only with Secure";
    }

    return NGX_CONF_OK;
}


/* "Domain=" is any domain; "Path=/" is that path alone. */

static ngx_uint_t
ngx_http_latchkey_has_attribute(ngx_str_t *attributes, char *attribute)
{
    size_t   len;
    u_char  *p, *start, *last;

    len = ngx_strlen(attribute);
    p = attributes->data;
    last = p + attributes->len;

    while (p < last) {

        while (p < last && (*p == ' ' || *p == ';')) {
            p++;
        }

        start = p;

        while (p < last && *p != ';') {
            p++;
        }

        if ((size_t) (p - start) >= len
            && ngx_strncasecmp(start, (u_char *) attribute, len) == 0
            && (start + len == p || start[len] == ' '
                || ngx_strcmp(attribute, "Domain=") == 0))
        {
            return 1;
        }
    }

    return 0;
}


/* latchkey_renew on|off [grace=TIME] */

char *
ngx_http_latchkey_renew(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_latchkey_loc_conf_t *llcf = conf;

    ngx_str_t  *value, grace;

    if (llcf->renew != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "on") == 0) {
        llcf->renew = 1;

    } else if (ngx_strcmp(value[1].data, "off") == 0) {
        llcf->renew = 0;

    } else {
        return "must be \"on\" or \"off\"";
    }

    if (cf->args->nelts == 2) {
        return NGX_CONF_OK;
    }

    if (ngx_strncmp(value[2].data, "grace=", 6) != 0) {
        return "has a parameter that is not grace=TIME";
    }

    grace.data = value[2].data + 6;
    grace.len = value[2].len - 6;

    llcf->grace = ngx_parse_time(&grace, 0);

    if (llcf->grace == (ngx_msec_t) NGX_ERROR || llcf->grace == 0
        || llcf->grace > 3600000)
    {
        return "has a grace that is not a time up to 1h";
    }

    return NGX_CONF_OK;
}


/* Where nothing names the cookie, "latchkey_token $cookie_NAME" does. */

char *
ngx_http_latchkey_merge_cookie(ngx_conf_t *cf,
    ngx_http_latchkey_loc_conf_t *conf)
{
    ngx_str_t                 *source;
    ngx_http_complex_value_t  *value;

    if (conf->attributes.data == NULL) {
        ngx_str_set(&conf->attributes, NGX_HTTP_LATCHKEY_ATTRIBUTES);
    }

    conf->cookie = conf->name;

    if (conf->cookie.len) {
        return NGX_CONF_OK;
    }

    if (conf->tokens == NULL) {
        ngx_str_set(&conf->cookie, NGX_HTTP_LATCHKEY_COOKIE);
        return NGX_CONF_OK;
    }

    value = conf->tokens->elts;
    source = &value[0].value;

    if (conf->tokens->nelts == 1
        && source->len > 8
        && ngx_strncmp(source->data, "$cookie_", 8) == 0
        && ngx_strlchr(source->data + 1, source->data + source->len, '$')
           == NULL)
    {
        conf->cookie.data = source->data + 8;
        conf->cookie.len = source->len - 8;
        return NGX_CONF_OK;
    }

    if (conf->store && conf->renew) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "latchkey_renew needs latchkey_cookie here: "
                           "latchkey_token does not say which cookie to set");
        return NGX_CONF_ERROR;
    }

    if (conf->content == NGX_HTTP_LATCHKEY_CONTENT_LOGOUT) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "latchkey_logout needs latchkey_cookie here: "
                           "latchkey_token does not say which cookie to clear");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
