/* SPDX-License-Identifier: MIT
 *
 * latchkey_status: the figures of all workers, from whichever of them is asked (ngx_http_latchkey_zone.c).
 */

#include "ngx_http_latchkey_status.h"


#define NGX_HTTP_LATCHKEY_HTML        0
#define NGX_HTTP_LATCHKEY_JSON        1
#define NGX_HTTP_LATCHKEY_PROMETHEUS  2


static ngx_buf_t *ngx_http_latchkey_status_text(ngx_http_request_t *r,
    ngx_uint_t format);
static ngx_http_latchkey_lines_t *ngx_http_latchkey_collect(
    ngx_http_request_t *r, size_t *size);
static void ngx_http_latchkey_html(ngx_http_latchkey_text_t *out,
    ngx_http_latchkey_lines_t *lines, ngx_uint_t n);
static void ngx_http_latchkey_html_store(ngx_http_latchkey_text_t *out,
    ngx_http_latchkey_lines_t *lines);
static void ngx_http_latchkey_json(ngx_http_latchkey_text_t *out,
    ngx_http_latchkey_lines_t *lines, ngx_uint_t n);
static void ngx_http_latchkey_json_store(ngx_http_latchkey_text_t *out,
    ngx_http_latchkey_lines_t *lines);
static void ngx_http_latchkey_prometheus(ngx_http_latchkey_text_t *out,
    ngx_http_latchkey_lines_t *lines, ngx_uint_t n);
static ngx_uint_t ngx_http_latchkey_format(ngx_str_t *name);
static void ngx_http_latchkey_print_html(ngx_http_latchkey_text_t *out,
    u_char *text, size_t len);
static void ngx_http_latchkey_print_json(ngx_http_latchkey_text_t *out,
    u_char *text, size_t len);


static ngx_str_t  ngx_http_latchkey_formats[] = {
    ngx_string("html"),
    ngx_string("json"),
    ngx_string("prometheus"),
    ngx_null_string
};


ngx_int_t
ngx_http_latchkey_status_handler(ngx_http_request_t *r)
{
    ngx_int_t                      rc;
    ngx_str_t                      value;
    ngx_buf_t                     *b;
    ngx_uint_t                     format;
    ngx_chain_t                    chain;
    ngx_http_latchkey_loc_conf_t  *llcf;

    static ngx_str_t  types[] = {
        ngx_string("text/html; charset=utf-8"),
        ngx_string("application/json"),
        ngx_string("text/plain; version=0.0.4; charset=utf-8")
    };

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_latchkey_module);

    format = llcf->format;

    if (ngx_http_arg(r, (u_char *) "format", 6, &value) == NGX_OK) {
        format = ngx_http_latchkey_format(&value);

        if (format == (ngx_uint_t) NGX_ERROR) {
            return NGX_HTTP_BAD_REQUEST;
        }
    }

    b = ngx_http_latchkey_status_text(r, format);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->last_buf = (r == r->main) ? 1 : 0;
    b->last_in_chain = 1;

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_type = types[format];
    r->headers_out.content_type_len = types[format].len;
    r->headers_out.content_length_n = b->last - b->pos;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    chain.buf = b;
    chain.next = NULL;

    return ngx_http_output_filter(r, &chain);
}


/* NULL: no memory, or the text does not fit. */

static ngx_buf_t *
ngx_http_latchkey_status_text(ngx_http_request_t *r, ngx_uint_t format)
{
    size_t                          size;
    ngx_buf_t                      *b;
    ngx_uint_t                      n;
    ngx_http_latchkey_text_t        out;
    ngx_http_latchkey_lines_t      *lines;
    ngx_http_latchkey_main_conf_t  *lmcf;

    lines = ngx_http_latchkey_collect(r, &size);
    if (lines == NULL) {
        return NULL;
    }

    b = ngx_create_temp_buf(r->pool, size);
    if (b == NULL) {
        return NULL;
    }

    out.pos = b->pos;
    out.last = b->pos;
    out.end = b->end;

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_latchkey_module);

    n = lmcf->stores.nelts;

    switch (format) {

    case NGX_HTTP_LATCHKEY_PROMETHEUS:
        ngx_http_latchkey_prometheus(&out, lines, n);
        break;

    case NGX_HTTP_LATCHKEY_JSON:
        ngx_http_latchkey_json(&out, lines, n);
        break;

    default:
        ngx_http_latchkey_html(&out, lines, n);
    }

    if (out.last == out.end) {
        return NULL;
    }

    b->last = out.last;

    return b;
}


/* What the workers of each store have written, and how long a text of it is at the most. NULL: no memory. */

static ngx_http_latchkey_lines_t *
ngx_http_latchkey_collect(ngx_http_request_t *r, size_t *size)
{
    ngx_uint_t                       i, n, texts;
    ngx_http_latchkey_lines_t       *lines;
    ngx_http_latchkey_store_t      **stores;
    ngx_http_latchkey_main_conf_t   *lmcf;

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_latchkey_module);

    stores = lmcf->stores.elts;
    n = lmcf->stores.nelts;
    texts = 1;

    lines = ngx_pcalloc(r->pool, (n + 1) * sizeof(ngx_http_latchkey_lines_t));
    if (lines == NULL) {
        return NULL;
    }

    for (i = 0; i < n; i++) {
        ngx_http_latchkey_publish(stores[i]);

        if (ngx_http_latchkey_read(r, stores[i], &lines[i]) != NGX_OK) {
            return NULL;
        }

        texts += lines[i].nslots + 2;
    }

    *size = NGX_HTTP_LATCHKEY_TEXT * texts;

    return lines;
}


static void
ngx_http_latchkey_html(ngx_http_latchkey_text_t *out,
    ngx_http_latchkey_lines_t *lines, ngx_uint_t n)
{
    ngx_uint_t  i;

    ngx_http_latchkey_print(out,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><title>latchkey</title>"
        "<meta http-equiv=\"refresh\" content=\"5\">"
        "<style>body{font-family:sans-serif}td{text-align:right;"
        "padding:0 1em}th{text-align:left;font-weight:normal}</style>"
        "</head><body>\n");

    for (i = 0; i < n; i++) {
        ngx_http_latchkey_html_store(out, &lines[i]);
    }

    ngx_http_latchkey_print(out, "</body></html>\n");
}


static void
ngx_http_latchkey_html_store(ngx_http_latchkey_text_t *out,
    ngx_http_latchkey_lines_t *lines)
{
    double                     total;
    ngx_uint_t                 i;
    ngx_http_latchkey_slot_t  *slot;

    ngx_http_latchkey_print(out, "<h2>");
    ngx_http_latchkey_print_html(out, lines->store.data, lines->store.len);
    ngx_http_latchkey_print(out, "</h2>\n<table>\n"
                                 "<tr><th></th><td>all</td>");

    for (i = 0; i < lines->live; i++) {
        ngx_http_latchkey_print(out, "<td>worker %lu, pid %ld</td>",
                                lines->slots[i].worker,
                                (long) lines->slots[i].pid);
    }

    ngx_http_latchkey_print(out, "</tr>\n");

    ngx_http_latchkey_rewind(lines);

    while (ngx_http_latchkey_next(lines)) {

        if (lines->labels.len) {
            continue; /* buckets */
        }

        ngx_http_latchkey_print(out, "<tr><th>%.*s</th>",
                                (int) lines->name.len - 9,
                                lines->name.data + 9);

        if (ngx_http_latchkey_total(lines, &total)) {
            ngx_http_latchkey_print(out, "<td>%.15g</td>", total);

        } else {
            ngx_http_latchkey_print(out, "<td></td>");
        }

        for (i = 0; i < lines->live; i++) {
            ngx_http_latchkey_print(out, "<td>%.15g</td>", lines->values[i]);
        }

        ngx_http_latchkey_print(out, "</tr>\n");
    }

    ngx_http_latchkey_print(out, "</table>\n");

    for (i = 0; i < lines->live; i++) {
        slot = &lines->slots[i];

        if (slot->error[0]) {
            ngx_http_latchkey_print(out, "<p>worker %lu: the last fault: ",
                                    slot->worker);
            ngx_http_latchkey_print_html(out, slot->error,
                                         ngx_strlen(slot->error));
            ngx_http_latchkey_print(out, "</p>\n");
        }
    }
}


static void
ngx_http_latchkey_json(ngx_http_latchkey_text_t *out,
    ngx_http_latchkey_lines_t *lines, ngx_uint_t n)
{
    ngx_uint_t  i;

    ngx_http_latchkey_print(out, "{");

    for (i = 0; i < n; i++) {
        ngx_http_latchkey_print(out, i ? ",\n" : "\n");
        ngx_http_latchkey_json_store(out, &lines[i]);
    }

    ngx_http_latchkey_print(out, "\n}\n");
}


static void
ngx_http_latchkey_json_store(ngx_http_latchkey_text_t *out,
    ngx_http_latchkey_lines_t *lines)
{
    char                       *comma;
    double                      total, value;
    u_char                     *next;
    ngx_uint_t                  i;
    ngx_http_latchkey_slot_t   *slot;
    ngx_http_latchkey_lines_t   one;

    ngx_memzero(&one, sizeof(ngx_http_latchkey_lines_t));

    one.nslots = 1;
    one.live = 1;
    one.next = &next;
    one.values = &value;

    ngx_http_latchkey_print_json(out, lines->store.data, lines->store.len);
    ngx_http_latchkey_print(out, ": {\n\"workers\": [");

    for (i = 0; i < lines->live; i++) {
        slot = &lines->slots[i];

        ngx_http_latchkey_print(out,
                                "%s\n{\"worker\": %lu, \"pid\": %ld, "
                                "\"age_seconds\": %ld, \"last_error\": ",
                                i ? "," : "", slot->worker, (long) slot->pid,
                                (long) (ngx_current_msec - slot->updated)
                                / 1000);
        ngx_http_latchkey_print_json(out, slot->error, ngx_strlen(slot->error));

        one.slots = slot;

        ngx_http_latchkey_rewind(&one);

        while (ngx_http_latchkey_next(&one)) {
            if (one.labels.len == 0) {
                ngx_http_latchkey_print(out, ", \"%.*s\": %.15g",
                                        (int) one.name.len - 9,
                                        one.name.data + 9, value);
            }
        }

        ngx_http_latchkey_print(out, "}");
    }

    ngx_http_latchkey_print(out, "],\n\"total\": {");

    ngx_http_latchkey_rewind(lines);
    comma = "";

    while (ngx_http_latchkey_next(lines)) {
        if (lines->labels.len == 0 && ngx_http_latchkey_total(lines, &total)) {
            ngx_http_latchkey_print(out, "%s\"%.*s\": %.15g", comma,
                                    (int) lines->name.len - 9,
                                    lines->name.data + 9, total);
            comma = ", ";
        }
    }

    ngx_http_latchkey_print(out, "}}");
}


/* The stores side by side: what belongs to one name has to stand together. */

static void
ngx_http_latchkey_prometheus(ngx_http_latchkey_text_t *out,
    ngx_http_latchkey_lines_t *lines, ngx_uint_t n)
{
    double       total;
    ngx_uint_t   i, found, head;

    ngx_http_latchkey_print(out,
                            "# HELP latchkey_nginx_workers Workers of nginx.\n"
                            "# TYPE latchkey_nginx_workers gauge\n");

    for (i = 0; i < n; i++) {
        ngx_http_latchkey_print(out, "latchkey_nginx_workers{store=");
        ngx_http_latchkey_print_json(out, lines[i].store.data,
                                     lines[i].store.len);
        ngx_http_latchkey_print(out, "} %lu\n", lines[i].live);
        ngx_http_latchkey_rewind(&lines[i]);
    }

    do {
        found = 0;
        head = 0;

        for (i = 0; i < n; i++) {

            if (!ngx_http_latchkey_next(&lines[i])) {
                continue;
            }

            found = 1;

            if (!ngx_http_latchkey_total(&lines[i], &total)) {
                continue;
            }

            if (!head) {
                head = 1;
                ngx_http_latchkey_print(out, "%.*s", (int) lines[i].head.len,
                                        lines[i].head.data);
            }

            ngx_http_latchkey_print(out, "%.*s{store=",
                                    (int) lines[i].name.len,
                                    lines[i].name.data);
            ngx_http_latchkey_print_json(out, lines[i].store.data,
                                         lines[i].store.len);
            ngx_http_latchkey_print(out, "%s%.*s} %.15g\n",
                                    lines[i].labels.len ? "," : "",
                                    (int) lines[i].labels.len,
                                    lines[i].labels.data, total);
        }

    } while (found);
}


static void
ngx_http_latchkey_print_html(ngx_http_latchkey_text_t *out, u_char *text,
    size_t len)
{
    if (len + ngx_escape_html(NULL, text, len)
        >= (size_t) (out->end - out->last))
    {
        out->last = out->end;
        return;
    }

    out->last = (u_char *) ngx_escape_html(out->last, text, len);
}


static void
ngx_http_latchkey_print_json(ngx_http_latchkey_text_t *out, u_char *text,
    size_t len)
{
    if (len + ngx_escape_json(NULL, text, len) + 2
        >= (size_t) (out->end - out->last))
    {
        out->last = out->end;
        return;
    }

    *out->last++ = '"';
    out->last = (u_char *) ngx_escape_json(out->last, text, len);
    *out->last++ = '"';
}


static ngx_uint_t
ngx_http_latchkey_format(ngx_str_t *name)
{
    ngx_uint_t  i;

    for (i = 0; ngx_http_latchkey_formats[i].len; i++) {
        if (ngx_http_latchkey_formats[i].len == name->len
            && ngx_strncmp(ngx_http_latchkey_formats[i].data, name->data,
                           name->len)
               == 0)
        {
            return i;
        }
    }

    return (ngx_uint_t) NGX_ERROR;
}


/* latchkey_status [html | json | prometheus] */

char *
ngx_http_latchkey_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_latchkey_loc_conf_t *llcf = conf;

    ngx_str_t  *value;

    if (llcf->content) {
        return "is duplicate, or stands beside latchkey_answer or "
               "latchkey_logout";
    }

    llcf->content = NGX_HTTP_LATCHKEY_CONTENT_STATUS;

    if (cf->args->nelts == 2) {
        value = cf->args->elts;
        llcf->format = ngx_http_latchkey_format(&value[1]);

        if (llcf->format == (ngx_uint_t) NGX_ERROR) {
            return "must be \"html\", \"json\" or \"prometheus\"";
        }
    }

    return NGX_CONF_OK;
}
