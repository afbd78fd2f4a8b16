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
 *             subrequests read it, unless they ask something else
 * wait        a question under way. It belongs to the store: the answer comes once, also when the request has gone
 */

#ifndef _NGX_HTTP_LATCHKEY_MODULE_H_INCLUDED_
#define _NGX_HTTP_LATCHKEY_MODULE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <latchkey.h>


#define NGX_HTTP_LATCHKEY_TOKENS       8     /* cookies of one name that are tried */

#define NGX_HTTP_LATCHKEY_RETRY        5000  /* ms until what failed is tried again */

#define NGX_HTTP_LATCHKEY_OPTIONAL_OFF      0
#define NGX_HTTP_LATCHKEY_OPTIONAL_ON       1
#define NGX_HTTP_LATCHKEY_OPTIONAL_ALWAYS   2

#define NGX_HTTP_LATCHKEY_CONTENT_NONE      0
#define NGX_HTTP_LATCHKEY_CONTENT_ANSWER    1
#define NGX_HTTP_LATCHKEY_CONTENT_LOGOUT    2
#define NGX_HTTP_LATCHKEY_CONTENT_STATUS    3

/* what a worker counts of each store, in the order of ngx_http_latchkey_counters */
#define NGX_HTTP_LATCHKEY_ADMITTED          0
#define NGX_HTTP_LATCHKEY_ANONYMOUS         1
#define NGX_HTTP_LATCHKEY_UNAUTHORIZED      2
#define NGX_HTTP_LATCHKEY_FORBIDDEN         3
#define NGX_HTTP_LATCHKEY_UNAVAILABLE       4
#define NGX_HTTP_LATCHKEY_RENEWED           5
#define NGX_HTTP_LATCHKEY_LOGOUTS           6
#define NGX_HTTP_LATCHKEY_COUNTERS          7

/* no status of the library's */
#define NGX_HTTP_LATCHKEY_NOT_ASKED    1000
#define NGX_HTTP_LATCHKEY_NO_TOKEN     1001

#define NGX_HTTP_LATCHKEY_FROM_NOWHERE 0
#define NGX_HTTP_LATCHKEY_FROM_L1      1
#define NGX_HTTP_LATCHKEY_FROM_REDIS   2


typedef struct ngx_http_latchkey_ctx_s   ngx_http_latchkey_ctx_t;
typedef struct ngx_http_latchkey_slot_s  ngx_http_latchkey_slot_t;


typedef struct ngx_http_latchkey_store_s  ngx_http_latchkey_store_t;


struct ngx_http_latchkey_store_s {
    ngx_str_t                   name;
    u_char                     *config;      /* NULL: used, and not defined yet */
    u_char                     *file;        /* where it was used or defined first */
    ngx_uint_t                  line;
    ngx_shm_zone_t             *zone;        /* what its workers count */

    /* of this worker */
    latchkey                   *handle;      /* NULL: could not be opened yet */
    latchkey_queue             *queue;       /* its own */
    ngx_connection_t           *connection;  /* its descriptor, in nginx's loop */
    ngx_queue_t                 waits;
    ngx_event_t                 hold;        /* a timer while the worker may not end gracefully */
    ngx_uint_t                  pending;     /* a revocation was PENDING: it may still be */
    ngx_http_latchkey_store_t  *next;        /* that this process has tried to open */
    ngx_uint_t                  tried;       /* it is one of those */
    ngx_msec_t                  opened;      /* when it was, or that failed, by the monotonic clock, as all durations here */
    ngx_uint_t                  unrenewed;   /* an exchange got no answer */
    ngx_msec_t                  asked;       /* when that was */
    u_char                      error[256];  /* why it could not be opened */
    ngx_uint_t                  counts[NGX_HTTP_LATCHKEY_COUNTERS];
    ngx_http_latchkey_slot_t   *slot;        /* in the zone; NULL: all are taken */
    ngx_event_t                 publish;
};


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

    ngx_flag_t                  renew;
    ngx_msec_t                  grace;       /* of an exchanged token */

    ngx_str_t                   name;        /* as latchkey_cookie says; "": it does not */
    ngx_str_t                   attributes;
    ngx_str_t                   cookie;      /* the cookie's name, by latchkey_cookie or latchkey_token */

    ngx_uint_t                  content;     /* of this location alone */
    ngx_uint_t                  format;      /* status: of the text */
    ngx_uint_t                  pass;        /* answer: its status if the request may pass */
    ngx_uint_t                  any;         /* logout: by any method */
    ngx_http_complex_value_t   *redirect;    /* logout: where to; NULL: nowhere */
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
    ngx_http_event_handler_pt      resume;   /* runs when the answer is there */

    ngx_str_t                      tokens[NGX_HTTP_LATCHKEY_TOKENS];
    ngx_uint_t                     ntokens;
    ngx_uint_t                     current;  /* of tokens, the one that was asked about */

    int                            status;
    latchkey_entry                 entry;    /* zeros unless the status is OK */
    int                            ended;    /* logout: the worst status so far */

    ngx_str_t                      set_cookie;

    unsigned                       answered:1;  /* about `current` */
    unsigned                       resolved:1;
    unsigned                       renewed:1;   /* the exchange was asked for, once */
    unsigned                       source:2;
    unsigned                       cleaned:1;   /* will be told when the request ends */
    unsigned                       retry:1;     /* 503 was for want of an answer */
};


/* ngx_http_latchkey_conf.c */

char *ngx_http_latchkey_store(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_latchkey(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_latchkey_token(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_latchkey_require(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* ngx_http_latchkey_store.c */

ngx_int_t ngx_http_latchkey_store_open(ngx_http_latchkey_store_t *store,
    ngx_log_t *log);
void ngx_http_latchkey_stores_leave(void);
void ngx_http_latchkey_stores_close(void);
int ngx_http_latchkey_validate(ngx_http_latchkey_ctx_t *ctx);
int ngx_http_latchkey_submit(ngx_http_latchkey_ctx_t *ctx, int kind,
    int64_t grace);

/* ngx_http_latchkey_resolve.c */

ngx_http_latchkey_ctx_t *ngx_http_latchkey_get_ctx(ngx_http_request_t *r);
ngx_http_latchkey_ctx_t *ngx_http_latchkey_find_ctx(ngx_http_request_t *r);
ngx_http_latchkey_ctx_t *ngx_http_latchkey_create_ctx(ngx_http_request_t *r);
ngx_int_t ngx_http_latchkey_begin(ngx_http_request_t *r,
    ngx_http_latchkey_loc_conf_t *llcf, ngx_http_latchkey_ctx_t *ctx);
ngx_int_t ngx_http_latchkey_served(ngx_http_request_t *r,
    ngx_http_latchkey_loc_conf_t *llcf);
ngx_int_t ngx_http_latchkey_resolve(ngx_http_request_t *r,
    ngx_http_latchkey_loc_conf_t *llcf);
ngx_int_t ngx_http_latchkey_decide(ngx_http_request_t *r,
    ngx_http_latchkey_loc_conf_t *llcf, ngx_http_latchkey_ctx_t *ctx);
ngx_int_t ngx_http_latchkey_wait(ngx_http_latchkey_ctx_t *ctx,
    ngx_http_event_handler_pt resume);
void ngx_http_latchkey_answered(ngx_http_latchkey_ctx_t *ctx,
    latchkey_result *result);

/* ngx_http_latchkey_cookie.c */

char *ngx_http_latchkey_cookie(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_latchkey_renew(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_latchkey_merge_cookie(ngx_conf_t *cf,
    ngx_http_latchkey_loc_conf_t *conf);
ngx_uint_t ngx_http_latchkey_cookies(ngx_http_request_t *r, ngx_str_t *name,
    ngx_str_t *tokens);
ngx_int_t ngx_http_latchkey_set_cookie(ngx_http_latchkey_ctx_t *ctx,
    u_char *token);
ngx_int_t ngx_http_latchkey_send_cookie(ngx_http_request_t *r,
    ngx_http_latchkey_ctx_t *ctx);

/* ngx_http_latchkey_answer.c */

char *ngx_http_latchkey_answer(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_latchkey_logout(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
void ngx_http_latchkey_merge_content(ngx_conf_t *cf,
    ngx_http_latchkey_loc_conf_t *prev, ngx_http_latchkey_loc_conf_t *conf);

/* ngx_http_latchkey_status.c and ngx_http_latchkey_zone.c */

char *ngx_http_latchkey_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
ngx_int_t ngx_http_latchkey_status_handler(ngx_http_request_t *r);
ngx_int_t ngx_http_latchkey_add_zone(ngx_conf_t *cf,
    ngx_http_latchkey_store_t *store);
void ngx_http_latchkey_enter(ngx_http_latchkey_store_t *store);
void ngx_http_latchkey_publish(ngx_http_latchkey_store_t *store);
void ngx_http_latchkey_exit(ngx_http_latchkey_store_t *store);

/* ngx_http_latchkey_variables.c */

ngx_int_t ngx_http_latchkey_add_variables(ngx_conf_t *cf);
ngx_int_t ngx_http_latchkey_add_headers(ngx_http_request_t *r,
    ngx_http_latchkey_ctx_t *ctx);
void ngx_http_latchkey_blank_headers(ngx_http_request_t *r);
ngx_table_elt_t *ngx_http_latchkey_add_header(ngx_http_request_t *r);


extern ngx_module_t  ngx_http_latchkey_module;


#endif /* _NGX_HTTP_LATCHKEY_MODULE_H_INCLUDED_ */
