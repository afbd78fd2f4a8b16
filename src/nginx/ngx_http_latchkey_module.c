/* SPDX-License-Identifier: MIT
 *
 * The list of directives, and the phases. See ngx_http_latchkey_module.h for the way of a request.
 */

#include "ngx_http_latchkey_module.h"


static ngx_int_t ngx_http_latchkey_preaccess(ngx_http_request_t *r);
static ngx_int_t ngx_http_latchkey_access(ngx_http_request_t *r);
static ngx_int_t ngx_http_latchkey_header_filter(ngx_http_request_t *r);

static void *ngx_http_latchkey_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_latchkey_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_http_latchkey_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_latchkey_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static ngx_int_t ngx_http_latchkey_init(ngx_conf_t *cf);
static ngx_int_t ngx_http_latchkey_init_filter(ngx_conf_t *cf);
static ngx_int_t ngx_http_latchkey_init_module(ngx_cycle_t *cycle);
static ngx_int_t ngx_http_latchkey_init_process(ngx_cycle_t *cycle);
static void ngx_http_latchkey_exit_process(ngx_cycle_t *cycle);


static ngx_conf_enum_t  ngx_http_latchkey_optional[] = {
    { ngx_string("off"), NGX_HTTP_LATCHKEY_OPTIONAL_OFF },
    { ngx_string("on"), NGX_HTTP_LATCHKEY_OPTIONAL_ON },
    { ngx_string("always"), NGX_HTTP_LATCHKEY_OPTIONAL_ALWAYS },
    { ngx_null_string, 0 }
};


static ngx_command_t  ngx_http_latchkey_commands[] = {

    { ngx_string("latchkey_store"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE2,
      ngx_http_latchkey_store,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("latchkey"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_latchkey,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("latchkey_token"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_latchkey_token,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("latchkey_optional"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_latchkey_loc_conf_t, optional),
      &ngx_http_latchkey_optional },

    { ngx_string("latchkey_require"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_2MORE,
      ngx_http_latchkey_require,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("latchkey_renew"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE12,
      ngx_http_latchkey_renew,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("latchkey_cookie"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE12,
      ngx_http_latchkey_cookie,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("latchkey_answer"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_http_latchkey_answer,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("latchkey_logout"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE12,
      ngx_http_latchkey_logout,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("latchkey_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_http_latchkey_status,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_latchkey_module_ctx = {
    ngx_http_latchkey_add_variables,       /* preconfiguration */
    ngx_http_latchkey_init,                /* postconfiguration */

    ngx_http_latchkey_create_main_conf,    /* create main configuration */
    ngx_http_latchkey_init_main_conf,      /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_latchkey_create_loc_conf,     /* create location configuration */
    ngx_http_latchkey_merge_loc_conf       /* merge location configuration */
};


ngx_module_t  ngx_http_latchkey_module = {
    NGX_MODULE_V1,
    &ngx_http_latchkey_module_ctx,         /* module context */
    ngx_http_latchkey_commands,            /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_http_latchkey_init_module,         /* init module */
    ngx_http_latchkey_init_process,        /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_latchkey_exit_process,        /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_http_module_t  ngx_http_latchkey_filter_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_latchkey_init_filter,         /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_latchkey_filter_module = {
    NGX_MODULE_V1,
    &ngx_http_latchkey_filter_module_ctx,  /* module context */
    NULL,                                  /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


/*
 * What nginx looks for in a dynamic module. The first has no order, so it is
 * the last of all: its preaccess handler runs first. The filter stands before
 * the module of "expires" and "add_header", so it runs after that one: what
 * they say of caches does not stay beside "no-store".
 */

ngx_module_t  *ngx_modules[] = {
    &ngx_http_latchkey_module,
    &ngx_http_latchkey_filter_module,
    NULL
};

char  *ngx_module_names[] = {
    (char *) "ngx_http_latchkey_module",
    (char *) "ngx_http_latchkey_filter_module",
    NULL
};

char  *ngx_module_order[] = {
    (char *) "ngx_http_latchkey_filter_module",
    (char *) "ngx_http_headers_filter_module",
    NULL
};


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;


/* Before limit_req, which may then count by $latchkey_user. */

static ngx_int_t
ngx_http_latchkey_preaccess(ngx_http_request_t *r)
{
    ngx_int_t                      rc;
    ngx_http_latchkey_loc_conf_t  *llcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_latchkey_module);

    if (llcf->store == NULL) {
        return NGX_DECLINED;
    }

    if (r == r->main) {
        ngx_http_latchkey_blank_headers(r);
    }

    /* its handler asks, once the access phase has let it pass */

    if (llcf->content == NGX_HTTP_LATCHKEY_CONTENT_LOGOUT) {
        return NGX_DECLINED;
    }

    if (r != r->main) {
        rc = ngx_http_latchkey_served(r, llcf);

        if (rc != NGX_DECLINED) {
            return rc == NGX_OK ? NGX_DECLINED : rc;
        }
    }

    rc = ngx_http_latchkey_resolve(r, llcf);

    return rc == NGX_OK ? NGX_DECLINED : rc;
}


/* After all others: with "satisfy any" what they admit needs no answer from here. */

static ngx_int_t
ngx_http_latchkey_access(ngx_http_request_t *r)
{
    ngx_int_t                      rc;
    ngx_http_latchkey_loc_conf_t  *llcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_latchkey_module);

    /* the handlers of latchkey_answer and latchkey_logout decide by themselves */

    if (llcf->store == NULL
        || llcf->content == NGX_HTTP_LATCHKEY_CONTENT_ANSWER
        || llcf->content == NGX_HTTP_LATCHKEY_CONTENT_LOGOUT)
    {
        return NGX_DECLINED;
    }

    /* nothing to do, unless another module ended the preaccess phase early */

    rc = ngx_http_latchkey_resolve(r, llcf);

    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_latchkey_decide(r, llcf, ngx_http_latchkey_get_ctx(r));
}


static ngx_int_t
ngx_http_latchkey_header_filter(ngx_http_request_t *r)
{
    ngx_table_elt_t          *h;
    ngx_http_latchkey_ctx_t  *ctx;

    if (r != r->main) {
        return ngx_http_next_header_filter(r);
    }

    ctx = ngx_http_latchkey_get_ctx(r);

    if (ctx == NULL) {
        return ngx_http_next_header_filter(r);
    }

    if (ctx->set_cookie.len
        && ngx_http_latchkey_send_cookie(r, ctx) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ctx->retry && r->headers_out.status == NGX_HTTP_SERVICE_UNAVAILABLE) {

        h = ngx_http_latchkey_add_header(r);
        if (h == NULL) {
            return NGX_ERROR;
        }

        ngx_str_set(&h->key, "Retry-After");
        ngx_str_set(&h->value, "1");
    }

    return ngx_http_next_header_filter(r);
}


static void *
ngx_http_latchkey_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_latchkey_main_conf_t  *lmcf;

    lmcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_latchkey_main_conf_t));
    if (lmcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&lmcf->stores, cf->pool, 2,
                       sizeof(ngx_http_latchkey_store_t *))
        != NGX_OK)
    {
        return NULL;
    }

    return lmcf;
}


static char *
ngx_http_latchkey_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_latchkey_main_conf_t *lmcf = conf;

    ngx_uint_t                   i;
    ngx_http_latchkey_store_t  **stores;

    stores = lmcf->stores.elts;

    for (i = 0; i < lmcf->stores.nelts; i++) {
        if (stores[i]->config == NULL) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "there is no latchkey_store \"%V\" in %s:%ui",
                          &stores[i]->name, stores[i]->file, stores[i]->line);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static void *
ngx_http_latchkey_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_latchkey_loc_conf_t  *llcf;

    llcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_latchkey_loc_conf_t));
    if (llcf == NULL) {
        return NULL;
    }

    llcf->store = NGX_CONF_UNSET_PTR;
    llcf->tokens = NGX_CONF_UNSET_PTR;
    llcf->requires = NGX_CONF_UNSET_PTR;
    llcf->optional = NGX_CONF_UNSET_UINT;
    llcf->renew = NGX_CONF_UNSET;
    llcf->grace = NGX_CONF_UNSET_MSEC;

    return llcf;
}


static char *
ngx_http_latchkey_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_latchkey_loc_conf_t *prev = parent;
    ngx_http_latchkey_loc_conf_t *conf = child;

    ngx_conf_merge_ptr_value(conf->store, prev->store, NULL);
    ngx_conf_merge_ptr_value(conf->tokens, prev->tokens, NULL);
    ngx_conf_merge_ptr_value(conf->requires, prev->requires, NULL);
    ngx_conf_merge_uint_value(conf->optional, prev->optional,
                              NGX_HTTP_LATCHKEY_OPTIONAL_OFF);
    ngx_conf_merge_msec_value(conf->grace, prev->grace, 300000);
    /* A proxy that asks latchkey_answer does not pass its cookie on. */
    ngx_conf_merge_value(conf->renew,
                         conf->content == NGX_HTTP_LATCHKEY_CONTENT_ANSWER
                             ? 0 : prev->renew, 0);

    if (conf->name.len == 0) {
        conf->name = prev->name;
        conf->attributes = prev->attributes;
    }

    ngx_http_latchkey_merge_content(cf, prev, conf);

    if (conf->store == NULL
        && (conf->content == NGX_HTTP_LATCHKEY_CONTENT_ANSWER
            || conf->content == NGX_HTTP_LATCHKEY_CONTENT_LOGOUT))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "latchkey_answer and latchkey_logout need "
                           "\"latchkey NAME\" in their location");
        return NGX_CONF_ERROR;
    }

    return ngx_http_latchkey_merge_cookie(cf, conf);
}


static ngx_int_t
ngx_http_latchkey_init(ngx_conf_t *cf)
{
    ngx_array_t                *access;
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PREACCESS_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_latchkey_preaccess;

    /* the last that is pushed runs first: this one goes to the front */

    access = &cmcf->phases[NGX_HTTP_ACCESS_PHASE].handlers;

    if (ngx_array_push(access) == NULL) {
        return NGX_ERROR;
    }

    h = access->elts;

    ngx_memmove(&h[1], &h[0], (access->nelts - 1) * sizeof(*h));

    h[0] = ngx_http_latchkey_access;

    return NGX_OK;
}


static ngx_int_t
ngx_http_latchkey_init_filter(ngx_conf_t *cf)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_latchkey_header_filter;

    return NGX_OK;
}


/* A configuration begins. Only a process without a master has stores by then, those of the one before. */

static ngx_int_t
ngx_http_latchkey_init_module(ngx_cycle_t *cycle)
{
    ngx_http_latchkey_stores_leave();

    return NGX_OK;
}


static ngx_int_t
ngx_http_latchkey_init_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                       i;
    ngx_http_latchkey_store_t      **stores;
    ngx_http_latchkey_main_conf_t   *lmcf;

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    lmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_latchkey_module);

    if (lmcf == NULL) {
        return NGX_OK;
    }

    stores = lmcf->stores.elts;

    for (i = 0; i < lmcf->stores.nelts; i++) {
        (void) ngx_http_latchkey_store_open(stores[i], cycle->log);
        ngx_http_latchkey_enter(stores[i]);
    }

    return NGX_OK;
}


static void
ngx_http_latchkey_exit_process(ngx_cycle_t *cycle)
{
    ngx_http_latchkey_stores_leave();
    ngx_http_latchkey_stores_close();
}
