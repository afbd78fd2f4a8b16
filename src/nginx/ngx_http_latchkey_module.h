/* SPDX-License-Identifier: MIT
 *
 * latchkey in nginx: is this session valid, and whose is it?
 *
 *     preaccess   resolve: the token -> L1 -> hit: the answer
 *                                       `-> miss: submit, and the request waits ... the descriptor is readable -> it goes on
 *     access      decide: 401, 403, 503, or pass
 *     content     latchkey_answer, latchkey_logout, latchkey_status
 *     header      Set-Cookie, Retry-After
 *
 * store       a handle of the library for each latchkey_store and worker, opened after the fork (ngx_http_latchkey_store.c)
 * ctx         what is known of a request's session. It belongs to the request and outlives internal redirects; its
 *             subrequests read it
 * wait        a question under way. It belongs to the store: the answer comes once, also when the request has gone
 */

#ifndef _NGX_HTTP_LATCHKEY_MODULE_H_INCLUDED_
#define _NGX_HTTP_LATCHKEY_MODULE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <latchkey.h>


#define NGX_HTTP_LATCHKEY_TOKENS       8     /* cookies of one name that are tried */

#define NGX_HTTP_LATCHKEY_OPTIONAL_OFF      0
#define NGX_HTTP_LATCHKEY_OPTIONAL_ON       1
#define NGX_HTTP_LATCHKEY_OPTIONAL_ALWAYS   2

/* no status of the library's */
#define NGX_HTTP_LATCHKEY_NOT_ASKED    1000
#define NGX_HTTP_LATCHKEY_NO_TOKEN     1001

#define NGX_HTTP_LATCHKEY_FROM_NOWHERE 0
#define NGX_HTTP_LATCHKEY_FROM_L1      1
#define NGX_HTTP_LATCHKEY_FROM_REDIS   2


typedef struct ngx_http_latchkey_ctx_s  ngx_http_latchkey_ctx_t;


typedef struct {
    ngx_str_t                   name;
    u_char                     *config;      /* NULL: used, and not defined yet */
    u_char                     *file;        /* where it was used or defined first */
    ngx_uint_t                  line;

    /* of this worker */
    latchkey                   *handle;      /* NULL: could not be opened yet */
    latchkey_queue             *queue;       /* its own */
    ngx_connection_t           *connection;  /* its descriptor, in nginx's loop */
    ngx_queue_t                 waits;
    time_t                      tried;       /* when it was opened, or that failed */
} ngx_http_latchkey_store_t;


typedef struct {
    ngx_array_t                 stores;      /* of ngx_http_latchkey_store_t * */
} ngx_http_latchkey_main_conf_t;


typedef struct {
    ngx_http_complex_value_t    value;
    ngx_array_t                *wanted;      /* of ngx_str_t */
} ngx_http_latchkey_require_t;


typedef struct {
    ngx_http_latchkey_store_t  *store;       /* NULL: off */
    ngx_array_t                *tokens;      /* of ngx_http_complex_value_t; NULL: the cookies */
    ngx_array_t                *requires;    /* of ngx_http_latchkey_require_t */
    ngx_uint_t                  optional;
    ngx_str_t                   cookie;      /* its name */
} ngx_http_latchkey_loc_conf_t;


typedef struct {
    ngx_queue_t                 queue;
    ngx_http_latchkey_ctx_t    *ctx;         /* NULL: the request has gone */
} ngx_http_latchkey_wait_t;


struct ngx_http_latchkey_ctx_s {
    ngx_http_request_t            *request;
    ngx_http_latchkey_loc_conf_t  *conf;     /* where it was resolved; NULL: elsewhere than where the request is now */
    ngx_http_latchkey_store_t     *store;
    ngx_http_latchkey_wait_t      *wait;     /* NULL: nothing is under way */

    ngx_str_t                      tokens[NGX_HTTP_LATCHKEY_TOKENS];
    ngx_uint_t                     ntokens;
    ngx_uint_t                     current;  /* of tokens, the one that was asked about */

    int                            status;
    latchkey_entry                 entry;    /* zeros unless the status is OK */

    unsigned                       answered:1;  /* about `current` */
    unsigned                       resolved:1;
    unsigned                       source:2;
    unsigned                       cleaned:1;   /* will be told when the request ends */
    unsigned                       retry:1;     /* 503 was for want of an answer */
};


/* ngx_http_latchkey_store.c */

ngx_int_t ngx_http_latchkey_store_open(ngx_http_latchkey_store_t *store,
    ngx_log_t *log);
void ngx_http_latchkey_store_close(ngx_http_latchkey_store_t *store);
ngx_int_t ngx_http_latchkey_ask(ngx_http_latchkey_ctx_t *ctx, int kind);

/* ngx_http_latchkey_resolve.c */

ngx_http_latchkey_ctx_t *ngx_http_latchkey_get_ctx(ngx_http_request_t *r);
ngx_http_latchkey_ctx_t *ngx_http_latchkey_find_ctx(ngx_http_request_t *r);
ngx_int_t ngx_http_latchkey_resolve(ngx_http_request_t *r,
    ngx_http_latchkey_loc_conf_t *llcf);
ngx_int_t ngx_http_latchkey_decide(ngx_http_request_t *r,
    ngx_http_latchkey_loc_conf_t *llcf, ngx_http_latchkey_ctx_t *ctx);
void ngx_http_latchkey_resume(ngx_http_latchkey_ctx_t *ctx);

/* ngx_http_latchkey_variables.c */

ngx_int_t ngx_http_latchkey_add_variables(ngx_conf_t *cf);


extern ngx_module_t  ngx_http_latchkey_module;


#endif /* _NGX_HTTP_LATCHKEY_MODULE_H_INCLUDED_ */
