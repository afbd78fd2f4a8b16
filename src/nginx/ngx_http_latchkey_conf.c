/* SPDX-License-Identifier: MIT
 *
 * Directives: which store, the token of a request, and what its session must have.
 */

#include "ngx_http_latchkey_module.h"


static ngx_uint_t ngx_http_latchkey_has_option(ngx_str_t *config, char *option);
static ngx_http_latchkey_store_t *ngx_http_latchkey_get_store(ngx_conf_t *cf,
    ngx_str_t *name);


/* latchkey_store NAME CONFIG */

char *
ngx_http_latchkey_store(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char                       *name, error[512];
    size_t                      size;
    ngx_str_t                  *value;
    ngx_http_latchkey_store_t  *store;

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        return "cannot be named \"off\"";
    }

    if (ngx_http_latchkey_has_option(&value[2], "lazy=")) {
        return "has \"lazy=\", which the module sets itself: leave it out";
    }

    store = ngx_http_latchkey_get_store(cf, &value[1]);
    if (store == NULL) {
        return NGX_CONF_ERROR;
    }

    if (store->config) {
        return "is duplicate";
    }

    name = ngx_http_latchkey_has_option(&value[2], "name=") ? "" : "&name=nginx";

    size = value[2].len + sizeof("?lazy=1&name=nginx");

    store->config = ngx_pnalloc(cf->pool, size);
    if (store->config == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_snprintf(store->config, size, "%V%clazy=1%s%Z", &value[2],
                 ngx_strchr(value[2].data, '?') ? '&' : '?', name);

    if (latchkey_check_config((char *) store->config, error, sizeof(error))
        != LATCHKEY_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "latchkey_store \"%V\": %s",
                           &value[1], error);
        return NGX_CONF_ERROR;
    }

    return ngx_http_latchkey_add_zone(cf, store) == NGX_OK ? NGX_CONF_OK
                                                           : NGX_CONF_ERROR;
}


static ngx_uint_t
ngx_http_latchkey_has_option(ngx_str_t *config, char *option)
{
    char  *p;

    p = (char *) config->data;

    while ((p = strstr(p, option)) != NULL) {

        if ((u_char *) p > config->data && (p[-1] == '?' || p[-1] == '&')) {
            return 1;
        }

        p++;
    }

    return 0;
}


/* latchkey NAME | off */

char *
ngx_http_latchkey(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_latchkey_loc_conf_t *llcf = conf;

    ngx_str_t  *value;

    if (llcf->store != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        llcf->store = NULL;
        return NGX_CONF_OK;
    }

    llcf->store = ngx_http_latchkey_get_store(cf, &value[1]);

    return llcf->store ? NGX_CONF_OK : NGX_CONF_ERROR;
}


/* The store of this name. It may be defined later in the file. */

static ngx_http_latchkey_store_t *
ngx_http_latchkey_get_store(ngx_conf_t *cf, ngx_str_t *name)
{
    ngx_uint_t                       i;
    ngx_http_latchkey_store_t       *store, **stores;
    ngx_http_latchkey_main_conf_t   *lmcf;

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_latchkey_module);

    stores = lmcf->stores.elts;

    for (i = 0; i < lmcf->stores.nelts; i++) {
        if (stores[i]->name.len == name->len
            && ngx_strncmp(stores[i]->name.data, name->data, name->len) == 0)
        {
            return stores[i];
        }
    }

    store = ngx_pcalloc(cf->pool, sizeof(ngx_http_latchkey_store_t));
    if (store == NULL) {
        return NULL;
    }

    stores = ngx_array_push(&lmcf->stores);
    if (stores == NULL) {
        return NULL;
    }

    *stores = store;

    ngx_queue_init(&store->waits);

    store->name = *name;
    store->file = cf->conf_file->file.name.data;
    store->line = cf->conf_file->line;

    return store;
}


/* latchkey_token VALUE... */

char *
ngx_http_latchkey_token(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_latchkey_loc_conf_t *llcf = conf;

    ngx_str_t                         *value;
    ngx_uint_t                         i;
    ngx_http_complex_value_t          *token;
    ngx_http_compile_complex_value_t   ccv;

    if (llcf->tokens != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    llcf->tokens = ngx_array_create(cf->pool, cf->args->nelts - 1,
                                    sizeof(ngx_http_complex_value_t));
    if (llcf->tokens == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        token = ngx_array_push(llcf->tokens);
        if (token == NULL) {
            return NGX_CONF_ERROR;
        }

        ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

        ccv.cf = cf;
        ccv.value = &value[i];
        ccv.complex_value = token;

        if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
            return NGX_CONF_ERROR;
        }

        if (token->lengths == NULL) {
            return "needs a variable, such as $cookie_sid: a fixed token "
                   "would admit everybody";
        }
    }

    return NGX_CONF_OK;
}


/* latchkey_require $variable VALUE... */

char *
ngx_http_latchkey_require(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_latchkey_loc_conf_t *llcf = conf;

    ngx_str_t                         *value, *wanted;
    ngx_uint_t                         i;
    ngx_http_latchkey_require_t       *require;
    ngx_http_compile_complex_value_t   ccv;

    value = cf->args->elts;

    if (llcf->requires == NGX_CONF_UNSET_PTR) {
        llcf->requires = ngx_array_create(cf->pool, 2,
                                        sizeof(ngx_http_latchkey_require_t));
        if (llcf->requires == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    require = ngx_array_push(llcf->requires);
    if (require == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = &value[1];
    ccv.complex_value = &require->value;

    if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (require->value.lengths == NULL) {
        return "needs a variable, such as $latchkey_role";
    }

    require->wanted = ngx_array_create(cf->pool, cf->args->nelts - 2,
                                       sizeof(ngx_str_t));
    if (require->wanted == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 2; i < cf->args->nelts; i++) {

        if (value[i].len == 0) {
            return "cannot ask for an empty value: a request without a "
                   "session has no other";
        }

        wanted = ngx_array_push(require->wanted);
        if (wanted == NULL) {
            return NGX_CONF_ERROR;
        }

        *wanted = value[i];
    }

    return NGX_CONF_OK;
}
