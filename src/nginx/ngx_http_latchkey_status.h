/* SPDX-License-Identifier: MIT
 *
 * What the workers of a store have counted, as it is read by latchkey_status.
 */

#ifndef _NGX_HTTP_LATCHKEY_STATUS_H_INCLUDED_
#define _NGX_HTTP_LATCHKEY_STATUS_H_INCLUDED_


#include "ngx_http_latchkey_module.h"


#define NGX_HTTP_LATCHKEY_TEXT      32768

#define NGX_HTTP_LATCHKEY_COUNTER   0     /* a histogram's lines are counters too */
#define NGX_HTTP_LATCHKEY_GAUGE     1


struct ngx_http_latchkey_slot_s {
    ngx_pid_t                   pid;        /* 0: free */
    ngx_uint_t                  worker;
    ngx_msec_t                  updated;
    u_char                      error[256]; /* the last one, NUL-terminated */
    size_t                      len;
    u_char                      text[NGX_HTTP_LATCHKEY_TEXT];
};


/* Texts side by side, and the line that was read of each. */

typedef struct {
    ngx_str_t                   store;
    ngx_http_latchkey_slot_t   *slots;      /* copies; the last may be that of the workers that have ended */
    ngx_uint_t                  nslots;
    ngx_uint_t                  live;       /* those before `gone` */

    u_char                    **next;
    double                     *values;

    ngx_str_t                   head;       /* HELP and TYPE; "": as the line before */
    ngx_str_t                   name;
    ngx_str_t                   labels;
    ngx_uint_t                  type;
} ngx_http_latchkey_lines_t;


typedef struct {
    u_char                     *pos;
    u_char                     *last;
    u_char                     *end;
} ngx_http_latchkey_text_t;


/* ngx_http_latchkey_zone.c */

ngx_int_t ngx_http_latchkey_read(ngx_http_request_t *r,
    ngx_http_latchkey_store_t *store, ngx_http_latchkey_lines_t *lines);

/* ngx_http_latchkey_lines.c */

void ngx_http_latchkey_rewind(ngx_http_latchkey_lines_t *lines);
ngx_uint_t ngx_http_latchkey_next(ngx_http_latchkey_lines_t *lines);
ngx_uint_t ngx_http_latchkey_total(ngx_http_latchkey_lines_t *lines,
    double *total);
void ngx_http_latchkey_print(ngx_http_latchkey_text_t *out,
    const char *format, ...) __attribute__((format(printf, 2, 3)));


#endif /* _NGX_HTTP_LATCHKEY_STATUS_H_INCLUDED_ */
